"""
Keeps the figures of the persist loop. Used by the loop's thread; what it shows is replaced whole, so any may read it.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime

import structlog

from wms_tasks import clock, metrics
from wms_tasks.heartbeat import Heartbeat
from wms_tasks.persist.column import microseconds
from wms_tasks.persist.stats import PartitionStats, PersistStats, State
from wms_tasks.settings import Settings
from wms_tasks.store.message import UNKNOWN_END, LostRange, Reject, Row, Written

# librdkafka takes milliseconds to say which end of a partition it knows.
LAG_EVERY_SECONDS = 1.0

End = Callable[[int], int | None]

_log = structlog.get_logger()


class _Shown:
    """What every loop of this process does; there is one for each version of the topic."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._loops: dict[int, tuple[State, tuple[PartitionStats, ...]]] = {}
        self._held: dict[int, int] = {}

    def show(self, version: int, state: State, assignment: tuple[PartitionStats, ...]) -> None:
        """One of them has changed."""
        with self._lock:
            self._loops[version] = (state, assignment)
            states = [one for one, _ in self._loops.values()]
            metrics.PERSIST_STATE.replace({(one,): states.count(one) for one in State})
            metrics.LAG.replace(
                {
                    (str(one.partition) if version == 1 else f"v{version}/{one.partition}",): one.lag
                    for version, (_, partitions) in self._loops.items()
                    for one in partitions
                    if one.lag is not None
                }
            )

    def held(self, version: int, records: int) -> None:
        """One of them holds so many."""
        with self._lock:
            self._held[version] = records
            metrics.HELD.set(sum(self._held.values()))


_SHOWN = _Shown()


class Meter:
    """``stats`` is how it goes, as of the last round."""

    def __init__(self, settings: Settings, heartbeat: Heartbeat) -> None:
        self.stats = PersistStats(topic=settings.topic)
        self._version = settings.topic_version
        self._heartbeat = heartbeat
        self._ends: dict[int, int | None] = {}
        self._ask_ends_at = 0.0

    def count(self, written: Written, records: Sequence[Row | Reject], elapsed_ms: float, at: datetime) -> None:
        """A batch was stored, and Postgres has it since `at`."""
        at_us = microseconds(at)
        delays = [(at_us - record.slot_us) / 1e6 for record in records if isinstance(record, Row)]
        self.stats = replace(
            self.stats,
            rows_written=self.stats.rows_written + written.rows,
            rejects_written=self.stats.rejects_written + written.rejects,
            duplicates=self.stats.duplicates + written.duplicates,
            batches=self.stats.batches + 1,
            last_batch_records=len(records),
            last_batch_ms=elapsed_ms,
            last_write_at=at,
            last_end_to_end_seconds=max(delays, default=None),
        )
        metrics.stored(
            rows=written.rows,
            duplicates=written.duplicates,
            delays_seconds=delays,
            at=at,
            write_seconds=elapsed_ms / 1000,
        )
        metrics.BATCH_MESSAGES.observe(len(records))
        self._heartbeat.wrote()
        _log.debug("persist.batch_stored", rows=written.rows, rejects=written.rejects, ms=round(elapsed_ms, 1))
        if written.rejects:
            first = next((record.error for record in records if isinstance(record, Reject)), "refused by Postgres")
            _log.warning("persist.rejected", rejects=written.rejects, of=len(records), first=first)

    def lost(self, lost: LostRange) -> None:
        """Postgres has it that these offsets are lost."""
        self.stats = replace(self.stats, lost_offsets=self.stats.lost_offsets + lost.offsets)
        metrics.LOST_OFFSETS.inc(by=lost.offsets)
        _log.error(
            "persist.offsets_lost",
            partition=lost.key.partition,
            asked=lost.start,
            end=None if lost.end == UNKNOWN_END else lost.end,
            why=lost.why,
            hint="Kafka no longer has them; written down in wms.lost_offsets, and going on",
        )

    def show(self, state: State, stored: Mapping[int, int], held_records: int, end: End | None = None) -> None:
        """
        A round is over.

        Args:
            stored: the next offset of each of our partitions.
            end: asks for the offset after a partition's last message.
        """
        now = clock.monotonic()
        if end is not None and (now >= self._ask_ends_at or stored.keys() != self._ends.keys()):
            self._ask_ends_at = now + LAG_EVERY_SECONDS
            self._ends = {partition: end(partition) for partition in stored}
        assignment = tuple(
            PartitionStats(partition=partition, next_offset=offset, lag=self._lag(partition, offset))
            for partition, offset in sorted(stored.items())
        )
        if (state, assignment) != (self.stats.state, self.stats.assignment):
            _SHOWN.show(self._version, state, assignment)
        if held_records != self.stats.held_records:
            _SHOWN.held(self._version, held_records)
        self.stats = replace(self.stats, state=state, assignment=assignment, held_records=held_records)

    def _lag(self, partition: int, next_offset: int) -> int | None:
        end = self._ends.get(partition)
        return None if end is None else max(0, end - next_offset)
