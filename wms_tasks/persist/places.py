"""
Where we are in each of our partitions: what Postgres holds, what is being written, and what comes after the last record
in hand. Pure.

A partition is read without gaps, or not at all: an offset that does not follow is refused, read for again, and believed
only when Kafka has answered so several times. Offsets may be missing for good: a log that is compacted, or written in
transactions, whose markers take an offset each. Ours is neither.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum, auto
from typing import NamedTuple

# As often must Kafka, asked for an offset, answer with the same later one.
BELIEVED_ANSWERS = 3


class Span(NamedTuple):
    """One partition's part of a batch: offsets from start up to, and without, end."""

    partition: int
    start: int
    end: int


class Taken(Enum):
    """What an offset is to us."""

    NEXT = auto()
    AGAIN = auto()
    GAP = auto()


class Places:
    """Three offsets for each partition, between them what is given to be written and what is gathered; and gaps."""

    def __init__(self) -> None:
        self._stored: dict[int, int] = {}
        self._given: dict[int, int] = {}
        self._next: dict[int, int] = {}
        self._gaps: dict[int, Span] = {}
        self._answers: dict[int, tuple[Span, int]] = {}

    def start(self, stored: Mapping[int, int]) -> None:
        """These are our partitions now, and this is what Postgres holds of them; nothing is in hand."""
        self._stored = dict(stored)
        self._given = dict(stored)
        self._next = dict(stored)
        self._gaps = {}

    def begin_at(self, stored: Mapping[int, int]) -> bool:
        """Whether what is in hand begins where Postgres is, for just these partitions."""
        return self._stored == dict(stored)

    def stored(self) -> dict[int, int]:
        """What Postgres holds, by partition."""
        return dict(self._stored)

    def next(self) -> dict[int, int]:
        """Where to read on, by partition."""
        return dict(self._next)

    def take(self, partition: int, offset: int) -> Taken:
        """Count a record in, if it is the next one."""
        expected = self._next[partition]
        if offset == expected:
            self._next[partition] = offset + 1
            return Taken.NEXT
        if offset < expected:
            return Taken.AGAIN
        self._gaps.setdefault(partition, Span(partition, expected, offset))
        return Taken.GAP

    def gaps(self) -> dict[Span, bool]:
        """The gaps met since the last call, and whether Kafka has answered so often enough to be believed."""
        gaps, self._gaps = self._gaps, {}
        for partition, gap in gaps.items():
            before, answers = self._answers.get(partition, (gap, 0))
            self._answers[partition] = (gap, answers + 1 if before == gap else 1)
        return {gap: self._answers[partition][1] >= BELIEVED_ANSWERS for partition, gap in gaps.items()}

    def give(self) -> list[Span]:
        """What was gathered, which is given away to be written; of what was given before, all must be written."""
        given, self._given = self._given, dict(self._next)
        return [Span(p, start, self._next[p]) for p, start in given.items() if start != self._next[p]]

    def written(self) -> None:
        """Postgres has what was given."""
        self._stored = dict(self._given)

    def jump(self, partition: int, offset: int) -> None:
        """Postgres holds this offset now, whatever it held before; nothing is in hand."""
        self._stored[partition] = self._given[partition] = self._next[partition] = offset
