"""
The topic of results: there, or made where the environment may make it; and which topic it really is.

A topic that is deleted and made again keeps its name and starts again at offset 0: only its id tells. Called at the
start of the roles that use Kafka and by the persist loop.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass
from typing import Any

import structlog
from confluent_kafka import KafkaError, KafkaException, TopicCollection
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic

from wms_tasks import clock, tls
from wms_tasks.errors import ServiceUnavailable, TopicMissingError
from wms_tasks.settings import Settings

REQUEST_TIMEOUT_SECONDS = 5.0
# How much longer we wait for the answer itself: librdkafka's own time-out comes first and says more.
_GRACE_SECONDS = 1.0
# How often we look whether a topic that was made is shown.
_LOOK_SECONDS = 0.02
# What librdkafka does about a broker that takes our bytes and never answers: its connection is given up after one
# request's time-out instead of a minute, and one that cannot be made after a few seconds.
CONNECTIONS: dict[str, Any] = {
    "socket.timeout.ms": 6_000,
    "socket.connection.setup.timeout.ms": 5_000,
    "socket.keepalive.enable": True,
    "reconnect.backoff.ms": 250,
    "reconnect.backoff.max.ms": 2_000,
}

_log = structlog.get_logger()


@dataclass(frozen=True, slots=True, kw_only=True)
class TopicIdentity:
    """Which topic this is. ``topic_id`` is new each time a topic of this name is made."""

    cluster_id: str
    topic_id: str
    partitions: int


class LibrdkafkaLog:
    """
    Takes librdkafka's log lines to ours at DEBUG, instead of stderr.

    A broker that is away gets a line every 50 ms; what a person should know is said once by whoever waits for it.
    """

    def log(self, level: int, template: str, *arguments: object) -> None:
        """The one method of `logging.Logger` that confluent-kafka calls."""
        _log.debug("kafka.client", level=level, line=template % arguments if arguments else template)


def admin_client(settings: Settings) -> AdminClient:
    """An AdminClient that keeps quiet; make it in the process that uses it."""
    config: dict[str, Any] = {
        "bootstrap.servers": settings.kafka_bootstrap_servers,
        "client.id": f"wms-admin-{settings.worker_name}",
        **CONNECTIONS,
        **tls.kafka(settings),
        "logger": LibrdkafkaLog(),
    }
    return AdminClient(config)


def ensure_topic(
    settings: Settings, *, admin: AdminClient | None = None, timeout_seconds: float = REQUEST_TIMEOUT_SECONDS
) -> None:
    """
    Make the topic where it is missing and the environment is dev or test; elsewhere only look for it. Safe in a race.

    On return Kafka shows it: a broker answers that a topic is made before it knows of it itself (KIP-500, metadata
    reach a broker from the controller's log).

    Raises:
        TopicMissingError: it does not exist and may not be made here.
        ServiceUnavailable: Kafka does not answer, or does not show within the time-out what it made.
    """
    admin = admin or admin_client(settings)
    try:
        topic_identity(admin, settings.topic, timeout_seconds=timeout_seconds)
    except TopicMissingError as error:
        if not settings.may_make:
            raise missing(settings) from error
        _make(admin, settings, timeout_seconds)
        _wait_until_shown(admin, settings.topic, timeout_seconds)
    except ServiceUnavailable as error:
        raise ServiceUnavailable(f"{settings.kafka_bootstrap_servers}: {error.message}") from error


def missing(settings: Settings) -> TopicMissingError:
    """The one line for a person."""
    return TopicMissingError(
        f"Kafka at {settings.kafka_bootstrap_servers} has no topic {settings.topic}",
        hint=f"make it, with as many partitions as persist workers may share; WMS_ENV={settings.env} only looks for it",
    )


def topic_identity(
    admin: AdminClient, topic: str, *, timeout_seconds: float = REQUEST_TIMEOUT_SECONDS
) -> TopicIdentity:
    """
    Ask Kafka which topic this is.

    Raises:
        TopicMissingError: no such topic.
        ServiceUnavailable: Kafka does not answer, each of two questions within the time-out.
    """
    try:
        cluster = admin.describe_cluster(request_timeout=timeout_seconds).result(timeout_seconds + _GRACE_SECONDS)
        asked = admin.describe_topics(TopicCollection([topic]), request_timeout=timeout_seconds)
        found = asked[topic].result(timeout_seconds + _GRACE_SECONDS)
    except KafkaException as error:
        raise describe_error(error, topic) from error
    except TimeoutError as error:
        raise ServiceUnavailable(f"Kafka does not answer within {timeout_seconds:g} s") from error
    return TopicIdentity(cluster_id=cluster.cluster_id, topic_id=str(found.topic_id), partitions=len(found.partitions))


def describe_error(error: KafkaException, topic: str) -> TopicMissingError | ServiceUnavailable:
    """What a failed question about a topic means."""
    kafka_error: KafkaError = error.args[0]
    if kafka_error.code() == KafkaError.UNKNOWN_TOPIC_OR_PART:
        return TopicMissingError(f"Kafka has no topic {topic}")
    return ServiceUnavailable(f"Kafka does not answer: {kafka_error.str()}")


def _make(admin: AdminClient, settings: Settings, timeout_seconds: float) -> None:
    new = NewTopic(settings.topic, num_partitions=settings.kafka_topic_partitions)
    made = admin.create_topics([new], request_timeout=timeout_seconds)
    try:
        made[settings.topic].result(timeout_seconds + _GRACE_SECONDS)
    except KafkaException as error:
        kafka_error: KafkaError = error.args[0]
        if kafka_error.code() == KafkaError.TOPIC_ALREADY_EXISTS:
            return
        raise ServiceUnavailable(f"Kafka did not make topic {settings.topic}: {kafka_error.str()}") from error
    except TimeoutError as error:
        raise ServiceUnavailable(f"Kafka did not answer when asked to make topic {settings.topic}") from error
    _log.info("topic.made", topic=settings.topic, partitions=settings.kafka_topic_partitions)


def _wait_until_shown(admin: AdminClient, topic: str, timeout_seconds: float) -> None:
    pause, until = threading.Event(), clock.monotonic() + timeout_seconds
    while True:
        try:
            topic_identity(admin, topic, timeout_seconds=timeout_seconds)
        except TopicMissingError as error:
            if clock.monotonic() > until:
                raise ServiceUnavailable(f"Kafka made topic {topic}, but does not show it") from error
            pause.wait(_LOOK_SECONDS)
        else:
            return
