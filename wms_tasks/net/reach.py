"""
Does anything out there answer? TCP connects and a question to the resolver, all at once, in two seconds. Sends nothing.

Used by polite/network.py to tell a dead site from a dead network of our own.
"""

from __future__ import annotations

import secrets
import socket
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial

from wms_tasks.canaries import Canary
from wms_tasks.net.connection import connect
from wms_tasks.net.guard import CLOSED, Guard
from wms_tasks.net.progress import Progress
from wms_tasks.net.resolve import Resolver, literal
from wms_tasks.net.watch import Watchdog

# What answers at all answers in a tenth of it.
REACH_SECONDS = 2.0
# The resolver has answered: that there is no such name, or no address of it.
_ANSWERED = frozenset({socket.EAI_NONAME, getattr(socket, "EAI_NODATA", socket.EAI_NONAME)})


class Reach:
    """
    Thread-safe; one for a process, since its threads do not survive a fork. ``guard`` None: whatever is asked for may
    be connected to, because an operator named it.
    """

    def __init__(
        self,
        *,
        guard: Guard | None = CLOSED,
        resolver: Resolver | None = None,
        deadline_seconds: float = REACH_SECONDS,
    ) -> None:
        self._guard = guard
        self._resolver = resolver or Resolver()
        self._watchdog = Watchdog()
        self._deadline_seconds = deadline_seconds

    def answers(self, canaries: Sequence[Canary], *, below: str | None = None) -> list[bool]:
        """
        Which of them took a connection, in their order; it is closed at once.

        Args:
            below: a host; then the last answer is the resolver's, about a name below it (see `resolver_answers`).
        """
        questions: list[Callable[[], bool]] = [partial(self.connects, canary) for canary in canaries]
        if below is not None:
            questions.append(partial(self.resolver_answers, below))
        if not questions:
            return []
        with ThreadPoolExecutor(len(questions), thread_name_prefix="wms-reach") as pool:
            return [asked.result() for asked in [pool.submit(question) for question in questions]]

    def resolver_answers(self, host: str) -> bool:
        """
        Whether the system's resolver still knows `host`, which was up lately, and answers a question about a name below
        it that nobody has in a cache. An answer from a cache on this machine would say nothing about the network, nor
        does one that denies every name.
        """
        with self._watchdog.watch(self._deadline_seconds) as watch:
            try:
                self._resolver.resolve(host, 0, watch)
            except (OSError, UnicodeError):
                return False
            try:
                self._resolver.resolve(f"{secrets.token_hex(8)}.{host}.", 0, watch)
            except socket.gaierror as error:
                return error.errno in _ANSWERED
            except (OSError, UnicodeError):
                return False
            return True

    def connects(self, canary: Canary) -> bool:
        """Whether it takes a connection."""
        with self._watchdog.watch(self._deadline_seconds) as watch:
            try:
                addresses = self._resolver.resolve(canary.host, canary.port, watch)
                admitted = self._guard.admit(addresses) if self._guard is not None else addresses
                connect(admitted, watch, Progress()).close()
            except (OSError, UnicodeError):
                return False
            return True


def is_name(host: str) -> bool:
    """Whether a resolver is needed for `host`."""
    return literal(host, 0) is None
