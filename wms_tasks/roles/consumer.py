"""
Celery's consumer with fewer turns of its event loop. Named by ``celery_config``.

Stock Celery wakes the loop for each event of a task, three a probe, and each time sends a message with what there is: a
tenth of a probe's CPU time (2.10 against 2.34 ms). Here events wait for up to a quarter of a second, or for Celery's
own limit of a batch.
"""

from __future__ import annotations

from functools import partial
from time import monotonic
from typing import Any

from celery.worker.consumer import Consumer as CeleryConsumer
from kombu.asynchronous import Hub

EVENTS_EVERY_SECONDS = 0.25
# At a time; the rest when it was looked whether anything came.
_MOST_TIMERS = 100


def _fire_timers(hub: Any, **options: Any) -> float:
    """
    kombu's, and how long the loop may wait then. Once it has fired ten timers, kombu's own waits a second whatever is
    due: waiting messages (a host's turn) would be begun ten a second where nothing else wakes the loop.
    """
    delay_seconds: float = Hub.fire_timers(hub, max_timers=_MOST_TIMERS, **options)
    queue = hub.timer._queue
    return max(0.0, min(delay_seconds, queue[0][0] - monotonic())) if queue else delay_seconds


class Consumer(CeleryConsumer):  # type: ignore[misc]
    """Used with every pool; without an event loop (gevent) events are not buffered at all."""

    def on_send_event_buffered(self) -> None:
        """The timer sends it."""

    def register_with_event_loop(self, hub: Any) -> None:
        """Called for each connection to the broker."""
        super().register_with_event_loop(hub)
        hub.fire_timers = partial(_fire_timers, hub)
        hub.call_repeatedly(EVENTS_EVERY_SECONDS, self._flush_events)

    def shutdown(self) -> None:
        """What has not been sent yet goes out; the dispatcher keeps it where Redis is away."""
        self._flush_events()
        super().shutdown()
