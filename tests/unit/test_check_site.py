"""``wms check --site``: what the file says, what the command line says over it, where it is from; never a secret."""

from __future__ import annotations

import json
import os
import ssl
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import trustme
from click.testing import CliRunner, Result

from tests.servers import Behaviour, LocalServer, answer, black_hole, hang, head, redirect, repeat
from wms_tasks.commands.check import check
from wms_tasks.errors import SettingsError, SitesFileError, UsageError

AUTHORITY = trustme.CA()
SECRET = "very-secret-token"
ROBOTS = answer(b"User-agent: *\nDisallow: /private\n")


def echo(peer: object) -> None:
    """Repeats the token, as careless servers do."""
    token = peer.request.headers.get("x-token", "")  # type: ignore[attr-defined]
    answer(f"you are {token}".encode(), headers={"X-Seen": token})(peer)  # type: ignore[arg-type]


ROUTES: dict[str, Behaviour] = {"/": echo, "/private": answer(), "/robots.txt": ROBOTS, "/hang": hang}


def tls(not_after: datetime | None = None) -> ssl.SSLContext:
    """A server's context, its certificate from our own authority."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    AUTHORITY.issue_cert("127.0.0.1", not_after=not_after).configure_cert(context)
    return context


@pytest.fixture(scope="module")
def server() -> Iterator[LocalServer]:
    """A site over https."""
    with LocalServer(ROUTES, tls=tls()) as local:
        yield local


@pytest.fixture(autouse=True)
def folder(clean_environ: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, server: LocalServer) -> Path:
    """A sites file, the authority beside it, and a secret in the environment."""
    (tmp_path / "ca.pem").write_bytes(AUTHORITY.cert_pem.bytes())
    (tmp_path / "sites.yaml").write_text(
        f"""\
defaults:
  allow_networks: 127.0.0.0/8
groups:
  own:
    tls: {{ca: "${{file:ca.pem}}"}}
    expect: {{slow: 4s}}
sites:
  - name: Shop
    id: shop-1
    url: {server.url("/")}
    group: own
    headers: {{X-Token: "${{WMS_SECRET_SHOP}}"}}
    expect:
      body_regexp: you are
  - name: Old
    url: {server.url("/private")}
    group: own
    enabled: false
""",
        encoding="utf-8",
    )
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("WMS_SECRETS_DIR", str(tmp_path))
    monkeypatch.setenv("WMS_SECRET_SHOP", SECRET)
    return tmp_path


def run(*arguments: str) -> Result:
    """The command in this process."""
    return CliRunner().invoke(check, arguments)


def found(*arguments: str) -> dict[str, object]:
    """Its JSON."""
    report: dict[str, object] = json.loads(run(*arguments, "--json").output)
    return report


def test_a_site_of_the_file(server: LocalServer) -> None:
    """By name or id, as a worker would ask it: with its secrets, its authority for robots.txt too, its expectations."""
    for name in ("Shop", "shop-1"):
        report = found("--site", name)
        assert (report["outcome"], report["site"], report["enabled"]) == ("up", "Shop", True)
    assert server.seen[-1].headers["x-token"] == SECRET
    assert [one["name"] for one in report["expectations"]] == ["status", "body_regexp", "slow"]  # type: ignore[attr-defined]


def test_its_secrets_are_never_shown() -> None:
    """Neither in what it found, nor in where things came from; also where the server repeats them."""
    for options in ((), ("--json",), ("--explain",), ("--explain", "--json")):
        result = run("--site", "Shop", "--expect-status", "500", "--evidence", "body", *options)
        assert result.exit_code == 1
        assert SECRET not in result.output
        assert "[secret]" in result.output
    assert "${WMS_SECRET_SHOP}" in run("--site", "Shop", "--explain").output


def test_a_secret_that_cannot_be_had(server: LocalServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody is asked, and the reference is named."""
    monkeypatch.delenv("WMS_SECRET_SHOP")
    before = len(server.seen)
    report = found("--site", "Shop")
    assert (report["outcome"], report["reason"]) == ("skipped", "secret")
    assert "${WMS_SECRET_SHOP} is not set" in str(report["detail"])
    assert len(server.seen) == before


def test_a_disabled_site_is_checked_and_said_to_be() -> None:
    """And robots.txt is heeded; the command line may do otherwise."""
    result = run("--site", "Old")
    assert "disabled in the file" in result.output
    assert (found("--site", "Old")["reason"], found("--site", "Old")["enabled"]) == ("robots", False)
    assert run("--site", "Old", "--ignore-robots").exit_code == 0


def test_the_nearest_name() -> None:
    """Of a misspelt one."""
    result = run("--site", "shpo")
    assert isinstance(result.exception, UsageError)
    assert "sites.yaml: there is no site 'shpo' (did you mean 'Shop'?)" in str(result.exception)


def test_a_file_with_problems(folder: Path) -> None:
    """All of them are told, as by validate; so is a file that is not there, and a setting that names none."""
    (folder / "bad.yaml").write_text("sites: [{name: a}, {url: b}]", encoding="utf-8")
    result = run("--site", "a", "--sites", "bad.yaml")
    assert isinstance(result.exception, SitesFileError)
    assert len(result.exception.problems) == 3
    assert "no such file" in str(run("--site", "a", "--sites", "none.yaml").exception)


def test_the_setting_that_names_the_file(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """WMS_SITES; where that cannot be read it is named, and no other that is wrong."""
    (folder / "sites.yaml").rename(folder / "moved.yaml")
    monkeypatch.setenv("WMS_SITES", "moved.yaml")
    monkeypatch.setenv("WMS_ENV", "nonsense")
    assert run("--site", "Shop").exit_code == 0
    monkeypatch.delenv("WMS_SITES")
    monkeypatch.setenv("WMS_SITES_FILE", "/nowhere")
    result = run("--site", "Shop")
    assert isinstance(result.exception, SettingsError)
    assert str(result.exception).startswith("WMS_SITES_FILE: cannot read")
    assert "WMS_ENV" not in str(result.exception)


def test_options_go_before_the_file() -> None:
    """They are merged into headers, tls and expect as any layer is."""
    report = found("--site", "Shop", "--body-regexp", "nobody", "--header", "Accept: text/plain")
    assert (report["outcome"], report["reason"]) == ("down", "regexp")
    assert [one["name"] for one in report["expectations"]] == ["status", "body_regexp", "slow"]  # type: ignore[attr-defined]


def test_where_each_setting_came_from(monkeypatch: pytest.MonkeyPatch) -> None:
    """The option, file and line, the variable, or our own default."""
    monkeypatch.setenv("WMS_USER_AGENT_CONTACT", "ops@example.org")
    rows = found("--site", "Shop", "--explain", "--timeout", "6s", "--no-follow")["settings"]
    origins = {row["setting"]: (row["layer"], row["where"]) for row in rows}  # type: ignore[attr-defined]
    assert origins["url"] == ("site", "sites.yaml:10")
    assert origins["headers.X-Token"] == ("site", "sites.yaml:12")
    assert origins["expect.body_regexp"] == ("site", "sites.yaml:14")
    assert origins["expect.slow"] == ("group own", "sites.yaml:6")
    assert origins["tls.ca"] == ("group own", "sites.yaml:5")
    assert origins["allow_networks"] == ("defaults", "sites.yaml:2")
    assert origins["timeout"] == ("command line", "--timeout")
    assert origins["max_redirects"] == ("command line", "--no-follow")
    assert origins["method"] == origins["spacing"] == ("our default", "")
    assert origins["WMS_USER_AGENT_CONTACT"] == ("environment", "WMS_USER_AGENT_CONTACT")
    table = run("--site", "Shop", "--explain").output
    assert "group own: sites.yaml:6" in table


def test_where_the_settings_of_a_url_came_from(server: LocalServer) -> None:
    """Without what concerns a schedule."""
    rows = found(server.url("/"), "--explain", "--expect-status", "200", "-H", "X-Api-Key: abc")["settings"]
    settings = {row["setting"]: row for row in rows}  # type: ignore[attr-defined]
    assert settings["url"]["where"] == "URL"
    assert settings["expect.status"] == {
        "setting": "expect.status",
        "value": "200",
        "layer": "command line",
        "where": "--expect-status",
    }
    assert settings["headers.X-Api-Key"]["value"] == "(not shown)"
    assert "interval" not in settings


def test_a_certificate_that_is_over(folder: Path) -> None:
    """It is reported, whether the page met it or robots.txt did; and how long ago it ended."""
    ended_at = datetime.now(UTC) - timedelta(days=3)
    with LocalServer(ROUTES, tls=tls(ended_at)) as expired:
        for options in ((), ("--ignore-robots",)):
            arguments = (expired.url("/"), "--allow-network", "127.0.0.1", "--ca", str(folder / "ca.pem"), *options)
            report = found(*arguments)
            assert (report["outcome"], report["reason"]) == ("down", "tls_expired")
            certificate = report["certificate"]
            assert certificate["days_left"] < 0  # type: ignore[index]
            assert certificate["names"] == ["127.0.0.1"]  # type: ignore[index]
            assert "over for 3 days" in run(*arguments).output
            assert expired.seen == []


@pytest.mark.parametrize(
    ("behaviour", "phase"),
    [(hang, "processing"), (repeat(b"x", first=head(headers={"Content-Length": "99"}), every_seconds=0.1), "transfer")],
)
def test_a_timeout_says_in_which_phase(behaviour: Behaviour, phase: str) -> None:
    """In the bar of that phase, and in words."""
    with LocalServer({"/": behaviour}) as local:
        result = run(local.url("/"), "--allow-network", "127.0.0.1", "--ignore-robots", "--timeout", "300ms")
    assert result.exit_code == 1
    assert f"    {phase} !" in result.output
    assert "timeout" in result.output


def test_a_connection_that_is_never_made() -> None:
    """Ends in connect."""
    with black_hole() as url:
        result = run(url, "--allow-network", "127.0.0.1", "--ignore-robots", "--timeout", "300ms")
    assert "    connect !" in result.output
    assert "connect_timeout" in result.output


def test_a_redirect_to_a_blocked_address(server: LocalServer) -> None:
    """Down, with both hops and the option that would open it."""
    with LocalServer({"/": redirect("http://10.1.2.3/")}) as local:
        result = run(local.url("/"), "--allow-network", "127.0.0.1", "--ignore-robots")
    words = " ".join(result.output.split())
    assert "1 302" in words
    assert "2 - http://10.1.2.3/" in words
    assert "--allow-network CIDR" in words


def test_exit_codes_and_streams(folder: Path) -> None:
    """0 up, 1 down, 2 usage; one line on stderr, and stdout is what was asked for."""
    for arguments, code in ((["--site", "Shop"], 0), (["--site", "Old"], 1), (["--site", "shpo"], 2)):
        done = subprocess.run(
            [sys.executable, "-m", "wms_tasks.cli", "check", *arguments],
            env={**os.environ, "COLUMNS": "80"},
            capture_output=True,
            text=True,
            cwd=folder,
            timeout=60,
            check=False,
        )
        assert done.returncode == code, done
        assert done.stderr.count("\n") == (1 if code == 2 else 0)
        assert "\x1b" not in done.stdout
        assert all(len(line) <= 80 for line in done.stdout.splitlines())
