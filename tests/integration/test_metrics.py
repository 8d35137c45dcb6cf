"""What is measured by looking (queues, clock, schema) and what the persist loop and the publisher count."""

from __future__ import annotations

import json
from datetime import timedelta
from types import SimpleNamespace

import msgspec
import psycopg
import pytest
import redis
import time_machine

from tests.acceptance.orders import order_for
from tests.acceptance.orders import send as send_order
from tests.persisting import running, send, slots, wait_for_rows
from tests.results import a_result
from tests.samples import Samples, own
from tests.servers import LocalServer, answer
from tests.waiting import wait_until
from wms_tasks import clock, metrics
from wms_tasks.app import app_for
from wms_tasks.broker import connect_redis
from wms_tasks.errors import NotPublished
from wms_tasks.names import HOUSEKEEPING_QUEUE, MAKE_PARTITIONS_TASK
from wms_tasks.publish import Publisher
from wms_tasks.roles.measure import look_at_queues, ready_at
from wms_tasks.roles.measure_store import look_at_schema, look_at_space
from wms_tasks.settings import Settings
from wms_tasks.store.housekeep import make_partitions
from wms_tasks.topic import ensure_topic

SPACE = ("bytes", "partitions_ahead_seconds", "free_bytes", "day_bytes", "full_in_seconds")


@pytest.fixture
def broker(redis_url: str) -> Settings:
    """Settings that need Redis only."""
    return Settings(env="test", broker_url=redis_url)


def looked_at(settings: Settings) -> Samples:
    """The queues as they are now."""
    with redis.Redis.from_url(settings.broker_url) as client:
        look_at_queues(client, settings.key_prefix)
    return own()


def test_queues_are_measured_by_what_beat_wrote_on_the_messages(broker: Settings) -> None:
    """Length of each, and since when its first message was due, or has its turn; the queue's tail does not matter."""
    now = clock.utcnow()
    for age_seconds in (40, 10):
        order = order_for("a", "http://127.0.0.1:1/", seconds=90)
        due_at = now - timedelta(seconds=age_seconds)
        order = msgspec.structs.replace(order, scheduled_at=due_at, due_at=due_at)
        send_order(broker, order, task_id=f"a{age_seconds}")
    slot_us = clock.to_microseconds(now - timedelta(seconds=70))
    app_for(broker).send_task(MAKE_PARTITIONS_TASK, queue=HOUSEKEEPING_QUEUE, task_id=f"make-partitions.{slot_us}")
    found = looked_at(broker)
    assert found.by("wms_queue_messages", "queue") == {("probe",): 2, ("housekeeping",): 1}
    ages = found.by("wms_queue_oldest_age_seconds", "queue")
    assert ages["probe",] == pytest.approx(40, abs=5)
    assert ages["housekeeping",] == pytest.approx(70, abs=5)


def test_an_empty_queue_has_no_age_and_a_foreign_message_none_that_we_know(broker: Settings) -> None:
    """0 and absent; nothing in a queue can end the measuring."""
    assert looked_at(broker).sum("wms_queue_oldest_age_seconds") == 0
    with redis.Redis.from_url(broker.broker_url) as client:
        client.lpush(f"{broker.key_prefix}probe", "no message at all")
    found = looked_at(broker)
    assert found.sum("wms_queue_messages", queue="probe") == 1
    assert ("probe",) not in found.by("wms_queue_oldest_age_seconds", "queue")


@pytest.mark.parametrize(
    "message",
    [b"", b"[]", b"{}", b"null", b"\xff", json.dumps({"headers": None, "body": "x"}).encode(),
     json.dumps({"headers": {"id": "a.1e9"}, "body": "W10="}).encode(),
     json.dumps({"headers": {"id": "a.9999999999999999999999"}, "body": "W1tdLHt9LHt9XQ=="}).encode()],
)  # fmt: skip
def test_what_is_no_message_of_ours_is_ready_at_no_time(message: bytes) -> None:
    """No error either."""
    assert ready_at(message) is None


def test_our_clock_is_compared_with_redis(broker: Settings) -> None:
    """One machine: next to nothing; an hour ahead: an hour; absent, like the queues, when Redis does not answer."""
    found = looked_at(broker)
    assert found.has("wms_clock_offset_seconds")
    assert abs(found.sum("wms_clock_offset_seconds")) < 0.2
    with time_machine.travel(clock.utcnow() + timedelta(hours=1), tick=True):
        assert looked_at(broker).sum("wms_clock_offset_seconds") == pytest.approx(3600, abs=1)
    nobody = connect_redis(Settings(broker_url="redis://127.0.0.1:1/0"), retries=0)
    look_at_queues(nobody, broker.key_prefix)
    assert not any(own().has(name) for name in ("wms_clock_offset_seconds", "wms_queue_messages"))


def test_the_schema_is_known_by_the_number_of_its_newest_migration(database_url: str, empty_database_url: str) -> None:
    """0 where there is none yet; absent where nobody answers."""
    with psycopg.connect(database_url) as connection:
        found = connection.execute("SELECT max(substr(migration_id, 1, 4)) FROM wms_migrations._yoyo_migration")
        newest = found.fetchone()
    look_at_schema(Settings(env="test", database_url=database_url))
    assert newest is not None
    assert own().sum("wms_schema_version") == int(newest[0])
    look_at_schema(Settings(env="test", database_url=empty_database_url))
    assert own().has("wms_schema_version")
    assert own().sum("wms_schema_version") == 0
    look_at_schema(Settings(env="test", database_url="postgresql://wms@127.0.0.1:1/wms"))
    assert not own().has("wms_schema_version")


def test_the_database_says_how_long_it_will_do(database_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """
    Partitions made ahead, and its size; no partition of today: less than nothing; nobody there: absent. And when the
    disk is full, once there is less left of it than retention needs.
    """
    at = Settings(env="test", database_url=database_url, partitions_ahead_days=3)
    look_at_space(at)
    assert own().sum("wms_database_partitions_ahead_seconds") <= 0
    make_partitions(at)
    look_at_space(at)
    found = own()
    assert 3 * 86_400 < found.sum("wms_database_partitions_ahead_seconds") <= 4 * 86_400
    assert found.sum("wms_database_bytes") > 1_000_000
    assert found.sum("wms_database_free_bytes") > 0
    assert not found.has("wms_database_day_bytes")
    with psycopg.connect(database_url) as connection:
        connection.execute("SELECT wms.ensure_partition(current_date - 2)")
        connection.execute(
            "INSERT INTO wms.results (site_id, location, scheduled_at, site_name, due_at, attempt, outcome, reason,"
            " worker, spec_digest, schema_version) SELECT gen_random_uuid(), 'a', date_trunc('day', now(), 'UTC')"
            " - interval '1 day', 'a', now(), 0, 'missed', 'unknown', '', '', 1 FROM generate_series(1, 2000)"
        )
    look_at_space(at)
    day_bytes = own().sum("wms_database_day_bytes")
    assert day_bytes > 128 * 1024
    assert not own().has("wms_database_full_in_seconds")
    monkeypatch.setattr("wms_tasks.store.space.shutil.disk_usage", lambda _: SimpleNamespace(free=2 * day_bytes))
    look_at_space(at)
    assert own().sum("wms_database_full_in_seconds") == pytest.approx(2 * 86_400)
    look_at_space(Settings(env="test", database_url="postgresql://wms@127.0.0.1:1/wms"))
    assert not any(own().has(f"wms_database_{name}") for name in SPACE)


def test_the_persist_loop_counts_what_is_in_postgres_and_says_that_we_live(settings: Settings) -> None:
    """Rows, duplicates, rejects by reason, delays, lag, state; one call of the heartbeat, after the first write."""
    ensure_topic(settings)
    before = own()

    def more(name: str, **labels: str) -> float:
        return own().sum(name, **labels) - before.sum(name, **labels)

    results = slots(50)
    server = LocalServer({"/ping": answer()})
    watched = settings.model_copy(update={"heartbeat_url": server.url("/ping")})
    with server, running(watched):
        send(settings, results)
        wait_for_rows(settings, 50)
        send(settings, results[:7], [b"broken", b"{}"])
        wait_for_rows(settings, 2, "rejects")
        wait_until(lambda: more("wms_persist_duplicates_total") == 7, 10, "duplicates")
        assert server.count("/ping") == 1
        assert own().by("wms_persist_state", "state") == {("running",): 1}
        wait_until(lambda: own().sum("wms_persist_lag_messages") == 0, 10, "no lag")
        assert own().has("wms_persist_lag_messages")
    assert more("wms_persist_rows_total") == 50
    assert more("wms_persist_rejects_total", reason="undecodable") == more("wms_persist_rejects_total") == 2
    assert more("wms_persist_batches_total") == more("wms_persist_write_seconds_count") >= 2
    assert more("wms_persist_batch_messages_sum") == 59
    assert more("wms_persist_batch_messages_count") == more("wms_persist_batches_total")
    # Those that were there already went by COPY too, and once more into staging.
    assert more("wms_persist_copy_bytes_total") > 57 * 100
    assert more("wms_persist_delay_seconds_count") == 57
    assert more("wms_persist_delay_seconds_bucket", le="30.0") == 0
    assert more("wms_persist_delay_seconds_bucket", le="3600.0") == 57
    assert own().sum("wms_persist_last_write_timestamp_seconds") == pytest.approx(clock.utcnow().timestamp(), abs=30)
    assert own().by("wms_persist_state", "state") == {("stopped",): 1}


def test_a_late_result_that_replaces_a_missed_one_is_counted(settings: Settings) -> None:
    """And is a row like any other; one that finds a real row is a duplicate."""
    ensure_topic(settings)
    before = own()
    late = slots(4)
    early = [msgspec.structs.replace(one, outcome="missed", reason="unknown", started_at=None) for one in late[:3]]
    with running(settings):
        send(settings, early)
        wait_for_rows(settings, 3)
        send(settings, late)
        wait_for_rows(settings, 4)
        wait_until(lambda: own().sum("wms_persist_rows_total") - before.sum("wms_persist_rows_total") == 7, 10, "rows")
    assert own().sum("wms_persist_replaced_missed_total") - before.sum("wms_persist_replaced_missed_total") == 3


def test_the_publisher_counts_what_kafka_confirmed_and_what_not(settings: Settings) -> None:
    """Delivery times are of confirmed results only; a broker that is not there is an error by its reason."""
    ensure_topic(settings)
    before = own()
    good = Publisher(settings)
    for _ in range(3):
        good.publish(a_result(), timeout_seconds=10)
    good.close()
    nowhere = Publisher(settings.model_copy(update={"kafka_bootstrap_servers": "127.0.0.1:1"}))
    with pytest.raises(NotPublished):
        nowhere.publish(a_result(), timeout_seconds=0.2)
    nowhere.close()
    after = own(metrics.PUBLISH_SECONDS, metrics.PUBLISH_ERRORS)
    assert after.sum("wms_publish_delivery_seconds_count") - before.sum("wms_publish_delivery_seconds_count") == 3
    assert after.sum("wms_publish_errors_total") - before.sum("wms_publish_errors_total") == 1
    assert after.sum("wms_publish_errors_total", reason="timeout") >= 1
