"""
A reader of whichever release this Python has: `wms results`, `status` and `ledger`, round after round, until TERM. Each
round that went well is one line of JSON; the first that does not ends it, with what the command said.

Run by path, from outside any checkout: ``python -P reading.py SINCE``.
"""

from __future__ import annotations

import io
import json
import signal
import sys
import threading
from contextlib import redirect_stdout

from wms_tasks import cli

PAUSE_SECONDS = 0.1


def read(*arguments: str) -> str:
    """What `wms` prints; its error, where it fails, is on stderr."""
    sys.argv = ["wms", *arguments]
    output = io.BytesIO()
    with redirect_stdout(io.TextIOWrapper(output, encoding="utf-8", write_through=True)):
        try:
            cli.main()
        except SystemExit as end:
            if end.code:
                raise
    return output.getvalue().decode()


def a_round(since: str) -> dict[str, object]:
    """How many rows there are, and of how many slots; how many sites; and the ledger's total."""
    rows = [json.loads(line) for line in read("results", "--json").splitlines()]
    slots = {(row["site_id"], row["scheduled_at"]) for row in rows}
    sites = json.loads(read("status", "--json"))
    ledger = json.loads(read("ledger", "--from", since, "--json"))
    return {"rows": len(rows), "slots": len(slots), "sites": len(sites), "ledger": ledger["total"]}


def main(since: str) -> None:
    """Until TERM; a round that has begun is finished."""
    ended = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: ended.set())
    while not ended.wait(PAUSE_SECONDS):
        print(json.dumps(a_round(since)), flush=True)  # noqa: T201 - what the test reads


if __name__ == "__main__":
    main(sys.argv[1])
