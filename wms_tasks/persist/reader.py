"""
The Kafka side of the persist loop: a consumer that reads on from where it is told, never from where Kafka thinks.

A newly assigned partition stays paused until `Reader.position` gives it an offset. All calls come from one thread,
in the process that uses the consumer: librdkafka's threads do not survive a fork.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping
from typing import cast

import structlog
from confluent_kafka import Consumer, KafkaError, KafkaException, Message, TopicPartition

from wms_tasks import tls
from wms_tasks.settings import Settings
from wms_tasks.topic import CONNECTIONS, LibrdkafkaLog

CLOSE_SECONDS = 1.0
LOW_MARK_TIMEOUT_SECONDS = 2.0

_NO_SUCH_TOPIC = frozenset({KafkaError.UNKNOWN_TOPIC_OR_PART, KafkaError._UNKNOWN_TOPIC, KafkaError._UNKNOWN_PARTITION})
# Said by librdkafka while it reconnects by itself; whoever waits for Kafka says so once.
_PASSING = frozenset({KafkaError._TRANSPORT, KafkaError._ALL_BROKERS_DOWN, KafkaError._RESOLVE, KafkaError._TIMED_OUT})

_log = structlog.get_logger()


def _config(settings: Settings) -> dict[str, object]:
    config: dict[str, object] = {
        "bootstrap.servers": settings.kafka_bootstrap_servers,
        "client.id": f"wms-persist-{settings.worker_name}",
        "group.id": settings.consumer_group,
        "group.protocol": settings.kafka_group_protocol,
        "enable.auto.commit": False,
        "enable.auto.offset.store": False,
        "auto.offset.reset": "error",
        "allow.auto.create.topics": False,
        # Little is read ahead, because whatever waits for Postgres is thrown away and read again. A fetch is asked for
        # while the queue has room, so one more of them may come on top.
        "queued.max.messages.kbytes": settings.persist_queue_max_bytes // 1024,
        "fetch.max.bytes": settings.persist_queue_max_bytes,
        # How long a fetch is put off while the queue has no room; librdkafka's own 1,000 ms let the queue run empty.
        "fetch.queue.backoff.ms": 10,
        # A topic that is made, or given more partitions, is noticed after this.
        "topic.metadata.refresh.interval.ms": 10_000,
        **CONNECTIONS,
    }
    if settings.kafka_group_protocol == "classic":
        # Eager, because cooperative rebalancing with commits by hand rejoins in storms. Under the consumer protocol
        # the broker sets all of these, and librdkafka refuses them.
        config["partition.assignment.strategy"] = "range"
        config["session.timeout.ms"] = 10_000
        config["heartbeat.interval.ms"] = 1_000
    return {**config, **tls.kafka(settings), "logger": LibrdkafkaLog()}


class FatalConsumer(Exception):  # noqa: N818 - reads as what it says
    """This consumer will never work again; a new one may."""


class Reader:
    """
    A consumer in the group, and what is assigned to it.

    ``generation`` counts changes of the assignment: records read under an older one are not ours to write.
    ``positioned``: every assigned partition has been told where to read on. ``lost``: partitions that Kafka no longer
    has the asked offset of, and that offset; they stand still until they are positioned again.
    """

    def __init__(self, settings: Settings) -> None:
        self.topic = settings.topic
        self._incremental = settings.kafka_group_protocol == "consumer"
        self.assigned: frozenset[int] = frozenset()
        self.generation = 0
        self.positioned = False
        self.topic_missing = False
        self.lost: dict[int, int] = {}
        self._consumer = Consumer(_config(settings))
        self._consumer.subscribe(
            [self.topic], on_assign=self._on_assign, on_revoke=self._on_revoke, on_lost=self._on_revoke
        )

    def poll(self, limit: int, timeout_seconds: float) -> list[Message]:
        """
        Up to ``limit`` messages, oldest first within a partition; waits the whole time-out for that many.

        Nothing while partitions wait for their position: calling it then keeps us in the group.

        Raises:
            FatalConsumer: make a new one.
        """
        generation = self.generation
        messages = self._consumer.consume(limit, timeout_seconds)
        good = [message for message in messages if (error := message.error()) is None or self._note(message, error)]
        return good if generation == self.generation and self.positioned else []

    def position(self, offsets: Mapping[int, int]) -> None:
        """
        Read on from these offsets; exactly the assigned partitions.

        seek() cannot revive a partition that lost its offset, and each protocol knows only its own way to assign.

        Resumed before, never after: assign() returns while librdkafka's own thread has yet to start the partitions, and
        of a resume() that meets a start one is thrown away as outdated; the partition then stands still for good,
        without a word (librdkafka issues 5591 and 2190; with 2.16 once in some 4,000 partitions).

        Raises:
            KafkaException: the assignment is being lost at this moment; the next poll tells.
        """
        partitions = [TopicPartition(self.topic, p, offset) for p, offset in offsets.items()]
        self._consumer.resume(partitions)
        if self._incremental:
            self._consumer.incremental_unassign(partitions)
            self._consumer.incremental_assign(partitions)
        else:
            self._consumer.assign(partitions)
        self.lost.clear()
        self.positioned = True

    def hold(self) -> None:
        """Fetch nothing until the next `position`."""
        self.positioned = False
        try:
            self._consumer.pause([TopicPartition(self.topic, p) for p in self.assigned])
        except KafkaException as error:
            # Of no consequence: what is fetched before the next `position` is thrown away by `poll`.
            _log.debug("persist.kafka_pause_failed", error=str(error))

    def low_mark(self, partition: int) -> int:
        """
        The first offset that Kafka still has.

        Raises:
            KafkaException: no answer in time.
        """
        low, _ = self._consumer.get_watermark_offsets(
            TopicPartition(self.topic, partition), timeout=LOW_MARK_TIMEOUT_SECONDS
        )
        return int(low)

    def end(self, partition: int) -> int | None:
        """The offset after the last message, by what the last fetch said; None before the first."""
        try:
            _, high = self._consumer.get_watermark_offsets(TopicPartition(self.topic, partition), cached=True)
        except KafkaException:
            return None
        return high if high >= 0 else None

    def commit(self, offsets: Mapping[int, int]) -> None:
        """Tell Kafka, for lag displays only; nothing here ever reads it back."""
        try:
            self._consumer.commit(
                offsets=[TopicPartition(self.topic, p, offset) for p, offset in offsets.items()], asynchronous=True
            )
        except KafkaException as error:
            _log.debug("persist.kafka_commit_failed", error=str(error))

    def close(self) -> None:
        """Leave the group; waits no longer than `CLOSE_SECONDS` for a Kafka that does not answer."""
        closing = threading.Thread(target=self._consumer.close, name="persist-close", daemon=True)
        closing.start()
        closing.join(CLOSE_SECONDS)
        if closing.is_alive():
            _log.warning("persist.kafka_close_abandoned", waited_seconds=CLOSE_SECONDS)

    def _note(self, message: Message, error: KafkaError) -> bool:
        """An error event. Returns False: it is no record."""
        if error.fatal():
            raise FatalConsumer(error.str())
        if error.code() == KafkaError._AUTO_OFFSET_RESET:
            self.lost[cast(int, message.partition())] = cast(int, message.offset())
        elif error.code() in _NO_SUCH_TOPIC:
            self.topic_missing = True
        elif error.code() in _PASSING:
            _log.debug("persist.kafka_event", error=error.str())
        else:
            _log.warning("persist.kafka_event", code=error.name(), error=error.str())
        return False

    def _on_assign(self, consumer: Consumer, partitions: list[TopicPartition]) -> None:
        # Any explicit offset will do, since nothing read from it is used. Not OFFSET_END: with a backlog, librdkafka
        # 2.16 then stalls the partition for good after its next assignment, silently (tried, both protocols).
        new = [TopicPartition(p.topic, p.partition, 0) for p in partitions]
        if self._incremental:
            consumer.incremental_assign(new)
            self._changed(self.assigned | {p.partition for p in new})
        else:
            consumer.assign(new)
            self._changed(frozenset(p.partition for p in new))
        self.topic_missing = False
        self.hold()

    def _on_revoke(self, consumer: Consumer, partitions: list[TopicPartition]) -> None:  # noqa: ARG002
        # confluent-kafka unassigns after this callback, in the protocol's own way.
        self._changed(self.assigned - {p.partition for p in partitions})

    def _changed(self, assigned: frozenset[int]) -> None:
        self.assigned = assigned
        self.generation += 1
        self.positioned = False
        self.lost.clear()
        _log.info("persist.assigned", partitions=sorted(assigned))
