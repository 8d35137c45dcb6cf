"""The event loop's timers: waiting messages are begun when they are due, however many are due at once."""

from __future__ import annotations

from time import monotonic

from kombu.asynchronous import Hub

from wms_tasks.roles.consumer import _MOST_TIMERS, _fire_timers


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
