"""
Celery's signals that our processes answer to: logging, the beginning of a stop, forked children, the topic.

`connect` hangs them on Celery's signals, for each entry point. Nothing is decided here.
"""

from __future__ import annotations

import threading
import warnings
from collections.abc import Collection
from typing import Any

import structlog
from celery.exceptions import SecurityWarning
from celery.signals import (
    beat_init,
    celeryd_init,
    setup_logging,
    task_revoked,
    worker_init,
    worker_process_init,
    worker_process_shutdown,
    worker_ready,
    worker_shutting_down,
)

from wms_tasks import sentry, tracing
from wms_tasks.aiven import obtain
from wms_tasks.entry import own_queue, worker_uses
from wms_tasks.errors import ServiceUnavailable, TopicMissingError, WmsError
from wms_tasks.log import configure_logging, log_what_python_prints
from wms_tasks.names import PROBE_TASK
from wms_tasks.refuse import refuse
from wms_tasks.roles import stop
from wms_tasks.roles.beat import on_beat_init
from wms_tasks.roles.broker_wait import say_once
from wms_tasks.settings import get_settings
from wms_tasks.stopping import STOPPING

log = structlog.get_logger()

_ASK_KAFKA_EVERY_SECONDS = 2.0


def _on_setup_logging(**_: Any) -> None:
    """A receiver here is what keeps Celery from setting up its own."""
    configure_logging(get_settings())
    log_what_python_prints()
    sentry.begin(get_settings())
    tracing.begin(get_settings())


def _on_program_init(instance: Any, options: dict[str, Any], **_: Any) -> None:
    """Whether -Q was given is known only here; a worker's steps are made when it has been applied."""
    instance.queues_named = bool(options.get("queues"))
    persist = bool(options.get("persist"))
    _ask_aiven(options.get("queues") or [own_queue(persist=persist)], persist)
    sentry.begin(get_settings())  # before tasks have their tracers


def _ask_aiven(queues: Collection[str], persist: bool) -> None:
    """Before logging is set up, which masks what is secret in the settings, and before the steps, which use them."""
    role, needs = worker_uses(queues, persist=persist)
    try:
        obtain(get_settings(), role, *needs)
    except WmsError as error:
        refuse(error)


def _on_worker_init(**_: Any) -> None:
    stop.BELL.hang()


def _on_child(**_: Any) -> None:
    stop.BELL.listen()


def _on_child_end(**_: Any) -> None:
    tracing.end()


def _on_shutting_down(sig: str = "a signal", **_: Any) -> None:
    stop.begin(sig)


def _on_ready(**_: Any) -> None:
    threading.Thread(target=_look_for_topic, name="look-for-topic", daemon=True).start()


def _on_revoked(sender: Any, request: Any = None, expired: bool = False, **_: Any) -> None:
    if expired and getattr(sender, "name", None) == PROBE_TASK:
        from wms_tasks.fill import missed

        missed.expired(request)


def connect() -> None:
    """Answer to Celery's signals from now on; once in a process, but more does no harm."""
    # Celery warns root of pickled messages in six lines; none is accepted here, and containers are often root.
    warnings.filterwarnings("ignore", category=SecurityWarning)
    setup_logging.connect(_on_setup_logging)
    celeryd_init.connect(_on_program_init)
    worker_init.connect(_on_worker_init)
    worker_process_init.connect(_on_child)
    worker_process_shutdown.connect(_on_child_end)
    worker_shutting_down.connect(_on_shutting_down)
    worker_ready.connect(_on_ready)
    task_revoked.connect(_on_revoked)
    beat_init.connect(on_beat_init)
    say_once()


def _look_for_topic() -> None:
    """
    Say in one line, and early, that results will have nowhere to go. Made where the environment may make it.

    Of a Kafka that does not answer, it is asked until it does; that is said once, and once that it is over.
    """
    from wms_tasks.topic import ensure_topic

    waiting = False
    while not STOPPING.begun():
        try:
            ensure_topic(get_settings())
        except TopicMissingError as error:
            log.error("topic.missing", problem=str(error))
        except ServiceUnavailable as error:
            if not waiting:
                log.warning("topic.waiting_for_kafka", why=str(error))
            waiting = True
            threading.Event().wait(_ASK_KAFKA_EVERY_SECONDS)
            continue
        if waiting:
            log.info("topic.kafka_is_back")
        return
