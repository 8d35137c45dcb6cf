"""Orders sent as beat sends them, and what is left of them in Redis."""

from __future__ import annotations

import base64
import json
from datetime import timedelta
from typing import Any, cast

import redis

from wms_tasks import clock
from wms_tasks.app import app_for
from wms_tasks.names import PROBE_QUEUE, PROBE_TASK
from wms_tasks.order import ProbeOrder
from wms_tasks.settings import Settings
from wms_tasks.sites.record import Site, site_id_for


def order_for(name: str, url: str, *, seconds: float = 60.0, **spec: Any) -> ProbeOrder:
    """A slot that is due now."""
    now = clock.utcnow()
    fields = {"robots": "ignore", "spacing_seconds": 0.001, "interval_seconds": seconds, **spec}
    site = Site(site_id=site_id_for(name), name=name, url=url, **fields)
    return ProbeOrder(site=site, scheduled_at=now, due_at=now, expires_at=now + timedelta(seconds=seconds))


def send(settings: Settings, order: ProbeOrder | dict[str, Any], *, task_id: str) -> None:
    """Put it into the queue."""
    message = order.to_message() if isinstance(order, ProbeOrder) else order
    expires = order.expires_at if isinstance(order, ProbeOrder) else None
    app = app_for(settings)
    with app.connection_for_write() as connection:
        app.send_task(
            PROBE_TASK,
            kwargs={"order": message},
            task_id=task_id,
            queue=PROBE_QUEUE,
            expires=expires,
            argsrepr=order.shown() if isinstance(order, ProbeOrder) else "()",
            kwargsrepr="{}",
            producer=app.amqp.Producer(connection),
        )


class Left:
    """What Redis holds for an environment."""

    def __init__(self, settings: Settings) -> None:
        self._client = redis.Redis.from_url(settings.broker_url)
        self._prefix = settings.key_prefix
        self._empty_reads = 0

    def state(self, task_id: str) -> str | None:
        """The state Celery keeps of a task; None where it keeps none."""
        raw = self._client.get(f"{self._prefix}celery-task-meta-{task_id}")
        return None if raw is None else str(json.loads(raw)["status"])

    def ttl_seconds(self, task_id: str) -> int:
        """How long that stays."""
        return int(self._client.ttl(f"{self._prefix}celery-task-meta-{task_id}"))

    def queued(self) -> int:
        """Messages in the probe queue."""
        return int(self._client.llen(f"{self._prefix}{PROBE_QUEUE}"))

    def empty(self) -> bool:
        """
        Whether nothing is left, for one look after another: a message on its way from the queue to a worker is nowhere
        for a moment, and one that is sent again may be counted in neither place if they are read apart.
        """
        with self._client.pipeline(transaction=True) as both:
            queued, held = both.llen(f"{self._prefix}{PROBE_QUEUE}").hlen(f"{self._prefix}unacked").execute()
        self._empty_reads = self._empty_reads + 1 if queued == held == 0 else 0
        return self._empty_reads >= 10

    def unacknowledged(self) -> int:
        """Messages that a worker holds."""
        return int(self._client.hlen(f"{self._prefix}unacked"))

    def waiting_orders(self) -> list[dict[str, Any]]:
        """The orders in the probe queue, as they are in it."""
        raw = cast(list[bytes], self._client.lrange(f"{self._prefix}{PROBE_QUEUE}", 0, -1))
        return [json.loads(base64.b64decode(json.loads(one)["body"]))[1]["order"] for one in raw]
