"""
Faults of ours to Sentry, where WMS_SENTRY_DSN names one: what we or Celery log as an error, and tasks that fail.

A site that is down is a result and never comes here; nor do retries, messages that go back to the queue, and what a
task declares in ``throws``. Nothing of Sentry's is imported without a DSN. Begun by roles/hooks.py.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

from wms_tasks import clock
from wms_tasks.mask import Mask, mask_for, masked
from wms_tasks.settings import Settings

if TYPE_CHECKING:
    from sentry_sdk.types import Breadcrumb, BreadcrumbHint, Event, Hint

# One event of a kind in this time, with how many there were: in an outage each slot may end with the same error.
EVERY_SECONDS = 60.0
# What a stop waits for events that are on their way; well below the watchdog's time.
FLUSH_SECONDS = 1.5
# Told by the event before it, of which these are the details.
_DETAILS = frozenset({"sites.problem"})
# Redis went while a message was given back to it: it comes again after the visibility timeout, and a warning tells that
# Redis is away.
_REDIS_AWAY = frozenset(
    {
        "celery.worker.request: Couldn't ack %r, reason:%r",
        "celery.worker.request: Couldn't reject %r, reason: %r",
        "celery.worker.consumer.consumer: Couldn't reject %r, reason: %r",
    }
)
# A collector of spans that is away is no fault of ours; Sentry does not report on itself.
_IGNORED_LOGGERS = ("opentelemetry.*", "sentry_sdk.*")
_NOT_FIELDS = frozenset({"event", "level", "timestamp", "exc_info"})
_WITH_TEXTS = ("logentry", "exception", "threads", "extra", "tags")

_lock = threading.Lock()
_flush: Callable[[float], None] | None = None


def begin(settings: Settings) -> None:
    """Report from now on; without a DSN, never. Before Celery makes its tasks' tracers; only the first call counts."""
    global _flush  # noqa: PLW0603 - one client for a process, as Sentry has it
    if settings.sentry_dsn is None:
        return
    with _lock:
        if _flush is None:
            _flush = _begin(settings, settings.sentry_dsn)


def flush(timeout_seconds: float = FLUSH_SECONDS) -> None:
    """Wait for what is on its way; at once where nothing is."""
    if _flush is not None:
        _flush(timeout_seconds)


def _begin(settings: Settings, dsn: str) -> Callable[[float], None]:
    import sentry_sdk
    from sentry_sdk.integrations.atexit import AtexitIntegration
    from sentry_sdk.integrations.celery import CeleryIntegration
    from sentry_sdk.integrations.dedupe import DedupeIntegration
    from sentry_sdk.integrations.logging import LoggingIntegration, ignore_logger

    editor = Editor(mask_for(settings))
    sentry_sdk.init(
        dsn=dsn,
        release=f"wms-tasks@{version('wms-tasks')}",
        environment=settings.env,
        server_name=settings.worker_name,
        # The usual ones note each request to a site with its query, what Redis is told, and our arguments.
        default_integrations=False,
        auto_enabling_integrations=False,
        integrations=[
            LoggingIntegration(level=logging.INFO, event_level=logging.ERROR),
            # No headers in our messages, and none of beat's schedule.
            CeleryIntegration(propagate_traces=False, monitor_beat_tasks=False),
            DedupeIntegration(),
            AtexitIntegration(callback=lambda *_: None),
        ],
        send_default_pii=False,
        include_local_variables=False,
        max_request_body_size="never",
        max_breadcrumbs=30,
        auto_session_tracking=False,
        spotlight=False,
        shutdown_timeout=FLUSH_SECONDS,
        before_send=editor.event,
        before_breadcrumb=editor.breadcrumb,
    )
    for name in _IGNORED_LOGGERS:
        ignore_logger(name)
    # The global one: threads of ours have scopes of their own.
    sentry_sdk.get_global_scope().set_tag("location", settings.location)
    return lambda timeout_seconds: sentry_sdk.flush(timeout=timeout_seconds)


class Limiter:
    """Lets one of a kind through in `EVERY_SECONDS`, and counts the others. Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._until: dict[tuple[str, ...], float] = {}
        self._held: dict[tuple[str, ...], int] = {}

    def held_before(self, kind: tuple[str, ...]) -> int | None:
        """How many were held back since the last that went; None: so is this one."""
        now = clock.monotonic()
        with self._lock:
            if now < self._until.get(kind, now):
                self._held[kind] = self._held.get(kind, 0) + 1
                return None
            self._until[kind] = now + EVERY_SECONDS
            return self._held.pop(kind, 0)


class Editor:
    """What leaves: grouped by event and exception, without arguments of tasks, with secrets masked."""

    def __init__(self, mask: Mask) -> None:
        self._mask = mask
        self._limiter = Limiter()

    def event(self, event: Event, hint: Hint) -> Event | None:
        """Sentry's ``before_send``; None: it is not sent."""
        record: logging.LogRecord | None = hint.get("log_record")
        name = _from_log(event, record) if record is not None else _from_task(event)
        if name in _DETAILS | _REDIS_AWAY:
            return None
        kind = (name, _exception_of(event))
        held_before = self._limiter.held_before(kind)
        if held_before is None:
            return None
        event["fingerprint"] = list(kind)
        event.setdefault("tags", {})["event"] = name
        if held_before:
            event.setdefault("extra", {})["held_before"] = held_before
        for part in _WITH_TEXTS:
            if part in event:
                event[part] = masked(event[part], self._mask)  # type: ignore[literal-required]
        return event

    def breadcrumb(self, crumb: Breadcrumb, hint: BreadcrumbHint) -> Breadcrumb | None:
        """Sentry's ``before_breadcrumb``: of ours the event and its fields, of others their words."""
        record: logging.LogRecord | None = hint.get("log_record")
        if record is None:
            return None
        if isinstance(record.msg, dict):
            crumb["message"], crumb["data"] = record.msg["event"], _fields(record.msg)
        else:
            crumb.pop("data", None)  # Celery's have the task's arguments
        for part in ("message", "data"):
            if part in crumb:
                crumb[part] = masked(crumb[part], self._mask)
        return crumb


def _from_log(event: Event, record: logging.LogRecord) -> str:
    """Its name. Of ours the constant event, of others the logger and the words before their arguments."""
    if isinstance(record.msg, dict):
        name = str(record.msg["event"])
        event["logentry"] = {"message": name}
        event["extra"] = _fields(record.msg)
        return name
    event["logentry"] = {"message": str(record.msg), "formatted": record.getMessage()}
    event.pop("extra", None)
    return f"{record.name}: {record.msg}"


def _from_task(event: Event) -> str:
    """The task that failed; its arguments, which are a site's spec, stay here."""
    job = event.get("extra", {}).pop("celery-job", None)
    return str(job.get("task_name")) if isinstance(job, dict) else "exception"


def _fields(event: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in event.items() if name not in _NOT_FIELDS}


def _exception_of(event: Event) -> str:
    values = event.get("exception", {}).get("values") or [{}]
    return str(values[-1].get("type", "no exception"))
