"""
The producer of a process, and the thread that polls it for delivery reports (a greenlet under gevent, where a blocking
poll would freeze the worker). Used by publisher.py, which makes a new one when this one is dead.
"""

from __future__ import annotations

import sys
import threading
from typing import Any

import structlog
from confluent_kafka import KafkaError, KafkaException, Producer

from wms_tasks import tls, tracing
from wms_tasks.codec.wire import WireWriter
from wms_tasks.publish.delivery import Delivery
from wms_tasks.result import Result
from wms_tasks.settings import Settings
from wms_tasks.topic import CONNECTIONS, LibrdkafkaLog

log = structlog.get_logger()

# Kafka's own limit on a delivery, retries included: well below the visibility timeout, after which another worker
# gets the slot, and short enough that a slot of a minute can try again. librdkafka's default holds a thread 5 minutes.
DELIVERY_TIMEOUT_SECONDS = 8.0
_POLL_SECONDS = 1.0
_GREEN_POLL_SECONDS = 0.005


def _under_gevent() -> bool:
    monkey = sys.modules.get("gevent.monkey")
    return monkey is not None and bool(monkey.is_module_patched("threading"))


def producer_config(settings: Settings) -> dict[str, Any]:
    """librdkafka's configuration; ``enable.idempotence`` implies acks=all and keeps the order."""
    return {
        "bootstrap.servers": settings.kafka_bootstrap_servers,
        "client.id": f"wms-probe-{settings.worker_name}",
        "enable.idempotence": True,
        "linger.ms": 30,
        "compression.type": "lz4",
        "delivery.timeout.ms": int(DELIVERY_TIMEOUT_SECONDS * 1000),
        # A broker that takes our bytes and never answers: its connection is given up after this, by its first request.
        "request.timeout.ms": 5000,
        **CONNECTIONS,
        "allow.auto.create.topics": False,
        # Results waiting in memory are bounded by the tasks that wait for them; this only names the bound.
        "queue.buffering.max.kbytes": 64 * 1024,
        **tls.kafka(settings),
        "logger": LibrdkafkaLog(),
    }


def _trace() -> list[tuple[str, bytes]]:
    """The header of the span around the sending, where traces are made."""
    header = tracing.header()
    return [] if header is None else [(tracing.HEADER, header.encode())]


class Client:
    """A producer and what polls it. ``dead`` once librdkafka says that nothing can be sent any more."""

    def __init__(self, settings: Settings, wire: WireWriter) -> None:
        self.dead = False
        self._wire = wire
        self.producer = Producer({**producer_config(settings), "error_cb": self._on_error})
        self._green = _under_gevent()
        self._closing = threading.Event()
        self._waiting = threading.Event()
        threading.Thread(target=self._poll, name="kafka-deliveries", daemon=True).start()

    def send(self, topic: str, result: Result, delivery: Delivery) -> None:
        """
        Hand it over; the delivery hears from the polling thread.

        Raises:
            BufferError: too many wait already.
            KafkaException: it is refused at once, or the producer is dead.
            RegistryAway: the schema's id is not known yet.
        """
        value, headers = self._wire.encode(result)
        self.producer.produce(
            topic,
            value=value,
            key=str(result.site_id),
            headers=[*headers, *_trace()],
            on_delivery=delivery.report,
        )
        self._waiting.set()

    def close(self) -> None:
        """End the polling."""
        self._closing.set()
        self._waiting.set()

    def _on_error(self, error: KafkaError) -> None:
        if error.fatal():
            self.dead = True
            log.error("publish.producer_died", error=str(error))

    def _poll(self) -> None:
        while not self._closing.is_set():
            try:
                if self._green:
                    self._poll_green()
                else:
                    self.producer.poll(_POLL_SECONDS)
            except KafkaException as error:
                # How some fatal errors come, as of a user without rights. What waits has its reports after it.
                self._on_error(error.args[0])
                self._closing.wait(_GREEN_POLL_SECONDS)

    def _poll_green(self) -> None:
        """Poll without blocking, and only while something is on its way: otherwise wait for that."""
        self.producer.poll(0)
        if len(self.producer) == 0:
            self._waiting.clear()
            self._waiting.wait(_POLL_SECONDS)
        else:
            self._closing.wait(_GREEN_POLL_SECONDS)
