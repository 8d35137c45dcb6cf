"""
Takes in what beat announces: the sites' schedules become ranges of validity. Called by the announcing task.

Chunks may come in any order and more than once; a generation counts when it is whole, and only if it is its shard's
newest. It says nothing of the sites of other shards.
"""

from __future__ import annotations

from datetime import datetime

import msgspec
import structlog

from wms_tasks import clock
from wms_tasks.schedule.announce import Chunk
from wms_tasks.schedule.slots import Slots
from wms_tasks.settings import Settings
from wms_tasks.shard import shard_named
from wms_tasks.store import ledger
from wms_tasks.store.connect import TASK_LIMIT_SECONDS, session
from wms_tasks.store.ledger import Grid

log = structlog.get_logger()


def take_in(settings: Settings, chunk: Chunk) -> None:
    """
    Keep the chunk, and if its generation is whole by that, make it the schedule.

    Raises:
        ServiceUnavailable: Postgres does not answer, or somebody else holds the ledger.
        MigrationError: the schema is older than this release.
    """
    shard = shard_named(chunk.shard)
    with session(settings, "ledger", limit_seconds=TASK_LIMIT_SECONDS) as connection:
        ledger.lock(connection)
        if chunk.generation <= ledger.newest_generation(connection, shard):
            return
        sites_json = msgspec.json.encode(chunk.sites)
        here = ledger.note_chunk(
            connection, shard, generation=chunk.generation, chunk=chunk.chunk, sites_json=sites_json
        )
        if here < chunk.chunks:
            return
        ended = ledger.ended_ranges(connection, shard, chunk.generation)
        ends = [(grid, end_of(grid, chunk.generation)) for grid in ended]
        ledger.end_ranges(connection, ends)
        begun = ledger.begin_ranges(connection, shard, chunk.generation)
    log.info(
        "ledger.sites_taken_in",
        shard=chunk.shard,
        generation=chunk.generation,
        ranges_ended=len(ends),
        ranges_begun=begun,
    )


def end_of(grid: Grid, at_us: int) -> datetime:
    """The first slot that beat has not sent by then: one whose jitter still keeps it, else the next."""
    slots = Slots(grid.site_id.bytes, grid.interval_us, grid.jitter_us, grid.splay_us)
    slot_us = slots.at(at_us)
    waiting = slots.due(slot_us) > at_us
    return clock.from_microseconds(slot_us if waiting else slots.after(slot_us))
