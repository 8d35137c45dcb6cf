"""
Keeps a probe worker on one processor at a time, the one that others use least: ``begin_keeping`` is called when it
starts, where its pool is threads.

Its threads take turns at Python's lock, a dozen times for each probe. On several processors whoever gets it next mostly
has to be woken on another one, out of its idle state and with cold caches, while nobody runs Python: a worker with more
to do than it can makes a third more probes on one of two (docs/decisions/0039). More than one it can hardly use, so
more workers are the way to more of them.

The kernel keeps others off a processor that is busy. Two workers on the same one, or one beside something that may not
leave it either, see each other. Both then want to be elsewhere, and would meet again there, so each moves only every
other time, by chance: after a few looks they are apart. Elsewhere than on Linux nothing is done.
"""

from __future__ import annotations

import os
import random
import threading
import time
from collections.abc import Callable, Collection, Mapping
from contextlib import suppress
from functools import lru_cache
from pathlib import Path

import structlog

from wms_tasks import clock

log = structlog.get_logger()

EVERY_SECONDS = 1.0
# What a move must win, as a share of a processor; less is the coming and going of a few threads.
WORTH = 0.2
_MOVES = 0.5
_STAT = Path("/proc/stat")
_THREADS = Path("/proc/self/task")
_IDLE_COLUMNS = (3, 4)


def busy_seconds(stat: str, ticks_per_second: int) -> dict[int, float]:
    """How long each processor has been busy since the system began; from /proc/stat (proc(5))."""
    found = {}
    for line in stat.splitlines():
        name, *columns = line.split()
        if name.startswith("cpu") and name != "cpu":
            # Guests are counted with users already.
            ticks = [int(column) for column in columns[:8]]
            found[int(name[3:])] = (sum(ticks) - sum(ticks[column] for column in _IDLE_COLUMNS)) / ticks_per_second
    return found


def better(shares: Mapping[int, float], now: int) -> int:
    """
    Where to be, of these: what others use of each, as a share; where we are, unless another one is worth a move.
    """
    best = min(shares, key=lambda one: (shares[one], one))
    return best if shares[now] - shares[best] >= WORTH else now


class Keeper:
    """Keeps all threads of this process on one of ``allowed``. Used by one thread."""

    def __init__(self, allowed: Collection[int], *, chance: Callable[[], float] = random.random) -> None:
        """
        Args:
            chance: from 0 to 1, another one each time.
        Raises:
            OSError: it may not.
        """
        self._chance = chance
        self._allowed = sorted(allowed)
        # So that of many workers not all begin on the first one.
        self.now = self._allowed[os.getpid() % len(self._allowed)]
        self._place()
        self._read()

    def look(self) -> None:
        """
        Once every `EVERY_SECONDS`: move, where it is worth it; threads that have come since stay with the others.

        Raises:
            OSError: it may not, or the system does not tell.
        """
        before, at, own = self._busy, self._at, self._own
        self._read()
        passed = max(0.001, self._at - at)
        shares = {one: (self._busy[one] - before[one]) / passed for one in self._allowed if one in before}
        if self.now in shares:
            shares[self.now] = max(0.0, shares[self.now] - (self._own - own) / passed)
            if (found := better(shares, self.now)) != self.now and self._chance() < _MOVES:
                log.debug("worker.processor_changed", before=self.now, now=found)
                self.now = found
        self._place()

    def _read(self) -> None:
        self._busy = busy_seconds(_STAT.read_text(encoding="ascii"), os.sysconf("SC_CLK_TCK"))
        self._at, self._own = clock.monotonic(), time.process_time()

    def _place(self) -> None:
        for thread in _THREADS.iterdir():
            with suppress(ProcessLookupError):  # it has ended
                os.sched_setaffinity(int(thread.name), {self.now})


def _run(keeper: Keeper) -> None:
    pause = threading.Event()
    try:
        while not pause.wait(EVERY_SECONDS):
            keeper.look()
    except OSError as error:
        # A processor was taken away, or the right to choose one: then we stay where the system has put us.
        log.warning("worker.processor_not_kept", error=str(error))


@lru_cache(maxsize=1)
def begin_keeping() -> None:
    """From now on, in a thread of its own, until the process ends; once. Nothing where there is but one."""
    if not hasattr(os, "sched_getaffinity") or not _STAT.exists():
        return
    allowed = os.sched_getaffinity(0)
    if len(allowed) < 2:
        return
    try:
        keeper = Keeper(allowed)
    except OSError as error:
        log.warning("worker.processor_not_kept", error=str(error))
        return
    threading.Thread(target=_run, args=(keeper,), name="processor", daemon=True).start()
