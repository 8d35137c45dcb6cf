"""Hosts' turns on a real Redis: spaced over all workers, none lost, none taken in vain."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
import redis
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from redis.backoff import NoBackoff
from redis.retry import Retry

from tests.servers import refusing_url
from tests.waiting import wait_until
from wms_tasks.polite.rate import HostTurns, Turn

PREFIX = "wms:test:"
NONE = Turn(wait_seconds=None)


@pytest.fixture
def client(redis_url: str) -> Iterator[redis.Redis]:
    """A client on an empty Redis."""
    with redis.Redis.from_url(redis_url) as connected:
        yield connected


def test_the_first_turn_is_now(client: redis.Redis) -> None:
    """And the next one comes after the spacing, also one of a quarter of a second."""
    turns = HostTurns(client, PREFIX)
    started = time.monotonic()
    waits = [turns.reserve("a", spacing_seconds=0.25, latest_in_seconds=60).wait_seconds for _ in range(5)]
    elapsed = time.monotonic() - started
    assert waits[0] == 0.0
    for index, wait in enumerate(waits):
        assert wait is not None
        assert index * 0.25 - elapsed <= wait <= index * 0.25


def test_hosts_do_not_wait_for_each_other(client: redis.Redis) -> None:
    """Each has its own turns."""
    turns = HostTurns(client, PREFIX)
    taken = [turns.reserve(host, spacing_seconds=9, latest_in_seconds=0) for host in "abc"]
    assert taken == [Turn(wait_seconds=0.0)] * 3


def test_a_turn_that_would_be_too_late_is_not_taken(client: redis.Redis) -> None:
    """None, and the turn is still there for who can wait."""
    turns = HostTurns(client, PREFIX)
    turns.reserve("a", spacing_seconds=10, latest_in_seconds=0)
    assert [turns.reserve("a", spacing_seconds=10, latest_in_seconds=5) for _ in range(3)] == [NONE] * 3
    wait = turns.reserve("a", spacing_seconds=10, latest_in_seconds=10).wait_seconds
    assert wait is not None
    assert 9 < wait <= 10
    assert turns.reserve("b", spacing_seconds=1, latest_in_seconds=-1) == NONE


def test_a_host_is_forgotten(client: redis.Redis) -> None:
    """The key dies a second after the next free instant."""
    HostTurns(client, PREFIX).reserve("a", spacing_seconds=2.5, latest_in_seconds=0)
    (key,) = client.keys("*")
    assert key == b"wms:test:turn:a"
    assert 3000 <= client.pttl(key) <= 3501


def test_a_redis_without_the_script(client: redis.Redis) -> None:
    """After a restart the script is loaded again by itself."""
    turns = HostTurns(client, PREFIX)
    turns.reserve("a", spacing_seconds=5, latest_in_seconds=0)
    client.script_flush()
    assert turns.reserve("a", spacing_seconds=5, latest_in_seconds=0) == NONE


def test_one_call(client: redis.Redis) -> None:
    """A reservation is one command."""
    turns = HostTurns(client, PREFIX)
    turns.reserve("a", spacing_seconds=0.1, latest_in_seconds=60)
    before = client.info("commandstats")
    for _ in range(10):
        turns.reserve("a", spacing_seconds=0.1, latest_in_seconds=60)
    after = client.info("commandstats")
    assert after["cmdstat_evalsha"]["calls"] - before["cmdstat_evalsha"]["calls"] == 10
    assert "cmdstat_eval" not in after


@pytest.mark.parametrize(
    ("others_since", "least", "most"), [(0, 0.0, 0.0), (1, 100.0, 119.5)], ids=["the last one", "not the last one"]
)
def test_a_turn_that_lapsed_is_taken_back_where_it_was_the_last(
    client: redis.Redis, others_since: int, least: float, most: float
) -> None:
    """Nobody asked at that instant: the host is free a spacing after the one before, and nobody else comes sooner."""
    turns, spacing, lapsed_seconds = HostTurns(client, PREFIX), 60, 0.5
    seconds, microseconds = client.time()
    mine_at = seconds + microseconds / 1e6 - lapsed_seconds
    client.set(f"{PREFIX}turn:a", round((mine_at + spacing * (1 + others_since)) * 1e6))

    def reserve(lapsed_seconds: float = 0.0) -> float:
        wait_seconds = turns.reserve(
            "a", spacing_seconds=spacing, latest_in_seconds=600, lapsed_seconds=lapsed_seconds
        ).wait_seconds
        assert wait_seconds is not None
        return wait_seconds

    again = reserve(lapsed_seconds)
    assert least <= again <= most
    assert spacing - 10 < reserve() - again <= spacing


def test_a_host_that_asked_for_patience_has_no_turn_before(client: redis.Redis) -> None:
    """For any worker; a turn after it may be waited for, and those who wait are spaced. Other hosts go on."""
    one, other = HostTurns(client, PREFIX), HostTurns(client, PREFIX)
    one.back_off(["a", "b"], seconds=60, why="status 429")
    refused = other.reserve("a", spacing_seconds=5, latest_in_seconds=30)
    assert refused.wait_seconds is None
    assert 50 < refused.patience_seconds <= 60
    waits = [other.reserve("b", spacing_seconds=5, latest_in_seconds=90).wait_seconds or 0 for _ in range(3)]
    assert [round(wait / 5) for wait in waits] == [12, 13, 14]
    assert 50 < other.patience_seconds("a") <= 60
    assert other.patience_seconds("c") == 0.0
    assert other.reserve("c", spacing_seconds=5, latest_in_seconds=0) == Turn(wait_seconds=0.0)


def test_the_longest_back_off_stays_and_ends_by_itself(client: redis.Redis) -> None:
    """A shorter one changes nothing, nor does one of no time; once it is over the host has turns again."""
    turns = HostTurns(client, PREFIX)
    turns.back_off(["a"], seconds=60, why="status 503")
    turns.back_off(["a"], seconds=1, why="status 429")
    turns.back_off(["b"], seconds=0, why="status 429")
    turns.back_off([], seconds=9, why="status 429")
    assert turns.patience_seconds("a") > 50
    assert client.keys("*") == [b"wms:test:backoff:a"]
    assert client.get("wms:test:backoff:a") == b"status 503"
    turns.back_off(["c"], seconds=0.2, why="status 429")
    assert turns.reserve("c", spacing_seconds=0, latest_in_seconds=0).wait_seconds is None
    wait_until(lambda: turns.reserve("c", spacing_seconds=0, latest_in_seconds=0) == Turn(wait_seconds=0.0))


def test_without_redis() -> None:
    """Its own error comes up."""
    port = int(refusing_url().rsplit(":", 1)[1].rstrip("/"))
    with redis.Redis(port=port, retry=Retry(NoBackoff(), 0)) as client, pytest.raises(redis.ConnectionError):
        HostTurns(client, PREFIX).reserve("a", spacing_seconds=1, latest_in_seconds=1)


@hypothesis_settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    hosts=st.lists(st.sampled_from("abc"), min_size=1, max_size=60),
    spacing_seconds=st.floats(20, 3600).map(lambda seconds: round(seconds, 6)),
    workers=st.integers(1, 16),
)
def test_turns_are_spaced_and_none_is_lost(
    client: redis.Redis, hosts: list[str], spacing_seconds: float, workers: int
) -> None:
    """
    However many workers reserve at once: the n turns of a host are its first n multiples of the spacing, each once.

    The spacing is far longer than the reserving, so a wait, which counts from its own call, tells its multiple.
    """
    client.flushall()

    def reserve(host: str) -> tuple[str, float | None]:
        # A worker of its own each time: they share nothing but Redis.
        turns = HostTurns(client, PREFIX)
        return host, turns.reserve(host, spacing_seconds=spacing_seconds, latest_in_seconds=1e6).wait_seconds

    with ThreadPoolExecutor(workers) as pool:
        taken = list(pool.map(reserve, hosts))
    for host in set(hosts):
        waits = sorted(wait for name, wait in taken if name == host and wait is not None)
        assert [math.ceil(wait / spacing_seconds) for wait in waits] == list(range(hosts.count(host)))
        free = int(client.get(f"{PREFIX}turn:{host}") or 0)
        seconds, microseconds = client.time()
        ahead = (free - seconds * 1_000_000 - microseconds) / 1e6
        assert hosts.count(host) * spacing_seconds - 15 < ahead <= hosts.count(host) * spacing_seconds


@given(calls=st.lists(st.tuples(st.floats(0, 5), st.floats(0, 20)), min_size=1, max_size=20))
@hypothesis_settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_no_turn_is_later_than_asked(client: redis.Redis, calls: list[tuple[float, float]]) -> None:
    """Whatever spacings are mixed, a turn comes within the wait that was accepted."""
    client.flushall()
    turns = HostTurns(client, PREFIX)
    for spacing_seconds, latest_in_seconds in calls:
        wait = turns.reserve("a", spacing_seconds=spacing_seconds, latest_in_seconds=latest_in_seconds).wait_seconds
        assert wait is None or 0 <= wait <= latest_in_seconds
