"""The tasks. Bodies only load, call and hand on."""

from __future__ import annotations

from typing import Any

from celery import Task

from wms_tasks.app import app
from wms_tasks.errors import MigrationError, NotPublished, ServiceUnavailable, TopicMissingError
from wms_tasks.names import ANNOUNCE_SITES_TASK, CLOSE_SLOTS_TASK, DROP_OLD_TASK, MAKE_PARTITIONS_TASK, PROBE_TASK
from wms_tasks.settings import get_settings


@app.task(  # type: ignore[untyped-decorator]
    bind=True,
    name=PROBE_TASK,
    max_retries=None,
    throws=(NotPublished,),
    Request="wms_tasks.roles.request:Request",
)
def probe(self: Task, order: dict[str, Any]) -> None:
    """Fill one slot. FAILURE means a fault of ours; a site that is down is a result."""
    from wms_tasks.fill.carry import carry

    carry(self, order)


@app.task(  # type: ignore[untyped-decorator]
    name=MAKE_PARTITIONS_TASK, autoretry_for=(Exception,), retry_backoff=True, max_retries=5
)
def make_partitions() -> None:
    """Make the daily partitions of the days ahead; retried whatever the reason, since a first schema comes late."""
    from wms_tasks.store.housekeep import make_partitions as make

    make(get_settings().for_housekeeping)


@app.task(  # type: ignore[untyped-decorator]
    name=DROP_OLD_TASK,
    autoretry_for=(ServiceUnavailable,),
    retry_backoff=60,
    max_retries=5,
    throws=(ServiceUnavailable, MigrationError),
)
def drop_old() -> None:
    """Drop the days and rejects that are kept no longer; where the first schema comes late, there are none yet."""
    from wms_tasks.store.retention import drop_old as drop

    drop(get_settings().for_housekeeping)


@app.task(  # type: ignore[untyped-decorator]
    name=ANNOUNCE_SITES_TASK, autoretry_for=(Exception,), retry_backoff=True, max_retries=None
)
def announce_sites(chunk: dict[str, Any]) -> None:
    """Take in a part of beat's sites; retried until it expires, after which the ledger asks for all of them again."""
    from wms_tasks.ledger.sites import take_in
    from wms_tasks.schedule.announce import Chunk

    take_in(get_settings().for_housekeeping, Chunk.from_message(chunk))


@app.task(  # type: ignore[untyped-decorator]
    name=CLOSE_SLOTS_TASK, throws=(ServiceUnavailable, TopicMissingError, MigrationError)
)
def close_slots(word: dict[str, Any]) -> None:
    """Close what can be closed; what fails now is the next turn's."""
    from wms_tasks.ledger.close import close_slots as close
    from wms_tasks.schedule.announce import Word

    close(get_settings().for_housekeeping, Word.from_message(word))
