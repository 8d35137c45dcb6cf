"""/metrics of the roles as processes, against what the site saw and what is in Postgres."""

from __future__ import annotations

import signal
from collections import Counter
from collections.abc import Mapping
from functools import partial
from pathlib import Path

import psycopg
import pytest

from tests.acceptance.orders import Left, order_for, send
from tests.acceptance.processes import roles
from tests.ports import free_ports
from tests.samples import Samples, is_ready, scrape
from tests.servers import LocalServer, answer, failing
from tests.waiting import wait_until
from wms_tasks.settings import Settings

SITES = """
hosts:
  127.0.0.1: {{spacing: 1ms}}
sites:
  - {{name: up, url: "{base}/up", interval: 1s, jitter: 100ms}}
  - {{name: down, url: "{base}/down", interval: 3s, retries: 1, robots: ignore}}
  - {{name: forbidden, url: "{base}/private/x", interval: 2s}}
"""
ROUTES = {
    "/up": answer(),
    "/down": failing(503),
    "/private/x": answer(),
    "/robots.txt": answer(b"User-agent: *\nDisallow: /private/\n"),
}
PREFORK = {"WMS_WORKER_POOL": "prefork", "WMS_WORKER_CONCURRENCY": "2"}
POOLS = [pytest.param({}, id="threads"), pytest.param(PREFORK, id="prefork")]
ENDS = {("up", "ok"), ("down", "status"), ("skipped", "robots")}


def ended(port: int) -> dict[tuple[str, ...], float]:
    """Slots by outcome and reason, as the worker counts them."""
    return scrape(port).by("wms_probe_results_total", "outcome", "reason")


def stored(settings: Settings) -> dict[tuple[str, str], int]:
    """Rows by outcome and reason."""
    with psycopg.connect(settings.database_url) as connection:
        found = connection.execute("SELECT outcome, reason, count(*) FROM wms.results GROUP BY 1, 2").fetchall()
    return {(outcome, reason): number for outcome, reason, number in found}


def wait_for_rows(settings: Settings, results: Mapping[tuple[str, ...], float], given_up: float) -> Counter[str]:
    """
    Until there is a row for each slot that ended; those that no result was counted for.

    On a busy machine a slot of a second may expire in the queue. It is given up, and has a row as well: missed, or the
    result of an attempt before.
    """
    wanted = sum(results.values()) + given_up
    try:
        wait_until(lambda: sum(stored(settings).values()) == wanted, 20, f"{wanted:g} rows")
    except AssertionError as error:
        raise AssertionError(f"{error}; counted: {results}; stored: {stored(settings)}") from error
    rows = stored(settings)
    assert not Counter(results) - Counter(rows)
    return Counter(rows) - Counter(results)


def check_beat(page: Samples) -> None:
    """Sends, lease, sites, the refused edit; nothing of another role's."""
    assert page.sum("wms_beat_sends_total", queue="probe") >= page.sum("wms_beat_lateness_seconds_count") >= 6
    # The first of each site waits for beat's own start.
    assert page.sum("wms_beat_lateness_seconds_bucket", le="1.0") >= page.sum("wms_beat_lateness_seconds_count") - 3
    assert page.sum("wms_beat_lease_held") == page.sum("wms_beat_leads_total") == 1
    assert page.sum("wms_beat_sites") == 3
    assert page.by("wms_beat_reloads_total", "outcome") == {("refused",): 1}
    assert_only(page, "wms_beat_")


def check_worker(page: Samples, server: LocalServer, results: Mapping[tuple[str, ...], float]) -> None:
    """What the site saw, and how each slot ended; on a busy machine some end early, after one attempt or none."""
    up, down, given_up = server.count("/up"), server.count("/down"), page.sum("wms_probe_given_up_total")
    up_slots, down_slots = results["up", "ok"], results["down", "status"]
    assert set(results) - {("skipped", "rate_limited")} == ENDS
    assert page.sum("wms_probe_duration_seconds_count", outcome="up") == up == up_slots
    assert page.sum("wms_probe_duration_seconds_count", outcome="down") == down
    assert page.by("wms_probe_retries_total", "cause").keys() == {("site",)}
    assert down - down_slots <= page.sum("wms_probe_retries_total", cause="site") <= down_slots + given_up
    assert 0 <= page.sum("wms_probe_lateness_seconds_count") - (up_slots + down_slots) <= given_up
    assert page.sum("wms_probe_turn_wait_seconds_count") >= up + down
    for phase in ("connect", "processing", "transfer"):
        assert page.sum("wms_probe_phase_seconds_count", phase=phase, outcome="up", reason="ok") == up
    assert page.sum("wms_probe_phase_seconds_count", phase="tls") == 0
    assert page.sum("wms_probe_robots_total", source="fetched") == server.count("/robots.txt")
    assert page.sum("wms_probe_robots_total", verdict="forbidden") == results["skipped", "robots"]
    assert page.sum("wms_publish_delivery_seconds_count") == sum(results.values())
    assert page.sum("wms_publish_errors_total") == page.sum("wms_probe_given_up_total", cause="unpublished") == 0
    assert_only(page, "wms_probe_")


def check_persist(page: Samples, server: LocalServer, *, rows: float) -> None:
    """What is in Postgres, and one call of the heartbeat."""
    assert page.sum("wms_persist_rows_total") == page.sum("wms_persist_delay_seconds_count") == rows
    assert page.sum("wms_persist_duplicates_total") == page.sum("wms_persist_rejects_total") == 0
    assert page.by("wms_persist_state", "state") == {("running",): 1}
    assert page.by("wms_heartbeat_calls_total", "outcome") == {("ok",): server.count("/ping")} == {("ok",): 1}
    assert_only(page, "wms_persist_")


def assert_only(page: Samples, mine: str) -> None:
    """The release, and no other role's metrics."""
    assert page.sum("wms_build_info") == 1
    prefixes = {"wms_beat_", "wms_probe_", "wms_persist_"} - {mine}
    assert not [name for name in page.families if name.startswith(tuple(prefixes))]


@pytest.mark.slow
@pytest.mark.parametrize("pool", POOLS)
def test_every_role_says_what_the_site_and_postgres_saw(
    settings: Settings, wms_environ: dict[str, str], tmp_path: Path, pool: dict[str, str]
) -> None:
    """Attempts = requests, results and what was given up = rows, deliveries = rows; each role shows its own only."""
    sites = tmp_path / "sites.yaml"
    at = dict(zip(("beat", "worker", "persist"), free_ports(3), strict=True))
    ports = {role: {"WMS_METRICS_PORT": str(port)} for role, port in at.items()}
    with (
        LocalServer({**ROUTES, "/ping": answer()}) as server,
        roles({**wms_environ, "WMS_SITES": str(sites)}, tmp_path) as started,
    ):
        sites.write_text(SITES.format(base=server.url("")))
        persist = started.worker("--persist", **ports["persist"], WMS_HEARTBEAT_URL=server.url("/ping"))
        persist.until_said("persist.assigned")
        shared = tmp_path / "shared"
        shared.mkdir()
        worker = started.worker(TMPDIR=str(shared), **pool, **ports["worker"])
        beat = started.start("beat", **ports["beat"])
        for role, port in at.items():
            wait_until(partial(is_ready, port), 20, f"{role} is ready")
        wait_until(lambda: server.count("/up") >= 4 and server.count("/down") >= 2, 30, "probes")
        wait_until(lambda: ended(at["worker"]).keys() >= ENDS, 30, "slots that ended each way")
        sites.write_text("sites: nonsense")
        beat.until_said("sites.file_refused")
        sent = scrape(at["beat"])
        assert beat.stop()[0] == 0
        left = Left(settings)
        wait_until(left.empty, 10, "an empty queue")

        probed = scrape(at["worker"])
        results = probed.by("wms_probe_results_total", "outcome", "reason")
        given_up = probed.sum("wms_probe_given_up_total")
        rest = wait_for_rows(settings, results, given_up)
        wait_until(lambda: scrape(at["persist"]).sum("wms_persist_lag_messages") == 0, 10, "no lag")
        # Counted after the commit, which is what others see first.
        wanted = sum(results.values()) + given_up
        wait_until(lambda: scrape(at["persist"]).sum("wms_persist_rows_total") >= wanted, 10, "rows to be counted")
        kept = scrape(at["persist"])
        wait_until(lambda: scrape(at["persist"]).sum("wms_schema_version") >= 1, 10, "the schema's version")
        wait_until(lambda: scrape(at["persist"]).sum("wms_database_partitions_ahead_seconds") > 0, 10, "partitions")
        wait_until(lambda: scrape(at["worker"]).has("wms_queue_messages"), 10, "a look at the queues")
        looked = scrape(at["worker"])
        assert len(list(shared.glob("wms-metrics-*"))) == len(pool) // 2
        assert worker.stop()[0] == 0
        assert not list(shared.glob("wms-metrics-*"))
        assert persist.stop()[0] == 0
    check_beat(sent)
    check_worker(probed, server, results)
    assert set(rest) <= {("missed", "expired"), ("missed", "worker_lost"), ("down", "status")}
    assert sum(results.values()) + given_up >= sent.sum("wms_beat_sends_total", queue="probe")
    assert abs(looked.sum("wms_clock_offset_seconds")) < 0.5
    assert looked.has("wms_queue_oldest_age_seconds")
    check_persist(kept, server, rows=wanted)
    assert server.url("/ping") not in persist.said()


@pytest.mark.slow
def test_an_old_queue_is_seen_and_what_expired_in_it_counted(
    settings: Settings, wms_environ: dict[str, str], tmp_path: Path
) -> None:
    """A queue that grows old is seen by whoever is left; what expired in it is counted by the worker that comes."""
    port, persist_port = free_ports(2)
    left = Left(settings)
    with LocalServer({"/": answer()}) as server, roles(wms_environ, tmp_path) as started:
        send(settings, order_for("late", server.url("/"), seconds=1.0), task_id="late")
        send(settings, order_for("old", server.url("/"), seconds=60.0), task_id="old")
        persist = started.worker("--persist", WMS_METRICS_PORT=str(persist_port))
        wait_until(lambda: scrape(persist_port).sum("wms_queue_messages", queue="probe") == 2, 10, "two messages")
        wait_until(lambda: scrape(persist_port).sum("wms_queue_oldest_age_seconds", queue="probe") > 1, 10, "their age")
        assert persist.stop(signal.SIGTERM)[0] == 0
        started.worker(WMS_METRICS_PORT=str(port))
        wait_until(left.empty, 10, "an empty queue")
        page = scrape(port)
        assert page.by("wms_probe_given_up_total", "cause") == {("expired",): 1}
        assert page.sum("wms_probe_results_total", outcome="up") == server.count("/") == 1
