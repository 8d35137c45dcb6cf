"""
Keeps threads for the others: hosts that were slow lately may hold only a share of a process's probes at a time.

Without it, a provider whose sites all time out holds every thread of a worker, and its messages make all others late.
Nothing is remembered over a restart, nor shared between processes: a slow host is known again after one probe.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from wms_tasks import clock

# A thread held longer is what one has too few of. Most sites answer in a tenth of it.
SLOW_SECONDS = 1.0
SLOW_SHARE = 0.5
# Of more, those that were slow longest ago are forgotten.
KEPT_HOSTS = 10_000


@dataclass(slots=True, eq=False)
class Place:
    """A run at a slot. ``asked_seconds``: what its requests to the host took; None while none was made."""

    asked_seconds: float | None = None

    def asked(self, seconds: float) -> None:
        """One request more was made."""
        self.asked_seconds = seconds + (self.asked_seconds or 0.0)


class Bulkhead:
    """Thread-safe. ``probes``: how many this process runs at a time; of one alone nothing can be kept free."""

    def __init__(self, probes: int) -> None:
        self._slow_places = max(1, int(probes * SLOW_SHARE))
        self._lock = threading.Lock()
        self._slow: dict[str, None] = {}
        self._taken: set[Place] = set()
        # At hosts not known as slow, by their begin, the oldest first. Who runs for long takes a slow one's place: when
        # a provider dies, and when a worker starts, its sites are all new to it.
        self._running: dict[Place, float] = {}

    @property
    def slow_hosts(self) -> int:
        """How many are known."""
        return len(self._slow)

    @contextmanager
    def place(self, host: str) -> Iterator[Place | None]:
        """Run there; None where the host was slow and such hosts have all their places taken."""
        place = self._take(host)
        if place is None:
            yield None
            return
        try:
            yield place
        finally:
            self._give_back(place, host)

    def _take(self, host: str) -> Place | None:
        place, now = Place(), clock.monotonic()
        with self._lock:
            if host not in self._slow:
                self._running[place] = now
            elif self._slow_runs(now) >= self._slow_places:
                return None
            else:
                self._taken.add(place)
        return place

    def _slow_runs(self, now: float) -> int:
        """How many hold a place of the slow ones; the caller has the lock."""
        while self._running and now - next(iter(self._running.values())) >= SLOW_SECONDS:
            place = next(iter(self._running))
            del self._running[place]
            self._taken.add(place)
        return len(self._taken)

    def _give_back(self, place: Place, host: str) -> None:
        with self._lock:
            self._running.pop(place, None)
            self._taken.discard(place)
            self._learn(host, place.asked_seconds)

    def _learn(self, host: str, asked_seconds: float | None) -> None:
        if asked_seconds is None:
            return
        self._slow.pop(host, None)
        if asked_seconds >= SLOW_SECONDS:
            self._slow[host] = None
        if len(self._slow) > KEPT_HOSTS:
            del self._slow[next(iter(self._slow))]
