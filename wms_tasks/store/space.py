"""
How much a day of results takes, and how long the disk will do.

The disk is looked at only where Postgres runs on this machine, in a folder that can be seen from here: through a socket
or loopback, and allowed to say where its data is. In a container, or elsewhere, its disk is not ours to measure.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any

from psycopg import Connection

from wms_tasks.store.queries import query

# The newest whole days count: older ones had other sites.
LAST_DAYS = 7
_HERE = frozenset({"", "localhost", "127.0.0.1", "::1"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Space:
    """``by_day``: each day's partition with its indexes. ``free_bytes``: of Postgres' disk; None: not to be seen."""

    by_day: Mapping[date, int]
    database_bytes: int
    free_bytes: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Forecast:
    """
    ``bytes_a_day``: None before the first whole day. ``days_until_full``: at that rate, None where it is not known, or
    where the days that retention still keeps fit on the disk (``fits``).
    """

    bytes_a_day: int | None
    days_until_full: float | None
    fits: bool


def space(connection: Connection[Any]) -> Space:
    """As it is now; reads the catalog and the file system, no rows."""
    by_day = dict(connection.execute(query("day_bytes")).fetchall())
    row = connection.execute(query("database_bytes")).fetchone()
    return Space(by_day=by_day, database_bytes=int(row[0]) if row else 0, free_bytes=_free_bytes(connection))


def forecast(found: Space, today: date, retention_days: int, empty_bytes: int = 128 * 1024) -> Forecast:
    """
    How it goes on at the rate of the last whole days.

    Args:
        empty_bytes: a partition no larger was made ahead, or has no rows to speak of.
    """
    days = [day for day, size in found.by_day.items() if day < today and size > empty_bytes]
    last = [found.by_day[day] for day in sorted(days)[-LAST_DAYS:]]
    if not last:
        return Forecast(bytes_a_day=None, days_until_full=None, fits=False)
    bytes_a_day = max(1, sum(last) // len(last))
    if found.free_bytes is None:
        return Forecast(bytes_a_day=bytes_a_day, days_until_full=None, fits=False)
    oldest = max(min(days), today - timedelta(days=retention_days))
    days_until_full = found.free_bytes / bytes_a_day
    fits = days_until_full > retention_days - (today - oldest).days + 1
    return Forecast(bytes_a_day=bytes_a_day, days_until_full=None if fits else days_until_full, fits=fits)


def _free_bytes(connection: Connection[Any]) -> int | None:
    host = connection.info.host or ""
    row = connection.execute(query("data_directory")).fetchone()
    if row is None or not (host in _HERE or host.startswith("/")):
        return None
    try:
        return shutil.disk_usage(row[0]).free
    except OSError:
        return None
