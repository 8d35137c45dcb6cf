"""
A batch in traces: a span of its own, linked to the results in it, and in the trace of each result a span linked to it.

Called by hand_over.py, where traces are made.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import TYPE_CHECKING

from wms_tasks import clock, tracing
from wms_tasks.store.message import Headers, Reject, Row, Written

if TYPE_CHECKING:
    from wms_tasks.tracing.spans import Traces

# Of one batch: as many links as OpenTelemetry keeps of a span. A batch may have thousands of records; sampling
# (OTEL_TRACES_SAMPLER) is what keeps all of the traces that are kept whole.
MOST = 128


def stored(traces: Traces, records: Sequence[Row | Reject], written: Written, seconds: float, at: datetime) -> None:
    """Postgres has these since `at`, and taking them took so long."""
    ended_us = clock.to_microseconds(at)
    began_us = ended_us - round(seconds * 1e6)
    headers = list(_sampled(traces, records))
    about = {"wms.records": len(records), "wms.rows": written.rows, "wms.rejects": written.rejects}
    batch = traces.past("persist.batch", about, began_us=began_us, ended_us=ended_us, links=headers)
    for header in headers:
        traces.past(
            "persist",
            {"messaging.system": "kafka"},
            began_us=began_us,
            ended_us=ended_us,
            kind=tracing.Kind.CONSUMER,
            parent=header,
            links=[batch],
        )


def _sampled(traces: Traces, records: Sequence[Row | Reject]) -> Iterator[str]:
    found = 0
    for record in records:
        header = _header_in(record.message.headers)
        if header is not None and traces.is_sampled(header):
            yield header
            found += 1
            if found == MOST:
                return


def _header_in(headers: Headers) -> str | None:
    for name, content in headers:
        if name == tracing.HEADER and isinstance(content, bytes):
            return content.decode("latin-1")
    return None
