"""
How a datum of Avro ends: with texts, from the reason on. Pure; for avro_row.py, which leaves to rows.py all that is
longer than what is read here.

A length or a count is twice its number, in one byte or two, the last without the upper bit; what may be none stands
behind the branch of its union (Avro's specification, Binary Encoding).
"""

from __future__ import annotations

from collections.abc import Callable

from wms_tasks.persist.column import NULL, text_of
from wms_tasks.persist.copy_row import evidence_of
from wms_tasks.persist.kept import Columns, Kept, Known, Workers
from wms_tasks.result import Evidence, Reason

# The branch of what is there.
THERE = 2


_NEITHER_DETAIL_NOR_EVIDENCE = b"\x00\x00"
_NEITHER = NULL * 2
_REASONS = {reason.encode(): text_of(reason) for reason in Reason}


class Unusual(Exception):  # noqa: N818 - reads as what it says
    """Nothing is wrong: it is left to rows.py."""


class Ends(Columns):
    """
    The columns from reason on, by the bytes that they came in: of a site that is up, the same from slot to slot while
    one worker asks it. All others are made of their parts.
    """

    def __init__(self, decode: Callable[[bytes], Kept]) -> None:
        """
        Args:
            decode: see `Known`.
        """
        super().__init__()
        self._known = Known(decode)
        self._workers = Workers()

    def __missing__(self, came: bytes) -> bytes:
        end = 1 + _length_of(came, 0)
        reason = _REASONS[came[1:end]]
        nothing_told = came[end : end + 2] == _NEITHER_DETAIL_NOR_EVIDENCE
        told, at = (_NEITHER, end + 2) if nothing_told else _told_of(came, end)
        end = at + 1 + _length_of(came, at)
        columns = b"".join((reason, told, self._workers[came[at + 1 : end]], self._known[came[end:]]))
        return self.keep(came, columns) if nothing_told else columns


def _length_of(value: bytes, at: int) -> int:
    """Of a text of less than 64 bytes."""
    length = value[at]
    if length & 0x81:
        raise Unusual
    return length >> 1


def _told_of(value: bytes, at: int) -> tuple[bytes, int]:
    """Detail and evidence, at least one of which is there; and where they end."""
    detail, at = _text_or_none(value, at)
    if not value[at]:
        return text_of(detail) + NULL, at + 1
    if value[at] != THERE:
        raise Unusual
    headers, at = _headers(value, at + 1)
    body, at = _text_or_none(value, at)
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
        name, at = _text(value, at)
        headers[name], at = _text(value, at)
    if value[at]:
        raise Unusual
    return headers, at + 1


def _text_or_none(value: bytes, at: int) -> tuple[str | None, int]:
    if not value[at]:
        return None, at + 1
    if value[at] != THERE:
        raise Unusual
    return _text(value, at + 1)


def _text(value: bytes, at: int) -> tuple[str, int]:
    """Of less than 8,192 bytes."""
    length, second = value[at], value[at + 1]
    if length & 0x80:
        if second & 0x80:
            raise Unusual
        length, at = length & 0x7F | second << 7, at + 1
    end = at + 1 + (length >> 1)
    if length & 1:
        raise Unusual
    return value[at + 1 : end].decode(), end
