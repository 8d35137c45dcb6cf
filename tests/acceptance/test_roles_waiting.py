"""Roles that are started while a service is away: each says once what it waits for, once that it is over, and works."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
import pytest

from tests.acceptance.orders import Left, order_for, send
from tests.acceptance.processes import roles
from tests.faults.proxy import Proxy
from tests.persisting import send as publish
from tests.persisting import slots, wait_for_rows
from tests.ports import free_ports
from tests.samples import waits_for
from tests.servers import LocalServer, answer
from tests.waiting import wait_until
from wms_tasks.embedded.valkey import EmbeddedValkey
from wms_tasks.settings import Settings
from wms_tasks.topic import ensure_topic


@contextmanager
def redis_refused(folder: Path) -> Iterator[EmbeddedValkey]:
    """Not there yet."""
    server = EmbeddedValkey(folder / "valkey", port=free_ports(1)[0])
    yield server
    server.stop()


@contextmanager
def redis_silent(folder: Path) -> Iterator[EmbeddedValkey]:
    """Its kernel takes connections; it says nothing."""
    with redis_refused(folder) as server:
        server.start()
        os.kill(server.process.pid, signal.SIGSTOP)
        yield server


def come_back(server: EmbeddedValkey) -> None:
    """The outage is over."""
    if server.process.running:
        os.kill(server.process.pid, signal.SIGCONT)
    else:
        server.start()


@pytest.mark.slow
@pytest.mark.parametrize("outage", [redis_refused, redis_silent])
def test_beat_and_worker_started_without_redis(
    wms_environ: dict[str, str], tmp_path: Path, valkey_server: EmbeddedValkey, outage: object
) -> None:
    """Refused, or silent: both wait, both go on by themselves, and sites are probed."""
    assert callable(outage)
    sites = tmp_path / "sites.yaml"
    with LocalServer({"/": answer()}) as web, outage(tmp_path) as server, roles(wms_environ, tmp_path) as started:
        site = f"{{name: a, url: '{web.url('/')}', interval: 1s, timeout: 500ms, robots: ignore}}"
        sites.write_text(f"hosts: {{127.0.0.1: {{spacing: 1ms}}}}\nsites:\n  - {site}\n")
        environ = {"WMS_BROKER_URL": server.url, "WMS_SITES": str(sites)}
        worker_port, beat_port = free_ports(2)
        worker = started.start("worker", **environ, WMS_METRICS_PORT=str(worker_port))
        beat = started.start("beat", **environ, WMS_METRICS_PORT=str(beat_port))
        worker.until_said("worker.waiting_for_redis", 30)
        beat.until_said("beat.waiting_for_redis")
        assert waits_for(worker_port) == {"worker": "Redis"}
        assert waits_for(beat_port) == {"beat": "Redis"}
        come_back(server)
        worker.until_said("worker.redis_is_back", 30)
        beat.until_said("beat.redis_is_back")
        wait_until(lambda: web.count("/") >= 2, 20, "probes")
        assert waits_for(worker_port) == {"worker": None}
        assert waits_for(beat_port) == {"beat": None}
        assert worker.stop()[0] == beat.stop()[0] == 0
    for said, role in ((worker.said(), "worker"), (beat.said(), "beat")):
        assert said.count(f"{role}.waiting_for_redis") == said.count(f"{role}.redis_is_back") == 1
    assert "Cannot connect" not in worker.said()


@pytest.mark.slow
def test_a_worker_started_without_kafka(
    settings: Settings, wms_environ: dict[str, str], tmp_path: Path, kafka_bootstrap: str
) -> None:
    """It takes slots, keeps what it saw, and publishes that when Kafka is there; the site is asked once."""
    ensure_topic(settings)
    (port,) = free_ports(1)
    left = Left(settings)
    with LocalServer({"/": answer()}) as web, roles(wms_environ, tmp_path) as started:
        worker = started.worker(WMS_KAFKA_BOOTSTRAP_SERVERS=f"127.0.0.1:{port}", WMS_LOG_LEVEL="DEBUG")
        for name in ("a", "b"):
            send(settings, order_for(name, web.url("/")), task_id=name)
        worker.until_said("publish.waiting_for_kafka")
        worker.until_said("topic.waiting_for_kafka")
        with Proxy(int(kafka_bootstrap.rpartition(":")[2]), port=port):
            worker.until_said("publish.kafka_is_back", 30)
            worker.until_said("topic.kafka_is_back")
            wait_until(lambda: worker.said().count("publish.delivered ") == 2, 20, "both results")
            wait_until(lambda: left.unacknowledged() == left.queued() == 0, 10, "the end of both slots")
            assert worker.stop()[0] == 0
        assert web.count("/") == 2
    for event in ("publish.waiting_for_kafka", "publish.kafka_is_back", "topic.waiting_for_kafka"):
        assert worker.said().count(event) == 1


WMS = [sys.executable, "-m", "wms_tasks.cli"]


@pytest.mark.slow
def test_a_persist_worker_told_to_wait_for_its_schema(
    settings: Settings, wms_environ: dict[str, str], tmp_path: Path, empty_database_url: str
) -> None:
    """It makes nothing itself, leaves on TERM, and goes on by itself once `wms migrate up` has run on its own."""
    ensure_topic(settings)
    publish(settings, slots(3))
    (port,) = free_ports(1)
    environ = {"WMS_DATABASE_URL": empty_database_url, "WMS_MIGRATE": "wait", "WMS_METRICS_PORT": str(port)}
    with roles(wms_environ, tmp_path) as started:
        persist = started.worker("--persist", **environ)
        persist.until_said("migrate.waiting_for_schema")
        assert waits_for(port) == {"persist": "Postgres and its schema"}
        assert persist.stop()[0] == 0
        assert "role.ended_unasked" not in persist.said()

        persist = started.worker("--persist", **environ)
        persist.until_said("migrate.waiting_for_schema")
        with psycopg.connect(empty_database_url) as connection:
            assert connection.execute("SELECT to_regnamespace('wms')").fetchone() == (None,)
        assert started.start("migrate", "up", program=WMS, **environ).wait(30) == 0
        persist.until_said("migrate.schema_is_there")
        wait_for_rows(settings.model_copy(update={"database_url": empty_database_url}), 3)
        assert persist.stop()[0] == 0
    assert persist.said().count("migrate.waiting_for_schema") == persist.said().count("migrate.schema_is_there") == 1
    assert "migrate.applied" not in persist.said()
