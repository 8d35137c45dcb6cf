"""robots.txt fetched from real local servers, kept in Redis and in memory: one contract, both stores."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
import redis
import time_machine
from redis.backoff import NoBackoff
from redis.retry import Retry

from tests.guards import ON_LOOPBACK
from tests.ports import free_ports
from tests.servers import Behaviour, LocalServer, answer, close, failing, hang, huge, in_turn, redirect, refusing_url
from tests.waiting import wait_until
from wms_tasks import clock
from wms_tasks.embedded.valkey import EmbeddedValkey
from wms_tasks.net.fetch import Answer
from wms_tasks.net.reasons import Failure
from wms_tasks.polite.patience import Patience
from wms_tasks.polite.robots import Robots, RobotsVerdict, read_answer
from wms_tasks.polite.store import MemoryRobotsStore, RedisRobotsStore, RobotsStore
from wms_tasks.result import Outcome, Reason

FORBID = answer(b"User-agent: *\nDisallow: /private\n")


@pytest.fixture(params=["memory", "redis"])
def store(request: pytest.FixtureRequest) -> Iterator[RobotsStore]:
    """Either store."""
    if request.param == "memory":
        yield MemoryRobotsStore()
        return
    with redis.Redis.from_url(request.getfixturevalue("redis_url")) as client:
        yield RedisRobotsStore(client, "wms:test:")


def robots(store: RobotsStore, *, stale_seconds: float = 600.0) -> Robots:
    """A worker's robots, which remembers nothing yet."""
    return Robots(store, user_agent="wms/0.1.0 (+x)", stale_seconds=stale_seconds)


def fetched(
    store: RobotsStore, behaviour: Behaviour, path: str = "/private", *, deadline_seconds: float = 5.0
) -> RobotsVerdict:
    """The verdict on `path` of a server whose robots.txt behaves so."""
    with LocalServer({"/robots.txt": behaviour}) as local:
        return robots(store).fetch(local.url(path), deadline_seconds=deadline_seconds, guard=ON_LOOPBACK)


def test_the_store_keeps_for_a_while(store: RobotsStore) -> None:
    """What was put comes back, is replaced, and goes when its time is over."""
    assert store.get("a") is None
    store.put("a", b"\x00one", ttl_seconds=60)
    store.put("a", b"two", ttl_seconds=60)
    store.put("b", b"short", ttl_seconds=0.05)
    assert store.get("a") == b"two"
    wait_until(lambda: store.get("b") is None)


def test_a_file_is_obeyed_and_shared(store: RobotsStore) -> None:
    """Fetched once; another worker on the same store asks nobody."""
    with LocalServer({"/robots.txt": FORBID}) as local:
        first, second = robots(store), robots(store)
        assert first.cached(local.url("/private")) is None
        assert first.fetch(local.url("/private"), deadline_seconds=5, guard=ON_LOOPBACK).reason == Reason.ROBOTS
        for worker in (first, second):
            forbidden, allowed = worker.cached(local.url("/private")), worker.cached(local.url("/open"))
            assert forbidden is not None
            assert allowed is not None
            assert (forbidden.outcome, forbidden.allowed, allowed.allowed) == (Outcome.SKIPPED, False, True)
            assert "robots: ignore" in forbidden.detail
        assert local.count("/robots.txt") == 1
        assert local.seen[0].headers["user-agent"] == "wms/0.1.0 (+x)"


def test_an_origin_has_its_port(store: RobotsStore) -> None:
    """Two servers on one host have a file each."""
    with LocalServer({"/robots.txt": FORBID}) as one, LocalServer({"/robots.txt": answer(b"")}) as two:
        worker = robots(store)
        assert not worker.fetch(one.url("/private"), deadline_seconds=5, guard=ON_LOOPBACK).allowed
        assert worker.cached(two.url("/private")) is None
        assert worker.fetch(two.url("/private"), deadline_seconds=5, guard=ON_LOOPBACK).allowed


@pytest.mark.parametrize("status_code", [401, 403, 404, 410, 304])
def test_no_file_allows_all(store: RobotsStore, status_code: int) -> None:
    """RFC 9309, 2.3.1.3."""
    verdict = fetched(store, failing(status_code))
    assert (verdict.allowed, verdict.outcome) == (True, None)


@pytest.mark.parametrize("status_code", [429, 500, 503])
def test_a_failing_server_skips_the_slot(store: RobotsStore, status_code: int) -> None:
    """RFC 9309, 2.3.1.4; 429 asks for patience, too."""
    verdict = fetched(store, failing(status_code))
    assert (verdict.outcome, verdict.reason) == (Outcome.SKIPPED, Reason.ROBOTS_UNREACHABLE)
    assert str(status_code) in verdict.detail


def test_an_origin_that_cannot_be_reached_is_down(store: RobotsStore) -> None:
    """With the network's reason."""
    verdict = robots(store).fetch(refusing_url(), deadline_seconds=5, guard=ON_LOOPBACK)
    assert (verdict.outcome, verdict.reason) == (Outcome.DOWN, Reason.CONNECT_REFUSED)
    assert fetched(store, close).reason == Reason.RESET
    assert fetched(store, hang, deadline_seconds=0.3).reason == Reason.TIMEOUT


def test_redirects(store: RobotsStore) -> None:
    """Five are followed, to other hosts as well, for the rules of the first; beyond that there is no file."""
    with LocalServer({"/elsewhere": FORBID}) as other:
        assert fetched(store, redirect(other.url("/elsewhere"))).reason == Reason.ROBOTS
    assert fetched(store, redirect("/robots.txt")).allowed
    away = fetched(store, redirect(refusing_url()))
    assert (away.outcome, away.reason) == (Outcome.SKIPPED, Reason.ROBOTS_UNREACHABLE)


def test_only_so_much_is_read(store: RobotsStore) -> None:
    """500 KiB are; a rule cut in the middle is none."""
    assert fetched(store, huge(5 * 2**20)).allowed
    assert fetched(store, answer(b"#" * (600 * 1024) + b"\nUser-agent: *\nDisallow: /\n")).allowed
    padding = b"#" + b"x" * (500 * 1024 - 1 - len(b"\nUser-agent: *\nDisallow: /p"))
    assert fetched(store, answer(padding + b"\nUser-agent: *\nDisallow: /public\n")).allowed


def test_a_failing_origin_is_not_asked_twice_in_a_slot(store: RobotsStore) -> None:
    """Its trouble is known for a while, to every worker, and forgotten after."""
    with LocalServer({"/robots.txt": in_turn([failing(500), FORBID])}) as local:
        url = local.url("/private")
        assert (
            robots(store).fetch(url, deadline_seconds=5, negative_seconds=0.3, guard=ON_LOOPBACK).reason
            == Reason.ROBOTS_UNREACHABLE
        )
        known = robots(store).cached(url)
        assert known is not None
        assert known.reason == Reason.ROBOTS_UNREACHABLE
        wait_until(lambda: robots(store).cached(url) is None)
        assert local.count("/robots.txt") == 1
        assert robots(store).fetch(url, deadline_seconds=5, guard=ON_LOOPBACK).reason == Reason.ROBOTS


def test_a_copy_lasts_a_day_and_through_errors(store: RobotsStore) -> None:
    """After 24 h it must be fetched again; while that fails, the last good copy serves."""
    with LocalServer({"/robots.txt": in_turn([FORBID, failing(503), answer(b"")])}) as local:
        private, public = local.url("/private"), local.url("/")
        worker, start = robots(store, stale_seconds=0.5), clock.utcnow()
        worker.fetch(private, deadline_seconds=5, guard=ON_LOOPBACK)
        with time_machine.travel(start + timedelta(hours=23, minutes=59)):
            assert worker.cached(private) is not None
            assert robots(store).cached(private) is not None
        with time_machine.travel(start + timedelta(hours=25)):
            assert worker.cached(private) is None
            assert robots(store).cached(private) is None
            assert worker.fetch(private, deadline_seconds=5, guard=ON_LOOPBACK).reason == Reason.ROBOTS
            known = robots(store).cached(public)
            assert known is not None
            assert known.allowed
        # A little later, so that what this worker remembers of the failure is over as well.
        with time_machine.travel(start + timedelta(hours=25, seconds=10)):
            wait_until(lambda: worker.cached(private) is None)
            assert worker.fetch(private, deadline_seconds=5, guard=ON_LOOPBACK).allowed
        assert local.count("/robots.txt") == 3


def test_five_redirects_are_followed_and_no_more(store: RobotsStore) -> None:
    """RFC 9309, 2.3.1.2: across hosts, the rules being the first one's; the sixth makes it a file that is not there."""
    with LocalServer({f"/{n}": redirect(f"/{n + 1}") for n in range(1, 6)} | {"/6": FORBID}) as other:
        assert fetched(store, redirect(other.url("/2"))).reason == Reason.ROBOTS
        assert other.count("/6") == 1
        assert fetched(store, redirect(other.url("/1"))).allowed
        assert other.count("/6") == 1


def test_a_good_copy_is_kept_for_as_long_as_errors_last(redis_url: str) -> None:
    """Each failure renews its time; a host in trouble is not asked for it at every slot."""
    with redis.Redis.from_url(redis_url) as client, LocalServer({"/robots.txt": in_turn([FORBID, close])}) as local:
        store, private, start = RedisRobotsStore(client, "wms:test:"), local.url("/private"), clock.utcnow()
        worker = robots(store)
        worker.fetch(private, deadline_seconds=5, guard=ON_LOOPBACK)
        key = f"wms:test:robots:good:http://127.0.0.1:{local.port}"
        for day in (2, 9, 40):
            client.pexpire(key, 60_000)  # as if nearly all of its time had passed
            with time_machine.travel(start + timedelta(days=day)):
                assert worker.cached(private) is None
                assert worker.fetch(private, deadline_seconds=5, guard=ON_LOOPBACK).reason == Reason.ROBOTS
                assert worker.cached(private) is not None
                assert robots(store).cached(private) is not None
            assert client.pttl(key) > 6 * 86_400_000
            client.delete(key.replace("good", "trouble"))
        assert local.count("/robots.txt") == 4


def test_what_is_remembered_costs_no_call(redis_url: str) -> None:
    """A url that was asked for before is answered from memory, also while a stale copy serves."""
    with redis.Redis.from_url(redis_url) as client, LocalServer({"/robots.txt": in_turn([FORBID, close])}) as local:
        worker, url, start = robots(RedisRobotsStore(client, "wms:test:")), local.url("/"), clock.utcnow()
        for later in (timedelta(0), timedelta(hours=25)):
            with time_machine.travel(start + later):
                worker.fetch(url, deadline_seconds=5, guard=ON_LOOPBACK)
                before = client.info("commandstats")["cmdstat_get"]["calls"]
                assert all(worker.cached(url) is not None for _ in range(5))
                assert client.info("commandstats")["cmdstat_get"]["calls"] == before


def test_crawl_delay_comes_with_the_verdict(store: RobotsStore) -> None:
    """Fetched, remembered, and from the shared copy."""
    with LocalServer({"/robots.txt": answer(b"User-agent: *\nCrawl-delay: 12\n")}) as local:
        worker, url = robots(store), local.url("/")
        assert worker.fetch(url, deadline_seconds=5, guard=ON_LOOPBACK).crawl_delay_seconds == 12
        for each in (worker, robots(store)):
            known = each.cached(url)
            assert known is not None
            assert (known.allowed, known.crawl_delay_seconds) == (True, 12)


@pytest.mark.parametrize("status_code", [429, 503])
def test_its_own_retry_after_is_told(store: RobotsStore, status_code: int) -> None:
    """Once, with what was just fetched; not again from the cache."""
    with LocalServer({"/robots.txt": failing(status_code, headers={"Retry-After": "77"})}) as local:
        worker = robots(store)
        verdict = worker.fetch(local.url("/"), deadline_seconds=5, guard=ON_LOOPBACK)
        assert verdict.reason == Reason.ROBOTS_UNREACHABLE
        assert verdict.patience == Patience(hosts=("127.0.0.1",), seconds=77.0, status_code=status_code)
        known = worker.cached(local.url("/"))
        assert known is not None
        assert known.patience is None


@pytest.mark.parametrize(("redirects", "reason"), [(0, Reason.BLOCKED_ADDRESS), (1, Reason.ROBOTS_UNREACHABLE)])
def test_a_blocked_address_is_no_outage(redirects: int, reason: Reason) -> None:
    """Nobody was asked: skipped, not down."""
    blocked = Failure(reason=Reason.BLOCKED_ADDRESS, detail="10.0.0.1")
    found = read_answer(Answer(url="http://a/", redirects=redirects, failure=blocked), clock.utcnow(), "wms")
    assert (found.outcome, found.reason) == (Outcome.SKIPPED, reason)  # type: ignore[union-attr]


@pytest.mark.parametrize("with_data", [True, False])
def test_a_restart_of_redis(services_folder: Path, tmp_path: Path, with_data: bool) -> None:
    """With its append-only file the copy is still there; without, it is fetched once more."""
    folder = services_folder / f"valkey-{tmp_path.name}"
    port = free_ports(1)[0]
    with LocalServer({"/robots.txt": FORBID}) as local:
        url = local.url("/private")
        for run in range(2):
            server = EmbeddedValkey(folder, port=port)
            server.start()
            try:
                with redis.Redis.from_url(server.url) as client:
                    worker = robots(RedisRobotsStore(client, "wms:test:"))
                    known = worker.cached(url)
                    assert (known is not None) is (run == 1 and with_data)
                    if known is None:
                        known = worker.fetch(url, deadline_seconds=5, guard=ON_LOOPBACK)
                    assert known.reason == Reason.ROBOTS
            finally:
                server.stop()
            if not with_data:
                shutil.rmtree(folder)
        assert local.count("/robots.txt") == (1 if with_data else 2)


def test_without_redis() -> None:
    """Its own error comes up, so that the slot is retried instead of asking the origin from every worker."""
    port = int(refusing_url().rsplit(":", 1)[1].rstrip("/"))
    with redis.Redis(port=port, retry=Retry(NoBackoff(), 0)) as client, pytest.raises(redis.ConnectionError):
        robots(RedisRobotsStore(client, "wms:test:")).cached("http://127.0.0.1/")


def test_an_origin_that_the_guard_forbids(store: RobotsStore) -> None:
    """Skipped, and not for the next site, whose guard may be another; a redirect there is an unreachable robots.txt."""
    with LocalServer({"/robots.txt": FORBID}) as local:
        url = local.url("/private")
        verdict = robots(store).fetch(url, deadline_seconds=5)
        assert (verdict.outcome, verdict.reason) == (Outcome.SKIPPED, Reason.BLOCKED_ADDRESS)
        assert verdict.detail.startswith("127.0.0.1 is loopback; WMS_ALLOW_NETWORKS")
        assert local.seen == []
        assert robots(store).cached(url) is None
        assert robots(store).fetch(url, deadline_seconds=5, guard=ON_LOOPBACK).reason == Reason.ROBOTS
    verdict = fetched(store, redirect("http://169.254.169.254/latest/"))
    assert (verdict.outcome, verdict.reason) == (Outcome.SKIPPED, Reason.ROBOTS_UNREACHABLE)
    assert "169.254.169.254 is a cloud's metadata service" in verdict.detail
