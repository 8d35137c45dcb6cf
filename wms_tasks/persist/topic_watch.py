"""
Which topic we read, asked again every few seconds without waiting for the answer.

A classic consumer goes on at its old offset when a topic is deleted and made again, without an error: only the
topic's id tells. Called by the persist loop, from its thread.
"""

from __future__ import annotations

from concurrent.futures import Future
from typing import Any

import structlog
from confluent_kafka import KafkaException, TopicCollection

from wms_tasks import clock
from wms_tasks.errors import ServiceUnavailable, TopicMissingError
from wms_tasks.persist.stats import State
from wms_tasks.settings import Settings
from wms_tasks.topic import TopicIdentity, admin_client, describe_error, ensure_topic, missing, topic_identity

REQUEST_TIMEOUT_SECONDS = 5.0
# While the loop has nothing to do but wait for this answer, it should still see soon that it must stop.
START_TIMEOUT_SECONDS = 2.0
SAY_AGAIN_SECONDS = 60.0

_log = structlog.get_logger()


class TopicWatch:
    """The topic's identity, and whether Kafka answers for it. Says once that it waits and once that it is over."""

    def __init__(self, settings: Settings, ask_every_seconds: float) -> None:
        self._settings = settings
        self._ask_every_seconds = ask_every_seconds
        self.admin = self._admin = admin_client(settings)
        self._asked: Future[Any] | None = None
        self._ask_at = 0.0
        self._said_state: State | None = None
        self._say_again_at = 0.0

    def look(self, *, make: bool) -> tuple[TopicIdentity | None, State]:
        """
        Ask now and wait for the answer, a few seconds at most.

        Args:
            make: make the topic where it is missing and the environment may.
        Returns:
            The identity, or None and what is waited for.
        """
        try:
            if make:
                ensure_topic(self._settings, admin=self._admin, timeout_seconds=START_TIMEOUT_SECONDS)
            found = topic_identity(self._admin, self._settings.topic, timeout_seconds=START_TIMEOUT_SECONDS)
        except TopicMissingError:
            return None, self._away(State.WAITING_FOR_TOPIC, str(missing(self._settings)))
        except ServiceUnavailable as error:
            return None, self._away(State.WAITING_FOR_KAFKA, error.message)
        self._back()
        return found, State.RUNNING

    def changed(self, known: TopicIdentity) -> bool:
        """Whether the topic is another one by now; asks now and then and never waits."""
        now = clock.monotonic()
        if self._asked is None:
            if now >= self._ask_at:
                self._ask_at = now + self._ask_every_seconds
                topics = TopicCollection([self._settings.topic])
                answers = self._admin.describe_topics(topics, request_timeout=REQUEST_TIMEOUT_SECONDS)
                self._asked = answers[self._settings.topic]
            return False
        if not self._asked.done():
            return False
        answer, self._asked = self._asked, None
        try:
            topic_id = str(answer.result().topic_id)
        except KafkaException as error:
            self._answer_failed(error)
            return False
        self._back()
        return topic_id != known.topic_id

    def _answer_failed(self, error: KafkaException) -> None:
        meaning = describe_error(error, self._settings.topic)
        if isinstance(meaning, TopicMissingError):
            self._away(State.WAITING_FOR_TOPIC, str(missing(self._settings)))
        else:
            self._away(State.WAITING_FOR_KAFKA, meaning.message)

    def _away(self, state: State, reason: str) -> State:
        """A missing topic needs a hand, so it is said again each minute; a broker that is away is said once."""
        now = clock.monotonic()
        again = state is State.WAITING_FOR_TOPIC and now >= self._say_again_at
        if state is not self._said_state or again:
            self._said_state = state
            self._say_again_at = now + SAY_AGAIN_SECONDS
            event = "persist.topic_missing" if state is State.WAITING_FOR_TOPIC else "persist.kafka_away"
            _log.warning(event, reason=reason)
        return state

    def _back(self) -> None:
        if self._said_state is not None:
            self._said_state = None
            _log.warning("persist.kafka_back")
