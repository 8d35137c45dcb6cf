"""Stopping and losing Redis, with slots in the middle: nothing is lost, nothing hangs."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.acceptance.orders import Left, order_for, send
from tests.acceptance.processes import roles
from tests.ports import free_ports
from tests.servers import LocalServer, answer, hang, slow
from tests.waiting import wait_until
from wms_tasks.embedded.valkey import EmbeddedValkey
from wms_tasks.settings import Settings


@pytest.fixture
def own_redis(tmp_path: Path, valkey_server: EmbeddedValkey) -> Iterator[EmbeddedValkey]:
    """A Valkey that this test may stop."""
    server = EmbeddedValkey(tmp_path / "valkey", port=free_ports(1)[0])
    server.start()
    yield server
    server.stop()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("arguments", "pool"),
    [
        pytest.param((), {}, id="threads"),
        pytest.param((), {"WMS_WORKER_POOL": "prefork", "WMS_WORKER_CONCURRENCY": "2"}, id="prefork"),
        pytest.param(("-P", "gevent"), {}, id="gevent"),
    ],
)
def test_term_cuts_a_probe_short_and_gives_its_slot_back(
    settings: Settings, wms_environ: dict[str, str], tmp_path: Path, arguments: tuple[str, ...], pool: dict[str, str]
) -> None:
    """A site that never answers, mid-probe: the worker is gone in time, the message is back in the queue."""
    left = Left(settings)
    with LocalServer({"/": hang}) as server, roles(wms_environ, tmp_path) as started:
        worker = started.worker(*arguments, **pool)
        send(settings, order_for("a", server.url("/"), timeout_seconds=15.0), task_id="a")
        wait_until(lambda: server.count("/") == 1, 10, "the probe")
        exit_code, seconds = worker.stop()
        assert exit_code == 0, worker.said()
        assert seconds < 8
        assert (left.queued(), left.unacknowledged()) == (1, 0)
        assert left.state("a") is None


@pytest.mark.slow
def test_a_worker_outlives_a_restart_of_redis_with_slots_in_flight(
    settings: Settings, wms_environ: dict[str, str], tmp_path: Path, own_redis: EmbeddedValkey
) -> None:
    """Stock Celery 5.7 exits here. Slots in flight end, later ones are taken."""
    own = settings.model_copy(update={"broker_url": own_redis.url})
    environ = {**wms_environ, "WMS_BROKER_URL": own_redis.url}
    with LocalServer({"/slow": slow(3.0), "/": answer()}) as server, roles(environ, tmp_path) as started:
        worker = started.worker()
        for number in range(3):
            send(own, order_for(f"s{number}", server.url("/slow")), task_id=f"s{number}")
        wait_until(lambda: server.count("/slow") == 3, 10, "three probes")
        own_redis.stop()
        own_redis.start()
        wait_until(lambda: worker.said().count("Connected to") >= 2, 20, "the connection again")
        send(own, order_for("later", server.url("/")), task_id="later")
        wait_until(lambda: server.count("/") == 1, 10, "a later probe")
        assert worker.process.poll() is None
        assert worker.stop()[0] == 0


@pytest.mark.slow
def test_a_silent_redis_cannot_hold_a_worker_or_beat(
    wms_environ: dict[str, str], tmp_path: Path, own_redis: EmbeddedValkey
) -> None:
    """Redis stopped in its tracks: TERM ends both within 12 s all the same."""
    sites = tmp_path / "sites.yaml"
    sites.write_text("sites:\n  - {name: a, url: 'http://127.0.0.1:1/', interval: 1s, timeout: 500ms}\n")
    environ = {**wms_environ, "WMS_BROKER_URL": own_redis.url, "WMS_SITES": str(sites)}
    with roles(environ, tmp_path) as started:
        worker = started.worker()
        beat = started.start("beat")
        beat.until_said("beat.leading")
        os.kill(own_redis.process.pid, signal.SIGSTOP)
        try:
            beat.until_said("beat.waiting_for_redis")
            began = time.monotonic()
            worker.send_signal(signal.SIGTERM)
            beat.send_signal(signal.SIGTERM)
            assert (beat.wait(), worker.wait()) in {(0, 0), (0, 1)}, beat.said()
            assert time.monotonic() - began < 12
        finally:
            os.kill(own_redis.process.pid, signal.SIGCONT)
