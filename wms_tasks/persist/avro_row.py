"""
From Avro to a row for COPY without the record between them, for what nearly all messages are: an answer that was read,
nothing unusual in it. Everything else is left to rows.py, which is the measure: whatever is made here is what it makes.

Two things are to make it as fast as JSON, which a C library decodes; `make bench` compares them. The schema has first
what changes from slot to slot, most of it of a fixed length, so that one `struct` reads it. And it has last what stays
the same for a site; those bytes are decoded once, by fastavro, and known by themselves from then on. Used by the loop's
thread.
"""

from __future__ import annotations

import math
import struct
from datetime import UTC, datetime, timedelta
from functools import cached_property
from typing import NamedTuple

from wms_tasks.codec.avro_schema import current
from wms_tasks.persist.copy_row import (
    BOOLEANS,
    COLUMNS,
    EPOCH,
    NO_TLS,
    NULL,
    all_numbers,
    all_tls,
    certificate_texts,
    text_of,
)
from wms_tasks.result import Outcome, Reason, Result

# What this reads, in this order; a schema whose fields stand otherwise is read by fastavro alone.
HEAD = (
    *("scheduled_at", "due_at", "started_at", "attempt", "outcome", "status_code", "response_time_ms", "phases"),
    *("redirects", "matched", "wire_bytes", "body_bytes", "reason", "detail", "evidence", "worker"),
)
# Sites known by their bytes, some 1 KB each; with more, they are learnt again and again.
SITES_MOST = 20_000
WORKERS_MOST = 1_000

# Two instants; then each value that may be none, behind the branch of its union: 2 where it is there.
_WITH_TLS = struct.Struct("<IIII BII BB BH Bd B BdBdBdBdBd BB")
_WITHOUT_TLS = struct.Struct("<IIII BII BB BH Bd B BdBdB BdBd BB")
_THERE = 2
_TLS_BRANCH_AT = struct.calcsize("<IIII BII BB BH Bd B BdBd")
_BRANCHES = {_THERE: (2,) * 10, 0: (2,) * 6 + (0,) + (2,) * 3}
_MATCHED = {0: False, 1: True}
_NEITHER_DETAIL_NOR_EVIDENCE = b"\x00\x00"
_FOUR_BYTES = struct.Struct("<I").unpack_from
_UNIX_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
# Postgres counts from 2000.
_MICROSECOND = timedelta(microseconds=1)
_SHIFT = (EPOCH - _UNIX_EPOCH) // _MICROSECOND
_GOES_ON, _ENDS = 0x80808080, 0x00808080
# Two bytes of the wire, little-endian, and what they say.
_STATUSES = {(status * 2 & 0x7F | 0x80) | status >> 6 << 8: status for status in range(100, 600)}
_OUTCOMES = {2 * n: text_of(symbol) for n, symbol in enumerate(Outcome)}
_REASONS = {reason.encode(): text_of(reason) for reason in Reason}


class Tail(NamedTuple):
    """What stays the same for a site: as COPY has its texts; instants in Postgres' microseconds."""

    site_id: bytes
    location: bytes
    version: int
    protocol_to_digest: bytes
    address_to_names: bytes
    expires: int | None
    chain: int | None


class Made(NamedTuple):
    """A row; and its slot."""

    data: bytes
    scheduled_at: datetime


class _High(dict[int, int]):
    """The upper half of an instant, which is the same for minutes, from the four bytes that carry it."""

    def __missing__(self, four: int) -> int:
        if len(self) >= WORKERS_MOST:
            self.clear()
        self[four] = _seven_each(four) << 28
        return self[four]


class _Unusual(Exception):  # noqa: N818 - reads as what it says
    """Nothing is wrong: it is left to rows.py."""


# Plain tuples, because a named one takes as long to make as all that is in it.
# The halves of three instants.
_Halves = tuple[int, int, int, int, int, int]
# In milliseconds: response, resolve, connect, TLS, processing, transfer.
_Times = tuple[float, float, float, float | None, float, float]
# Instants, attempt, outcome, status, times, redirects; and where all that ends.
_Fixed = tuple[_Halves, int, bytes, int, _Times, int, int]
# Matched, bytes on the wire, bytes of the body, reason; and where the worker's name begins.
_Counted = tuple[bool | None, int, int, bytes, int]


class AvroRows:
    """Rows of one persist loop, and what it has learnt."""

    def __init__(self) -> None:
        self._tails: dict[bytes, Tail] = {}
        self._workers: dict[bytes, bytes] = {}
        self._high = _High()

    @cached_property
    def _usable(self) -> bool:
        """Found out at the first datum, since the schema brings fastavro with it."""
        fields = current().tree["fields"]
        outcomes = fields[HEAD.index("outcome")]["type"]["symbols"]
        return tuple(field["name"] for field in fields[: len(HEAD)]) == HEAD and outcomes[:4] == [*Outcome]

    def row_of(self, value: bytes, start: int) -> Made | None:
        """
        The row of a datum of this release's schema; None where rows.py must make it, or say why it is none.

        Args:
            start: where in the value the datum begins.
        """
        try:
            return self._row_of(value, start) if self._usable else None
        except (_Unusual, struct.error, IndexError, KeyError):
            return None

    def learn(self, value: bytes, start: int, result: Result) -> None:
        """rows.py has made a row of this datum, and this was the result: so all of it is right."""
        try:
            worker, tail = _split(value, _counted(value, _fixed(value, start)[-1])[-1])
        except (_Unusual, struct.error, IndexError, KeyError):
            return
        if len(self._workers) >= WORKERS_MOST:
            self._workers.clear()
        if len(self._tails) >= SITES_MOST:
            self._tails.clear()
        self._workers[worker] = text_of(result.worker)
        self._tails[tail] = _tail_of(result)

    def _row_of(self, value: bytes, start: int) -> Made | None:
        halves, attempt, outcome, status, times, redirects, end = _fixed(value, start)
        matched, wire_bytes, body_bytes, reason, end = _counted(value, end)
        worker, rest = _split(value, end)
        site_id, location, version, to_digest, to_names, expires, chain = self._tails[rest]
        scheduled, due, started = self._instants(halves)
        response, resolve, connect, tls_ms, processing, transfer = times
        if tls_ms is not None:
            tls = all_tls(8, tls_ms, 8, expires, 8, chain)
        elif expires is None:
            tls = NO_TLS
        else:
            return None
        numbers = all_numbers(
            COLUMNS, 16, site_id, 8, scheduled - _SHIFT, 8, due - _SHIFT, 4, attempt, 4, version,
            8, started - _SHIFT, 4, status, 8, response, 4, redirects, 8, wire_bytes, 8, body_bytes,
            8, resolve, 8, connect, 8, processing, 8, transfer,
        )  # fmt: skip
        first, then = (numbers, tls, BOOLEANS[matched], location), (outcome, reason, self._workers[worker])
        data = b"".join((*first, *then, to_digest, NULL, to_names, NULL))
        return Made(data, _UNIX_EPOCH + timedelta(0, 0, scheduled))

    def _instants(self, halves: _Halves) -> tuple[int, int, int]:
        """Of three, each in eight bytes, as all between 1978 and 3111 are: the microseconds since 1970."""
        s0, s1, d0, d1, t0, t1 = halves
        if s0 & d0 & t0 & _GOES_ON != _GOES_ON or s1 & d1 & t1 & _ENDS != _ENDS or (s1 | d1 | t1) & 0x80000000:
            raise _Unusual
        if (s0 | d0 | t0) & 1:
            raise _Unusual
        high = self._high
        return (
            (high[s1] | s0 & 0x7F | s0 >> 1 & 0x3F80 | s0 >> 2 & 0x1FC000 | s0 >> 3 & 0xFE00000) >> 1,
            (high[d1] | d0 & 0x7F | d0 >> 1 & 0x3F80 | d0 >> 2 & 0x1FC000 | d0 >> 3 & 0xFE00000) >> 1,
            (high[t1] | t0 & 0x7F | t0 >> 1 & 0x3F80 | t0 >> 2 & 0x1FC000 | t0 >> 3 & 0xFE00000) >> 1,
        )


def _fixed(value: bytes, start: int) -> _Fixed:
    if value[start + _TLS_BRANCH_AT] == _THERE:
        (
            s0, s1, d0, d1, b0, t0, t1, attempt, outcome, b1, status, b2, response, b3,
            b4, resolve, b5, connect, b6, tls, b7, processing, b8, transfer, b9, redirects,
        ) = _WITH_TLS.unpack_from(value, start)  # fmt: skip
        end, missing = start + _WITH_TLS.size, _THERE
    else:
        (
            s0, s1, d0, d1, b0, t0, t1, attempt, outcome, b1, status, b2, response, b3,
            b4, resolve, b5, connect, b6, b7, processing, b8, transfer, b9, redirects,
        ) = _WITHOUT_TLS.unpack_from(value, start)  # fmt: skip
        tls, end, missing = None, start + _WITHOUT_TLS.size, 0
    if (b0, b1, b2, b3, b4, b5, b6, b7, b8, b9) != _BRANCHES[missing] or (attempt | redirects) & 0x81:
        raise _Unusual
    if not math.isfinite(response + resolve + connect + processing + transfer + (tls or 0.0)):
        raise _Unusual
    times = response, resolve, connect, tls, processing, transfer
    return (s0, s1, d0, d1, t0, t1), attempt >> 1, _OUTCOMES[outcome], _STATUSES[status], times, redirects >> 1, end


def _counted(value: bytes, at: int) -> _Counted:
    matched = None
    if value[at]:
        if value[at] != _THERE:
            raise _Unusual
        matched = _MATCHED[value[at + 1]]
        at += 1
    wire_bytes, at = _count(value, at + 1)
    body_bytes, at = _count(value, at)
    end = at + 1 + _text_length(value, at)
    reason = _REASONS[value[at + 1 : end]]
    if value[end : end + 2] != _NEITHER_DETAIL_NOR_EVIDENCE:
        raise _Unusual
    return matched, wire_bytes, body_bytes, reason, end + 2


def _split(value: bytes, at: int) -> tuple[bytes, bytes]:
    """The worker's name, and all that follows it."""
    end = at + 1 + _text_length(value, at)
    return value[at + 1 : end], value[end:]


def _text_length(value: bytes, at: int) -> int:
    """Of a text of less than 64 bytes."""
    if value[at] & 0x81:
        raise _Unusual
    return value[at] >> 1


def _count(value: bytes, at: int) -> tuple[int, int]:
    """A count that is there, of at most four bytes; and where it ends."""
    (four,) = _FOUR_BYTES(value, at + 1)
    if value[at] != _THERE or four & 1:
        raise _Unusual
    if not four & 0x80:
        return (four & 0x7F) >> 1, at + 2
    if not four & 0x8000:
        return (four & 0x7F | four >> 1 & 0x3F80) >> 1, at + 3
    if not four & 0x800000:
        return (four & 0x7F | four >> 1 & 0x3F80 | four >> 2 & 0x1FC000) >> 1, at + 4
    if four & 0x80000000:
        raise _Unusual
    return _seven_each(four) >> 1, at + 5


def _seven_each(four: int) -> int:
    """The 28 bits that four bytes carry."""
    return four & 0x7F | four >> 1 & 0x3F80 | four >> 2 & 0x1FC000 | four >> 3 & 0xFE00000


def _tail_of(result: Result) -> Tail:
    certificate = result.certificate
    protocol = (result.http_version, result.tls_version, result.tls_cipher, result.content_type)
    return Tail(
        site_id=result.site_id.bytes,
        location=text_of(result.location),
        version=result.schema_version,
        protocol_to_digest=b"".join(map(text_of, (*protocol, result.site_name, result.spec_digest))),
        address_to_names=text_of(result.address)
        + (NULL * 3 if certificate is None else certificate_texts(certificate)),
        expires=None if certificate is None else (certificate.expires_at - EPOCH) // _MICROSECOND,
        chain=None if certificate is None else (certificate.chain_expires_at - EPOCH) // _MICROSECOND,
    )
