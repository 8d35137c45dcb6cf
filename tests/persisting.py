"""A persist loop in a thread of the test, and messages for it."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid5

import psycopg
from confluent_kafka import Producer

from tests.results import SITE_ID, a_result
from tests.waiting import wait_until
from wms_tasks.codec import json_codec
from wms_tasks.persist.loop import PersistLoop
from wms_tasks.result import Result
from wms_tasks.settings import Settings

# The same for all of a session, so that equal slots are equal results.
NEWEST = datetime.now(UTC).replace(microsecond=0) - timedelta(minutes=1)


def site(n: int) -> UUID:
    """The id of site n."""
    return uuid5(SITE_ID, str(n))


def slots(count: int, *, sites: int = 5, first: int = 0, **changes: Any) -> list[Result]:
    """So many results, over these sites in turn, one slot a second up to a minute ago."""
    return [
        a_result(
            site_id=site(n % sites),
            site_name=f"site {n % sites}",
            scheduled_at=NEWEST - timedelta(seconds=n),
            **changes,
        )
        for n in range(first, first + count)
    ]


def send(settings: Settings, results: Sequence[Result], values: Sequence[bytes] = ()) -> None:
    """Publish results as the worker does, then bare values with the first site's key; returns when Kafka has them."""
    producer = Producer({"bootstrap.servers": settings.kafka_bootstrap_servers, "linger.ms": 5})
    for result in results:
        key = str(result.site_id).encode()
        producer.produce(settings.topic, json_codec.encode(result), key=key, headers=json_codec.headers(result))
    for value in values:
        producer.produce(settings.topic, value, key=str(site(0)).encode(), headers=json_codec.headers(a_result()))
    assert producer.flush(20) == 0


@contextmanager
def running(settings: Settings, **options: Any) -> Iterator[PersistLoop]:
    """The loop, running until the end of the block; an error of it fails the test."""
    loop = PersistLoop(settings, **options)
    failures: list[BaseException] = []

    def run() -> None:
        try:
            loop.run()
        except BaseException as error:  # noqa: BLE001 - handed to the test's own thread
            failures.append(error)

    thread = threading.Thread(target=run, name="persist-test")
    thread.start()
    try:
        yield loop
    finally:
        loop.stop()
        thread.join(10)
    assert not thread.is_alive()
    assert failures == []


def query(settings: Settings, statement: str, *values: object) -> list[tuple[Any, ...]]:
    """All rows."""
    with psycopg.connect(settings.database_url) as connection:
        return connection.execute(statement.encode(), values or None).fetchall()


def count(settings: Settings, table: str = "results") -> int:
    """How many rows a table has."""
    return int(query(settings, f"SELECT count(*) FROM wms.{table}")[0][0])


def wait_for_rows(settings: Settings, rows: int, table: str = "results") -> None:
    """Until the table has exactly so many."""
    wait_until(lambda: count(settings, table) == rows, 20, f"{rows} rows in {table}", every_seconds=0.05)
