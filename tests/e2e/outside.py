"""A system that runs somewhere, as whoever has its `WMS_*` can see it: reads only, and joins no consumer group."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from confluent_kafka import Consumer, Message, TopicPartition
from psycopg import Connection
from psycopg.rows import class_row

from tests.e2e.judgement import Row, Schedule
from wms_tasks import tls
from wms_tasks.errors import MigrationError, ServiceUnavailable
from wms_tasks.settings import Settings
from wms_tasks.store.connect import session
from wms_tasks.topic import LibrdkafkaLog

ANSWER_SECONDS = 10.0
SCHEDULES = """
SELECT site_id, location, site_name, interval_us, splay_us, deadline_us, valid_from,
    least(valid_to, timestamptz '9999-01-01') AS valid_to
FROM wms.sites WHERE valid_to > %s
"""
HAS_BEGUN = """
SELECT EXISTS (SELECT FROM wms.sites WHERE valid_to = 'infinity')
    AND EXISTS (SELECT FROM wms.results WHERE outcome <> 'missed')
"""
ROWS = """
SELECT site_id, location, scheduled_at, outcome, reason FROM wms.results WHERE scheduled_at >= %s AND scheduled_at < %s
"""
# A topic that was made again has another id and rows of its own.
NEXT_OFFSETS = """
SELECT DISTINCT ON (partition) partition, next_offset FROM wms.offsets WHERE topic = %s
ORDER BY partition, updated_at DESC
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Start:
    """How things stood before anything was looked at. ``ends``: of each partition, the offset that comes next."""

    at: datetime
    rejects: int
    lost_offsets: int
    ends: dict[int, int]


class Outside:
    """What can be asked. Each question is a connection of its own, so that nothing here stands in anybody's way."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings

    @contextmanager
    def postgres(self) -> Iterator[Connection[Any]]:
        """One transaction."""
        with session(self.settings, "e2e", limit_seconds=60) as connection:
            yield connection

    def has_begun(self) -> bool:
        """Whether sites are scheduled and one was probed; not, where Postgres is not there yet or has no schema."""
        try:
            with self.postgres() as connection:
                return bool(connection.execute(HAS_BEGUN).fetchone() == (True,))
        except (ServiceUnavailable, MigrationError):
            return False

    def start(self) -> Start:
        """Now."""
        with self.postgres() as connection:
            found = connection.execute(
                "SELECT now(), (SELECT count(*) FROM wms.rejects), (SELECT count(*) FROM wms.lost_offsets)"
            ).fetchone()
        assert found is not None
        return Start(at=found[0], rejects=found[1], lost_offsets=found[2], ends=self.ends())

    def now(self) -> datetime:
        """By Postgres' clock, so that this machine's need not be right."""
        with self.postgres() as connection:
            found = connection.execute("SELECT now()").fetchone()
        assert found is not None
        return found[0]

    def schedules(self, since: datetime) -> list[Schedule]:
        """All that are valid at that instant or later."""
        with self.postgres() as connection, connection.cursor(row_factory=class_row(Schedule)) as cursor:
            return cursor.execute(SCHEDULES, (since,)).fetchall()

    def rows(self, since: datetime, until: datetime) -> list[Row]:
        """Of slots in [since, until)."""
        with self.postgres() as connection, connection.cursor(row_factory=class_row(Row)) as cursor:
            return cursor.execute(ROWS, (since, until)).fetchall()

    def stored(self) -> dict[int, int]:
        """Of each partition, the offset that persist reads next."""
        with self.postgres() as connection:
            return dict(connection.execute(NEXT_OFFSETS, (self.settings.topic,)).fetchall())

    def ends(self) -> dict[int, int]:
        """Of each partition, the offset of the next message."""
        with self._consumer() as consumer:
            found = consumer.list_topics(self.settings.topic, timeout=ANSWER_SECONDS).topics[self.settings.topic]
            assert found.error is None, f"{self.settings.topic}: {found.error}"
            marks = {
                one: consumer.get_watermark_offsets(TopicPartition(self.settings.topic, one), timeout=ANSWER_SECONDS)
                for one in found.partitions
            }
        return {partition: high for partition, (_, high) in marks.items()}

    def messages(self, begin: dict[int, int], end: dict[int, int]) -> list[Message]:
        """Those between these offsets, of which Kafka may have deleted none yet."""
        wanted = sum(end[partition] - begin[partition] for partition in end)
        found: list[Message] = []
        with self._consumer() as consumer:
            consumer.assign([TopicPartition(self.settings.topic, one, offset) for one, offset in begin.items()])
            while len(found) < wanted:
                got = consumer.consume(wanted - len(found), timeout=ANSWER_SECONDS)
                assert got, f"{len(found)} of {wanted} messages came, then none for {ANSWER_SECONDS:g} s"
                for message in got:
                    assert message.error() is None, str(message.error())
                    if message.offset() < end[message.partition()]:
                        found.append(message)
        return found

    @contextmanager
    def _consumer(self) -> Iterator[Consumer]:
        """Of partitions that are named to it: it asks for no group's rights and commits nothing."""
        consumer = Consumer(
            {
                "bootstrap.servers": self.settings.kafka_bootstrap_servers,
                "group.id": self.settings.consumer_group,
                "enable.auto.commit": False,
                "enable.auto.offset.store": False,
                "auto.offset.reset": "error",
                **tls.kafka(self.settings),
                "logger": LibrdkafkaLog(),
            }
        )
        try:
            yield consumer
        finally:
            consumer.close()
