"""Freed memory goes back to the system, after a process has grown, and only then."""

from __future__ import annotations

import subprocess
import sys

import pytest

from wms_tasks import clock
from wms_tasks.roles import memory

# Holes between what stays, as a backlog's messages leave them: no page at the top is free.
_GROWN = """
from wms_tasks.roles.memory import Giver, resident_bytes, trimmer
before, giver = resident_bytes(), Giver(trimmer())
many = [bytes(4000) for _ in range(20_000)]
kept = many[::500]
grown = resident_bytes()
del many
freed = resident_bytes()
giver.look()
print(before, grown, freed, resident_bytes())
"""

pytestmark = pytest.mark.skipif(memory.trimmer() is None, reason="this C library cannot trim (glibc can)")


def test_what_was_freed_is_given_back() -> None:
    program = [sys.executable, "-c", _GROWN]
    said = subprocess.run(program, capture_output=True, text=True, check=True, timeout=60).stdout
    before, grown, freed, left = map(int, said.splitlines()[-1].split())
    assert grown - before > 70_000_000
    assert freed - before > 40_000_000, "the C library keeps it"
    assert left - before < 20_000_000


class Process:
    """One of so many MiB; what is done to it."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.mib, self.done, self.now = 100, list[str](), 0.0
        monkeypatch.setattr(memory, "resident_bytes", lambda: self.mib * 2**20)
        monkeypatch.setattr(memory.gc, "collect", lambda: self.done.append("collect"))
        monkeypatch.setattr(clock, "monotonic", lambda: self.now)
        self.giver = memory.Giver(lambda: self.done.append("trim"))

    def look(self, mib: int) -> list[str]:
        """With so many now; what was done."""
        self.mib, self.now = mib, self.now + memory.EVERY_SECONDS
        self.done.clear()
        self.giver.look()
        return list(self.done)


def test_who_has_not_grown_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Beside the least that there was, as what is freed by itself is no room to grow into."""
    process = Process(monkeypatch)
    assert process.look(103) == []
    assert process.look(96) == []
    assert process.look(99) == []
    assert process.look(100)[0] == "trim"


def test_what_remains_is_looked_through_for_cycles_now_and_then(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where it grows by so little that trimming alone seems to do; not again within half a minute."""
    process = Process(monkeypatch)
    assert process.look(104) == ["trim", "collect", "trim"]
    assert process.look(109) == ["trim"]
    process.now += memory.COLLECT_EVERY_SECONDS
    assert process.look(112) == []
    assert process.look(113) == ["trim", "collect", "trim"]
