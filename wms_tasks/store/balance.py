"""
The balance: of the slots expected in a time, how many ended how. Live from the rows, and kept by day for ever.

Called by `wms ledger`, and by whoever drops a day's partition. Expected slots are counted by arithmetic from the
schedules, rows from the rows, and open slots by looking: the sum can fail, which is what it is for.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta
from typing import Any
from uuid import UUID

from psycopg import Connection
from psycopg.rows import dict_row
from psycopg.types.json import Jsonb

from wms_tasks.result import Outcome
from wms_tasks.store.partitions import partition_days
from wms_tasks.store.queries import query

_DAY = timedelta(days=1)
_COUNTS = ("expected", "up", "down", "skipped", "open", "extra", "late_replacements", "redeliveries")


@dataclass(slots=True, kw_only=True)
class Balance:
    """
    A site's slots at one location. ``missed`` by reason; ``skipped_for``: the skipped by reason, but for days whose
    balance a release before 0.2 kept; ``open``: not closed yet; ``extra``: rows of slots that no schedule has;
    ``late_replacements``: real results that came after the slot was closed as missed; ``redeliveries``: messages that
    changed nothing.
    """

    site_id: UUID | None = None
    site_name: str = ""
    location: str = ""
    expected: int = 0
    up: int = 0
    down: int = 0
    skipped: int = 0
    skipped_for: Counter[str] = field(default_factory=Counter)
    missed: Counter[str] = field(default_factory=Counter)
    open: int = 0
    extra: int = 0
    late_replacements: int = 0
    redeliveries: int = 0

    @property
    def accounted(self) -> int:
        """Expected slots of which it is known how they ended, or that they are open."""
        return self.up + self.down + self.skipped + self.missed.total() + self.open

    def add(self, other: Balance) -> None:
        """Count another one in."""
        for name in _COUNTS:
            setattr(self, name, getattr(self, name) + getattr(other, name))
        self.missed.update(other.missed)
        self.skipped_for.update(other.skipped_for)


def total(balances: Iterable[Balance]) -> Balance:
    """The sum of all."""
    found = Balance(site_name="total")
    for one in balances:
        found.add(one)
    return found


def balance(
    connection: Connection[Any], since: datetime, until: datetime, site_id: UUID | None = None
) -> list[Balance]:
    """
    The slots that begin in [since, until), by site and location, in order of name.

    Days whose partition is gone come from what `close_day` kept. Redeliveries are counted by whole days of slots.

    Args:
        connection: with a transaction of its own; one snapshot is taken for all counts.
        site_id: None for all sites.
    """
    connection.execute(query("one_snapshot"))
    found: dict[tuple[UUID, str], Balance] = {}
    kept = _kept_days(connection, since, until)
    for first, end in _between(kept, since, until):
        _count_live(connection, found, first, end, site_id)
    _count_kept(connection, found, kept, site_id)
    return sorted(found.values(), key=lambda one: (one.site_name, one.location))


def close_day(connection: Connection[Any], day: date) -> Balance:
    """
    Compute and keep the balance of a UTC day, in the caller's transaction; may be repeated while its rows are there.

    Returns:
        The day's total.
    """
    found: dict[tuple[UUID, str], Balance] = {}
    first = datetime.combine(day, time.min, UTC)
    _count_live(connection, found, first, first + _DAY, None)
    with connection.cursor() as cursor:
        cursor.executemany(query("keep_balance"), [_parameters(day, one) for one in found.values()])
    return total(found.values())


def scheduled_names(connection: Connection[Any]) -> dict[UUID, str]:
    """Each site that has a schedule, or had one on a day that is kept, with its newest name."""
    return dict(connection.execute(query("scheduled_names")).fetchall())


def balanced_names(connection: Connection[Any]) -> dict[UUID, str]:
    """Each site of which a dropped day's balance is kept, with its newest name; after years it takes seconds."""
    return dict(connection.execute(query("balanced_names")).fetchall())


def _kept_days(connection: Connection[Any], since: datetime, until: datetime) -> list[date]:
    """The whole days inside that have a kept balance and no partition any more."""
    last = (until - timedelta(microseconds=1)).date()
    which = {"first_day": since.date(), "last_day": last}
    kept = {row[0] for row in connection.execute(query("kept_days"), which)} - partition_days(connection)
    return sorted(
        day
        for day in kept
        if since <= datetime.combine(day, time.min, UTC) and datetime.combine(day, time.min, UTC) + _DAY <= until
    )


def _between(kept: Sequence[date], since: datetime, until: datetime) -> list[tuple[datetime, datetime]]:
    """What is left of a time without these days."""
    found = []
    for day in kept:
        begins_at = datetime.combine(day, time.min, UTC)
        if since < begins_at:
            found.append((since, begins_at))
        since = begins_at + _DAY
    if since < until:
        found.append((since, until))
    return found


def _count_live(
    connection: Connection[Any],
    found: dict[tuple[UUID, str], Balance],
    since: datetime,
    until: datetime,
    site_id: UUID | None,
) -> None:
    last_day = (until - timedelta(microseconds=1)).date()
    which = {
        "since": since,
        "until": until,
        "site_id": site_id,
        "first_day": since.date(),
        "last_day": last_day,
    }
    for row in _rows(connection, "expected_by_site", which):
        _of(found, row).expected += row["slots"]
    for row in _rows(connection, "rows_by_site", which):
        _count_rows(_of(found, row), row)
    connection.execute(query("nested_loops"))
    for row in _rows(connection, "open_by_site", which):
        _of(found, row).open += row["slots"]
    for row in _rows(connection, "redeliveries_by_site", which):
        _of(found, row).redeliveries += row["dropped"]


def _count_rows(one: Balance, row: Mapping[str, Any]) -> None:
    one.late_replacements += row["late_replacements"]
    if not row["expected"]:
        one.extra += row["slots"]
    elif row["outcome"] == Outcome.MISSED:
        one.missed[row["why"]] += row["slots"]
    else:
        setattr(one, row["outcome"], getattr(one, row["outcome"]) + row["slots"])
    if row["expected"] and row["outcome"] == Outcome.SKIPPED:
        one.skipped_for[row["why"]] += row["slots"]


def _count_kept(
    connection: Connection[Any], found: dict[tuple[UUID, str], Balance], days: list[date], site_id: UUID | None
) -> None:
    for row in _rows(connection, "kept_balances", {"days": days, "site_id": site_id}):
        by_reason = {name: Counter(row[name]) for name in ("missed", "skipped_for")}
        _of(found, row).add(Balance(**(row | by_reason)))


def _of(found: dict[tuple[UUID, str], Balance], row: Mapping[str, Any]) -> Balance:
    one = found.setdefault((row["site_id"], row["location"]), Balance(site_id=row["site_id"], location=row["location"]))
    one.site_name = one.site_name or row.get("site_name", "")
    return one


def _rows(connection: Connection[Any], name: str, parameters: Mapping[str, Any]) -> Iterable[dict[str, Any]]:
    with connection.cursor(row_factory=dict_row) as cursor:
        yield from cursor.execute(query(name), parameters)


def _parameters(day: date, one: Balance) -> dict[str, Any]:
    counts = {name: getattr(one, name) for name in _COUNTS}
    who = {"site_id": one.site_id, "location": one.location, "site_name": one.site_name}
    by_reason = {"missed": Jsonb(dict(one.missed)), "skipped_for": Jsonb(dict(one.skipped_for))}
    return {"day": day, **who, **counts, **by_reason}
