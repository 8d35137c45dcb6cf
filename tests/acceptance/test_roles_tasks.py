"""One worker process and orders of our own: what Redis shows of a slot, and how a slot ends."""

from __future__ import annotations

import socket
import sys
import time
from datetime import timedelta
from itertools import pairwise

import msgspec
import pytest

from tests.acceptance.orders import Left, order_for, send
from tests.acceptance.processes import Roles
from tests.acceptance.topics import Topic
from tests.ports import free_ports
from tests.samples import scrape
from tests.servers import LocalServer, answer, failing, in_turn, redirect
from tests.waiting import wait_until
from wms_tasks.settings import Settings
from wms_tasks.sites.known_since import version_of
from wms_tasks.sites.record import Expect


@pytest.mark.slow
def test_what_redis_shows_of_a_slot(settings: Settings, started: Roles, topic: Topic) -> None:
    """RETRY while it is retried, nothing after a success; down after all retries is no FAILURE; a bad message is."""
    left = Left(settings)
    routes = {"/flaky": in_turn([failing(503), answer()]), "/down": failing(503), "/ok": answer()}
    with LocalServer(routes) as server:
        started.worker()
        send(settings, order_for("flaky", server.url("/flaky"), retries=2), task_id="flaky")
        send(settings, order_for("down", server.url("/down"), retries=1), task_id="down")
        send(settings, order_for("ok", server.url("/ok")), task_id="ok")
        send(settings, {"version": 1, "site": "nonsense"}, task_id="bad")
        other = settings.model_copy(update={"env": "staging"})
        send(other, order_for("ok", server.url("/ok")), task_id="other-environment")
        wait_until(lambda: left.state("flaky") == "RETRY" and left.state("down") == "RETRY", 5, "RETRY")
        wait_until(lambda: left.state("bad") == "FAILURE", 5, "FAILURE")
        assert 0 < left.ttl_seconds("bad") <= settings.result_expires_seconds
        wait_until(lambda: topic.of("flaky") and topic.of("down") and topic.of("ok"), 10, "results")
        wait_until(lambda: left.state("flaky") is None and left.state("down") is None, 5, "RETRY forgotten")
        assert server.count("/flaky") == server.count("/down") == 2
        assert server.count("/ok") == 1
    assert left.state("ok") is None
    assert Left(other).queued() == 1
    (flaky,), (down,) = topic.of("flaky"), topic.of("down")
    assert (flaky["outcome"], flaky["attempt"]) == ("up", 2)
    assert (down["outcome"], down["reason"], down["attempt"]) == ("down", "status", 2)
    assert left.unacknowledged() == 0


@pytest.mark.slow
def test_addresses_that_are_not_for_probes(settings: Settings, started: Roles, topic: Topic) -> None:
    """Skipped, not retried and not asked, robots.txt neither; a site's own networks open it; led there it is down."""
    away = {"/away": redirect("http://127.0.0.2:8000/")}
    with LocalServer({"/": answer(), **away}) as server:
        started.worker(WMS_ALLOW_NETWORKS="")
        url, own = server.url("/"), {"allow_networks": ("127.0.0.1/32",), "retries": 1}
        send(settings, order_for("closed", url, retries=1), task_id="closed")
        send(settings, order_for("robots", url, retries=1, robots="respect"), task_id="robots")
        wait_until(lambda: topic.of("closed") and topic.of("robots"), 20, "results")
        assert server.seen == []
        send(settings, order_for("opened", url, **own), task_id="opened")
        send(settings, order_for("away", server.url("/away"), **own), task_id="away")
        wait_until(lambda: topic.of("opened") and topic.of("away"), 20, "results")
    for (one,) in (topic.of("closed"), topic.of("robots")):
        assert (one["outcome"], one["reason"], one["attempt"]) == ("skipped", "blocked_address", 1)
        assert one["detail"].startswith("127.0.0.1 is loopback; WMS_ALLOW_NETWORKS, or allow_networks: of the site")
        assert one["started_at"] is None
    (opened,), (led_away,) = topic.of("opened"), topic.of("away")
    assert (opened["outcome"], opened["reason"]) == ("up", "ok")
    assert (led_away["outcome"], led_away["reason"], led_away["attempt"]) == ("down", "blocked_address", 1)
    assert led_away["started_at"] is not None
    assert led_away["detail"].startswith("127.0.0.2 is loopback")


@pytest.mark.slow
def test_a_host_is_asked_no_more_often_than_its_spacing(settings: Settings, started: Roles, topic: Topic) -> None:
    """Six slots of one host: half a second apart, waiting holds no thread and is no RETRY; late ones are skipped."""
    left = Left(settings)
    with LocalServer({"/": answer(), "/other": answer()}) as server:
        started.worker(WMS_WORKER_CONCURRENCY="2")
        for number in range(6):
            one = order_for(f"s{number}", server.url("/"), spacing_seconds=0.5, seconds=2.0)
            send(settings, one, task_id=f"s{number}")
        other = server.url("/other").replace("127.0.0.1", "localhost")
        send(settings, order_for("other", other), task_id="other")
        wait_until(lambda: topic.of("other"), 5, "another host's result")
        assert server.count("/") < 4
        wait_until(lambda: len([one for one in topic.read() if one["site_name"] != "other"]) == 6, 10, "six results")
        times = [request.at for request in server.seen if request.path == "/"]
    assert all(later - earlier > 0.4 for earlier, later in pairwise(times))
    outcomes = [one["outcome"] for one in topic.results if one["site_name"] != "other"]
    assert outcomes.count("up") == len(times)
    assert {one["reason"] for one in topic.results if one["outcome"] == "skipped"} == {"rate_limited"}
    assert [left.state(f"s{number}") for number in range(6)] == [None] * 6


@pytest.mark.slow
def test_kafka_away_retries_with_the_finished_result(settings: Settings, started: Roles) -> None:
    """The site is probed once, whatever Kafka does; the slot that Kafka missed is a FAILURE of ours."""
    left, (port,) = Left(settings), free_ports(1)
    with LocalServer({"/": answer()}) as server:
        started.worker(WMS_KAFKA_BOOTSTRAP_SERVERS="127.0.0.1:1", WMS_METRICS_PORT=str(port))
        send(settings, order_for("a", server.url("/"), seconds=6.0), task_id="a")
        wait_until(lambda: left.state("a") == "RETRY", 10, "RETRY")
        wait_until(lambda: left.state("a") in {"FAILURE", "REVOKED"}, 20, "the end")
        assert server.count("/") == 1
        assert left.state("a") == "FAILURE"
    page = scrape(port)
    assert page.by("wms_probe_given_up_total", "cause") == {("unpublished",): 1}
    retries = page.by("wms_probe_retries_total", "cause")
    assert retries.keys() == {("kafka",)}
    assert page.by("wms_publish_errors_total", "reason") == {("timeout",): retries["kafka",] + 1}


@pytest.mark.slow
def test_no_header_of_a_site_reaches_the_log_at_debug(settings: Settings, started: Roles, topic: Topic) -> None:
    """Begun, retried and published, with everything logged that can be: the secret is not there."""
    secret = "Bearer c0ffee-not-for-logs"
    with LocalServer({"/": in_turn([failing(), answer()])}) as server:
        worker = started.worker(WMS_LOG_LEVEL="DEBUG")
        order = order_for("a", server.url("/"), headers={"Authorization": secret}, retries=1)
        send(settings, order, task_id="a")
        wait_until(lambda: topic.of("a"), 15, "the result")
        assert server.seen[-1].headers["authorization"] == secret
        worker.until_said("probe.ended")
    assert worker.stop()[0] == 0
    assert "c0ffee" not in worker.said()
    # The line that would hold it, were the message shorter: Celery cuts it at 1024 characters.
    assert "TaskPool" not in worker.said()


@pytest.mark.slow
def test_a_message_for_a_later_turn_is_not_begun_before(settings: Settings, started: Roles, topic: Topic) -> None:
    """An order that carries a turn waits for it, in the queue's own time."""
    with LocalServer({"/": answer()}) as server:
        started.worker()
        one = order_for("a", server.url("/"))
        turn_at = one.due_at + timedelta(seconds=1.5)
        began = time.monotonic()
        send(settings, msgspec.structs.replace(one, turn_at=turn_at), task_id="a")
        wait_until(lambda: topic.of("a"), 10, "the result")
        assert server.seen[0].at - began > 1.2


@pytest.mark.slow
def test_our_own_network_down_is_said_once_and_no_site_is_down_for_it(
    settings: Settings, started: Roles, topic: Topic
) -> None:
    """Slots that fail by the network end skipped, offline; one line in the log, and one when it is over."""
    ports = free_ports(2)
    with LocalServer({"/": answer()}) as server:
        worker = started.worker(WMS_CANARIES=f"127.0.0.1:{ports[0]},http://127.0.0.2:{ports[1]}/")
        for number in range(3):
            order = order_for(f"s{number}", f"http://no-such-site-{number}.invalid/", retries=0)
            send(settings, order, task_id=f"s{number}")
        wait_until(lambda: len(topic.read()) == 3, 20, "three results")
        assert {(one["outcome"], one["reason"]) for one in topic.results} == {("skipped", "offline")}
        assert all("none of 2 canaries" in one["detail"] for one in topic.results)
        with socket.create_server(("127.0.0.2", ports[1])):
            wait_until(
                lambda: (
                    send(settings, order_for("late", "http://no-such-site-9.invalid/", retries=0), task_id="late")
                    or any(one["outcome"] == "down" for one in topic.of("late"))
                ),
                20,
                "down again",
                every_seconds=0.5,
            )
        send(settings, order_for("up", server.url("/")), task_id="up")
        wait_until(lambda: topic.of("up"), 10, "a site that is up")
    worker.stop()
    assert worker.said().count("network.offline") == 1
    assert worker.said().count("network.online") == 1


# This release, but as if it had been made before orders of version 2.
_OLDER = """
import sys
import wms_tasks.order
wms_tasks.order.ORDER_VERSION = 1
from celery.__main__ import main
main()
"""


@pytest.mark.slow
def test_an_older_worker_leaves_to_a_newer_one_what_it_does_not_know(
    settings: Settings, started: Roles, topic: Topic
) -> None:
    """It probes what it knows; what uses something new waits, in the queue or with it, and is probed by the newer."""
    with LocalServer({"/": answer(b"all systems go")}) as server:
        program = [sys.executable, "-c", _OLDER, "-A", "wms_tasks"]
        older = started.start("worker", "-n", "older@%h", program=program, WMS_WORKER_NAME="older")
        older.until_said(" ready.")
        new = Expect(body_not_regexps=("panic",), slow_seconds=50.0)
        for number in range(6):
            order = order_for(f"new{number}", server.url("/"), seconds=600.0, expect=new)
            send(settings, msgspec.structs.replace(order, version=version_of(order.site)), task_id=f"new{number}")
            send(settings, order_for(f"known{number}", server.url("/"), seconds=600.0), task_id=f"known{number}")
        older.until_said("probe.left_to_newer_worker")
        wait_until(lambda: len(topic.read()) == 6, 30, "what it knows")
        started.worker(WMS_WORKER_NAME="newer")
        assert older.stop()[0] == 0
        wait_until(lambda: len(topic.read()) == 12, 40, "all of them")
    assert {one["worker"] for one in topic.results if one["site_name"].startswith("known")} == {"older"}
    assert {one["worker"] for one in topic.results if one["site_name"].startswith("new")} == {"newer"}
    assert {one["outcome"] for one in topic.results} == {"up"}
    assert server.count("/") == 12


@pytest.mark.slow
def test_without_a_newer_worker_the_slot_is_missed(settings: Settings, started: Roles, topic: Topic) -> None:
    """Nobody is asked, nothing is a FAILURE; until then the message is the very one that came."""
    left, (port,) = Left(settings), free_ports(1)
    with LocalServer({"/": answer()}) as server:
        worker = started.worker(WMS_METRICS_PORT=str(port))
        higher = order_for("higher", server.url("/"), seconds=4.0).to_message() | {"version": 99, "of_tomorrow": 1}
        unknown = order_for("unknown", server.url("/"), seconds=4.0).to_message()
        unknown["site"]["expect"] = {"of_tomorrow": ["x"]}
        late = order_for("late", server.url("/"), seconds=300.0).to_message() | {"version": 99, "of_tomorrow": {"a": 1}}
        for order in (higher, unknown, late):
            send(settings, order, task_id=order["site"]["name"])
        wait_until(lambda: topic.of("higher") and topic.of("unknown"), 30, "missed slots")
        assert server.seen == []
    assert scrape(port).by("wms_probe_given_up_total", "cause") == {("too_old",): 2}
    for one in topic.results:
        assert (one["outcome"], one["reason"], one["started_at"]) == ("missed", "worker_too_old", None)
    assert left.state("higher") is left.state("unknown") is left.state("late") is None
    assert worker.stop()[0] == 0
    assert left.waiting_orders() == [late]
