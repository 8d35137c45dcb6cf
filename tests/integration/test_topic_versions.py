"""A breaking change of the messages, rolled out without a stop: the steps of docs/contract.md, with a v2 of our own."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from datetime import datetime
from io import BytesIO
from typing import Any
from uuid import UUID

import msgspec
import pytest
from confluent_kafka import Producer
from fastavro import parse_schema, schemaless_writer

from tests.persisting import count, query, slots
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

# Between two slots of the workers.
PAUSE_SECONDS = 0.02


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


class Workers:
    """
    Publish slot after slot from a thread, whatever persist does: old ones to v1, new ones to v2, in JSON and in Avro.
    Every fourth slot is tried by one of each.
    """

    def __init__(self, settings: Settings, schema_id: int) -> None:
        self.published: list[Result] = []
        self.twice = 0
        self._topics = settings.topic, settings.of_topic_version(2).topic
        self._schema_id = schema_id
        self._old, self._ending, self._lock = True, threading.Event(), threading.Lock()
        self._producer = Producer({"bootstrap.servers": settings.kafka_bootstrap_servers})
        self._thread = threading.Thread(target=self._work, name="workers")

    @contextmanager
    def working(self) -> Iterator[None]:
        """Until the end of the block; all is in Kafka then."""
        self._thread.start()
        try:
            yield
        finally:
            self._ending.set()
            self._thread.join(20)
        assert not self._thread.is_alive()
        assert self._producer.flush(20) == 0

    def upgrade_the_last(self) -> None:
        """Nothing is written to v1 from here on, and what was is in Kafka."""
        with self._lock:
            self._old = False
            assert self._producer.flush(20) == 0

    def _work(self) -> None:
        while not self._ending.wait(PAUSE_SECONDS):
            with self._lock:
                self._publish(*slots(1, first=len(self.published)))

    def _publish(self, result: Result) -> None:
        turn = len(self.published) % 4
        if self._old and turn in {0, 1}:
            self._send(0, JSON, json_codec.encode(result))
        if turn in {1, 2} or (turn == 0 and not self._old):
            self._send(1, JSON, in_json(result))
        if turn == 3:
            self._send(1, AVRO, in_avro(result, self._schema_id))
        self.twice += turn == 1 and self._old
        self.published.append(result)

    def _send(self, which: int, content_type: bytes, value: bytes) -> None:
        self._producer.produce(self._topics[which], value, headers=[("content-type", content_type)])
        self._producer.poll(0)


def persist(stack: ExitStack, settings: Settings, versions: str) -> PersistRole:
    """A persist role that reads these versions, and has partitions of each; it stops with the stack, if not before."""
    role = PersistRole(settings.model_copy(update={"topic_versions": versions}))
    stack.callback(role.stop)
    role.start()
    wait_until(lambda: role.stats().state is State.RUNNING, 30, "all loops run")
    return role


def rows(settings: Settings) -> list[tuple[UUID, datetime]]:
    """The slots that have a row, one for each row."""
    return query(settings, "SELECT site_id, scheduled_at FROM wms.results ORDER BY site_id, scheduled_at")


def repeated(settings: Settings) -> int:
    """Messages that found their row there."""
    return int(query(settings, "SELECT coalesce(sum(dropped), 0) FROM wms.redeliveries")[0][0])


def wait_for_all(settings: Settings, published: Sequence[Result]) -> None:
    """Until each of these, which are all so far, has its row; others may come meanwhile."""
    wanted = {(one.site_id, one.scheduled_at) for one in published}
    wait_until(lambda: wanted <= set(rows(settings)), 30, f"rows of {len(wanted)} slots", every_seconds=0.1)


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
    """
    Persist first, then workers one by one, then the old topic is let go: every slot is a row, once, though workers
    publish all the time, and no persist worker stops before the next one reads.
    """
    topics = settings.topic, settings.of_topic_version(2).topic
    for version in (1, 2):
        ensure_topic(settings.of_topic_version(version))
    with registry() as double, ExitStack() as stack:
        both = settings.model_copy(update={"schema_registry_url": double.url})
        workers = Workers(both, double.put(json.dumps(v2_schema())))
        old = persist(stack, settings, "1")
        with workers.working():
            wait_until(lambda: old.stats().rows_written >= 20, 30, "rows of v1")

            new = persist(stack, both, "1,2")
            assert old.stats().state is not State.STOPPED
            assert sorted(pulse.name for pulse in HEALTH.pulses()) == ["persist", "persist.v2"]
            assert new.stats().topic == ", ".join(topics)
            old.stop()
            wait_for_all(settings, list(workers.published))
            assert [ends.topic for ends in all_ends(both.model_copy(update={"topic_versions": "1,2"}))] == [*topics]

            workers.upgrade_the_last()
            wait_for_all(settings, list(workers.published))
            wait_until(lambda: repeated(settings) == workers.twice, 20, "all of v1, also what v2 brought before")
            last = persist(stack, both, "2")
            assert new.stats().state is not State.STOPPED
            new.stop()
            wait_until(lambda: last.stats().rows_written >= 20, 30, "rows by the last one alone")
        wait_for_all(settings, workers.published)
    assert rows(settings) == sorted((one.site_id, one.scheduled_at) for one in workers.published)
    assert repeated(settings) == workers.twice > 0
    assert HEALTH.pulses() == []
    times = query(settings, "SELECT DISTINCT response_time_ms, schema_version FROM wms.results")
    assert times == [(workers.published[0].response_time_ms, 1)]
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
