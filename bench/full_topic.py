"""A topic full of results, and Postgres before and after they are in it. Used by on_persist.py."""

from __future__ import annotations

import re
from collections.abc import Mapping
from contextlib import closing
from datetime import date, timedelta
from uuid import uuid4

import msgspec
import psycopg
from confluent_kafka import Consumer, Producer, TopicPartition

from bench.day_of_results import day_of_results
from bench.postgres import Committed, committed
from wms_tasks.codec.wire import WireWriter
from wms_tasks.publish.producer import producer_config
from wms_tasks.result import Result
from wms_tasks.settings import Settings
from wms_tasks.store.partitions import ensure_days
from wms_tasks.store.queries import query
from wms_tasks.topic import admin_client, ensure_topic, topic_identity

_WITH_COLUMNS = re.search(r"\((.*?)\)", query("copy_results").decode(), re.DOTALL)
assert _WITH_COLUMNS is not None
COLUMNS = _WITH_COLUMNS[1]
TEXT_COPY = f"COPY wms.results ({COLUMNS}) FROM STDIN".encode()


class FullTopic:
    """``ends``: the offset after the last message of each partition, as `fill` and `wake` left them."""

    def __init__(self, settings: Settings, day: date) -> None:
        self.settings = settings
        self._wire = WireWriter(settings)
        self.day = day
        self.ends: dict[int, int] = {}

    @property
    def total(self) -> int:
        """How many messages there are."""
        return sum(self.ends.values())

    def fill(self, count: int, sites: int) -> None:
        """Publish so many results as a worker does."""
        ensure_topic(self.settings)
        producer = self._producer()
        for number, result in enumerate(day_of_results(count, sites=sites, day=self.day)):
            self._produce(producer, result)
            if number % 10_000 == 0:
                producer.flush()  # or its queue would be full
        self._finish(producer)

    def wake(self) -> None:
        """A message into each partition, of a slot of its own."""
        producer = self._producer()
        later = timedelta(hours=6, seconds=self.total % 10_000)
        for partition, result in enumerate(day_of_results(len(self.ends), sites=len(self.ends), day=self.day)):
            slot = result.scheduled_at + later
            self._produce(producer, msgspec.structs.replace(result, scheduled_at=slot), partition)
        self._finish(producer)

    def lines(self) -> list[bytes]:
        """The rows that are there as lines of text COPY, in the order in which they came."""
        statement = f"COPY (SELECT {COLUMNS} FROM wms.results) TO STDOUT"
        url = self.settings.database_url
        with psycopg.connect(url) as connection, connection.cursor().copy(statement.encode()) as copy:
            return [bytes(line) for line in copy]

    def empty(self, offsets: Mapping[int, int]) -> None:
        """No row, and these are the next offsets; what an earlier round left for Postgres to do is done."""
        identity = topic_identity(admin_client(self.settings), self.settings.topic)
        with psycopg.connect(self.settings.database_url, autocommit=True) as connection:
            connection.execute("TRUNCATE wms.results, wms.offsets")
            for partition, offset in offsets.items():
                row = (identity.cluster_id, self.settings.topic, identity.topic_id, partition, offset)
                connection.execute("INSERT INTO wms.offsets VALUES (%s, %s, %s, %s, %s)", row)
            ensure_days(connection, [self.day])
            connection.execute("CHECKPOINT")

    def set_back(self) -> None:
        """The offsets of Postgres to the beginning; who owns a partition notices at its next batch."""
        with psycopg.connect(self.settings.database_url, autocommit=True) as connection:
            connection.execute("UPDATE wms.offsets SET next_offset = 0")

    def holders(self) -> int:
        """How many share the partitions; 0 while one of them is nobody's."""
        with psycopg.connect(self.settings.database_url) as connection:
            found = connection.execute("SELECT holder_pid FROM wms.offsets").fetchall()
        return 0 if (None,) in found else len(set(found))

    def stored(self) -> int:
        """How many messages Postgres has."""
        with psycopg.connect(self.settings.database_url) as connection:
            row = connection.execute("SELECT sum(next_offset) FROM wms.offsets").fetchone()
        assert row is not None
        return int(row[0])

    def committed(self) -> Committed:
        """When the rows were."""
        return committed(self.settings.database_url, "wms", f"results_p{self.day:%Y%m%d}")

    def _produce(self, producer: Producer, result: Result, partition: int = -1) -> None:
        value, headers = self._wire.encode(result)
        producer.produce(
            self.settings.topic,
            value,
            key=str(result.site_id).encode(),
            headers=[*headers],
            partition=partition,
        )

    def _producer(self) -> Producer:
        return Producer(producer_config(self.settings))

    def _finish(self, producer: Producer) -> None:
        assert producer.flush(60) == 0
        partitions = range(self.settings.kafka_topic_partitions)
        with closing(self._consumer()) as consumer:
            asked = {one: TopicPartition(self.settings.topic, one) for one in partitions}
            self.ends = {one: consumer.get_watermark_offsets(which, timeout=5.0)[1] for one, which in asked.items()}

    def _consumer(self) -> Consumer:
        servers = self.settings.kafka_bootstrap_servers
        return Consumer({"bootstrap.servers": servers, "group.id": uuid4().hex, "enable.auto.commit": False})
