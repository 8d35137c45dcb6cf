"""
How a datum of Avro ends: with texts, from the reason on. Pure; for avro_row.py, which leaves to rows.py all that is
longer than what is read here.
"""

from __future__ import annotations

from wms_tasks.persist.avro_kept import kept_of
from wms_tasks.persist.avro_value import THERE, Unusual, short_length_of, text, text_or_none
from wms_tasks.persist.column import NULL, text_of
from wms_tasks.persist.copy_row import evidence_of
from wms_tasks.persist.kept import Columns, Known, Workers
from wms_tasks.result import Evidence, Reason

_NEITHER_DETAIL_NOR_EVIDENCE = b"\x00\x00"
_NEITHER = NULL * 2
_REASONS = {reason.encode(): text_of(reason) for reason in Reason}


class Ends(Columns):
    """
    The columns from reason on, by the bytes that they came in: of a site that is up, the same from slot to slot while
    one worker asks it. All others are made of their parts.
    """

    def __init__(self) -> None:
        super().__init__()
        self._known = Known(kept_of)
        self._workers = Workers()

    def __missing__(self, came: bytes) -> bytes:
        end = 1 + short_length_of(came, 0)
        reason = _REASONS[came[1:end]]
        nothing_told = came[end : end + 2] == _NEITHER_DETAIL_NOR_EVIDENCE
        told, at = (_NEITHER, end + 2) if nothing_told else _told_of(came, end)
        end = at + 1 + short_length_of(came, at)
        columns = b"".join((reason, told, self._workers[came[at + 1 : end]], self._known[came[end:]]))
        return self.keep(came, columns) if nothing_told else columns


def _told_of(value: bytes, at: int) -> tuple[bytes, int]:
    """Detail and evidence, at least one of which is there; and where they end."""
    detail, at = text_or_none(value, at)
    if not value[at]:
        return text_of(detail) + NULL, at + 1
    if value[at] != THERE:
        raise Unusual
    headers, at = _headers(value, at + 1)
    body, at = text_or_none(value, at)
    return text_of(detail) + evidence_of(Evidence(headers=headers, body=body)), at


def _headers(value: bytes, at: int) -> tuple[dict[str, str], int]:
    """A map in one block of less than 64, as fastavro writes it."""
    headers: dict[str, str] = {}
    count, at = value[at], at + 1
    if not count:
        return headers, at
    if count & 0x81:
        raise Unusual
    for _ in range(count >> 1):
        name, at = text(value, at)
        headers[name], at = text(value, at)
    if value[at]:
        raise Unusual
    return headers, at + 1
