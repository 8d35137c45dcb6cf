"""What a running system reports to Sentry: its own faults, once each, and nothing about sites that are down."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest

from tests.acceptance.orders import Left, order_for, send
from tests.acceptance.processes import roles
from tests.acceptance.topics import Topic
from tests.servers import LocalServer, answer, failing
from tests.sinks import SentrySink
from tests.waiting import wait_until
from wms_tasks.settings import Settings

POOLS = [
    pytest.param({}, id="threads"),
    pytest.param({"WMS_WORKER_POOL": "prefork", "WMS_WORKER_CONCURRENCY": "2"}, id="prefork"),
]


def frames_of(event: dict[str, Any]) -> list[dict[str, Any]]:
    """Of its exceptions."""
    return [frame for value in event["exception"]["values"] for frame in value["stacktrace"]["frames"]]


@pytest.mark.slow
@pytest.mark.parametrize("pool", POOLS)
def test_a_fault_is_an_event_and_a_site_that_is_down_is_none(
    settings: Settings, wms_environ: dict[str, str], tmp_path: Path, pool: dict[str, str]
) -> None:
    """A site is down and retried, Kafka is not reached for one slot, and one message is no order: only that is told."""
    left = Left(settings)
    with SentrySink() as sentry, LocalServer({"/": failing(503)}) as server, roles(wms_environ, tmp_path) as started:
        topic = Topic(settings)
        worker = started.worker(**pool, WMS_SENTRY_DSN=sentry.dsn, WMS_LOCATION="paris")
        send(settings, order_for("down", server.url("/"), retries=1, seconds=20.0), task_id="down")
        wait_until(lambda: topic.of("down"), 40, "the result")
        order = order_for("a", server.url("/?q=of-the-url"), headers={"X-Plain": "of-a-header"}).to_message()
        for number in range(3):
            send(settings, {**order, "scheduled_at": "never"}, task_id=f"broken-{number}")
            wait_until(lambda number=number: left.state(f"broken-{number}") == "FAILURE", 20, "the fault")
        exit_code, seconds = worker.stop()
        assert exit_code == 0
        assert seconds < 12.0
        topic.close()
        events, text = sentry.events(), sentry.text()
    # Under prefork each child has a count of its own.
    assert 1 <= len(events) <= (2 if pool else 1)
    for event in events:
        assert event["fingerprint"] == ["wms.probe", "ValidationError"]
        assert event["environment"] == settings.env
        assert event["release"].startswith("wms-tasks@")
        assert event["server_name"] == settings.worker_name
        assert event["tags"]["location"] == "paris"
        assert event["tags"]["celery_task_id"].startswith("broken-")
        assert any(frame["module"] == "wms_tasks.order" for frame in frames_of(event))
        assert not any("vars" in frame for frame in frames_of(event))
        assert not event.keys() & {"user", "request", "modules"}
    assert "of-the-url" not in text
    assert "of-a-header" not in text


@pytest.mark.slow
def test_a_refused_sites_file_is_one_event(settings: Settings, wms_environ: dict[str, str], tmp_path: Path) -> None:
    """Of beat's log: the error, with its fields and without the list that follows it."""
    sites = tmp_path / "sites.yaml"
    sites.write_text("sites: [{name: a, url: 'https://a.example/', enabled: false}]")
    environ = {**wms_environ, "WMS_SITES": str(sites), "SENTRY_DSN": "", "WMS_SENTRY_DSN_FILE": str(tmp_path / "dsn")}
    with SentrySink() as sentry, roles(environ, tmp_path) as started:
        (tmp_path / "dsn").write_text(f"{sentry.dsn}\n")
        beat = started.start("beat")
        beat.until_said("beat.leading")
        sites.write_text("sites: [{name: a, intervall: 5s}, {nome: b}]")
        beat.until_said("sites.problem")
        assert beat.stop()[0] == 0
        (event,) = sentry.events()
    assert event["fingerprint"] == ["sites.file_refused", "no exception"]
    assert event["logentry"] == {"message": "sites.file_refused"}
    assert event["extra"]["path"] == str(sites)
    assert event["level"] == "error"


@pytest.mark.slow
def test_a_sentry_that_does_not_answer_holds_no_stop_up(
    settings: Settings, wms_environ: dict[str, str], tmp_path: Path
) -> None:
    """It takes the connection and says nothing: the worker stops in time all the same."""
    with SentrySink() as sentry, LocalServer({"/": answer()}) as server, roles(wms_environ, tmp_path) as started:
        sentry.routes["/api/1/envelope/"] = lambda peer: peer.until_client_leaves()
        worker = started.worker(WMS_SENTRY_DSN=sentry.dsn)
        send(settings, {"site": server.url("/")}, task_id="broken")
        wait_until(lambda: sentry.seen, 20, "an event")
        exit_code, seconds = worker.stop()
    assert exit_code == 0
    assert seconds < 12.0


def test_without_a_dsn_nothing_is_imported(tmp_path: Path) -> None:
    """Neither by the entry point nor by its signals."""
    code = (
        "import sys, wms_tasks.celery; from wms_tasks.roles import hooks; hooks._on_setup_logging();"
        "sys.exit('sentry_sdk' in sys.modules)"
    )
    with roles({}, tmp_path) as started:
        assert started.start(program=[sys.executable, "-c", code], SENTRY_DSN="").wait(30) == 0
