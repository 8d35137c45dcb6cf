"""
Celery's request of a task, with less work for each. Named by ``celery_config``, through `ProbingTask`.

Stock Celery reads its time zone out of the configuration three times for each message, parses the end of its validity
with dateutil, and looks twice whether it has been revoked; all of it in the event loop's thread.
"""

from __future__ import annotations

import weakref
from datetime import UTC, datetime
from typing import Any

from celery.utils.time import maybe_iso8601
from celery.worker import state
from celery.worker.request import Request as CeleryRequest

from wms_tasks import clock


def _instant(written: Any) -> Any:
    """As Celery writes it, an instant with its offset; else by Celery's own parser, with its errors."""
    try:
        return datetime.fromisoformat(written)
    except (TypeError, ValueError):
        return maybe_iso8601(written)


class Request(CeleryRequest):  # type: ignore[misc]
    """For all our tasks. Instants without a time zone are UTC, as ``timezone`` in the configuration says."""

    _tzlocal = UTC

    def __init__(self, message: Any, **options: Any) -> None:
        self._timer_entry: weakref.ref[Any] | None = None
        super().__init__(message, maybe_iso8601=_instant, **options)

    @property
    def _eta_timer_entry(self) -> Any:
        """
        What the timer holds for a message that waits for its time; None when it does not any more. That entry holds the
        request: if the request held it, too, each message that waits would be left to the collector with all it has.
        """
        return self._timer_entry and self._timer_entry()

    @_eta_timer_entry.setter
    def _eta_timer_entry(self, entry: Any) -> None:
        self._timer_entry = None if entry is None else weakref.ref(entry)

    def revoked(self) -> bool:
        """Whether nobody may run it any more; Celery's own answer, and what follows, where it may be so."""
        expires = self._expires
        if (
            self._already_revoked
            or (expires is not None and clock.utcnow() > expires)
            or self.id in state.revoked
            or self.stamped_headers
        ):
            return bool(super().revoked())
        return False
