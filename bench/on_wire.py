"""
Is persist as fast with Avro as with JSON? The same results in two topics that are full, one of each, drained in turn by
one persist process, twice each; and the CPU time in which a message becomes a row, beside it.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, date, datetime
from pathlib import Path
from statistics import fmean
from typing import Literal

from bench.day_of_results import day_of_results
from bench.figure import Figure, Measure, Round, Subject, at_least, at_most
from bench.on_persist import Drained, drained, full_topic
from wms_tasks.codec.wire import WireReader, WireWriter
from wms_tasks.persist.rows import Rows
from wms_tasks.settings import Settings
from wms_tasks.store.message import Message, Row

Format = Literal["json", "avro"]
RESULTS = 100_000
# A hundred slots of each: the reader of Avro learns a site once, and a persist process runs for days.
SITES = RESULTS // 100
ROWS = 20_000
ROW_SITES = ROWS // 100


def messages_of(wire_format: Format, count: int, *, sites: int, day: date) -> list[Message]:
    """As the persist loop is given them."""
    writer = WireWriter(Settings(env="test", wire_format=wire_format))
    found = []
    for offset, result in enumerate(day_of_results(count, sites=sites, day=day)):
        value, headers = writer.encode(result)
        found.append(Message("topic", "id", 0, offset, str(result.site_id).encode(), value, headers))
    return found


def cpu_us(act: Callable[[Message], object], messages: Sequence[Message]) -> float:
    """CPU time of this thread for each."""
    began = time.thread_time()
    for message in messages:
        act(message)
    return (time.thread_time() - began) / len(messages) * 1e6


def row_us(messages: Sequence[Message]) -> float:
    """CPU time in which one message becomes a row for COPY, as persist makes it, learning included."""
    rows = Rows(WireReader())
    assert isinstance(rows.row_or_reject(messages[0], messages[0].value), Row)
    return cpu_us(lambda message: rows.row_or_reject(message, message.value), messages)


def decode_us(messages: Sequence[Message]) -> float:
    """CPU time in which one becomes the record, as every other reader of ours does it."""
    reader = WireReader()
    return cpu_us(lambda message: reader.decode(message.value, message.headers), messages)


def _seconds_a_row(runs: Sequence[Drained]) -> float:
    return fmean(1 / run.per_second for run in runs)


def _cpu_us(runs: Sequence[Drained]) -> float:
    return fmean(run.cpu_us_per_row for run in runs)


@contextmanager
def _json_and_avro(folder: Path) -> Iterator[Measure]:
    day = datetime.now(UTC).date()
    in_json = messages_of("json", ROWS, sites=ROW_SITES, day=day)
    in_avro = messages_of("avro", ROWS, sites=ROW_SITES, day=day)
    # Services of their own, so that neither waits behind what the other has left to do.
    with (
        full_topic(folder / "json", RESULTS, SITES) as json,
        full_topic(folder / "avro", RESULTS, SITES, wire_format="avro") as avro,
    ):

        def measure(number: int) -> Round:
            outer, inner = (avro, json) if number % 2 == 0 else (json, avro)
            found: dict[str, list[Drained]] = {"avro": [], "json": []}
            # Each twice, the other way round: what the machine gains or loses meanwhile falls on both alike.
            for topic in (outer, inner, inner, outer):
                found[topic.settings.wire_format].append(drained(topic, 1, folder))
            return {
                "wire_rows": _seconds_a_row(found["json"]) / _seconds_a_row(found["avro"]),
                "wire_cpu": _cpu_us(found["avro"]) / _cpu_us(found["json"]),
                "wire_row_avro": row_us(in_avro),
                "wire_row_json": row_us(in_json),
                "wire_decode_avro": decode_us(in_avro),
                "wire_decode_json": decode_us(in_json),
            }

        yield measure


WIRE = Subject(
    name="wire format",
    figures=(
        Figure(
            key="wire_rows",
            name="persist with Avro: rows/s",
            unit="×",
            peer="persist with JSON, the same results",
            must=at_least(1.0),
        ),
        Figure(
            key="wire_cpu",
            name="persist with Avro: CPU per row",
            unit="×",
            peer="persist with JSON, the same results",
            must=at_most(1.0),
        ),
        Figure(key="wire_row_avro", name="Avro: CPU from a message to its row for COPY", unit="µs"),
        Figure(key="wire_row_json", name="JSON: CPU from a message to its row for COPY", unit="µs"),
        Figure(key="wire_decode_avro", name="Avro: CPU from a message to the record (fastavro)", unit="µs"),
        Figure(key="wire_decode_json", name="JSON: CPU from a message to the record (msgspec)", unit="µs"),
    ),
    open=_json_and_avro,
    conditions=f"{RESULTS:,} results of {SITES:,} sites, as the worker writes them, in JSON and in Avro's single-object"
    " encoding; one persist process, which begins with nothing learnt; else as persist beside COPY",
)
