"""
Whose messages are still in Redis: slots that no worker took, and those that one took and never came back from.

A worker says so itself when it meets an expired message. While there is none, for longer than the grace, nobody does,
and this is the only evidence there is. Read once a turn of the closing task, in blocks; called by close.py.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from itertools import islice
from typing import Any, cast
from uuid import UUID

import msgspec
import redis
import structlog

from wms_tasks.broker import connect_redis
from wms_tasks.names import PROBE_QUEUE
from wms_tasks.result import Reason
from wms_tasks.settings import Settings

log = structlog.get_logger()

SlotKey = tuple[UUID, int]
"""A site and its slot's instant in microseconds since the epoch."""

# Some 3 s of one core, and 25 MB; of a longer queue the newest are left out, whose slots are closed last.
MAX_MESSAGES = 200_000
BLOCK_MESSAGES = 1_000


class _Headers(msgspec.Struct):
    id: str


class _Queued(msgspec.Struct):
    """Celery's message as kombu puts it into a list, as far as we read it."""

    headers: _Headers


_queued = msgspec.json.Decoder(_Queued)
# kombu keeps an unacknowledged message with its exchange and routing key.
_held = msgspec.json.Decoder(tuple[_Queued, Any, Any])


def waiting_slots(settings: Settings) -> Mapping[SlotKey, Reason]:
    """
    The slots whose message is in the probe queue (`expired`, once nobody may begin them) or is held by a worker without
    being acknowledged (`worker_lost`). Empty where Redis does not answer: then nothing is known of them.
    """
    try:
        with connect_redis(settings) as client:
            held = dict.fromkeys(_slots(_held_ids(client, settings)), Reason.WORKER_LOST)
            return held | dict.fromkeys(_slots(_queued_ids(client, settings)), Reason.EXPIRED)
    except redis.RedisError as error:
        log.warning("ledger.queue_not_read", error=str(error))
        return {}


def _queued_ids(client: redis.Redis, settings: Settings) -> Iterator[str]:
    """Oldest first, which is the list's end. What workers take meanwhile moves the rest: that may be read twice."""
    key = f"{settings.key_prefix}{PROBE_QUEUE}"
    for start in range(1, MAX_MESSAGES, BLOCK_MESSAGES):
        block = cast(list[bytes], client.lrange(key, -(start + BLOCK_MESSAGES - 1), -start))
        yield from _ids(_queued, reversed(block))
        if len(block) < BLOCK_MESSAGES:
            return


def _held_ids(client: redis.Redis, settings: Settings) -> Iterator[str]:
    key = f"{settings.key_prefix}unacked"
    found = islice(client.hscan_iter(key, count=BLOCK_MESSAGES), MAX_MESSAGES)
    yield from _ids(_held, (raw for _, raw in found))


def _ids(decoder: msgspec.json.Decoder[Any], found: Iterable[bytes]) -> Iterator[str]:
    """What is no message of Celery's is the workers' to complain about."""
    for raw in found:
        try:
            message = decoder.decode(raw)
        except msgspec.MsgspecError:
            continue
        yield (message if isinstance(message, _Queued) else message[0]).headers.id


def _slots(task_ids: Iterator[str]) -> Iterator[SlotKey]:
    """Of the ids that beat gives its messages (schedule/entries.py); a person's own have none."""
    for task_id in task_ids:
        site_id, _, slot_us = task_id.rpartition(".")
        try:
            yield UUID(site_id), int(slot_us)
        except ValueError:
            continue
