"""
From Avro to a row for COPY without the record between them, for what nearly all messages are: an answer that was read,
nothing unusual in it. Everything else is left to rows.py, which is the measure: whatever is made here is what it makes.

Two things are to make it as fast as JSON, which a C library decodes; `make bench` compares them. The schema has first
what changes from slot to slot, most of it of a fixed length, so that one `struct` reads it. And it has last what stays
the same for a site; those bytes are decoded once (avro_kept.py), and known by themselves from then on. Used by the
loop's thread.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Callable
from datetime import UTC, datetime
from functools import cached_property
from typing import Any

from wms_tasks.codec.avro_schema import current
from wms_tasks.errors import CodecError
from wms_tasks.persist.avro_told import Ends
from wms_tasks.persist.avro_value import THERE, Unusual
from wms_tasks.persist.column import BOOLEANS, NULL, microseconds, text_of
from wms_tasks.persist.copy_row import COLUMNS, all_numbers, tls_of
from wms_tasks.persist.fits import Unstorable
from wms_tasks.persist.kept import Kept
from wms_tasks.result import Outcome
from wms_tasks.store.message import Message, Row, as_it_is

# What this reads, in this order; a schema whose fields stand otherwise is read by fastavro alone.
HEAD = (
    *("scheduled_at", "due_at", "started_at", "attempt", "outcome", "status_code", "response_time_ms", "phases"),
    *("redirects", "matched", "wire_bytes", "body_bytes", "reason", "detail", "evidence", "worker"),
)
HIGHS_MOST = 1_000

# Two instants; then each value that may be none, behind the branch of its union: 2 where it is there. Then matched,
# which is none, and two counts of three bytes each.
_COUNTS = struct.Struct("<B BHB BHB")
_WITH_TLS = struct.Struct("<HHI HHI BHHI BB BH Bd B BdBdBdBdBd BB B BHB BHB")
_WITHOUT_TLS = struct.Struct("<HHI HHI BHHI BB BH Bd B BdBdB BdBd BB B BHB BHB")
_TLS_BRANCH_AT = struct.calcsize("<HHI HHI BHHI BB BH Bd B BdBd")
_BRANCHES, _BRANCHES_WITHOUT_TLS = (2,) * 10, (2,) * 6 + (0,) + (2,) * 3
_USUAL_COUNTS = (0, 2, 2)
_MATCHED = {b"\x02\x00": BOOLEANS[False], b"\x02\x01": BOOLEANS[True]}
# A count that is there.
_BRANCH_TWO_AND_ONE = struct.Struct("<BHB").unpack_from
# Postgres counts from 2000; and on the wire stands twice the number.
_TWICE_SHIFT = 2 * microseconds(datetime(1970, 1, 1, tzinfo=UTC))
_GOES_ON, _MARKS, _ENDS = 0x8080, 0x80808080, 0x00808080
_TOO_LARGE = 1 << 80
# Two bytes of the wire, little-endian, and what they say.
_STATUSES = {(status * 2 & 0x7F | 0x80) | status >> 6 << 8: status for status in range(100, 600)}
_OUTCOMES = {2 * n: text_of(symbol) for n, symbol in enumerate(Outcome)}


# What is raised of a datum that is unusual, or none.
_LEFT_TO_ROWS = (
    *(Unusual, CodecError, Unstorable),
    *(ValueError, OverflowError, struct.error, IndexError, KeyError),
)


class _High(dict[int, int]):
    """The upper half of an instant, which is the same for minutes, from the four bytes that end it."""

    def __missing__(self, four: int) -> int:
        if four & _MARKS != _ENDS:
            raise Unusual
        if len(self) >= HIGHS_MOST:
            self.clear()
        bits = four & 0x7F | four >> 1 & 0x3F80 | four >> 2 & 0x1FC000 | four >> 3 & 0xFE00000
        self[four] = (bits << 28) + _TWICE_SHIFT
        return self[four]


class AvroRows:
    """Rows of one persist loop, and what it has learnt."""

    def __init__(self) -> None:
        self._ends = Ends()
        self._high = _High()

    @cached_property
    def _low(self) -> list[int]:
        """14 bits of a number that goes on, by the two bytes that carry them; of others a number that no row takes."""
        found = [_TOO_LARGE] * (1 << 16)
        for upper in range(1 << 7):
            at = upper << 8 | _GOES_ON
            found[at : at + 128] = range(upper << 7, (upper << 7) + 128)
        return found

    @cached_property
    def _is_ours(self) -> bool:
        """Whether the schema is what this reads. Found out at the first datum, since it brings fastavro with it."""
        fields = current().tree["fields"]
        names = tuple(field["name"] for field in fields)
        outcomes = fields[HEAD.index("outcome")]["type"]["symbols"]
        return names == (*HEAD, *Kept.__struct_fields__) and outcomes[: len(Outcome)] == [*Outcome]

    def row_of(
        self, value: bytes, start: int, source: Any, message_of: Callable[[Any], Message] = as_it_is
    ) -> Row | None:
        """
        The row of a message of this release's schema; None where rows.py must make it, or say why it is none.

        Long, because calls of functions between its steps would take a third of their time.

        Args:
            value: the message's.
            start: where in it the datum begins.
            source: what ``message_of`` makes the message of.
        """
        try:
            if not self._is_ours:
                return None
            if value[start + _TLS_BRANCH_AT] == THERE:
                (
                    s0, s1, s2, d0, d1, d2, b0, t0, t1, t2, attempt, outcome, b1, status, b2, response, b3,
                    b4, resolve, b5, connect, b6, tls_ms, b7, processing, b8, transfer, b9, redirects,
                    b_matched, b_wire, wire, wire_ends, b_body, body, body_ends,
                ) = _WITH_TLS.unpack_from(value, start)  # fmt: skip
                at, tls, branches, times_ms = start + _WITH_TLS.size, tls_of(8, tls_ms), _BRANCHES, tls_ms
            else:
                (
                    s0, s1, s2, d0, d1, d2, b0, t0, t1, t2, attempt, outcome, b1, status, b2, response, b3,
                    b4, resolve, b5, connect, b6, b7, processing, b8, transfer, b9, redirects,
                    b_matched, b_wire, wire, wire_ends, b_body, body, body_ends,
                ) = _WITHOUT_TLS.unpack_from(value, start)  # fmt: skip
                at, tls, branches, times_ms = start + _WITHOUT_TLS.size, NULL, _BRANCHES_WITHOUT_TLS, 0.0
            times_ms += response + resolve + connect + processing + transfer
            if (b0, b1, b2, b3, b4, b5, b6, b7, b8, b9) != branches or not math.isfinite(times_ms):
                return None
            if (attempt | redirects) & 0x81 or (s0 | d0 | t0) & 1:
                return None
            low, high = self._low, self._high
            if (
                (b_matched, b_wire, b_body) == _USUAL_COUNTS
                and wire & body & _GOES_ON == _GOES_ON
                and not ((wire_ends | body_ends) & 0x80 or (wire | body) & 1)
            ):
                matched, wire_bytes, body_bytes = (
                    NULL, (low[wire] + (wire_ends << 14)) >> 1, (low[body] + (body_ends << 14)) >> 1
                )  # fmt: skip
            else:
                matched, wire_bytes, body_bytes, at = self._counts(value, at - _COUNTS.size)
            slot_us = (high[s2] + (low[s1] << 14) + low[s0]) >> 1
            numbers = all_numbers(
                COLUMNS, 8, slot_us,
                8, (high[d2] + (low[d1] << 14) + low[d0]) >> 1, 8, (high[t2] + (low[t1] << 14) + low[t0]) >> 1,
                4, attempt >> 1, 4, _STATUSES[status], 8, response, 4, redirects >> 1, 8, wire_bytes, 8, body_bytes,
                8, resolve, 8, connect, 8, processing, 8, transfer,
            )  # fmt: skip
            data = b"".join((numbers, tls, matched, _OUTCOMES[outcome], self._ends[value[at:]]))
        except _LEFT_TO_ROWS:
            return None
        return Row(data, slot_us, source, message_of)

    def _counts(self, value: bytes, at: int) -> tuple[bytes, int, int, int]:
        """Of a datum: matched, bytes on the wire and of the body; and where they end."""
        matched = _MATCHED[value[at : at + 2]] if value[at] else NULL
        at += 2 if value[at] else 1
        wire_bytes, at = self._count(value, at)
        body_bytes, at = self._count(value, at)
        if (wire_bytes | body_bytes) & 1:
            raise Unusual
        return matched, wire_bytes >> 1, body_bytes >> 1, at

    def _count(self, value: bytes, at: int) -> tuple[int, int]:
        """Twice a count that is there, of at most three bytes; and where it ends."""
        branch, two, one = _BRANCH_TWO_AND_ONE(value, at)
        if branch != THERE:
            raise Unusual
        if two & _GOES_ON == _GOES_ON:
            if one & 0x80:
                raise Unusual
            return self._low[two] + (one << 14), at + 4
        if two & 0x80:
            return two & 0x7F | two >> 1 & 0x3F80, at + 3
        return two & 0x7F, at + 2
