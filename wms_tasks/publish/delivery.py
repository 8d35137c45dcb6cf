"""
One message's way to Kafka, as whoever sent it sees it: awaited, or not. Settled by librdkafka's report, or given up.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, field

import structlog
from confluent_kafka import KafkaError, Message

from wms_tasks import metrics

log = structlog.get_logger()


def reason_of(error: KafkaError) -> str:
    """What the metric calls librdkafka's report; that it gave a message up by itself is no broker's refusal."""
    return "timeout" if error.code() == KafkaError._MSG_TIMED_OUT else "refused"


@dataclass(slots=True, eq=False)
class Delivery:
    """
    One message's report. ``error``, ``message`` and ``given_up`` mean something once ``done`` is set; ``abandoned``:
    whoever waited for it has gone, and librdkafka still tries.
    """

    done: threading.Event = field(default_factory=threading.Event)
    error: KafkaError | None = None
    message: Message | None = None
    given_up: bool = False
    abandoned: bool = False

    def report(self, error: KafkaError | None, message: Message) -> None:
        """librdkafka's callback."""
        self.error, self.message = error, message
        self.done.set()
        if self.abandoned and error is None:
            log.info("publish.delivered_after_all", partition=message.partition(), offset=message.offset())

    def give_up(self) -> None:
        """The process is stopping."""
        self.given_up = True
        self.done.set()


@dataclass(slots=True, eq=False, kw_only=True)
class Unawaited(Delivery):
    """
    One that nobody waits for: ``failed`` is called, at most once, when Kafka said no or was not heard in time. Counts
    that itself.
    """

    failed: Callable[[], None]
    ended: Callable[[Delivery], None]

    def report(self, error: KafkaError | None, message: Message) -> None:  # noqa: ARG002 - a callback's signature
        """librdkafka's callback."""
        self.ended(self)
        if error is not None and not self.given_up:
            self._fail(reason_of(error))

    def give_up(self) -> None:
        """The process is stopping."""
        self.given_up = True
        self._fail("stopping")

    def _fail(self, reason: str) -> None:
        metrics.PUBLISH_ERRORS.inc(reason)
        self.failed()
