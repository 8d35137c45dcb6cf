"""
Celery's consumer with fewer turns of its event loop. Named by ``celery_config``.

Stock Celery wakes the loop for each event of a task, three a probe, and each time sends a message with what there is: a
tenth of a probe's CPU time (2.10 against 2.34 ms). Here events wait for up to a quarter of a second, or for Celery's
own limit of a batch.

Its bucket for ``rate_limit`` holds one task, so that of messages that come together all but the first wait for a timer
each, a millisecond apart at the limit as shipped. Here a bucket holds what the limit allows in a twentieth of a second.
"""

from __future__ import annotations

from functools import partial
from time import monotonic
from typing import Any

from celery.utils.time import rate
from celery.worker.consumer import Consumer as CeleryConsumer
from kombu.asynchronous import Hub
from kombu.utils.limits import TokenBucket

EVENTS_EVERY_SECONDS = 0.25
_BURST_SECONDS = 0.05
# Celery's own, 24, has a busy worker's threads send them one after the other.
_MOST_EVENTS = 1000
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

    def bucket_for_task(self, task: Any) -> TokenBucket | None:
        """For the task's limit, also where ``celery control rate_limit`` has set another one."""
        limit = rate(getattr(task, "rate_limit", None))
        return TokenBucket(limit, capacity=max(1.0, limit * _BURST_SECONDS)) if limit else None

    def on_send_event_buffered(self) -> None:
        """The timer sends it."""

    def register_with_event_loop(self, hub: Any) -> None:
        """Called for each connection to the broker."""
        super().register_with_event_loop(hub)
        if self.event_dispatcher is not None:
            self.event_dispatcher.buffer_limit = _MOST_EVENTS
        hub.fire_timers = partial(_fire_timers, hub)
        hub.call_repeatedly(EVENTS_EVERY_SECONDS, self._flush_events)

    def shutdown(self) -> None:
        """What has not been sent yet goes out; the dispatcher keeps it where Redis is away."""
        self._flush_events()
        super().shutdown()
