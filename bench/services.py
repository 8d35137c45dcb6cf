"""Valkey and Kafka of a benchmark's own, and what came into the topic there."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from typing import Any
from uuid import uuid4

from confluent_kafka import OFFSET_BEGINNING, Consumer, TopicPartition

from tests.ports import free_ports
from wms_tasks.embedded.jars import fetch_jars
from wms_tasks.embedded.kafka import EmbeddedKafka
from wms_tasks.embedded.valkey import EmbeddedValkey
from wms_tasks.settings import Settings

_AT_ONCE = 500


@contextmanager
def services(folder: Path) -> Iterator[tuple[EmbeddedValkey, EmbeddedKafka]]:
    """Both, running, with their data in `folder`."""
    valkey_port, kafka_port, controller_port = free_ports(3)
    valkey = EmbeddedValkey(folder / "valkey", port=valkey_port)
    kafka = EmbeddedKafka(
        folder / "kafka", port=kafka_port, controller_port=controller_port, jars=fetch_jars(Settings())
    )
    with ExitStack() as stack:
        for service in (valkey, kafka):
            service.start()
            stack.callback(service.stop)
        yield valkey, kafka


def environ_of(settings: Settings) -> dict[str, str]:
    """The variables that make a process read `settings`."""
    return {f"WMS_{name.upper()}": str(getattr(settings, name)) for name in sorted(settings.model_fields_set)}


def results(settings: Settings, until: float) -> list[dict[str, Any]]:
    """All that is in the topic, read until this monotonic instant; more than a second's results never wait."""
    consumer = Consumer(
        {
            "bootstrap.servers": settings.kafka_bootstrap_servers,
            "group.id": uuid4().hex,
            "enable.auto.commit": False,
        }
    )
    found = []
    with closing(consumer):
        partitions = consumer.list_topics(settings.topic, timeout=5.0).topics[settings.topic].partitions
        consumer.assign([TopicPartition(settings.topic, one, OFFSET_BEGINNING) for one in partitions])
        messages: list[Any] = []
        while len(messages) == _AT_ONCE or time.monotonic() < until:
            messages = consumer.consume(_AT_ONCE, timeout=1.0)
            found += [json.loads(message.value()) for message in messages if message.error() is None]
    return found
