"""
Gathers what judge.py compares: the topic read from its beginning by a consumer of its own, the tables, the log of
acknowledged deliveries, the slots of the schedule. Uses none of the product's readers, codecs or queries.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import psycopg
from confluent_kafka import Consumer, KafkaError, KafkaException, TopicCollection, TopicPartition
from confluent_kafka import Message as KafkaMessage
from confluent_kafka.admin import AdminClient

from tests.faults.records import Delivery, Expected, LostRange, Message, Partition, Place, Reject, Row, Slot
from tests.faults.sites import Page
from tests.waiting import wait_until

LOCATION = "local"
_KAFKA_SECONDS = 6.0
_ROWS = "SELECT site_id, location, scheduled_at, outcome, reason, started_at FROM wms.results"
_REJECTS = "SELECT topic_id, partition, kafka_offset, site_id, scheduled_at, reason FROM wms.rejects"
_DELIVERED = re.compile(
    r"publish\.delivered +key=(\S+) +location=(\S+) +offset=(\d+) +partition=(\d+) +scheduled_at=(\S+)"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Tables:
    """What Postgres holds, all read in one transaction. ``lost`` is None where the schema has no such table."""

    rows: tuple[Row, ...]
    rejects: tuple[Reject, ...]
    stored: Mapping[Partition, int]
    lost: tuple[LostRange, ...] | None


class Topic:
    """An independent reader of the topic, and what it has ever read of it, also in a life that is over."""

    def __init__(self, bootstrap_servers: str, name: str) -> None:
        quiet: dict[str, str | int | float | bool] = {
            "bootstrap.servers": bootstrap_servers,
            "log_level": 0,
            "reconnect.backoff.max.ms": 1000,
            "socket.timeout.ms": 4000,  # its connections go through the same black holes
        }
        self.name = name
        self._admin = AdminClient(quiet)
        self._consumer = Consumer(
            {
                **quiet,
                "group.id": f"judge-{uuid4().hex}",
                "enable.auto.commit": False,
                "auto.offset.reset": "error",
                "enable.partition.eof": True,
                "allow.auto.create.topics": False,
            }
        )
        self.current_id = ""
        self.gone: set[str] = set()
        self._read: dict[Place, Message] = {}

    @property
    def messages(self) -> tuple[Message, ...]:
        """All that was ever read, by place."""
        return tuple(self._read[place] for place in sorted(self._read))

    def close(self) -> None:
        """Let go of Kafka."""
        self._consumer.close()

    def look(self) -> int:
        """Which life of the topic this is; how many partitions it has."""
        found = self._admin.describe_topics(TopicCollection([self.name]))[self.name].result(_KAFKA_SECONDS)
        topic_id = str(found.topic_id)
        if self.current_id not in {"", topic_id}:
            self.gone.add(self.current_id)
        self.current_id = topic_id
        return len(found.partitions)

    def ends(self) -> dict[Partition, int]:
        """The end of each partition as the broker says now."""
        partitions = self.look()
        return {Partition(self.current_id, n): self._marks(n)[1] for n in range(partitions)}

    def read_all(self) -> None:
        """
        Read every partition from its beginning to its end.

        What was read before of this life must be there again, but for what retention has taken.
        """
        for partition in self.ends():
            low, end = self._marks(partition.partition)
            self._forget(partition)
            for message in self._read_partition(partition.partition, low, end):
                place = Place(self.current_id, partition.partition, int(message.offset() or 0))
                self._read[place] = Message(place, slot_of(message), says_missed(message))

    def delete(self) -> None:
        """Delete the topic; it is no longer listed when this returns."""
        self._admin.delete_topics([self.name])[self.name].result(_KAFKA_SECONDS)
        self.gone.add(self.current_id)
        wait_until(
            lambda: self.name not in self._admin.list_topics(timeout=_KAFKA_SECONDS).topics, 10, "the topic to go"
        )

    def _forget(self, partition: Partition) -> None:
        for place in [one for one in self._read if (one.topic_id, one.partition) == partition]:
            del self._read[place]

    def _marks(self, partition: int) -> tuple[int, int]:
        low, high = self._consumer.get_watermark_offsets(TopicPartition(self.name, partition), timeout=_KAFKA_SECONDS)
        return int(low), int(high)

    def _read_partition(self, partition: int, low: int, end: int) -> Iterator[KafkaMessage]:
        self._consumer.assign([TopicPartition(self.name, partition, low)])
        done = low >= end
        while not done:
            messages = self._consumer.consume(1000, 1.0)
            for message in messages:
                error = message.error()
                if error is None:
                    yield message
                    done = done or int(message.offset() or 0) >= end - 1
                elif error.code() == KafkaError._PARTITION_EOF:
                    done = True
                else:
                    raise KafkaException(error)
        self._consumer.unassign()


def slot_of(message: KafkaMessage) -> Slot | None:
    """From the value, else from key and header, else None."""
    try:
        value = json.loads(message.value() or b"")
        return Slot(UUID(value["site_id"]), str(value["location"]), _instant(value["scheduled_at"]))
    except (ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError):
        pass
    try:
        headers = dict(message.headers() or [])
        return Slot(UUID(_text(message.key())), LOCATION, _instant(_text(headers["scheduled_at"])))
    except (ValueError, KeyError, OverflowError):
        return None


def says_missed(message: KafkaMessage) -> bool:
    """Whether it is a worker's word that its slot has no result."""
    try:
        return bool(json.loads(message.value() or b"")["outcome"] == "missed")
    except (ValueError, KeyError, TypeError, RecursionError):
        return False


def _text(content: bytes | str | None) -> str:
    return content.decode() if isinstance(content, bytes) else content or ""


def _instant(text: str) -> datetime:
    return datetime.fromisoformat(text).astimezone(UTC)


def read_tables(database_url: str) -> Tables:
    """Everything, in one snapshot."""
    with psycopg.connect(database_url, options="-c TimeZone=UTC") as connection:
        connection.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
        connection.read_only = True
        rows = _fetch(connection, _ROWS)
        rejects = _fetch(connection, _REJECTS)
        return Tables(
            rows=tuple(Row(Slot(*row[:3]), *row[3:]) for row in rows),
            rejects=tuple(Reject(Place(*row[:3]), _reject_slot(row[3], row[4]), row[5]) for row in rejects),
            stored=_stored(connection),
            lost=_lost(connection),
        )


def read_stored(database_url: str) -> Mapping[Partition, int]:
    """How far each partition is stored."""
    with psycopg.connect(database_url) as connection:
        return _stored(connection)


def _stored(connection: psycopg.Connection[Any]) -> Mapping[Partition, int]:
    found = _fetch(connection, "SELECT topic_id, partition, next_offset FROM wms.offsets")
    return {Partition(topic_id, partition): end for topic_id, partition, end in found}


def _reject_slot(site_id: UUID | None, scheduled_at: datetime | None) -> Slot | None:
    return None if site_id is None or scheduled_at is None else Slot(site_id, LOCATION, scheduled_at)


def _lost(connection: psycopg.Connection[Any]) -> tuple[LostRange, ...] | None:
    """``lost_offsets`` says its range in columns that end in the offsets' names; None before it exists."""
    if _fetch(connection, "SELECT to_regclass('wms.lost_offsets')")[0][0] is None:
        return None
    found = _fetch(connection, "SELECT topic_id, partition, first_offset, end_offset FROM wms.lost_offsets")
    return tuple(LostRange(Partition(topic_id, partition), first, end) for topic_id, partition, first, end in found)


def _fetch(connection: psycopg.Connection[Any], statement: str) -> list[tuple[Any, ...]]:
    return connection.execute(statement.encode()).fetchall()


def deliveries(logs: Iterable[Path]) -> tuple[Delivery, ...]:
    """What workers wrote down between Kafka's report and the acknowledgement; a line cut short by a kill is none."""
    found = []
    for log in logs:
        for key, location, offset, partition, scheduled_at in _DELIVERED.findall(log.read_text("utf-8", "replace")):
            found.append(Delivery(Slot(UUID(key), location, _instant(scheduled_at)), int(partition), int(offset)))
    return tuple(found)


def expected_slots(
    pages: Iterable[Page], first: datetime, last: datetime, slack: timedelta, closed_until: datetime | None = None
) -> tuple[Expected, ...]:
    """
    Every slot from `first` on whose result can no longer come at `last`: ended, and `slack` ago.

    And every one that began by ``closed_until``.
    """
    found: list[Expected] = []
    for page in pages:
        interval = timedelta(seconds=page.interval_seconds)
        until = last - slack - interval
        slots = _slots(page, first, until if closed_until is None else max(until, closed_until))
        found += [Expected(Slot(page.site_id, LOCATION, begins), begins + interval) for begins in slots]
    return tuple(found)


def _slots(page: Page, first: datetime, last: datetime) -> Iterator[datetime]:
    epoch, step = datetime(1970, 1, 1, tzinfo=UTC), timedelta(microseconds=1)
    slots = page.slots
    slot_us = slots.after(slots.at((first - epoch) // step - 1))
    while slot_us <= (last - epoch) // step:
        yield epoch + slot_us * step
        slot_us = slots.after(slot_us)
