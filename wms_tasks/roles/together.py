"""
All roles in one process: the worker in the main thread, beat and persist in theirs. For ``wms run`` and ``wms up``.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable
from types import FrameType
from typing import Any, Protocol

from celery.apps.worker import Worker
from celery.signals import worker_ready
from celery.utils.nodenames import host_format

from wms_tasks.app import app
from wms_tasks.names import HOUSEKEEPING_QUEUE, PROBE_QUEUE
from wms_tasks.roles import hooks, steps, stop
from wms_tasks.roles.persist import PersistRole
from wms_tasks.settings import Settings
from wms_tasks.stopping import STOPPING
from wms_tasks.tls_check import require

_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class StopEvent(Protocol):
    """What `threading.Event` offers to whoever waits for it."""

    def wait(self, timeout: float | None = None) -> bool:
        """Wait until it is set."""


class _Worker(Worker):  # type: ignore[misc]
    """Celery's worker program with our signals."""

    def install_platform_tweaks(self, worker: Any) -> None:
        """After Celery's: its HUP would execute the program again when stdin is no terminal."""
        super().install_platform_tweaks(worker)
        for signum in _SIGNALS:
            signal.signal(signum, _on_signal)


def _on_signal(signum: int, frame: FrameType | None) -> None:  # noqa: ARG001 - a handler's signature
    stop.end_worker(signal.Signals(signum).name, exit_code=0)


def run_together(
    settings: Settings, *, on_ready: Callable[[PersistRole], None] | None = None, stop_event: StopEvent | None = None
) -> int:
    """
    Run until INT, TERM, HUP or ``stop_event``; call it in the main thread, once in a process. Returns the exit code.

    ``settings`` must be what `get_settings` returns, since Celery's parts ask there. ``on_ready`` is called with the
    persist role, in the main thread, when the worker takes messages. 1: a role ended by itself, and the log says why.
    Ends within 8 s; if something does not answer, the process leaves with 1 after 10.

    Raises:
        SettingsError: the environment wants TLS, and something is missing for it.
    """
    require(settings, "redis", "kafka", "postgres", "housekeeping")
    hooks.connect()
    steps.install(app)
    if on_ready is not None:
        worker_ready.connect(lambda sender, **_: on_ready(sender.controller.persist), weak=False)
    if stop_event is not None:
        threading.Thread(target=_follow, args=(stop_event,), name="stop-event", daemon=True).start()
    worker = _Worker(
        app=app,
        hostname=host_format("wms@%h"),
        loglevel=settings.log_level,
        queues=[PROBE_QUEUE, HOUSEKEEPING_QUEUE],
        persist=True,
        beat_thread=True,
        quiet=True,
    )
    worker.start()
    return int(worker.exitcode or STOPPING.exit_code)


def _follow(stop_event: StopEvent) -> None:
    stop_event.wait()
    stop.end_worker("asked to", exit_code=0)
