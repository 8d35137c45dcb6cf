"""The record as Avro: its round trip, its two framings, and what is refused."""

from __future__ import annotations

import json
import math
from datetime import UTC, datetime, timedelta, timezone
from io import BytesIO
from typing import Any

import msgspec
import pytest
from fastavro import parse_schema, schemaless_reader, schemaless_writer
from fastavro.schema import fingerprint
from hypothesis import given
from hypothesis import strategies as st

from tests.results import FULL, RESULTS, a_result
from wms_tasks.codec import avro_codec, json_codec
from wms_tasks.codec.avro_schema import current, published, read_schema
from wms_tasks.codec.envelope import AVRO, headers_of
from wms_tasks.codec.framing import confluent, single_object
from wms_tasks.codec.wire import WireReader, WireWriter
from wms_tasks.errors import CodecError
from wms_tasks.result import Evidence, Phases, Result
from wms_tasks.settings import Settings

_with = msgspec.structs.replace
WRITER = WireWriter(Settings(env="test", wire_format="avro"))
READER = WireReader()
GOOD, HEADERS = WRITER.encode(a_result(**FULL))
FRAME = single_object(current().fingerprint)


@given(result=RESULTS)
def test_the_round_trip_changes_nothing(result: Result) -> None:
    """What is written is read: every text, instant and number, to the bit."""
    value, headers = WRITER.encode(result)
    assert READER.decode(value, headers) == result
    assert READER.decode(value) == result, "the framing is enough"


@given(result=RESULTS)
def test_json_and_avro_carry_the_same_record(result: Result) -> None:
    """Whichever was chosen, persist has the same result."""
    of_json = READER.decode(*WireWriter(Settings(env="test")).encode(result))
    assert of_json == READER.decode(*WRITER.encode(result))


@given(value=st.binary(max_size=300), framed=st.booleans())
def test_any_bytes_are_a_result_or_a_codec_error(value: bytes, framed: bool) -> None:
    """No bytes raise anything else, and the error is one line."""
    _result_or_error(FRAME + value if framed else value)


@given(at=st.integers(10, len(GOOD) - 1), byte=st.integers(0, 255), cut=st.integers(0, len(GOOD) - 1))
def test_a_damaged_message_is_a_result_or_a_codec_error(at: int, byte: int, cut: int) -> None:
    """One byte is another, or the end is missing."""
    _result_or_error(GOOD[:at] + bytes([byte]) + GOOD[at + 1 :])
    with pytest.raises(CodecError):
        READER.decode(GOOD[:cut], HEADERS)


def _result_or_error(value: bytes) -> None:
    try:
        READER.decode(value, HEADERS)
    except CodecError as error:
        message = error.message
    else:
        return
    assert message
    assert "\n" not in message


def test_the_framing_is_avros_own() -> None:
    """C3 01 and the schema's CRC-64-AVRO, little-endian; the checksum of `"null"` is in Avro's specification."""
    assert GOOD[:2] == b"\xc3\x01"
    assert bytes.fromhex(fingerprint('"null"', "CRC-64-AVRO")) == (0x63DD24E7CC258F8A).to_bytes(8, "little")
    assert GOOD[2:10] == current().fingerprint == list(published().values())[-1].fingerprint


def test_instants_are_microseconds_on_the_wire() -> None:
    """A reader that knows no logical types finds the microseconds since 1970."""
    at = datetime(2026, 11, 23, 7, 0, 0, 5, tzinfo=UTC)
    bare = json.loads(json.dumps(current().tree).replace('"logicalType"', '"ignored"'))
    fields: Any = schemaless_reader(BytesIO(avro_codec.encode(a_result(scheduled_at=at))), parse_schema(bare), None)
    assert fields["scheduled_at"] == (at - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1)


def test_the_headers_name_the_slot() -> None:
    """As those of JSON do."""
    result = a_result(**FULL)
    assert headers_of(result, b"avro/binary") == HEADERS
    assert [name for name, _ in HEADERS] == ["content-type", "schema-version", "scheduled_at"]


def test_a_newer_reason_is_read_and_a_newer_outcome_is_not_written() -> None:
    """A reason is any word; outcomes are an enum, and a word that it lacks would have to be changed."""
    assert READER.decode(*WRITER.encode(a_result(reason="slow_dns"))).reason == "slow_dns"
    with pytest.raises(CodecError, match="'degraded' is none of up, down"):
        WRITER.encode(a_result(outcome="degraded"))


def _written_with(change: Any, result: Result) -> tuple[bytes, Any]:
    """A datum of a newer writer, and its schema as a registry would give it."""
    tree = current().tree
    change({field["name"]: field for field in tree["fields"]}, tree["fields"])
    schema = read_schema(json.dumps(tree))
    datum = BytesIO()
    fields = msgspec.to_builtins(result, builtin_types=(datetime, type(result.site_id)))
    schemaless_writer(datum, schema.parsed, fields | {"region": "eu"})
    return datum.getvalue(), schema


def test_what_a_newer_writer_adds_is_read_and_nothing_is_lost() -> None:
    """Its own schema says how: new fields are left out, a new outcome is the word that was written."""

    def change(named: Any, fields: Any) -> None:
        named["outcome"]["type"]["symbols"].append("degraded")
        fields.insert(0, {"name": "region", "type": "string", "default": ""})

    result = a_result(outcome="degraded", **{name: value for name, value in FULL.items() if name != "outcome"})
    datum, schema = _written_with(change, result)
    assert avro_codec.decode(datum, 0, schema) == result


@pytest.mark.parametrize(
    ("value", "headers", "says"),
    [
        (None, HEADERS, "empty"),
        (b"", HEADERS, "empty"),
        (b"{}", HEADERS, "no Avro framing"),
        (b"\xc3", HEADERS, "no Avro framing"),
        (GOOD[:9], HEADERS, "no Avro framing"),
        (b"\x00\x00\x00", HEADERS, "no Avro framing"),
        (GOOD[:-1], HEADERS, "no Avro of its schema"),
        (GOOD[:10], HEADERS, "no Avro of its schema"),
        (GOOD + b"\x00", HEADERS, "1 bytes follow"),
        (b"\xc3\x01" + b"\x07" * 8 + GOOD[10:], HEADERS, "does not know, fingerprint 0707070707070707"),
        (confluent(7) + GOOD[10:], HEADERS, "schema 7 of a registry, and WMS_SCHEMA_REGISTRY_URL is not set"),
        (confluent(7) + GOOD[10:], [], "schema 7 of a registry"),
        (GOOD[:-1], [("content-type", b"application/json")], "malformed"),
        (GOOD[:-1], [("content-type", b"text/plain")], "neither application/json nor avro/binary"),
        (GOOD[:-1], [("content-type", None)], "neither"),
        (GOOD[:-1], [("content-type", AVRO), ("content-type", b"application/json")], "too"),
        (json_codec.encode(a_result())[:-1], HEADERS, "no Avro framing"),
        (json_codec.encode(a_result())[:-1], [("content-type", b"application/json")], "truncated"),
    ],
)
def test_what_is_no_result_is_refused_in_one_line(value: bytes | None, headers: Any, says: str) -> None:
    """Each kind of broken message, with what is wrong in it."""
    with pytest.raises(CodecError) as caught:
        READER.decode(value, headers)
    assert says in caught.value.message
    assert len(caught.value.message.splitlines()) == 1


@pytest.mark.parametrize("value", [GOOD, json_codec.encode(a_result(**FULL))])
@pytest.mark.parametrize(
    "headers",
    [
        [],
        [("content-type", b"text/plain")],
        [("content-type", None)],
        [("content-type", AVRO), ("content-type", b"application/json")],
        [("content-type", AVRO)],
        [("content-type", "application/json")],
    ],
)
def test_what_can_be_read_is_read_whatever_it_is_called(value: bytes, headers: Any) -> None:
    """It begins as one of them and is whole: nothing would be won by losing it."""
    assert READER.decode(value, headers) == a_result(**FULL)


def test_another_schema_version_is_refused_and_never_read_as_this_one() -> None:
    """By the namespace of its schema, and by the field in it."""
    two = json.dumps(current().tree).replace("wms.metrics.v1", "wms.metrics.v2")
    with pytest.raises(
        CodecError, match=r"of wms\.metrics\.v2\.Result, and this release reads wms\.metrics\.v1\.Result"
    ):
        read_schema(two)
    with pytest.raises(CodecError, match="schema version 2"):
        READER.decode(*WRITER.encode(a_result(schema_version=2)))


@pytest.mark.parametrize(
    "text", ["", "{", "[]", '"long"', '{"type": "record"}', '{"type": "record", "name": "X"}', "7"]
)
def test_what_is_no_schema_of_ours_is_refused(text: str) -> None:
    """A registry may say anything."""
    with pytest.raises(CodecError):
        read_schema(text)


@pytest.mark.parametrize("number", [math.nan, math.inf, -math.inf])
def test_a_time_that_is_no_number_is_not_written(number: float) -> None:
    """Avro could carry it; no column can, and JSON cannot either."""
    for changes in ({"response_time_ms": number}, {"phases": Phases(tls_ms=number)}):
        with pytest.raises(CodecError, match="_ms is"):
            WRITER.encode(a_result(**changes))


@pytest.mark.parametrize(
    "changes",
    [
        {"detail": "\ud800"},
        {"site_name": "\ud800"},
        {"certificate": _with(FULL["certificate"], names=("\ud800",))},
        {"evidence": Evidence(headers={"\ud800": ""})},
        {"evidence": Evidence(headers={}, body="\ud800")},
    ],
)
def test_a_lone_surrogate_is_not_written(changes: dict[str, Any]) -> None:
    """It is no Unicode text; the error is ours."""
    with pytest.raises(CodecError, match="surrogate"):
        WRITER.encode(a_result(**changes))


@pytest.mark.parametrize(
    ("name", "number"),
    [
        ("attempt", 2**31),
        ("status_code", -(2**31) - 1),
        ("redirects", 2**40),
        ("wire_bytes", 2**63),
        ("body_bytes", 10**30),
    ],
)
def test_a_number_that_its_type_does_not_hold_is_not_written(name: str, number: int) -> None:
    """It would be cut, or be no Avro to others."""
    with pytest.raises(CodecError, match=f"{name} {number} is outside"):
        WRITER.encode(a_result(**{name: number}))


def test_only_instants_in_utc_are_written() -> None:
    """A naive or foreign instant is the writer's fault, though Avro could carry the second."""
    for instant in (datetime(2026, 1, 1), datetime(2026, 1, 1, tzinfo=timezone(timedelta(hours=2)))):  # noqa: DTZ001
        with pytest.raises(CodecError, match="due_at"):
            WRITER.encode(a_result(due_at=instant))


@pytest.mark.parametrize("micros", [-(10**17), 10**18, 2**63 - 1])
def test_an_instant_that_no_calendar_has_is_refused(micros: int) -> None:
    """Never wrapped round to another one."""
    bare = parse_schema(json.loads(json.dumps(current().tree).replace('"logicalType"', '"ignored"')))
    fields = msgspec.to_builtins(a_result(), builtin_types=()) | {"scheduled_at": 0, "due_at": micros, "started_at": 0}
    datum = BytesIO()
    schemaless_writer(datum, bare, fields)
    with pytest.raises(CodecError, match="no Avro of its schema"):
        READER.decode(FRAME + datum.getvalue(), HEADERS)
