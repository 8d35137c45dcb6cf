"""`wms sites import`: blackbox_exporter's modules and Prometheus' targets as sites; nothing is lost without a word."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner, Result
from hypothesis import given
from hypothesis import strategies as st

from wms_tasks.commands.sites import sites
from wms_tasks.errors import UsageError
from wms_tasks.importing.blackbox import read_modules
from wms_tasks.importing.durations import prometheus_duration_ms
from wms_tasks.importing.prometheus import read_targets
from wms_tasks.importing.sites import convert
from wms_tasks.importing.text import sites_yaml
from wms_tasks.sites.file import examine_text
from wms_tasks.sites.record import HeaderRule, Site
from wms_tasks.sites.references import references_of

FOLDER = Path(__file__).parent / "importing"
NO_FILES: Any = lambda _: ()  # noqa: E731


def run(blackbox: Path, *targets: Path) -> Result:
    """The command."""
    options = [option for path in targets for option in ("--targets", str(path))]
    return CliRunner().invoke(sites, ["import", "--blackbox", str(blackbox), *options])


@pytest.fixture(scope="module")
def imported() -> Result:
    """Of files that hold about everything."""
    return run(FOLDER / "blackbox.yml", FOLDER / "prometheus.yml")


def sites_of(text: str) -> dict[str, Site]:
    """The sites that `wms sites validate` finds in it."""
    found, problems = examine_text(text)
    assert problems == ()
    assert found is not None
    return {site.name: site for site in found.sites}


def imported_module(http: dict[str, Any], **module: Any) -> tuple[Site, str]:
    """The site of one target with this module, and the whole text."""
    modules = read_modules({"modules": {"m": {"prober": "http", "http": http, **module}}}, "blackbox.yml")
    found = read_targets([{"targets": ["https://a.example/"], "labels": {"__param_module": "m"}}], "sd.json", NO_FILES)
    text = sites_yaml(convert(modules, found.targets), sources=["blackbox.yml"])
    return sites_of(text)["a.example"], text


def test_it_is_a_sites_file(imported: Result) -> None:
    """Each target with its module, interval and labels."""
    found = sites_of(imported.stdout)
    assert imported.exit_code == 0
    assert list(found) == [
        "shop.example",
        "shop.example/cart",
        "shop.example (http_2xx)",
        "10.0.0.5:9090/-/healthy",
        "pw.example",
        "login.example",
        "sd.example/x",
        "fast.example/a",
        "fast.example/b",
        "fast.example/c",
    ]
    shop, login, fast = found["shop.example"], found["login.example"], found["fast.example/a"]
    assert (shop.interval_seconds, shop.timeout_seconds, shop.ip) == (15, 5, "prefer_4")
    assert shop.tags == ("job=web", "team=shop")
    assert found["shop.example (http_2xx)"].url == "http://shop.example"
    assert found["10.0.0.5:9090/-/healthy"].allow_networks == ("10.0.0.5/32",)
    assert (fast.interval_seconds, fast.timeout_seconds, fast.spacing_seconds) == (1, 0.8, 0.333)
    assert (login.method, login.timeout_seconds, login.max_redirects) == ("POST", 10, 0)
    assert login.expect.not_headers == (HeaderRule(name="server", regexp="(?:apache)|(?:nginx)"),)
    assert login.expect.headers == (HeaderRule(name="content-type", regexp="json", may_lack=True),)
    assert login.headers["Accept"] == "text/html $${not a reference}"


def test_secrets_become_references_and_are_printed_nowhere(imported: Result) -> None:
    """Not on stdout, where they stand in urls alone, and not on stderr; the variables to set are named."""
    assert "hunter" not in imported.stderr
    assert imported.stdout.count("hunter") == imported.stdout.count("?token=hunter9") == 1
    for variable in ("HTTP_LOGIN_AUTHORIZATION", "HTTP_LOGIN_X_API_KEY", "HTTP_LOGIN_BODY", "PW_EXAMPLE_PASSWORD"):
        assert f"set WMS_SECRET_{variable} in the workers' environment" in imported.stderr
        assert f"${{WMS_SECRET_{variable}}}" in imported.stdout


def test_what_is_lost_is_a_comment_and_a_line_each(imported: Result) -> None:
    """The same words in both."""
    comments = [
        line.strip().removeprefix("# ") for line in imported.stdout.splitlines() if line.strip().startswith("#")
    ]
    told = imported.stderr.splitlines()
    for words in (
        "proxy_url is not carried over",
        "oauth2 is not carried over",
        "fail_if_body_json_matches_cel is not carried over",
        "'(?=look)' is not carried over",
        "valid_status_codes '999' is not carried over",
        "module 'tcp' is not for http: left out",
        "there is no module 'nope': left out",
        "job node: does not go through blackbox_exporter",
        "kubernetes_sd_configs is not carried over",
        "the url may hold a secret",
    ):
        assert [words in line for line in comments].count(True) == 1, words
        assert [words in line for line in told].count(True) == 1, words
    assert any(line.startswith("file_sd_configs: no file is none/*.json") for line in told)


@pytest.mark.parametrize(
    ("http", "field", "value"),
    [
        ({"valid_status_codes": [200, 301]}, "expect.status", ("200", "301")),
        ({"valid_http_versions": ["HTTP/1.0"]}, "expect.http_versions", ("1.0",)),
        ({"valid_http_versions": ["HTTP/1.0", "HTTP/1.1"]}, "expect.http_versions", ()),
        ({"fail_if_ssl": True, "follow_redirects": True}, "expect.tls", "forbidden"),
        ({"fail_if_not_ssl": True}, "expect.tls", "required"),
        ({"fail_if_body_not_matches_regexp": ["a", "b"]}, "expect.body_regexps", ("a", "b")),
        ({"fail_if_body_matches_regexp": ["a"]}, "expect.body_not_regexps", ("a",)),
        ({"no_follow_redirects": True}, "max_redirects", 0),
        ({"compression": "identity"}, "compression", ()),
        ({"body_size_limit": "1KB"}, "max_body_bytes", 1024),
        ({"preferred_ip_protocol": "ip6", "ip_protocol_fallback": False}, "ip", "6"),
        ({"method": "put", "body": "a"}, "body", "a"),
        ({"method": "GET", "body": "a"}, "body", None),
        ({"tls_config": {"server_name": "b.example", "max_version": "TLS13"}}, "tls.server_name", "b.example"),
        ({"tls_config": {"insecure_skip_verify": True}}, "tls.verify", False),
        ({"basic_auth": {"username": "me", "password_file": "/run/pw"}}, "auth.password", "${file:run/pw}"),
        ({"authorization": {"credentials": "hunter2"}}, "auth.bearer", "${WMS_SECRET_M_AUTHORIZATION_CREDENTIALS}"),
        ({"bearer_token_file": "../t"}, "auth.bearer", "${file:t}"),
    ],
)
def test_every_key_of_the_http_prober(http: dict[str, Any], field: str, value: Any) -> None:
    """What it is called here."""
    site, text = imported_module(http)
    found: Any = site
    for part in field.split("."):
        found = getattr(found, part)
    assert found == value
    assert "hunter2" not in text


def test_a_group_says_what_every_pair_of_keys_allows() -> None:
    """What blackbox_exporter takes and we refuse is left out, and said."""
    site, text = imported_module(
        {
            "method": "HEAD",
            "fail_if_body_not_matches_regexp": ["a"],
            "tls_config": {"key_file": "k"},
            "bearer_token": "x",
        }
        | {"headers": {"Authorization": "Basic abcdef"}}
    )
    assert (site.method, site.expect.body_regexp, site.headers, site.tls.key) == ("HEAD", None, {}, None)
    for words in ("HEAD brings no body", "the other credentials are sent", "there is no cert_file"):
        assert words in text


SCALARS = (
    st.none() | st.booleans() | st.integers(-5, 2000) | st.text(max_size=12) | st.sampled_from(["10s", "HTTP/1.1"])
)
VALUES = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3)
)
KEYS = st.sampled_from(
    [
        *("valid_status_codes", "valid_http_versions", "method", "headers", "http_headers", "body", "basic_auth"),
        *("authorization", "tls_config", "fail_if_header_matches", "fail_if_body_not_matches_regexp", "compression"),
        *("body_size_limit", "preferred_ip_protocol", "follow_redirects", "bearer_token", "unknown"),
    ]
)


@given(st.dictionaries(KEYS, VALUES, max_size=5), VALUES)
def test_any_module_becomes_a_valid_file_or_a_line_of_why_not(http: dict[str, Any], timeout: Any) -> None:
    """Whatever stands under its keys, nothing crashes, and what comes out is valid."""
    modules = read_modules({"modules": {"m": {"prober": "http", "http": http, "timeout": timeout}}}, "b.yml")
    found = read_targets([{"targets": ["https://a.example/"], "labels": {"__param_module": "m"}}], "sd.json", NO_FILES)
    converted = convert(modules, found.targets)
    if not converted.sites:
        assert converted.left_out
        return
    sites_of(sites_yaml(converted, sources=["b.yml"]))


@given(VALUES)
def test_any_prometheus_file(root: Any) -> None:
    """Targets, or one line of what it should be."""
    in_a_job = {"scrape_configs": [{"metrics_path": "/probe", "static_configs": root}]}
    for written in ({"scrape_configs": [root]}, in_a_job, [root]):
        found = read_targets(written, "prometheus.yml", NO_FILES)
        convert({}, found.targets)
    if not isinstance(root, list):
        with pytest.raises(UsageError, match=r"neither prometheus.yml"):
            read_targets(root, "prometheus.yml", NO_FILES)


def test_what_looks_like_a_reference_in_a_url_is_text() -> None:
    """It is to the exporter; outside a query no url has it."""
    targets = [{"targets": ["a.example/?q=${WMS_SECRET_X}", "b.example/${X}"], "labels": {"__param_module": "m"}}]
    found = read_targets(targets, "sd.json", NO_FILES)
    converted = convert(read_modules({"modules": {"m": {"prober": "http"}}}, "blackbox.yml"), found.targets)
    (site,) = sites_of(sites_yaml(converted, sources=["blackbox.yml"])).values()
    assert site.url == "http://a.example/?q=$${WMS_SECRET_X}"
    assert list(references_of(site)) == []
    assert len(converted.left_out) == 1
    assert "outside its query" in converted.left_out[0]


def test_files_that_are_none(tmp_path: Path) -> None:
    """One line, with the line of the file; a file_sd file may be JSON or YAML."""
    bad, good, sd = tmp_path / "bad.yml", tmp_path / "good.yml", tmp_path / "sd.json"
    bad.write_text("modules: [\n")
    good.write_text(yaml.safe_dump({"modules": {"http_2xx": {"prober": "http"}}}))
    sd.write_text(json.dumps([{"targets": ["a.example"]}]))
    assert sites_of(run(good, sd).stdout)["a.example"].url == "http://a.example"
    for blackbox, targets, words in (
        (bad, sd, "bad.yml:2: is neither YAML nor JSON"),
        (tmp_path / "none.yml", sd, "none.yml: cannot be read: No such file or directory"),
        (sd, sd, "there are no modules:"),
        (good, good, "neither prometheus.yml"),
    ):
        assert words in str(run(blackbox, targets).exception)


@pytest.mark.parametrize(
    ("text", "ms"),
    [("30s", 30_000), ("1m30s", 90_000), ("1w", 604_800_000), ("500ms", 500), ("0s", None), ("x", None), (5, None)],
)
def test_durations(text: object, ms: int | None) -> None:
    """As Prometheus writes them."""
    assert prometheus_duration_ms(text) == ms
