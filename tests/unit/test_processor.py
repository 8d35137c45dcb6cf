"""A worker's one processor: the one that others use least, for all of its threads, the later ones too."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from wms_tasks import clock
from wms_tasks.roles import processor
from wms_tasks.roles.processor import Keeper, better, busy_seconds

STAT = """\
cpu  900 0 100 5000 100 0 0 0 0 0
cpu0 400 10 40 2500 50 5 5 40 100 0
cpu1 500 0 60 2500 50 0 0 0 0 0
intr 12345 0 0
ctxt 99
"""

linux = pytest.mark.skipif(
    not hasattr(os, "sched_getaffinity") or len(os.sched_getaffinity(0)) < 2, reason="needs Linux, and two processors"
)


def test_busy_is_all_but_idle_and_waiting_for_disks() -> None:
    """A guest's time, which is in its host's user time, is not counted twice."""
    assert busy_seconds(STAT, 100) == {0: 5.0, 1: 5.6}


@pytest.mark.parametrize(
    ("shares", "now", "expected"),
    [
        ({0: 0.0, 1: 0.0}, 0, 0),
        ({0: 0.1, 1: 0.0}, 0, 0),
        ({0: 0.9, 1: 0.1}, 0, 1),
        ({0: 0.9, 1: 0.9}, 1, 1),
        ({0: 0.5, 1: 0.4, 2: 0.1, 3: 0.1}, 0, 2),
    ],
)
def test_a_move_must_be_worth_it(shares: dict[int, float], now: int, expected: int) -> None:
    assert better(shares, now) == expected


class System:
    """Two processors, whose time is set; nothing is really moved."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
        self.at, self.own, self.busy = 0.0, 0.0, {0: 0.0, 1: 0.0}
        self.placed: list[set[int]] = []
        self._stat, threads = folder / "stat", folder / "task"
        (threads / "1").mkdir(parents=True)
        self.say()
        monkeypatch.setattr(processor, "_STAT", self._stat)
        monkeypatch.setattr(processor, "_THREADS", threads)
        monkeypatch.setattr(clock, "monotonic", lambda: self.at)
        monkeypatch.setattr(processor.time, "process_time", lambda: self.own)
        monkeypatch.setattr(os, "getpid", lambda: 10)
        monkeypatch.setattr(os, "sched_setaffinity", lambda _, where: self.placed.append(where))
        self.chance = 0.0
        self.keeper = Keeper({0, 1}, chance=lambda: self.chance)

    def say(self) -> None:
        ticks = os.sysconf("SC_CLK_TCK")
        lines = [f"cpu{one} {round(busy * ticks)} 0 0 1 1 0 0 0 0 0" for one, busy in self.busy.items()]
        self._stat.write_text("\n".join(lines), encoding="ascii")

    def pass_seconds(self, *, others: dict[int, float], own: float) -> int:
        """Two, in which each is used as much; where the worker is then."""
        self.at += 2.0
        self.own += 2.0 * own
        for one, share in others.items():
            self.busy[one] += 2.0 * (share + (own if one == self.keeper.now else 0.0))
        self.say()
        self.keeper.look()
        return self.keeper.now


def test_its_own_work_does_not_drive_it_away(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    system = System(monkeypatch, tmp_path)
    assert system.keeper.now == 0
    assert system.pass_seconds(others={0: 0.0, 1: 0.3}, own=1.0) == 0
    assert system.pass_seconds(others={0: 0.1, 1: 0.0}, own=0.9) == 0


def test_it_makes_way_for_others(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """And is not moved back as long as they are no less in its way there."""
    system = System(monkeypatch, tmp_path)
    assert system.pass_seconds(others={0: 0.5, 1: 0.1}, own=0.5) == 1
    assert system.placed[-1] == {1}
    assert system.pass_seconds(others={0: 0.2, 1: 0.1}, own=0.9) == 1
    assert system.pass_seconds(others={0: 0.0, 1: 0.5}, own=0.5) == 0


def test_it_moves_by_chance_or_two_would_move_for_ever(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    system = System(monkeypatch, tmp_path)
    system.chance = 0.5
    assert system.pass_seconds(others={0: 0.5, 1: 0.1}, own=0.5) == 0
    system.chance = 0.49
    assert system.pass_seconds(others={0: 0.5, 1: 0.1}, own=0.5) == 1


@linux
def test_all_threads_are_kept_on_one_processor() -> None:
    """In a process of its own: those that were there, those they begin, and after a look those of others."""
    program = """
import os, threading
from wms_tasks.roles.processor import Keeper
def where():
    return {frozenset(os.sched_getaffinity(int(one))) for one in os.listdir("/proc/self/task")}
gate = threading.Event()
threads = [threading.Thread(target=gate.wait) for _ in range(5)]
for one in threads: one.start()
allowed = os.sched_getaffinity(0)
keeper = Keeper(allowed)
assert where() == {frozenset({keeper.now})}, where()
later = threading.Thread(target=gate.wait)
later.start()
assert where() == {frozenset({keeper.now})}, where()
os.sched_setaffinity(later.native_id, allowed)
keeper.look()
assert where() == {frozenset({keeper.now})}, where()
gate.set()
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=30, check=False)
    assert done.returncode == 0, done.stderr


def test_where_it_may_not_it_says_so_once(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise PermissionError("not permitted")

    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 1}, raising=False)
    monkeypatch.setattr(os, "sched_setaffinity", refuse, raising=False)
    had = threading.active_count()
    with capture_logs() as logs:
        processor.begin_keeping.__wrapped__()
    assert [line["event"] for line in logs] == ["worker.processor_not_kept"]
    assert threading.active_count() == had
