"""Slots of several workers on one Redis: a host's wishes hold for all of its sites, whoever asks."""

from __future__ import annotations

import socket
from collections.abc import Iterator, Sequence
from datetime import timedelta
from email.utils import format_datetime

import msgspec
import pytest
import redis

from tests.filling import PREFIX, ended, slot, worker
from tests.ports import free_ports
from tests.samples import own
from tests.servers import LocalServer, answer, failing, in_turn, redirect, refusing_url
from wms_tasks import clock, metrics
from wms_tasks.canaries import Canary
from wms_tasks.fill.decide import Again
from wms_tasks.fill.work import fill
from wms_tasks.net.reach import Reach
from wms_tasks.polite.network import Network
from wms_tasks.polite.rate import HostTurns
from wms_tasks.result import Outcome, Reason
from wms_tasks.sites.record import Expect


@pytest.fixture
def client(redis_url: str) -> Iterator[redis.Redis]:
    """A client on an empty Redis."""
    with redis.Redis.from_url(redis_url) as connected:
        yield connected


@pytest.mark.parametrize("status_code", [429, 503])
@pytest.mark.parametrize("as_date", [False, True])
def test_retry_after_backs_the_host_off_for_all_its_sites(client: redis.Redis, status_code: int, as_date: bool) -> None:
    """The slot that got it is down for it; others of the host end skipped, on any worker; other hosts go on."""
    until = format_datetime(clock.utcnow() + timedelta(seconds=900), usegmt=True)
    asking = failing(status_code, headers={"Retry-After": until if as_date else "900"})
    with LocalServer({"/": asking, "/other": answer()}) as local:
        first = ended(slot(local.url("/"), retries=2), worker(client))
        assert (first.outcome, first.reason, first.status_code) == (Outcome.DOWN, Reason.STATUS, status_code)
        for parts in (worker(client), worker(client)):
            left_alone = ended(slot(local.url("/other")), parts)
            assert (left_alone.outcome, left_alone.reason) == (Outcome.SKIPPED, Reason.RATE_LIMITED)
            assert "asked for patience until" in (left_alone.detail or "")
            assert "(Retry-After)" in (left_alone.detail or "")
            assert left_alone.started_at is None
        assert ended(slot(local.url("/other", host="localhost")), worker(client)).outcome == Outcome.UP
        assert [request.path for request in local.seen] == ["/", "/other"]
    assert 890 < client.ttl(f"{PREFIX}backoff:127.0.0.1") <= 900
    samples = own(metrics.BACK_OFFS, metrics.NO_TURN)
    assert samples.sum("wms_probe_back_offs_total", cause=str(status_code)) >= 1
    assert samples.sum("wms_probe_turns_refused_total", cause="retry_after") >= 2


def test_an_answer_that_was_expected_is_up_and_heeded(client: redis.Redis) -> None:
    """The verdict is the site's matter, patience the host's."""
    with LocalServer({"/": failing(503, headers={"Retry-After": "600"})}) as local:
        expected = slot(local.url("/"), expect=Expect(status=("503",)))
        assert ended(expected, worker(client)).outcome == Outcome.UP
        assert ended(expected, worker(client)).reason == Reason.RATE_LIMITED


def test_a_turn_given_before_is_not_used(client: redis.Redis) -> None:
    """A slot that already had its instant waits as well; a short patience ends inside the slot, and it is probed."""
    with LocalServer({"/": failing(429, headers={"Retry-After": "2"}), "/other": answer()}) as local:
        waiting = msgspec.structs.replace(slot(local.url("/other")), turn_at=clock.utcnow())
        ended(slot(local.url("/")), worker(client))
        step = fill(waiting, worker(client))
        assert isinstance(step, Again)
        assert not step.is_retry
        assert 1 < step.countdown_seconds <= 2
        assert local.count("/other") == 0
        client.delete(f"{PREFIX}backoff:127.0.0.1")
        due = msgspec.structs.replace(step.order, turn_at=clock.utcnow())
        assert ended(due, worker(client)).outcome == Outcome.UP


def test_after_a_redirect_both_hosts_are_left_alone(client: redis.Redis) -> None:
    """The one that said so, and the one that leads there."""
    with LocalServer({"/busy": failing(429, headers={"Retry-After": "60"})}) as local:
        local.routes["/"] = redirect(local.url("/busy", host="localhost"))
        assert ended(slot(local.url("/")), worker(client)).status_code == 429
        for host in ("127.0.0.1", "localhost"):
            assert ended(slot(local.url("/", host=host)), worker(client)).reason == Reason.RATE_LIMITED


def test_robots_txt_takes_a_turn_and_may_ask_for_patience(client: redis.Redis) -> None:
    """Its request is one to the host: the page waits for the next turn; its Retry-After holds for the page too."""
    page = {"/": answer()}
    with LocalServer({"/robots.txt": answer(b"User-agent: *\nDisallow: /no\n"), **page}) as local:
        step = fill(slot(local.url("/"), robots="respect", spacing_seconds=9), worker(client))
        assert isinstance(step, Again)
        assert 8 < step.countdown_seconds <= 9
        assert [request.path for request in local.seen] == ["/robots.txt"]
    client.flushall()
    with LocalServer({"/robots.txt": failing(503, headers={"Retry-After": "120"}), **page}) as local:
        first = ended(slot(local.url("/"), robots="respect"), worker(client))
        assert (first.outcome, first.reason) == (Outcome.SKIPPED, Reason.ROBOTS_UNREACHABLE)
        assert ended(slot(local.url("/")), worker(client)).reason == Reason.RATE_LIMITED
        assert local.count("/") == 0


def test_crawl_delay_is_a_floor_for_the_interval(client: redis.Redis) -> None:
    """One probe a crawl-delay; slots between are skipped and say why; a site that ignores robots.txt is not held."""
    robots = {"/robots.txt": answer(b"User-agent: *\nCrawl-delay: 300\n")}
    with LocalServer({**robots, "/": answer(), "/mine": answer()}) as local:
        site = {"robots": "respect", "name": "theirs"}
        assert ended(slot(local.url("/"), **site), worker(client)).outcome == Outcome.UP
        for parts in (worker(client), worker(client)):
            between = ended(slot(local.url("/"), **site), parts)
            assert (between.outcome, between.reason) == (Outcome.SKIPPED, Reason.RATE_LIMITED)
            assert "robots.txt's crawl-delay is 300 s" in (between.detail or "")
        client.delete(f"{PREFIX}turn:127.0.0.1")  # the host's next turn has come
        assert ended(slot(local.url("/"), **site), worker(client)).outcome == Outcome.UP
        assert local.count("/") == 2
        client.delete(f"{PREFIX}turn:127.0.0.1")
        assert [ended(slot(local.url("/mine")), worker(client)).outcome for _ in range(3)] == [Outcome.UP] * 3
    assert own(metrics.NO_TURN).sum("wms_probe_turns_refused_total", cause="crawl_delay") >= 2


def test_a_retry_takes_a_turn(client: redis.Redis) -> None:
    """It is a request to the host like any other."""
    with LocalServer({"/": in_turn([failing(502), answer()])}) as local:
        first = fill(slot(local.url("/"), retries=1, spacing_seconds=9), worker(client))
        assert isinstance(first, Again)
        assert first.is_retry
        second = fill(first.order, worker(client))
        assert isinstance(second, Again)
        assert 8 < second.countdown_seconds <= 9
        assert local.count("/") == 1


class Forgetful(HostTurns):
    """Redis goes just when a back-off is to be kept."""

    def back_off(self, hosts: Sequence[str], *, seconds: float, why: str) -> None:
        raise redis.ConnectionError(f"gone: {hosts} {seconds} {why}")


def test_a_back_off_that_cannot_be_kept_costs_no_result(client: redis.Redis) -> None:
    """What was seen is the slot's end all the same."""
    with LocalServer({"/": failing(429, headers={"Retry-After": "60"})}) as local:
        parts = worker(client, turns=Forgetful(client, PREFIX))
        assert ended(slot(local.url("/")), parts).status_code == 429


def test_without_redis_nobody_is_asked_and_the_slot_is_sent_again(client: redis.Redis) -> None:
    """Nobody could say whether it is our turn; counted as a retry for Redis' sake."""
    before = own(metrics.RETRIES).sum("wms_probe_retries_total", cause="redis")
    with redis.Redis(port=free_ports(1)[0]) as nobody, LocalServer({"/": answer()}) as local:
        step = fill(slot(local.url("/")), worker(client, turns=HostTurns(nobody, PREFIX)))
        assert isinstance(step, Again)
        assert local.count("/") == 0
    assert own(metrics.RETRIES).sum("wms_probe_retries_total", cause="redis") - before == 1


def silent_canaries() -> list[Canary]:
    """Two hosts of this machine, not the sites', on whose ports nobody listens."""
    return [Canary(f"127.0.0.{number}", port) for number, port in enumerate(free_ports(2), start=2)]


def test_a_failure_while_we_are_offline_is_not_the_sites(client: redis.Redis) -> None:
    """The retry comes first; then skipped, offline. Once a canary takes connections it is the site that is down."""
    canaries = silent_canaries()
    parts = worker(client, network=Network(Reach(guard=None), configured=canaries))
    dead = refusing_url()
    first = fill(slot(dead, retries=1), parts)
    assert isinstance(first, Again)
    assert first.is_retry
    result = ended(first.order, parts)
    assert (result.outcome, result.reason, result.attempt) == (Outcome.SKIPPED, Reason.OFFLINE, 2)
    assert result.detail == ("our own network: none of 2 canaries answers (connect_refused: Connection refused)")
    with LocalServer({"/": answer(), "/down": failing(500)}) as local:
        assert ended(slot(local.url("/down")), parts).reason == Reason.STATUS
        assert ended(slot(local.url("/")), parts).outcome == Outcome.UP
        down = ended(slot(dead), parts)
        assert (down.outcome, down.reason) == (Outcome.DOWN, Reason.CONNECT_REFUSED)
    with socket.create_server((canaries[0].host, canaries[0].port)):
        parts = worker(client, network=Network(Reach(guard=None), configured=canaries))
        assert ended(slot(dead), parts).outcome == Outcome.DOWN


def test_an_origin_that_cannot_be_reached_for_robots_txt_may_be_ours(client: redis.Redis) -> None:
    """The same question, whichever request failed."""
    canaries = silent_canaries()
    parts = worker(client, network=Network(Reach(guard=None), configured=canaries))
    result = ended(slot(refusing_url(), robots="respect"), parts)
    assert (result.outcome, result.reason) == (Outcome.SKIPPED, Reason.OFFLINE)
    assert ended(slot(refusing_url(), robots="respect"), worker(client)).outcome == Outcome.DOWN
    own_site = slot(refusing_url(), allow_networks=("127.0.0.0/8",))
    assert ended(own_site, parts).outcome == Outcome.DOWN


def test_one_call_a_probe(client: redis.Redis) -> None:
    """Turn and back-off are one call; robots.txt is remembered."""
    with LocalServer({"/robots.txt": answer(b""), "/": answer()}) as local:
        parts, one = worker(client), slot(local.url("/"), robots="respect")
        ended(one, parts)
        before = client.info("stats")["total_commands_processed"]
        calls = client.info("commandstats")["cmdstat_evalsha"]["calls"]
        assert [ended(one, parts).outcome for _ in range(10)] == [Outcome.UP] * 10
        assert client.info("commandstats")["cmdstat_evalsha"]["calls"] - calls == 10
        # Beside these each script's own four (TIME, PTTL, GET, SET) and the two of this test.
        assert client.info("stats")["total_commands_processed"] - before <= 10 * 5 + 3
