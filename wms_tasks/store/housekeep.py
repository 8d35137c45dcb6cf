"""
What housekeeping does to the store, each in one call. Called by the housekeeping tasks; every call may be repeated.
"""

from __future__ import annotations

from datetime import date

import structlog

from wms_tasks import clock
from wms_tasks.settings import Settings
from wms_tasks.store.connect import read_pool
from wms_tasks.store.partitions import ensure_partitions

_log = structlog.get_logger()


def make_partitions(settings: Settings) -> list[date]:
    """
    Make the partitions from yesterday to ``settings.partitions_ahead_days`` ahead where they are missing.

    Returns:
        The days made now.
    Raises:
        ServiceUnavailable: Postgres does not answer.
    """
    with read_pool(settings) as pool, pool.connection() as connection:
        made = ensure_partitions(connection, clock.utcnow().date(), settings.partitions_ahead_days)
    if made:
        _log.info("housekeep.partitions_made", days=[day.isoformat() for day in made])
    return made
