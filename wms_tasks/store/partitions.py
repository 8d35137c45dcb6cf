"""
Daily partitions of results, ``results_pYYYYMMDD`` by UTC day of scheduled_at, made before rows need them.

Called by housekeeping ahead of time, and by the persist loop for a day it meets first (a backlog of last week).
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import date, timedelta
from typing import Any

from psycopg import Connection

from wms_tasks.settings import Settings
from wms_tasks.store.queries import query


def wanted_days(today: date, days_ahead: int) -> list[date]:
    """Yesterday (a late row, a clock that is behind) to so many days ahead."""
    return [today + timedelta(days=n) for n in range(-1, days_ahead + 1)]


def kept_days(days: Iterable[date], today: date, settings: Settings) -> set[date]:
    """Those that rows may have: not dropped again soon, as a backlog's older ones would be, and not far ahead."""
    first = today - timedelta(days=settings.retention_days)
    last = today + timedelta(days=settings.partitions_ahead_days)
    return {day for day in days if first <= day <= last}


def ensure_partitions(connection: Connection[Any], today: date, days_ahead: int) -> list[date]:
    """
    Make what is missing from yesterday on; safe when several do it at once.

    Returns:
        The days made now.
    """
    return ensure_days(connection, wanted_days(today, days_ahead))


def ensure_days(connection: Connection[Any], days: Iterable[date]) -> list[date]:
    """
    Make these days' partitions where they are missing, in the caller's transaction.

    Returns:
        The days made now.
    """
    made = []
    for day in sorted(days):
        row = connection.execute(query("ensure_partition"), {"day": day}).fetchone()
        if row and row[0]:
            made.append(day)
    return made


def partition_days(connection: Connection[Any]) -> set[date]:
    """The days that have a partition."""
    return {row[0] for row in connection.execute(query("partition_days"))}
