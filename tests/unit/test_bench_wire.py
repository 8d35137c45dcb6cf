"""What the benchmark of the wire formats compares."""

from __future__ import annotations

from datetime import date

import pytest

from bench.on_wire import WIRE, Format, cpu_us, messages_of
from bench.subjects import SUBJECTS
from wms_tasks.codec.wire import WireReader
from wms_tasks.persist.rows import Rows
from wms_tasks.store.message import Row

DAY = date(2026, 11, 25)


@pytest.mark.parametrize("wire_format", ["json", "avro"])
def test_both_formats_become_the_same_rows(wire_format: Format) -> None:
    """The same results, in the same order, each a row; Avro takes less than half the bytes."""
    messages = messages_of(wire_format, 200, sites=20, day=DAY)
    others = messages_of("json", 200, sites=20, day=DAY)
    rows, expected = Rows(WireReader()), Rows(WireReader())
    for one, other in zip(messages, others, strict=True):
        row, of_json = rows.row_or_reject(one, one.value), expected.row_or_reject(other, other.value)
        assert isinstance(row, Row)
        assert isinstance(of_json, Row)
        assert row.data == of_json.data
    sizes = [sum(len(one.value or b"") for one in which) for which in (messages, others)]
    assert wire_format == "json" or 2 * sizes[0] < sizes[1]


def test_the_time_is_of_this_thread_for_each() -> None:
    """In microseconds."""
    messages = messages_of("json", 50, sites=5, day=DAY)
    assert cpu_us(lambda _: sum(range(20_000)), messages) > 10 * cpu_us(lambda _: None, messages) > 0


def test_it_is_measured() -> None:
    """By `make bench`, and it must be as fast as JSON."""
    assert WIRE in SUBJECTS
    assert {one.key: str(one.must) for one in WIRE.figures if one.must} == {"wire_rows": "≥ 1", "wire_cpu": "≤ 1"}
