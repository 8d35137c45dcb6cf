"""The sites' series: blackbox_exporter's names and values out of rows, as Prometheus reads them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from fnmatch import fnmatchcase
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families as parse

from bench.blackbox import Blackbox, blackbox
from bench.figure import PeerMissing
from tests.certificates import AUTHORITY, CA, in_front
from tests.samples import Samples
from tests.servers import LocalServer, answer
from wms_tasks.site_metrics import NOT_THERE, SERIES, SiteFacts, nothing, page

SLOT = datetime(2026, 11, 23, 7, 0, tzinfo=UTC)
UP = SiteFacts(
    url="https://shop.example/",
    site_name="shop",
    location="fra",
    timeout_seconds=10.0,
    outcome="up",
    reason="ok",
    scheduled_at=SLOT,
    recent=["up", "down"],
    answer="up",
    answer_reason="ok",
    status_code=200,
    response_time_ms=80.0,
    address="2001:db8::1",
    http_version="1.1",
    tls_version="1.3",
    tls_cipher="TLS_AES_256_GCM_SHA384",
    redirects=2,
    wire_bytes=500,
    body_bytes=2048,
    resolve_ms=20.0,
    connect_ms=10.0,
    tls_ms=30.0,
    processing_ms=35.0,
    transfer_ms=5.0,
    chain_expires_at=datetime(2027, 1, 1, tzinfo=UTC),
)
NO_ANSWER = {
    name: None
    for name in SiteFacts.__dataclass_fields__
    if name not in {"url", "site_name", "location", "timeout_seconds", "outcome", "reason", "scheduled_at", "recent"}
}


def read(*facts: SiteFacts) -> Samples:
    """The page."""
    return Samples(list(parse(page(facts).decode())))


def test_an_https_site_has_all_that_blackbox_says() -> None:
    """Every series, once, with its help; base units."""
    found = read(UP)
    assert set(found.families) == {one.name for one in SERIES}
    assert {family.documentation for family in found.families.values()} == {one.text for one in SERIES}
    here = {"instance": "https://shop.example/", "site": "shop", "location": "fra"}
    for name, value in {
        "probe_success": 1,
        "probe_duration_seconds": 0.1,
        "probe_timeout_seconds": 10,
        "probe_dns_lookup_time_seconds": 0.02,
        "probe_http_status_code": 200,
        "probe_http_redirects": 2,
        "probe_http_ssl": 1,
        "probe_http_version": 1.1,
        "probe_http_content_length": 500,
        "probe_http_uncompressed_body_length": 2048,
        "probe_failed_due_to_regex": 0,
        "probe_ip_protocol": 6,
        "probe_ssl_earliest_cert_expiry": datetime(2027, 1, 1, tzinfo=UTC).timestamp(),
        "wms_site_down_slots": 0,
        "wms_site_slot_timestamp_seconds": SLOT.timestamp(),
    }.items():
        assert found.by(name, *here) == ({tuple(here.values()): pytest.approx(value)} if value else {}), name
        assert found.has(name)
    phases = {"resolve": 0.02, "connect": 0.01, "tls": 0.03, "processing": 0.035, "transfer": 0.005}
    assert found.by("probe_http_duration_seconds", "phase") == {(k,): pytest.approx(v) for k, v in phases.items()}
    assert found.by("probe_tls_version_info", "version") == {("TLS 1.3",): 1}
    assert found.by("probe_tls_cipher_info", "cipher") == {("TLS_AES_256_GCM_SHA384",): 1}
    assert found.by("wms_site_outcome_info", "outcome", "reason") == {("up", "ok"): 1}


@pytest.fixture
def exporter(tmp_path: Path) -> Iterator[Blackbox]:
    """
    A real blackbox_exporter that trusts the tests' authority.

    Skips wherever it is not installed, in CI too: its names change once in years, and ours are held to our own list.
    """
    ca = tmp_path / "ca.pem"
    ca.write_text(CA, encoding="utf-8")
    try:
        with blackbox(tmp_path, environ={"SSL_CERT_FILE": str(ca)}) as running:
            yield running
    except PeerMissing as missing:
        pytest.skip(str(missing))


def series_in(page: str) -> set[tuple[str, frozenset[str]]]:
    """Names, each with the names of its labels but those that say whose it is."""
    whose = {"instance", "site", "location"}
    return {(sample.name, frozenset(sample.labels) - whose) for family in parse(page) for sample in family.samples}


def test_what_the_real_blackbox_exporter_says_is_ours_or_said_to_be_missing(exporter: Blackbox) -> None:
    """Of a site of http, one of https and one that is down: its names, with its labels and their values."""
    dated = answer(headers={"Last-Modified": "Wed, 21 Oct 2015 07:28:00 GMT"})
    leaf = AUTHORITY.issue_cert("127.0.0.1")
    with LocalServer({"/": dated}) as plain, LocalServer({"/": answer()}, tls=in_front(leaf)) as secure:
        pages = [exporter.page(url) for url in (plain.url("/"), secure.url("/"), "http://127.0.0.1:1/")]
    theirs, ours = set().union(*map(series_in, pages)), series_in(page([UP]).decode())
    assert [Samples(list(parse(one))).sum("probe_success") for one in pages] == [1, 1, 0]
    missing = {name for name, _ in theirs - ours}
    assert {name for name in missing if not any(fnmatchcase(name, one) for one in NOT_THERE)} == set()
    assert {one for one in NOT_THERE if not any(fnmatchcase(name, one) for name in missing)} == set()
    of_https = Samples(list(parse(pages[1])))
    assert of_https.by("probe_tls_version_info", "version") == read(UP).by("probe_tls_version_info", "version")
    phases = [
        {one.labels["phase"] for one in found.families["probe_http_duration_seconds"].samples}
        for found in (of_https, read(UP))
    ]
    assert phases[0] == phases[1]


def test_a_site_without_a_host_is_down_and_has_no_certificate() -> None:
    """As blackbox has it: code, version and unused phases are 0, what nobody saw is absent."""
    lost = replace(
        UP, **NO_ANSWER | {"answer": "down", "answer_reason": "dns", "resolve_ms": 40.0}, recent=["down", "down", "up"]
    )
    found = read(lost)
    assert found.has("probe_success")
    for name in ("probe_success", "probe_http_status_code", "probe_http_version", "probe_http_ssl"):
        assert found.sum(name) == 0
    assert found.sum("probe_duration_seconds") == found.sum("probe_http_duration_seconds") == pytest.approx(0.04)
    assert len(found.families["probe_http_duration_seconds"].samples) == 5
    assert found.sum("wms_site_down_slots") == 2
    for name in ("probe_ssl_earliest_cert_expiry", "probe_tls_version_info", "probe_ip_protocol"):
        assert not found.has(name)


@pytest.mark.parametrize(("reason", "value"), [("regexp", 1), ("header", 1), ("status", 0)])
def test_a_regexp_is_told_from_other_failures(reason: str, value: int) -> None:
    """As blackbox's alerts ask."""
    assert read(replace(UP, answer="down", answer_reason=reason)).sum("probe_failed_due_to_regex") == value


def test_a_site_that_was_not_asked_lately_is_neither_up_nor_down() -> None:
    """Only how its slot ended."""
    found = read(replace(UP, **NO_ANSWER, outcome="skipped", reason="robots", recent=["skipped"] * 9))
    assert set(found.families) == {"wms_site_outcome_info", "wms_site_slot_timestamp_seconds"}


def test_slots_that_were_not_asked_do_not_end_a_run_of_failures() -> None:
    """Skipped and missed ones say nothing of the site."""
    assert replace(UP, recent=["missed", "down", "skipped", "down", "up", "down"]).down_slots == 2
    assert replace(UP, recent=["missed"]).down_slots == 0


def test_names_are_quoted_as_prometheus_wants_them() -> None:
    """Whatever people call their sites."""
    odd = replace(UP, site_name='a "b" \\ c\nd {e}', url="https://x.example/?q=\\")
    found = read(odd)
    assert found.by("probe_success", "site", "instance") == {(odd.site_name, odd.url): 1}


def test_a_page_without_series_says_why_and_is_one() -> None:
    """A comment, which Prometheus skips."""
    assert list(parse(nothing("nobody is there").decode())) == []
    assert b"nobody is there" in nothing("nobody is there")
    assert page([]) == b""
