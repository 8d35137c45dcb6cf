"""Real processes and the ledger: what a worker writes down of a missed slot, and that every expected slot is a row."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path

import msgspec
import pytest
import redis

from tests.acceptance.orders import Left, order_for, send
from tests.acceptance.processes import Roles, roles
from tests.ledgers import missed
from tests.persisting import query, running, wait_for_rows
from tests.ports import free_ports
from tests.samples import own, scrape
from tests.servers import LocalServer, answer, slow
from tests.waiting import wait_until
from wms_tasks import clock, metrics
from wms_tasks.codec import json_codec
from wms_tasks.fill import decide
from wms_tasks.fill.decide import Here
from wms_tasks.fill.missed import unpublished_key
from wms_tasks.ledger.close import drain_unpublished
from wms_tasks.schedule.entries import SiteEntry
from wms_tasks.settings import Settings
from wms_tasks.sites.file import load_sites
from wms_tasks.store.balance import balance, total
from wms_tasks.store.connect import session
from wms_tasks.topic import ensure_topic

# Beat and probe workers must not need it.
NO_DATABASE = {"WMS_DATABASE_URL": "postgresql://nobody@127.0.0.1:1/none"}
LEASE_SECONDS = 2.0


@pytest.fixture
def started(wms_environ: dict[str, str], tmp_path: Path) -> Iterator[Roles]:
    """Role processes of this test."""
    with roles({**wms_environ, **NO_DATABASE}, tmp_path) as running:
        yield running


def until(instant: datetime) -> None:
    """Let time pass for the processes."""
    wait_until(lambda: clock.utcnow() >= instant, 60, "the time")


def rows(settings: Settings) -> dict[str, tuple[str, str]]:
    """Site → outcome and reason."""
    return {name: (o, r) for name, o, r in query(settings, "SELECT site_name, outcome, reason FROM wms.results")}


@pytest.mark.slow
def test_what_a_worker_writes_down_of_a_message_that_expired(settings: Settings, started: Roles) -> None:
    """
    Never taken: expired. Taken by a worker that was killed: worker_lost. With a result in hand: that result. Begun when
    its slot was over: expired, too.

    What the killed worker held is made to look old, instead of waiting for the visibility timeout.
    """
    ensure_topic(settings)
    left = Left(settings)
    with LocalServer({"/": answer(), "/slow": slow(30.0)}) as server:
        first = started.worker("-c", "1")
        send(settings, order_for("held", server.url("/slow"), seconds=4.0, timeout_seconds=3.5), task_id="held")
        wait_until(lambda: server.count("/slow") == 1, 10, "the probe")
        first.send_signal(signal.SIGKILL)
        first.wait()
        assert left.unacknowledged() == 1
        send(settings, order_for("never", server.url("/"), seconds=1.0), task_id="never")
        in_hand = order_for("in hand", server.url("/"), seconds=1.0)
        result = decide.skipped(in_hand, decide.Reason.ROBOTS, None, Here(location="local", worker="w"))
        send(settings, msgspec.structs.replace(in_hand, result=result), task_id="in-hand")
        until(clock.utcnow() + timedelta(seconds=4.1))
        with redis.Redis.from_url(settings.broker_url) as client:
            index = f"{settings.key_prefix}unacked_index"
            client.zadd(index, dict.fromkeys(client.zrange(index, 0, -1), 0), xx=True)
        (port,) = free_ports(1)
        started.worker("-c", "1", WMS_METRICS_PORT=str(port))
        late = order_for("late", server.url("/"), seconds=1.0)
        over = msgspec.structs.replace(late, expires_at=late.due_at)
        send(settings, over.to_message(), task_id="late")
        with running(settings):
            wait_for_rows(settings, 4)
        given_up = scrape(port).by("wms_probe_given_up_total", "cause")
    assert rows(settings) == {
        "held": ("missed", "worker_lost"),
        "never": ("missed", "expired"),
        "in hand": ("skipped", "robots"),
        "late": ("missed", "expired"),
    }
    assert given_up == {("expired",): 2, ("in_hand",): 1, ("too_late",): 1}
    assert server.count("/") == 0


@pytest.mark.slow
def test_a_worker_that_cannot_publish_writes_that_down(settings: Settings, started: Roles) -> None:
    """Kafka is away for the whole slot, and for the message that expires: both are in Redis' list, and counted once."""
    with LocalServer({"/": answer()}) as server, redis.Redis.from_url(settings.broker_url) as client:
        send(settings, order_for("expires", server.url("/"), seconds=0.5), task_id="expires")
        until(clock.utcnow() + timedelta(seconds=0.6))
        nobody, port = free_ports(2)
        started.worker(WMS_KAFKA_BOOTSTRAP_SERVERS=f"127.0.0.1:{nobody}", WMS_METRICS_PORT=str(port))
        send(settings, order_for("answers", server.url("/"), seconds=3.0), task_id="answers")
        key = unpublished_key(settings)
        wait_until(lambda: client.llen(key) == 2, 20, "both written down")
        told = {one.site_name: one for one in map(json_codec.decode, client.lrange(key, 0, -1))}
        page = scrape(port)
    assert {name: (one.outcome, one.reason) for name, one in told.items()} == {
        "answers": ("missed", "not_published"),
        "expires": ("missed", "expired"),
    }
    assert told["answers"].status_code is told["answers"].started_at is None
    assert page.by("wms_probe_given_up_total", "cause") == {("expired",): 1, ("unpublished",): 1}
    before = own(metrics.MISSED)
    assert drain_unpublished(settings) == 2
    assert own(metrics.MISSED).sum("wms_ledger_missed_total") - before.sum("wms_ledger_missed_total") == 1


def write_sites(folder: Path, url: str) -> Path:
    """Three sites, each second."""
    path = folder / "sites.yaml"
    lines = [
        f"  - {{name: {name}, url: '{url}', interval: 1s, timeout: 500ms, jitter: {jitter}, robots: ignore}}"
        for name, jitter in (("a", "0s"), ("b", "0s"), ("c", "400ms"))
    ]
    path.write_text("hosts: {127.0.0.1: {spacing: 1ms}}\nsites:\n" + "\n".join(lines) + "\n")
    return path


def closed_until(settings: Settings) -> datetime | None:
    """How far the ledger is closed."""
    found = query(settings, "SELECT closed_until FROM wms.closing")
    return found[0][0] if found else None


@pytest.mark.slow
@pytest.mark.timeout(180)
def test_every_slot_is_a_row_though_worker_and_beat_were_killed(
    settings: Settings, started: Roles, tmp_path: Path
) -> None:
    """
    Sites of a second; the worker is gone for some seconds, then beat is. Afterwards every slot of every site, counted
    from the sites file alone, is one row; the reasons are those of what was done; and the ledger balances.
    """
    with LocalServer({"/": answer()}) as server:
        sites = write_sites(tmp_path, server.url("/"))
        environ = {"WMS_SITES": str(sites), "WMS_LEASE_SECONDS": str(LEASE_SECONDS), "WMS_CLOSE_GRACE_SECONDS": "2"}
        database = {"WMS_DATABASE_URL": settings.database_url}
        started.worker("--persist", **environ, **database)
        worker = started.worker(**environ)
        beat = started.start("beat", "-s", str(tmp_path / "beat"), **environ)
        beat.until_said("beat.leading")
        began = clock.utcnow()
        until(began + timedelta(seconds=2))
        worker.send_signal(signal.SIGKILL)
        worker.wait()
        no_worker_since = clock.utcnow()
        until(no_worker_since + timedelta(seconds=4))
        started.worker(**environ)
        worker_back_at = clock.utcnow()
        until(worker_back_at + timedelta(seconds=2))
        beat.send_signal(signal.SIGKILL)
        beat.wait()
        no_beat_since = clock.utcnow()
        until(no_beat_since + timedelta(seconds=3))
        beat = started.start("beat", "-s", str(tmp_path / "beat"), **environ)
        beat.until_said("beat.leading")
        beat_back_at = clock.utcnow()
        horizon = beat_back_at + timedelta(seconds=2)
        wait_until(lambda: (closed_until(settings) or began) > horizon + timedelta(seconds=1), 40, "closed")
    found = query(settings, "SELECT site_id, scheduled_at, outcome, reason FROM wms.results")
    seen = {(site_id, clock.to_microseconds(at)): (outcome, reason) for site_id, at, outcome, reason in found}
    for entry in map(SiteEntry, load_sites(sites)):
        slots = entry.slots
        first = slots.after(slots.at(clock.to_microseconds(began)))
        for slot in range(first, clock.to_microseconds(horizon), slots.interval_us):
            assert (entry.site.site_id, slot) in seen
    reasons = missed(settings)
    second = timedelta(seconds=1)
    worker_gone = {r for at, r in reasons.items() if no_worker_since < at < worker_back_at - 2 * second}
    beat_gone = {r for at, r in reasons.items() if no_beat_since + second < at < beat_back_at - 2 * second}
    assert "expired" in worker_gone <= {"expired", "worker_lost"}
    assert beat_gone == {"scheduler_down"}
    with session(settings) as connection:
        whole = total(balance(connection, began, horizon))
    assert whole.accounted == whole.expected > 0
    assert whole.open == 0
    assert whole.up > 0
