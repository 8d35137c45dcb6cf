"""
The consumer: waiting messages are begun when they are due, however many are due at once; its limit lets a burst pass.
"""

from __future__ import annotations

from time import monotonic
from types import SimpleNamespace

import pytest
from celery.worker.consumer import Consumer as CeleryConsumer
from kombu.asynchronous import Hub

from wms_tasks.roles.consumer import _MOST_TIMERS, Consumer, _fire_timers


def test_all_that_is_due_is_fired_at_once() -> None:
    """kombu's own fires ten, and then waits for a second."""
    hub, fired = Hub(), list[int]()
    for number in range(50):
        hub.call_at(monotonic() - 1, fired.append, number)
    _fire_timers(hub)
    assert len(fired) == 50


def test_the_loop_waits_no_longer_than_to_what_is_due_next() -> None:
    """Not at all where more is due than is fired at a time."""
    hub = Hub()
    for _ in range(_MOST_TIMERS + 1):
        hub.call_at(monotonic() - 1, int)
    assert _fire_timers(hub) == 0
    hub.call_later(0.2, int)
    assert 0 < _fire_timers(hub) <= 0.2
    assert _fire_timers(Hub()) == 1


@pytest.mark.parametrize(("limit", "at_once"), [("1000/s", 50), ("10/s", 1), ("30/m", 1), (None, None)])
def test_a_limit_lets_through_at_once_what_comes_in_a_twentieth_of_a_second(
    limit: str | None, at_once: int | None
) -> None:
    """And at least one; without a limit there is no bucket."""
    bucket = CeleryConsumer.bucket_for_task.__get__(object())(SimpleNamespace(rate_limit=limit))
    ours = Consumer.bucket_for_task.__get__(object())(SimpleNamespace(rate_limit=limit))
    if at_once is None:
        assert (bucket, ours) == (None, None)
        return
    assert ours.fill_rate == bucket.fill_rate
    taken = 0
    while ours.can_consume():
        taken += 1
    assert at_once <= taken <= at_once + 1
