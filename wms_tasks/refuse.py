"""How a role or a command says why it does not start or did not work. Celery would log an error with its traceback."""

from __future__ import annotations

import sys
from typing import Never

from wms_tasks.errors import SitesFileError, WmsError


def refuse(error: WmsError) -> Never:
    """A line on stderr for each fault, then the end with the error's exit code."""
    for line in error.problems if isinstance(error, SitesFileError) else str(error).splitlines():
        print(f"wms: {line}", file=sys.stderr)  # noqa: T201 - the command line's answer
    raise SystemExit(error.exit_code)
