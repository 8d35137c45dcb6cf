"""When traces are made, what a header says, and how many spans a batch has; without a collector."""

from __future__ import annotations

import json
import sys
import types
import uuid
from collections.abc import Iterator
from typing import Any

import pytest
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from wms_tasks import clock, tracing
from wms_tasks.app import app_for
from wms_tasks.names import CLOSE_SLOTS_TASK, PROBE_QUEUE, PROBE_TASK
from wms_tasks.persist import spans as of_batches
from wms_tasks.probe.http import request_for
from wms_tasks.schedule.entries import Message as TaskMessage
from wms_tasks.schedule.wire import Wire
from wms_tasks.settings import Settings, load_settings
from wms_tasks.sites.record import Site
from wms_tasks.store.message import Message, Row, Written
from wms_tasks.tracing import spans
from wms_tasks.tracing.spans import Traces

ENDPOINT = {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:1"}
HEADER = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


class Made:
    """Traces whose spans stay here."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, settings: Settings) -> None:
        self._exporter = InMemorySpanExporter()
        monkeypatch.setattr(spans, "OTLPSpanExporter", lambda: self._exporter)
        self.traces = Traces(settings)
        monkeypatch.setattr(tracing, "TRACES", self.traces)

    def spans(self) -> list[ReadableSpan]:
        """All of them; there are no more afterwards."""
        self.traces.end()
        return list(self._exporter.get_finished_spans())


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch) -> Iterator[Made]:
    """Traces are made in this test."""
    made = Made(monkeypatch, Settings(trace_hosts="told.example, *.told.example"))
    yield made
    made.traces.end()


@pytest.mark.parametrize(
    ("environ", "wanted"),
    [
        ({}, False),
        (ENDPOINT, True),
        ({"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://127.0.0.1:1/v1/traces"}, True),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": ""}, False),
        ({**ENDPOINT, "OTEL_SDK_DISABLED": "true"}, False),
        ({**ENDPOINT, "OTEL_TRACES_EXPORTER": "none"}, False),
        ({**ENDPOINT, "OTEL_TRACES_EXPORTER": "otlp"}, True),
        ({"OTEL_SERVICE_NAME": "wms"}, False),
    ],
)
def test_opentelemetrys_own_variables_decide(environ: dict[str, str], wanted: bool) -> None:
    """An endpoint, and nothing that says no."""
    assert tracing.wanted(environ) is wanted


def test_not_under_gevent(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is said, and none are made."""
    patched = types.SimpleNamespace(is_module_patched=lambda name: name == "threading")
    monkeypatch.setitem(sys.modules, "gevent.monkey", patched)  # type: ignore[arg-type] # as much of it as is asked
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", ENDPOINT["OTEL_EXPORTER_OTLP_ENDPOINT"])
    tracing.begin(Settings())
    assert tracing.TRACES is None


@pytest.mark.parametrize("header", ["", "nonsense", HEADER.upper(), HEADER.replace("b7ad6b7169203331", "0" * 16)])
def test_a_header_that_is_none_begins_a_trace(made: Made, header: str) -> None:
    """Whatever is in a message, a run goes on."""
    with made.traces.span("task", {}, parent=header):
        assert made.traces.header() is not None
    (span,) = made.spans()
    assert span.parent is None


def test_a_trace_goes_on_by_its_header(made: Made) -> None:
    """The same trace, whoever began it, and no text of an exception."""

    def fails() -> None:
        with made.traces.span("task", {"a": 1}, parent=HEADER) as span:
            made.traces.failed(span, OSError())
            raise OSError("canary")

    with pytest.raises(OSError, match="canary"):
        fails()
    assert made.traces.header() is None
    (span,) = made.spans()
    assert span.context.trace_id == int("0af7651916cd43dd8448eb211c80319c", 16)
    assert span.parent is not None
    assert span.parent.span_id == int("b7ad6b7169203331", 16)
    assert dict(span.attributes or {}) == {"a": 1, "error.type": "OSError"}
    assert "canary" not in span.to_json()


def test_a_sites_host_is_told_only_where_it_is_named(made: Made) -> None:
    """Within a span; names below one by a star."""
    with made.traces.span("probe", {}):
        header = made.traces.header()
        told = {
            host: request_for(Site(site_id=uuid.uuid4(), name="a", url=f"https://{host}/"), "agent").headers.get(
                "traceparent"
            )
            for host in ("told.example", "www.told.example", "example", "nottold.example")
        }
    assert told == {"told.example": header, "www.told.example": header, "example": None, "nottold.example": None}


def test_a_batch_is_linked_with_so_many_and_no_more(made: Made) -> None:
    """Those that are sampled, up to the limit; each has its span, in its own trace."""

    def record(number: int, header: str) -> Row:
        message = Message("t", "id", 0, number, None, b"", [("content-type", b"x"), ("traceparent", header.encode())])
        return Row(b"", 0, message)

    sampled = [HEADER.replace("0af76519", f"{number + 1:08x}") for number in range(of_batches.MOST + 10)]
    records = [record(0, HEADER.removesuffix("01") + "00"), *(record(n, header) for n, header in enumerate(sampled))]
    of_batches.stored(made.traces, records, Written(rows=len(records), duplicates=0, rejects=0), 0.25, clock.utcnow())
    batch, *each = made.spans()
    assert (batch.name, len(batch.links), len(each)) == ("persist.batch", of_batches.MOST, of_batches.MOST)
    assert {span.name for span in each} == {"persist"}
    assert [f"{span.context.trace_id:032x}" for span in each] == [
        header.split("-")[1] for header in sampled[: len(each)]
    ]
    assert all(span.links[0].context.span_id == batch.context.span_id for span in each)
    assert (batch.end_time or 0) - (batch.start_time or 0) == 250_000_000


def test_hosts_are_checked_as_they_are_read(clean_environ: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """A url instead of a host would tell nobody."""
    monkeypatch.setenv("WMS_TRACE_HOSTS", "https://told.example/")
    with pytest.raises(Exception, match="WMS_TRACE_HOSTS"):
        load_settings()


def test_beats_message_has_the_header_only_where_traces_are_made(made: Made, monkeypatch: pytest.MonkeyPatch) -> None:
    """And its span goes before it; without traces there is no such field, not an empty one."""
    wire = Wire(app_for(Settings()))
    about: dict[str, Any] = {
        "queue": PROBE_QUEUE,
        "task_id": "a.1",
        "kwargs": {},
        "expires_at": clock.utcnow(),
        "shown": "('a', 1)",
    }
    of_a_slot, of_housekeeping = TaskMessage(task=PROBE_TASK, **about), TaskMessage(task=CLOSE_SLOTS_TASK, **about)
    headers = json.loads(wire.encoded(of_a_slot, clock.utcnow()))["headers"]
    others = json.loads(wire.encoded(of_housekeeping, clock.utcnow()))["headers"]
    monkeypatch.setattr(tracing, "TRACES", None)
    off = json.loads(wire.encoded(of_a_slot, clock.utcnow()))["headers"]
    (span,) = made.spans()
    assert headers.pop("traceparent").split("-")[2] == f"{span.context.span_id:016x}"
    assert headers == off
    assert "traceparent" not in others
