"""
Why a slot was missed, of which nobody wrote down anything better: a pure function of what beat and persist wrote.

What each reason proves is told in docs/ledger.md. What a worker wrote down is a row already when this is asked.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from wms_tasks.ledger.waiting import SlotKey
from wms_tasks.result import Reason
from wms_tasks.store.ledger import Span


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """
    What was written down of the time in question.

    By beats, each of the sites of its shard: when one led and had sent what fell due, and when none could. By persist:
    when what came to Kafka was lost. And where their messages are by now: in the queue, or with a worker that never
    acknowledged them.
    """

    leaderships: Sequence[Span] = ()
    outages: Sequence[Span] = ()
    lost: Sequence[Span] = ()
    waiting: Mapping[SlotKey, Reason] = field(default_factory=dict)


def why_missed(slot: SlotKey, due_at: datetime, expires_at: datetime, *, rejected: bool, evidence: Evidence) -> Reason:
    """
    The reason.

    Args:
        rejected: a message of the slot is among the rejects.
    """
    if rejected:
        return Reason.REJECTED
    if (where := evidence.waiting.get(slot)) is not None:
        return where
    site_id, _ = slot
    for outage in evidence.outages:
        if _touches(outage, due_at, expires_at) and outage.shard.has(site_id):
            return Reason(outage.reason)
    if not any(_touches(led, due_at, expires_at) and led.shard.has(site_id) for led in evidence.leaderships):
        return Reason.SCHEDULER_DOWN
    if any(_touches(lost, due_at, expires_at) for lost in evidence.lost):
        return Reason.LOST_IN_KAFKA
    return Reason.UNKNOWN


def _touches(span: Span, due_at: datetime, expires_at: datetime) -> bool:
    return span.from_at < expires_at and due_at <= span.until_at
