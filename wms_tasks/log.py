"""
Logging, set up once by each entry point: structlog for our events, the standard library's loggers through the same
form. To stderr, as JSON unless that is a terminal (WMS_LOG_FORMAT), or to WMS_LOG_FILE.

An event is a constant ``noun.verb``; what varies is in its fields. A line of another's logger has the logger's name
for its event in JSON, and its text as ``message``. Secrets of ours are masked in all of it (mask.py).
"""

from __future__ import annotations

import json
import logging
import logging.handlers
import sys
import threading
from typing import Any

import structlog
from structlog.typing import EventDict, Processor, WrappedLogger

from wms_tasks import clock
from wms_tasks.mask import Mask, mask_for, masked
from wms_tasks.settings import Settings

_log = structlog.get_logger()

# Each says with a line for each task what Flower and our own events show better; the first also with a traceback
# for each message that goes back to the queue while we stop. Failures are errors, and stay.
_CHATTY = {
    "celery.app.trace": logging.ERROR,
    "celery.worker.strategy": logging.WARNING,
    "celery.worker.request": logging.WARNING,
    "celery.beat": logging.WARNING,
    # A line for each question to the schema registry.
    "httpx2": logging.WARNING,
}

# At DEBUG, Celery logs each message whole as it hands it to the pool, with the headers of the site. What these say at
# that level is for their own authors.
_NEVER_DEBUG = (
    "celery",
    "kombu",
    "amqp",
    "billiard",
    "multiprocessing",
    "redis",
    "urllib3",
    "requests",
    "httpx2",
    "httpcore2",
    "sentry_sdk",
    "opentelemetry",
)

_LOG_FILE_BYTES = 10_000_000
# What a reader looks for first stands first in a line of JSON.
_FIRST = ("timestamp", "level", "event", "message")


def _shared() -> list[Processor]:
    return [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]


def _for_formatter(logger: Any, name: str, event: EventDict) -> tuple[tuple[EventDict], dict[str, Any]]:
    """As structlog's own, and the exception for whoever else listens at the standard library's loggers: Sentry's."""
    arguments, keywords = structlog.stdlib.ProcessorFormatter.wrap_for_formatter(logger, name, event)
    if event.get("exc_info"):
        return arguments, {**keywords, "exc_info": event["exc_info"]}
    return arguments, dict(keywords)


def _named(logger: WrappedLogger, name: str, event: EventDict) -> EventDict:  # noqa: ARG001 - a processor's signature
    """Whose line it is; of another's, whose words are not constant, that is its event."""
    event["logger"] = event["_record"].name
    if not event["_from_structlog"]:
        event["message"], event["event"] = event["event"], event["logger"]
    return event


class _Masked:
    """A processor: no secret of ours in any field. After the exception has become text."""

    def __init__(self, mask: Mask) -> None:
        self._mask = mask

    def __call__(self, logger: WrappedLogger, name: str, event: EventDict) -> EventDict:  # noqa: ARG002
        """Fields in place; their names are ours."""
        for field, value in event.items():
            event[field] = masked(value, self._mask)
        return event


def _as_json(logger: WrappedLogger, name: str, event: EventDict) -> str:  # noqa: ARG001 - a processor's signature
    first = {field: event.pop(field) for field in _FIRST if field in event}
    return json.dumps({**first, **event}, default=str)


class _LastForm:
    """How this process logs, for `last_words`."""

    is_json = False


_last_form = _LastForm()


def last_words(event: str, **fields: Any) -> bytes:
    """A line for whoever can wait for no lock any more, in the form of the others: to be written to stderr itself."""
    line = {"timestamp": clock.utcnow().isoformat(), "level": "critical", "event": event, **fields}
    text = json.dumps(line) if _last_form.is_json else " ".join(f"{name}={value}" for name, value in line.items())
    return f"{text}\n".encode()


def is_json(settings: Settings) -> bool:
    """Whether lines are JSON: as WMS_LOG_FORMAT says, else wherever stderr is no terminal."""
    if settings.log_format is not None:
        return settings.log_format == "json"
    return not sys.stderr.isatty()


def _form(settings: Settings) -> list[Processor]:
    """From an event, ours or another's, to its line."""
    without_meta = structlog.stdlib.ProcessorFormatter.remove_processors_meta
    whole: list[Processor] = [structlog.processors.format_exc_info, _Masked(mask_for(settings))]
    if is_json(settings):
        return [_named, without_meta, *whole, _as_json]
    colours = settings.log_file is None and sys.stderr.isatty()
    return [without_meta, *whole, structlog.dev.ConsoleRenderer(colors=colours)]


def _handler(settings: Settings) -> logging.Handler:
    if settings.log_file is None:
        return logging.StreamHandler(sys.stderr)
    return logging.handlers.RotatingFileHandler(settings.log_file, maxBytes=_LOG_FILE_BYTES, backupCount=1)


def configure_logging(settings: Settings) -> None:
    """Set level and form for this process; a later call replaces the earlier."""
    _last_form.is_json = is_json(settings)
    structlog.configure(
        processors=[*_shared(), _for_formatter],
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelNamesMapping()[settings.log_level]),
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=True,
    )
    handler = _handler(settings)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(foreign_pre_chain=_shared(), processors=_form(settings)),
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(settings.log_level)
    for name in _NEVER_DEBUG:
        logging.getLogger(name).setLevel(max(logging.INFO, root.level))
    if settings.log_level != "DEBUG":
        for name, level in _CHATTY.items():
            logging.getLogger(name).setLevel(level)


def log_what_python_prints() -> None:
    """Warnings, and exceptions that end a thread or the process, become lines too. For a process of ours alone."""
    logging.captureWarnings(True)
    sys.excepthook = _uncaught
    threading.excepthook = _uncaught_in_thread


def _uncaught(kind: type[BaseException], error: BaseException, traceback: Any) -> None:
    if issubclass(kind, KeyboardInterrupt):
        sys.__excepthook__(kind, error, traceback)
        return
    _log.critical("process.failed", exc_info=(kind, error, traceback))


def _uncaught_in_thread(arguments: threading.ExceptHookArgs) -> None:
    kind, error, traceback, thread = arguments
    if error is None or issubclass(kind, SystemExit):
        return
    _log.error("thread.failed", thread=thread and thread.name, exc_info=(kind, error, traceback))
