"""
Where ``celery -A wms_tasks`` and Flower find the app: Celery looks for a module of this name in a package.

An entry point: reads the settings, so that a wrong one is one line here and not a traceback later; and beat, Flower and
each worker need Redis.
"""

from __future__ import annotations

import sys

from wms_tasks.app import app
from wms_tasks.entry import settings_of
from wms_tasks.errors import WmsError
from wms_tasks.roles import hooks, steps

__all__ = ["app"]

try:
    settings_of("beat", "redis")
except WmsError as error:
    for line in str(error).splitlines():
        print(f"wms: {line}", file=sys.stderr)  # noqa: T201 - the command line's answer
    sys.exit(error.exit_code)

hooks.connect()
steps.install(app)
