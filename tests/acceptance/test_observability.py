"""Every query of the dashboards and every rule, run against a running system: its metrics, and its Postgres."""

from __future__ import annotations

import http.client
import json
import os
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import psycopg
import pytest
import trustme
import yaml

from tests.acceptance.processes import roles
from tests.certificates import in_front
from tests.dashboards import POSTGRES, PROMETHEUS, Query, queries
from tests.ports import free_ports
from tests.promql import ROOT, names_in
from tests.samples import is_ready, scrape
from tests.servers import LocalServer, answer, failing, redirect
from tests.waiting import wait_until
from wms_tasks.settings import Settings
from wms_tasks.store.housekeep import make_partitions

SITES = """
hosts:
  127.0.0.1: {{spacing: 1ms}}
sites:
  - {{name: up, url: "{http}/hop", interval: 1s, jitter: 100ms}}
  - {{name: down, url: "{http}/down", interval: 2s, retries: 1, robots: ignore}}
  - {{name: forbidden, url: "{http}/private/x", interval: 2s}}
  - {{name: tls, url: "{https}/", interval: 1s, robots: ignore, tls: {{verify: false}}}}
"""
ROUTES = {
    "/hop": redirect("/up"),
    "/up": answer(),
    "/down": failing(503),
    "/robots.txt": answer(b"User-agent: *\nDisallow: /private/\n"),
}
# What a system has nothing of in its first half minute, if nothing goes wrong: no series is no fault there.
QUIET = {
    "ALERTS",
    "wms_beat_reloads_total",
    "wms_probe_network_state",
    "wms_probe_network_checks_total",
    "wms_database_day_bytes",
    "wms_database_full_in_seconds",
    "probe_failed_due_to_regex",
    "wms_probe_given_up_total",
}


def run_sql(settings: Settings, query: Query) -> list[tuple[Any, ...]]:
    """As Grafana would ask it, of the last hours, reading only."""
    text = query.text.replace("$__timeFilter(", "wms_test_filter(")
    while "wms_test_filter(" in text:
        before, _, rest = text.partition("wms_test_filter(")
        column, _, after = rest.partition(")")
        text = f"{before}{column} BETWEEN now() - interval '6 hours' AND now(){after}"
    with psycopg.connect(settings.database_url) as connection:
        connection.read_only = True
        return connection.execute(text.encode()).fetchall()


def configuration(folder: Path, ports: Mapping[str, int]) -> Path:
    """ops/prometheus as it is, but for where the roles are found, and how often they are asked."""
    shutil.copytree(ROOT / "ops" / "prometheus", folder / "prometheus")
    path = folder / "prometheus" / "prometheus.yml"
    document = yaml.safe_load(path.read_text(encoding="utf-8"))
    document["global"] = {"scrape_interval": "1s", "evaluation_interval": "1s"}
    document["scrape_configs"] = [job for job in document["scrape_configs"] if "dns_sd_configs" in job]
    for job in document["scrape_configs"]:
        (found,) = job.pop("dns_sd_configs")
        job["static_configs"] = [
            {"targets": [f"127.0.0.1:{ports[role]}"], "labels": {"__meta_dns_name": role}} for role in found["names"]
        ]
    path.write_text(yaml.safe_dump(document), encoding="utf-8")
    return path


class Prometheus:
    """A real one."""

    def __init__(self, port: int) -> None:
        self.port = port

    def ask(self, path: str, **parameters: str) -> Any:
        """``data`` of its answer."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)
        try:
            connection.request("GET", f"/api/v1/{path}?{urlencode(parameters)}")
            body = json.loads(connection.getresponse().read())
        finally:
            connection.close()
        assert body["status"] == "success", body
        return body["data"]

    def series(self, expression: str) -> list[Any]:
        """What an expression is now."""
        found: list[Any] = self.ask("query", query=expression)["result"]
        return found

    def answers(self) -> bool:
        """Whether it is up by now."""
        try:
            return bool(self.ask("status/buildinfo"))
        except (OSError, ValueError):
            return False


@contextmanager
def prometheus(folder: Path, ports: Mapping[str, int]) -> Iterator[Prometheus]:
    """Running, scraping these; skips here and fails where CI=true, if there is none."""
    program = shutil.which("prometheus")
    if program is None:
        reason = (
            "prometheus is not installed here (Debian's package): its queries were not run, only their names checked"
        )
        pytest.fail(reason, pytrace=False) if os.environ.get("CI") == "true" else pytest.skip(reason)
    (port,) = free_ports(1)
    command = [
        *(str(program), f"--config.file={configuration(folder, ports)}", f"--storage.tsdb.path={folder / 'tsdb'}"),
        *(f"--web.listen-address=127.0.0.1:{port}", "--log.level=warn"),
    ]
    with (folder / "prometheus.log").open("wb") as log, subprocess.Popen(command, stdout=log, stderr=log) as process:
        try:
            one = Prometheus(port)
            wait_until(one.answers, 30, "Prometheus answers")
            yield one
        finally:
            process.terminate()
            process.wait(timeout=20)


def check_prometheus(found: Prometheus) -> None:
    """Each query has an answer, each rule is evaluated, and no alert says that a sound system is not one."""
    left = {one.text for one in queries() if one.uid == PROMETHEUS}

    def all_answered() -> bool:
        """A rate needs two scrapes."""
        left.difference_update({one for one in left if found.series(one) or names_in(one) & QUIET})
        return not left

    try:
        wait_until(all_answered, 60, "an answer to each query", every_seconds=1.0)
    except AssertionError as error:
        raise AssertionError(f"without an answer: {sorted(left)}") from error
    groups = found.ask("rules")["groups"]
    rules = [rule for group in groups for rule in group["rules"]]
    assert [rule["name"] for rule in rules if rule["health"] != "ok"] == []
    firing = {rule["name"] for rule in rules if rule.get("state") == "firing"}
    assert firing <= {"WmsSiteDown"}
    # The job's own instance would be where it was asked.
    instances = {one["metric"]["instance"].rpartition("/")[2] for one in found.series('probe_success{job="blackbox"}')}
    assert instances == {"hop", "down", ""}
    assert {one["metric"]["role"] for one in found.series('up{job="wms"}')} == {"beat", "worker", "persist"}


@pytest.mark.slow
def test_every_query_and_rule_has_an_answer_in_a_running_system(
    settings: Settings, wms_environ: dict[str, str], tmp_path: Path
) -> None:
    """Names on the pages, SQL in Postgres, PromQL and rules in a real Prometheus."""
    sites = tmp_path / "sites.yaml"
    ports = dict(zip(("beat", "worker", "persist"), free_ports(3), strict=True))
    leaf = trustme.CA().issue_cert("127.0.0.1")
    with (
        LocalServer(ROUTES) as plain,
        LocalServer({"/": answer()}, tls=in_front(leaf)) as secure,
        roles({**wms_environ, "WMS_SITES": str(sites)}, tmp_path) as started,
    ):
        sites.write_text(SITES.format(http=plain.url(""), https=secure.url("")))
        started.worker("--persist", "-n", "persist@%h", WMS_METRICS_PORT=str(ports["persist"]))
        started.worker(WMS_METRICS_PORT=str(ports["worker"]))
        started.start("beat", WMS_METRICS_PORT=str(ports["beat"]))
        for role, port in ports.items():
            wait_until(partial(is_ready, port), 40, f"{role} is ready")
        make_partitions(settings)
        page = partial(scrape, ports["persist"], "/metrics/sites")
        wait_until(lambda: page().sum("wms_site_down_slots") >= 2, 60, "a site that is down")
        wait_until(lambda: page().has("probe_tls_cipher_info"), 40, "one of https")
        pages = [scrape(port) for port in ports.values()] + [page()]
        shown = {sample.name for one in pages for family in one.families.values() for sample in family.samples}
        for query in queries():
            if query.uid == PROMETHEUS:
                used = {name for name in names_in(query.text) if ":" not in name} - QUIET - {"up"}
                assert used <= shown, f"{query.dashboard}, {query.panel}"
            else:
                assert query.uid == POSTGRES
                run_sql(settings, query)
        rows = {one.panel: run_sql(settings, one) for one in queries() if one.uid == POSTGRES}
        for panel in ("Rows by outcome", "What was not up", "Availability, from rows", "Certificates in use"):
            assert rows[panel], panel
        with prometheus(tmp_path, ports) as found:
            check_prometheus(found)
