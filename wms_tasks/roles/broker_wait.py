"""
A worker that waits for Redis says so once, and once that it is over; Celery itself says it every few seconds.

Hung on Celery's loggers by hooks.py, since nothing else tells of a connection that could not be made.
"""

from __future__ import annotations

import logging

import structlog

log = structlog.get_logger()

_FAILS = "consumer: Cannot connect to"
_CONNECTED = "Connected to"
_LOGGERS = ("celery.worker.consumer.consumer", "celery.worker.consumer.connection")


class SaidOnce(logging.Filter):
    """Lets everything through but Celery's repeated line, of which the first becomes an event of ours."""

    def __init__(self) -> None:
        super().__init__()
        self._waiting = False

    def filter(self, record: logging.LogRecord) -> bool:
        """Called for each line of the two loggers, by the worker's main thread."""
        text = str(record.msg)
        if text.startswith(_CONNECTED) and self._waiting:
            self._waiting = False
            log.info("worker.redis_is_back")
        if not text.startswith(_FAILS):
            return True
        if not self._waiting:
            self._waiting = True
            error = record.args[1] if isinstance(record.args, tuple) and len(record.args) > 1 else ""
            log.warning("worker.waiting_for_redis", error=str(error), then="tried again until it is back")
        return False


def say_once() -> None:
    """From now on; more than once does no harm."""
    loggers = [logging.getLogger(name) for name in _LOGGERS]
    if not any(isinstance(one, SaidOnce) for one in loggers[0].filters):
        said_once = SaidOnce()
        for logger in loggers:
            logger.addFilter(said_once)
