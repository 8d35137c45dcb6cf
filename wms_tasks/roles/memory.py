"""
Gives memory that was freed back to the system, in every worker of ours: ``begin_giving_back`` is called when it starts.

The C library keeps what was freed, in holes between what is left. A persist worker that had 20,000 messages to catch
up with kept 160 MB for good, of which 40 were free (malloc_trim, glibc); a worker keeps what a burst took. Trimming
takes a few milliseconds, so it is done only after a process has grown.

What then is still there may be garbage that refers to itself, for which Python looks rarely in a large process: each
connection to Redis that was lost left 0.3 MB, a megabyte a minute while faults came. Elsewhere than on glibc nothing is
done. How often Python looks at all is said here too.
"""

from __future__ import annotations

import ctypes
import gc
import os
import threading
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path

import structlog

from wms_tasks import clock

log = structlog.get_logger()

EVERY_SECONDS = 5.0
# Less is the coming and going of a few batches.
GROWN_BYTES = 4 * 2**20
# A look at all objects holds the interpreter for a tenth of a second.
COLLECT_EVERY_SECONDS = 30.0
# New objects, of those that can be in a cycle, before Python looks for cycles. At every 700, as Python does by itself,
# it goes again and again through what hundreds of probes under way hold, or a batch: one probe worker made 544 probes a
# second, 608 at every 10,000, 710 at every 50,000 (medians of 5, in turns), and a row took persist 14.6 instead of
# 12.0 µs of CPU. Neither a probe nor a row leaves a cycle (tests/unit/test_cycles.py), so that memory does not grow.
OBJECTS_BETWEEN_LOOKS = 50_000
_M_ARENA_MAX, _M_MMAP_THRESHOLD = -8, -3
_LARGE_BYTES = 128 * 1024
_STATM = Path("/proc/self/statm")


def trimmer() -> Callable[[], object] | None:
    """glibc's malloc_trim, keeping nothing at the top; None where the C library has none."""
    try:
        trim = ctypes.CDLL(None).malloc_trim
    except (AttributeError, OSError, TypeError):
        return None
    trim.argtypes = [ctypes.c_size_t]
    return lambda: trim(0)


def resident_bytes() -> int:
    """
    What this process has in memory, shared pages included.

    Raises:
        OSError: the system does not tell (/proc, Linux).
    """
    return int(_STATM.read_text(encoding="ascii").split()[1]) * os.sysconf("SC_PAGE_SIZE")


@lru_cache(maxsize=1)
def hold_less() -> None:
    """
    Two heaps for all threads, instead of eight for each core, and memory of its own for what is large, which goes back
    at once (mallopt(3)); glibc otherwise stops doing so when it has seen some of it freed. A thread that has begun
    keeps the heap that it has, so this is for whoever begins some early.
    """
    if trimmer() is None:
        return
    libc = ctypes.CDLL(None)
    libc.mallopt(_M_ARENA_MAX, 2)
    libc.mallopt(_M_MMAP_THRESHOLD, _LARGE_BYTES)


def look_less_for_cycles() -> None:
    """
    In this process, from now on, after `OBJECTS_BETWEEN_LOOKS` new objects; idempotent. What the process holds already
    is never looked through again.
    """
    gc.collect()
    gc.freeze()
    _, *others = gc.get_threshold()
    gc.set_threshold(OBJECTS_BETWEEN_LOOKS, *others)


class Giver:
    """Gives back what this process has grown by. Used by one thread."""

    def __init__(self, trim: Callable[[], object]) -> None:
        self._trim = trim
        # After the last trim, and after the last look for cycles.
        self._left = self._collected = resident_bytes()
        self._collects_at = clock.monotonic()

    def look(self) -> None:
        """Trim, if the process has grown since the last time; what is still there may be cycles nobody looked for."""
        now = resident_bytes()
        if now - self._left < GROWN_BYTES:
            self._left = min(now, self._left)
            return
        self._trim()
        if resident_bytes() - self._collected >= GROWN_BYTES and clock.monotonic() >= self._collects_at:
            self._collects_at = clock.monotonic() + COLLECT_EVERY_SECONDS
            gc.collect()
            self._trim()
            self._collected = resident_bytes()
        self._left = resident_bytes()
        log.debug("memory.given_back", from_bytes=now, to_bytes=self._left)


def _run(trim: Callable[[], object]) -> None:
    pause, giver = threading.Event(), Giver(trim)
    while not pause.wait(EVERY_SECONDS):
        giver.look()


@lru_cache(maxsize=1)
def begin_giving_back() -> None:
    """From now on, in a thread of its own, until the process ends; once."""
    trim = trimmer()
    if trim is not None and _STATM.exists():
        hold_less()
        threading.Thread(target=_run, args=(trim,), name="memory", daemon=True).start()
