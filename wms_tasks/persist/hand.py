"""
What the persist loop has in hand: records read and not in Postgres yet, and where in each partition that leaves us.

They are in two parts: the batch that is gathered, and a parcel, the one before it, which is being written. No input, no
output: it takes what was read, and says what to write and where to read on. Used by the loop's thread.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import NamedTuple

from confluent_kafka import Message as KafkaMessage

from wms_tasks import clock
from wms_tasks.codec.wire import WireReader
from wms_tasks.persist.batch import Batch
from wms_tasks.persist.places import Places, Taken
from wms_tasks.persist.rows import Rows
from wms_tasks.settings import Settings
from wms_tasks.store.message import Headers, Message, OffsetMove, PartitionKey, Reject, Row
from wms_tasks.topic import TopicIdentity


class Parcel(NamedTuple):
    """A batch as it is written; ``size_bytes`` of its values."""

    records: list[Row | Reject]
    moves: list[OffsetMove]
    size_bytes: int


class Hand:
    """``identity``: which topic it comes from; set before anything is taken. ``parcel``: given, and not written yet."""

    def __init__(self, settings: Settings, wire: WireReader | None = None) -> None:
        self._topic = settings.topic
        self._wire = wire or WireReader(settings)
        self._rows = Rows(self._wire)
        self.identity: TopicIdentity | None = None
        self.places = Places()
        self.parcel: Parcel | None = None
        self.batch: Batch[Row | Reject] = Batch(
            max_records=settings.persist_max_records,
            max_bytes=settings.persist_max_bytes,
            timeout_seconds=settings.persist_timeout_ms / 1000,
        )

    @property
    def room(self) -> int:
        """How many records the batch still takes; both parts together have no more bytes than one may."""
        return self.batch.room_beside(0 if self.parcel is None else self.parcel.size_bytes)

    @property
    def held(self) -> int:
        """How many records are in both parts."""
        return len(self.batch) + (0 if self.parcel is None else len(self.parcel.records))

    def due(self, now: float) -> bool:
        """Whether something should be written now."""
        return self.parcel is not None or self.batch.due(now)

    def key(self, partition: int) -> PartitionKey:
        """The partition as Postgres knows it."""
        assert self.identity is not None
        return PartitionKey(self.identity.cluster_id, self._topic, self.identity.topic_id, partition)

    def begin(self, stored: Mapping[int, int]) -> None:
        """
        These are our partitions, and the next offset that Postgres wants of each.

        What is in hand is kept where it begins just there, and dropped where it does not; so a commit whose answer was
        lost is not written twice.
        """
        if not self.places.begin_at(stored):
            self.abandon()
            self.places.start(stored)

    def abandon(self) -> None:
        """Drop it: it is in Kafka, and may be another's by now. No partition is ours until `begin`."""
        self.batch.clear()
        self.parcel = None
        self.places.start({})

    def take(self, messages: Sequence[KafkaMessage]) -> int:
        """
        Take in those that come next in their partitions; how many bytes of records that adds.

        Raises:
            RegistryAway: they cannot be read yet; none is taken, and they are read again.
        """
        assert self.identity is not None
        self._wire.prepare(one.value() for one in messages)
        before, message_of = self.batch.size_bytes, partial(_message_of, self._topic, self.identity.topic_id)
        take, row_or_reject, next_ = self.places.take, self._rows.row_or_reject, Taken.NEXT
        records: list[Row | Reject] = []
        sizes_bytes: list[int] = []
        for one in messages:
            # None only in events, which the reader keeps.
            partition: int = one.partition()  # type: ignore[assignment]
            offset: int = one.offset()  # type: ignore[assignment]
            if take(partition, offset) is next_:
                value = one.value()
                records.append(row_or_reject(one, value, message_of))
                sizes_bytes.append(0 if value is None else len(value))
        self.batch.add(records, sizes_bytes, clock.monotonic())
        return self.batch.size_bytes - before

    def give(self) -> Parcel | None:
        """What is to be written next: the parcel that is not written yet, else all that was gathered, if any."""
        if self.parcel is None:
            size_bytes, spans = self.batch.size_bytes, self.places.give()
            moves = [OffsetMove(self.key(span.partition), span.start, span.end) for span in spans]
            records = self.batch.give()
            self.parcel = Parcel(records, moves, size_bytes) if moves else None
        return self.parcel

    def written(self) -> None:
        """Postgres has the parcel."""
        self.parcel = None
        self.places.written()


def _message_of(topic: str, topic_id: str, one: KafkaMessage) -> Message:
    partition: int = one.partition()  # type: ignore[assignment]
    offset: int = one.offset()  # type: ignore[assignment]
    headers: Headers = one.headers() or ()  # type: ignore[assignment]
    return Message(topic, topic_id, partition, offset, one.key(), one.value(), headers)
