"""
The threads of Celery's thread pool, without a future for each task. ``take_over`` is called for each worker.

concurrent.futures makes a lock, a condition and a future for each task, and keeps count of idle threads by a semaphore
written in Python; nobody of Celery's ever looks at the future: it hears of a task's end by its callback.

It also begins a thread for each task that finds none idle, and keeps it: all 256 where a thousand sites are due at a
first start, 0.13 MB each, for answers that take a millisecond. Here work waits a moment for those that are there, and
the thread that was busy last is the first to be busy again, so that what a burst wanted ends when it has had nothing to
do for a while.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable
from typing import Any, Never

import structlog

log = structlog.get_logger()

_Work = Callable[[], object]

# So many are begun at once; beyond them one after the other, so long after the one before: up to 500 a second.
AT_ONCE = 8
PAUSE_SECONDS = 0.002
IDLE_SECONDS = 30.0


class _Ticket:
    """What stands for a task's end, since Celery wants something."""

    def result(self, timeout: float | None = None) -> Never:
        """Not kept here."""
        raise NotImplementedError("a task's end is told to its callback")


_TICKET = _Ticket()


class _Thread(threading.Thread):
    """``work`` is handed to it while it is idle, and told by ``woken``. ``pauses`` before it looks for any."""

    def __init__(self, run: Callable[[_Thread], None], number: int, *, pauses: bool) -> None:
        super().__init__(name=f"pool-{number}", daemon=True)
        self._runs = run
        self.pauses = pauses
        self.work: _Work | None = None
        self.woken = threading.Lock()
        self.woken.acquire()

    def run(self) -> None:
        self._runs(self)


class Threads:
    """
    Stands in for ``concurrent.futures.ThreadPoolExecutor``: at most ``limit`` threads, begun as they are needed; work
    beyond them waits, in the order in which it came.
    """

    def __init__(self, limit: int, *, idle_seconds: float = IDLE_SECONDS) -> None:
        self._limit = limit
        self._idle_seconds = idle_seconds
        self._lock = threading.Lock()
        self._waiting: deque[_Work] = deque()
        # The last to become so is the first to be taken.
        self._idle: list[_Thread] = []
        # One is beginning, and will look for work that waits.
        self._growing = False
        self._closed = False
        self._begun = 0
        # By this name Celery counts them.
        self._threads: set[threading.Thread] = set()

    def submit(self, function: Callable[..., object], *arguments: Any) -> _Ticket:
        """
        Run it, when a thread is free.

        Raises:
            RuntimeError: after `shutdown`.
        """
        with self._lock:
            if self._closed:
                raise RuntimeError("the pool was shut down")
            if not self._idle:
                self._waiting.append(lambda: function(*arguments))
                self._grow()
                return _TICKET
            thread = self._idle.pop()
        thread.work = lambda: function(*arguments)
        thread.woken.release()
        return _TICKET

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Take no more; ``cancel_futures`` drops what has not begun. Waits for what runs."""
        with self._lock:
            self._closed = True
            if cancel_futures:
                self._waiting.clear()
            idle, self._idle = self._idle, []
        for one in idle:
            one.woken.release()
        # What waits may have another one begun.
        while wait and (thread := next((one for one in [*self._threads] if one.is_alive()), None)):
            thread.join()

    def _grow(self) -> None:
        """By one thread, if it may be; the caller has the lock. Where the system has none, those that are must do."""
        if self._growing or len(self._threads) >= self._limit:
            return
        pauses = len(self._threads) >= AT_ONCE
        thread = _Thread(self._run, self._begun, pauses=pauses)
        try:
            thread.start()
        except RuntimeError:
            log.exception("worker.thread_not_begun", threads=len(self._threads))
            return
        self._begun += 1
        self._growing = pauses
        self._threads.add(thread)

    def _run(self, thread: _Thread) -> None:
        work = self._first(thread)
        while work is not None:
            try:
                work()
            except Exception:
                # Celery's trace lets nothing out but its own faults; this thread must outlive them.
                log.exception("worker.task_not_told")
            # Or it would be kept while there is nothing to do.
            work = None
            work = self._next(thread)

    def _first(self, thread: _Thread) -> _Work | None:
        """What it begins with; where it was begun after others, they have had a moment to do it all."""
        if thread.pauses:
            time.sleep(PAUSE_SECONDS)
        with self._lock:
            self._growing = self._growing and not thread.pauses
            work = self._waiting.popleft() if self._waiting else None
            if self._waiting:
                self._grow()
        return work or self._next(thread)

    def _next(self, thread: _Thread) -> _Work | None:
        """What it does next, waiting for that; None: it ends."""
        with self._lock:
            if self._waiting:
                return self._waiting.popleft()
            if self._closed:
                return None
            self._idle.append(thread)
        if not thread.woken.acquire(timeout=self._idle_seconds) and not self._handed(thread):
            return None
        work, thread.work = thread.work, None
        return work

    def _handed(self, thread: _Thread) -> bool:
        """Whether it got something just when it had waited long enough; else it is no thread of ours any more."""
        with self._lock:
            if thread in self._idle:
                self._idle.remove(thread)
                self._threads.discard(thread)
                return False
        thread.woken.acquire()
        return True


def take_over(pool: Any) -> None:
    """Let Celery's thread pool, which has begun nothing yet, run its tasks here."""
    pool.executor.shutdown()
    pool.executor = Threads(pool.limit)
