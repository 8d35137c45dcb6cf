"""A breaking change of the messages, rolled out without a stop: the steps of docs/contract.md, with a v2 of our own."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from io import BytesIO
from typing import Any
from uuid import UUID

import msgspec
import pytest
from confluent_kafka import Producer
from fastavro import parse_schema, schemaless_writer

from tests.persisting import count, query, send, slots, wait_for_rows
from tests.registry import registry
from tests.waiting import wait_until
from wms_tasks.codec import json_codec
from wms_tasks.codec.avro_schema import current
from wms_tasks.codec.envelope import AVRO, JSON
from wms_tasks.codec.framing import confluent
from wms_tasks.codec.upcast import UPCASTS, Fields
from wms_tasks.codec.wire import WireReader
from wms_tasks.errors import CodecError, ServiceUnavailable, TopicMissingError
from wms_tasks.health import HEALTH
from wms_tasks.ledger.passed import all_ends
from wms_tasks.persist.stats import State
from wms_tasks.result import SCHEMA_VERSION, Result
from wms_tasks.roles.persist import PersistRole
from wms_tasks.settings import Settings
from wms_tasks.topic import ensure_topic


def as_v2(fields: Fields) -> Fields:
    """What a v2 might change: the time in microseconds, under another name."""
    response_time_ms = fields.pop("response_time_ms")
    return fields | {"schema_version": 2, "response_time_us": response_time_ms and round(response_time_ms * 1000)}


def from_v2(fields: Fields) -> Fields:
    """And how a release that reads both takes it."""
    response_time_us = fields.pop("response_time_us")
    return fields | {"schema_version": 1, "response_time_ms": response_time_us and response_time_us / 1000}


def v2_schema() -> dict[str, Any]:
    """Its Avro schema."""
    tree = json.loads(json.dumps(current().tree).replace("wms.metrics.v1", "wms.metrics.v2"))
    for field in tree["fields"]:
        if field["name"] == "response_time_ms":
            field.update(name="response_time_us", type=["null", "long"])
    return dict(tree)


@pytest.fixture
def two(monkeypatch: pytest.MonkeyPatch) -> None:
    """This release reads v2 as well."""
    monkeypatch.setitem(UPCASTS, 2, from_v2)


def in_json(result: Result) -> bytes:
    """A v2 message in JSON."""
    return json.dumps(as_v2(json.loads(json_codec.encode(result)))).encode()


def in_avro(result: Result, schema_id: int) -> bytes:
    """A v2 message in Avro, in a registry's framing."""
    fields = as_v2(msgspec.to_builtins(result, builtin_types=(datetime, UUID)))
    datum = BytesIO()
    schemaless_writer(datum, parse_schema(v2_schema()), fields)
    return confluent(schema_id) + datum.getvalue()


def send_v2(settings: Settings, messages: Sequence[tuple[bytes, bytes]]) -> None:
    """Content type and value of each, into the topic of v2."""
    producer = Producer({"bootstrap.servers": settings.kafka_bootstrap_servers})
    for content_type, value in messages:
        producer.produce(settings.of_topic_version(2).topic, value, headers=[("content-type", content_type)])
    assert producer.flush(20) == 0


@contextmanager
def persisting(settings: Settings, versions: str) -> Iterator[PersistRole]:
    """The persist role, reading these versions."""
    role = PersistRole(settings.model_copy(update={"topic_versions": versions}))
    role.start()
    try:
        wait_until(lambda: role.stats().state is State.RUNNING, 30, "all loops run")
        yield role
    finally:
        role.stop()


def test_what_is_written_is_the_version_of_the_record() -> None:
    """The settings know it, since they name the topic."""
    assert Settings().topic_version == SCHEMA_VERSION
    assert Settings(env="prod").topic == f"prod.scraped-metrics.v{SCHEMA_VERSION}"


def test_each_version_has_its_topic_and_its_group() -> None:
    """So none of them disturbs another; that of v1 is called as it always was."""
    one, two = Settings(env="prod", topic_versions=" 1, 2 ,1").read_versions
    assert (one.topic, one.consumer_group) == ("prod.scraped-metrics.v1", "prod.wms.persist")
    assert (two.topic, two.consumer_group) == ("prod.scraped-metrics.v2", "prod.wms.persist.v2")


@pytest.mark.usefixtures("two")
@pytest.mark.timeout(180)
def test_a_new_version_is_rolled_out_without_a_stop(settings: Settings) -> None:
    """Persist first, then workers one by one, then the old topic is let go: every slot is a row, once."""
    results = slots(80)
    with registry() as double:
        both = settings.model_copy(update={"schema_registry_url": double.url})
        schema_id = double.put(json.dumps(v2_schema()))

        with persisting(settings, "1"):
            send(settings, results[:20])
            wait_for_rows(settings, 20)

        with persisting(both, "1,2") as role:
            assert sorted(pulse.name for pulse in HEALTH.pulses()) == ["persist", "persist.v2"]
            send(settings, results[20:40])
            send_v2(settings, [(JSON, in_json(one)) for one in results[40:50]])
            send_v2(settings, [(AVRO, in_avro(one, schema_id)) for one in results[50:60]])
            # A worker's task that was tried again by one of the other version.
            send_v2(settings, [(JSON, in_json(one)) for one in results[20:30]])
            wait_for_rows(settings, 60)
            wait_until(lambda: role.stats().duplicates == 10, 20, "the repeated ones")
            topics = settings.topic, settings.of_topic_version(2).topic
            assert role.stats().topic == ", ".join(topics)
            assert role.stats().rows_written == 40
            assert [ends.topic for ends in all_ends(both.model_copy(update={"topic_versions": "1,2"}))] == [*topics]

        with persisting(both, "2"):
            send_v2(settings, [(AVRO, in_avro(one, schema_id)) for one in results[60:]])
            wait_for_rows(settings, 80)
    assert HEALTH.pulses() == []
    times = query(settings, "SELECT DISTINCT response_time_ms, schema_version FROM wms.results")
    assert times == [(results[0].response_time_ms, 1)]
    assert (count(settings, "rejects"), count(settings, "lost_offsets")) == (0, 0)


def test_without_it_a_message_of_v2_is_refused() -> None:
    """By a release that does not read it: kept as a reject, on whichever topic it comes."""
    (result,) = slots(1)
    for content_type, value in ((JSON, in_json(result)), (AVRO, in_avro(result, 1))):
        with pytest.raises(CodecError):
            WireReader().decode(value, [("content-type", content_type)])


@pytest.mark.usefixtures("two")
@pytest.mark.parametrize(
    ("value", "says"),
    [
        (b'{"schema_version": 2}', "no message of version 2: 'response_time_us'"),
        (b'{"schema_version": 2, "response_time_us": null}', "no message of version 2: Object missing required field"),
        (b'{"schema_version": 3}', "Object missing required field"),
        (b'{"schema_version": "2"}', "Expected `int`"),
    ],
)
def test_what_is_no_message_of_v2_is_refused_in_one_line(value: bytes, says: str) -> None:
    """As of v1."""
    with pytest.raises(CodecError) as caught:
        json_codec.decode(value)
    assert says in caught.value.message


def test_slots_are_closed_only_as_far_as_every_version_is_stored(settings: Settings) -> None:
    """A topic that is not there yet holds nobody up; without any there is none."""
    versions = settings.model_copy(update={"topic_versions": "1,2"})
    with pytest.raises(TopicMissingError):
        all_ends(versions)
    ensure_topic(settings)
    wait_until(lambda: topics_of(versions) == [settings.topic], 20, "the first topic's ends")
    ensure_topic(settings.of_topic_version(2))
    wait_until(lambda: len(topics_of(versions)) == 2, 20, "both topics' ends")


def topics_of(settings: Settings) -> list[str]:
    """Those whose ends are known; a topic that was just made may have no leader yet."""
    try:
        return [ends.topic for ends in all_ends(settings)]
    except ServiceUnavailable:
        return []


@pytest.mark.parametrize("wrong", ["0", "v1", "1,,x", "-1", "1.5", "1000", ","])
def test_wrong_versions_are_refused(wrong: str) -> None:
    """With one line."""
    with pytest.raises(ValueError, match="whole numbers from 1 on"):
        Settings(topic_versions=wrong)
