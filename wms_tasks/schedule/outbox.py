"""
Puts messages into the broker's queues, many at a time. I/O only; the scheduler decides what and when.

One LPUSH takes a whole part of a queue's messages, in order, or none of it: one round trip instead of one for each.
That is what lets beat send in time while another thread reads the sites file and holds the interpreter: each round
trip costs a turn there.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from itertools import groupby

import redis
from celery import Celery

from wms_tasks import clock
from wms_tasks.broker import connect_redis
from wms_tasks.errors import ServiceUnavailable
from wms_tasks.schedule.entries import Message
from wms_tasks.schedule.wire import Wire
from wms_tasks.settings import Settings

# Waiting for the broker is the scheduler's: it keeps the slots and its lease meanwhile, which a silent Redis must not
# outlast. A retry would double it.
_TIMEOUT_SECONDS = 1.5
# What goes out within the timeout over a slow line; a message is at most as large as its site's body and headers.
_PART_BYTES = 256 * 1024


class Outbox:
    """One connection; made at the first send, and again after a failure."""

    def __init__(self, app: Celery, settings: Settings) -> None:
        self._wire = Wire(app)
        self._client = connect_redis(settings, timeout_seconds=_TIMEOUT_SECONDS, retries=0)
        self._key_prefix = settings.key_prefix

    def send(self, *messages: Message) -> None:
        """
        Put the messages into their queues, in order.

        Raises:
            ServiceUnavailable: the broker did not take all of them; it may have any of them all the same.
        """
        try:
            for queue, of_one_queue in groupby(messages, lambda message: message.queue):
                for part in self._parts(tuple(of_one_queue)):
                    self._client.lpush(f"{self._key_prefix}{queue}", *part)
        except (redis.RedisError, OSError) as error:
            self.close()
            raise ServiceUnavailable(f"Redis did not take a message: {error}") from error

    def _parts(self, messages: Sequence[Message]) -> Iterator[list[bytes]]:
        """All of them, written; a part ends with the message by which it becomes too large."""
        now = clock.utcnow()
        part: list[bytes] = []
        part_bytes = 0
        for message in messages:
            part.append(self._wire.encoded(message, now))
            part_bytes += len(part[-1])
            if part_bytes >= _PART_BYTES:
                yield part
                part, part_bytes = [], 0
        if part:
            yield part

    def close(self) -> None:
        """Drop the connection; idempotent."""
        with contextlib.suppress(redis.RedisError, OSError):  # that it is lost may be why we are here
            self._client.close()
