"""
Beat's two forms: in a thread beside a worker (`wms run`), and `celery beat`, whose signals and port are set here.
"""

from __future__ import annotations

import signal
import threading
from types import FrameType
from typing import Any, Never

from celery import Celery
from celery.beat import Service

from wms_tasks import metrics
from wms_tasks.health_server import serve_health
from wms_tasks.roles.measure import begin_measuring
from wms_tasks.roles.stop import start_watchdog
from wms_tasks.roles.thread import RoleThread
from wms_tasks.settings import get_settings

# A round's sleep is a second at most, a silent Redis costs two.
_END_SECONDS = 4.0


class BeatRole:
    """Beat in a thread of this process."""

    def __init__(self, app: Celery) -> None:
        self._service = Service(app, scheduler_cls=app.conf.beat_scheduler)
        self._thread = RoleThread("beat", run=self._service.start, ask_to_end=self._service.stop)

    def start(self) -> None:
        """Begin; returns at once."""
        begin_measuring(get_settings(), metrics.BEAT)
        self._thread.start()

    def stop(self) -> None:
        """End after the round in hand, the lease given back; idempotent."""
        self._thread.end(_END_SECONDS)


def _leave(signum: int, frame: FrameType | None) -> Never:  # noqa: ARG001 - a handler's signature
    """Celery's own handler closes the scheduler inside the signal; here the round ends first, and only so far."""
    start_watchdog()
    raise SystemExit(0)


def on_beat_init(**_: Any) -> None:
    """`celery beat` has begun. In a thread (`wms run`) the worker has the signals and the port already."""
    if threading.current_thread() is not threading.main_thread():
        return
    for signum in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(signum, _leave)
    serve_health(get_settings())
    begin_measuring(get_settings(), metrics.BEAT)
