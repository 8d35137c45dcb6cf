"""
Celery's own beat with as many entries as we have sites, for on_beat.py: ``celery -A bench.stock_beat beat``.

``STOCK_BEAT_ENTRIES`` says how many and ``STOCK_BEAT_BROKER`` where to. Each falls due once a minute, spread over it.
"""

from __future__ import annotations

import os
from datetime import UTC, datetime, timedelta

from celery import Celery

INTERVAL_SECONDS = 60.0
QUEUE = "stock"
_ENTRIES = int(os.environ.get("STOCK_BEAT_ENTRIES", "0"))
_BEGAN = datetime.now(UTC)

app = Celery("stock", broker=os.environ.get("STOCK_BEAT_BROKER"))
app.conf.task_ignore_result = True
app.conf.beat_schedule = {
    f"site-{number}": {
        "task": "stock.probe",
        "schedule": INTERVAL_SECONDS,
        "kwargs": {"site": f"site-{number}", "url": f"https://host{number}.example.com/health"},
        "options": {"queue": QUEUE, "expires": INTERVAL_SECONDS, "ignore_result": True},
        # Else all of them fall due at one instant, a minute from now.
        "last_run_at": _BEGAN - timedelta(seconds=INTERVAL_SECONDS * number / _ENTRIES),
    }
    for number in range(_ENTRIES)
}
