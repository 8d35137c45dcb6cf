"""
One batch, one transaction: offsets by compare-and-swap, rows by COPY, rejects. All of it or nothing.

A redelivered message is a no-op, a former owner's batch rolls back, a row Postgres refuses becomes a reject in the
same transaction. An error this module does not know stops the batch; it never drops a row. Called by the persist loop.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Callable, Sequence
from typing import Any

import psycopg
from psycopg import Connection
from psycopg.errors import UniqueViolation

from wms_tasks import metrics
from wms_tasks.errors import TooManyRejects
from wms_tasks.result import RejectReason
from wms_tasks.store import offsets
from wms_tasks.store.binary_copy import blocks
from wms_tasks.store.message import Headers, LostRange, Message, OffsetMove, Reject, RejectLimits, Row, Written
from wms_tasks.store.queries import query
from wms_tasks.store.reject_limit import LAST_MESSAGES, too_many

# SQLSTATEs that a row's own content causes: data exceptions, constraint violations (also: no partition for the day)
# and an index entry that is too large.
_DATA_CLASSES = ("22", "23")
_INDEX_ROW_TOO_LARGE = "54000"

MakeReject = Callable[[Message, RejectReason, str], Reject]

_NO_LIMITS = RejectLimits()


def write_batch(  # noqa: PLR0913 - one transaction is one call
    connection: Connection[Any],
    rows: Sequence[Row],
    rejects: Sequence[Reject],
    moves: Sequence[OffsetMove],
    *,
    make_reject: MakeReject,
    limits: RejectLimits = _NO_LIMITS,
    lost: Sequence[LostRange] = (),
) -> Written:
    """
    Write it and commit.

    Args:
        connection: not inside a transaction.
        make_reject: (message, reason, error) → the reject for a row that Postgres refuses.
        lost: what the moves go past without a message.
    Raises:
        LostPartition: an offset is not where this batch starts; nothing is written.
        TooManyRejects: nothing is written.
        psycopg.OperationalError: Postgres is away; nothing is written, unless it was lost while committing: read the
            offsets to know.
        psycopg.Error: anything unknown; nothing is written.
    """
    with connection.transaction():
        # First, because a former owner then learns it before it has sent a row.
        offsets.move(connection, moves)
        offsets.note_lost(connection, lost)
        refused: list[Reject] = []
        replaced: list[int] = []
        stored = _store(connection, rows, refused, replaced, make_reject)
        _insert_rejects(connection, [*rejects, *refused], moves, limits)
    metrics.REPLACED.inc(by=sum(replaced))
    for one in (*rejects, *refused):
        metrics.REJECTS.inc(one.reason)
    return Written(
        rows=stored,
        duplicates=len(rows) - len(refused) - stored,
        rejects=len(rejects) + len(refused),
    )


def write_replayed(connection: Connection[Any], reject_id: int, row: Row) -> bool:
    """
    A reject becomes its row, or confirms the one that is there; a missed row gives way to it. In one transaction.

    Returns:
        False: the reject is gone, somebody else was quicker; nothing is written.
    Raises:
        psycopg.Error: Postgres refuses the row (`refusal` says why), or is away; nothing is written.
    """
    with connection.transaction():
        if not connection.execute(query("drop_rejects"), {"ids": [reject_id]}).rowcount:
            return False
        _copy_or_merge(connection, [row], [])
    return True


def refusal(error: psycopg.Error) -> str | None:
    """Why Postgres cannot store a row; None where the error is no fault of the row."""
    return _why(error) if _is_data_error(error) else None


def is_postgres_away(error: psycopg.Error) -> bool:
    """Whether waiting may help: no connection, shut down, full, locked, or read-only; not the fault of what we sent."""
    read_only = isinstance(error, psycopg.errors.ReadOnlySqlTransaction)
    return (isinstance(error, psycopg.OperationalError) and not _is_data_error(error)) or read_only


def _is_data_error(error: BaseException) -> bool:
    if isinstance(error, UnicodeEncodeError):
        return True
    if not isinstance(error, psycopg.Error):
        return False
    state = error.sqlstate
    if state is None:
        return isinstance(error, psycopg.DataError)
    return state.startswith(_DATA_CLASSES) or state == _INDEX_ROW_TOO_LARGE


def _store(
    connection: Connection[Any],
    rows: Sequence[Row],
    refused: list[Reject],
    replaced: list[int],
    make_reject: MakeReject,
) -> int:
    """Store what can be stored, halving down to the rows that cannot. Returns how many rows are new or changed."""
    if not rows:
        return 0
    try:
        return _copy_or_merge(connection, rows, replaced)
    except (psycopg.Error, UnicodeEncodeError) as error:
        if not _is_data_error(error):
            raise
        if len(rows) == 1:
            refused.append(make_reject(rows[0].message, RejectReason.UNSTORABLE, _why(error)))
            return 0
    middle = len(rows) // 2
    return sum(_store(connection, half, refused, replaced, make_reject) for half in (rows[:middle], rows[middle:]))


def _copy_or_merge(connection: Connection[Any], rows: Sequence[Row], replaced: list[int]) -> int:
    """Straight into the table; only where a key exists already through staging, which costs half as much again."""
    try:
        with connection.transaction():
            return _copy(connection, "copy_results", rows)
    except UniqueViolation:
        with connection.transaction():
            connection.execute(query("make_staging"))
            _copy(connection, "copy_staging", rows)
            merged = connection.execute(query("merge_staging")).fetchone()
            connection.execute(query("empty_staging"))
        stored, changed = merged or (0, 0)
        replaced.append(changed)
        return int(stored)


def _copy(connection: Connection[Any], name: str, rows: Sequence[Row]) -> int:
    cursor = connection.cursor()
    with cursor.copy(query(name)) as copy:
        for block in blocks(row.data for row in rows):
            copy.write(block)
            metrics.COPY_BYTES.inc(by=len(block))
    return cursor.rowcount


def _why(error: psycopg.Error | UnicodeEncodeError) -> str:
    """Postgres' own words, without the row: its bytes are in the reject anyway."""
    if isinstance(error, psycopg.Error) and error.diag.message_primary:
        return f"{error.diag.message_primary} (SQLSTATE {error.sqlstate})"
    return str(error).splitlines()[0]


def _insert_rejects(
    connection: Connection[Any], rejects: Sequence[Reject], moves: Sequence[OffsetMove], limits: RejectLimits
) -> None:
    if rejects:
        with connection.cursor() as cursor:
            parameters = [_reject_parameters(one, limits.max_value_bytes) for one in rejects]
            cursor.executemany(query("insert_reject"), parameters)
        _check_share(connection, rejects[0], moves, limits.max_share)


def _check_share(connection: Connection[Any], example: Reject, moves: Sequence[OffsetMove], max_share: float) -> None:
    """
    Are they still exceptions, with those of earlier batches.

    Raises:
        TooManyRejects: the caller's transaction must be rolled back.
    """
    where = {
        "topic_ids": [move.key.topic_id for move in moves],
        "partitions": [move.key.partition for move in moves],
        "from_offsets": [move.start - LAST_MESSAGES for move in moves],
    }
    for partition, found in connection.execute(query("recent_rejects"), where).fetchall():
        if trouble := too_many(found, max_share):
            raise TooManyRejects(
                f"partition {partition} of {example.message.topic}: {trouble} cannot be stored, for instance "
                f"{example.reason}: {example.error}",
                hint="nothing of this batch is stored or skipped: run the release that wrote them, or stop what writes "
                "them; WMS_REJECTS_MAX_SHARE=1 lets all of them into wms.rejects (wms rejects list)",
            )


def _reject_parameters(reject: Reject, max_value_bytes: int | None) -> dict[str, Any]:
    message, value = reject.message, reject.message.value
    cut = value is not None and max_value_bytes is not None and len(value) > max_value_bytes
    return {
        "topic": message.topic,
        "topic_id": message.topic_id,
        "partition": message.partition,
        "kafka_offset": message.offset,
        "key": message.key,
        "value": value[:max_value_bytes] if value is not None and cut else value,
        "value_bytes": len(value) if value is not None and cut else None,
        "value_sha256": hashlib.sha256(value).digest() if value is not None and cut else None,
        "headers": _headers_json(message.headers),
        "error": reject.error,
        "reason": reject.reason,
        "site_id": reject.site_id,
        "scheduled_at": reject.scheduled_at,
    }


def _headers_json(headers: Headers) -> str:
    """``[[name, text | {"base64": …} | null], …]`` in ASCII: nothing is lost, and a person can read the usual ones."""
    return json.dumps([[name, _header_value(content)] for name, content in headers])


def _header_value(content: bytes | str | None) -> str | dict[str, str] | None:
    if content is None or isinstance(content, str):
        return content
    try:
        return content.decode()
    except UnicodeDecodeError:
        return {"base64": base64.b64encode(content).decode()}
