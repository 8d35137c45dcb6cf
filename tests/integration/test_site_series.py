"""/metrics/sites out of a real Postgres: which sites have series, who serves them, and what stands in its way."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import psycopg
import pytest
from prometheus_client.parser import text_string_to_metric_families as parse

from tests.faults.proxy import Proxy
from tests.ledgers import a_site, announced, now_us
from tests.results import FULL, a_result
from tests.samples import Samples, own
from tests.waiting import wait_until
from wms_tasks import clock
from wms_tasks.persist.copy_row import copy_row
from wms_tasks.result import Result
from wms_tasks.roles import site_series
from wms_tasks.roles.site_series import SiteSeries
from wms_tasks.settings import Settings
from wms_tasks.sites.record import Site
from wms_tasks.store.binary_copy import blocks
from wms_tasks.store.connect import session
from wms_tasks.store.partitions import ensure_days
from wms_tasks.store.queries import query

SECOND = 1_000_000


@pytest.fixture
def store(database_url: str, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """Settings that need Postgres only; every page is made anew."""
    monkeypatch.setattr(site_series, "FRESH_SECONDS", 0.0)
    return Settings(env="test", database_url=database_url)


@pytest.fixture
def serving(store: Settings) -> Iterator[SiteSeries]:
    """A persist worker's series."""
    series = SiteSeries(store)
    yield series
    series._drop()


def result(site: Site, seconds_ago: float, **changes: Any) -> Result:
    """A row of the site, of a slot so long ago."""
    at = clock.utcnow() - timedelta(seconds=seconds_ago)
    return a_result(
        **{"site_id": site.site_id, "site_name": site.name, "scheduled_at": at, "due_at": at, "started_at": at}
        | changes
    )


def stored(settings: Settings, *results: Result) -> None:
    """They are rows now."""
    with session(settings) as connection:
        ensure_days(connection, {one.scheduled_at.date() for one in results})
        with connection.cursor().copy(query("copy_results")) as copy:
            for block in blocks(map(copy_row, results)):
                copy.write(block)


def read(series: SiteSeries) -> Samples:
    """The page, as Prometheus reads it."""
    content_type, body = series.page()
    assert content_type.startswith("text/plain; version=0.0.4")
    return Samples(list(parse(body.decode())))


def test_the_newest_row_of_each_scheduled_site_is_served(store: Settings, serving: SiteSeries) -> None:
    """Its url without what may be secret; not of a site that has gone, nor of another location's rows."""
    shop = a_site("shop", url="https://me:secret@shop.example/?token=secret", timeout_seconds=4.0)
    blog, gone = a_site("blog"), a_site("gone")
    announced(store, shop, blog, gone, at_us=now_us() - 100 * SECOND)
    announced(store, shop, blog, at_us=now_us() - 50 * SECOND)
    stored(
        store,
        result(shop, 30),
        result(shop, 10, **FULL),
        result(shop, 5, location="elsewhere"),
        result(blog, 20),
        result(gone, 20),
    )
    found = read(serving)
    assert found.by("probe_success", "site", "location") == {("blog", "local"): 1}
    assert {sample.labels["site"] for sample in found.families["probe_success"].samples} == {"shop", "blog"}
    assert found.sum("probe_http_status_code", site="shop", instance="https://shop.example/") == 503
    assert found.sum("probe_timeout_seconds", site="shop") == 4
    assert found.sum("probe_timeout_seconds", site="blog") == 10
    assert found.sum("probe_ssl_earliest_cert_expiry", site="shop") == FULL["certificate"].chain_expires_at.timestamp()
    assert found.sum("probe_http_content_length", site="shop") == 5_000_000_000
    assert b"secret" not in serving.page()[1]
    assert own().sum("wms_site_series_sites") == 2


def test_a_skipped_slot_leaves_no_gap_and_silence_ends_the_series(store: Settings, serving: SiteSeries) -> None:
    """The answer before it is shown; an old one is not, nor anything of a site without rows."""
    once, long, silent, fresh = (a_site(name) for name in ("once", "long", "silent", "fresh"))
    announced(store, once, long, silent, fresh, at_us=now_us() - 3600 * SECOND)
    stored(
        store,
        result(once, 22, **FULL),
        result(once, 12, **FULL),
        result(once, 2, outcome="skipped", reason="rate_limited", status_code=None),
        result(long, 600),
        result(long, 2, outcome="missed", reason="expired", status_code=None),
        result(silent, 180),
    )
    found = read(serving)
    assert {sample.labels["site"] for sample in found.families["probe_success"].samples} == {"once"}
    assert found.sum("wms_site_down_slots", site="once") == 2
    outcomes = found.by("wms_site_outcome_info", "site", "outcome", "reason")
    assert outcomes == {("once", "skipped", "rate_limited"): 1, ("long", "missed", "expired"): 1}


def test_one_worker_serves_them_and_another_does_when_it_is_gone(
    store: Settings, serving: SiteSeries, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also when it is merely not asked any more."""
    site = a_site()
    announced(store, site, at_us=now_us() - 100 * SECOND)
    stored(store, result(site, 5))
    other = SiteSeries(store)
    assert read(serving).has("probe_success")
    assert not read(other).families
    assert b"another persist worker" in other.page()[1]
    serving.rest()
    assert not read(other).families
    monkeypatch.setattr(site_series, "UNASKED_SECONDS", -1.0)
    serving.rest()
    wait_until(lambda: read(other).has("probe_success"), 10, "the other's turn")
    assert not read(serving).families
    other._drop()
    wait_until(lambda: read(serving).has("probe_success"), 10, "its turn again")


def test_too_many_sites_have_none_and_it_is_said_once(store: Settings, capsys: pytest.CaptureFixture[str]) -> None:
    """As many as allowed have all; 0: never, and Postgres is not asked."""
    sites = [a_site(name) for name in ("a", "b", "c")]
    announced(store, *sites, at_us=now_us() - 100 * SECOND)
    stored(store, *[result(site, 5) for site in sites])
    enough, few, none = (SiteSeries(store.model_copy(update={"site_metrics_max": most})) for most in (3, 2, 0))
    assert read(enough).sum("probe_success") == 3
    enough._drop()
    wait_until(lambda: b"WMS_SITE_METRICS_MAX=2" in few.page()[1], 10, "its turn")
    assert not read(few).families
    assert capsys.readouterr().out.count("site_series.too_many_sites") == 1
    few._drop()
    assert b"WMS_SITE_METRICS_MAX is 0" in none.page()[1]


def test_without_postgres_the_page_is_empty_and_comes_back(
    store: Settings, postgres_server: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    """Cut off in between: a page at any time, and nothing in the log."""
    site = a_site()
    announced(store, site, at_us=now_us() - 100 * SECOND)
    stored(store, result(site, 5))
    with Proxy(postgres_server.port) as proxy:
        url = store.database_url.replace(f":{postgres_server.port}/", f":{proxy.port}/")
        series = SiteSeries(store.model_copy(update={"database_url": url}))
        capsys.readouterr()
        assert read(series).has("probe_success")
        proxy.down()
        assert not read(series).families
        assert b"Postgres does not answer" in series.page()[1]
        proxy.heal()
        wait_until(lambda: read(series).has("probe_success"), 10, "Postgres again")
        series._drop()
    assert "site_series" not in capsys.readouterr().out


def test_without_a_schema_the_page_is_empty_too(empty_database_url: str) -> None:
    """The first migration may take a while."""
    series = SiteSeries(Settings(env="test", database_url=empty_database_url))
    assert b"no schema yet" in series.page()[1]
    series._drop()


def test_a_look_reads_indexes_only(store: Settings) -> None:
    """No plan of it reads a day of results, however many rows there are."""
    with psycopg.connect(store.database_url) as connection:
        connection.execute(query("nested_loops"))
        plan = connection.execute(
            b"EXPLAIN " + query("site_facts"),
            {"timeout_seconds": 10.0, "slots": 5, "more_us": 120 * SECOND, "rows": 10},
        ).fetchall()
    text = "\n".join(line for (line,) in plan)
    assert "Seq Scan on results" not in text
    assert "Hash Join" not in text
