"""
Able to take work: each role of this process says what it waits for; `/readyz` is 200 while none waits for anything.

Beside `/healthz` (health.py), which asks whether a thread has hung: a role that waits for Redis is healthy, and not
ready. Nothing here asks a service; the roles know.
"""

from __future__ import annotations

import threading
from collections.abc import Callable

WhyNot = Callable[[], str | None]


class Readiness:
    """The roles of this process, by name. Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._asked: dict[str, WhyNot] = {}

    def expect(self, name: str, why_not: WhyNot) -> None:
        """From now on `name` is asked: what it waits for, in a few words, or None where it can take work. At once."""
        with self._lock:
            self._asked[name] = why_not

    def forget(self, name: str) -> None:
        """`name` has ended as asked."""
        with self._lock:
            self._asked.pop(name, None)

    def ask(self) -> dict[str, str | None]:
        """What each role waits for, by name."""
        with self._lock:
            asked = sorted(self._asked.items())
        return {name: why_not() for name, why_not in asked}


READY = Readiness()
