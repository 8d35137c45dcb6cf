"""
What people ask of the rejects, and their deletion by hand. They are written by writer.py and age in retention.py.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from psycopg import Connection
from psycopg.rows import class_row

from wms_tasks.store.message import Headers, Message
from wms_tasks.store.queries import query


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredReject:
    """
    One row of rejects.

    ``value_bytes`` and ``value_sha256`` tell the whole value, where ``value`` is only its beginning; else None.
    """

    id: int
    topic: str
    topic_id: str
    partition: int
    kafka_offset: int
    key: bytes | None
    value: bytes | None
    value_bytes: int | None
    value_sha256: bytes | None
    headers_json: str
    error: str
    reason: str
    site_id: UUID | None
    scheduled_at: datetime | None
    rejected_at: datetime

    @property
    def headers(self) -> Headers:
        """As they were in the message."""
        return [(name, _content(content)) for name, content in json.loads(self.headers_json)]

    @property
    def message(self) -> Message:
        """As Kafka gave it, if the value is whole."""
        return Message(self.topic, self.topic_id, self.partition, self.kafka_offset, self.key, self.value, self.headers)


def _content(content: str | dict[str, str] | None) -> bytes | None:
    if content is None:
        return None
    return content.encode() if isinstance(content, str) else base64.b64decode(content["base64"])


def rejects_since(
    connection: Connection[Any], since: datetime, *, reason: str | None = None, limit: int | None = None
) -> list[StoredReject]:
    """Those that were rejected from then on, oldest first."""
    with connection.cursor(row_factory=class_row(StoredReject)) as cursor:
        which = {"since": since, "reason": reason, "limit": limit}
        return cursor.execute(query("rejects_since"), which).fetchall()


def rejects_by_id(connection: Connection[Any], ids: Sequence[int]) -> list[StoredReject]:
    """Those of these that are there."""
    with connection.cursor(row_factory=class_row(StoredReject)) as cursor:
        return cursor.execute(query("rejects_by_id"), {"ids": list(ids)}).fetchall()


def drop_rejects(connection: Connection[Any], ids: Sequence[int]) -> int:
    """Delete these; how many were there."""
    return connection.execute(query("drop_rejects"), {"ids": list(ids)}).rowcount
