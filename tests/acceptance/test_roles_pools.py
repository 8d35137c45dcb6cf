"""Beat, probe worker and persist worker as processes, on each pool: every probe the sites saw is a row."""

from __future__ import annotations

import os
from pathlib import Path

import psycopg
import pytest

from tests.acceptance.orders import Left
from tests.acceptance.processes import roles
from tests.servers import LocalServer, answer, failing
from tests.waiting import wait_until
from wms_tasks.settings import Settings

SITES = """
hosts:
  127.0.0.1: {{spacing: 1ms}}
sites:
  - {{name: up, url: "{base}/up", interval: 1s, timeout: 850ms, jitter: 100ms}}
  - {{name: text, url: "{base}/text", interval: 2s, timeout: 1500ms, expect: {{body_regexp: "h.llo"}}}}
  - {{name: down, url: "{base}/down", interval: 3s, timeout: 1500ms, retries: 1, robots: ignore}}
  - {{name: forbidden, url: "{base}/private/x", interval: 2s, timeout: 1500ms}}
"""
ROUTES = {
    "/up": answer(),
    "/text": answer(b"hello"),
    "/down": failing(503),
    "/private/x": answer(),
    "/robots.txt": answer(b"User-agent: *\nDisallow: /private/\n"),
}
POOLS = [
    pytest.param((), {}, id="threads"),
    pytest.param((), {"WMS_WORKER_POOL": "prefork", "WMS_WORKER_CONCURRENCY": "2"}, id="prefork"),
    pytest.param(("-P", "gevent"), {}, id="gevent"),
]


def rows(settings: Settings) -> list[tuple[str, str, str, int]]:
    """Site, outcome, reason, attempt of every row."""
    with psycopg.connect(settings.database_url) as connection:
        return connection.execute("SELECT site_name, outcome, reason, attempt FROM wms.results").fetchall()


@pytest.mark.slow
@pytest.mark.parametrize(("arguments", "pool"), POOLS)
def test_what_the_sites_saw_is_in_postgres(
    settings: Settings, wms_environ: dict[str, str], tmp_path: Path, arguments: tuple[str, ...], pool: dict[str, str]
) -> None:
    """Attempts in rows = requests the server counted; outcomes and reasons are right; all three stop in order."""
    sites = tmp_path / "sites.yaml"
    with LocalServer(ROUTES) as server, roles({**wms_environ, "WMS_SITES": str(sites)}, tmp_path) as started:
        sites.write_text(SITES.format(base=server.url("")))
        persist = started.worker("--persist")
        persist.until_said("persist.assigned")
        worker = started.worker(*arguments, **pool)
        beat = started.start("beat")
        wait_until(lambda: server.count("/up") >= 4 and server.count("/down") >= 2, 20, "probes")
        assert beat.stop()[0] == 0
        left = Left(settings)
        wait_until(left.empty, 10, "an empty queue")
        assert worker.stop()[0] == 0
        stats = started.start("inspect", "persist_stats", "--json")
        stats.until_said("rows_written")
        seen = {path: server.count(path) for path in ROUTES}
        expected = seen["/up"] + seen["/text"] + seen["/down"]
        wait_until(lambda: sum(a for _, o, _, a in rows(settings) if o != "skipped") >= expected, 10, "rows")
        assert persist.stop()[0] == 0
    # A new site's first slot may have too little left: for robots.txt and the page, each with its turn, or to begin.
    found = [row for row in rows(settings) if row[2] not in {"rate_limited", "expired"}]
    attempts = {name: sum(a for n, _, _, a in found if n == name) for name in ("up", "text", "down")}
    assert attempts == {"up": seen["/up"], "text": seen["/text"], "down": seen["/down"]}
    assert {row[:3] for row in found} == {
        ("up", "up", "ok"),
        ("text", "up", "ok"),
        ("down", "down", "status"),
        ("forbidden", "skipped", "robots"),
    }
    assert max(a for name, _, _, a in found if name == "down") == 2
    assert seen["/private/x"] == 0
    assert 1 <= seen["/robots.txt"] <= 3  # once, or once for each site that asked in the same moment


@pytest.mark.parametrize(
    ("arguments", "environ", "line"),
    [
        ((), {"WMS_WORKER_POOL": "gevent"}, "start it with -P gevent"),
        (("--persist", "-P", "gevent"), {}, "--persist does not run on gevent"),
        ((), {"WMS_ENV": "production"}, "WMS_ENV: "),
    ],
)
def test_what_cannot_work_is_refused_in_one_line(
    redis_url: str, tmp_path: Path, arguments: tuple[str, ...], environ: dict[str, str], line: str
) -> None:
    """Exit 2 before anything starts, and no traceback."""
    with roles({"WMS_BROKER_URL": redis_url, "WMS_ENV": "test", **environ}, tmp_path) as started:
        worker = started.start("worker", *arguments)
        assert worker.wait() == 2
        (said,) = worker.said().splitlines()
        assert said.startswith("wms: ")
        assert line in said


def processors_of(pid: int) -> set[int]:
    """Those that its threads may be on."""
    return {one for thread in Path(f"/proc/{pid}/task").iterdir() for one in os.sched_getaffinity(int(thread.name))}


@pytest.mark.slow
@pytest.mark.skipif(
    not hasattr(os, "sched_getaffinity") or len(os.sched_getaffinity(0)) < 2, reason="needs Linux, and two processors"
)
def test_a_probe_workers_threads_share_a_processor(wms_environ: dict[str, str], tmp_path: Path) -> None:
    """Not where the setting says otherwise, and not where it persists too."""
    with roles(wms_environ, tmp_path) as started:
        kept = started.worker()
        free = started.worker(WMS_WORKER_ONE_PROCESSOR="false")
        persist = started.worker("--persist")
        for one in (kept, free, persist):
            one.until_said("ready.")
        wait_until(lambda: len(processors_of(kept.process.pid)) == 1, 10, "one processor")
        assert processors_of(free.process.pid) == processors_of(persist.process.pid) == os.sched_getaffinity(0)
