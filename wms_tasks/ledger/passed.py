"""
How far the topic is stored: Kafka's ends of all its partitions, now. I/O on Kafka; store/ledger.py compares.

A partition whose end, asked for at some instant, has since been stored was passed at that instant: so an idle partition
counts as passed at its end, one that nobody reads does not, and no clock of a producer has a say.
"""

from __future__ import annotations

import os
from functools import lru_cache

from confluent_kafka import IsolationLevel, KafkaException, TopicPartition
from confluent_kafka.admin import AdminClient, OffsetSpec  # type: ignore[attr-defined]

from wms_tasks import clock
from wms_tasks.errors import ServiceUnavailable, TopicMissingError
from wms_tasks.settings import Settings
from wms_tasks.store.ledger import Ends
from wms_tasks.topic import admin_client, topic_identity

TIMEOUT_SECONDS = 3.0
_GRACE_SECONDS = 1.0


def all_ends(settings: Settings) -> list[Ends]:
    """
    Of every version of the topic that is read. One that is not there has nothing that could still be stored.

    Raises:
        TopicMissingError: none of them is there.
        ServiceUnavailable: no answer, or not for every partition.
    """
    found, missing = [], None
    for one in settings.read_versions:
        try:
            found.append(topic_ends(one))
        except TopicMissingError as error:
            missing = error
    if missing is not None and not found:
        raise missing
    return found


def topic_ends(settings: Settings) -> Ends:
    """
    Ask Kafka.

    Raises:
        TopicMissingError: no such topic.
        ServiceUnavailable: no answer, or not for every partition.
    """
    admin = _admin(settings, os.getpid())
    identity = topic_identity(admin, settings.topic, timeout_seconds=TIMEOUT_SECONDS)
    asked_at = clock.utcnow()
    latest = OffsetSpec.latest()  # type: ignore[no-untyped-call]
    wanted = {TopicPartition(settings.topic, n): latest for n in range(identity.partitions)}
    answers = admin.list_offsets(
        wanted, isolation_level=IsolationLevel.READ_UNCOMMITTED, request_timeout=TIMEOUT_SECONDS
    )
    try:
        ends = {p.partition: answer.result(TIMEOUT_SECONDS + _GRACE_SECONDS).offset for p, answer in answers.items()}
    except KafkaException as error:
        raise ServiceUnavailable(f"Kafka does not say where {settings.topic} ends: {error.args[0].str()}") from error
    except TimeoutError as error:
        raise ServiceUnavailable(f"Kafka does not answer within {TIMEOUT_SECONDS:g} s") from error
    return Ends(
        cluster_id=identity.cluster_id,
        topic=settings.topic,
        topic_id=identity.topic_id,
        asked_at=asked_at,
        ends=ends,
    )


@lru_cache(maxsize=8)
def _admin(settings: Settings, pid: int) -> AdminClient:  # noqa: ARG001 - a forked child needs a client of its own
    return admin_client(settings)
