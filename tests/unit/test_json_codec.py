"""The record on the wire: its round trip, what a newer writer may add, and what is refused."""

from __future__ import annotations

import json
import math
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.results import FULL, RESULTS, a_result
from wms_tasks.codec import json_codec
from wms_tasks.errors import CodecError
from wms_tasks.result import Evidence, Phases, Result

_with = msgspec.structs.replace


def _changed(**changes: Any) -> bytes:
    """A good message's value with some fields set; a field set to ``...`` is left out."""
    fields = json.loads(json_codec.encode(a_result())) | changes
    return json.dumps({name: value for name, value in fields.items() if value is not ...}).encode()


_CERTIFICATE = msgspec.to_builtins(FULL["certificate"])


@given(result=RESULTS)
def test_the_round_trip_changes_nothing(result: Result) -> None:
    """What is written is read: every text, instant and number, to the bit."""
    assert json_codec.decode(json_codec.encode(result), json_codec.headers(result)) == result


@given(value=st.binary(max_size=300))
def test_any_bytes_are_a_result_or_a_codec_error(value: bytes) -> None:
    """No bytes raise anything else, and the error is one line."""
    try:
        json_codec.decode(value)
    except CodecError as error:
        message = error.message
    else:
        return
    assert message
    assert "\n" not in message


def test_the_headers_name_the_slot() -> None:
    """Even an undecodable value tells its slot."""
    result = a_result(scheduled_at=datetime(2026, 11, 23, 7, 0, 0, 5, tzinfo=UTC))
    assert dict(json_codec.headers(result)) == {
        "content-type": b"application/json",
        "schema-version": b"1",
        "scheduled_at": b"2026-11-23T07:00:00.000005+00:00",
    }


def test_fields_outcomes_and_reasons_of_a_newer_writer_are_read() -> None:
    """A reader takes what it does not know."""
    result = json_codec.decode(_changed(phases_ms={"dns": 3}, outcome="degraded", reason="slow_tls"))
    assert (result.outcome, result.reason) == ("degraded", "slow_tls")


@pytest.mark.parametrize(
    ("value", "says"),
    [
        (None, "empty"),
        (b"", "empty"),
        (b"\xff\xfe", "malformed"),
        (b"{", "truncated"),
        (b"[]", "Expected `object`"),
        (b"[" * 100_000, ""),
        (_changed(site_id=...), "site_id"),
        (_changed(site_id="not-a-uuid"), "site_id"),
        (_changed(schema_version=2), "schema version 2"),
        (_changed(attempt="1"), "attempt"),
        (_changed(status_code=200.5), "status_code"),
        (_changed(scheduled_at="2026-11-23T07:00:00"), "scheduled_at is not an instant in UTC"),
        (_changed(due_at="2026-11-23T09:00:00+02:00"), "due_at is not an instant in UTC"),
        (_changed(started_at="2026-02-30T00:00:00Z"), "started_at"),
        (_changed(started_at="10000-01-01T00:00:00Z"), "started_at"),
        (_changed(response_time_ms=1).replace(b'"response_time_ms": 1', b'"response_time_ms": 1e999'), "range"),
        (_changed(response_time_ms=1).replace(b'"response_time_ms": 1', b'"response_time_ms": NaN'), "malformed"),
        (_changed(phases={"tls_ms": "1"}), "$.phases.tls_ms"),
        (_changed(phases={"tls_ms": 1}).replace(b'"tls_ms": 1', b'"tls_ms": 1e999'), "range"),
        (_changed(wire_bytes=0.5), "wire_bytes"),
        (_changed(certificate={"subject": ""}), "$.certificate"),
        (_changed(certificate=_CERTIFICATE | {"expires_at": "2026-11-23T07:00:00"}), "certificate.expires_at is not"),
        (_changed(evidence={"headers": ["x"]}), "$.evidence.headers"),
        (_changed(detail=1).replace(b'"detail": 1', b'"detail": "\\ud800"'), ""),
        (_changed(detail=1).replace(b'"detail": 1', b'"detail": "\xed\xa0\x80"'), ""),
    ],
)
def test_what_is_no_result_is_refused_in_one_line(value: bytes | None, says: str) -> None:
    """Each kind of broken message, with what is wrong in it."""
    with pytest.raises(CodecError) as caught:
        json_codec.decode(value)
    assert says in caught.value.message
    assert len(caught.value.message.splitlines()) == 1


def test_another_content_type_is_refused() -> None:
    """An Avro message on the topic is not taken for broken JSON."""
    with pytest.raises(CodecError, match="avro/binary"):
        json_codec.decode(json_codec.encode(a_result()), [("content-type", b"avro/binary")])


@pytest.mark.parametrize("response_time_ms", [math.nan, math.inf, -math.inf])
def test_a_response_time_that_json_would_turn_to_null_is_not_written(response_time_ms: float) -> None:
    """The writer learns it, instead of the reader finding null."""
    with pytest.raises(CodecError, match="response_time_ms"):
        json_codec.encode(a_result(response_time_ms=response_time_ms))


@pytest.mark.parametrize("name", Phases.__struct_fields__)
@pytest.mark.parametrize("number", [math.nan, math.inf, -math.inf])
def test_nor_is_such_a_phase(name: str, number: float) -> None:
    """Each of them, by its name."""
    with pytest.raises(CodecError, match=name):
        json_codec.encode(a_result(phases=Phases(**{name: number})))


@pytest.mark.parametrize(
    "changes",
    [
        {"detail": "\ud800"},
        {"address": "\ud800"},
        {"content_type": "\ud800"},
        {"certificate": _with(FULL["certificate"], names=("\ud800",))},
        {"evidence": Evidence(headers={"\ud800": ""})},
        {"evidence": Evidence(headers={}, body="\ud800")},
    ],
)
def test_a_lone_surrogate_is_not_written(changes: dict[str, Any]) -> None:
    """It is no Unicode text; the error is ours, not a UnicodeEncodeError."""
    with pytest.raises(CodecError, match="surrogate"):
        json_codec.encode(a_result(**changes))


def test_only_instants_in_utc_are_written() -> None:
    """A naive or foreign instant is the writer's fault."""
    for instant in (datetime(2026, 1, 1), datetime(2026, 1, 1, tzinfo=timezone(timedelta(hours=2)))):  # noqa: DTZ001
        with pytest.raises(CodecError, match="due_at"):
            json_codec.encode(a_result(due_at=instant))
        for name in ("expires_at", "chain_expires_at"):
            with pytest.raises(CodecError, match=rf"certificate\.{name}"):
                json_codec.encode(a_result(certificate=_with(FULL["certificate"], **{name: instant})))


def test_the_fields_on_the_wire_are_these() -> None:
    """A renamed or dropped field breaks every reader: it must be a new schema version."""
    assert set(msgspec.json.decode(json_codec.encode(a_result()))) == {
        "schema_version",
        "site_id",
        "site_name",
        "location",
        "scheduled_at",
        "due_at",
        "started_at",
        "attempt",
        "outcome",
        "reason",
        "detail",
        "status_code",
        "response_time_ms",
        "matched",
        "worker",
        "spec_digest",
        "address",
        "http_version",
        "tls_version",
        "tls_cipher",
        "redirects",
        "wire_bytes",
        "body_bytes",
        "content_type",
        "phases",
        "certificate",
        "evidence",
    }
