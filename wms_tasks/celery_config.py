"""
Celery's configuration, made from our settings when Celery first looks at it: ``wms --help`` never does.

Each value that differs from Celery's default says why. Only app.py names this module.
"""

from __future__ import annotations

from typing import Any

from kombu import Exchange, Queue

from beat_schedule import BEAT_SCHEDULE
from wms_tasks import tls
from wms_tasks.broker import SPARE_CONNECTIONS
from wms_tasks.names import HOUSEKEEPING_QUEUE, PROBE_QUEUE, PROBE_TASK
from wms_tasks.settings import Settings, get_settings


def _transport_options(settings: Settings) -> dict[str, Any]:
    return {
        # Queues, unacknowledged messages, results, events and the control mailbox of an environment stay its own.
        "global_keyprefix": settings.key_prefix,
        "visibility_timeout": settings.visibility_timeout_seconds,
        # kombu sweeps for abandoned messages every interval * throttle seconds; 10 * 10 would be late for most slots.
        "unacked_restore_interval": 5,
        "unacked_restore_throttle": 1,
        # Who sweeps holds a lock, for 300 s if he is killed at it, and nobody else sweeps meanwhile. That two sweep at
        # once does no harm: each message is moved in a transaction.
        "unacked_mutex_expire": 5,
        # Without a timeout a half-open connection hangs a worker for ever. Longer than BRPOP's second.
        "socket_timeout": 5,
        "socket_connect_timeout": 3,
        "socket_keepalive": True,
        "health_check_interval": 10,
        "max_connections": settings.probes_at_a_time + SPARE_CONNECTIONS,
    }


def _backend_options(settings: Settings) -> dict[str, Any]:
    return {
        "global_keyprefix": settings.key_prefix,
        "visibility_timeout": settings.visibility_timeout_seconds,
        # Storing RETRY or FAILURE is worth a moment, not a thread: the slot does not depend on it.
        "retry_policy": {"timeout": 3.0, "max_retries": 2, "interval_start": 0.1, "interval_step": 0.2},
    }


def _tls(settings: Settings) -> dict[str, Any]:
    """Beside the url, since kombu would take its parameters instead of the rest, and Celery knows four of them."""
    _, options = tls.redis(settings)
    return {"broker_use_ssl": options, "redis_backend_use_ssl": options} if options else {}


def _broker(settings: Settings) -> dict[str, Any]:
    return {
        "broker_url": tls.redis(settings)[0],
        "broker_transport": "wms_tasks.broker:Transport" if settings.broker_transport == "wms" else None,
        "broker_transport_options": _transport_options(settings),
        "broker_pool_limit": settings.probes_at_a_time,
        # Celery's 100 tries end a worker, and the Kafka loop in it, after a long outage.
        "broker_connection_max_retries": None,
        "broker_connection_retry_on_startup": True,
        "broker_connection_timeout": 3,
    }


def _results(settings: Settings) -> dict[str, Any]:
    return {
        "result_backend": tls.redis(settings)[0],
        "result_backend_transport_options": _backend_options(settings),
        # One backend for all threads, instead of one for each: half of a task's cost.
        "result_backend_thread_safe": True,
        "redis_max_connections": settings.probes_at_a_time + SPARE_CONNECTIONS,
        "redis_socket_timeout": 3,
        "redis_socket_connect_timeout": 3,
        "redis_socket_keepalive": True,
        "redis_backend_health_check_interval": 10,
        # What a task returns is nothing; that it was retried or failed is kept, and seen in Flower.
        "task_ignore_result": True,
        "task_store_errors_even_if_ignored": True,
        "result_expires": settings.result_expires_seconds,
        "result_failure_expires": settings.result_expires_seconds,
    }


def _tasks(settings: Settings) -> dict[str, Any]:
    return {
        "task_queues": [Queue(name, Exchange(name), routing_key=name) for name in (PROBE_QUEUE, HOUSEKEEPING_QUEUE)],
        "task_default_queue": PROBE_QUEUE,
        "task_create_missing_queues": False,
        "task_serializer": "json",
        "result_serializer": "json",
        "accept_content": ["json"],
        "result_accept_content": ["json"],
        # A message leaves Redis when its slot is done, not when it is begun.
        "task_acks_late": True,
        # A prefork child that dies gives its slot back instead of acknowledging it.
        "task_retry_on_worker_lost": settings.worker_pool == "prefork",
        # None of the message's sent events: with them each send costs beat twice.
        "task_send_sent_event": False,
        "task_annotations": {PROBE_TASK: {"rate_limit": settings.worker_rate_limit}},
    }


def _worker(settings: Settings) -> dict[str, Any]:
    return {
        "imports": ["wms_tasks.tasks"],
        "worker_consumer": "wms_tasks.roles.consumer:Consumer",
        "worker_pool": settings.worker_pool,
        "worker_concurrency": settings.probes_at_a_time,
        "worker_prefetch_multiplier": 1,
        "worker_send_task_events": True,
        "worker_hijack_root_logger": False,
        "worker_redirect_stdouts": False,
        # Celery's own cancelling on a lost connection needs a pool that can kill; threads cannot. The slot's identity
        # makes a second run harmless.
        "worker_cancel_long_running_tasks_on_connection_loss": False,
        "timezone": "UTC",
        "enable_utc": True,
        "beat_scheduler": "wms_tasks.schedule.scheduler:SiteScheduler",
        "beat_max_loop_interval": 1,
        "beat_schedule": BEAT_SCHEDULE,
    }


def configuration(settings: Settings) -> dict[str, Any]:
    """Celery's settings by Celery's names, for these settings of ours."""
    return {**_broker(settings), **_tls(settings), **_results(settings), **_tasks(settings), **_worker(settings)}


def __getattr__(name: str) -> Any:
    """``CURRENT``: the configuration for this process's settings, read now. Celery asks for it by that name, once."""
    if name != "CURRENT":
        raise AttributeError(name)
    return configuration(get_settings())
