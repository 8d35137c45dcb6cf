"""
What beat runs. No logic: each site of the sites file becomes an entry by `SITE_TO_ENTRY`, the rest is listed here.

Times are seconds; every task expires before its next turn.
"""

from __future__ import annotations

from wms_tasks.names import CLOSE_SLOTS_TASK, DROP_OLD_TASK, HOUSEKEEPING_QUEUE, MAKE_PARTITIONS_TASK
from wms_tasks.schedule.entries import SiteEntry

SITE_TO_ENTRY = SiteEntry

BEAT_SCHEDULE = {
    "close-slots": {
        "task": CLOSE_SLOTS_TASK,
        "schedule": 10.0,
        "options": {"queue": HOUSEKEEPING_QUEUE, "expires": 9.0},
    },
    "drop-old": {
        "task": DROP_OLD_TASK,
        "schedule": 3600.0,
        "options": {"queue": HOUSEKEEPING_QUEUE, "expires": 3000.0},
    },
    "make-partitions": {
        "task": MAKE_PARTITIONS_TASK,
        "schedule": 3600.0,
        "options": {"queue": HOUSEKEEPING_QUEUE, "expires": 3000.0},
    },
}
