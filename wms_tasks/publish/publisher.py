"""
A result into Kafka, confirmed: `Publisher.publish` returns when the broker has it, and raises when it may not.

One producer a process, made at the first publish, since librdkafka's threads do not survive a fork. Called by fill.
"""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Callable

import structlog
from confluent_kafka import KafkaException, Message

from wms_tasks import clock, metrics
from wms_tasks.codec.wire import WireWriter
from wms_tasks.errors import NotPublished, RegistryAway
from wms_tasks.publish.delivery import Delivery, Unawaited, reason_of
from wms_tasks.publish.producer import DELIVERY_TIMEOUT_SECONDS, Client
from wms_tasks.result import Result
from wms_tasks.settings import Settings, get_settings

log = structlog.get_logger()

_DELIVERED_SLACK_SECONDS = 1.0
# How often a stop looks whether all has arrived.
_LOOK_SECONDS = 0.005


def _say_delivered(result: Result, message: Message | None) -> None:
    """Kafka has it, and the task is not acknowledged yet: with DEBUG, a log of all that must be found in Kafka."""
    if message is not None and log.is_enabled_for(logging.DEBUG):
        log.debug(
            "publish.delivered",
            key=str(result.site_id),
            location=result.location,
            scheduled_at=result.scheduled_at.isoformat(),
            partition=message.partition(),
            offset=message.offset(),
        )


class Publisher:
    """Publishes results of one process; thread-safe."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._wire = WireWriter(settings)
        self._lock = threading.Lock()
        self._client: Client | None = None
        self._pending: set[Delivery] = set()
        self._away = False

    def begin(self) -> None:
        """
        Connect now, not at the first result: an idempotent producer is ready half a second, or a whole one, after it is
        made. Returns at once; call it after a fork, if there is one.
        """
        self._living()

    def publish(self, result: Result, *, timeout_seconds: float) -> None:
        """
        Return when Kafka has confirmed the result.

        Raises:
            NotPublished: Kafka said no, or nothing within ``timeout_seconds``; it may have the result all the same, or
                get it within `DELIVERY_TIMEOUT_SECONDS`.
        """
        delivery = Delivery()
        began = clock.monotonic()
        self._pending.add(delivery)
        try:
            self._send(result, delivery)
            if not delivery.done.wait(min(timeout_seconds, DELIVERY_TIMEOUT_SECONDS + _DELIVERED_SLACK_SECONDS)):
                delivery.abandoned = True
                why = f"Kafka did not answer within {timeout_seconds:.1f} s; it may have the result, or get it yet"
                raise self._not_published("timeout", why)
        finally:
            self._pending.discard(delivery)
        if delivery.given_up:
            raise self._not_published("stopping", "the process is stopping, and Kafka has not answered yet")
        if delivery.error is not None:
            raise self._not_published(reason_of(delivery.error), f"Kafka: {delivery.error.str()}")
        self._heard()
        metrics.PUBLISH_SECONDS.observe(clock.monotonic() - began)
        _say_delivered(result, delivery.message)

    def publish_soon(self, result: Result, failed: Callable[[], None]) -> None:
        """
        Hand the result over and return at once, for whoever must not wait.

        Args:
            failed: called if Kafka does not take it, perhaps from librdkafka's thread; the result may be there all
                the same.
        """
        delivery = Unawaited(failed=failed, ended=self._pending.discard)
        self._pending.add(delivery)
        try:
            self._send(result, delivery)
        except NotPublished:
            self._pending.discard(delivery)
            failed()

    def hurry(self, timeout_seconds: float) -> int:
        """
        The process is stopping: after this long, whoever still waits for a report stops waiting.

        What nobody waits for any more has the same time to arrive. Returns (and logs) how many messages were
        unconfirmed by then; their slots are sent again, result in hand.
        """
        pause, until = threading.Event(), clock.monotonic() + timeout_seconds
        while (self._pending or self._queued()) and clock.monotonic() < until:
            pause.wait(_LOOK_SECONDS)
        left = list(self._pending)
        for delivery in left:
            delivery.give_up()
        if left:
            log.error("publish.unconfirmed_at_stop", messages=len(left), then="published again by another worker")
        return len(left)

    def close(self) -> None:
        """End the polling; what is unconfirmed by now was given up by `hurry`."""
        with self._lock:
            client, self._client = self._client, None
        if client is not None:
            client.close()

    def _send(self, result: Result, delivery: Delivery) -> None:
        """Hand it to the producer; one that died is made anew, once."""
        for client in (self._living(), None):
            try:
                (client or self._living()).send(self._settings.topic, result, delivery)
            except BufferError as error:
                raise self._not_published("full", "too many results wait for Kafka already") from error
            except RegistryAway as error:
                # It has said so once.
                metrics.PUBLISH_ERRORS.inc("registry")
                raise NotPublished(str(error)) from error
            except KafkaException as error:
                if client is None or not client.dead:
                    raise self._not_published("refused", f"Kafka: {error.args[0].str()}") from error
            else:
                return

    def _not_published(self, reason: str, why: str) -> NotPublished:
        """The error; of many in an outage, the first says that we wait."""
        metrics.PUBLISH_ERRORS.inc(reason)
        with self._lock:
            first, self._away = not self._away, self._away or reason != "stopping"
        if first and reason != "stopping":
            log.warning("publish.waiting_for_kafka", why=why, results="tried again until their slots end")
        return NotPublished(why)

    def _heard(self) -> None:
        """Kafka confirmed a result."""
        if not self._away:
            return
        with self._lock:
            was_away, self._away = self._away, False
        if was_away:
            log.info("publish.kafka_is_back")

    def _queued(self) -> int:
        """How many messages librdkafka has neither delivered nor given up."""
        client = self._client
        return len(client.producer) if client is not None else 0

    def _living(self) -> Client:
        with self._lock:
            if self._client is not None and self._client.dead:
                self._client.close()
                self._client = None
            if self._client is None:
                self._client = Client(self._settings, self._wire)
            return self._client


_publishers: dict[int, Publisher] = {}
_publishers_lock = threading.Lock()


def publisher() -> Publisher:
    """This process's publisher; a forked child gets one of its own."""
    pid = os.getpid()
    with _publishers_lock:
        if pid not in _publishers:
            _publishers[pid] = Publisher(get_settings())
        return _publishers[pid]


def hurry(timeout_seconds: float) -> int:
    """`Publisher.hurry` of this process; 0 where it has published nothing."""
    own = _publishers.get(os.getpid())
    return own.hurry(timeout_seconds) if own is not None else 0
