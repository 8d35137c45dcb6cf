"""
How a process ends in time: what it holds is given back at once, and a watchdog ends it if that does not help.

Threads have no soft shutdown in Celery, and a silent Redis holds a stopping worker for more than half a minute; so a
running probe is cut short and its message goes back to the queue, and after ten seconds the process leaves anyway.
"""

from __future__ import annotations

import _thread
import os
import sys
import threading
from collections.abc import Callable
from typing import Any

import structlog
from celery.worker import state

from wms_tasks import sentry
from wms_tasks.log import last_words
from wms_tasks.stopping import STOPPING

log = structlog.get_logger()

WATCHDOG_SECONDS = 10.0
_WHAT_FOLLOWS = "the process leaves; Redis gives unfinished slots to other workers"
# What is on its way to Kafka gets this long to be confirmed.
FLUSH_SECONDS = 3.0


def begin(why: str, *, exit_code: int = 0) -> None:
    """Stop this process's work, from any thread or signal handler. Only the first call counts."""
    if not STOPPING.begin(why, exit_code=exit_code):
        return
    start_watchdog()
    BELL.ring()
    # Not in the handler itself: it may have interrupted a thread that holds the locks needed here. And not by
    # threading.Thread, which waits until it has begun: under gevent a handler may not wait.
    _thread.start_new_thread(_give_back, ())


def end_worker(why: str, *, exit_code: int) -> None:
    """`begin`, and have Celery's worker loop leave with that code."""
    begin(why, exit_code=exit_code)
    state.should_stop = exit_code


def start_watchdog(seconds: float = WATCHDOG_SECONDS) -> None:
    """Exit 1 with one line, should the process still be there after so long; what it held comes back by itself."""
    sleep = _unpatched("time", "sleep")

    def watch() -> None:
        sleep(seconds)
        os.write(2, last_words("stop.overdue", waited_seconds=seconds, then=_WHAT_FOLLOWS))
        os._exit(1)

    _unpatched("_thread", "start_new_thread")(watch, ())


def _give_back() -> None:
    from wms_tasks.net.fetch import abort_all
    from wms_tasks.publish import hurry

    abort_all()
    hurry(FLUSH_SECONDS)
    sentry.flush()


def _unpatched(module: str, name: str) -> Callable[..., Any]:
    """A function as it was before gevent: the watchdog must run while a C call blocks every greenlet."""
    if "gevent.monkey" in sys.modules:
        original: Callable[..., Any] = sys.modules["gevent.monkey"].get_original(module, name)
        return original
    found: Callable[..., Any] = getattr(__import__(module), name)
    return found


class ChildrenBell:
    """
    Tells forked children that their worker is stopping: they read a pipe whose other end only the parent holds.

    Celery's prefork pool tells its children nothing on TERM; it waits for their tasks.
    """

    def __init__(self) -> None:
        self._reader = self._writer = -1

    def hang(self) -> None:
        """In the parent, before the pool forks."""
        self._reader, self._writer = os.pipe()

    def listen(self) -> None:
        """In a child: begin to stop when the parent rings, or is gone."""
        if self._writer >= 0:
            os.close(self._writer)
            self._writer = -1
            threading.Thread(target=self._wait, name="stop-bell", daemon=True).start()

    def ring(self) -> None:
        """In the parent; once."""
        writer, self._writer = self._writer, -1
        if writer >= 0:
            os.close(writer)

    def _wait(self) -> None:
        os.read(self._reader, 1)
        if STOPPING.begin("the worker is stopping"):
            _give_back()


BELL = ChildrenBell()
