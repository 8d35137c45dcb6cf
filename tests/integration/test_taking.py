"""How a channel takes messages: several at a time, in their order, and with a moment between."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from uuid import uuid4

import pytest
import redis
from kombu import Connection, Consumer, Exchange, Queue
from kombu.asynchronous import Hub
from structlog.testing import capture_logs

from tests.waiting import wait_until
from wms_tasks import clock
from wms_tasks.app import app_for
from wms_tasks.settings import Settings
from wms_tasks.taking import MOST_MESSAGES, PAUSE_SECONDS

PROBE = Queue("probe", Exchange("probe"), routing_key="probe")


class Loop:
    """An event loop that takes from a queue and acknowledges nothing by itself."""

    def __init__(self, connection: Connection, prefetch: int) -> None:
        self.seen: list[Any] = []
        self.hub = Hub()
        self.channel = connection.default_channel
        connection.transport.register_with_event_loop(connection.connection, self.hub)
        self.on_first: Callable[[], object] = int
        self._consumer = Consumer(self.channel, [PROBE], on_message=self._take, prefetch_count=prefetch)
        self._consumer.qos(prefetch_count=prefetch)
        self._consumer.consume()
        self._turns = self.hub.create_loop()

    def _take(self, message: Any) -> None:
        if not self.seen:
            self.on_first()
        self.seen.append(message)

    def until(self, count: int, seconds: float = 10.0) -> list[int]:
        """Turn until so many came; their numbers, in the order in which they came."""
        # A turn waits for Redis no longer than for a timer.
        tick = self.hub.call_repeatedly(0.005, int)
        wait_until(lambda: next(self._turns) or len(self.seen) >= count, seconds, f"{count} messages", every_seconds=0)
        tick.cancel()
        return [message.decode()["number"] for message in self.seen]

    def turn(self, seconds: float) -> None:
        """For so long."""
        tick = self.hub.call_repeatedly(0.005, int)
        until = clock.monotonic() + seconds
        while clock.monotonic() < until:
            next(self._turns)
        tick.cancel()


@pytest.fixture
def broker_settings(redis_url: str) -> Settings:
    return Settings(env="test", broker_url=redis_url)


@contextmanager
def looping(settings: Settings, prefetch: int = 100) -> Iterator[Loop]:
    with app_for(settings).connection_for_read() as connection:
        loop = Loop(connection, prefetch)
        yield loop
        loop.hub.close()


def send(settings: Settings, numbers: range) -> None:
    """As beat writes them: each message's own bytes, oldest to the right."""
    with redis.Redis.from_url(settings.broker_url) as client:
        for number in numbers:
            properties = {
                "delivery_tag": str(uuid4()),
                "delivery_info": {"exchange": "probe", "routing_key": "probe"},
                "body_encoding": None,
            }
            body = json.dumps({"number": number})
            message = {"body": body, "content-type": "application/json", "content-encoding": "utf-8"}
            client.lpush(
                f"{settings.key_prefix}probe", json.dumps({**message, "headers": {}, "properties": properties})
            )


def calls(settings: Settings, command: str) -> int:
    """How often Redis was asked to."""
    with redis.Redis.from_url(settings.broker_url) as client:
        found: Any = client.info("commandstats")
    return int(found.get(f"cmdstat_{command}", {"calls": 0})["calls"])


def queued(settings: Settings) -> int:
    """How many are still in the queue."""
    with redis.Redis.from_url(settings.broker_url) as client:
        return int(client.llen(f"{settings.key_prefix}probe"))  # type: ignore[arg-type]


def test_all_that_is_there_is_taken_at_once_and_in_order(broker_settings: Settings) -> None:
    """With one command, and written down with another."""
    send(broker_settings, range(30))
    before = calls(broker_settings, "blmpop")
    with looping(broker_settings) as loop:
        assert loop.until(30) == list(range(30))
        assert calls(broker_settings, "blmpop") == before + 1
        loop.turn(0.05)
        found = held(broker_settings)
        # As kombu reads it, of any version: the message as it was sent, its exchange and its routing key.
        raw, exchange, key = json.loads(next(iter(found.values())))
        assert (len(found), exchange, key, raw["content-type"]) == (30, "probe", "probe", "application/json")


def test_no_more_is_taken_than_may_be_held(broker_settings: Settings) -> None:
    """And more when some are acknowledged."""
    send(broker_settings, range(20))
    with looping(broker_settings, prefetch=5) as loop:
        assert loop.until(5) == list(range(5))
        loop.turn(3 * PAUSE_SECONDS)
        assert (len(loop.seen), queued(broker_settings)) == (5, 15)
        for message in loop.seen[:2]:
            message.ack()
        assert loop.until(7) == list(range(7))
        assert queued(broker_settings) == 13


def held(settings: Settings) -> dict[bytes, bytes]:
    """What is written down as taken."""
    with redis.Redis.from_url(settings.broker_url) as client:
        found: Any = client.hgetall(f"{settings.key_prefix}unacked")
    return dict(found)


def test_messages_are_written_down_before_the_first_of_them_begins(broker_settings: Settings) -> None:
    """And no more are taken at a time than so many: all that a kill in between costs."""
    send(broker_settings, range(MOST_MESSAGES + 10))
    with looping(broker_settings, prefetch=1000) as loop:
        seen: list[int] = []
        loop.on_first = lambda: seen.append(len(held(broker_settings)))
        loop.until(1)
        assert (seen[0], len(loop.seen), queued(broker_settings)) == (MOST_MESSAGES, MOST_MESSAGES, 10)


@pytest.mark.parametrize("junk", [b"no json", b"[]", b"{}", b'{"properties": {}}', b"\xff", b"null"])
def test_what_is_no_message_is_said_and_the_others_are_taken(broker_settings: Settings, junk: bytes) -> None:
    """Without its content, which may be anybody's."""
    send(broker_settings, range(1))
    with redis.Redis.from_url(broker_settings.broker_url) as client:
        client.lpush(f"{broker_settings.key_prefix}probe", junk)
    send(broker_settings, range(1, 2))
    with capture_logs() as logs, looping(broker_settings) as loop:
        assert loop.until(2) == [0, 1]
    [line] = [line for line in logs if line["log_level"] == "error"]
    assert (line["event"], line["bytes"]) == ("worker.message_unreadable", len(junk))
    assert (queued(broker_settings), held(broker_settings)) == (2, {})


def test_after_messages_there_is_a_pause_and_a_message_alone_waits_for_none(
    broker_settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("wms_tasks.taking.PAUSE_SECONDS", 0.5)
    with looping(broker_settings) as loop:
        loop.turn(0.05)
        send(broker_settings, range(1))
        loop.until(1, seconds=0.4)
        came = clock.monotonic()
        send(broker_settings, range(1, 3))
        assert loop.until(3) == [0, 1, 2]
        assert clock.monotonic() - came >= 0.4


def test_a_redis_that_does_not_know_the_command_is_asked_the_old_way(broker_settings: Settings) -> None:
    """Here for want of a right; Redis 6 says that it does not know it."""
    with redis.Redis.from_url(broker_settings.broker_url) as client:
        client.acl_setuser(
            "old", enabled=True, passwords=["+p"], keys=["*"], channels=["*"], commands=["+@all", "-blmpop"]
        )
    old = broker_settings.model_copy(update={"broker_url": broker_settings.broker_url.replace("//", "//old:p@")})
    send(broker_settings, range(5))
    with capture_logs() as logs, looping(old) as loop:
        assert loop.until(5) == list(range(5))
    assert [line["event"] for line in logs if line["log_level"] == "warning"] == ["worker.takes_one_by_one"]


def test_what_was_taken_and_not_acknowledged_goes_back_when_the_connection_closes(broker_settings: Settings) -> None:
    send(broker_settings, range(10))
    with looping(broker_settings) as loop:
        loop.until(10)
        for message in loop.seen[:4]:
            message.ack()
    assert queued(broker_settings) == 6
