"""
From a message to a row for COPY, or to a reject that says why not. Pure.

No value is ever changed to fit its column: what does not fit is refused here, with its reason, or by Postgres later.
"""

from __future__ import annotations

from datetime import UTC, datetime
from uuid import UUID

from wms_tasks.codec.envelope import SCHEDULED_AT
from wms_tasks.codec.framing import is_framed
from wms_tasks.codec.wire import WireReader
from wms_tasks.errors import CodecError
from wms_tasks.persist.avro_row import AvroRows
from wms_tasks.persist.copy_row import copy_row
from wms_tasks.persist.fits import Unstorable
from wms_tasks.result import RejectReason, Result
from wms_tasks.store.message import Message, Reject, Row

# Begins every escape in JSON, that of NUL and those of what is not ASCII too. One byte, because to look for two takes
# ten times as long.
_ESCAPE = b"\\"
_WITHOUT_REGISTRY = WireReader()


def row_or_reject(message: Message, wire: WireReader = _WITHOUT_REGISTRY) -> Row | Reject:
    """
    The message as a row, or as a reject that says why not.

    Raises:
        RegistryAway: its schema is not known yet; never where ``wire`` was prepared for it.
    """
    return _made_of(message, wire)[0]


class Rows:
    """The same for one persist loop, which learns what is the same from one message of Avro to the next."""

    def __init__(self, wire: WireReader) -> None:
        self._wire = wire
        self._avro = AvroRows()

    def row_or_reject(self, message: Message) -> Row | Reject:
        """See `row_or_reject`; the wire is prepared."""
        value = message.value
        start = self._wire.start_of_ours(value, message.headers)
        if value is None or start is None:
            return _made_of(message, self._wire)[0]
        if (made := self._avro.row_of(value, start)) is not None:
            return Row(made.data, made.scheduled_at, message)
        row, result = _made_of(message, self._wire)
        if result is not None and isinstance(row, Row):
            self._avro.learn(value, start, result)
        return row


def _made_of(message: Message, wire: WireReader) -> tuple[Row | Reject, Result | None]:
    """And what was decoded, if it was."""
    try:
        result = wire.decode(message.value, message.headers)
    except CodecError as error:
        return reject(message, RejectReason.UNDECODABLE, error.message), None
    try:
        data = copy_row(result, ascii_only=_is_ascii(message.value or b""))
    except Unstorable as error:
        return reject(message, RejectReason.UNSTORABLE, str(error)), result
    return Row(data, result.scheduled_at, message), result


def reject(message: Message, reason: RejectReason, error: str) -> Reject:
    """A reject, with the slot it stands for where the message still tells it."""
    return Reject(
        message=message,
        reason=reason,
        error=error.encode("utf-8", "backslashreplace").decode().replace("\x00", "\\x00"),
        site_id=_site_id(message.key),
        scheduled_at=_scheduled_at(message),
    )


def _is_ascii(value: bytes) -> bool:
    """Whether all texts in this JSON are, and hold no NUL; of Avro nobody knows."""
    return value.isascii() and _ESCAPE not in value and not is_framed(value)


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
