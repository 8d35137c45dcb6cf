"""``wms status``, ``wms results`` and ``wms migrate`` on a real database: what they print, and how they fail."""

from __future__ import annotations

import json
import subprocess
import sys
from datetime import UTC, datetime, timedelta

import msgspec
import pytest
from click.testing import CliRunner

from tests.persisting import site
from tests.results import FULL, a_result
from wms_tasks.cli import wms
from wms_tasks.persist.copy_row import copy_row
from wms_tasks.settings import Settings
from wms_tasks.store.binary_copy import blocks
from wms_tasks.store.connect import connect
from wms_tasks.store.migration_files import folder, migration_files
from wms_tasks.store.partitions import ensure_days
from wms_tasks.store.queries import query

NOW = datetime.now(UTC).replace(microsecond=0)
# Half a day more than shown: NOW is when the tests were collected.
ENDING = msgspec.structs.replace(FULL["certificate"], chain_expires_at=NOW + timedelta(days=12, hours=12))
ENDED = msgspec.structs.replace(FULL["certificate"], chain_expires_at=NOW - timedelta(days=3, hours=12))


@pytest.fixture
def run(database_url: str, monkeypatch: pytest.MonkeyPatch) -> CliRunner:
    """A shell whose WMS_DATABASE_URL has rows of three sites: one up, one down, one silent for three days."""
    monkeypatch.setenv("WMS_DATABASE_URL", database_url)
    old = NOW - timedelta(days=3)
    rows = [
        a_result(site_id=site(n), site_name=name, scheduled_at=at - timedelta(minutes=m), **seen)
        for n, name, at, seen in (
            (1, "alpha", NOW, {"certificate": ENDING, "phases": FULL["phases"]}),
            (2, "beta", NOW, FULL | {"reason": "timeout", "detail": "no answer\x1b[2J in 10 s", "certificate": ENDED}),
            (3, "gone", old, {"outcome": "down", "reason": "dns"}),
        )
        for m in range(3)
    ]
    with connect(Settings(env="test", database_url=database_url)) as connection:
        ensure_days(connection, {row.scheduled_at.date() for row in rows})
        with connection.cursor().copy(query("copy_results")) as copy:
            for block in blocks(map(copy_row, rows)):
                copy.write(block)
    return CliRunner()


def test_status_shows_each_site_worst_first(run: CliRunner) -> None:
    """Aligned columns, nothing that steers a terminal, and what is left out."""
    result = run.invoke(wms, ["status"])
    assert result.exit_code == 0
    header, first, second = result.stdout.splitlines()
    assert header.split() == ["site", "location", "is", "since", "for", "reason", "code", "time", "detail"]
    assert first.split()[:3] == ["beta", "local", "down"]
    assert first[header.index("since") :].startswith(f"{NOW - timedelta(minutes=2):%Y-%m-%dT%H:%M:%SZ}")
    assert "no answer\\x1b[2J in 10 s; certificate expired 3d " in first
    assert "certificate expires in 12d " in second
    assert second.split()[:3] == ["alpha", "local", "up"]
    assert "1 without a row for two days: wms status --all" in result.stderr
    assert "gone" in run.invoke(wms, ["status", "--all"]).stdout


def test_status_as_json_has_every_field(run: CliRunner) -> None:
    """For programs."""
    beta, alpha = json.loads(run.invoke(wms, ["status", "--json"]).stdout)
    assert (beta["site_name"], beta["outcome"], beta["recent"]) == ("beta", "down", ["down"] * 3)
    assert datetime.fromisoformat(alpha["since"]) == NOW - timedelta(minutes=2)


@pytest.mark.parametrize("name", ["beta", str(site(2))])
def test_results_of_a_site_by_its_name_or_uuid(run: CliRunner, name: str) -> None:
    """Newest first."""
    result = run.invoke(wms, ["results", name])
    assert [line.split()[1] for line in result.stdout.splitlines()[1:]] == ["beta"] * 3
    assert result.stdout.splitlines()[1].startswith(f"{NOW:%Y-%m-%dT%H:%M:%SZ}")


def test_results_reach_back_as_far_as_asked(run: CliRunner) -> None:
    """By slot; one JSON object a line."""
    since_now = int((datetime.now(UTC) - NOW).total_seconds())  # NOW is when the tests were collected
    assert len(run.invoke(wms, ["results", "--last", f"{since_now + 90}s", "--json"]).stdout.splitlines()) == 4
    lines = run.invoke(wms, ["results", "--last", "5d", "--json"]).stdout.splitlines()
    assert len(lines) == 9
    assert json.loads(lines[-1])["site_name"] == "gone"
    assert len(run.invoke(wms, ["results", "--last", "900000d", "--limit", "2", "--json"]).stdout.splitlines()) == 2


def test_results_show_phases_in_short_and_json_all_fields(run: CliRunner) -> None:
    """The five of them in one column; for programs as the message had them."""
    header, alpha, *_ = run.invoke(wms, ["results", "alpha"]).stdout.splitlines()
    assert alpha[header.index("phases") :].split()[0] == "2+2+30+40+6"
    beta = json.loads(run.invoke(wms, ["results", "beta", "--json", "--limit", "1"]).stdout)
    assert beta["address"] == FULL["address"]
    assert beta["phases"]["tls_ms"] == 30.125
    assert beta["certificate"]["names"] == list(FULL["certificate"].names)
    assert beta["evidence"] == msgspec.to_builtins(FULL["evidence"])
    assert "stored_at" in beta


def test_verbose_shows_what_the_last_failure_was_answered_with(run: CliRunner) -> None:
    """A line for each thing known, headers and body too, and nothing that steers a terminal."""
    assert run.invoke(wms, ["results", "alpha", "--not-up", "--verbose"]).stdout == ""
    shown = run.invoke(wms, ["results", "beta", "--not-up", "--limit", "1", "--verbose"]).stdout
    lines = [" ".join(line.split()) for line in shown.splitlines()]
    for line in (
        "reason timeout: no answer\\x1b[2J in 10 s",
        "connect 2.2 ms",
        "address 2001:db8::1",
        "tls 1.3 TLS_AES_256_GCM_SHA384",
        "wire bytes 5,000,000,000",
        f"chain expires {ENDED.chain_expires_at:%Y-%m-%dT%H:%M:%SZ}",
        "answered retry-after: 120",
        "body Busy\\n ü \\x07</h1>",
    ):
        assert line in lines
    assert all(line.isprintable() for line in shown.splitlines())


def test_migrate_says_what_is_applied_and_goes_down_and_up(run: CliRunner) -> None:
    """By hand, what the roles do at their start."""
    ids = [one.migration_id for one in migration_files(folder())]
    assert "0001.results" in run.invoke(wms, ["migrate", "status"]).stdout
    assert f"nothing to do: the schema is at {ids[-1]}" in run.invoke(wms, ["migrate", "up"]).stdout
    assert f"rolled back: {ids[-1]}\n" in run.invoke(wms, ["migrate", "down"]).stdout
    run.invoke(wms, ["migrate", "down", "--to", "0000"])
    (status, *_) = json.loads(run.invoke(wms, ["migrate", "status", "--json"]).stdout)
    assert status == {
        "migration_id": "0001.results",
        "applied_at": None,
        "in_this_release": True,
        "can_roll_back": True,
    }
    assert "applied: 0001.results" in run.invoke(wms, ["migrate", "up", "--to", "0001"]).stdout
    assert "applied: " in run.invoke(wms, ["migrate", "up"]).stdout or ids == ["0001.results"]
    assert run.invoke(wms, ["status"]).stdout == ""


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (["results", "bata"], 2, "wms: no results of a site 'bata' (did you mean beta?)"),
        (["results", "--last", "5"], 2, "wms: --last: '5' is not a duration"),
        (["migrate", "up", "--to", "9999"], 1, "wms: no migration '9999'"),
    ],
)
def test_a_mistake_is_one_line(run: CliRunner, database_url: str, arguments: list[str], code: int, says: str) -> None:
    """On stderr, with the exit code that tells wrong usage from what did not work."""
    found = _process(arguments, database_url)
    assert found.returncode == code
    assert found.stderr.startswith(says)
    assert len(found.stderr.splitlines()) == 1


def test_an_unreachable_or_empty_database_is_one_line(empty_database_url: str) -> None:
    """What, where and what to do; never the password."""
    found = _process(["status"], "postgresql://wms:secret@127.0.0.1:1/wms")
    assert (found.returncode, found.stderr) == (
        1,
        "wms: Postgres at 127.0.0.1:1/wms does not answer: Connection refused\n",
    )
    found = _process(["status"], empty_database_url)
    assert found.returncode == 1
    assert found.stderr.rstrip().endswith("(wms migrate up)")
    found = _process(["status"], "secret")
    assert (found.returncode, "secret" in found.stderr) == (2, False)


def _process(arguments: list[str], database_url: str) -> subprocess.CompletedProcess[str]:
    return _python(["-m", "wms_tasks.cli", *arguments], database_url)


def _python(arguments: list[str], database_url: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, *arguments]
    environ = {"WMS_DATABASE_URL": database_url, "PATH": ""}
    return subprocess.run(command, env=environ, capture_output=True, text=True, timeout=30, check=False)


@pytest.mark.parametrize("arguments", [["status"], ["results", "alpha"], ["ledger"]])
def test_what_formats_logs_is_not_loaded_to_read(run: CliRunner, database_url: str, arguments: list[str]) -> None:
    """It would be a twentieth of a second of each `wms status`; and no line can go where nobody said it should."""
    program = "import sys; from wms_tasks.cli import main; sys.argv = ['wms', *sys.argv[1:]]\n"
    asked = _python(
        ["-c", f"{program}try: main()\nfinally: print('structlog' in sys.modules)", *arguments], database_url
    )
    assert asked.stdout.splitlines()[-1] == "False"
    assert len(asked.stdout.splitlines()) > 1
