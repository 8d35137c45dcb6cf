"""Resident memory of the system's processes, each from its start to its end, and whether it grows."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from statistics import median

import psutil

from tests.faults.system import System

EVERY_SECONDS = 5.0
# Compared are the medians of so much time, since a garbage collector comes when it comes.
WINDOW_SECONDS = 60.0


@dataclass(slots=True, eq=False, kw_only=True)
class Life:
    """One process: its place, and (seconds since the run began, resident bytes, its children's included)."""

    name: str
    pid: int
    samples: list[tuple[float, int]] = field(default_factory=list)

    @property
    def seconds(self) -> float:
        """From the first sample to the last."""
        return self.samples[-1][0] - self.samples[0][0] if self.samples else 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Growth:
    """Medians of resident bytes: of the first window after the warm-up, and of the last one."""

    warm_bytes: float
    last_bytes: float

    @property
    def share(self) -> float:
        """0.1 is ten per cent more."""
        return self.last_bytes / self.warm_bytes - 1


def growth(samples: Sequence[tuple[float, int]], warm_up_seconds: float, window_seconds: float) -> Growth | None:
    """How much a life grew after its warm-up; None where it ended before two windows had passed since."""
    if not samples:
        return None
    warm_at = samples[0][0] + warm_up_seconds
    ends_at = samples[-1][0]
    if ends_at - warm_at < 2 * window_seconds:
        return None
    first = [size for at, size in samples if warm_at <= at < warm_at + window_seconds]
    last = [size for at, size in samples if at > ends_at - window_seconds]
    return Growth(warm_bytes=median(first), last_bytes=median(last)) if first and last else None


@contextmanager
def watched_memory(system: System) -> Iterator[list[Life]]:
    """The lives seen so far, filled on from a thread until the end of the block."""
    lives: list[Life] = []
    ended = threading.Event()
    began = time.monotonic()

    def watch() -> None:
        while not ended.wait(EVERY_SECONDS):
            _sample(system, lives, time.monotonic() - began)

    thread = threading.Thread(target=watch, name="memory", daemon=True)
    thread.start()
    try:
        yield lives
    finally:
        ended.set()
        thread.join(EVERY_SECONDS)


def _sample(system: System, lives: list[Life], at: float) -> None:
    known = {(life.name, life.pid): life for life in lives}
    for member in list(system.members.values()):
        try:
            process = psutil.Process(member.pid)
            size = sum(one.memory_info().rss for one in (process, *process.children(recursive=True)))
        except psutil.Error:  # it has just been killed
            continue
        life = known.get((member.name, member.pid))
        if life is None:
            life = Life(name=member.name, pid=member.pid)
            lives.append(life)
        life.samples.append((at, size))
