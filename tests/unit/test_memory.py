"""Freed memory goes back to the system, after a process has grown, and only then."""

from __future__ import annotations

import subprocess
import sys

import pytest

from wms_tasks.roles import memory

# Holes between what stays, as a backlog's messages leave them: no page at the top is free.
_GROWN = """
from wms_tasks.roles.memory import give_back, resident_bytes, trimmer
before = resident_bytes()
many = [bytes(4000) for _ in range(20_000)]
kept = many[::500]
grown = resident_bytes()
del many
print(before, grown, resident_bytes(), give_back(trimmer(), before))
"""

pytestmark = pytest.mark.skipif(memory.trimmer() is None, reason="this C library cannot trim (glibc can)")


def test_what_was_freed_is_given_back() -> None:
    program = [sys.executable, "-c", _GROWN]
    said = subprocess.run(program, capture_output=True, text=True, check=True, timeout=60).stdout
    before, grown, freed, left = map(int, said.splitlines()[-1].split())
    assert grown - before > 70_000_000
    assert freed - before > 40_000_000, "the C library keeps it"
    assert left - before < 20_000_000


def test_who_has_not_grown_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    trimmed: list[int] = []
    monkeypatch.setattr(memory, "resident_bytes", lambda: 103 * 2**20)
    assert memory.give_back(lambda: trimmed.append(1), 100 * 2**20) == 100 * 2**20
    assert memory.give_back(lambda: trimmed.append(1), 120 * 2**20) == 103 * 2**20
    assert not trimmed
    memory.give_back(lambda: trimmed.append(1), 99 * 2**20)
    assert trimmed
