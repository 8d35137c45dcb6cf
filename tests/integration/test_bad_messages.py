"""Every kind of bad input, at random places among good messages, through the real loop."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from random import Random

from confluent_kafka import Producer

from tests.bad_messages import KIB, BadMessage, bad_messages, good_fields
from tests.persisting import query, running, site, wait_for_rows
from wms_tasks.settings import Settings
from wms_tasks.topic import ensure_topic

SEED = 5
# Well below what ends the loop as no exception any more.
GOOD_TO_EACH_BAD = 9
NOW = datetime.now(UTC).replace(microsecond=0)


def a_good_value(number: int, **changes: object) -> bytes:
    """A result as JSON, each number another slot."""
    fields = good_fields(site(number % 7), "good", NOW - timedelta(seconds=number))
    return json.dumps(fields | changes).encode()


def publish(settings: Settings, load: list[BadMessage | bytes]) -> dict[tuple[int, int], str]:
    """Where Kafka put the bad ones, and why each must be rejected."""
    producer = Producer({"bootstrap.servers": settings.kafka_bootstrap_servers, "linger.ms": 5})
    places: dict[tuple[int, int], str] = {}
    for n, one in enumerate(load):
        if isinstance(one, BadMessage):

            def note(error: object, message: object, reason: str = one.reason) -> None:
                assert error is None
                places[message.partition(), message.offset()] = reason  # type: ignore[attr-defined]

            producer.produce(settings.topic, one.value, key=one.key, headers=one.headers, on_delivery=note)
        else:
            producer.produce(settings.topic, one, key=str(n))
    assert producer.flush(20) == 0
    return places


def test_each_is_rejected_once_for_its_reason_and_the_rest_are_rows(settings: Settings) -> None:
    """At several places of a batch; the shares of wrong ones stay below the limit, so the loop goes on."""
    ensure_topic(settings)
    bad = bad_messages("test", NOW, largest=64 * KIB)
    assert len({(one.key, one.value, tuple(one.headers)) for one in bad}) >= 200
    good = [a_good_value(n) for n in range(GOOD_TO_EACH_BAD * len(bad))]
    load: list[BadMessage | bytes] = [*bad, *good]
    Random(SEED).shuffle(load)
    places = publish(settings, load)
    with running(settings):
        wait_for_rows(settings, len(good))
        wait_for_rows(settings, len(bad), "rejects")
    found = query(settings, "SELECT partition, kafka_offset, reason FROM wms.rejects")
    assert sorted(found) == sorted((*place, reason) for place, reason in places.items())
    assert len(places) == len(bad)


def test_what_is_odd_and_still_a_result_is_a_row(settings: Settings) -> None:
    """A newer writer's field; a key that comes twice: the last counts; a large text; a year 1 that is no slot."""
    ensure_topic(settings)
    twice = a_good_value(1)[:-1] + b', "attempt": 7}'
    odd = [a_good_value(0, phases_ms={"dns": 3}), twice, a_good_value(2, detail="x" * 64 * KIB)]
    odd += [a_good_value(3, due_at="0001-01-01T00:00:00Z")]
    assert publish(settings, [*odd]) == {}
    with running(settings):
        wait_for_rows(settings, len(odd))
    assert query(settings, "SELECT count(*) FROM wms.rejects") == [(0,)]
    assert query(settings, f"SELECT attempt FROM wms.results WHERE site_id = '{site(1)}'") == [(7,)]
