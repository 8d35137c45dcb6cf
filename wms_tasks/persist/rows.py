"""
From a message to a row for COPY, or to a reject that says why not. Pure.

No value is ever changed to fit its column: what does not fit is refused here, with its reason, or by Postgres later.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from wms_tasks.codec.envelope import SCHEDULED_AT
from wms_tasks.codec.wire import WireReader
from wms_tasks.errors import CodecError
from wms_tasks.persist.avro_row import AvroRows
from wms_tasks.persist.column import microseconds
from wms_tasks.persist.copy_row import copy_row
from wms_tasks.persist.fits import Unstorable
from wms_tasks.persist.json_row import JsonRows
from wms_tasks.result import RejectReason
from wms_tasks.store.message import Message, Reject, Row, as_it_is

_JSON_BEGINS = b"{"
_WITHOUT_REGISTRY = WireReader()


def row_or_reject(message: Message, wire: WireReader = _WITHOUT_REGISTRY) -> Row | Reject:
    """
    The message as a row, or as a reject that says why not.

    Raises:
        RegistryAway: its schema is not known yet; never where ``wire`` was prepared for it.
    """
    try:
        result = wire.decode(message.value, message.headers)
    except CodecError as error:
        return reject(message, RejectReason.UNDECODABLE, error.message)
    try:
        data = copy_row(result)
    except Unstorable as error:
        return reject(message, RejectReason.UNSTORABLE, str(error))
    return Row(data, microseconds(result.scheduled_at), message)


class Rows:
    """The same for one persist loop, which learns what is the same from one message to the next."""

    def __init__(self, wire: WireReader) -> None:
        self._wire = wire
        self._json = JsonRows()
        self._avro = AvroRows()

    def row_or_reject(
        self, source: Any, value: bytes | None, message_of: Callable[[Any], Message] = as_it_is
    ) -> Row | Reject:
        """
        See `row_or_reject`; the wire is prepared.

        Args:
            source: what ``message_of`` makes the message of, where it is wanted.
            value: the message's.
        """
        row: Row | None = None
        if value is not None:
            if value.startswith(_JSON_BEGINS):
                row = self._json.row_of(value, source, message_of)
            elif (start := self._wire.start_of_ours(value)) is not None:
                row = self._avro.row_of(value, start, source, message_of)
        return row or row_or_reject(message_of(source), self._wire)


def reject(message: Message, reason: RejectReason, error: str) -> Reject:
    """A reject, with the slot it stands for where the message still tells it."""
    return Reject(
        message=message,
        reason=reason,
        error=error.encode("utf-8", "backslashreplace").decode().replace("\x00", "\\x00"),
        site_id=_site_id(message.key),
        scheduled_at=_scheduled_at(message),
    )


def _site_id(key: bytes | None) -> UUID | None:
    try:
        return UUID((key or b"").decode())
    except ValueError:
        return None


def _scheduled_at(message: Message) -> datetime | None:
    for name, content in message.headers:
        if name == SCHEDULED_AT and content is not None:
            try:
                found = datetime.fromisoformat(content if isinstance(content, str) else content.decode())
                return found.astimezone(UTC) if found.tzinfo is not None else None
            except (ValueError, OverflowError):
                return None
    return None
