"""Gatus as it is shipped, with sqlite, as the peer of the whole system; held still while ours is measured."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from bench.figure import PeerMissing
from bench.whole import host_of
from tests.ports import free_ports

# It begins its endpoints one after the other, so far apart.
_BEGINS_SECONDS = 0.222


def program() -> str:
    """
    Its path.

    Raises:
        PeerMissing: it is nowhere.
    """
    own = Path.home() / ".cache" / "wms" / "bench" / "bin" / "gatus"
    found = str(own) if own.is_file() else shutil.which("gatus")
    if found is None:
        raise PeerMissing(f"gatus is not here: it is a Go program, github.com/TwiN/gatus; on the PATH, or as {own}")
    return found


class Gatus:
    """Its process."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self._process = process
        self.pid = process.pid

    def hold(self) -> None:
        """It uses nothing from now on."""
        self._process.send_signal(signal.SIGSTOP)

    def go_on(self) -> None:
        """Its tickers go on in their rhythm; what they missed meanwhile is asked once, at once."""
        self._process.send_signal(signal.SIGCONT)


def begins_seconds(endpoints: int) -> float:
    """How long it takes from its start until all are asked."""
    return endpoints * _BEGINS_SECONDS


@contextmanager
def gatus(folder: Path, *, endpoints: int, url: str, interval_seconds: float) -> Iterator[Gatus]:
    """It asks that many endpoints, as soon as `begins_seconds` have gone by; ``{host}`` in the url as in ours."""
    folder.mkdir()
    (port,) = free_ports(1)
    every = f"{interval_seconds * 1000:.0f}ms"
    config = {
        "web": {"address": "127.0.0.1", "port": port},
        "storage": {"type": "sqlite", "path": str(folder / "gatus.db")},
        # It asks three at a time unless told otherwise, and would fall behind where answers take a moment.
        "concurrency": 100,
        "endpoints": [
            {
                "name": f"site {number}",
                "url": url.format(host=host_of(number)),
                "interval": every,
                "conditions": ["[STATUS] == 200"],
            }
            for number in range(endpoints)
        ],
    }
    path = folder / "config.yaml"
    path.write_text(json.dumps(config), encoding="utf-8")  # which is YAML
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            [program()],
            env={"PATH": os.defpath, "HOME": str(folder), "GATUS_CONFIG_PATH": str(path)},
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
        )
    try:
        yield Gatus(process)
    finally:
        process.kill()
        process.wait(10)
