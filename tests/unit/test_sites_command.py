"""`wms sites validate`: exit codes, the summary, every problem on stderr, JSON; no setting is read."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from wms_tasks.commands.sites import sites

TEN_MISTAKES = Path(__file__).parent / "sites" / "ten_mistakes.yaml"


def run(*arguments: str) -> Result:
    """The command, as the `wms` group calls it."""
    return CliRunner().invoke(sites, ["validate", *arguments])


@pytest.fixture
def good(tmp_path: Path) -> Path:
    """Three sites on two hosts, one of them disabled."""
    path = tmp_path / "sites.yaml"
    path.write_text(
        """
sites:
  - {name: a, url: https://a.example/, interval: 10s}
  - {name: b, url: https://b.example/, interval: 20s}
  - {name: c, url: https://a.example/, enabled: false}
""",
        encoding="utf-8",
    )
    return path


def test_a_good_file_is_one_line(good: Path) -> None:
    """What beat would take from it, and exit 0."""
    result = run(str(good))

    assert (result.exit_code, result.stderr) == (0, "")
    assert result.stdout == f"{good}: 2 sites, 2 hosts, 0.2 probes/s, 1 disabled\n"


def test_the_file_that_beat_reads_is_the_default(good: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Or somebody checks one file and runs another."""
    monkeypatch.setenv("WMS_SITES", str(good))
    result = CliRunner().invoke(sites, ["validate"])
    assert result.exit_code == 0
    assert str(good) in result.stdout


def test_a_bad_file_is_every_problem_and_a_count(monkeypatch: pytest.MonkeyPatch) -> None:
    """On stderr, file:line first so that editors jump there; exit 2; a wrong setting does not matter."""
    monkeypatch.setenv("WMS_ENV", "nonsense")
    result = run(str(TEN_MISTAKES))

    lines = result.stderr.splitlines()
    assert (result.exit_code, result.stdout) == (2, "")
    assert lines[0].startswith(f"{TEN_MISTAKES}:3: interval:")
    assert len(lines) == 11
    assert lines[-1] == f"{TEN_MISTAKES}: 10 problems"


def test_json_of_a_good_file(good: Path) -> None:
    """For scripts: numbers, and an empty list of problems."""
    result = run(str(good), "--json")

    assert result.exit_code == 0
    assert json.loads(result.stdout) == {
        "file": str(good),
        "valid": True,
        "sites": 2,
        "disabled": 1,
        "hosts": 2,
        "probes_per_second": 0.15,
        "problems": [],
    }


def test_json_of_a_bad_file(tmp_path: Path) -> None:
    """Problems with their line, null where it is the file as a whole."""
    bad, missing = run(str(TEN_MISTAKES), "--json"), run(str(tmp_path / "none.yaml"), "--json")

    assert (bad.exit_code, missing.exit_code) == (2, 2)
    assert json.loads(bad.stdout)["problems"][0]["line"] == 3
    assert json.loads(missing.stdout)["problems"] == [{"line": None, "problem": "there is no such file"}]


def test_a_folder_tells_each_problems_file(tmp_path: Path) -> None:
    """As a path that editors open, and in JSON beside the line."""
    (tmp_path / "a.yaml").write_text("sites: [{name: a, url: https://a.example/}]")
    (tmp_path / "b.yaml").write_text("sites: [{name: a, url: https://b.example/}]")
    words = "name 'a' is taken already, by the site in a.yaml:1"

    result, as_json = run(str(tmp_path)), run(str(tmp_path), "--json")

    assert result.stderr.splitlines() == [f"{tmp_path}/b.yaml:1: {words}", f"{tmp_path}: 1 problem"]
    assert json.loads(as_json.stdout)["problems"] == [{"file": f"{tmp_path}/b.yaml", "line": 1, "problem": words}]


def test_secrets_are_looked_at_where_they_are(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Asked to, each must be here; a secret for another host is told wherever it is known."""
    path = tmp_path / "sites.yaml"
    path.write_text("sites: [{name: a, url: https://a.example/, headers: {X-Key: '${WMS_SECRET_KEY}'}}]")
    site = f"{path}: site 'a': ${{WMS_SECRET_KEY}}"

    assert run(str(path)).exit_code == 0
    missing = run(str(path), "--secrets")
    assert (missing.exit_code, missing.stderr.splitlines()[0]) == (
        2,
        f"{site} is not set (set WMS_SECRET_KEY in the worker's environment)",
    )
    monkeypatch.setenv("WMS_SECRET_KEY", "hunter2")
    assert run(str(path), "--secrets").exit_code == 0
    monkeypatch.setenv("WMS_SECRET_KEY_HOSTS", "b.example")
    for arguments in ((), ("--secrets",)):
        elsewhere = run(str(path), *arguments)
        assert elsewhere.exit_code == 2
        assert elsewhere.stderr.startswith(f"{site} may not be sent to a.example (add it to WMS_SECRET_KEY_HOSTS")
        assert "hunter2" not in elsewhere.output
