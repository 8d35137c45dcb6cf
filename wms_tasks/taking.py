"""
How a channel takes messages: all that are there with one command, and then none for a moment.

Stock kombu asks for one message at a time, and the loop turns for each. Beat sends what is due each 20 ms, so that
several are there at once; asked for after a pause as long, they share the turn, the commands and the round trip that
writes them down (`held.py`). A message that comes alone is taken at once.

Needs BLMPOP (Redis 7, Valkey); where it is unknown or not allowed, it is kombu's own way, as it is without an event
loop (gevent). Used by broker.py.
"""

from __future__ import annotations

import hashlib
from queue import Empty
from typing import Any

import msgspec
import redis
import structlog
from kombu.transport import redis as kombu_redis

from wms_tasks import clock
from wms_tasks.held import Message

log = structlog.get_logger()

PAUSE_SECONDS = 0.02
# At a time. Who is killed between taking and writing down, a moment later, loses no more than these.
MOST_MESSAGES = 64


def _nothing() -> None:
    """What a timer calls that only wakes the loop."""


class Taking(kombu_redis.Channel):  # type: ignore[misc]
    """A channel that takes several messages at a time; its ``qos`` is a `Held`."""

    _came_at = float("-inf")
    _wakes_for = float("-inf")
    _one_by_one = False

    def _brpop_start(self, timeout: float | None = None) -> None:
        """
        Ask for messages, or wait for the pause to end: `_in_poll` is unset until then, so that the loop, which a timer
        wakes, comes here again.
        """
        loop = self.connection.loop
        left_seconds = self._came_at + PAUSE_SECONDS - clock.monotonic()
        if loop is None or self._one_by_one:
            super()._brpop_start(timeout)
        elif left_seconds <= 0:
            self._ask(self.brpop_timeout if timeout is None else timeout)
        elif self._wakes_for < self._came_at:
            self._wakes_for = self._came_at
            loop.call_later(left_seconds, _nothing)

    def _ask(self, timeout_seconds: float) -> None:
        queues = self._queue_cycle.consume(len(self.active_queues))
        if not queues:
            return
        prefix = self.global_keyprefix or ""
        keys = [prefix + self._q_for_pri(queue, priority) for priority in self.priority_steps for queue in queues]
        most = min(self.qos.can_consume_max_estimate() or MOST_MESSAGES, MOST_MESSAGES)
        connection = self._in_poll = self.client.connection
        self._brpop_sent_at = clock.monotonic()
        connection.send_command("BLMPOP", timeout_seconds or 0, len(keys), *keys, "RIGHT", "COUNT", most)

    def _brpop_read(self, **options: Any) -> bool:
        if self.connection.loop is None or self._one_by_one:
            return bool(super()._brpop_read(**options))
        try:
            found = self._answer()
        finally:
            self._in_poll = None
            self._flush_brpop_reauth()
        if not found:
            raise Empty
        self._came_at = clock.monotonic()
        self._deliver_all(*found)
        return True

    def _answer(self) -> tuple[bytes, list[bytes]] | None:
        connection = self.client.connection
        try:
            return connection.read_response()  # type: ignore[no-any-return]
        except self.connection_errors:
            connection.disconnect()
            raise
        except redis.ResponseError as error:
            if not _is_refused(error):
                raise
            self._one_by_one = True
            log.warning("worker.takes_one_by_one", why=str(error), hint="BLMPOP came with Redis 7; it spares CPU time")
            return None

    def _deliver_all(self, key: bytes, messages: list[bytes]) -> None:
        """Write them down, then let them begin: who is killed in between repeats them, instead of losing them."""
        queue = key.decode().removeprefix(self.global_keyprefix or "").rsplit(self.sep, 1)[0]
        self._queue_cycle.rotate(queue)
        readable = [one for one in map(_read, messages) if one is not None]
        for message in readable:
            self.qos.note(message)
        try:
            self.qos.write()
        except (redis.RedisError, OSError) as error:
            # They are still noted, and the loop's next turn fails at it again; they need not wait for that.
            log.debug("worker.held_not_written_yet", error=str(error))
        for message in readable:
            self.connection._deliver(message.envelope, queue)


def _read(message: bytes) -> Message | None:
    """None of what is no message of Celery's: it is said, and dropped, since a worker could only die of it."""
    try:
        envelope = msgspec.json.decode(message)
        properties = envelope["properties"]
        where = properties["delivery_info"]
        return Message(message, envelope, properties["delivery_tag"], where["exchange"], where["routing_key"])
    except (msgspec.DecodeError, KeyError, TypeError) as error:
        log.error(
            "worker.message_unreadable",
            why=f"{type(error).__name__}: {error}",
            bytes=len(message),
            sha256=hashlib.sha256(message).hexdigest(),
            hint="dropped: something else than beat writes into this environment's queues in Redis",
        )
        return None


def _is_refused(error: redis.ResponseError) -> bool:
    return isinstance(error, redis.exceptions.NoPermissionError) or "unknown command" in str(error).lower()
