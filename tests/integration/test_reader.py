"""The consumer of the persist loop on a real Kafka: what it is told to read from, it reads, each time."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

import pytest
from confluent_kafka import Consumer, Message, Producer

from tests.waiting import wait_until
from wms_tasks.persist.reader import Reader
from wms_tasks.settings import Settings
from wms_tasks.topic import ensure_topic

PARTITIONS = range(48)
# One partition in some 4,000 stood still when it was resumed after its new position.
ROUNDS = 60
CALLS: list[str] = []


class Recorded(Consumer):
    """A real consumer that keeps its calls, and does not let Kafka wait for more messages."""

    def __init__(self, config: dict[str, Any]) -> None:
        CALLS.clear()
        super().__init__({**config, "fetch.wait.max.ms": 10})

    def resume(self, *arguments: Any) -> None:
        CALLS.append("resume")
        super().resume(*arguments)

    def assign(self, *arguments: Any) -> None:
        super().assign(*arguments)
        CALLS.append("assigned")

    def incremental_assign(self, *arguments: Any) -> None:
        super().incremental_assign(*arguments)
        CALLS.append("assigned")


@pytest.fixture(params=["classic", "consumer"])
def reader(request: pytest.FixtureRequest, kafka_bootstrap: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Reader]:
    """It has all partitions, each with two messages."""
    settings = Settings(
        env="test",
        kafka_bootstrap_servers=kafka_bootstrap,
        kafka_group_protocol=request.param,
        kafka_topic_partitions=len(PARTITIONS),
        topic_suffix=os.urandom(6).hex(),
    )
    monkeypatch.setattr("wms_tasks.persist.reader.Consumer", Recorded)
    ensure_topic(settings)
    producer = Producer({"bootstrap.servers": kafka_bootstrap})
    for partition in (*PARTITIONS, *PARTITIONS):
        producer.produce(settings.topic, b"x", partition=partition)
    assert producer.flush(20) == 0
    one = Reader(settings)
    try:
        wait_until(lambda: one.poll(1, 0.1) or one.assigned == frozenset(PARTITIONS), 30, "all partitions")
        yield one
    finally:
        one.close()


def read(reader: Reader, count: int) -> list[Message]:
    """So many messages."""
    messages: list[Message] = []

    def enough() -> bool:
        messages.extend(reader.poll(count - len(messages), 0.05))
        return len(messages) == count

    wait_until(enough, 10, f"{count} messages", every_seconds=0)
    return messages


@pytest.mark.slow
def test_every_partition_is_read_after_every_new_position(reader: Reader) -> None:
    """Held and told again where to read from, however often: none stands still."""
    for n in range(ROUNDS):
        start = n % 2
        reader.position(dict.fromkeys(PARTITIONS, start))
        messages = read(reader, len(PARTITIONS) * (2 - start))
        assert {(one.partition(), one.offset()) for one in messages} == {
            (partition, offset) for partition in PARTITIONS for offset in range(start, 2)
        }
        assert CALLS[-2:] == ["resume", "assigned"]
        reader.hold()
