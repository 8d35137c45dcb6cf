"""
What no event tells is looked at every few seconds by one thread of each process that serves /metrics: the queues, our
clock against Redis', the schema and the space of the database. Every process looks, since those who are left must see
what the dead one leaves.

Nothing here says in the log that Redis or Postgres is away: those who work with them do. What is not known is absent.
"""

from __future__ import annotations

import base64
import binascii
import json
import threading
from collections.abc import Callable, Iterable
from datetime import datetime, timedelta

import redis
import structlog

from wms_tasks import clock, metrics
from wms_tasks.broker import connect_redis
from wms_tasks.names import HOUSEKEEPING_QUEUE, PROBE_QUEUE
from wms_tasks.settings import Settings

log = structlog.get_logger()

EVERY_SECONDS = 5.0
STORE_EVERY_SECONDS = 60.0
_EXACT_WITHIN_SECONDS = 0.2
_QUEUES = (PROBE_QUEUE, HOUSEKEEPING_QUEUE)


def ready_at(message: bytes) -> datetime | None:
    """
    Since when a worker could have begun a message of ours: its due time, its turn or its eta, whichever is latest.

    None for what is no message of ours.
    """
    try:
        whole = json.loads(message)
        headers = whole["headers"]
        order = json.loads(base64.b64decode(whole["body"]))[1].get("order")
        if order is not None:
            found = [order["due_at"], order.get("turn_at"), headers.get("eta")]
            return max(datetime.fromisoformat(one) for one in found if one is not None)
        # Beat's own ids end in their slot's microseconds.
        return clock.from_microseconds(int(headers["id"].rpartition(".")[2]))
    except (ValueError, TypeError, KeyError, LookupError, AttributeError, OverflowError, binascii.Error):
        return None


def look_at_queues(client: redis.Redis, key_prefix: str) -> None:
    """Lengths, ages, what is unacknowledged, and what time Redis has, in one round trip."""
    try:
        asked_at, began = clock.utcnow(), clock.monotonic()
        with client.pipeline(transaction=False) as pipe:
            pipe.time()
            pipe.hlen(f"{key_prefix}unacked")
            for queue in _QUEUES:
                pipe.llen(f"{key_prefix}{queue}")
                pipe.lindex(f"{key_prefix}{queue}", -1)
            answers = pipe.execute()
    except (redis.RedisError, OSError):
        for gauge in (metrics.CLOCK_OFFSET, metrics.UNACKNOWLEDGED, metrics.QUEUE_MESSAGES, metrics.QUEUE_OLDEST):
            gauge.replace({})
        return
    elapsed_seconds = clock.monotonic() - began
    (seconds, microseconds), unacknowledged, *each = answers
    now = asked_at + timedelta(seconds=elapsed_seconds / 2)
    # Redis answered somewhere within the round trip; one that also made the connection would tell nothing.
    if elapsed_seconds <= _EXACT_WITHIN_SECONDS:
        redis_now = clock.from_microseconds(seconds * 1_000_000 + microseconds)
        metrics.CLOCK_OFFSET.set((now - redis_now).total_seconds())
    metrics.UNACKNOWLEDGED.set(unacknowledged)
    _show_queues(zip(_QUEUES, each[::2], each[1::2], strict=True), now)


def _show_queues(found: Iterable[tuple[str, int, bytes | None]], now: datetime) -> None:
    lengths: dict[tuple[str, ...], float] = {}
    ages: dict[tuple[str, ...], float] = {}
    for queue, length, oldest in found:
        lengths[(queue,)] = length
        since = now if oldest is None else ready_at(oldest)
        if since is not None:
            ages[(queue,)] = max(0.0, (now - since).total_seconds())
    metrics.QUEUE_MESSAGES.replace(lengths)
    metrics.QUEUE_OLDEST.replace(ages)


class _Measuring:
    """The thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._started = False
        self._roles: frozenset[str] = frozenset()
        self._also: list[Callable[[], None]] = []

    def also(self, look: Callable[[], None]) -> None:
        self._also.append(look)

    def begin(self, settings: Settings, *roles: str) -> None:
        with self._lock:
            self._roles |= frozenset(roles)
            metrics.BOARD.show(metrics.EVERY, *roles)
            if self._started or settings.metrics_port is None:
                return
            self._started = True
        threading.Thread(target=self._run, args=(settings,), name="measure", daemon=True).start()

    def _run(self, settings: Settings) -> None:
        client = connect_redis(settings)
        pause = threading.Event()
        store_at = float("-inf")
        while True:
            try:
                look_at_queues(client, settings.key_prefix)
                if metrics.PERSIST in self._roles and clock.monotonic() >= store_at:
                    # At the start there is no schema yet, or no partition: the next look comes soon.
                    store_at = clock.monotonic() + (STORE_EVERY_SECONDS if self._look_at_store(settings) else 0)
                for look in self._also:
                    look()
            except Exception:  # the thread must outlive whatever a service answers; what it counts is no slot
                log.exception("measure.failed")
            pause.wait(EVERY_SECONDS)

    def _look_at_store(self, settings: Settings) -> bool:
        # Imported by the role that has a database only: for the others it would be 9 MB that they never use.
        from wms_tasks.roles.measure_store import look_at_schema, look_at_space

        look_at_schema(settings)
        return look_at_space(settings)


_MEASURING = _Measuring()


def also_every_few_seconds(look: Callable[[], None]) -> None:
    """Call that too, in the thread that measures; it must not take long."""
    _MEASURING.also(look)


def begin_measuring(settings: Settings, *roles: str) -> None:
    """Show the metrics of these roles from now on, and look at what no event tells where somebody can ask for it."""
    _MEASURING.begin(settings, *roles)
