"""
What a system's schedules ask of its rows. Pure, and computed here from splay and interval alone: the ledger's own SQL
is what is looked at, so it is not what is looked with.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from uuid import UUID

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MICROSECOND = timedelta(microseconds=1)
Key = tuple[UUID, str, datetime]


@dataclass(frozen=True, slots=True, kw_only=True)
class Schedule:
    """A row of wms.sites: slots are at ``splay + k * interval``, from ``valid_from`` on and before ``valid_to``."""

    site_id: UUID
    location: str
    site_name: str
    interval_us: int
    splay_us: int
    deadline_us: int
    valid_from: datetime
    valid_to: datetime

    @property
    def interval(self) -> timedelta:
        """Between two slots."""
        return self.interval_us * MICROSECOND

    @property
    def deadline(self) -> timedelta:
        """From a slot's beginning to the last instant at which it may be begun."""
        return self.deadline_us * MICROSECOND

    def slots(self, since: datetime, until: datetime) -> Iterator[datetime]:
        """Those that begin in [since, until), as far as this schedule is valid."""
        since, until = max(since, self.valid_from), min(until, self.valid_to)
        since_us = (since - EPOCH) // MICROSECOND
        at_us = since_us + (self.splay_us - since_us) % self.interval_us
        while EPOCH + at_us * MICROSECOND < until:
            yield EPOCH + at_us * MICROSECOND
            at_us += self.interval_us

    def newest_before(self, instant: datetime, since: datetime = EPOCH) -> datetime | None:
        """The last slot that begins before it, and not before `since`; None where there is none."""
        return max(self.slots(max(since, instant - self.interval), instant), default=None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """Of a row of wms.results, whose slot it is and how that ended."""

    site_id: UUID
    location: str
    scheduled_at: datetime
    outcome: str
    reason: str

    @property
    def key(self) -> Key:
        """Whose slot."""
        return (self.site_id, self.location, self.scheduled_at)


def expected(schedules: Iterable[Schedule], since: datetime, until: datetime) -> dict[Key, str]:
    """The slots that begin in [since, until), with their site's name."""
    return {(s.site_id, s.location, at): s.site_name for s in schedules for at in s.slots(since, until)}


def without_row(slots: dict[Key, str], rows: Sequence[Row]) -> list[str]:
    """Slots that have none."""
    there = {row.key for row in rows}
    return sorted(f"{name}: no row of {key[2].isoformat()}" for key, name in slots.items() if key not in there)


def faults(slots: dict[Key, str], rows: Sequence[Row]) -> list[str]:
    """What is wrong: a slot without a row or with several, a row of no slot, a slot that we failed to probe."""
    often = Counter(row.key for row in rows)
    found = without_row(slots, rows)
    found += [f"{slots.get(key, key[0])}: {n} rows of {key[2].isoformat()}" for key, n in often.items() if n > 1]
    found += [f"{one.site_id}: {one.scheduled_at.isoformat()} is no slot" for one in rows if one.key not in slots]
    found += [
        f"{slots[row.key]}: {row.scheduled_at.isoformat()} was missed: {row.reason}"
        for row in rows
        if row.key in slots and row.outcome == "missed"
    ]
    return found
