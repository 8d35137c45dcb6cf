"""
Where ``celery -A wms_tasks`` and Flower find the app: Celery looks for a module of this name in a package.

An entry point: reads the settings, so that a wrong one is one line here and not a traceback later; and beat, Flower and
each worker need Redis.
"""

from __future__ import annotations

from wms_tasks.app import app
from wms_tasks.entry import settings_of
from wms_tasks.errors import WmsError
from wms_tasks.refuse import refuse
from wms_tasks.roles import hooks, steps

__all__ = ["app"]

try:
    settings_of("beat", "redis")
except WmsError as error:
    refuse(error)

hooks.connect()
steps.install(app)
