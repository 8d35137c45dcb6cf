"""The short way from JSON to a row: whatever it makes is what the record makes; and what it leaves alone."""

from __future__ import annotations

import json
import random
import re
from datetime import UTC, date, datetime, timedelta, timezone
from typing import Any
from uuid import UUID

import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from bench.day_of_results import day_of_results
from tests.results import FULL, RESULTS, SITE_ID, TIMES, a_result
from wms_tasks.codec import json_codec
from wms_tasks.errors import CodecError
from wms_tasks.persist import json_row
from wms_tasks.persist.column import microseconds
from wms_tasks.persist.copy_row import copy_row
from wms_tasks.persist.fits import Unstorable
from wms_tasks.persist.json_row import JsonRows
from wms_tasks.persist.rows import Rows, WireReader, row_or_reject
from wms_tasks.result import Certificate, Evidence, Phases, Result
from wms_tasks.store.message import Message, Reject, Row

CERTIFICATE = Certificate(
    subject="CN=www.example.com",
    issuer="CN=R11,O=Let's Encrypt,C=US",
    names=("www.example.com", "example.com"),
    expires_at=datetime(2027, 1, 2, 3, 4, 5, tzinfo=UTC),
    chain_expires_at=datetime(2026, 12, 2, 3, 4, 5, tzinfo=UTC),
)
USUAL = a_result(
    **FULL
    | {
        "outcome": "up",
        "reason": "ok",
        "detail": None,
        "evidence": None,
        "content_type": "text/html",
        "certificate": CERTIFICATE,
    }
)
VALUE = json_codec.encode(USUAL)
PLAIN = st.text(st.characters(min_codepoint=32, max_codepoint=126, exclude_characters='"\\'), max_size=300)
# What can stand for a value of JSON, of the right kind or not.
JSON_VALUES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**70), 2**70),
    st.sampled_from([-1, 0, 1, 2**31 - 1, 2**31, 2**63 - 1, 2**63]),
    st.floats(allow_nan=False, allow_infinity=False),
    PLAIN,
    st.sampled_from(["up", "newer", "", "2026-11-23T07:00:00Z", "2026-11-23T07:00:00+02:00", "2026-11-23T07:00:00"]),
    st.lists(PLAIN, max_size=2),
    st.dictionaries(st.sampled_from(["headers", "body", "tls_ms", "x"]), PLAIN, max_size=2),
)
# Like what is read all day, with the borders of what it takes.
NEARLY_USUAL = st.builds(
    msgspec.structs.replace,
    st.sampled_from([USUAL, msgspec.structs.replace(USUAL, certificate=None)]),
    location=PLAIN,
    attempt=st.integers(-1, 2**31),
    reason=st.sampled_from(["ok", "newer", "", "No word"]),
    detail=st.none() | PLAIN,
    response_time_ms=TIMES,
    worker=PLAIN,
    wire_bytes=st.integers(-1, 2**63),
    phases=st.none()
    | st.builds(
        Phases, **{name: TIMES for name in Phases.__struct_fields__ if name != "tls_ms"}, tls_ms=st.none() | TIMES
    ),
    evidence=st.none() | st.builds(Evidence, headers=st.dictionaries(PLAIN, PLAIN, max_size=2), body=st.none() | PLAIN),
)


def message(value: bytes, headers: Any = ()) -> Message:
    """As the loop has it."""
    return Message("topic", "id", 0, 0, str(SITE_ID).encode(), value, headers)


def of_record(value: bytes) -> tuple[bytes, int] | str:
    """What the record makes of it: a row and its slot, or why there is none."""
    try:
        result = json_codec.decode_value(value)
        return copy_row(result), microseconds(result.scheduled_at)
    except (CodecError, Unstorable) as error:
        return str(error)


def held_to_the_record(rows: JsonRows, value: bytes) -> bool:
    """Whether the short way makes a row of it, which must be the record's."""
    made = rows.row_of(value, message(value))
    if made is not None:
        assert (made.data, made.slot_us) == of_record(value)
    return made is not None


@given(results=st.lists(RESULTS | NEARLY_USUAL, min_size=1, max_size=4))
def test_whatever_it_makes_is_what_the_record_makes(results: list[Result]) -> None:
    """Each twice, so that it is known; any result that can be written, usual or not."""
    rows = JsonRows()
    for result in [*results, *results]:
        held_to_the_record(rows, json_codec.encode(result))


@given(
    at=st.integers(0, len(VALUE)),
    byte=st.integers(0, 255),
    cut=st.integers(0, len(VALUE)),
    insert=st.binary(max_size=4) | st.sampled_from([b" ", b",", b"{", b"}", b'"', b'"a":1,']),
)
def test_a_damaged_value_is_never_taken_for_another(at: int, byte: int, cut: int, insert: bytes) -> None:
    """With one byte changed, cut or longer, after its neighbours were met: the record's row, or none."""
    rows = JsonRows()
    assert held_to_the_record(rows, VALUE)
    for damaged in (VALUE[:at] + bytes([byte]) + VALUE[at + 1 :], VALUE[:cut], VALUE[:at] + insert + VALUE[at:]):
        for _ in range(2):
            held_to_the_record(rows, damaged)


@given(
    name=st.sampled_from([*Result.__struct_fields__, "x"]),
    content=JSON_VALUES,
    place=st.integers(0, 30),
    seed=st.none() | st.integers(0, 99),
    spaced=st.booleans(),
)
@example(name="site_id", content=str(SITE_ID).replace("9", "8"), place=30, seed=None, spaced=False)
@example(name="scheduled_at", content="2026-11-23T08:00:00Z", place=0, seed=None, spaced=False)
@example(name="scheduled_at", content="2026-11-23T08:00:00Z", place=30, seed=None, spaced=False)
@example(name="response_time_ms", content=12, place=30, seed=None, spaced=False)
def test_fields_may_be_others_and_come_twice_and_in_any_order(
    name: str, content: object, place: int, seed: int | None, spaced: bool
) -> None:
    """One field more at any place, of whatever kind; the fields in another order; spaces: the record's row, or none."""
    fields = list(json.loads(VALUE).items())
    fields.insert(place, (name, content))
    if seed is not None:
        random.Random(seed).shuffle(fields)
    separators = (", ", ": ") if spaced else (",", ":")
    members = [f"{json.dumps(key)}{separators[1]}{json.dumps(one, separators=separators)}" for key, one in fields]
    value = f"{{{separators[0].join(members)}}}".encode()
    rows = JsonRows()
    held_to_the_record(rows, VALUE)
    for _ in range(2):
        held_to_the_record(rows, value)


@given(st.lists(st.tuples(st.booleans(), st.integers(0, 30), st.integers(0, 30)), min_size=1, max_size=4))
def test_pieces_of_two_values_in_any_order_are_never_a_third(pieces: list[tuple[bool, int, int]]) -> None:
    """Cut where fields begin, those of objects within it too; each piece of one of them, from there to there."""
    rows = JsonRows()
    values = VALUE, json_codec.encode(msgspec.structs.replace(USUAL, certificate=None, site_name="other"))
    for value in values:
        assert held_to_the_record(rows, value)
    fields = [re.split(rb'(?=,"[a-z_]+":)', value) for value in values]
    held_to_the_record(rows, b"".join(b"".join(fields[which][start:end]) for which, start, end in pieces))


def test_a_day_of_results_is_usual() -> None:
    """Those that were down too, with what their sites answered."""
    rows, results = JsonRows(), list(day_of_results(4_000, sites=200, day=date(2026, 11, 25)))
    assert any(one.evidence for one in results)
    assert all(held_to_the_record(rows, json_codec.encode(one)) for one in results)
    assert len(rows._known) == 200


@pytest.mark.parametrize(
    "changes",
    [
        {"certificate": None},
        {"certificate": None, "phases": msgspec.structs.replace(FULL["phases"], tls_ms=None)},
        {"detail": "slow: 2 s"},
        {"worker": "w" * 300},
        {"site_name": "s" * 70_000},
        {"location": "l" * 255},
        {"wire_bytes": 2**63 - 1, "attempt": 2**31 - 1, "redirects": 0},
        {"scheduled_at": datetime(1, 1, 1, tzinfo=UTC), "due_at": datetime(9999, 12, 31, 23, 59, 59, 999_999, UTC)},
        {"started_at": USUAL.scheduled_at - timedelta(microseconds=1)},
        {"evidence": Evidence(headers={"server": "nginx"}, body="busy")},
        {"certificate": msgspec.structs.replace(CERTIFICATE, names=())},
    ],
)
def test_what_is_usual_is_taken(changes: dict[str, Any]) -> None:
    """To the last value of each kind; the same in either way (`held_to_the_record`)."""
    assert held_to_the_record(JsonRows(), json_codec.encode(msgspec.structs.replace(USUAL, **changes)))


@pytest.mark.parametrize(
    "changes",
    [
        {"site_name": "naïve"},
        {"site_name": "a\x00b"},
        {"content_type": 'text/html; charset="utf-8"'},
        {"schema_version": 2},
        {"location": ""},
        {"location": "l" * 256},
        {"started_at": None},
        {"phases": None},
        {"phases": Phases(resolve_ms=1.0)},
        {"status_code": None},
        {"attempt": -1},
        {"attempt": 2**31},
        {"wire_bytes": 2**63},
        {"reason": "newer"},
        {"outcome": "newer"},
        {"due_at": datetime(2026, 11, 23, 9, tzinfo=timezone(timedelta(hours=2)))},
        {"certificate": msgspec.structs.replace(CERTIFICATE, expires_at=datetime(2027, 1, 2))},  # noqa: DTZ001 - of no zone
    ],
)
def test_what_is_unusual_is_left_alone(changes: dict[str, Any]) -> None:
    """However often it comes."""
    rows, value = JsonRows(), msgspec.json.encode(msgspec.structs.replace(USUAL, **changes))
    assert [held_to_the_record(rows, value) for _ in range(3)] == [False] * 3


@pytest.mark.parametrize("text", ["1e999", "NaN", "-Infinity", "12.0", "1E2"])
def test_a_number_is_what_the_record_takes_it_for(text: str) -> None:
    """JSON has none without an end."""
    value = VALUE.replace(b'"response_time_ms":12.5', b'"response_time_ms":' + text.encode())
    assert value != VALUE
    assert held_to_the_record(JsonRows(), value) == (text in {"12.0", "1E2"})


def test_nesting_without_end_is_no_row() -> None:
    """Nor does it end the loop."""
    value = VALUE.replace(b',"worker":', b',"x":' + b"[" * 100_000 + b',"worker":')
    assert not held_to_the_record(JsonRows(), value)
    head = VALUE.replace(b',"scheduled_at":', b',"x":' + b"[" * 100_000 + b',"scheduled_at":')
    assert not held_to_the_record(JsonRows(), head)


def test_the_writer_has_first_what_a_site_keeps() -> None:
    """A field moved would be no error: only slow, so it is one here."""
    cut = VALUE.index(b',"scheduled_at":')
    assert len(json.loads(VALUE[:cut] + b"}")) == 11
    assert not VALUE[:cut].endswith(b"null")


def test_a_site_that_is_asked_from_two_places_is_known_twice() -> None:
    """What it had last is another's each time, and still what it keeps is decoded once for each."""
    rows = JsonRows()
    values = [json_codec.encode(msgspec.structs.replace(USUAL, location=place)) for place in ("here", "there")]
    for value in values * 3:
        assert held_to_the_record(rows, value)
    assert (len(rows._known), len(rows._last)) == (2, 1)


def test_what_is_known_of_sites_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """In number, and in bytes of each."""
    monkeypatch.setattr(json_row, "SITES_MOST", 3)
    rows = JsonRows()
    sites = [msgspec.structs.replace(USUAL, site_id=UUID(int=n)) for n in range(10)]
    long = msgspec.structs.replace(USUAL, site_name="s" * 3_000)
    for result in [*sites, *sites, long, long]:
        assert held_to_the_record(rows, json_codec.encode(result))
        assert len(rows._last) <= 3
        assert all(len(met.came) < 3_000 for met in rows._last.values())


@pytest.mark.parametrize(
    "headers",
    [
        json_codec.headers(USUAL),
        [],
        [("content-type", b"avro/binary")],
        [("content-type", None)],
        [*json_codec.headers(USUAL), ("content-type", b"text/plain")],
    ],
)
def test_the_loop_takes_it_whatever_its_headers_call_it(headers: Any) -> None:
    """It is the row that the record makes, and knows its message; what cannot be read keeps its headers as a reject."""
    rows, good = Rows(WireReader()), message(VALUE, headers)
    row = rows.row_or_reject(good, VALUE)
    assert isinstance(row, Row)
    assert (row, row.message) == (row_or_reject(good), good)
    bad = message(VALUE[:-1], headers)
    refused = rows.row_or_reject(bad, bad.value)
    assert isinstance(refused, Reject)
    assert refused == row_or_reject(bad)
    assert refused.message == bad
