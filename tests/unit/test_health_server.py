"""/healthz: what it answers for which threads."""

from __future__ import annotations

import http.client
import json

import pytest

from wms_tasks import clock, metrics
from wms_tasks.health import HEALTH, Health
from wms_tasks.health_server import answer, metrics_page, readiness, serve_health
from wms_tasks.ready import READY, Readiness
from wms_tasks.settings import Settings, load_settings


def test_healthy_while_each_thread_works() -> None:
    """200, with ages by name."""
    health = Health()
    health.expect("beat", allowed_seconds=5)
    status_code, body = answer(health)
    assert status_code == 200
    assert json.loads(body)["threads"]["beat"]["healthy"] is True


def test_one_silent_thread_is_enough() -> None:
    """503, and it says which."""
    health = Health()
    health.expect("worker", allowed_seconds=60)
    health.expect("persist", allowed_seconds=-1)
    status_code, body = answer(health)
    threads = json.loads(body)["threads"]
    assert status_code == 503
    assert (threads["worker"]["healthy"], threads["persist"]["healthy"]) == (True, False)


def test_no_thread_is_not_healthy() -> None:
    """A process in which nothing works is not well."""
    assert answer(Health())[0] == 503


def test_it_is_served_over_http() -> None:
    """Real requests, HEAD too; other paths are 404."""
    port = serve_health(Settings(metrics_port=0))
    HEALTH.expect("test", allowed_seconds=60)
    READY.expect("test", lambda: None)
    try:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
        pages = ("/healthz", "/readyz", "/metrics")
        asked = [("GET", path, 200) for path in pages] + [("HEAD", "/healthz", 200), ("GET", "/", 404)]
        for method, path, status_code in asked:
            connection.request(method, path)
            response = connection.getresponse()
            assert response.status == status_code
            assert bool(response.read()) is (method == "GET")
            connection.close()
    finally:
        HEALTH.forget("test")
        READY.forget("test")


def test_ready_while_no_role_waits_for_anything() -> None:
    """200; one that waits makes it 503, and says for what; so does one that hangs, whatever it said last."""
    health, ready = Health(), Readiness()
    assert readiness(health, ready)[0] == 503
    ready.expect("worker", lambda: None)
    assert readiness(health, ready)[0] == 200
    ready.expect("persist", lambda: "postgres")
    status_code, body = readiness(health, ready)
    assert status_code == 503
    assert json.loads(body)["roles"]["persist"] == {"ready": False, "waits_for": "postgres"}
    ready.forget("persist")
    health.expect("worker", allowed_seconds=-1)
    assert readiness(health, ready)[0] == 503


def test_a_name_of_before_still_counts_and_is_said_once(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """One line names both; without it, none."""
    monkeypatch.setenv("WMS_HEALTH_PORT", "0")
    assert serve_health(load_settings()) is not None
    said = capsys.readouterr().out
    assert said.count("settings.old_name") == 1
    assert {"variable=WMS_HEALTH_PORT", "use=WMS_METRICS_PORT"} <= set(said.split())
    monkeypatch.delenv("WMS_HEALTH_PORT")
    assert serve_health(load_settings()) is None
    assert "old_name" not in capsys.readouterr().out


def test_nothing_is_served_where_no_port_is_set() -> None:
    """The default."""
    assert serve_health(Settings()) is None


def test_metrics_say_how_long_each_thread_has_been_idle() -> None:
    """What /healthz judges, as a number, and gone with the thread."""
    metrics.BOARD.show(metrics.EVERY)
    health = Health()
    health.expect("persist", allowed_seconds=60)
    status_code, content_type, body = metrics_page(health, "text/plain")
    assert (status_code, content_type.partition(";")[0]) == (200, "text/plain")
    assert b'wms_thread_idle_seconds{thread="persist"}' in body
    health.forget("persist")
    assert b"wms_thread_idle_seconds{" not in metrics_page(health, "")[2]


@pytest.mark.parametrize("silent", ["persist", "persist.v2"])
def test_of_several_loops_the_one_that_is_longest_idle_counts(silent: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each version of the topic has its loop, and the label one word for all: a hanging one must not hide behind it."""
    metrics.BOARD.show(metrics.EVERY)
    health, now = Health(), 1000.0
    monkeypatch.setattr(clock, "monotonic", lambda: now)
    for name in ("persist", "persist.v2"):
        health.expect(name, allowed_seconds=60)
    now += 130
    for name in {"persist", "persist.v2"} - {silent}:
        health.did(name)
    page = metrics_page(health, "text/plain")[2].decode()
    found = [line for line in page.splitlines() if line.startswith("wms_thread_idle_seconds{")]
    assert found == ['wms_thread_idle_seconds{thread="persist"} 130.0']
