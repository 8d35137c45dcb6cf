"""
Work done lately: each role's thread says ``did(name)`` after a round of real work; `/healthz` is 200 while all did.

A process that is alive but stuck is what restarts are for, so "the broker answers" proves nothing here. Served by
health_server.py, which each role starts; nothing in this module opens a socket.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass

from wms_tasks import clock


@dataclass(frozen=True, slots=True, kw_only=True)
class Pulse:
    """One thread's state: how long ago it worked, how long it may go without."""

    name: str
    age_seconds: float
    allowed_seconds: float

    @property
    def healthy(self) -> bool:
        """Whether it worked lately."""
        return self.age_seconds <= self.allowed_seconds


class Health:
    """The threads that must work, by name. Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._last: dict[str, tuple[float, float]] = {}

    def expect(self, name: str, *, allowed_seconds: float) -> None:
        """From now on `name` must report at least every ``allowed_seconds``; counts as having worked just now."""
        with self._lock:
            self._last[name] = (clock.monotonic(), allowed_seconds)

    def did(self, name: str) -> None:
        """`name` has just done a round of work. Ignored for a name nobody expects."""
        with self._lock:
            if name in self._last:
                self._last[name] = (clock.monotonic(), self._last[name][1])

    def forget(self, name: str) -> None:
        """`name` has ended as asked."""
        with self._lock:
            self._last.pop(name, None)

    def pulses(self) -> list[Pulse]:
        """All of them, by name."""
        now = clock.monotonic()
        with self._lock:
            items = sorted(self._last.items())
        return [Pulse(name=n, age_seconds=now - last, allowed_seconds=allowed) for n, (last, allowed) in items]


HEALTH = Health()
