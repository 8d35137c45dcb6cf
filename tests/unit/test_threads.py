"""The pool's threads: as many as are needed, work in its order, and an end that waits."""

from __future__ import annotations

import threading
from typing import Any

import pytest
from celery.concurrency.thread import TaskPool
from structlog.testing import capture_logs

from tests.waiting import wait_until
from wms_tasks.roles.threads import AT_ONCE, Threads, take_over

SECONDS = 5.0


class Long:
    """Work that begins, and goes on until it may end."""

    def __init__(self) -> None:
        self._gate, self._running = threading.Event(), threading.Semaphore(0)

    def __call__(self) -> None:
        self._running.release()
        self._gate.wait(SECONDS)

    def began(self, times: int) -> None:
        """Wait until it has, so often since the last call."""
        for _ in range(times):
            assert self._running.acquire(timeout=SECONDS)

    def begins_no_more(self) -> bool:
        """As of now."""
        return not self._running.acquire(blocking=False)

    def end(self) -> None:
        """All of it, now and later."""
        self._gate.set()


def test_threads_are_begun_as_they_are_needed_and_no_more_than_may_be() -> None:
    pool, work = Threads(3), Long()
    pool.submit(work)
    assert len(pool._threads) == 1
    for _ in range(5):
        pool.submit(work)
    work.began(3)
    assert len(pool._threads) == 3
    assert work.begins_no_more()
    work.end()
    work.began(3)
    pool.shutdown()


def test_one_thread_is_enough_for_one_after_the_other() -> None:
    pool = Threads(10)
    for _ in range(5):
        done = threading.Event()
        pool.submit(done.set)
        assert done.wait(SECONDS)
        wait_until(lambda: len(pool._idle) == 1, SECONDS, "it is idle again", every_seconds=0)
    assert len(pool._threads) == 1
    pool.shutdown()


def test_short_work_that_comes_together_is_done_by_few() -> None:
    """Two hundred at once: what the first threads do while the next one pauses needs no more of them."""
    pool, done = Threads(256), threading.Semaphore(0)
    for _ in range(200):
        pool.submit(done.release)
    for _ in range(200):
        assert done.acquire(timeout=SECONDS)
    assert len(pool._threads) < 2 * AT_ONCE
    pool.shutdown()


def test_long_work_that_comes_together_gets_a_thread_each() -> None:
    """Though nothing more comes: the last thread that was begun sees to the next."""
    pool, work = Threads(50), Long()
    for _ in range(50):
        pool.submit(work)
    work.began(50)
    work.end()
    pool.shutdown()


def test_a_thread_ends_that_has_had_nothing_to_do_for_long() -> None:
    pool, work = Threads(4, idle_seconds=0.05), Long()
    for _ in range(4):
        pool.submit(work)
    work.began(4)
    work.end()
    wait_until(lambda: not pool._threads, SECONDS, "all have ended")
    done = threading.Event()
    pool.submit(done.set)
    assert done.wait(SECONDS)
    pool.shutdown()


def test_nothing_is_lost_where_threads_come_and_go() -> None:
    """Idle for no time at all, so that each is handed work, or ends, at about the same moment."""
    pool, done = Threads(8, idle_seconds=0.0), threading.Semaphore(0)
    for _ in range(2_000):
        pool.submit(done.release)
        assert done.acquire(timeout=SECONDS)
    pool.shutdown()
    assert not pool._waiting


def test_where_no_thread_can_be_begun_those_that_are_there_do_it(monkeypatch: pytest.MonkeyPatch) -> None:
    pool, gate, began, done = Threads(4), threading.Event(), threading.Event(), threading.Event()

    def first() -> None:
        began.set()
        gate.wait(SECONDS)

    pool.submit(first)
    assert began.wait(SECONDS)

    def refuse(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    with capture_logs() as logs:
        monkeypatch.setattr(threading.Thread, "start", refuse)
        pool.submit(done.set)
    assert [line["event"] for line in logs] == ["worker.thread_not_begun"]
    gate.set()
    assert done.wait(SECONDS)
    pool.shutdown()


def test_what_waits_is_run_in_its_order_before_the_end() -> None:
    pool, seen = Threads(1), list[int]()
    for number in range(50):
        pool.submit(seen.append, number)
    pool.shutdown()
    assert seen == list(range(50))
    with pytest.raises(RuntimeError, match="shut down"):
        pool.submit(seen.append, 50)


def test_what_has_not_begun_can_be_dropped() -> None:
    pool, gate, began, seen = Threads(1), threading.Event(), threading.Event(), list[int]()

    def first() -> None:
        began.set()
        gate.wait(SECONDS)

    pool.submit(first)
    assert began.wait(SECONDS)
    pool.submit(seen.append, 1)
    pool.shutdown(wait=False, cancel_futures=True)
    gate.set()
    for thread in pool._threads:
        thread.join(SECONDS)
    assert seen == []


def test_a_thread_outlives_what_goes_wrong_in_it() -> None:
    pool, done = Threads(1), threading.Event()

    def fail() -> None:
        raise ValueError("a fault")

    with capture_logs() as logs:
        pool.submit(fail)
        pool.submit(done.set)
        assert done.wait(SECONDS)
    assert [line["event"] for line in logs] == ["worker.task_not_told"]
    pool.shutdown()


def test_celery_s_pool_runs_its_tasks_there() -> None:
    """With the callbacks that it tells of their begin and end, and the counts that it shows."""
    pool = TaskPool(2)
    take_over(pool)
    told: list[Any] = []
    ended = threading.Event()

    def target(number: int) -> int:
        return number + 1

    def end(answer: int) -> None:
        told.append(answer)
        ended.set()

    pool.start()
    result = pool.apply_async(target, (1,), accept_callback=lambda *_: told.append("accepted"), callback=end)
    assert ended.wait(SECONDS)
    assert told == ["accepted", 2]
    assert pool.info["threads"] == 1
    with pytest.raises(NotImplementedError):
        result.get()
    pool.stop()
    assert not any(thread.is_alive() for thread in pool.executor._threads)
