"""The quick way from Avro to a row: whatever it makes is what the record makes; and what it leaves alone."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from typing import Any

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
from wms_tasks.persist.copy_row import copy_row
from wms_tasks.persist.fits import Unstorable
from wms_tasks.persist.rows import Rows, row_or_reject
from wms_tasks.result import Outcome, Phases, Reason, Result
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


def of_record(datum: bytes) -> bytes | str:
    """What the record makes of it: a row, or why there is none."""
    try:
        return copy_row(avro_codec.decode(datum, 0, current()))
    except (CodecError, Unstorable) as error:
        return str(error)


def held_to_the_record(rows: AvroRows, datum: bytes) -> bool:
    """Whether the quick way makes a row of it, which must be the record's; learnt if it is one, as the loop does."""
    made, expected = rows.row_of(datum, 0), of_record(datum)
    if made is not None:
        assert made.data == expected
        assert made.scheduled_at == avro_codec.decode(datum, 0, current()).scheduled_at
    elif isinstance(expected, bytes):
        rows.learn(datum, 0, avro_codec.decode(datum, 0, current()))
    return made is not None


@given(results=st.lists(RESULTS | NEARLY_USUAL, min_size=1, max_size=4))
def test_whatever_it_makes_is_what_the_record_makes(results: list[Result]) -> None:
    """Each twice, so that it is learnt; any result that can be written, usual or not."""
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
    """With one byte changed, cut or longer, after its neighbours were learnt: the record's row, or none."""
    rows = AvroRows()
    good = avro_codec.encode(USUAL)
    held_to_the_record(rows, good)
    at %= len(good)
    for damaged in (good[:at] + bytes([byte]) + good[at + 1 :], good[:cut], good[:at] + insert + good[at:]):
        for _ in range(1 + twice):
            held_to_the_record(rows, damaged)


def test_a_day_of_results_is_usual() -> None:
    """All but the first of each site, and those that were down."""
    rows, results = AvroRows(), list(day_of_results(4_000, sites=200, day=date(2026, 11, 25)))
    slow = [one for one in results if not held_to_the_record(rows, avro_codec.encode(one))]
    down = sum(one.outcome == "down" for one in results)
    assert len(slow) == down + len({one.site_id for one in results if one.outcome == "up"}) < len(results) / 15


@pytest.mark.parametrize(
    "changes",
    [
        {"detail": "slow"},
        {"started_at": None},
        {"status_code": None},
        {"response_time_ms": None},
        {"phases": None},
        {"certificate": None},
        {"redirects": 64},
        {"attempt": 64},
        {"reason": "newer"},
        {"worker": "w" * 64},
        {"wire_bytes": 2**40},
        {"due_at": datetime(1969, 1, 1, tzinfo=UTC)},
        {"due_at": datetime(1977, 1, 1, tzinfo=UTC)},
        {"due_at": datetime(3500, 1, 1, tzinfo=UTC)},
        {"evidence": FULL["evidence"]},
    ],
)
def test_what_is_unusual_is_left_alone(changes: dict[str, Any]) -> None:
    """However often it comes."""
    rows, datum = AvroRows(), avro_codec.encode(msgspec.structs.replace(USUAL, **changes))
    assert [held_to_the_record(rows, datum) for _ in range(3)] == [False] * 3


def test_what_is_learnt_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """More sites than that are learnt again and again; the rows are right all the same."""
    monkeypatch.setattr(avro_row, "SITES_MOST", 10)
    monkeypatch.setattr(avro_row, "WORKERS_MOST", 3)
    rows = AvroRows()
    for n, result in enumerate(day_of_results(400, sites=40, day=date(2026, 11, 25))):
        changed = msgspec.structs.replace(
            result, worker=f"worker {n % 7}", scheduled_at=result.scheduled_at + timedelta(hours=n)
        )
        held_to_the_record(rows, avro_codec.encode(changed))
    assert len(rows._tails) <= 10
    assert max(len(rows._workers), len(rows._high)) <= 3


def test_the_schema_begins_as_it_reads_it() -> None:
    """A field added before these would be no error: only slow, so it is one here."""
    assert [field["name"] for field in current().tree["fields"]][: len(HEAD)] == [*HEAD]
    assert AvroRows()._usable


def message(value: bytes, headers: Any) -> Message:
    """As the loop has it."""
    return Message("topic", "id", 0, 0, str(USUAL.site_id).encode(), value, headers)


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
        assert wire.start_of_ours(value, headers) == wire.start_of_ours(value, ()) == start
        assert wire.start_of_ours(value, [("content-type", b"application/json")]) is None
        assert wire.start_of_ours(b"\x00" + other.to_bytes(4, "big") + value[5:], headers) is None
        for empty in (None, b"", b"\x00", b"\xc3\x01", b"{}"):
            assert wire.start_of_ours(empty, headers) is None
        rows = Rows(wire)
        found = [rows.row_or_reject(message(value, headers)) for _ in range(3)]
        assert found == [row_or_reject(message(value, headers), wire)] * 3
        assert isinstance(found[0], Row)
        assert len(rows._avro._tails) == 1
        assert isinstance(rows.row_or_reject(message(value[:-1], [("content-type", AVRO)])), Reject)
