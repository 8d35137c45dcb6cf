"""
Names to addresses, with a deadline. getaddrinfo cannot be interrupted, so it runs on threads of its own.

A resolver that says nothing costs those threads, which are bounded, and never a worker's: the caller stops waiting at
its deadline. Requests for a name that is already being asked for share the answer. There is no cache: a monitor must
see what a visitor would. Used by connection.py.
"""

from __future__ import annotations

import queue
import socket
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future, InvalidStateError
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from wms_tasks.net.redirect import IpChoice
from wms_tasks.net.watch import Watch

# Names whose servers are silent hold one thread each for as long as the system's resolver tries (often 10 s or more);
# beyond this many at a time the others wait too.
MAX_THREADS = 64
# A name may have many addresses; each that is tried gets an equal share of what is left of the deadline.
MAX_ADDRESSES = 4

Lookup = Callable[..., list[Any]]


@dataclass(frozen=True, slots=True)
class Address:
    """One address to connect to: the family and what ``socket.connect`` takes."""

    family: socket.AddressFamily
    sockaddr: tuple[Any, ...]


def literal(host: str, port: int) -> Address | None:
    """The address that `host` is, where it is one in its usual form; None for a name."""
    for family in (socket.AF_INET, socket.AF_INET6):
        with suppress(OSError, ValueError):
            socket.inet_pton(family, host)
            return Address(family, (host, port) if family == socket.AF_INET else (host, port, 0, 0))
    return None


_FAMILIES = {"4": socket.AF_INET, "6": socket.AF_INET6}


def chosen(addresses: Sequence[Address], ip: IpChoice) -> list[Address]:
    """
    Those of `addresses` to try, at most MAX_ADDRESSES, in this order. Pure.

    "4" and "6" leave only that family; "prefer_…" puts it first and keeps a place for the other.

    Raises:
        socket.gaierror: none is left.
    """
    if ip == "any":
        return list(addresses[:MAX_ADDRESSES])
    number = ip[-1]
    wanted = [address for address in addresses if address.family == _FAMILIES[number]]
    others = [address for address in addresses if address.family != _FAMILIES[number]]
    if ip.startswith("prefer_"):
        first = wanted[: MAX_ADDRESSES - 1] if others else wanted
        return [*first, *others][:MAX_ADDRESSES]
    if not wanted:
        raise socket.gaierror(socket.EAI_NONAME, f"the host has no IPv{number} address")
    return wanted[:MAX_ADDRESSES]


class Resolver:
    """Thread-safe. ``lookup`` has getaddrinfo's signature. Threads start when they are needed."""

    def __init__(self, lookup: Lookup = socket.getaddrinfo, *, max_threads: int = MAX_THREADS) -> None:
        self._lookup = lookup
        self._max_threads = max_threads
        self._lock = threading.Lock()
        self._asked: dict[str, Future[list[Any]]] = {}
        self._queue: queue.Queue[tuple[str, Future[list[Any]]]] = queue.Queue()
        self._threads = 0

    def resolve(self, host: str, port: int, watch: Watch) -> list[Address]:
        """
        The addresses of `host`, in the system's order of preference (RFC 6724); never empty.

        Raises:
            socket.gaierror: there is no such name, or the resolver cannot say.
            UnicodeError: it cannot be a name.
            TimeoutError: the watch's deadline came first, or it was ended.
        """
        address = literal(host, port)
        if address is not None:
            return [address]
        try:
            found = self._ask(host).result(timeout=watch.remaining())
        except TimeoutError:
            watch.remaining()
            raise
        addresses = [Address(family, (sockaddr[0], port, *sockaddr[2:])) for family, _, _, _, sockaddr in found]
        if not addresses:
            raise socket.gaierror(socket.EAI_NONAME, "no address")
        return addresses

    def abort(self) -> None:
        """Stop every wait; the watches say why."""
        with self._lock:
            waiting = list(self._asked.values())
        for answer in waiting:
            with suppress(InvalidStateError):  # it came just now
                answer.set_exception(TimeoutError("cancelled"))

    def _ask(self, host: str) -> Future[list[Any]]:
        with self._lock:
            answer = self._asked.get(host)
            if answer is not None:
                return answer
            answer = self._asked[host] = Future()
            self._queue.put((host, answer))
            if self._threads < min(len(self._asked), self._max_threads):
                self._threads += 1
                threading.Thread(target=self._run, name="wms-resolver", daemon=True).start()
            return answer

    def _run(self) -> None:
        while True:
            self._answer(*self._queue.get())

    def _answer(self, host: str, answer: Future[list[Any]]) -> None:
        try:
            found, error = self._lookup(host, None, 0, socket.SOCK_STREAM), None
        except Exception as failure:  # noqa: BLE001 - handed to whoever asked
            # Without the frame here, which holds the answer that will hold the failure.
            found, error = [], failure.with_traceback(None)
        with self._lock:
            del self._asked[host]
        with suppress(InvalidStateError):  # aborted meanwhile
            if error is None:
                answer.set_result(found)
            else:
                answer.set_exception(error)
