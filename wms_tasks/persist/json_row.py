"""
From JSON to a row for COPY without the record between them, for what nearly all messages are: an answer that was read,
all of it plain ASCII. Everything else is left to rows.py, which is the measure: whatever is made here is what it makes.

A message is cut where our writer has scheduled_at. What stands before is the same for a site from slot to slot; it is
decoded once, and known by its bytes from then on (kept.py). What follows is decoded each time, by itself. The cut
cannot be in the midst of a text, because a quotation mark in one would need a backslash, and a value that holds a
backslash is left alone. And each half is an object of just its own fields, so together they say what the whole says.

Used by the loop's thread.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Annotated, Any, NamedTuple

import msgspec

from wms_tasks.errors import CodecError
from wms_tasks.persist.column import BOOLEANS, EPOCH, NULL, text_of
from wms_tasks.persist.copy_row import COLUMNS, all_numbers, evidence_of, tls_of
from wms_tasks.persist.fits import Unstorable
from wms_tasks.persist.kept import CAME_MOST_BYTES, SITES_MOST, Kept, Known, Workers
from wms_tasks.prepared import prepared
from wms_tasks.result import Evidence, Outcome, Reason
from wms_tasks.store.message import Message, Row, as_it_is

# Begins every escape in JSON, that of NUL and those of what is not ASCII too. A number, because of bytes Python first
# tries whether they are one, and that takes as long as all the rest.
_ESCAPE = ord("\\")
_CUT = b',"scheduled_at":'
# As much of a value as tells one site from another: up to its id, and that.
_SITE_BYTES = len('{"schema_version":1,"site_id":"') + 36
_DAY, _SECOND = 86_400_000_000, 1_000_000
_OUTCOMES = {str(one): text_of(one) for one in Outcome}
_REASONS = {str(one): text_of(one) for one in Reason}
_NEITHER = NULL * 2

# What is too large is refused by struct.
_Count = Annotated[int, msgspec.Meta(ge=0)]


class _Times(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    resolve_ms: float
    connect_ms: float
    tls_ms: float | None
    processing_ms: float
    transfer_ms: float


@prepared
class _Changing(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    """The half that does."""

    scheduled_at: datetime
    due_at: datetime
    started_at: datetime
    attempt: _Count
    outcome: str
    reason: str
    detail: str | None
    status_code: _Count
    response_time_ms: float
    matched: bool | None
    redirects: _Count
    wire_bytes: _Count
    body_bytes: _Count
    phases: _Times
    evidence: Evidence | None
    worker: str


_changing = msgspec.json.Decoder(_Changing).decode
_kept_of = msgspec.json.Decoder(Kept).decode


class _Met(NamedTuple):
    """The bytes that a site's half came in, with those of the cut, where they cut, and the columns of it."""

    came: bytes
    cut: int
    columns: bytes


# No value begins so.
_UNMET = _Met(b"\xff", 0, b"")


class JsonRows:
    """Rows of one persist loop, and what it has learnt."""

    def __init__(self) -> None:
        self._known = Known(_kept)
        self._workers = Workers()
        self._last: dict[bytes, _Met] = {}

    def row_of(self, value: bytes, source: Any, message_of: Callable[[Any], Message] = as_it_is) -> Row | None:
        """
        The row of a message; None where rows.py must make it, or say why it is none.

        Long, because calls of functions between its steps would take a third of their time.

        Args:
            value: the message's.
            source: what ``message_of`` makes the message of.
        """
        try:
            came, cut, kept = self._last.get(value[:_SITE_BYTES], _UNMET)
            if not value.startswith(came):
                came, cut, kept = self._met(value)
            rest = b"{" + value[cut + 1 :]
            if _ESCAPE in rest or not rest.isascii():
                return None
            it = _changing(rest)
            slot, due, started, times = it.scheduled_at, it.due_at, it.started_at, it.phases
            detail, evidence = it.detail, it.evidence
            if not slot.tzinfo is due.tzinfo is started.tzinfo is UTC:
                return None
            since, later, late = slot - EPOCH, due - slot, started - slot
            slot_us = since.days * _DAY + since.seconds * _SECOND + since.microseconds
            due_us = slot_us + later.days * _DAY + later.seconds * _SECOND + later.microseconds
            started_us = slot_us + late.days * _DAY + late.seconds * _SECOND + late.microseconds
            numbers = all_numbers(
                COLUMNS, 8, slot_us, 8, due_us, 8, started_us, 4, it.attempt, 4, it.status_code, 8, it.response_time_ms,
                4, it.redirects, 8, it.wire_bytes, 8, it.body_bytes,
                8, times.resolve_ms, 8, times.connect_ms, 8, times.processing_ms, 8, times.transfer_ms,
            )  # fmt: skip
            data = b"".join((
                numbers, NULL if times.tls_ms is None else tls_of(8, times.tls_ms), BOOLEANS[it.matched],
                _OUTCOMES[it.outcome], _REASONS[it.reason],
                _NEITHER if detail is None and evidence is None else text_of(detail) + evidence_of(evidence),
                self._workers[it.worker], kept,
            ))  # fmt: skip
        except (CodecError, Unstorable, KeyError, msgspec.MsgspecError, RecursionError, struct.error):
            return None
        return Row(data, slot_us, source, message_of)

    def _met(self, value: bytes) -> _Met:
        """Of a value that does not begin as the last one of its site did."""
        cut = value.find(_CUT)
        came = value[: cut + len(_CUT)]
        met = _Met(came, cut, self._known[came])
        if len(came) <= CAME_MOST_BYTES:
            if len(self._last) >= SITES_MOST:
                self._last.clear()
            self._last[value[:_SITE_BYTES]] = met
        return met


def _kept(came: bytes) -> Kept:
    if _ESCAPE in came or not came.isascii():
        raise CodecError("not to be cut")
    return _kept_of(came.removesuffix(_CUT) + b"}")
