"""
What is kept no longer: days of results past ``WMS_RETENTION_DAYS``, schedules that ended before them, and rejects past
``WMS_REJECTS_RETENTION_DAYS``.

A day's balance is kept first. Called by the housekeeping task; may be repeated. One does it at a time: a second, which
counts a day's rows when the first has dropped them, would keep a balance of nothing.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from typing import Any

import psycopg
import structlog
from psycopg import Connection
from psycopg.errors import DeadlockDetected, LockNotAvailable

from wms_tasks import clock
from wms_tasks.errors import ServiceUnavailable
from wms_tasks.settings import Settings
from wms_tasks.store.balance import close_day
from wms_tasks.store.connect import NO_SCHEMA, connect, no_schema, unavailable
from wms_tasks.store.deadline import deadline
from wms_tasks.store.partitions import partition_days
from wms_tasks.store.queries import query

# For the lock of one day. Whoever reads the whole table for long keeps it away; writers only for moments.
ATTEMPTS = 20
PAUSE_SECONDS = 1.0
DELETE_ROWS = 10_000
# The balance of a day counts its rows; a peer that fell silent would hold the task's thread for good.
DAY_LIMIT_SECONDS = 900.0

_log = structlog.get_logger()

Sleep = Callable[[float], None]


def drop_old(settings: Settings, *, attempts: int = ATTEMPTS, sleep: Sleep = time.sleep) -> list[date]:
    """
    Drop what is kept no longer.

    Args:
        attempts: at the lock of one day.
        sleep: waits between them.
    Returns:
        The days dropped now; none where another is at it.
    Raises:
        ServiceUnavailable: Postgres does not answer, or a day stayed locked; days before it are dropped.
        MigrationError: a table is missing.
    """
    today = clock.utcnow().date()
    first_kept = today - timedelta(days=settings.retention_days)
    with connect(settings, "housekeep", autocommit=True) as connection:
        try:
            if not _alone(connection):
                return []
            dropped = [day for day in sorted(partition_days(connection)) if day < first_kept]
            for day in dropped:
                with deadline(connection, DAY_LIMIT_SECONDS):
                    _drop_day(connection, day, attempts, sleep)
            with deadline(connection, DAY_LIMIT_SECONDS):
                _forget_ranges(connection, first_kept)
                _delete_rejects(connection, settings)
        except psycopg.OperationalError as error:
            raise unavailable(settings, error) from error
        except NO_SCHEMA as error:
            raise no_schema(settings, error) from error
    return dropped


def _alone(connection: Connection[Any]) -> bool:
    """Whether nobody else drops; nobody does then until this connection is closed."""
    row = connection.execute(query("try_retention_lock")).fetchone()
    alone = row is not None and bool(row[0])
    if not alone:
        _log.info("retention.another_is_at_it")
    return alone


def _drop_day(connection: Connection[Any], day: date, attempts: int, sleep: Sleep) -> None:
    with connection.transaction():
        kept = close_day(connection, day)
    for attempt in range(attempts):
        if attempt:
            sleep(PAUSE_SECONDS)
        try:
            with connection.transaction():
                connection.execute(query("drop_partition"), {"day": day})
        except (LockNotAvailable, DeadlockDetected) as error:
            _log.debug("retention.day_locked", day=day.isoformat(), attempt=attempt + 1, reason=str(error))
            continue
        _log.info("retention.day_dropped", day=day.isoformat(), expected=kept.expected, attempts=attempt + 1)
        return
    raise ServiceUnavailable(
        f"the results of {day} could not be dropped: the table was locked {attempts} times",
        hint="something reads all of wms.results for long, like a dump; the next turn tries again",
    )


def _forget_ranges(connection: Connection[Any], first_kept: date) -> None:
    """Schedules that ended before it; only once every day before it has gone, since its balance needs them."""
    before = datetime.combine(first_kept, datetime.min.time(), UTC)
    if forgotten := connection.execute(query("forget_ranges"), {"before": before}).rowcount:
        _log.info("retention.schedules_forgotten", schedules=forgotten, ended_before=before.isoformat())


def _delete_rejects(connection: Connection[Any], settings: Settings) -> None:
    before = clock.utcnow() - timedelta(days=settings.rejects_retention_days)
    deleted = 0
    while rows := connection.execute(query("delete_old_rejects"), {"before": before, "limit": DELETE_ROWS}).rowcount:
        deleted += rows
    if deleted:
        _log.info("retention.rejects_deleted", rejects=deleted, rejected_before=before.isoformat())
