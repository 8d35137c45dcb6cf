"""
Whether a partition stands still though Kafka has more: librdkafka can stop fetching one without a word.

The one cause known to us is mended (`Reader.position`); another would look the same: only Kafka's own end of the
partition tells. Asked every two seconds without waiting for the answer, so that a partition stands still for less than
five; with the first cure, that is. Called by the persist loop, from its thread.
"""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import Future
from enum import Enum, auto
from typing import Any, NamedTuple

import structlog
from confluent_kafka import KafkaException, TopicPartition
from confluent_kafka.admin import AdminClient, OffsetSpec  # type: ignore[attr-defined]

from wms_tasks import clock

REQUEST_TIMEOUT_SECONDS = 5.0
# A partition has had its chance, since Kafka said that it has more, when so many polls found nothing left to take; or,
# for a loop that lags so that there is always more, when others' messages filled the client's memory so many times.
LEAST_CHANCES = 10
QUEUES_FULL = 4

_log = structlog.get_logger()


class Cure(Enum):
    """What to do: in this order, since the first costs nothing."""

    NONE = auto()
    POSITION_AGAIN = auto()
    NEW_CONSUMER = auto()


class _Look(NamedTuple):
    """Where we read on, and where Kafka ended then."""

    next: Mapping[int, int]
    ends: Mapping[int, int]
    chances: float


class Standstill:
    """
    Compares looks; pure. A cure that did not help is tried again after 2, 4, 8 … looks.

    The last offset of a partition may be none that can be read, like the marker of a transaction; nothing helps there,
    and nothing need.
    """

    def __init__(self) -> None:
        self._before: _Look | None = None
        self._stuck: dict[int, tuple[int, int]] = {}

    def forget(self) -> None:
        """Positions are new: what was seen before says nothing."""
        self._before = None

    def cure(self, next_offsets: Mapping[int, int], ends: Mapping[int, int], chances: float) -> Cure:
        """
        What this look says, compared with the one before.

        Args:
            chances: how many there were, ever.
        """
        before = self._before
        if before is not None and chances - before.chances < LEAST_CHANCES:
            return Cure.NONE
        self._before = _Look(dict(next_offsets), dict(ends), chances)
        if before is None:
            return Cure.NONE
        stuck = {p: n for p, n in next_offsets.items() if before.next.get(p) == n < before.ends.get(p, 0)}
        self._stuck = {p: (n, self._times(p, n) + 1) for p, n in stuck.items()}
        for partition, (offset, times) in self._stuck.items():
            if times & (times - 1) == 0:
                _log.warning("persist.partition_stalled", partition=partition, offset=offset, times=times)
        worst = [times for _, times in self._stuck.values() if times & (times - 1) == 0]
        if not worst:
            return Cure.NONE
        return Cure.POSITION_AGAIN if max(worst) == 1 else Cure.NEW_CONSUMER

    def _times(self, partition: int, offset: int) -> int:
        before, times = self._stuck.get(partition, (offset, 0))
        return times if before == offset else 0


class StallWatch:
    """Asks Kafka for the ends of our partitions, and compares."""

    def __init__(self, admin: AdminClient, topic: str, *, queue_bytes: int, ask_every_seconds: float) -> None:
        """
        It has asked nothing yet.

        Args:
            queue_bytes: as much may wait in the client's memory.
        """
        self._admin = admin
        self._topic = topic
        self._chances_per_byte = LEAST_CHANCES / (QUEUES_FULL * queue_bytes)
        self._ask_every_seconds = ask_every_seconds
        self._ask_at = clock.monotonic() + ask_every_seconds
        self._standstill = Standstill()
        self._asked: dict[int, Future[Any]] | None = None
        self.chances = 0.0

    def forget(self) -> None:
        """Positions are new."""
        self._standstill.forget()
        self._asked = None

    def polled(self, *, all_taken: bool, size_bytes: int) -> None:
        """A poll brought so much, and there was no more."""
        self.chances += all_taken + size_bytes * self._chances_per_byte

    def look(self, next_offsets: Mapping[int, int]) -> Cure:
        """After a poll; asks now and then, and never waits."""
        now = clock.monotonic()
        if self._asked is None:
            if now >= self._ask_at and next_offsets:
                self._ask_at = now + self._ask_every_seconds
                self._asked = self._ask(list(next_offsets))
            return Cure.NONE
        if not all(answer.done() for answer in self._asked.values()):
            return Cure.NONE
        asked, self._asked = self._asked, None
        try:
            ends = {partition: int(answer.result().offset) for partition, answer in asked.items()}
        except KafkaException as error:
            _log.debug("persist.ends_unknown", error=str(error))
            return Cure.NONE
        return self._standstill.cure(next_offsets, ends, self.chances)

    def _ask(self, partitions: list[int]) -> dict[int, Future[Any]]:
        latest = OffsetSpec.latest()  # type: ignore[no-untyped-call]
        wanted = {TopicPartition(self._topic, partition): latest for partition in partitions}
        answers = self._admin.list_offsets(wanted, request_timeout=REQUEST_TIMEOUT_SECONDS)
        return {which.partition: answer for which, answer in answers.items()}
