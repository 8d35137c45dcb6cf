"""``wms check``: one probe for a person or a script, with nothing else running."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator

import pytest
from click.testing import CliRunner, Result

from tests.guards import LOOPBACK
from tests.servers import LocalServer, answer, failing, redirect, slow
from tests.versions import VERSION
from wms_tasks.commands.check import check
from wms_tasks.errors import UsageError


@pytest.fixture
def server() -> Iterator[LocalServer]:
    """A small site with a robots.txt."""
    routes = {
        "/": answer(b"all systems go"),
        "/failing": failing(500),
        "/private": answer(),
        "/moved": redirect("/?token=secret"),
        "/slow": slow(5),
        "/robots.txt": answer(b"User-agent: wms\nDisallow: /private\n"),
    }
    with LocalServer(routes) as local:
        yield local


@pytest.fixture(autouse=True)
def loopback_is_open(clean_environ: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """By the setting, as for a worker."""
    monkeypatch.setenv("WMS_ALLOW_NETWORKS", LOOPBACK)


def run(*arguments: str) -> Result:
    """The command in this process."""
    return CliRunner().invoke(check, arguments)


def test_up(server: LocalServer) -> None:
    """Exit 0, and a panel with what one wants to know."""
    result = run(server.url("/"), "--body-regexp", "systems (go|ready)")
    assert result.exit_code == 0
    for words in ("is up", "status", "200", " ms", "14 bytes", "body_regexp", "found", "allows", "processing", "█"):
        assert words in result.output


def test_json(server: LocalServer) -> None:
    """One object, names as in the stored results; what 0.1.0 said it says still."""
    result = run(server.url("/moved"), "--json")
    found = json.loads(result.output)
    assert found["response_time_ms"] > 0
    assert (
        found
        | {
            "url": server.url("/moved"),
            "outcome": "up",
            "reason": "ok",
            "detail": None,
            "status_code": 200,
            "matched": None,
            "robots": "allowed",
            "redirects": 1,
            "final_url": server.url("/"),
            "body_bytes": 14,
        }
        == found
    )
    assert [hop["status_code"] for hop in found["hops"]] == [302, 200]
    assert [hop["status_code"] for hop in found["robots_hops"]] == [200]
    assert found["phases"]["processing_ms"] <= found["response_time_ms"]
    assert found["expectations"] == [{"name": "status", "passed": True, "expected": "2xx", "found": "200"}]


@pytest.mark.parametrize(
    ("path", "options", "outcome", "reason", "exit_code"),
    [
        ("/failing", (), "down", "status", 1),
        ("/failing", ("--expect-status", "404,5xx"), "up", "ok", 0),
        ("/failing", ("--expect-status", "404", "--expect-status", "500"), "up", "ok", 0),
        ("/", ("--body-regexp", "nothing"), "down", "regexp", 1),
        ("/", ("--method", "head"), "up", "ok", 0),
        ("/slow", ("--timeout", "200ms"), "down", "timeout", 1),
        ("/private", (), "skipped", "robots", 1),
        ("/private", ("--ignore-robots",), "up", "ok", 0),
    ],
)
def test_outcomes(
    server: LocalServer, path: str, options: tuple[str, ...], outcome: str, reason: str, exit_code: int
) -> None:
    """Exit 0 for up alone."""
    result = run(server.url(path), "--json", *options)
    found = json.loads(result.output)
    assert (found["outcome"], found["reason"], result.exit_code) == (outcome, reason, exit_code)


def test_a_forbidden_site_is_not_asked(server: LocalServer) -> None:
    """Only its robots.txt is; and the way out is named."""
    result = run(server.url("/private"))
    assert "robots: ignore" in result.output
    assert [request.path for request in server.seen] == ["/robots.txt"]


def test_a_crawl_delay_is_shown_and_a_wish_for_patience_is_no_obstacle(server: LocalServer) -> None:
    """Somebody asks once, and sees what a worker would keep to."""
    server.routes["/robots.txt"] = answer(b"User-agent: *\nCrawl-delay: 300\n")
    assert "300 s between requests (crawl-delay)" in " ".join(run(server.url("/")).output.split())
    server.routes["/busy"] = failing(429, headers={"Retry-After": "60"})
    for _ in range(2):
        assert json.loads(run(server.url("/busy"), "--json").output)["status_code"] == 429


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("example.org",), "URL 'example.org' has no scheme"),
        (("ftp://example.org",), "scheme 'ftp' is not http or https"),
        (("https://user:secret@example.org",), "holds a user or password"),
        (("https://example.org", "--timeout", "5"), "--timeout '5' is not a duration"),
        (("https://example.org", "--timeout", "0s"), "--timeout 0s is below 100ms"),
        (("https://example.org", "--method", "BREW"), "--method 'BREW' is not one of"),
        (("https://example.org", "--expect-status", "2yy"), "--expect-status '2yy' is no status"),
        (("https://example.org", "--body-regexp", "("), "--body-regexp is not a pattern"),
        (("https://example.org", "--allow-network", "10.0.0.1/8"), "--allow-network '10.0.0.1/8' is an address inside"),
        (("https://example.org", "--allow-port", "http"), "--allow-port 'http' is not a port"),
        ((), "write a url or --site NAME"),
        (("https://example.org", "--site", "x"), "not both"),
        (("https://example.org", "--sites", "x"), "--sites is of no use without --site"),
        (("https://example.org", "--expect-header", "Server"), "--expect-header has no colon"),
        (("https://example.org", "--expect-header", "Server: ("), "--expect-header Server: is not a pattern"),
        (("https://example.org", "-H", "X-A: 1", "-H", "x-a: 2"), "--header is given twice for the same header"),
        (("https://example.org", "-H", "Cookie: secret"), "--header Cookie: its value would show"),
        (("https://example.org", "--bearer", "secret"), "--bearer must be a reference"),
        (("https://example.org", "--basic", "user:secret"), "--basic password: must be a reference"),
        (("https://example.org", "--body", "x"), "method GET sends no body"),
        (("https://example.org", "--method", "HEAD", "--body-regexp", "x"), "method HEAD brings no body"),
        (("https://example.org", "--slow", "10s"), "is not below the timeout 10s"),
        (("https://example.org", "--expect-json", "a["), "--expect-json is not a JMESPath expression"),
        (("https://example.org", "--ip", "5"), "--ip '5' is not any, 4, 6"),
        (("https://example.org", "--ca", "/nowhere/ca.pem"), "--ca cannot be read"),
        (("http://2130706433/",), "is an address in disguise (write 127.0.0.1)"),
    ],
)
def test_wrong_usage(arguments: tuple[str, ...], words: str) -> None:
    """One line that names the option, and never a password."""
    result = run(*arguments)
    assert isinstance(result.exception, UsageError)
    assert words in str(result.exception)
    assert "secret" not in str(result.exception).replace("the secret itself", "")
    assert "\n" not in str(result.exception)


@pytest.mark.parametrize("options", [(), ("--ignore-robots",)])
def test_an_address_that_is_not_for_probes(
    server: LocalServer, options: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Skipped, and both ways to open it are named, for this check and for good; the first one works."""
    monkeypatch.delenv("WMS_ALLOW_NETWORKS")
    result = run(server.url("/"), *options)
    assert result.exit_code == 1
    words = " ".join(result.output.split())
    assert "is skipped" in words
    assert "blocked_address" in words
    assert "127.0.0.1 is loopback; WMS_ALLOW_NETWORKS, or allow_networks: of the site, would open it" in words
    assert "--allow-network CIDR" in words
    assert server.seen == []
    assert run(server.url("/"), *options, "--allow-network", "127.0.0.0/8").exit_code == 0


def test_a_port_that_is_not_for_probes() -> None:
    """The same for ports."""
    found = json.loads(run("http://127.0.0.1:1/", "--json").output)
    assert (found["outcome"], found["reason"], found["robots"]) == ("skipped", "blocked_address", "not asked")
    assert "WMS_ALLOW_PORTS" in found["detail"]
    opened = json.loads(run("http://127.0.0.1:1/", "--json", "--allow-port", "1-7").output)
    assert (opened["outcome"], opened["reason"]) == ("down", "connect_refused")


def test_a_setting_that_cannot_be_read_is_told_of_where_it_matters(
    server: LocalServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else one would look for the mistake elsewhere; the others are read all the same."""
    monkeypatch.setenv("WMS_ENV", "nonsense")
    opened = run(server.url("/"))
    assert (opened.exit_code, opened.stderr) == (0, "")
    monkeypatch.setenv("WMS_ALLOW_NETWORKS", "nonsense")
    blocked = run(server.url("/"))
    assert blocked.exit_code == 1
    assert blocked.stderr.startswith("wms: WMS_ALLOW_NETWORKS: 'nonsense' is not a network")
    secret = run(server.url("/"), "--bearer", "${file:x}", "--allow-network", LOOPBACK.split(",")[0])
    assert "WMS_ALLOW_NETWORKS" not in secret.stderr


def test_a_broken_environment_is_no_obstacle(server: LocalServer) -> None:
    """With settings that no role would start with, the command works, and introduces itself all the same."""
    environ = {**os.environ, "WMS_ENV": "nonsense", "WMS_METRICS_PORT": "x", "WMS_BROKER_URL_FILE": "/nowhere"}
    done = subprocess.run(
        [sys.executable, "-m", "wms_tasks.cli", "check", server.url("/"), "--json", "--allow-network", "127.0.0.1"],
        env=environ,
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert json.loads(done.stdout)["outcome"] == "up"
    assert server.seen[-1].headers["user-agent"].startswith(f"wms/{VERSION} (+")
