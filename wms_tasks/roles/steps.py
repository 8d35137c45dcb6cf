"""
Bootsteps: what our workers start beside Celery's own parts. ``install`` hangs them on the app.

All are worker-level: a consumer's steps are restarted with each loss of the broker, and ours must not notice that.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Collection
from functools import partial
from typing import Any

import click
import msgspec
import structlog
from celery import Celery, bootsteps
from celery.worker.control import inspect_command

from wms_tasks import metrics
from wms_tasks.entry import own_queue, settings_of, worker_uses
from wms_tasks.errors import UsageError, WmsError
from wms_tasks.health import HEALTH
from wms_tasks.health_server import serve_health
from wms_tasks.names import PROBE_QUEUE
from wms_tasks.ready import READY
from wms_tasks.refuse import refuse
from wms_tasks.roles.measure import begin_measuring
from wms_tasks.roles.memory import begin_giving_back, look_less_for_cycles
from wms_tasks.roles.processor import begin_keeping
from wms_tasks.roles.threads import take_over
from wms_tasks.roles.tracebacks import thin_out
from wms_tasks.settings import get_settings
from wms_tasks.stopping import STOPPING

log = structlog.get_logger()

PULSE = "worker"
_PULSE_ALLOWED_SECONDS = 60.0
_AFTER_POOL = ("celery.worker.components:Pool",)


def make_pools(app: Celery) -> None:
    """
    Celery makes its pools of broker connections at the first send, and sets their size after it has made them: of two
    threads that send first at once, one may find them in use, and fails (kombu: "Can't shrink pool when in use").
    In this order the size comes first. Nothing connects yet.
    """
    for pool in (app.pool, app.amqp.producer_pool):
        log.debug("worker.pool_made", connections=pool.limit)


def _green(worker: Any) -> bool:
    return str(worker.pool_cls.__module__).endswith((".gevent", ".eventlet"))


def _check_tls(queues: Collection[str], persist: bool) -> None:
    """What a worker with these queues uses; Redis was looked at when this program began."""
    role, needs = worker_uses(queues, persist=persist)
    try:
        settings_of(role, *needs)
    except WmsError as error:
        refuse(error)


def _waits_for(worker: Any) -> str | None:
    """What keeps it from taking messages; Celery drops a connection as soon as it is lost."""
    if STOPPING.begun():
        return "its end"
    consumer = getattr(worker, "consumer", None)
    consumes = consumer is not None and consumer.connection is not None and consumer.task_consumer is not None
    return None if consumes else "Redis"


def _patched() -> bool:
    monkey = sys.modules.get("gevent.monkey")
    return monkey is not None and bool(monkey.is_module_patched("socket"))


class Manners(bootsteps.StartStopStep):  # type: ignore[misc]
    """
    What every worker of ours does: takes its role's queue unless -Q says otherwise, no gossip, refuses what cannot
    work, says that its loop is alive, and answers /healthz, /readyz and /metrics.
    """

    requires = _AFTER_POOL

    def __init__(self, worker: Any, persist: bool = False, **kwargs: Any) -> None:
        if _green(worker) and not _patched():
            refuse(UsageError("WMS_WORKER_POOL=gevent alone gives a worker that runs nothing; start it with -P gevent"))
        if _green(worker) and persist:
            why = "--persist does not run on gevent, whose hub librdkafka would block; use threads, prefork or solo"
            refuse(UsageError(why))
        # Workers of ours share nothing but queues; gossip and mingle cost a second at each start, and noise on a blip.
        worker.options.update(without_gossip=True, without_mingle=True)
        if not worker.queues_named:
            worker.app.amqp.queues.select([own_queue(persist=persist)])
        _check_tls(worker.app.amqp.queues.consume_from, persist)
        super().__init__(worker, **kwargs)

    def create(self, worker: Any) -> Manners:
        """The step itself is what starts. What a probe needs is imported now, or the first slots would wait for it."""
        thin_out()
        if str(worker.pool_cls.__module__).endswith(".prefork"):
            metrics.BOARD.children.expect()
        if PROBE_QUEUE in worker.app.amqp.queues.consume_from:
            importlib.import_module("wms_tasks.fill.carry")
        return self

    def start(self, worker: Any) -> None:
        """Serve /healthz, /readyz and /metrics; without an event loop, the timer's thread is what can show life."""
        if threads := str(worker.pool_cls.__module__).endswith(".thread"):
            take_over(worker.pool)
        make_pools(worker.app)
        begin_giving_back()
        if PROBE_QUEUE in worker.app.amqp.queues.consume_from:
            # Not where only the persist loop runs: it needs no Redis, and must not be restarted for want of it.
            HEALTH.expect(PULSE, allowed_seconds=_PULSE_ALLOWED_SECONDS)
            READY.expect(PULSE, partial(_waits_for, worker))
            self._begin_publishing()
            look_less_for_cycles()
        if not worker.use_eventloop:
            worker.timer.call_repeatedly(1.0, HEALTH.did, (PULSE,))
        try:
            serve_health(get_settings())
        except WmsError as error:
            refuse(error)
        begin_measuring(get_settings(), *self._roles(worker))
        if threads and self._roles(worker) == [metrics.WORKER] and get_settings().worker_one_processor:
            begin_keeping()

    def _begin_publishing(self) -> None:
        """Not where a pool forks: each child has a producer of its own."""
        if metrics.BOARD.children.folder is None:
            from wms_tasks.publish import publisher

            publisher().begin()

    def _roles(self, worker: Any) -> list[str]:
        probes = PROBE_QUEUE in worker.app.amqp.queues.consume_from
        return [metrics.WORKER] * probes + [metrics.PERSIST] * (worker.persist is not None)

    def register_with_event_loop(self, worker: Any, hub: Any) -> None:  # noqa: ARG002 - Celery's signature
        """Called for each connection to the broker: a loop that has lost it, and hangs, stops saying it lives."""
        hub.call_repeatedly(1.0, HEALTH.did, PULSE)

    def stop(self, worker: Any) -> None:  # noqa: ARG002 - Celery's signature
        """Nothing is left to be healthy."""
        HEALTH.forget(PULSE)
        READY.forget(PULSE)

    terminate = stop


class PersistStep(bootsteps.StartStopStep):  # type: ignore[misc]
    """``--persist``: the loop from Kafka to Postgres in a thread of this worker."""

    requires = _AFTER_POOL
    conditional = True

    def __init__(self, worker: Any, persist: bool = False, **kwargs: Any) -> None:
        worker.persist = None
        self.enabled = persist
        super().__init__(worker, **kwargs)

    def create(self, worker: Any) -> Any:
        """The role, which Celery starts and stops."""
        from wms_tasks.roles.persist import PersistRole

        worker.persist = PersistRole(get_settings())
        return worker.persist


class BeatStep(bootsteps.StartStopStep):  # type: ignore[misc]
    """Beat in a thread of this worker; only `wms run` asks for it."""

    requires = _AFTER_POOL
    conditional = True

    def __init__(self, worker: Any, beat_thread: bool = False, **kwargs: Any) -> None:
        self.enabled = beat_thread
        super().__init__(worker, **kwargs)

    def create(self, worker: Any) -> Any:
        """The role, which Celery starts and stops."""
        from wms_tasks.roles.beat import BeatRole

        return BeatRole(worker.app)


@inspect_command(help="Assignment, lag, batches and last write of a worker with --persist.")  # type: ignore[untyped-decorator]
def persist_stats(state: Any, **_: Any) -> dict[str, Any]:
    """The figures of `wms_tasks.persist.stats.PersistStats`; ``{}`` from a worker that does not persist."""
    role = state.consumer.controller.persist
    figures: dict[str, Any] = msgspec.to_builtins(role.stats()) if role is not None else {}
    return figures


def install(app: Celery) -> None:
    """Add the steps and the worker's option to the app."""
    app.steps["worker"].update((Manners, PersistStep, BeatStep))
    app.user_options["worker"].add(
        click.Option(["--persist"], is_flag=True, help="Write results from Kafka to Postgres, in a thread of its own.")
    )
