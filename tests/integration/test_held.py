"""What a worker holds unacknowledged, noted and written once a turn of its event loop."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any
from urllib.parse import urlsplit

import psutil
import pytest
import redis
from kombu import Exchange, Queue
from kombu.asynchronous import Hub
from structlog.testing import capture_logs

from tests.samples import own
from wms_tasks import metrics
from wms_tasks.app import app_for
from wms_tasks.held import Held
from wms_tasks.roles.measure import look_at_queues
from wms_tasks.settings import Settings


class Taken:
    """A message as the transport hands it to `Held`."""

    def __init__(self) -> None:
        self.delivery_info = {"exchange": "probe", "routing_key": "probe"}
        properties = {"delivery_info": dict(self.delivery_info), "delivery_tag": "a"}
        self._raw = {"body": "e30=", "headers": {}, "properties": properties}


@pytest.fixture
def broker_settings(redis_url: str) -> Settings:
    return Settings(env="test", broker_url=redis_url)


@contextmanager
def held_by_a_loop(settings: Settings) -> Iterator[tuple[Held, Any]]:
    """A channel's, consumed by an event loop that turns only when it is told to."""
    with app_for(settings).connection_for_read() as connection:
        channel = connection.default_channel
        Queue("probe", Exchange("probe"), routing_key="probe")(channel).declare()
        hub = Hub()
        connection.transport.register_with_event_loop(connection.connection, hub)

        def turn() -> None:
            connection.transport._write_held()

        yield channel.qos, turn
        hub.close()


def unacked(settings: Settings) -> tuple[int, int]:
    """As many as Redis has in each of the two keys, and as the metric says."""
    with redis.Redis.from_url(settings.broker_url) as client:
        prefix = settings.key_prefix
        found = client.hlen(f"{prefix}unacked"), client.zcard(f"{prefix}unacked_index")
        look_at_queues(client, prefix)
    assert own(metrics.UNACKNOWLEDGED).sum("wms_unacknowledged_messages") == found[0]
    assert own(metrics.UNACKNOWLEDGED).has("wms_unacknowledged_messages")
    return found


def test_what_is_taken_and_acknowledged_is_written_when_the_loop_turns(broker_settings: Settings) -> None:
    """Both of its keys, as kombu's own sweep and other workers expect them."""
    with held_by_a_loop(broker_settings) as (held, turn):
        for tag in "abc":
            held.append(Taken(), tag)
        assert unacked(broker_settings) == (0, 0)
        turn()
        assert unacked(broker_settings) == (3, 3)
        for tag in "abc":
            held.ack(tag)
        assert unacked(broker_settings) == (3, 3)
        turn()
        assert unacked(broker_settings) == (0, 0)


def test_a_rejected_message_goes_back_though_it_was_only_noted(broker_settings: Settings) -> None:
    """What is noted goes first."""
    with held_by_a_loop(broker_settings) as (held, turn):
        held.append(Taken(), "a")
        held.reject("a", requeue=True)
        assert unacked(broker_settings) == (0, 0)
        with redis.Redis.from_url(broker_settings.broker_url) as client:
            assert client.llen(f"{broker_settings.key_prefix}probe") == 1
        held.append(Taken(), "b")
        held.reject("b", requeue=False)
        turn()
        assert unacked(broker_settings) == (0, 0)


def test_an_acknowledged_message_does_not_come_back_when_the_channel_closes(broker_settings: Settings) -> None:
    """The other one does, and Redis forgets both."""
    with held_by_a_loop(broker_settings) as (held, _):
        held.append(Taken(), "a")
        held.append(Taken(), "b")
        held.ack("a")
        held.restore_unacked_once()
    assert unacked(broker_settings) == (0, 0)
    with redis.Redis.from_url(broker_settings.broker_url) as client:
        assert client.llen(f"{broker_settings.key_prefix}probe") == 1


def test_a_message_that_a_full_redis_does_not_take_back_stays_written_down(broker_settings: Settings) -> None:
    """It comes back with the sweep, and the worker goes on; an OutOfMemoryError once ended one."""
    with redis.Redis.from_url(broker_settings.broker_url) as client, held_by_a_loop(broker_settings) as (held, turn):
        for tag in "ab":
            held.append(Taken(), tag)
        turn()
        client.config_set("maxmemory", 1)
        try:
            with capture_logs() as logs:
                held.reject("a", requeue=True)
        finally:
            client.config_set("maxmemory", 0)
        assert [line["event"] for line in logs] == ["worker.not_put_back"]
        assert unacked(broker_settings) == (2, 2)
        assert client.llen(f"{broker_settings.key_prefix}probe") == 0
        held.prefetch_count = 2
        assert held.can_consume(), "it takes no place any more"
        held.restore_by_tag("a")
        assert client.llen(f"{broker_settings.key_prefix}probe") == 1


def test_a_redis_that_refuses_is_told_of_once(broker_settings: Settings) -> None:
    """The probes go on: what is lost is that a crash would repeat them."""
    with redis.Redis.from_url(broker_settings.broker_url) as client, held_by_a_loop(broker_settings) as (held, turn):
        client.set(f"{broker_settings.key_prefix}unacked", "no hash")
        with capture_logs() as logs:
            for tag in "ab":
                held.append(Taken(), tag)
                turn()
        assert [one["event"] for one in logs] == ["worker.held_not_written"]
        client.delete(f"{broker_settings.key_prefix}unacked")


def connections(settings: Settings) -> set[int]:
    """Ours to that Redis, by their local ports."""
    port = urlsplit(settings.broker_url).port
    made = psutil.Process().net_connections("tcp")
    return {one.laddr.port for one in made if one.raddr and one.raddr.port == port}


@pytest.mark.parametrize("lost", ["closed", "collected"])
def test_a_lost_connection_leaves_none_open(broker_settings: Settings, lost: str) -> None:
    """What it held went back over one more, which nobody else would close."""
    before = connections(broker_settings)
    connection = app_for(broker_settings).connection_for_read()
    channel = connection.default_channel
    Queue("probe", Exchange("probe"), routing_key="probe")(channel).declare()
    channel.qos.append(Taken(), "a")
    connection.close() if lost == "closed" else connection.collect()
    assert connections(broker_settings) <= before
    with redis.Redis.from_url(broker_settings.broker_url) as client:
        assert client.llen(f"{broker_settings.key_prefix}probe") == 1


@pytest.mark.parametrize("lost", ["closed", "collected"])
def test_a_late_acknowledgement_on_a_lost_connection_stops_no_loop(broker_settings: Settings, lost: str) -> None:
    """A task that outlives its connection acknowledges nothing; the loop, which turns the next one, must not notice."""
    connection = app_for(broker_settings).connection_for_read()
    held, hub = connection.default_channel.qos, Hub()
    connection.transport.register_with_event_loop(connection.connection, hub)
    transport = connection.transport
    held.append(Taken(), "a")
    connection.close() if lost == "closed" else connection.collect()
    with suppress(redis.RedisError):
        held.ack("a")
    for tick in set(hub.on_tick):
        tick()
    assert transport._write_held not in hub.on_tick
    assert not held._noted
    hub.close()
