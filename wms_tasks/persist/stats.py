"""
What the persist loop shows of itself: for the inspect command, the live view and tests. Values only.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from enum import StrEnum
from itertools import chain

_COUNTS = ("rows_written", "rejects_written", "duplicates", "lost_offsets", "batches", "held_records")


class State(StrEnum):
    """What the loop does now."""

    STOPPED = "stopped"
    WAITING_FOR_KAFKA = "waiting_for_kafka"
    WAITING_FOR_TOPIC = "waiting_for_topic"
    WAITING_FOR_POSTGRES = "waiting_for_postgres"
    WAITING_FOR_REGISTRY = "waiting_for_registry"
    WAITING_FOR_PARTITIONS = "waiting_for_partitions"
    RUNNING = "running"


@dataclass(frozen=True, slots=True, kw_only=True)
class PartitionStats:
    """A partition that is ours. ``next_offset``: stored up to here; ``lag``: messages from it on, None: unknown."""

    partition: int
    next_offset: int
    lag: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class PersistStats:
    """
    Since the loop began. ``duplicates``: redelivered messages whose row was there already. ``lost_offsets``: what Kafka
    no longer had, 1 where nobody knows how many.

    ``last_end_to_end_seconds``: from its slot to its row, of the oldest slot in the last batch.
    """

    state: State = State.STOPPED
    topic: str = ""
    assignment: tuple[PartitionStats, ...] = ()
    rows_written: int = 0
    rejects_written: int = 0
    duplicates: int = 0
    lost_offsets: int = 0
    batches: int = 0
    held_records: int = 0
    last_batch_records: int | None = None
    last_batch_ms: float | None = None
    last_write_at: datetime | None = None
    last_end_to_end_seconds: float | None = None


def together(loops: Sequence[PersistStats]) -> PersistStats:
    """Of all loops of a process: sums, the state of the first that does not run, and the newest of what is last."""
    first, *more = loops
    if not more:
        return first
    last = max(loops, key=lambda one: one.last_write_at or datetime.min.replace(tzinfo=UTC))
    return replace(
        last,
        state=next((one.state for one in loops if one.state is not State.RUNNING), State.RUNNING),
        topic=", ".join(one.topic for one in loops),
        assignment=tuple(chain.from_iterable(one.assignment for one in loops)),
        **{name: sum(getattr(one, name) for one in loops) for name in _COUNTS},
    )
