"""
What measure.py looks at in Postgres: schema, partitions, space. Imported by the role that has a database only.
"""

from __future__ import annotations

from collections.abc import Collection
from datetime import UTC, date, datetime, time, timedelta

import psycopg

from wms_tasks import clock, metrics
from wms_tasks.errors import WmsError
from wms_tasks.settings import Settings
from wms_tasks.store.connect import session
from wms_tasks.store.migrate import migration_status
from wms_tasks.store.partitions import partition_days
from wms_tasks.store.space import Space, forecast, space

_LIMIT_SECONDS = 20.0
_DAY_SECONDS = 86_400


def look_at_schema(settings: Settings) -> None:
    """The number of the newest migration applied."""
    try:
        with session(settings, "metrics") as connection:
            numbers = [int(one.migration_id[:4]) for one in migration_status(connection) if one.applied_at is not None]
    except (WmsError, psycopg.Error, ValueError):
        metrics.SCHEMA.replace({})
    else:
        metrics.SCHEMA.set(max(numbers, default=0))


def look_at_space(settings: Settings) -> bool:
    """Partitions made ahead, what a day of results takes, and what is left of the disk; whether today has one."""
    try:
        with session(settings, "metrics", limit_seconds=_LIMIT_SECONDS) as connection:
            days, found = partition_days(connection), space(connection)
    except (WmsError, psycopg.Error):
        for gauge in (metrics.PARTITIONS_AHEAD, *_SPACE):
            gauge.replace({})
        return False
    ahead_seconds = partitions_ahead_seconds(days, clock.utcnow())
    metrics.PARTITIONS_AHEAD.set(ahead_seconds)
    _show_space(found, settings.retention_days)
    return ahead_seconds > 0


def partitions_ahead_seconds(days: Collection[date], now: datetime) -> float:
    """From now to the end of the last day that has a partition, as all between them have; 0 or less: not today."""
    end = now.date()
    while end in days:
        end += timedelta(days=1)
    return (datetime.combine(end, time(), UTC) - now).total_seconds()


_SPACE = (metrics.DATABASE_BYTES, metrics.DATABASE_DAY, metrics.DATABASE_FREE, metrics.DATABASE_FULL)


def _show_space(found: Space, retention_days: int) -> None:
    ahead = forecast(found, clock.utcnow().date(), retention_days)
    full_in_seconds = None if ahead.days_until_full is None else ahead.days_until_full * _DAY_SECONDS
    values = (found.database_bytes, ahead.bytes_a_day, found.free_bytes, full_in_seconds)
    for gauge, value in zip(_SPACE, values, strict=True):
        gauge.replace({} if value is None else {(): value})
