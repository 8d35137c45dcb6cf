"""
A result as one row of binary COPY: the number of columns, then each behind its length. Pure.

Binary, because Postgres takes in such a row with two thirds of the CPU time that text costs it (5.6 instead of 8.0 µs,
all indexes and checks included). No value is ever changed to fit its column: Postgres would take four bytes as they
are, so `fits.check` looks at every range before, and `struct` refuses what is outside.

What nearly all results are goes a shorter way (json_row.py, avro_row.py), which is held to this one.
"""

from __future__ import annotations

import struct

import msgspec

from wms_tasks.persist.column import BOOLEANS, NULL, bytes_of, microseconds, text_of
from wms_tasks.persist.fits import Unstorable, check, refuse_nul
from wms_tasks.persist.kept import kept_columns
from wms_tasks.result import Evidence, Phases, Result

COLUMNS = 35
_NO_PHASES = Phases()

_count = struct.Struct(">h").pack
# Each value behind its length; what is none has no bytes, so where one is they are made one by one.
_NUMBERS = [struct.Struct(f">i{code}") for code in "qqqiidiqqddddd"]
# All but the last one, tls_ms, behind how many columns there are.
all_numbers = struct.Struct(">h" + "".join(one.format[1:] for one in _NUMBERS[:-1])).pack
tls_of = _NUMBERS[-1].pack


def copy_row(result: Result) -> bytes:
    """
    The columns of results in the order of ``copy_results`` in store/queries.sql.

    Raises:
        Unstorable: a value does not fit its column.
    """
    check(result)
    r = result
    try:
        return b"".join(
            (
                _numbers(r),
                BOOLEANS[r.matched],
                *map(text_of, (r.outcome, r.reason, r.detail)),
                evidence_of(r.evidence),
                text_of(r.worker),
                kept_columns(r),
            )
        )
    except UnicodeEncodeError as error:
        raise Unstorable("a text holds a lone surrogate, which is no Unicode text") from error


def _numbers(r: Result) -> bytes:
    """How many columns there are; and from scheduled_at to tls_ms."""
    phases = r.phases or _NO_PHASES
    values = (
        *(microseconds(r.scheduled_at), microseconds(r.due_at)),
        None if r.started_at is None else microseconds(r.started_at),
        *(r.attempt, r.status_code, r.response_time_ms, r.redirects, r.wire_bytes, r.body_bytes),
        *(phases.resolve_ms, phases.connect_ms, phases.processing_ms, phases.transfer_ms, phases.tls_ms),
    )
    columns = [
        NULL if value is None else kind.pack(kind.size - 4, value) for kind, value in zip(_NUMBERS, values, strict=True)
    ]
    return b"".join((_count(COLUMNS), *columns))


def evidence_of(evidence: Evidence | None) -> bytes:
    """
    As JSON, or NULL.

    Raises:
        Unstorable, UnicodeEncodeError: see `text_of`.
    """
    if evidence is None:
        return NULL
    refuse_nul(evidence)
    return bytes_of(msgspec.json.encode(evidence))
