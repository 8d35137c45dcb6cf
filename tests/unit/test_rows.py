"""From a message to a row for COPY, or to a reject that says why."""

from __future__ import annotations

import json
import struct
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import msgspec
import pytest
from hypothesis import given

from tests.results import FULL, RESULTS, SITE_ID, a_result
from wms_tasks.codec import json_codec
from wms_tasks.persist.copy_row import COLUMNS, copy_row
from wms_tasks.persist.fits import Unstorable
from wms_tasks.persist.rows import row_or_reject
from wms_tasks.result import Evidence, Phases, Result
from wms_tasks.store.message import Message, Reject, Row

with_ = msgspec.structs.replace


def a_message(value: bytes | None, **changes: Any) -> Message:
    """A message with this value, keyed and headed as publish does it."""
    good = {
        "topic": "test.scraped-metrics.v1",
        "topic_id": "id",
        "partition": 0,
        "offset": 7,
        "key": str(SITE_ID).encode(),
        "value": value,
        "headers": json_codec.headers(a_result()),
    }
    return Message(**(good | changes))


def test_a_good_message_becomes_a_row() -> None:
    """Each column behind its length, NULL with none; what it says is Postgres' to tell (test_store_writer.py)."""
    row = row_or_reject(a_message(json_codec.encode(a_result())))
    assert isinstance(row, Row)
    null = None
    slot_us = (datetime(2026, 11, 23, 7, tzinfo=UTC) - datetime(2000, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1)
    instants = [int8(slot_us + late_us) for late_us in (0, 1_000_000, 1_000_500)]
    numbers = [*instants, int4(1), int4(200), struct.pack(">d", 12.5), *[null] * 8]
    told = [null, b"up", b"ok", null, null, b"test"]
    kept = [int4(1), SITE_ID.bytes, b"local", b"example", b"0123456789abcdef", *[null] * 10]
    assert columns(row.data) == [*numbers, *told, *kept]
    assert row.slot_us == slot_us
    assert row.day == a_result().scheduled_at.date()


def int4(number: int) -> bytes:
    """As Postgres sends it."""
    return struct.pack(">i", number)


def int8(number: int) -> bytes:
    """As Postgres sends it."""
    return struct.pack(">q", number)


def columns(data: bytes) -> list[bytes | None]:
    """What a row of binary COPY holds."""
    (count,), at = struct.unpack_from(">h", data), 2
    found: list[bytes | None] = []
    for _ in range(count):
        (length,) = struct.unpack_from(">i", data, at)
        at += 4
        found.append(None if length < 0 else data[at : at + length])
        at += max(0, length)
    assert at == len(data)
    return found


@pytest.mark.parametrize("site_name", ["naïve", "a\u0080b", "a\x00b", "日本"])
def test_what_is_not_ascii_goes_the_other_way(site_name: str) -> None:
    """Escaped or not; NUL is refused."""
    result = a_result(site_name=site_name)
    for ensure_ascii in (True, False):
        value = json.dumps(json.loads(json_codec.encode(result)), ensure_ascii=ensure_ascii).encode()
        found = row_or_reject(a_message(value))
        assert found.data == copy_row(result) if isinstance(found, Row) else "NUL" in found.error
        assert isinstance(found, Reject) == ("\x00" in site_name)


@given(RESULTS)
def test_a_row_has_all_columns(result: Result) -> None:
    """Each at its length; what cannot be stored is refused."""
    try:
        data = copy_row(result)
    except Unstorable:
        return
    assert len(columns(data)) == COLUMNS


def test_an_undecodable_message_is_a_reject_that_knows_its_slot() -> None:
    """Key and header tell whose slot it was."""
    reject = row_or_reject(a_message(b"{"))
    assert isinstance(reject, Reject)
    assert reject.reason == "undecodable"
    assert reject.site_id == SITE_ID
    assert reject.scheduled_at == datetime(2026, 11, 23, 7, 0, tzinfo=UTC)


@pytest.mark.parametrize("key", [None, b"", b"\xff", b"example", str(SITE_ID).encode()[:-1]])
@pytest.mark.parametrize("header", [None, b"", b"\xff", b"soon", b"2026-11-23T07:00:00", b"0001-01-01T00:00:00+14:00"])
def test_a_key_or_header_that_tells_nothing_is_no_error(key: bytes | None, header: bytes | None) -> None:
    """A reject is kept whatever its key and headers are."""
    reject = row_or_reject(a_message(b"", key=key, headers=[("scheduled_at", header)]))
    assert isinstance(reject, Reject)
    assert reject.site_id is None
    assert reject.scheduled_at is None


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"site_name": "a\x00b"}, "NUL"),
        ({"detail": "\x00"}, "NUL"),
        ({"worker": "\ud800"}, "surrogate"),
        ({"attempt": -1}, "attempt"),
        ({"attempt": 2**31}, "attempt"),
        ({"status_code": 2**31}, "status_code"),
        ({"status_code": 10**30}, "status_code"),
        ({"schema_version": 2**31}, "schema_version"),
        ({"response_time_ms": float("nan")}, "response_time_ms"),
        ({"response_time_ms": float("inf")}, "response_time_ms"),
        ({"redirects": -1}, "redirects"),
        ({"redirects": 2**31}, "redirects"),
        ({"wire_bytes": 2**63}, "wire_bytes"),
        ({"body_bytes": -1}, "body_bytes"),
        ({"phases": Phases(tls_ms=float("nan"))}, "tls_ms"),
        ({"phases": Phases(transfer_ms=float("-inf"))}, "transfer_ms"),
        ({"address": "\x00"}, "NUL"),
        ({"http_version": "\x00"}, "NUL"),
        ({"tls_version": "\x00"}, "NUL"),
        ({"tls_cipher": "\x00"}, "NUL"),
        ({"content_type": "\ud800"}, "surrogate"),
        ({"certificate": with_(FULL["certificate"], subject="\x00")}, "NUL"),
        ({"certificate": with_(FULL["certificate"], issuer="\ud800")}, "surrogate"),
        ({"certificate": with_(FULL["certificate"], names=("a", "b\x00"))}, "NUL"),
        ({"certificate": with_(FULL["certificate"], names=("a", "b\ud800"))}, "surrogate"),
        ({"evidence": Evidence(headers={"a": "\x00"})}, "NUL"),
        ({"evidence": Evidence(headers={"\x00": "a"})}, "NUL"),
        ({"evidence": Evidence(headers={}, body="\x00")}, "NUL"),
        ({"evidence": Evidence(headers={}, body="\ud800")}, "surrogate"),
        ({"location": ""}, "location"),
        ({"location": "x" * 256}, "location"),
        ({"outcome": "degraded"}, "degraded"),
        ({"reason": ""}, "reason"),
        ({"reason": "Not a word"}, "reason"),
        ({"reason": "x" * 64}, "reason"),
        ({"reason": "ok\n"}, "reason"),
    ],
)
def test_a_value_that_does_not_fit_is_refused_and_never_changed(changes: dict[str, Any], says: str) -> None:
    """Each column's limits, before Postgres sees them."""
    with pytest.raises(Unstorable, match=says):
        copy_row(a_result(**changes))


def test_a_backslash_before_u0000_is_text() -> None:
    """Not the escape of a NUL."""
    assert b"u0000" in copy_row(a_result(evidence=Evidence(headers={"a": "\\u0000"})))


def test_an_unstorable_message_is_a_reject() -> None:
    """Decodable, and still no row."""
    result: Result = a_result(site_name="a\x00b")
    reject = row_or_reject(a_message(json_codec.encode(result)))
    assert isinstance(reject, Reject)
    assert reject.reason == "unstorable"


def test_a_rejects_error_can_itself_be_stored() -> None:
    """The text about a NUL holds none."""
    reject = row_or_reject(a_message(json_codec.encode(a_result(outcome="\x00"))))
    assert isinstance(reject, Reject)
    assert "\x00" not in reject.error


def test_a_key_is_read_as_publish_writes_it() -> None:
    """The site's id as text."""
    reject = row_or_reject(a_message(b"", key=b"5D6F2A0E-3F5E-5C0B-9F0E-77656273697A"))
    assert isinstance(reject, Reject)
    assert reject.site_id == UUID("5d6f2a0e-3f5e-5c0b-9f0e-77656273697a")
