"""
Writes down that a slot was missed: as a result into Kafka; where Kafka is what failed, into a list in Redis.

Housekeeping makes rows of the list when it closes slots. Nobody waits for either, and neither is tried twice: a slot of
which nothing is written down is closed all the same, as unknown. Called by carry.py and by the signal of an expiry.
"""

from __future__ import annotations

import os
from functools import lru_cache
from typing import Any

import msgspec
import redis
import structlog

from wms_tasks import metrics
from wms_tasks.broker import connect_redis
from wms_tasks.codec import json_codec
from wms_tasks.fill import decide
from wms_tasks.fill.decide import Here
from wms_tasks.names import UNPUBLISHED_KEY
from wms_tasks.order import Order, read_order
from wms_tasks.publish import publisher
from wms_tasks.result import Outcome, Reason, Result
from wms_tasks.settings import Settings, get_settings

log = structlog.get_logger()

# Some 25 MB of Redis. The newest are kept: of the oldest, whose outage is longest known, a person needs no list.
UNPUBLISHED_MAX = 50_000


def expired(request: Any) -> None:
    """
    A probe's message was dropped, because nobody had begun it in time.

    Args:
        request: Celery's context of the message.
    """
    try:
        order = read_order(request.kwargs["order"])
    except (KeyError, TypeError, msgspec.ValidationError) as error:
        log.error("probe.order_unreadable", task_id=request.id, error=str(error))
        return
    count(order, "expired")
    redelivered = bool((request.delivery_info or {}).get("redelivered"))
    write_down(decide.left_in_queue(order, redelivered=redelivered, here=_here()))


def too_late(order: Order, reason: Reason) -> None:
    """The slot was over when its message was begun, or is about to be without a worker that knows all of it."""
    write_down(decide.too_late(order, reason, _here()))


def count(order: Order, cause: str) -> None:
    """This worker gives the slot up; it is missed unless an attempt before has left a result in hand."""
    metrics.GIVEN_UP.inc(cause if order.in_hand is None else "in_hand")


def write_down(result: Result) -> None:
    """Publish it without waiting."""
    publisher().publish_soon(result, lambda: not_published(result))


def not_published(result: Result) -> None:
    """Kafka did not confirm this in its time: a finished result is lost, and its slot is missed for that."""
    if result.outcome != Outcome.MISSED:
        result = decide.unpublished(result)
    try:
        client, key = _list(os.getpid())
        with client.pipeline(transaction=True) as pipe:
            pipe.rpush(key, json_codec.encode(result))
            pipe.ltrim(key, -UNPUBLISHED_MAX, -1)
            pipe.execute()
    except redis.RedisError as error:
        log.error("publish.not_written_down", site=result.site_name, error=str(error))


def _here() -> Here:
    settings = get_settings()
    return Here(location=settings.location, worker=settings.worker_name)


def unpublished_key(settings: Settings) -> str:
    """The list of results, as JSON, oldest first."""
    return f"{settings.key_prefix}{UNPUBLISHED_KEY}"


@lru_cache(maxsize=1)
def _list(pid: int) -> tuple[redis.Redis, str]:  # noqa: ARG001 - a forked child needs connections of its own
    settings = get_settings()
    return connect_redis(settings, retries=0), unpublished_key(settings)
