"""
Carries a slot's next step out on Celery: publishes its end, or sends its message again. Called by the probe task.

A message is sent again before its old self is acknowledged, so that a crash in between repeats a step, and loses none.
"""

from __future__ import annotations

import os
import threading
from datetime import timedelta
from functools import lru_cache
from typing import Any, Never

import redis
import structlog
from celery import Task
from celery.exceptions import Ignore, Reject
from kombu.exceptions import OperationalError

from wms_tasks import clock, metrics
from wms_tasks.broker import connect_redis
from wms_tasks.canaries import OFF, parse_canaries
from wms_tasks.errors import NotPublished
from wms_tasks.fill import decide, missed
from wms_tasks.fill.bulkhead import Bulkhead
from wms_tasks.fill.decide import Again, Here, TooLate
from wms_tasks.fill.scope import header, publishing, traced, working_on
from wms_tasks.fill.work import Parts, fill
from wms_tasks.names import PROBE_QUEUE
from wms_tasks.net.agent import user_agent
from wms_tasks.net.fetch import Cancelled
from wms_tasks.net.guard import Guard
from wms_tasks.net.reach import Reach
from wms_tasks.order import NewerOrder, Order, ProbeOrder, read_order
from wms_tasks.polite.network import Network
from wms_tasks.polite.rate import HostTurns
from wms_tasks.polite.robots import Robots
from wms_tasks.polite.store import RedisRobotsStore
from wms_tasks.probe.http import probe, tls_for
from wms_tasks.probe.judge import judge
from wms_tasks.probe.secrets import Secrets
from wms_tasks.publish import DELIVERY_TIMEOUT_SECONDS, publisher
from wms_tasks.ranges import items
from wms_tasks.result import Result
from wms_tasks.settings import Settings, get_settings
from wms_tasks.stopping import STOPPING

log = structlog.get_logger()

# A result in hand is worth this long even where its slot is nearly over: the row still counts. Otherwise half of what
# is left, so that a second try has its time.
_PUBLISH_AT_LEAST_SECONDS = 3.0
_STOPPING_PAUSE_SECONDS = 0.25
_HELD_SLACK_SECONDS = 1.0
# Whose processes run more than one probe at a time.
_POOLS_OF_MANY = frozenset({"threads", "gevent"})


def carry(task: Task, message: dict[str, Any]) -> None:
    """
    Do the slot's next step within this task's run.

    Args:
        message: the order, as beat or a run before this one sent it.
    Raises:
        msgspec.ValidationError: it is no order: FAILURE.
        Reject: the process is stopping, or the broker took no message: the message goes back to the queue as it came.
        Ignore: the message was sent again for a later instant, or nobody may fill the slot any more.
        Retry: sent again because something failed; Redis shows RETRY.
        NotPublished: Kafka had the whole slot and did not confirm: FAILURE.
    """
    if STOPPING.begun():
        # The worker's loop may take it once more before it sees the stop; not at full speed.
        threading.Event().wait(_STOPPING_PAUSE_SECONDS)
        raise Reject("stopping", requeue=True)
    order = read_order(message)
    with working_on(task.request, order):
        _work(task, order)


def _work(task: Task, order: Order) -> None:
    if isinstance(order, NewerOrder):
        _leave(task, order)
    try:
        step = fill(order, _parts(os.getpid()))
    except Cancelled as error:
        raise Reject("stopping", requeue=True) from error
    if isinstance(step, Again):
        _send_again(task, step)
    if isinstance(step, TooLate):
        missed.count(order, "too_late")
        log.warning("probe.too_late")
        _give_up(order, step)
    _end(task, order, step.result)


def _leave(task: Task, order: NewerOrder) -> Never:
    """To a newer worker, as long as there is time for one."""
    step = decide.left_to_newer(order, clock.utcnow())
    _say_too_old(order.why)
    if isinstance(step, Again):
        _resend(task, step)
    missed.count(order, "too_old")
    log.warning("probe.worker_too_old")
    _give_up(order, step)


@lru_cache(maxsize=64)
def _say_too_old(why: str) -> None:
    """Once for each thing that is unknown here: of every order it would fill the log."""
    log.warning("probe.left_to_newer_worker", why=why, hint="run the same release of beat and workers")


def _give_up(order: Order, step: TooLate) -> Never:
    missed.too_late(order, step.reason)
    raise Ignore


def _end(task: Task, order: ProbeOrder, result: Result) -> None:
    left_seconds = (order.expires_at - clock.utcnow()).total_seconds()
    try:
        with publishing(result):
            publisher().publish(result, timeout_seconds=max(_PUBLISH_AT_LEAST_SECONDS, left_seconds / 2))
    except NotPublished as error:
        retries: int = task.request.retries
        again = decide.after_unpublished(order, result, clock.utcnow(), retries=retries)
        if again is None:
            metrics.GIVEN_UP.inc("unpublished")
            log.error(
                "publish.gave_up",
                why=str(error),
                then="written down as missed; should Kafka have it after all, the result takes that row's place",
            )
            missed.not_published(result)
            raise
        _send_again(task, again, error)
    metrics.RESULTS.inc(result.outcome, result.reason)
    log.debug("probe.ended", outcome=result.outcome, reason=result.reason)
    if task.request.retries:
        _forget_retry(task)


def _send_again(task: Task, step: Again, error: Exception | None = None) -> Never:
    if step.is_retry:
        _retry(task, step, error)
    _resend(task, step)


def _retry(task: Task, step: Again, error: Exception | None) -> Never:
    metrics.RETRIES.inc("site" if error is None else "kafka")
    try:
        raise task.retry(
            kwargs={"order": step.order.to_message()},
            exc=error or AttemptFailed(step.why),
            countdown=step.countdown_seconds,
            **_options(step.order),
        )
    except Reject as reject:
        # Celery would drop the message here: it was not sent again, so it must go back as it came.
        raise Reject(reject.reason, requeue=True) from reject


def _resend(task: Task, step: Again) -> Never:
    """The same task, not a retry: no RETRY in Redis, the count of retries as it was."""
    try:
        task.apply_async(
            kwargs={"order": step.order.to_message()},
            task_id=task.request.id,
            retries=task.request.retries,
            eta=clock.utcnow() + timedelta(seconds=step.countdown_seconds),
            expires=step.order.expires_at,
            **_options(step.order),
        )
    except (OperationalError, redis.RedisError, OSError) as error:
        raise Reject(f"not sent again: {error}", requeue=True) from error
    raise Ignore


def _options(order: Order) -> dict[str, Any]:
    return {"queue": PROBE_QUEUE, "argsrepr": order.shown(), "kwargsrepr": "{}", **header()}


def _forget_retry(task: Task) -> None:
    """The slot ended well, so its RETRY must not go on saying otherwise until it expires."""
    try:
        task.backend.delete(task.backend.get_key_for_task(task.request.id))
    except (OperationalError, redis.RedisError, OSError) as error:
        log.warning("probe.retry_not_forgotten", error=str(error))


class AttemptFailed(Exception):  # noqa: N818 - says what happened; no fault of ours
    """Why an attempt is repeated; what Redis and Flower show of a RETRY."""


@lru_cache(maxsize=1)
def _parts(pid: int) -> Parts:  # noqa: ARG001 - a forked child needs connections of its own
    settings = get_settings()
    client = connect_redis(settings, retries=1)
    agent = user_agent(settings.user_agent_contact)
    secrets = Secrets(os.environ, settings.secrets_dir)
    networks, ports = items(settings.allow_networks), items(settings.allow_ports)
    # Held before it is begun (a hop), then run, then published.
    overhead_seconds = decide.HOP_SECONDS + DELIVERY_TIMEOUT_SECONDS + _HELD_SLACK_SECONDS
    return Parts(
        here=Here(location=settings.location, worker=settings.worker_name),
        turns=HostTurns(client, settings.key_prefix),
        robots=Robots(RedisRobotsStore(client, settings.key_prefix), user_agent=agent),
        bulkhead=Bulkhead(settings.worker_concurrency if settings.worker_pool in _POOLS_OF_MANY else 1),
        guard=lambda site: Guard(networks + site.allow_networks, ports + site.allow_ports),
        tls=lambda site: tls_for(site, secrets),
        probe=traced(
            lambda site, deadline_seconds, guard: probe(
                site, deadline_seconds=deadline_seconds, user_agent=agent, guard=guard, secrets=secrets
            )
        ),
        judge=judge,
        longest_run_seconds=settings.visibility_timeout_seconds - overhead_seconds,
        network=_network(settings),
    )


def _network(settings: Settings) -> Network | None:
    if settings.canaries == OFF:
        return None
    configured, networks = parse_canaries(settings.canaries), items(settings.allow_networks)
    guard = None if configured else Guard(networks, items(settings.allow_ports))
    return Network(Reach(guard=guard), configured=configured, internal=networks)
