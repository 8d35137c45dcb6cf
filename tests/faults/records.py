"""
What was seen of a run, as values: gathered by evidence.py, compared by judge.py.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import NamedTuple
from uuid import UUID


class Slot(NamedTuple):
    """What a result is identified by."""

    site_id: UUID
    location: str
    scheduled_at: datetime


class Place(NamedTuple):
    """Where a message is."""

    topic_id: str
    partition: int
    offset: int


class Partition(NamedTuple):
    """One partition of one life of the topic."""

    topic_id: str
    partition: int


class Message(NamedTuple):
    """
    A message as the independent consumer read it. ``slot`` is None where it cannot be told.

    ``missed``: it says that nobody filled its slot; a worker writes that down so that it needs no database.
    """

    place: Place
    slot: Slot | None
    missed: bool = False


class Delivery(NamedTuple):
    """A delivery that Kafka confirmed to a worker; the worker does not know which life of the topic it was."""

    slot: Slot
    partition: int
    offset: int


class Row(NamedTuple):
    """A row of results."""

    slot: Slot
    outcome: str
    reason: str
    started_at: datetime | None


class Reject(NamedTuple):
    """A row of rejects."""

    place: Place
    slot: Slot | None
    reason: str = ""


class LostRange(NamedTuple):
    """A row of lost_offsets: from ``first`` to before ``end``."""

    partition: Partition
    first: int
    end: int


class Schedule(NamedTuple):
    """A site's slots: ``splay + k * interval`` from the Unix epoch."""

    splay: timedelta
    interval: timedelta


class Expected(NamedTuple):
    """A slot of the schedule, and the last instant at which its result may be published."""

    slot: Slot
    ends_at: datetime


class Outage(NamedTuple):
    """From when the fault began until the system had recovered."""

    began_at: datetime
    recovered_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """
    Everything that was seen. ``ends`` are the ends of the partitions before the rows were read; ``stored`` what
    Postgres then said about how far it is; ``lost`` is None where the schema has no such table yet.
    ``gone``: topic ids that do not exist any more. ``bad``: messages that the harness published to be rejected, and for
    which reason.
    """

    messages: Sequence[Message]
    ends: Mapping[Partition, int]
    stored: Mapping[Partition, int]
    deliveries: Sequence[Delivery]
    rows: Sequence[Row]
    rejects: Sequence[Reject]
    lost: Sequence[LostRange] | None
    expected: Sequence[Expected]
    schedules: Mapping[UUID, Schedule] = field(default_factory=dict)
    outages: Sequence[Outage] = ()
    visits: Mapping[UUID, Sequence[datetime]] = field(default_factory=dict)
    gone: frozenset[str] = frozenset()
    bad: Mapping[Place, str] = field(default_factory=dict)
