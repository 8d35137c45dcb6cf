"""A slot's trace, from beat to Postgres, as a collector of OTLP sees it."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from tests.acceptance.orders import send
from tests.acceptance.processes import Roles, roles
from tests.persisting import count
from tests.servers import LocalServer, answer, failing, redirect
from tests.sinks import OtlpSink, about
from tests.waiting import wait_until
from wms_tasks.settings import Settings

SITES = """
hosts: {{127.0.0.1: {{spacing: 1ms}}, localhost: {{spacing: 1ms}}}}
defaults: {{interval: 4s, timeout: 3s, jitter: 0s, retries: 1, robots: ignore}}
sites:
  - {{name: told, url: "http://127.0.0.1:{port}/from"}}
  - {{name: stranger, url: "http://localhost:{port}/"}}
  - {{name: down, url: "http://127.0.0.1:{port}/down"}}
"""
ROUTES = {"/": answer(), "/from": redirect("/to"), "/to": answer(), "/down": failing(503)}
POOLS = [
    pytest.param({}, id="threads"),
    pytest.param({"WMS_WORKER_POOL": "prefork", "WMS_WORKER_CONCURRENCY": "2"}, id="prefork"),
]
WHOLE = {"schedule", "task", "probe", "publish", "persist"}


def of_site(sink: OtlpSink, site: str) -> list[list[Span]]:
    """The whole traces of a site's slots."""
    return [
        spans
        for spans in sink.traces().values()
        if {span.name for span in spans} >= WHOLE and any(about(span).get("wms.site") == site for span in spans)
    ]


def retried(sink: OtlpSink) -> list[list[Span]]:
    """Of the site that is down, the slots with two runs; the first after a start may have no time for a second."""
    return [spans for spans in of_site(sink, "down") if sum(span.name == "task" for span in spans) == 2]


def the(spans: list[Span], name: str, nth: int = 0) -> Span:
    """The nth span of this name."""
    return [span for span in spans if span.name == name][nth]


def run_all(started: Roles, port: int, sites: Path, pool: dict[str, str]) -> list[Any]:
    """Persist, worker and beat."""
    sites.write_text(SITES.format(port=port))
    persist = started.worker("--persist")
    worker = started.worker(**pool, WMS_TRACE_HOSTS="127.0.0.1,*.example", WMS_LOG_FORMAT="json", WMS_LOG_LEVEL="DEBUG")
    return [started.start("beat"), worker, persist]


@pytest.mark.slow
@pytest.mark.parametrize("pool", POOLS)
def test_a_slot_is_one_trace(
    settings: Settings, wms_environ: dict[str, str], tmp_path: Path, pool: dict[str, str]
) -> None:
    """
    From beat through the worker, its phases, a redirect and a retry, and Kafka, into Postgres; the batch is linked. A
    site is told of it where that was asked for, and the log names it.
    """
    with OtlpSink() as sink, LocalServer(ROUTES) as server:
        environ = {**wms_environ, **sink.environ(), "WMS_SITES": str(tmp_path / "sites.yaml")}
        with roles(environ, tmp_path) as started:
            beat, worker, persist = run_all(started, server.port, tmp_path / "sites.yaml", pool)
            wait_until(lambda: of_site(sink, "told") and of_site(sink, "stranger") and retried(sink), 90, "traces")
            for role in (beat, worker, persist):
                assert role.stop()[0] == 0
        log = [json.loads(line) for line in worker.said().splitlines() if line.startswith("{")]
    told = of_site(sink, "told")[0]
    schedule, task, probe, publish, persisted = (
        the(told, name) for name in ("schedule", "task", "probe", "publish", "persist")
    )
    parents = [(task, schedule), (probe, task), (publish, task), (persisted, publish)]
    assert [child.parent_span_id for child, _ in parents] == [parent.span_id for _, parent in parents]
    assert not schedule.parent_span_id
    phases = [span for span in told if span.name.startswith("probe.")]
    names = ["connect", "processing"]  # of an address that is written there is nothing to resolve
    assert [span.name for span in phases] == [f"probe.{name}" for name in [*names, *names, "transfer"]]
    assert {span.parent_span_id for span in phases} == {probe.span_id}
    assert all(probe.start_time_unix_nano <= span.start_time_unix_nano <= span.end_time_unix_nano for span in phases)
    assert about(probe)["http.response.status_code"] == 200
    assert (about(publish)["wms.outcome"], about(publish)["wms.reason"]) == ("up", "ok")

    batches = [span for span in sink.spans() if span.name == "persist.batch"]
    (batch,) = [one for one in batches if one.span_id == persisted.links[0].span_id]
    assert publish.span_id in {link.span_id for link in batch.links}
    assert about(batch)["wms.rows"] >= 1

    down = retried(sink)[0]
    first, second = the(down, "task"), the(down, "task", 1)
    assert second.parent_span_id == first.span_id
    assert not any(span.status.code for span in down)  # a site that is down is no error of ours

    headers = [request.headers.get("traceparent", "") for request in server.seen if request.path == "/to"]
    assert any(header.startswith(f"00-{probe.trace_id.hex()}-{probe.span_id.hex()}-") for header in headers)
    assert all("traceparent" not in request.headers for request in server.seen if request.path == "/")

    ended = {(line["task_id"], line["trace_id"]) for line in log if line["event"] == "probe.ended"}
    assert (about(task)["messaging.message.id"], task.trace_id.hex()) in ended

    resource = {one.key: one.value.string_value for one in sink.requests()[0].resource_spans[0].resource.attributes}
    assert resource["service.name"] == "wms"
    assert resource["deployment.environment.name"] == settings.env
    assert count(settings) >= 3


@pytest.mark.slow
def test_a_collector_that_does_not_answer_holds_no_stop_up(
    settings: Settings, wms_environ: dict[str, str], tmp_path: Path
) -> None:
    """It takes the connection and says nothing: the worker stops in time all the same. A fault has its type alone."""
    with OtlpSink() as sink, roles({**wms_environ, **sink.environ()}, tmp_path) as started:
        sink.routes[sink.PATH] = lambda peer: peer.until_client_leaves()
        worker = started.worker()
        order = {"version": 1, "site": {"site_id": "00000000-0000-0000-0000-000000000000", "name": "canary"}}
        send(settings, order, task_id="broken")
        worker.until_said("ValidationError")
        worker_two = started.worker()
        send_slot(settings)
        wait_until(lambda: sink.seen, 30, "a request")
        for role in (worker, worker_two):
            exit_code, seconds = role.stop()
            assert exit_code == 0
            assert seconds < 12.0


def send_slot(settings: Settings) -> None:
    """A slot that makes spans."""
    from tests.acceptance.orders import order_for

    send(settings, order_for("a", "http://127.0.0.1:1/", retries=0), task_id="a")


OFF = """
import sys
import wms_tasks.celery
from wms_tasks import tracing
from wms_tasks.fill import carry, scope
from wms_tasks.persist import loop
from wms_tasks.publish import producer
from wms_tasks.roles import hooks
from wms_tasks.schedule import scheduler
hooks._on_setup_logging()
ours = [name for name in sys.modules if name.startswith(("opentelemetry.sdk.trace", "opentelemetry.exporter"))]
assert not ours and "wms_tasks.tracing.spans" not in sys.modules, ours
ask = lambda *_: None
assert tracing.TRACES is None and scope.traced(ask) is ask
assert scope.header() == {} and producer._trace() == []
"""


@pytest.mark.parametrize(
    "environ", [{}, {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:1", "OTEL_SDK_DISABLED": "true"}]
)
def test_off_nothing_is_imported_and_nothing_added(tmp_path: Path, environ: dict[str, str]) -> None:
    """
    No SDK for spans, no exporter, no header. (Where the extra is installed, redis-py itself imports OpenTelemetry's API
    of metrics.)
    """
    with roles(environ, tmp_path) as started:
        role = started.start(program=[sys.executable, "-c", OFF])
        assert role.wait(60) == 0, role.said()


def test_without_the_extra_it_is_said_and_nothing_breaks(tmp_path: Path) -> None:
    """An endpoint that a platform gives to all its containers stops none of ours."""
    code = "import sys; sys.modules['opentelemetry'] = None\n" + OFF
    with roles({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:1"}, tmp_path) as started:
        role = started.start(program=[sys.executable, "-c", code])
        assert role.wait(60) == 0, role.said()
        assert "trace.not_installed" in role.said()
