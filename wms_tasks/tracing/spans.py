"""
How spans are made and sent: OpenTelemetry's SDK, and OTLP over HTTP. Imported only where traces are wanted.

OTEL_* variables say where to, how much (OTEL_TRACES_SAMPLER) and under which name (OTEL_SERVICE_NAME).
"""

from __future__ import annotations

import os
import re
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib.metadata import version
from typing import Any

from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import OTELResourceDetector, Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.trace import Link, NonRecordingSpan, Span, SpanContext, SpanKind, Status, StatusCode, TraceFlags

from wms_tasks.ranges import items
from wms_tasks.settings import Settings
from wms_tasks.tracing import Kind

# What a stop waits for spans that are on their way; well below the watchdog's time.
END_SECONDS = 1.5

_FORM = re.compile(r"00-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})")
_SAMPLED = 1
_making = threading.Lock()

Attributes = Mapping[str, Any]  # texts, numbers, truths


_KINDS = {kind: SpanKind[kind.name] for kind in Kind}


class Traces:
    """Makes spans; thread-safe. Each process has a sender of its own, begun with its first span, after any fork."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._providers: dict[int, TracerProvider] = {}
        self._tracers: dict[int, trace.Tracer] = {}
        #: The hosts that are sent the header, as written: patterns of `wms_tasks.sites.secret_hosts`.
        self.told_hosts = tuple(items(settings.trace_hosts))

    @contextmanager
    def span(
        self,
        name: str,
        attributes: Attributes,
        *,
        kind: Kind = Kind.INTERNAL,
        parent: str | None = None,
    ) -> Iterator[Span]:
        """
        A span around what is done within; an exception is none of its business, since it may hold anything.

        Args:
            parent: a header; without a good one, the span around this one.
        """
        # Neither as an event with its text nor as a status: see `failed`.
        with self._tracer().start_as_current_span(
            name,
            context=_context_of(parent),
            kind=_KINDS[kind],
            attributes=attributes,
            record_exception=False,
            set_status_on_exception=False,
        ) as span:
            yield span

    def past(  # noqa: PLR0913 - what a span is
        self,
        name: str,
        attributes: Attributes,
        *,
        began_us: int,
        ended_us: int,
        kind: Kind = Kind.INTERNAL,
        parent: str | None = None,
        links: Sequence[str] = (),
    ) -> str:
        """A span of what is over, times in microseconds since the epoch; its header."""
        span = self._tracer().start_span(
            name,
            context=_context_of(parent),
            kind=_KINDS[kind],
            attributes=attributes,
            links=[Link(context) for header in links if (context := _read(header)) is not None],
            start_time=began_us * 1000,
        )
        span.end(ended_us * 1000)
        return _header_of(span.get_span_context())

    def header(self) -> str | None:
        """That of the span around this call; None where there is none."""
        context = trace.get_current_span().get_span_context()
        return _header_of(context) if context.is_valid else None

    @staticmethod
    def failed(span: Span, error: BaseException) -> None:
        """A fault of ours: by its type, without its text."""
        span.set_attribute("error.type", type(error).__name__)
        span.set_status(Status(StatusCode.ERROR))

    @staticmethod
    def is_sampled(header: str) -> bool:
        """Whether whoever wrote this header keeps its trace."""
        found = _FORM.fullmatch(header)
        return found is not None and bool(int(found[3], 16) & _SAMPLED)

    def end(self) -> None:
        """Send what this process has; nothing is sent afterwards."""
        provider = self._providers.get(os.getpid())
        if provider is not None:
            provider.shutdown()

    def _tracer(self) -> trace.Tracer:
        pid = os.getpid()
        tracer = self._tracers.get(pid)
        if tracer is None:
            with _making:
                if pid not in self._providers:
                    self._providers[pid] = _provider(self._settings)
                tracer = self._tracers[pid] = self._providers[pid].get_tracer("wms_tasks")
        return tracer


class _Sender(BatchSpanProcessor):
    """OpenTelemetry's, which waits half a minute for a silent collector when the process ends."""

    def shutdown(self) -> None:
        """Send what is left, in time."""
        self._batch_processor.shutdown(timeout_millis=int(END_SECONDS * 1000))


def _provider(settings: Settings) -> TracerProvider:
    ours = Resource(
        {
            "service.name": "wms",
            "service.version": version("wms-tasks"),
            "service.instance.id": settings.worker_name,
            "deployment.environment.name": settings.env,
            "wms.location": settings.location,
        }
    )
    # What OTEL_SERVICE_NAME and OTEL_RESOURCE_ATTRIBUTES say goes before it.
    provider = TracerProvider(resource=ours.merge(OTELResourceDetector().detect()))
    provider.add_span_processor(_Sender(OTLPSpanExporter()))
    return provider


def _header_of(context: SpanContext) -> str:
    return f"00-{context.trace_id:032x}-{context.span_id:016x}-{context.trace_flags:02x}"


def _read(header: str) -> SpanContext | None:
    found = _FORM.fullmatch(header)
    if found is None:
        return None
    context = SpanContext(int(found[1], 16), int(found[2], 16), True, TraceFlags(int(found[3], 16)))
    return context if context.is_valid else None


def _context_of(header: str | None) -> Context | None:
    context = _read(header) if header is not None else None
    return trace.set_span_in_context(NonRecordingSpan(context), Context()) if context is not None else None
