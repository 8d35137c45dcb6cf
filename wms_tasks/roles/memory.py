"""
Gives memory that was freed back to the system, in every worker of ours: ``begin_giving_back`` is called when it starts.

The C library keeps what was freed, in holes between what is left. A persist worker that had 20,000 messages to catch
up with kept 160 MB for good, of which 40 were free (malloc_trim, glibc); a worker keeps what a burst took. Trimming
takes a few milliseconds, so it is done only after a process has grown. Elsewhere than on glibc nothing is done.
"""

from __future__ import annotations

import ctypes
import os
import threading
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path

import structlog

log = structlog.get_logger()

EVERY_SECONDS = 5.0
# Less is the coming and going of a few batches.
GROWN_BYTES = 4 * 2**20
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


def give_back(trim: Callable[[], object], after_last: int) -> int:
    """Trim, if the process has grown since; what was left after the last time, which may be this one."""
    now = resident_bytes()
    if now - after_last < GROWN_BYTES:
        return min(now, after_last)
    trim()
    left = resident_bytes()
    log.debug("memory.given_back", from_bytes=now, to_bytes=left)
    return left


def _run(trim: Callable[[], object]) -> None:
    pause, left = threading.Event(), resident_bytes()
    while not pause.wait(EVERY_SECONDS):
        left = give_back(trim, left)


@lru_cache(maxsize=1)
def begin_giving_back() -> None:
    """From now on, in a thread of its own, until the process ends; once."""
    trim = trimmer()
    if trim is not None and _STATM.exists():
        threading.Thread(target=_run, args=(trim,), name="memory", daemon=True).start()
