"""
How long a role goes on waiting for its schema, and when it says so again. Used by migrate.py and schema.py.
"""

from __future__ import annotations

import threading
from collections.abc import Callable

import structlog

from wms_tasks import clock
from wms_tasks.errors import ServiceUnavailable

SAY_AGAIN_SECONDS = 60.0

_log = structlog.get_logger()


class Patience:
    """
    One wait, of one pause or many.

    Args:
        give_up_after_seconds: about this long without success; None waits for ever.
        stopping: when set, waits no longer.
        alive: called at each pause: who waits on purpose does not hang.
    """

    def __init__(
        self,
        give_up_after_seconds: float | None = None,
        stopping: threading.Event | None = None,
        alive: Callable[[], None] | None = None,
    ) -> None:
        self._began = clock.monotonic()
        self._limit = give_up_after_seconds
        self._stopping = stopping or threading.Event()
        self._alive = alive
        self._said: dict[str, float] = {}

    def pause(self, seconds: float, event: str, reason: ServiceUnavailable) -> None:
        """Wait a while, or raise the reason where patience is over. An event is said once, and again once a minute."""
        elapsed = clock.monotonic() - self._began
        if self._stopping.is_set() or (self._limit is not None and elapsed + seconds > self._limit):
            raise reason
        if clock.monotonic() >= self._said.get(event, 0.0):
            self._said[event] = clock.monotonic() + SAY_AGAIN_SECONDS
            _log.warning(event, reason=reason.message)
        if self._alive is not None:
            self._alive()
        self._stopping.wait(seconds)

    def said(self, event: str) -> bool:
        """Whether it was waited for."""
        return event in self._said
