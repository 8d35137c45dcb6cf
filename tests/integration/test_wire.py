"""JSON and Avro through real Kafka into real Postgres: mixed, framed both ways, and while the registry is away."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from io import BytesIO
from operator import itemgetter
from typing import Any

import msgspec
import psycopg
import pytest
from click.testing import CliRunner
from confluent_kafka import Consumer, Producer
from fastavro import schemaless_writer
from structlog.testing import capture_logs

from tests.persisting import count, query, running, slots, wait_for_rows
from tests.ports import free_port
from tests.registry import Registry as Double
from tests.registry import registry
from tests.results import FULL
from tests.samples import own
from tests.waiting import wait_until
from wms_tasks import metrics
from wms_tasks.cli import wms
from wms_tasks.codec import registry as registry_module
from wms_tasks.codec import wire as wire_module
from wms_tasks.codec.avro_schema import by_fingerprint, current, read_schema
from wms_tasks.codec.envelope import AVRO, headers_of
from wms_tasks.codec.framing import single_object
from wms_tasks.codec.wire import Encoded, WireReader, WireWriter
from wms_tasks.errors import NotPublished
from wms_tasks.persist.stats import State
from wms_tasks.publish import Publisher
from wms_tasks.result import Result
from wms_tasks.settings import Settings
from wms_tasks.topic import ensure_topic

OURS = json.dumps(current().tree)


@pytest.fixture
def double() -> Iterator[Double]:
    """A registry."""
    with registry() as running_registry:
        yield running_registry


def changed(settings: Settings, **changes: Any) -> Settings:
    """With these."""
    return settings.model_copy(update=changes)


def put(settings: Settings, messages: Sequence[tuple[Result, Encoded]]) -> None:
    """Into the topic; returns when Kafka has them."""
    producer = Producer({"bootstrap.servers": settings.kafka_bootstrap_servers, "linger.ms": 5})
    for result, (value, headers) in messages:
        producer.produce(settings.topic, value, key=str(result.site_id), headers=[*headers])
    assert producer.flush(20) == 0


def written(settings: Settings, results: Sequence[Result]) -> list[tuple[Result, Encoded]]:
    """As a worker with these settings writes them."""
    writer = WireWriter(settings)
    return [(result, writer.encode(result)) for result in results]


def rows_of(settings: Settings) -> list[tuple[Any, ...]]:
    """All that a message can change, but for who is who."""
    return query(
        settings,
        "SELECT site_id, scheduled_at, due_at, started_at, outcome, reason, detail, status_code, response_time_ms, "
        "address, wire_bytes, tls_ms, certificate_names, certificate_expires_at, evidence::text FROM wms.results "
        "ORDER BY site_id, scheduled_at",
    )


def test_json_and_both_framings_of_avro_are_read_from_one_topic(settings: Settings, double: Double) -> None:
    """Workers of either format, while a roll-out changes it; the rows are the same."""
    ensure_topic(settings)
    with_registry = changed(settings, schema_registry_url=double.url)
    results = slots(90, **FULL)
    formats = [
        settings,
        changed(settings, wire_format="avro"),
        changed(with_registry, wire_format="avro"),
    ]
    put(settings, [one for n, which in enumerate(formats) for one in written(which, results[n::3])])
    with running(with_registry):
        wait_for_rows(settings, len(results))
    mixed = rows_of(settings)
    with psycopg.connect(settings.database_url) as connection:
        connection.execute("TRUNCATE wms.results")
    put(settings, written(settings, results))
    with running(settings):
        wait_for_rows(settings, len(results))
    assert mixed == rows_of(settings)
    # Read without the registry now, those in its framing would have been rejects; they lay before the stored offset.
    assert count(settings, "rejects") == 0


def test_a_worker_writes_what_the_format_says(settings: Settings, double: Double) -> None:
    """Through the publisher: value, headers and key, read back by another consumer."""
    ensure_topic(settings)
    for wire in (
        changed(settings, wire_format="avro"),
        changed(settings, wire_format="avro", schema_registry_url=double.url),
    ):
        publisher = Publisher(wire)
        (result,) = slots(1, **FULL)
        publisher.publish(result, timeout_seconds=10)
        publisher.close()
    consumer = Consumer(
        {
            "bootstrap.servers": settings.kafka_bootstrap_servers,
            "group.id": settings.topic_suffix,
            "auto.offset.reset": "earliest",
        }
    )
    consumer.subscribe([settings.topic])
    found: list[Any] = []
    wait_until(lambda: found.extend(consumer.consume(2, 0.5)) or len(found) == 2, 20, "both messages")
    consumer.close()
    single, framed = found
    assert single.value()[:10] == single_object(current().fingerprint)
    assert framed.value()[:5] == b"\x00\x00\x00\x00\x01"
    assert single.value()[10:] == framed.value()[5:]
    for message in found:
        assert message.key() == str(result.site_id).encode()
        assert message.headers() == headers_of(result, AVRO)
        assert WireReader(wire).decode(message.value(), message.headers()) == result


def test_while_the_registry_is_away_persist_waits_and_loses_nothing(settings: Settings) -> None:
    """It says so once, keeps its place in the group, and goes on by itself; what came before is stored."""
    ensure_topic(settings)
    port = free_port()
    avro = changed(
        settings, wire_format="avro", schema_registry_url=f"http://127.0.0.1:{port}", kafka_topic_partitions=1
    )
    results = slots(60, sites=1)
    with registry(port=port):
        framed = written(avro, results[:40])
    with capture_logs() as logs, running(avro) as loop:
        put(settings, written(settings, results[40:]))
        wait_for_rows(settings, 20)
        put(settings, framed)
        wait_until(lambda: loop.stats().state == State.WAITING_FOR_REGISTRY, 10, "waiting for the registry")
        assert count(settings) == 20
        with registry(port=port) as back:
            back.put(OURS)
            wait_for_rows(settings, 60)
            assert back.asked == ["GET /schemas/ids/1"]
        assert loop.stats().duplicates == 0
    said = [one["event"] for one in logs if one["log_level"] != "debug" and "registry" in one["event"]]
    assert said == ["registry.away", "registry.back"]
    assert count(settings, "rejects") == 0
    assert count(settings, "lost_offsets") == 0


def test_a_message_of_an_unknown_version_is_kept_and_replayed(
    settings: Settings, double: Double, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of a newer schema, or of an id nobody knows: never misread; once it can be read, it becomes its row."""
    ensure_topic(settings)
    avro = changed(settings, wire_format="avro", schema_registry_url=double.url)
    tree = current().tree
    tree["fields"].append({"name": "region", "type": "string", "default": "", "doc": "Of a later release."})
    newer = read_schema(json.dumps(tree))
    results = slots(20)
    messages = written(settings, results[2:])
    datum = BytesIO()
    fields = msgspec.to_builtins(results[0], builtin_types=(type(results[0].due_at), type(results[0].site_id)))
    schemaless_writer(datum, newer.parsed, fields | {"region": "eu"})
    headers = headers_of(results[0], AVRO)
    messages.append((results[0], (single_object(newer.fingerprint) + datum.getvalue(), headers)))
    messages.append((results[1], (b"\x00\x00\x00\x00\x05" + written(avro, results[1:2])[0][1][0][5:], headers)))
    put(settings, messages)
    with running(avro):
        wait_for_rows(settings, 18)
        wait_for_rows(settings, 2, "rejects")
    reasons = query(settings, "SELECT reason, error, scheduled_at IS NOT NULL FROM wms.rejects ORDER BY error")
    assert [(reason, slot) for reason, _, slot in reasons] == [("undecodable", True)] * 2
    assert f"does not know, fingerprint {newer.fingerprint[::-1].hex()}" in reasons[0][1]
    assert "has no schema 5" in reasons[1][1]

    while double.put(OURS.replace("Who probed.", f"Who probed, {len(double.schemas)}.")) < 5:
        pass
    for name, value in {"WMS_ENV": "test", "WMS_DATABASE_URL": settings.database_url}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("WMS_SCHEMA_REGISTRY_URL", double.url)
    answer = CliRunner().invoke(wms, ["rejects", "replay", "--all"])
    assert "1 stored, 1 still rejected" in answer.output
    assert count(settings) == 19

    # A release that has the newer schema.
    monkeypatch.setattr(wire_module, "by_fingerprint", lambda: {**by_fingerprint(), newer.fingerprint: newer})
    answer = CliRunner().invoke(wms, ["rejects", "replay", "--all"])
    assert "1 stored, 0 still rejected" in answer.output
    rows = query(settings, "SELECT site_id, scheduled_at FROM wms.results ORDER BY scheduled_at, site_id")
    assert rows == sorted(((one.site_id, one.scheduled_at) for one in results), key=itemgetter(1, 0))
    assert count(settings, "rejects") == 0


def test_publishing_waits_for_a_registry_that_is_away(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    """The task tries again, as while Kafka is away; once it is back, the very same publisher goes on."""
    monkeypatch.setattr(registry_module, "ASK_AGAIN_SECONDS", 0.0)
    ensure_topic(settings)
    port = free_port()
    publisher = Publisher(changed(settings, wire_format="avro", schema_registry_url=f"http://127.0.0.1:{port}"))
    (result,) = slots(1)
    failed: list[bool] = []
    before = own(metrics.PUBLISH_ERRORS).sum("wms_publish_errors_total", reason="registry")
    with pytest.raises(NotPublished, match="schema registry"):
        publisher.publish(result, timeout_seconds=5)
    publisher.publish_soon(result, lambda: failed.append(True))
    assert failed == [True]
    assert own(metrics.PUBLISH_ERRORS).sum("wms_publish_errors_total", reason="registry") - before == 2
    with registry(port=port):
        publisher.publish(result, timeout_seconds=10)
    publisher.publish(result, timeout_seconds=10)
    publisher.close()
