"""
The Celery app. Importing it reads no setting and opens nothing; the configuration is made when first looked at.

``celery -A wms_tasks`` comes in through celery.py, ``wms run`` through roles/together.py.
"""

from __future__ import annotations

from celery import Celery

from wms_tasks.celery_config import configuration
from wms_tasks.settings import Settings

app = Celery("wms")
app.config_from_object("wms_tasks.celery_config:CURRENT")


def app_for(settings: Settings) -> Celery:
    """Another app, on these settings and with no tasks: for sending by name, and for tests."""
    other = Celery("wms", set_as_current=False)
    other.config_from_object(configuration(settings))
    return other
