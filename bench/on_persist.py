"""
How fast do results go from Kafka into Postgres? The persist role as a process of its own on a topic that is full;
beside it COPY of lines that were made before, and telegraf.

What counts is the time from the first commit of a full batch to the last one, by Postgres' own clock. So that several
processes begin together, they are first given their partitions at the ends; then the offsets in Postgres are set back,
as an old dump restored would, and a message into each partition makes its owner notice.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Literal, NamedTuple
from uuid import uuid4

import psutil
import psycopg

from bench.figure import Figure, Measure, Round, Subject, at_least
from bench.full_topic import TEXT_COPY, FullTopic
from bench.peers import peer
from bench.postgres import committed, postgres, public_rows
from bench.services import environ_of, services
from bench.telegraf import TABLE, telegraf
from bench.turns import both
from tests.acceptance.processes import Role, roles
from tests.waiting import wait_until
from wms_tasks.settings import Settings

RESULTS = 400_000
SITES = 10_000
# Shared evenly by two.
PARTITIONS = 4
BATCH_ROWS = 5_000
_BLOCK_BYTES = 128 * 1024
_READY_SECONDS = 40.0
_DRAINED_SECONDS = 180.0
# Fewer beside a peer that is slow: its rounds are most of this part's time.
RESULTS_BESIDE_PEERS = RESULTS // 4


def conditions(results: int) -> str:
    """What is on, for the table."""
    return (
        f"{results:,} results of {SITES:,} sites as the worker writes them (https, certificates; one in 100 down, with "
        f"evidence) in {PARTITIONS} partitions; the embedded Kafka and Postgres with their settings, fsync on; the "
        f"table with its keys and indexes; batches of {BATCH_ROWS:,}; from the first commit of a full batch to the last"
    )


class Drained(NamedTuple):
    """How fast a full topic went into Postgres, and the CPU time of our processes for a row of it."""

    per_second: float
    cpu_us_per_row: float


def drained(topic: FullTopic, processes: int, folder: Path) -> Drained:
    """All of it, by so many persist processes."""
    topic.empty(topic.ends)
    logs = folder / uuid4().hex
    logs.mkdir()
    with roles(environ_of(topic.settings), logs) as started:
        workers = [started.start("worker", "--persist", "-n", f"persist{n}@%h") for n in range(processes)]
        wait_until(lambda: topic.holders() == processes, _READY_SECONDS, "partitions for all", every_seconds=0.1)
        before = _cpu_seconds(workers)
        topic.set_back()
        topic.wake()
        wait_until(lambda: topic.stored() == topic.total, _DRAINED_SECONDS, "all rows", every_seconds=0.1)
        used_seconds = _cpu_seconds(workers) - before
        for worker in workers:
            worker.stop()
    found = topic.committed()
    assert found.rows == topic.total, found
    return Drained(found.per_second, used_seconds / topic.total * 1e6)


def copied(topic: FullTopic, lines: Sequence[bytes]) -> float:
    """Rows a second by COPY of lines that were made before, as many a transaction as persist takes."""
    topic.empty({})
    batches = [list(_blocks(lines[n : n + BATCH_ROWS])) for n in range(0, len(lines), BATCH_ROWS)]
    with psycopg.connect(topic.settings.database_url, autocommit=True) as connection:
        for batch in batches:
            with connection.transaction(), connection.cursor().copy(TEXT_COPY) as copy:
                for block in batch:
                    copy.write(block)
    found = topic.committed()
    assert found.rows == len(lines), found
    return found.per_second


def stored_by(topic: FullTopic, table: str, peer: AbstractContextManager[object]) -> float:
    """Rows a second by a peer, which is started by its context, into a table that it makes itself."""
    topic.empty({})
    url = topic.settings.database_url
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(f"DROP TABLE IF EXISTS public.{table}".encode())
    with peer:
        wait_until(lambda: public_rows(url, table) >= topic.total, _DRAINED_SECONDS, table, every_seconds=0.5)
    return committed(url, "public", table).per_second


def _cpu_seconds(workers: Sequence[Role]) -> float:
    times = [psutil.Process(worker.process.pid).cpu_times() for worker in workers]
    return sum(one.user + one.system for one in times)


def _blocks(lines: Sequence[bytes]) -> Iterator[bytes]:
    """As large as those the persist role sends."""
    block = bytearray()
    for line in lines:
        block += line
        if len(block) >= _BLOCK_BYTES:
            yield bytes(block)
            block.clear()
    yield bytes(block)


@contextmanager
def full_topic(
    folder: Path, count: int = RESULTS, sites: int = SITES, *, wire_format: Literal["json", "avro"] = "json"
) -> Iterator[FullTopic]:
    """On services of its own; its day is yesterday."""
    with services(folder) as (valkey, kafka), postgres(folder) as server:
        settings = Settings(
            env="test",
            broker_url=valkey.url,
            kafka_bootstrap_servers=kafka.bootstrap_servers,
            kafka_topic_partitions=PARTITIONS,
            database_url=server.url(),
            wire_format=wire_format,
        )
        topic = FullTopic(settings, (datetime.now(UTC) - timedelta(days=1)).date())
        topic.fill(count, sites)
        yield topic


@contextmanager
def _beside_copy(folder: Path) -> Iterator[Measure]:
    with full_topic(folder) as topic:
        drained(topic, 1, folder)
        lines = topic.lines()

        def measure(number: int) -> Round:
            if number % 2:
                theirs, two, one = copied(topic, lines), drained(topic, 2, folder), drained(topic, 1, folder)
            else:
                one, two, theirs = drained(topic, 1, folder), drained(topic, 2, folder), copied(topic, lines)
            return {
                "persist_rows": one.per_second,
                "persist_cpu": one.cpu_us_per_row,
                "persist_copy": one.per_second / theirs,
                "persist_two": two.per_second / one.per_second,
            }

        yield measure


@contextmanager
def _beside_telegraf(folder: Path) -> Iterator[Measure]:
    program = peer("telegraf")
    with full_topic(folder, RESULTS_BESIDE_PEERS) as topic:

        def measure(number: int) -> Round:
            ours, theirs = both(
                number,
                lambda: drained(topic, 1, folder),
                lambda: stored_by(topic, TABLE, telegraf(program, topic.settings, folder)),
            )
            return {"persist_telegraf": ours.per_second / theirs}

        yield measure


PERSIST = Subject(
    name="persist",
    figures=(
        Figure(key="persist_rows", name="persist: rows a second of one process", unit="/s"),
        Figure(key="persist_cpu", name="persist: CPU per row", unit="µs"),
        Figure(
            key="persist_copy",
            name="persist: rows/s",
            unit="×",
            peer="prebuilt text COPY of the same rows into the same table",
            must=at_least(0.8),
            aim=at_least(1.0),
        ),
        Figure(
            key="persist_two",
            name="persist: rows/s of 2 processes",
            unit="×",
            peer="1 process (all share the machine's cores with Postgres and Kafka)",
        ),
    ),
    open=_beside_copy,
    conditions=conditions(RESULTS),
)

PERSIST_BESIDE_TELEGRAF = Subject(
    name="persist beside telegraf",
    figures=(
        Figure(
            key="persist_telegraf",
            name="persist: rows/s, exactly once",
            unit="×",
            peer="telegraf kafka_consumer → postgresql, no key, no deduplication",
            must=at_least(3.5),
            aim=at_least(5.0),
        ),
    ),
    open=_beside_telegraf,
    conditions=conditions(RESULTS_BESIDE_PEERS)
    + "; telegraf on the same topic: json_v2, without certificate names and evidence, batches "
    f"of {BATCH_ROWS:,}, a table of its own without index",
)
