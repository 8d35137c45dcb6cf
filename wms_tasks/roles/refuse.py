"""How a worker says why it does not start, before anything has. Celery would log an error with its traceback."""

from __future__ import annotations

import sys
from typing import Never

from wms_tasks.errors import UsageError


def refuse(why: str, exit_code: int = UsageError.exit_code) -> Never:
    """One line, or one for each fault."""
    for line in why.splitlines():
        print(f"worker: {line}", file=sys.stderr)  # noqa: T201 - the command line's answer
    raise SystemExit(exit_code)
