"""Reads what workers wrote into the results' topic."""

from __future__ import annotations

import json
from typing import Any

from confluent_kafka import Consumer

from wms_tasks.settings import Settings
from wms_tasks.topic import ensure_topic


class Topic:
    """Reads the results' topic by itself, from its beginning."""

    def __init__(self, settings: Settings) -> None:
        ensure_topic(settings)
        self._consumer = Consumer(
            {
                "bootstrap.servers": settings.kafka_bootstrap_servers,
                "group.id": f"reader-{settings.topic_suffix}",
                "auto.offset.reset": "earliest",
            }
        )
        self._consumer.subscribe([settings.topic])
        self.results: list[dict[str, Any]] = []

    def read(self) -> list[dict[str, Any]]:
        """All results so far."""
        messages = self._consumer.consume(100, 0.1)
        self.results += [json.loads(message.value()) for message in messages if message.error() is None]
        return self.results

    def of(self, name: str) -> list[dict[str, Any]]:
        """The results of one site."""
        return [one for one in self.read() if one["site_name"] == name]

    def close(self) -> None:
        """Leave."""
        self._consumer.close()
