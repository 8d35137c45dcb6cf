"""Publishing to a real Kafka: confirmed, or an error in time."""

from __future__ import annotations

import os
import threading
from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime

import psutil
import pytest
from confluent_kafka import Consumer, Message
from structlog.testing import capture_logs

from tests.samples import own
from tests.waiting import wait_until
from wms_tasks import clock, metrics
from wms_tasks.codec import json_codec
from wms_tasks.embedded.kafka import EmbeddedKafka
from wms_tasks.errors import NotPublished
from wms_tasks.publish import Publisher, producer_config
from wms_tasks.result import Result
from wms_tasks.settings import Settings
from wms_tasks.sites.record import site_id_for
from wms_tasks.topic import ensure_topic

SLOT = datetime(2026, 11, 1, 12, tzinfo=UTC)

Errors = Callable[[], dict[tuple[str, ...], float]]


@pytest.fixture
def kafka_settings(kafka_bootstrap: str) -> Settings:
    """Settings on the test's Kafka alone, with a topic of its own."""
    settings = Settings(env="test", kafka_bootstrap_servers=kafka_bootstrap, topic_suffix=os.urandom(6).hex())
    ensure_topic(settings)
    return settings


def result(name: str = "a", detail: str | None = None) -> Result:
    """A result of that site."""
    return Result(
        site_id=site_id_for(name),
        site_name=name,
        location="local",
        scheduled_at=SLOT,
        due_at=SLOT,
        started_at=SLOT,
        attempt=1,
        outcome="up",
        reason="ok",
        detail=detail,
        status_code=200,
        response_time_ms=1.5,
        matched=None,
        worker="w",
        spec_digest="0" * 16,
    )


def read_all(settings: Settings, count: int) -> list[Message]:
    """The first ``count`` messages of the topic."""
    consumer = Consumer(
        {
            "bootstrap.servers": settings.kafka_bootstrap_servers,
            "group.id": "test-reader",
            "auto.offset.reset": "earliest",
            "enable.auto.commit": False,
        }
    )
    consumer.subscribe([settings.topic])
    found: list[Message] = []
    until = clock.monotonic() + 15
    while len(found) < count and clock.monotonic() < until:
        found += [message for message in consumer.consume(count, 0.5) if message.error() is None]
    consumer.close()
    return found


def test_a_published_result_is_in_kafka(kafka_settings: Settings) -> None:
    """Key, headers and value are what the reader needs."""
    publisher = Publisher(kafka_settings)
    publisher.publish(result(), timeout_seconds=10)
    (message,) = read_all(kafka_settings, 1)
    assert message.key() == str(site_id_for("a")).encode()
    assert dict(message.headers())["scheduled_at"] == SLOT.isoformat().encode()
    assert json_codec.decode(message.value(), message.headers()) == result()
    publisher.close()


def test_many_threads_publish_through_one_producer(kafka_settings: Settings) -> None:
    """Each returns with its own report."""
    publisher = Publisher(kafka_settings)
    threads = [
        threading.Thread(target=publisher.publish, args=(result(f"s{n}"),), kwargs={"timeout_seconds": 10})
        for n in range(40)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert {message.key() for message in read_all(kafka_settings, 40)} == {
        str(site_id_for(f"s{n}")).encode() for n in range(40)
    }
    assert publisher.hurry(0.0) == 0
    publisher.close()


def test_no_kafka_is_an_error_in_time(errors: Errors) -> None:
    """Within what the caller allows, not librdkafka's five minutes."""
    publisher = Publisher(Settings(env="test", kafka_bootstrap_servers="127.0.0.1:1"))
    began = clock.monotonic()
    with pytest.raises(NotPublished):
        publisher.publish(result(), timeout_seconds=1.0)
    assert clock.monotonic() - began < 2.0
    assert errors() == {("timeout",): 1}
    publisher.close()


def test_a_result_that_is_too_large_for_kafka_is_refused(kafka_settings: Settings, errors: Errors) -> None:
    """At once, whether anybody waits for it or not."""
    publisher = Publisher(kafka_settings)
    failed: list[bool] = []
    with pytest.raises(NotPublished, match="too large"):
        publisher.publish(result(detail="x" * 1_100_000), timeout_seconds=10)
    publisher.publish_soon(result(detail="x" * 1_100_000), lambda: failed.append(True))
    assert (failed, errors()) == ([True], {("refused",): 2})
    publisher.close()


def test_more_than_the_producers_memory_is_not_taken(errors: Errors) -> None:
    """While Kafka is away, 64 MiB wait; who comes then hears it at once."""
    publisher = Publisher(Settings(env="test", kafka_bootstrap_servers="127.0.0.1:1"))
    taken, failed = 0, threading.Event()
    while not failed.is_set():
        publisher.publish_soon(result(detail="x" * 900_000), failed.set)
        taken += 1
    assert 60 < taken < 80
    assert errors() == {("full",): 1}
    publisher.close()


def test_a_topic_that_is_missing_is_an_error(kafka_bootstrap: str) -> None:
    """Not made by the way: producers may not."""
    settings = Settings(env="test", kafka_bootstrap_servers=kafka_bootstrap, topic_suffix=os.urandom(6).hex())
    publisher = Publisher(settings)
    with pytest.raises(NotPublished):
        publisher.publish(result(), timeout_seconds=3.0)
    publisher.close()


@pytest.fixture
def errors() -> Errors:
    """How many results Kafka did not confirm since the test began, by reason."""
    name = "wms_publish_errors_total"
    before = Counter(own(metrics.PUBLISH_ERRORS).by(name, "reason"))
    return lambda: dict(Counter(own(metrics.PUBLISH_ERRORS).by(name, "reason")) - before)


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> Settings:
    """No Kafka, and a librdkafka that tries for a second."""
    monkeypatch.setattr("wms_tasks.publish.producer.DELIVERY_TIMEOUT_SECONDS", 1.0)
    return Settings(env="test", kafka_bootstrap_servers="127.0.0.1:1")


def test_what_nobody_waits_for_is_counted_when_kafka_was_not_heard(impatient: Settings, errors: Errors) -> None:
    """By librdkafka's own time limit, as for those who wait."""
    publisher = Publisher(impatient)
    failed = threading.Event()
    publisher.publish_soon(result(), failed.set)
    with pytest.raises(NotPublished, match="timed out"):
        publisher.publish(result(), timeout_seconds=10)
    assert failed.wait(10)
    assert errors() == {("timeout",): 2}
    publisher.close()


def test_what_nobody_waits_for_is_counted_at_a_stop(impatient: Settings, errors: Errors) -> None:
    """And not again when librdkafka gives it up."""
    publisher = Publisher(impatient)
    failed: list[bool] = []
    publisher.publish_soon(result(), lambda: failed.append(True))
    assert publisher.hurry(0.0) == 1
    assert (failed, errors()) == ([True], {("stopping",): 1})
    wait_until(lambda: publisher._queued() == 0, 10, "librdkafka's word")
    assert (failed, errors()) == ([True], {("stopping",): 1})
    publisher.close()


def test_a_stopping_process_does_not_wait_for_kafka(errors: Errors) -> None:
    """`hurry` frees who waits, and says how many results were unconfirmed."""
    publisher = Publisher(Settings(env="test", kafka_bootstrap_servers="127.0.0.1:1"))
    ended: list[Exception] = []

    def publish() -> None:
        try:
            publisher.publish(result(), timeout_seconds=60)
        except NotPublished as error:
            ended.append(error)

    thread = threading.Thread(target=publish)
    thread.start()
    while not publisher._pending:
        thread.join(0.01)
    assert publisher.hurry(0.1) == 1
    thread.join(5)
    assert "stopping" in str(ended[0])
    assert errors() == {("stopping",): 1}
    publisher.close()


def test_what_kafka_gets_after_all_is_delivered_and_said(kafka_settings: Settings, kafka_server: EmbeddedKafka) -> None:
    """Kafka stopped in its tracks: the publisher says that it does not know, and what was queued arrives later."""
    publisher = Publisher(kafka_settings)
    publisher.publish(result("before"), timeout_seconds=10)
    process = psutil.Process(kafka_server.process.pid)
    with capture_logs() as logs:
        process.suspend()
        try:
            with pytest.raises(NotPublished, match="may have the result"):
                publisher.publish(result("late"), timeout_seconds=0.5)
        finally:
            process.resume()
        wait_until(lambda: [one for one in logs if one["event"] == "publish.delivered_after_all"], 10, "the delivery")
    assert {message.key() for message in read_all(kafka_settings, 2)} == {
        str(site_id_for(name)).encode() for name in ("before", "late")
    }
    publisher.close()


def test_a_stop_waits_for_what_nobody_awaits_any_more(kafka_settings: Settings, kafka_server: EmbeddedKafka) -> None:
    """The slot was given up, its result was not: it is flushed, within the time there is."""
    publisher = Publisher(kafka_settings)
    publisher.publish(result("before"), timeout_seconds=10)
    process = psutil.Process(kafka_server.process.pid)
    process.suspend()
    try:
        with pytest.raises(NotPublished):
            publisher.publish(result("late"), timeout_seconds=0.2)
        began = clock.monotonic()
        assert publisher.hurry(0.3) == 0
        assert clock.monotonic() - began >= 0.3
    finally:
        process.resume()
    assert publisher.hurry(10.0) == 0
    publisher.close()
    assert len(read_all(kafka_settings, 2)) == 2


def test_a_dead_connection_is_left_within_ten_seconds() -> None:
    """librdkafka's own minute would be longer than most slots; see also the fault "Kafka black-holed"."""
    config = producer_config(Settings(env="test"))
    assert config["request.timeout.ms"] < config["delivery.timeout.ms"] < 10_000
    assert config["socket.timeout.ms"] + config["reconnect.backoff.max.ms"] < 10_000
    assert config["socket.connection.setup.timeout.ms"] < 10_000
