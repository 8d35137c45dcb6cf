"""
Every case of tests/cases: what a real worker makes of it, what ``wms check`` says of it, and that both are as expected.

One sites file, one worker, one topic for all of them; then one test a case.
"""

from __future__ import annotations

import json
import os
import re
import uuid
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest
import redis
from click.testing import CliRunner

from tests.acceptance.processes import roles
from tests.acceptance.topics import Topic
from tests.cases.case import Case
from tests.cases.table import CASES, ELSEWHERE, OF_THE_SCHEDULE
from tests.cases.world import ENVIRON, World, world, write_secrets
from tests.guards import LOOPBACK
from tests.waiting import wait_until
from wms_tasks import clock
from wms_tasks.app import app_for
from wms_tasks.commands.check import check
from wms_tasks.embedded.kafka import EmbeddedKafka
from wms_tasks.embedded.valkey import EmbeddedValkey
from wms_tasks.names import PROBE_QUEUE, PROBE_TASK
from wms_tasks.order import ProbeOrder
from wms_tasks.result import Reason
from wms_tasks.settings import Settings, get_settings
from wms_tasks.sites.file import load_sites
from wms_tasks.sites.known_since import version_of
from wms_tasks.sites.record import Auth, Expect, HeaderRule, Site, TlsOptions

ROOT = Path(__file__).parents[2]
FINE = {"interval": "1m", "jitter": "0s", "retries": 0, "robots": "ignore"}
# What both found must be the same; names as in the result and in the command's JSON.
SAME = (
    *("outcome", "reason", "status_code", "matched", "address", "http_version", "tls_version", "tls_cipher"),
    *("content_type", "body_bytes", "evidence"),
)


def write_sites(path: Path, around: World) -> None:
    """The sites file of all cases. Its hosts are asked as often as they come."""
    sites = [FINE | {"name": case.name, "url": around.url(case.at)} | case.keys for case in CASES]
    hosts = {host: {"spacing": "1ms"} for host in ("127.0.0.1", "localhost", "127.0.0.77")}
    path.write_text(json.dumps({"hosts": hosts, "sites": sites}), encoding="utf-8")


def send(settings: Settings, sites: tuple[Site, ...]) -> None:
    """An order for each, due now."""
    app, now = app_for(settings), clock.utcnow()
    with app.connection_for_write() as connection:
        producer = app.amqp.Producer(connection)
        for site in sites:
            order = ProbeOrder(
                version=version_of(site), site=site, scheduled_at=now, due_at=now, expires_at=now + timedelta(minutes=2)
            )
            kwargs = {"order": order.to_message()}
            app.send_task(PROBE_TASK, kwargs=kwargs, queue=PROBE_QUEUE, expires=order.expires_at, producer=producer)


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    """By site's name: the specs as they were read, the worker's results, and what ``wms check --json`` printed."""

    sites: Mapping[str, Site]
    results: Mapping[str, Mapping[str, Any]]
    checked: Mapping[str, Mapping[str, Any]]


def from_worker(settings: Settings, environ: Mapping[str, str], sites: tuple[Site, ...], folder: Path) -> list[Any]:
    """What one worker publishes of all of them."""
    topic = Topic(settings)
    try:
        with roles(environ, folder) as started:
            role = started.worker()
            send(settings, sites)
            wait_until(lambda: len(topic.read()) >= len(sites), 60, "a result of each case")
            role.stop()
        return topic.read()
    finally:
        topic.close()


def from_check(name: str, file: Path) -> dict[str, Any]:
    """What the command says of one."""
    run = CliRunner().invoke(check, ["--site", name, "--sites", str(file), "--json"])
    assert run.exception is None or isinstance(run.exception, SystemExit), f"{name}: {run.exception!r}"
    said: dict[str, Any] = json.loads(run.stdout)
    assert run.exit_code == (0 if said["outcome"] == "up" else 1)
    return said


@pytest.fixture(scope="module")
def ended(
    tmp_path_factory: pytest.TempPathFactory, valkey_server: EmbeddedValkey, kafka_server: EmbeddedKafka
) -> Iterator[Ended]:
    """All cases, run once."""
    folder = tmp_path_factory.mktemp("cases")
    (folder / "secrets").mkdir()
    write_secrets(folder / "secrets")
    file = folder / "sites.yaml"
    with pytest.MonkeyPatch.context() as patch, world() as around:
        for name in [name for name in os.environ if name.startswith("WMS_")]:
            patch.delenv(name)
        with redis.Redis.from_url(valkey_server.url) as client:
            client.flushall()
        settings = Settings(
            env="test",
            broker_url=valkey_server.url,
            kafka_bootstrap_servers=kafka_server.bootstrap_servers,
            topic_suffix=uuid.uuid4().hex[:12],
            kafka_topic_partitions=2,
            worker_concurrency=8,
            allow_networks=LOOPBACK,
            secrets_dir=folder / "secrets",
        )
        environ = {f"WMS_{name.upper()}": str(getattr(settings, name)) for name in settings.model_fields_set} | ENVIRON
        for name, value in environ.items():
            patch.setenv(name, value)
        get_settings.cache_clear()
        write_sites(file, around)
        sites = load_sites(file)
        results = from_worker(settings, environ, sites, folder)
        assert len({one["site_name"] for one in results}) == len(results)
        yield Ended(
            sites={site.name: site for site in sites},
            results={one["site_name"]: one for one in results},
            checked={site.name: from_check(site.name, file) for site in sites},
        )
    get_settings.cache_clear()


@pytest.mark.slow
@pytest.mark.timeout(120)
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_worker_and_check_end_as_expected(ended: Ended, case: Case) -> None:
    """Outcome, reason and status; and whatever else both report, they report the same."""
    result, checked = ended.results[case.name], ended.checked[case.name]
    expected = (case.outcome, case.reason, case.status_code)
    assert (result["outcome"], result["reason"], result["status_code"]) == expected, result["detail"]
    assert (checked["outcome"], checked["reason"], checked["status_code"]) == expected, checked["detail"]
    assert checked["redirects"] == (result["redirects"] or 0)
    assert {name: checked[name] for name in SAME} == {name: result[name] for name in SAME}
    assert (result["certificate"] is not None) == case.shows_certificate
    assert (checked["certificate"] is not None) == case.shows_certificate
    assert (result["detail"] is None) == (case.reason == Reason.OK)
    assert (result["started_at"] is None) == (case.outcome == "skipped")


def test_every_reason_has_a_case() -> None:
    """Or is no probe's, and stands in a test that exists and names it."""
    in_table = {case.reason for case in CASES}
    assert in_table | set(ELSEWHERE) == set(Reason)
    assert not in_table & set(ELSEWHERE)
    for reason, path in ELSEWHERE.items():
        text = (ROOT / path).read_text(encoding="utf-8")
        assert f"Reason.{reason.name}" in text or f'"{reason}"' in text, (reason, path)


def _used(record: msgspec.Struct) -> Iterator[tuple[type, str]]:
    """The fields of a record, and of those in it, that are not as they are by default."""
    for field in msgspec.structs.fields(type(record)):
        value = getattr(record, field.name)
        default = field.default if field.default_factory is msgspec.NODEFAULT else field.default_factory()
        if value != default:
            yield type(record), field.name
        for part in value if isinstance(value, tuple) else (value,):
            if isinstance(part, msgspec.Struct):
                yield from _used(part)


@pytest.fixture(scope="module")
def read(tmp_path_factory: pytest.TempPathFactory) -> tuple[Site, ...]:
    """The cases' sites, with addresses that nobody asks."""

    class Nowhere(World):
        def url(self, at: str) -> str:
            return at if "://" in at else "http://127.0.0.1/"

    file = tmp_path_factory.mktemp("read") / "sites.yaml"
    write_sites(file, Nowhere(bases={}))
    file.write_text(file.read_text().replace('"localhost": {"spacing": "1ms"}, ', ""))
    return load_sites(file)


def test_every_option_has_a_case(read: tuple[Site, ...]) -> None:
    """Each field that a probe reads differs from its default in one of them at least."""
    used = {found for site in read for found in _used(site)}
    fields = {
        (kind, field.name)
        for kind in (Site, Expect, HeaderRule, Auth, TlsOptions)
        for field in msgspec.structs.fields(kind)
        if kind is not Site or field.name not in OF_THE_SCHEDULE
    }
    assert fields - used == set()


def mapped_rows() -> list[str]:
    """The left cells, without backticks, of docs' table of blackbox_exporter's options that have an answer here."""
    text = (ROOT / "docs" / "sites.md").read_text(encoding="utf-8")
    table = text.partition("## From blackbox_exporter")[2].partition("\n## ")[0]
    rows = re.findall(r"^\| (.+?) \| (.+?) \|$", table, re.MULTILINE)[2:]
    return [left.replace("`", "") for left, right in rows if not right.startswith("not yet")]


def test_every_row_of_the_docs_has_a_case() -> None:
    """And no case is of a row that is not there."""
    rows = mapped_rows()
    assert len(rows) > 25
    named = {case.row for case in CASES if case.row}
    of_row = {row: {name for name in named if re.match(re.escape(name) + r"(?![\w.])", row)} for row in rows}
    assert [row for row, names in of_row.items() if not names] == []
    assert named - set().union(*of_row.values()) == set()
