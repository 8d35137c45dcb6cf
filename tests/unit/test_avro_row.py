"""The short way from Avro to a row: whatever it makes is what the record makes; and what it leaves alone."""

from __future__ import annotations

import math
import struct
from datetime import UTC, date, datetime, timedelta
from types import SimpleNamespace
from typing import Any
from uuid import UUID

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.day_of_results import day_of_results
from tests.registry import registry
from tests.results import FULL, RESULTS, TEXTS, TIMES, a_result
from wms_tasks.codec import avro_codec
from wms_tasks.codec.avro_schema import current
from wms_tasks.codec.envelope import AVRO
from wms_tasks.codec.wire import WireReader, WireWriter
from wms_tasks.errors import CodecError
from wms_tasks.persist import avro_row
from wms_tasks.persist.avro_row import HEAD, AvroRows
from wms_tasks.persist.column import microseconds
from wms_tasks.persist.copy_row import copy_row
from wms_tasks.persist.fits import Unstorable
from wms_tasks.persist.kept import Kept
from wms_tasks.persist.rows import Rows, row_or_reject
from wms_tasks.result import Certificate, Evidence, Outcome, Phases, Reason, Result
from wms_tasks.settings import Settings
from wms_tasks.store.message import Message, Reject, Row

USUAL = a_result(**FULL | {"detail": None, "evidence": None, "outcome": "up", "reason": "ok", "wire_bytes": 5_123})
_INSTANTS = st.datetimes(datetime(1960, 1, 1), datetime(2100, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001 - the zone is given
# Like what is read all day, with the borders of what it takes.
NEARLY_USUAL = st.builds(
    msgspec.structs.replace,
    st.sampled_from([USUAL, msgspec.structs.replace(USUAL, certificate=None, phases=None)]),
    scheduled_at=_INSTANTS,
    due_at=_INSTANTS,
    started_at=_INSTANTS,
    attempt=st.integers(-1, 70),
    outcome=st.sampled_from([str(one) for one in Outcome]),
    reason=st.sampled_from([*map(str, Reason), "newer", "", "No word"]),
    detail=st.none() | TEXTS,
    status_code=st.none() | st.integers(-1, 700) | st.integers(8_000, 9_000),
    response_time_ms=st.none() | TIMES,
    matched=st.none() | st.booleans(),
    worker=st.sampled_from(["probe-1", "", "ü", "w" * 63, "w" * 64, "a\x00b"]),
    redirects=st.none() | st.integers(-1, 70),
    wire_bytes=st.none() | st.integers(-1, 2**31) | st.sampled_from([63, 64, 8191, 8192, 2**20, 2**27, 2**28, 2**62]),
    body_bytes=st.none() | st.integers(0, 2**20),
    phases=st.none()
    | st.builds(
        Phases, **{name: TIMES for name in Phases.__struct_fields__ if name != "tls_ms"}, tls_ms=st.none() | TIMES
    ),
)


_LONG_TEXTS = TEXTS | st.sampled_from(["", "x" * 63, "x" * 64, "x" * 8_191, "x" * 8_192, "ü" * 32])
# What a site keeps, of every kind.
KEPT = st.builds(
    msgspec.structs.replace,
    st.just(USUAL),
    schema_version=st.sampled_from([1, 1, 1, 0, -1, 2, 64]),
    site_id=st.uuids(),
    site_name=_LONG_TEXTS,
    location=st.sampled_from(["local", "ü", "", "l" * 256]),
    **{
        name: st.none() | _LONG_TEXTS
        for name in ("address", "http_version", "tls_version", "tls_cipher", "content_type")
    },
    certificate=st.none()
    | st.builds(
        Certificate,
        subject=_LONG_TEXTS,
        issuer=TEXTS,
        names=st.lists(TEXTS, max_size=3).map(tuple) | st.sampled_from([("n",) * 63, ("n",) * 64, ("n",) * 200]),
        expires_at=_INSTANTS,
        chain_expires_at=_INSTANTS,
    ),
)


def certificate(**changes: Any) -> Certificate:
    """One, but for the changes."""
    ends = {"expires_at": datetime(2027, 1, 2, tzinfo=UTC), "chain_expires_at": datetime(2200, 1, 2, tzinfo=UTC)}
    return Certificate(**{"subject": "", "issuer": "i", "names": ("a", "ü"), **ends} | changes)


def of_record(datum: bytes) -> bytes | str:
    """What the record makes of it: a row, or why there is none."""
    try:
        return copy_row(avro_codec.decode(datum, 0, current()))
    except (CodecError, Unstorable) as error:
        return str(error)


def message(value: bytes, headers: Any = ()) -> Message:
    """As the loop has it."""
    return Message("topic", "id", 0, 0, str(USUAL.site_id).encode(), value, headers)


def held_to_the_record(rows: AvroRows, datum: bytes) -> bool:
    """Whether the short way makes a row of it, which must be the record's."""
    made, expected = rows.row_of(datum, 0, message(datum)), of_record(datum)
    if made is not None:
        assert made.data == expected
        assert made.slot_us == microseconds(avro_codec.decode(datum, 0, current()).scheduled_at)
    return made is not None


@given(results=st.lists(RESULTS | NEARLY_USUAL | KEPT, min_size=1, max_size=4))
def test_whatever_it_makes_is_what_the_record_makes(results: list[Result]) -> None:
    """Each twice, so that it is known; any result that can be written, usual or not."""
    rows = AvroRows()
    for result in [*results, *results]:
        held_to_the_record(rows, avro_codec.encode(result))


@given(
    at=st.integers(0, 400),
    byte=st.integers(0, 255),
    cut=st.integers(0, 400),
    insert=st.binary(max_size=4),
    twice=st.booleans(),
)
def test_a_damaged_datum_is_never_taken_for_another(at: int, byte: int, cut: int, insert: bytes, twice: bool) -> None:
    """With one byte changed, cut or longer, after its neighbours were met: the record's row, or none."""
    rows = AvroRows()
    good = avro_codec.encode(USUAL)
    held_to_the_record(rows, good)
    at %= len(good)
    for damaged in (good[:at] + bytes([byte]) + good[at + 1 :], good[:cut], good[:at] + insert + good[at:]):
        for _ in range(1 + twice):
            held_to_the_record(rows, damaged)


def test_a_day_of_results_is_usual() -> None:
    """Those that were down too, with what their sites answered."""
    rows, results = AvroRows(), list(day_of_results(4_000, sites=200, day=date(2026, 11, 25)))
    assert any(one.evidence for one in results)
    assert all(held_to_the_record(rows, avro_codec.encode(one)) for one in results)


@pytest.mark.parametrize(
    "changes",
    [
        {"detail": "slow"},
        {"detail": "d" * 8_000},
        {"detail": "ü", "evidence": Evidence(headers={})},
        {"evidence": Evidence(headers={"server": "nginx"}, body="<p>ü</p>" * 200)},
        {"evidence": Evidence(headers={str(n): "x" for n in range(63)})},
        {"certificate": None},
        {"worker": "ü"},
        {"wire_bytes": 63, "body_bytes": 2**20 - 1},
        {"wire_bytes": 64, "body_bytes": 8_191},
    ],
)
def test_what_is_usual_is_taken(changes: dict[str, Any]) -> None:
    """To the last value of each kind."""
    assert held_to_the_record(AvroRows(), avro_codec.encode(msgspec.structs.replace(USUAL, **changes)))


@pytest.mark.parametrize(
    "changes",
    [
        {"detail": "a\x00b"},
        {"detail": "d" * 8_192},
        {"evidence": Evidence(headers={"a": "\x00"})},
        {"evidence": Evidence(headers={str(n): "x" for n in range(64)})},
        {"site_name": "a\x00b"},
        {"worker": "a\x00b"},
        {"location": "l" * 256},
        {"started_at": None},
        {"status_code": None},
        {"response_time_ms": None},
        {"phases": None},
        {"redirects": 64},
        {"attempt": 64},
        {"reason": "newer"},
        {"worker": "w" * 64},
        {"wire_bytes": 2**40},
        {"due_at": datetime(1969, 1, 1, tzinfo=UTC)},
        {"due_at": datetime(1977, 1, 1, tzinfo=UTC)},
        {"due_at": datetime(3500, 1, 1, tzinfo=UTC)},
    ],
)
def test_what_is_unusual_is_left_alone(changes: dict[str, Any]) -> None:
    """However often it comes."""
    rows, datum = AvroRows(), avro_codec.encode(msgspec.structs.replace(USUAL, **changes))
    assert [held_to_the_record(rows, datum) for _ in range(3)] == [False] * 3


@pytest.mark.parametrize("time_ms", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("field", ["response_time_ms", *Phases.__struct_fields__])
def test_a_time_that_is_no_number_is_left_alone(field: str, time_ms: float) -> None:
    """Which no writer of ours writes, and no row may hold."""
    times = {name: 1.5 + n for n, name in enumerate(Phases.__struct_fields__)}
    datum = avro_codec.encode(msgspec.structs.replace(USUAL, response_time_ms=9.5, phases=Phases(**times)))
    there = struct.pack("<d", times.get(field, 9.5))
    assert datum.count(there) == 1
    rows = AvroRows()
    assert held_to_the_record(rows, datum)
    assert not held_to_the_record(rows, datum.replace(there, struct.pack("<d", time_ms)))


def test_the_halves_of_instants_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """There is a new one every few minutes."""
    monkeypatch.setattr(avro_row, "HIGHS_MOST", 3)
    rows = AvroRows()
    for hours in range(20):
        later = msgspec.structs.replace(USUAL, scheduled_at=USUAL.scheduled_at + timedelta(hours=hours))
        assert held_to_the_record(rows, avro_codec.encode(later))
    assert len(rows._high) <= 3


@pytest.mark.parametrize(
    "changes",
    [
        {"site_id": UUID(int=0)},
        {"site_name": "ü" * 1_000},
        {"address": None, "http_version": None, "tls_version": None, "tls_cipher": None, "content_type": None},
        {"certificate": certificate(names=(), expires_at=datetime(1970, 1, 1, tzinfo=UTC))},
        {"certificate": certificate(names=("n",) * 200)},
    ],
)
def test_what_a_site_keeps_is_read_without_fastavro(changes: dict[str, Any]) -> None:
    """To the last value of each kind."""
    assert held_to_the_record(AvroRows(), avro_codec.encode(msgspec.structs.replace(USUAL, **changes)))


def test_only_ends_that_come_again_are_kept() -> None:
    """Those of a site that is up, for each worker; with what was told of one that is down, its own half alone."""
    rows = AvroRows()
    down = {"outcome": "down", "reason": "status", "detail": "503"}
    for changes in ({}, {"worker": "probe-2"}, {**down, "detail": "503"}, {**down, "detail": "502"}):
        for _ in range(2):
            assert held_to_the_record(rows, avro_codec.encode(msgspec.structs.replace(USUAL, **changes)))
    assert (len(rows._ends), len(rows._ends._known)) == (2, 1)


@pytest.mark.parametrize("place", range(-len(Kept.__struct_fields__), 0))
def test_a_kept_field_of_another_name_is_left_alone(place: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """One that a schema has and kept.py lacks makes every message slow, and none wrong."""
    schema = SimpleNamespace(tree=current().tree)
    schema.tree["fields"][place]["name"] = "other"
    monkeypatch.setattr(avro_row, "current", lambda: schema)
    datum = avro_codec.encode(USUAL)
    assert AvroRows().row_of(datum, 0, message(datum)) is None


def test_the_schema_begins_as_it_reads_it() -> None:
    """A field added anywhere would be no error: only slow, so it is one here. The certificate's stand as ours do."""
    fields = current().tree["fields"]
    assert [field["name"] for field in fields] == [*HEAD, *Kept.__struct_fields__]
    assert [field["name"] for field in fields[-1]["type"][1]["fields"]] == [*Certificate.__struct_fields__]
    assert AvroRows()._is_ours


@pytest.mark.parametrize("framing", ["single object", "registry"])
def test_the_loop_takes_it_only_of_this_releases_schema(framing: str) -> None:
    """Which the framing says, and no header contradicts."""
    with registry() as double:
        url = double.url if framing == "registry" else None
        settings = Settings(env="test", wire_format="avro", schema_registry_url=url)
        value, headers = WireWriter(settings).encode(USUAL)
        other = double.put(current().text.replace("timestamp-micros", "timestamp-millis"))
        wire = WireReader(settings)
        wire.prepare([value, b"\x00" + other.to_bytes(4, "big")])
        start = 5 if url else 10
        assert wire.start_of_ours(value) == start
        assert wire.start_of_ours(b"\x00" + other.to_bytes(4, "big") + value[5:]) is None
        for empty in (b"", b"\x00", b"\xc3\x01", b"{}"):
            assert wire.start_of_ours(empty) is None
        rows = Rows(wire)
        found = [rows.row_or_reject(message(value, headers), value) for _ in range(3)]
        assert found == [row_or_reject(message(value, headers), wire)] * 3
        assert isinstance(found[0], Row)
        assert len(rows._avro._ends) == 1
        assert isinstance(rows.row_or_reject(message(value, [("content-type", b"application/json")]), value), Row)
        assert isinstance(rows.row_or_reject(message(value[:-1], [("content-type", AVRO)]), value[:-1]), Reject)
