"""Every subject, in the order of docs/performance.md's table. A new one: its module, and a line here."""

from __future__ import annotations

from bench import (
    on_asyncio,
    on_beat,
    on_dead_provider,
    on_full_speed,
    on_long_run,
    on_memory,
    on_persist,
    on_reads,
    on_start,
    on_timing,
    on_whole,
    on_wire,
    on_worker,
)
from bench.figure import Subject

SUBJECTS: tuple[Subject, ...] = (
    on_beat.SUBJECT,
    on_worker.HTTP,
    on_worker.HTTPS,
    on_asyncio.PROBE,
    on_worker.POOLS,
    on_full_speed.FULL,
    on_full_speed.ONE_PROCESSOR,
    on_timing.SUBJECT,
    on_persist.PERSIST,
    on_persist.PERSIST_BESIDE_TELEGRAF,
    on_asyncio.PERSIST,
    on_wire.WIRE,
    on_whole.SUBJECT,
    on_long_run.SUBJECT,
    on_dead_provider.SUBJECT,
    on_reads.READS,
    on_memory.SUBJECT,
    on_start.SUBJECT,
)
