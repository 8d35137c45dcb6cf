"""
Traces of slots, where OTEL_EXPORTER_OTLP_ENDPOINT names a collector and the extra ``otel`` is installed.

`TRACES` is what makes spans, or None: one check wherever a span may begin, and nothing of OpenTelemetry's is imported.
Which spans there are is said where they begin, in schedule, fill, publish and persist; how they are made, in spans.py.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from enum import StrEnum
from typing import TYPE_CHECKING

import structlog

from wms_tasks.settings import Settings

if TYPE_CHECKING:
    from wms_tasks.tracing.spans import Traces

# The header of messages, in Redis and in Kafka, and of requests: https://www.w3.org/TR/trace-context/
HEADER = "traceparent"

#: Set once, by `begin`; looked up in this module each time.
TRACES: Traces | None = None

_ENDPOINTS = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")

_log = structlog.get_logger()


class Kind(StrEnum):
    """What a span is about; OpenTelemetry's words."""

    INTERNAL = "internal"
    CLIENT = "client"
    PRODUCER = "producer"
    CONSUMER = "consumer"


def wanted(environ: Mapping[str, str]) -> bool:
    """Whether OpenTelemetry's own variables ask for traces: an endpoint, and not the opposite."""
    disabled = environ.get("OTEL_SDK_DISABLED", "").strip().lower() == "true"
    exporter = environ.get("OTEL_TRACES_EXPORTER", "otlp").strip().lower() or "otlp"
    return not disabled and exporter == "otlp" and any(environ.get(name) for name in _ENDPOINTS)


def begin(settings: Settings) -> None:
    """Make spans from now on, where that is wanted and can be; called by each entry point."""
    global TRACES  # noqa: PLW0603 - one for a process
    if TRACES is not None or not wanted(os.environ):
        return
    monkey = sys.modules.get("gevent.monkey")
    if monkey is not None and monkey.is_module_patched("threading"):
        # opentelemetry-python issues 3884 and 3886: its context is lost between greenlets, its exporter's lock held.
        _log.warning("trace.off_under_gevent", hint="use another pool where traces are wanted")
        return
    try:
        from wms_tasks.tracing.spans import Traces
    except ModuleNotFoundError as error:
        _log.warning("trace.not_installed", missing=error.name, hint="pip install 'wms-tasks[otel]'")
        return
    TRACES = Traces(settings)


def header() -> str | None:
    """What is sent along to belong to the span that is current; None without one, or where no traces are made."""
    return None if TRACES is None else TRACES.header()


def end() -> None:
    """Send what is left, within spans.py's `END_SECONDS`: a forked child ends without Python's exit."""
    if TRACES is not None:
        TRACES.end()
