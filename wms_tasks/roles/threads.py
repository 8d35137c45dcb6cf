"""
The threads of Celery's thread pool, without a future for each task. ``take_over`` is called for each worker.

concurrent.futures makes a lock, a condition and a future for each task, and keeps count of idle threads by a semaphore
written in Python; nobody of Celery's ever looks at the future: it hears of a task's end by its callback.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from queue import Empty, SimpleQueue
from typing import Any, Never

import structlog

log = structlog.get_logger()

_Work = Callable[[], object]


class _Ticket:
    """What stands for a task's end, since Celery wants something."""

    def result(self, timeout: float | None = None) -> Never:
        """Not kept here."""
        raise NotImplementedError("a task's end is told to its callback")


_TICKET = _Ticket()


class Threads:
    """
    Stands in for ``concurrent.futures.ThreadPoolExecutor``: at most ``limit`` threads, begun as they are needed; work
    beyond them waits, in the order in which it came.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._lock = threading.Lock()
        self._work: SimpleQueue[_Work | None] = SimpleQueue()
        self._unfinished = 0
        self._closed = False
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
            self._unfinished += 1
            more = self._unfinished > len(self._threads) < self._limit
        self._work.put(lambda: function(*arguments))
        if more:
            self._begin()
        return _TICKET

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Take no more; ``cancel_futures`` drops what has not begun. Waits for what runs."""
        with self._lock:
            self._closed = True
        while cancel_futures and self._drop_one():
            pass
        for _ in self._threads:
            self._work.put(None)
        for thread in self._threads if wait else ():
            thread.join()

    def _drop_one(self) -> bool:
        try:
            self._work.get_nowait()
        except Empty:
            return False
        return True

    def _begin(self) -> None:
        thread = threading.Thread(target=self._run, name=f"pool-{len(self._threads)}", daemon=True)
        self._threads.add(thread)
        thread.start()

    def _run(self) -> None:
        while (work := self._work.get()) is not None:
            try:
                work()
            except Exception:
                # Celery's trace lets nothing out but its own faults; this thread must outlive them.
                log.exception("worker.task_not_told")
            finally:
                del work
                with self._lock:
                    self._unfinished -= 1


def take_over(pool: Any) -> None:
    """Let Celery's thread pool, which has begun nothing yet, run its tasks here."""
    pool.executor.shutdown()
    pool.executor = Threads(pool.limit)
