"""
Where each partition is read on from: in Postgres, beside the rows, and nowhere else.

Called by the persist loop when it is given partitions; the writer moves the offsets with the rows.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import psycopg
import structlog
from psycopg import Connection

from wms_tasks.errors import LostPartition
from wms_tasks.store.message import UNKNOWN_END, LostRange, OffsetMove, PartitionKey
from wms_tasks.store.queries import query

_log = structlog.get_logger()


def claim(connection: Connection[Any], keys: Sequence[PartitionKey], low_mark: Callable[[int], int]) -> dict[int, int]:
    """
    Make these partitions ours and say where each goes on; a partition never read starts at its low mark.

    A former owner stopped inside a transaction holds a partition's row, and no timeout of Postgres ends a COPY whose
    client sleeps. Kafka's assignment decides who may: past ``lock_timeout`` that backend is ended.

    Args:
        keys: partitions of one topic.
        low_mark: asked for a partition's first offset that Kafka still has.
    Returns:
        The next offset by partition.
    Raises:
        psycopg.OperationalError: the connection is lost, or a row stays locked by somebody else.
    """
    if not keys:
        return {}
    partitions = [key.partition for key in keys]
    which = {"cluster_id": keys[0].cluster_id, "topic": keys[0].topic, "topic_id": keys[0].topic_id}
    with connection.transaction():
        known = dict(connection.execute(query("known_offsets"), {**which, "partitions": partitions}).fetchall())
    for partition in sorted(set(partitions) - set(known)):
        start = {**which, "partition": partition, "next_offset": low_mark(partition)}
        with connection.transaction():
            connection.execute(query("start_offset"), start)
    try:
        return _take(connection, which, partitions)
    except psycopg.errors.LockNotAvailable:
        _end_holders(connection, which, partitions)
        return _take(connection, which, partitions)


def note_earlier_lives(connection: Connection[Any], key: PartitionKey) -> list[LostRange]:
    """
    Write down, once, that what earlier topics of this name still held is lost; nobody knows where they ended.

    Args:
        key: any partition of the topic as it is now.
    Returns:
        What was written down now.
    """
    which = {"cluster_id": key.cluster_id, "topic": key.topic, "topic_id": key.topic_id, "unknown_end": UNKNOWN_END}
    with connection.transaction():
        found = connection.execute(query("lose_earlier_lives"), which).fetchall()
    return [
        LostRange(PartitionKey(key.cluster_id, key.topic, topic_id, partition), first, UNKNOWN_END, "topic_made_again")
        for topic_id, partition, first in found
    ]


def note_lost(connection: Connection[Any], lost: Sequence[LostRange]) -> None:
    """Write it down, in the caller's transaction, which moves the offsets past it."""
    for one in lost:
        parameters = {
            "cluster_id": one.key.cluster_id,
            "topic": one.key.topic,
            "topic_id": one.key.topic_id,
            "partition": one.key.partition,
            "first_offset": one.start,
            "end_offset": one.end,
            "why": one.why,
        }
        connection.execute(query("note_lost"), parameters)


def _take(connection: Connection[Any], which: dict[str, str], partitions: list[int]) -> dict[int, int]:
    with connection.transaction():
        return dict(connection.execute(query("claim_offsets"), {**which, "partitions": partitions}).fetchall())


def _end_holders(connection: Connection[Any], which: dict[str, str], partitions: list[int]) -> None:
    with connection.transaction():
        for partition, pid in connection.execute(query("holders"), {**which, "partitions": partitions}).fetchall():
            _log.warning("persist.former_owner_ended", partition=partition, backend_pid=pid)
            connection.execute(query("end_holder"), {"pid": pid})


def move(connection: Connection[Any], moves: Sequence[OffsetMove]) -> None:
    """
    Compare and swap, in the caller's transaction and in one order for all, so that two never wait for each other.

    Raises:
        LostPartition: one is not where we left it; the caller's transaction must be rolled back.
    """
    for one in sorted(moves, key=lambda m: (m.key.topic_id, m.key.partition)):
        parameters = {
            "cluster_id": one.key.cluster_id,
            "topic": one.key.topic,
            "topic_id": one.key.topic_id,
            "partition": one.key.partition,
            "start": one.start,
            "end": one.end,
        }
        if connection.execute(query("move_offset"), parameters).rowcount != 1:
            raise LostPartition(f"partition {one.key.partition} of {one.key.topic} is no longer at {one.start}")
