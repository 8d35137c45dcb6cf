"""The topic is made where it may be, looked for elsewhere, and known by its id."""

from __future__ import annotations

import threading
from typing import Any

import pytest

from wms_tasks import topic as topic_module
from wms_tasks.errors import ServiceUnavailable, TopicMissingError
from wms_tasks.settings import Settings
from wms_tasks.topic import TopicIdentity, admin_client, ensure_topic, topic_identity


def test_it_is_made_in_test_with_its_partitions(settings: Settings) -> None:
    """And found the second time."""
    ensure_topic(settings)
    first = topic_identity(admin_client(settings), settings.topic)
    ensure_topic(settings)
    assert topic_identity(admin_client(settings), settings.topic) == first
    assert first.partitions == settings.kafka_topic_partitions
    assert first.topic_id
    assert first.cluster_id


@pytest.mark.parametrize("shown_late", [True, False])
def test_what_was_made_is_there_on_return(
    settings: Settings, shown_late: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A broker may know of it later than its controller: it is asked until it does, within the time-out."""
    asked = 0

    def asking(*arguments: Any, **options: Any) -> TopicIdentity:
        nonlocal asked
        asked += 1
        if asked > 3 and shown_late:
            return topic_identity(*arguments, **options)
        raise TopicMissingError("not yet")

    monkeypatch.setattr(topic_module, "topic_identity", asking)
    if shown_late:
        ensure_topic(settings)
        assert asked == 4
    else:
        with pytest.raises(ServiceUnavailable, match=r"made topic .*, but does not show it"):
            ensure_topic(settings, timeout_seconds=0.5)


def test_five_starts_at_once_make_one_topic(settings: Settings) -> None:
    """Whoever comes second is content."""
    failures: list[BaseException] = []

    def start() -> None:
        try:
            ensure_topic(settings)
        except BaseException as error:  # noqa: BLE001 - handed to the test's own thread
            failures.append(error)

    threads = [threading.Thread(target=start) for _ in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert failures == []


def test_elsewhere_it_is_only_looked_for(settings: Settings) -> None:
    """The line names the topic, the servers and what to do."""
    prod = settings.model_copy(update={"env": "prod"})
    with pytest.raises(TopicMissingError) as caught:
        ensure_topic(prod)
    for part in (prod.topic, prod.kafka_bootstrap_servers, "make it"):
        assert part in str(caught.value)
    assert prod.topic not in admin_client(prod).list_topics(timeout=5).topics


def test_kafka_away_is_one_line_within_the_time_out() -> None:
    """It names the servers."""
    settings = Settings(env="test", kafka_bootstrap_servers="127.0.0.1:1")
    with pytest.raises(ServiceUnavailable, match=r"127\.0\.0\.1:1: Kafka does not answer"):
        ensure_topic(settings, timeout_seconds=0.3)
