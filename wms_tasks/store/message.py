"""
What the persist loop hands to the writer: rows, rejects and moves of offsets, each with the message it came from.

Messages and rows are msgspec structs: they are made a hundred thousand times a second, five times cheaper than
frozen dataclasses.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any
from uuid import UUID

import msgspec

from wms_tasks.result import RejectReason

# The end of a lost range that reaches to the end of a topic that is gone.
UNKNOWN_END = 2**63 - 1
_DAY_US = 86_400_000_000
_FIRST_DAY = date(2000, 1, 1).toordinal()

Headers = Sequence[tuple[str, bytes | str | None]]


class Message(msgspec.Struct, frozen=True, gc=False):
    """A message as Kafka gave it. ``topic_id`` is the topic's own id, which changes when it is made again."""

    topic: str
    topic_id: str
    partition: int
    offset: int
    key: bytes | None
    value: bytes | None
    headers: Headers


def as_it_is(message: Message) -> Message:
    """For a `Row` of what is a message already."""
    return message


class Row(msgspec.Struct, frozen=True, gc=False):
    """
    One row of binary COPY into results; its slot, in microseconds since 2000, as Postgres counts (UTC); and what it was
    made from, of which ``message_of`` makes the message. Only a reject or a trace wants that, and its headers alone are
    ten objects: to make and to free them took a fifth of the loop's time (decision 42).
    """

    data: bytes
    slot_us: int
    source: Any
    message_of: Callable[[Any], Message] = as_it_is

    @property
    def message(self) -> Message:
        """What it was made from."""
        return self.message_of(self.source)

    @property
    def day(self) -> date:
        """The day of its slot, by which results are parted."""
        return _day_of(self.slot_us // _DAY_US)


def days_of(rows: Iterable[Row]) -> set[date]:
    """Of a hundred thousand rows, which are of one day or two."""
    return {_day_of(number) for number in {row.slot_us // _DAY_US for row in rows}}


def _day_of(number: int) -> date:
    return date.fromordinal(_FIRST_DAY + number)


@dataclass(frozen=True, slots=True)
class Reject:
    """A message that is no row. ``site_id`` and ``scheduled_at`` where its key and header tell them."""

    message: Message
    reason: RejectReason
    error: str
    site_id: UUID | None
    scheduled_at: datetime | None


@dataclass(frozen=True, slots=True)
class PartitionKey:
    """One partition of one life of a topic: how offsets are kept."""

    cluster_id: str
    topic: str
    topic_id: str
    partition: int


@dataclass(frozen=True, slots=True)
class OffsetMove:
    """From the offset that Postgres must hold to the one after this batch."""

    key: PartitionKey
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class LostRange:
    """
    Offsets from ``start`` up to, and without, ``end`` that Kafka no longer had.

    ``why``: retention (its low mark had gone past them); truncated (its end lay before the offset asked for: an empty
    range, and the partition is read from its low mark again); hole (it answered with a later offset, again and again);
    topic_made_again (what an earlier topic of this name still had).
    """

    key: PartitionKey
    start: int
    end: int
    why: str

    @property
    def offsets(self) -> int:
        """How many; one where nobody knows, so that it is counted all the same."""
        return 1 if self.end == UNKNOWN_END else max(1, self.end - self.start)


@dataclass(frozen=True, slots=True)
class RejectLimits:
    """
    When rejects are too many, and how much of one is kept.

    Args:
        max_share: of the last 1,000 messages of a partition; from 1 on there is no limit.
        max_value_bytes: of a value; None for all of it.
    """

    max_share: float = 1.0
    max_value_bytes: int | None = None


@dataclass(frozen=True, slots=True)
class Written:
    """What one transaction did. ``duplicates``: rows that were there already and stayed as they were."""

    rows: int
    duplicates: int
    rejects: int
