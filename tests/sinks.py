"""Where Sentry's events and OpenTelemetry's spans are sent in tests: a local server, and what came in, decoded."""

from __future__ import annotations

import gzip
import json
from collections import defaultdict
from collections.abc import Iterator
from typing import Any

import brotli
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from tests.servers import LocalServer, SeenRequest, answer

_DECODERS = {"": bytes, "gzip": gzip.decompress, "br": brotli.decompress}


def body_of(request: SeenRequest) -> bytes:
    """The body, decoded."""
    return _DECODERS[request.headers.get("content-encoding", "")](request.body)


def items_of(envelope: bytes) -> Iterator[tuple[str, Any]]:
    """
    The items of one envelope: type and payload.

    Its form: https://develop.sentry.dev/sdk/foundations/transport/envelopes/ — headers in a line of JSON, then for each
    item a line of JSON with its type and length, and its bytes.
    """
    _, _, rest = envelope.partition(b"\n")
    while rest:
        line, _, rest = rest.partition(b"\n")
        header = json.loads(line)
        length = header.get("length", rest.find(b"\n") if b"\n" in rest else len(rest))
        yield header["type"], json.loads(rest[:length])
        rest = rest[length:].removeprefix(b"\n")


class SentrySink(LocalServer):
    """A Sentry that takes everything; project 1."""

    KEY = "c0ffee00c0ffee00c0ffee00c0ffee00"

    def __init__(self) -> None:
        super().__init__({"/api/1/envelope/": answer(b"{}", headers={"Content-Type": "application/json"})})

    @property
    def dsn(self) -> str:
        """Where to report."""
        return f"http://{self.KEY}@127.0.0.1:{self.port}/1"

    def items(self) -> list[tuple[str, Any]]:
        """Type and payload of all that came in."""
        return [item for request in self.seen for item in items_of(body_of(request))]

    def events(self) -> list[dict[str, Any]]:
        """Those that are events."""
        return [payload for kind, payload in self.items() if kind == "event"]

    def kinds(self) -> list[tuple[str, ...]]:
        """Each event's fingerprint."""
        return [tuple(event["fingerprint"]) for event in self.events()]

    def text(self) -> str:
        """All that came in, as text."""
        return "\n".join(body_of(request).decode("utf-8") for request in self.seen)


class OtlpSink(LocalServer):
    """A collector of spans that takes everything: OTLP over HTTP, in protobuf."""

    PATH = "/v1/traces"

    def __init__(self) -> None:
        super().__init__({self.PATH: answer(b"", headers={"Content-Type": "application/x-protobuf"})})

    def environ(self) -> dict[str, str]:
        """What makes a role send its spans here, and soon."""
        return {"OTEL_EXPORTER_OTLP_ENDPOINT": self.url("").rstrip("/"), "OTEL_BSP_SCHEDULE_DELAY": "200"}

    def requests(self) -> list[ExportTraceServiceRequest]:
        """All that came in, decoded."""
        return [ExportTraceServiceRequest.FromString(body_of(request)) for request in self.seen]

    def spans(self) -> list[Span]:
        """Every span so far."""
        return [
            span
            for request in self.requests()
            for resource in request.resource_spans
            for scope in resource.scope_spans
            for span in scope.spans
        ]

    def traces(self) -> dict[bytes, list[Span]]:
        """The spans of each trace, in the order they began."""
        found: dict[bytes, list[Span]] = defaultdict(list)
        for span in sorted(self.spans(), key=lambda span: span.start_time_unix_nano):
            found[span.trace_id].append(span)
        return dict(found)

    def text(self) -> str:
        """All that came in, as text."""
        return "\n".join(map(str, self.requests()))


def about(span: Span) -> dict[str, Any]:
    """A span's attributes."""
    return {one.key: getattr(one.value, one.value.WhichOneof("value")) for one in span.attributes}
