"""
Where a slot's trace begins: with the message that beat sends for it. Called where messages are written.
"""

from __future__ import annotations

from wms_tasks import clock, tracing
from wms_tasks.names import PROBE_TASK
from wms_tasks.schedule.entries import Message


def scheduled(message: Message) -> str | None:
    """The header that goes with this message, of a span that says it was sent; None where no traces are made."""
    if (traces := tracing.TRACES) is None or message.task != PROBE_TASK:
        return None
    now_us = clock.to_microseconds(clock.utcnow())
    about = {
        "messaging.system": "redis",
        "messaging.destination.name": message.queue,
        "messaging.message.id": message.task_id,
        "wms.order": message.shown,
    }
    return traces.past("schedule", about, began_us=now_us, ended_us=now_us, kind=tracing.Kind.PRODUCER)
