"""
Rejects into rows, after what had kept them out was mended. Called by `wms rejects replay`; may run beside the loop.
"""

from __future__ import annotations

from typing import Any

import psycopg
from psycopg import Connection

from wms_tasks import clock
from wms_tasks.codec.wire import WireReader
from wms_tasks.persist.rows import row_or_reject
from wms_tasks.result import RejectReason
from wms_tasks.settings import Settings
from wms_tasks.store.message import Reject
from wms_tasks.store.partitions import ensure_days, kept_days
from wms_tasks.store.rejects import StoredReject
from wms_tasks.store.writer import refusal, write_replayed


def replay(connection: Connection[Any], settings: Settings, stored: StoredReject, wire: WireReader) -> str | None:
    """
    Make it a row, in place of a missed one if need be; one transaction each.

    Args:
        connection: in autocommit mode.
    Returns:
        None, or why it stays a reject.
    Raises:
        RegistryAway: its schema is in a registry that does not answer.
        psycopg.Error: Postgres is away, or refuses what is no fault of the message.
    """
    if stored.value_bytes is not None:
        place = f"partition {stored.partition}, offset {stored.kafka_offset} of {stored.topic}"
        return f"only the beginning of its {stored.value_bytes} bytes was kept; Kafka may still have it: {place}"
    row = row_or_reject(stored.message, wire)
    if isinstance(row, Reject):
        return f"{row.reason}: {row.error}"
    day = row.day
    if not kept_days([day], clock.utcnow().date(), settings):
        return f"results keeps no day {day.isoformat()}"
    try:
        with connection.transaction():
            ensure_days(connection, [day])
        write_replayed(connection, stored.id, row)
    except psycopg.Error as error:
        if (why := refusal(error)) is None:
            raise
        return f"{RejectReason.UNSTORABLE}: {why}"
    return None
