"""Messages that are no results, one in a hundred, at random places of a load, while the system runs."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

from confluent_kafka import KafkaError, Message, Producer
from confluent_kafka.admin import AdminClient, AlterConfigOpType, ConfigEntry, ConfigResource, ResourceType

from tests.bad_messages import SIZES, BadMessage, bad_messages, good_fields
from tests.faults.lab import Lab, now
from tests.faults.records import Place
from tests.faults.scenario import OUTAGES, Scenario

# To each bad message so many good ones.
_GOOD = 99
_RATE_PER_SECOND = 2_000
_STEP_SECONDS = 0.1
_ANSWER_SECONDS = 10.0
# Kafka's own limit is 1 MiB.
_LARGEST_BYTES = SIZES[-1] + 64 * 1024


def _mixed_in(lab: Lab) -> None:
    """Faster than the sites' own results, so that a batch has hundreds of good and several bad ones."""
    _allow_large_values(lab)
    bad: list[BadMessage | None] = [*bad_messages(str(lab.random.random()), now().replace(microsecond=0))]
    load = bad + [None] * (len(bad) * _GOOD)
    lab.random.shuffle(load)
    producer = Producer(
        {
            "bootstrap.servers": lab.stage.kafka_bootstrap_servers,
            "message.max.bytes": _LARGEST_BYTES,
            "queue.buffering.max.kbytes": 8 * _LARGEST_BYTES // 1024,
            "linger.ms": 5,
        }
    )
    failed: list[KafkaError] = []
    _produce(lab, producer, load, failed)
    assert producer.flush(60) == 0, "Kafka did not take all messages"
    assert not failed, f"Kafka refused {len(failed)} messages: {failed[0]}"


def _produce(lab: Lab, producer: Producer, load: list[BadMessage | None], failed: list[KafkaError]) -> None:
    topic, topic_id = lab.topic.name, lab.topic.current_id
    past = _past_results(lab)
    step = int(_RATE_PER_SECOND * _STEP_SECONDS)
    for first in range(0, len(load), step):
        for bad in load[first : first + step]:
            if bad is None:
                key, value = next(past)
                producer.produce(topic, value, key=key)
            else:
                note = _noting(lab, topic_id, bad, failed)
                producer.produce(topic, bad.value, key=bad.key, headers=bad.headers, on_delivery=note)
        producer.poll(0)
        lab.wait(_STEP_SECONDS)


def _noting(
    lab: Lab, topic_id: str, bad: BadMessage, failed: list[KafkaError]
) -> Callable[[KafkaError | None, Message], None]:
    """Where it was put, and what for, when Kafka has it."""

    def note(error: KafkaError | None, message: Message) -> None:
        if error is not None:
            failed.append(error)
        else:
            lab.bad[Place(topic_id, int(message.partition() or 0), int(message.offset() or 0))] = bad.reason

    return note


def _past_results(lab: Lab) -> Iterator[tuple[bytes, bytes]]:
    """Results of the run's own sites, of slots before it: backwards without an end, another stretch each time."""
    epoch, step = datetime(1970, 1, 1, tzinfo=UTC), timedelta(microseconds=1)
    pages = lab.quick
    # A repetition has the time before that of the one before.
    hours = 3 * (len(lab.outages) - 1)
    slots = {page: page.slots.at((lab.began_at - timedelta(hours=hours, seconds=10) - epoch) // step) for page in pages}
    while True:
        for page in pages:
            slots[page] = page.slots.at(slots[page] - 1)
            fields = good_fields(page.site_id, page.name, epoch + slots[page] * step)
            yield str(page.site_id).encode(), json.dumps(fields).encode()


def _allow_large_values(lab: Lab) -> None:
    lab.topic.look()
    setting: Any = ConfigEntry("max.message.bytes", str(_LARGEST_BYTES), incremental_operation=AlterConfigOpType.SET)
    topic = ConfigResource(ResourceType.TOPIC, lab.topic.name, incremental_configs=[setting])
    admin = AdminClient({"bootstrap.servers": lab.stage.kafka_bootstrap_servers, "log_level": 0})
    for answer in admin.incremental_alter_configs([topic]).values():
        answer.result(_ANSWER_SECONDS)


SCENARIOS = (
    Scenario(name="bad input, 1 % of the load", act=_mixed_in, repetitions=OUTAGES, may_miss=False, about_seconds=50),
)
