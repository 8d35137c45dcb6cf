"""
What is said of a slot while one run works on it: bound to every log line of that thread, ours and others'; and, where
traces are made, its spans. Used by carry.py.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from celery.exceptions import Ignore, Reject, Retry
from structlog.contextvars import bind_contextvars, reset_contextvars

from wms_tasks import clock, tracing
from wms_tasks.net.guard import Guard
from wms_tasks.order import Order
from wms_tasks.probe.seen import Seen
from wms_tasks.result import Phases, Result
from wms_tasks.sites.record import Site
from wms_tasks.sites.url import host_of

if TYPE_CHECKING:
    from wms_tasks.tracing.spans import Traces

Ask = Callable[[Site, float, Guard], Seen]

_NO_SPAN: AbstractContextManager[None] = nullcontext()


@contextmanager
def working_on(request: Any, order: Order) -> Iterator[None]:
    """
    Within it, log lines name site, slot and task, and spans are this run's.

    Args:
        request: Celery's context of the message.
    """
    tokens = bind_contextvars(site=order.site.name, slot=order.scheduled_at.isoformat(), task_id=request.id)
    try:
        if (traces := tracing.TRACES) is None:
            yield
        else:
            with _run(traces, request, order):
                yield
    finally:
        reset_contextvars(**tokens)


def publishing(result: Result) -> AbstractContextManager[object]:
    """A span of the result's way into Kafka, whose header goes along."""
    if (traces := tracing.TRACES) is None:
        return _NO_SPAN
    return _publishing(traces, result)


def header() -> dict[str, dict[str, str]]:
    """What a message that is sent again carries of the trace, as options of Celery's; empty without one."""
    found = tracing.header()
    return {"headers": {tracing.HEADER: found}} if found is not None else {}


def traced(ask: Ask) -> Ask:
    """`ask` with a span around it and one for each phase; `ask` itself where no traces are made."""
    traces = tracing.TRACES
    return ask if traces is None else _traced(traces, ask)


@contextmanager
def _run(traces: Traces, request: Any, order: Order) -> Iterator[None]:
    parent = (getattr(request, "headers", None) or {}).get(tracing.HEADER)
    about = {
        "wms.site": order.site.name,
        "wms.slot": order.scheduled_at.isoformat(),
        "messaging.message.id": str(request.id),
        "messaging.system": "redis",
    }
    with traces.span("task", about, kind=tracing.Kind.CONSUMER, parent=parent) as span:
        tokens = bind_contextvars(trace_id=f"{span.get_span_context().trace_id:032x}")
        try:
            yield
        except (Ignore, Reject, Retry):
            raise  # how a run ends that goes on in another
        except Exception as error:
            traces.failed(span, error)
            raise
        finally:
            reset_contextvars(**tokens)


@contextmanager
def _publishing(traces: Traces, result: Result) -> Iterator[None]:
    about = {
        "messaging.system": "kafka",
        "wms.outcome": str(result.outcome),
        "wms.reason": str(result.reason),
        "wms.attempt": result.attempt,
    }
    with traces.span("publish", about, kind=tracing.Kind.PRODUCER) as span:
        try:
            yield
        except Exception as error:
            traces.failed(span, error)
            raise


def _traced(traces: Traces, ask: Ask) -> Ask:
    def ask_traced(site: Site, deadline_seconds: float, guard: Guard) -> Seen:
        about = {"server.address": host_of(site.url), "http.request.method": site.method}
        with traces.span("probe", about, kind=tracing.Kind.CLIENT) as span:
            began_us = clock.to_microseconds(clock.utcnow())
            seen = ask(site, deadline_seconds, guard)
            _phases(traces, seen, began_us)
            if seen.status_code is not None:
                span.set_attribute("http.response.status_code", seen.status_code)
            if seen.failure is not None:
                span.set_attribute("error.type", str(seen.failure.reason))
        return seen

    return ask_traced


def _phases(traces: Traces, seen: Seen, at_us: int) -> None:
    """One after another, as they were measured: hops have no gaps worth showing."""
    for number, hop in enumerate(seen.hops):
        for name in Phases.__struct_fields__:
            spent_ms = getattr(hop.phases, name)
            if spent_ms is None:
                continue
            ended_us = at_us + round(timedelta(milliseconds=spent_ms) / clock.MICROSECOND)
            phase = f"probe.{name.removesuffix('_ms')}"
            traces.past(phase, {"wms.hop": number}, began_us=at_us, ended_us=ended_us)
            at_us = ended_us
