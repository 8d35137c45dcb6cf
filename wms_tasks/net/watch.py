"""
One deadline for a whole request: a `Watch` knows the live socket and ends it when time is up or we are stopping.

Socket timeouts count from the last byte, so a server that drips can stretch them for ever; and DNS, TLS and interim
answers each have their own. A `Watchdog` is one thread with a heap for all requests of a process; it shuts the socket
down, which wakes whatever call waits on it (threads and gevent alike). Used by fetch.py and what it calls.
"""

from __future__ import annotations

import heapq
import socket
import threading
from contextlib import suppress
from itertools import count
from types import TracebackType
from typing import Self

import structlog

from wms_tasks import clock

log = structlog.get_logger()


class Watch:
    """
    A request's time: ``deadline`` on clock.monotonic(), and whether it was ended from outside.

    ``expired`` and ``cancelled`` say why a socket call failed or returned nothing; whoever reads asks them first.
    """

    __slots__ = ("_dog", "_lock", "_socket", "cancelled", "deadline", "expired")

    def __init__(self, deadline: float, dog: Watchdog) -> None:
        self.deadline = deadline
        self.expired = False
        self.cancelled = False
        self._dog = dog
        self._lock = threading.Lock()
        self._socket: socket.socket | None = None

    def remaining(self) -> float:
        """
        Seconds left, always more than 0.

        Raises:
            TimeoutError: none is left, or the watch was ended.
        """
        left = self.deadline - clock.monotonic()
        if left <= 0:
            self.expired = True
        self.check()
        return left

    def check(self) -> None:
        """
        Nothing, while there is time.

        Raises:
            TimeoutError: the watch was ended; `cancelled` and `expired` say which way.
        """
        if self.expired or self.cancelled:
            raise TimeoutError("cancelled" if self.cancelled else "the deadline has passed")

    def hold(self, live: socket.socket) -> None:
        """
        From now on `live` is what ends with the watch.

        A duplicate of the descriptor is kept: TLS detaches the socket object, and a number that was closed and given
        to another connection must never be shut down by us.
        """
        duplicate = live.dup()
        with self._lock:
            previous, self._socket = self._socket, duplicate
            ended = self.expired or self.cancelled
        if previous is not None:
            previous.close()
        if ended:
            self._shut()

    def end(self, *, cancelled: bool) -> None:
        """Cut the request short, from any thread."""
        if cancelled:
            self.cancelled = True
        else:
            self.expired = True
        self._shut()

    def _shut(self) -> None:
        with self._lock:
            if self._socket is not None:
                with suppress(OSError):  # the peer may have closed first
                    self._socket.shutdown(socket.SHUT_RDWR)

    def release(self) -> None:
        """The request is over."""
        with self._lock:
            held, self._socket = self._socket, None
        if held is not None:
            held.close()

    def __enter__(self) -> Self:
        self._dog.add(self)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._dog.remove(self)
        self.release()


class Watchdog:
    """Ends watches at their deadline, all of them at `abort`. Thread-safe; its thread starts with the first watch."""

    def __init__(self) -> None:
        self._wake = threading.Condition()
        self._heap: list[tuple[float, int, Watch]] = []
        self._live: set[Watch] = set()
        self._order = count()
        self._thread: threading.Thread | None = None
        self._aborted = False

    def watch(self, seconds: float) -> Watch:
        """A watch that ends in `seconds`, to be entered with ``with``."""
        return Watch(clock.monotonic() + seconds, self)

    def add(self, watch: Watch) -> None:
        """Begin to look after `watch`. After `abort` it is cancelled at once."""
        with self._wake:
            if self._aborted:
                watch.cancelled = True
                return
            self._live.add(watch)
            heapq.heappush(self._heap, (watch.deadline, next(self._order), watch))
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="wms-deadlines", daemon=True)
                self._thread.start()
            elif self._heap[0][2] is watch:
                self._wake.notify()

    def remove(self, watch: Watch) -> None:
        """The request ended by itself. Its place in the heap goes when it comes up."""
        with self._wake:
            self._live.discard(watch)

    def abort(self) -> None:
        """Cancel every watch there is and will be."""
        with self._wake:
            self._aborted = True
            live = list(self._live)
        for watch in live:
            watch.end(cancelled=True)

    def _due(self) -> list[Watch]:
        """Wait for the next deadline, and give what is over. Empty where the wait was cut short."""
        with self._wake:
            while self._heap and self._heap[0][2] not in self._live:
                heapq.heappop(self._heap)
            if not self._heap:
                self._wake.wait()
                return []
            left = self._heap[0][0] - clock.monotonic()
            if left > 0:
                self._wake.wait(left)
                return []
            return [heapq.heappop(self._heap)[2]]

    def _run(self) -> None:
        while True:
            try:
                for watch in self._due():
                    watch.end(cancelled=False)
            except Exception:
                # This thread must outlive anything: without it a dripping server would hold its worker for ever.
                log.exception("net.watchdog_error")
