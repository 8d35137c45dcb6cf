"""Slots filled as a worker fills them, on a real Redis and real servers, without Celery and Kafka."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import redis

from tests.guards import ON_LOOPBACK
from wms_tasks import clock
from wms_tasks.fill.bulkhead import Bulkhead
from wms_tasks.fill.decide import End, Here
from wms_tasks.fill.work import Parts, fill
from wms_tasks.order import ProbeOrder
from wms_tasks.polite.rate import HostTurns
from wms_tasks.polite.robots import Robots
from wms_tasks.polite.store import RedisRobotsStore
from wms_tasks.probe.http import probe, tls_for
from wms_tasks.probe.judge import judge
from wms_tasks.probe.secrets import NO_SECRETS, Secrets
from wms_tasks.result import Result
from wms_tasks.sites.record import Site, site_id_for

PREFIX = "wms:test:"
AGENT = "wms/0.1.0 (+x)"


def worker(client: redis.Redis, secrets: Secrets = NO_SECRETS, **parts: Any) -> Parts:
    """A worker's parts; of two of them only Redis is common."""
    made: dict[str, Any] = {
        "here": Here(location="local", worker="w"),
        "turns": HostTurns(client, PREFIX),
        "robots": Robots(RedisRobotsStore(client, PREFIX), user_agent=AGENT),
        "bulkhead": Bulkhead(16),
        "guard": lambda _: ON_LOOPBACK,
        "tls": lambda site: tls_for(site, secrets),
        "probe": lambda site, deadline_seconds, guard: probe(
            site, deadline_seconds=deadline_seconds, user_agent=AGENT, guard=guard, secrets=secrets
        ),
        "judge": judge,
        "longest_run_seconds": 30.0,
    }
    return Parts(**(made | parts))


def slot(url: str, *, seconds: float = 60.0, **spec: Any) -> ProbeOrder:
    """A slot of a site of its own, due now."""
    now, name = clock.utcnow(), str(spec.pop("name", url))
    fields = {"robots": "ignore", "spacing_seconds": 0.001, "retries": 0, "interval_seconds": seconds, **spec}
    site = Site(site_id=site_id_for(name), name=name, url=url, **fields)
    return ProbeOrder(site=site, scheduled_at=now, due_at=now, expires_at=now + timedelta(seconds=seconds))


def ended(order: ProbeOrder, parts: Parts) -> Result:
    """The slot's result, where its next step is its end."""
    step = fill(order, parts)
    assert isinstance(step, End), step
    return step.result
