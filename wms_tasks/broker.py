"""
The Redis transport that Celery runs on, and our own clients of the same Redis. Named by ``celery_config``.

Stock kombu 5.7.0 makes a Redis client for each acknowledgement, which is half of a task's cost, and lets a worker
that holds an unacknowledged message exit when Redis restarts. ``WMS_BROKER_TRANSPORT=stock`` takes it all the same.
"""

from __future__ import annotations

from typing import Any

import redis
from kombu.transport import redis as kombu_redis
from kombu.utils.json import dumps
from redis.backoff import NoBackoff
from redis.retry import Retry

from wms_tasks import tls
from wms_tasks.held import Held
from wms_tasks.settings import Settings
from wms_tasks.taking import Taking

# One more try covers a connection that died idle; redis-py's own three would make a silent Redis cost four timeouts.
_ONE_MORE_TRY = 1
# Beyond what the pool's threads use: the consumer's own, the control mailbox and the sweep of unacknowledged messages.
SPARE_CONNECTIONS = 20
# redis-py gives each connection a buffer of 64 KiB to read into, and a worker has a hundred of them after a burst. What
# Redis answers us is a few bytes; a longer answer is read in several steps.
_READ_BYTES = 4096


class Channel(Taking):
    """
    A channel with one client. redis-py clients are safe to share between threads: each command takes a connection
    of the pool; only BRPOP and LISTEN keep theirs, on clients of their own (``asynchronous=True``).
    """

    QoS = Held

    #: Transport option: how often a command is tried again on a new connection.
    client_retries = _ONE_MORE_TRY

    from_transport_options = (*kombu_redis.Channel.from_transport_options, "client_retries")

    _shared: redis.Redis | None = None

    def _create_client(self, asynchronous: bool = False) -> redis.Redis:
        if asynchronous:
            return super()._create_client(asynchronous=True)  # type: ignore[no-any-return]
        # Forking and closing drop the pool; a client of the old one must not outlive it.
        if self._shared is None or self._shared.connection_pool is not self.pool:
            self._shared = super()._create_client()
        return self._shared

    def close(self) -> None:
        """
        What was held goes back after kombu has dropped the channel's pool, over another one: that goes too. Left to the
        garbage collector, each connection that a worker loses would keep one more open.
        """
        try:
            super().close()
        finally:
            self._disconnect_pools()

    def _put(self, queue: str, message: dict[str, Any], **options: Any) -> None:
        """
        What waits for an instant goes to the queue's head: who takes it holds it until then, and a slot that was begun
        is ended first. Behind a worker's backlog, as kombu puts it, it is too late when it is taken: of the first
        minute of 10,000 sites, most had their robots.txt read and then expired there.
        """
        if "_publish_batch" in options or not message["headers"].get("eta"):
            super()._put(queue, message, **options)
            return
        key = self._q_for_pri(queue, self._get_message_priority(message, reverse=False))
        with self.conn_or_acquire() as client:
            client.rpush(key, dumps(message))

    def _connparams(self, asynchronous: bool = False) -> dict[str, Any]:
        # Closing a lost connection restores its messages, after the connection has forgotten where it pointed. Stock
        # raises AttributeError there, which nobody takes for a lost connection, and the worker exits.
        if getattr(self.connection, "client", None) is None:
            raise redis.exceptions.ConnectionError("the channel's connection is closed")
        # What the event loop polls must fail at once. A retry would connect anew behind its back and wait there for an
        # answer, without a timeout: a worker whose pub/sub connection was reset consumed nothing until the next
        # broadcast came, for minutes, and said nothing.
        made = super()._connparams(asynchronous)
        if asynchronous:
            # The one connection where messages come in, many at a time, keeps its buffer.
            return {**made, "retry": Retry(NoBackoff(), 0)}
        return {**made, "retry": Retry(NoBackoff(), self.client_retries), "socket_read_size": _READ_BYTES}


class Transport(kombu_redis.Transport):  # type: ignore[misc]
    """kombu's Redis transport with our `Channel`; serves ``redis://`` and ``rediss://`` urls."""

    Channel = Channel
    #: The event loop that consumes, where there is one.
    loop: Any = None

    def register_with_event_loop(self, connection: Any, loop: Any) -> None:
        """The loop turns this connection's channels from now on; what they hold is written down each time it does."""
        super().register_with_event_loop(connection, loop)
        self.loop = loop
        loop.on_tick.add(self._write_held)

    def _write_held(self) -> None:
        if self.client is None:
            # The connection was lost, and the loop turns another one's; a note of this one would fail for ever.
            self.loop.on_tick.discard(self._write_held)
            return
        for channel in self.channels or ():
            if channel._qos is not None and not channel.closed:
                channel._qos.write()

    def close_connection(self, connection: Any) -> None:
        """What was held goes back; the loop has no more to do with it."""
        super().close_connection(connection)
        if self.loop is not None:
            self.loop.on_tick.discard(self._write_held)


def connect_redis(settings: Settings, *, timeout_seconds: float = 2.0, retries: int = _ONE_MORE_TRY) -> redis.Redis:
    """
    A client of the broker's Redis for our own keys; connects at the first command, thread-safe.

    A command fails with ``redis.RedisError`` after at most ``(retries + 1) * timeout_seconds`` and a connect. Each
    probe under way may be at one: redis-py refuses the hundred-and-first otherwise (8.0; before, it had no such limit).
    """
    url, options = tls.redis(settings)
    return redis.Redis.from_url(
        url,
        socket_timeout=timeout_seconds,
        socket_connect_timeout=timeout_seconds,
        socket_keepalive=True,
        health_check_interval=10,
        max_connections=settings.probes_at_a_time + SPARE_CONNECTIONS,
        retry=Retry(NoBackoff(), retries),
        socket_read_size=_READ_BYTES,
        **options,
    )
