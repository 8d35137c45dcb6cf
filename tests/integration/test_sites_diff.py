"""`wms sites diff`: what a file would change of what beat announced, without a secret on the way."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from tests.ledgers import announced, seconds_ago
from wms_tasks.cli import wms
from wms_tasks.settings import Settings
from wms_tasks.sites.file import load_sites

RUNNING = """
sites:
  - {name: Shop, url: 'https://shop.example/?token=hunter2', interval: 1m,
     headers: {X-Key: '${WMS_SECRET_A}', X-Old: a}}
  - {name: Till, url: 'https://till.example/', expect: {status: 2xx, body_regexp: open}}
  - {name: Old, url: 'https://old.example/'}
"""
WRITTEN = """
defaults: {evidence: body}
sites:
  - {name: Shop, url: 'https://shop.example/?token=hunter3', interval: 30s,
     headers: {X-Key: '${WMS_SECRET_A}', X-New: a}}
  - {name: The till, id: Till, url: 'https://till.example/', evidence: headers,
     expect: {status: [2xx, 404], slow: 1s}, max_body: 64KiB, tls: {min_version: "1.2"}}
  - {name: New, url: 'https://new.example/x?key=hunter4'}
"""


@pytest.fixture
def folder(database_url: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """Where the sites file is; Postgres knows `RUNNING`."""
    monkeypatch.setenv("WMS_DATABASE_URL", database_url)
    monkeypatch.setenv("WMS_SITES", str(tmp_path / "sites.yaml"))
    (tmp_path / "sites.yaml").write_text(RUNNING)
    settings = Settings(env="test", database_url=database_url)
    announced(settings, *load_sites(tmp_path / "sites.yaml"), at_us=seconds_ago(60))
    return tmp_path


def run(*arguments: str) -> Result:
    """The command."""
    return CliRunner().invoke(wms, ["sites", "diff", *arguments])


def test_the_same(folder: Path) -> None:
    """Exit 0, for the file that runs, however it is written."""
    result = run()
    assert (result.exit_code, result.stdout) == (0, "the same\n")
    assert json.loads(run("--json").stdout) == {"same": True, "added": [], "removed": [], "changed": []}


def test_every_difference(folder: Path) -> None:
    """Added, removed, and each key from what it is to what it would be; exit 1."""
    (folder / "new.yaml").write_text(WRITTEN)
    result = run(str(folder / "new.yaml"))
    assert result.exit_code == 1
    assert result.stdout.splitlines() == [
        "+ New  https://new.example/x",
        "- Old  https://old.example/",
        "~ Shop",
        "    evidence: 'headers' → 'body'",
        "    headers.X-New: not set → '…'",
        "    headers.X-Old: '…' → not set",
        "    interval: 1m → 30s",
        "    jitter: 6s → 3s",
        "~ The till",
        "    expect.body_regexp: 'open' → not set",
        "    expect.slow: not set → 1s",
        '    expect.status: ["2xx"] → ["2xx", "404"]',
        "    max_body: 1MiB → 64KiB",
        "    name: 'Till' → 'The till'",
        "    tls.min_version: not set → '1.2'",
        "1 added, 1 removed, 2 changed",
    ]


def test_json(folder: Path) -> None:
    """The same for scripts, in the record's own words."""
    (folder / "sites.yaml").write_text(WRITTEN)
    report = json.loads(run("--json").stdout)
    assert report["same"] is False
    assert [site["name"] for site in report["added"]] == ["New"]
    shop, till = report["changed"]
    assert {"key": "interval_seconds", "old": 60.0, "new": 30.0} in shop["changes"]
    assert {"key": "expect.body_regexp", "old": "open", "new": None} in till["changes"]
    assert "hunter" not in json.dumps(report)


def test_a_value_that_is_not_shown(folder: Path) -> None:
    """That it is other is told, and neither value."""
    (folder / "sites.yaml").write_text(RUNNING.replace("hunter2", "hunter5"))
    result = run()
    assert result.exit_code == 1
    assert result.stdout.splitlines() == [
        "~ Shop",
        "    a value that is not shown: of a header, a body or a url's query",
        "0 added, 0 removed, 1 changed",
    ]


def test_when_nothing_can_be_compared(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A broken file is its problems; a Postgres that is away is one line; both exit 2, which is no difference."""
    monkeypatch.setenv("WMS_DATABASE_URL", "postgresql://nobody@127.0.0.1:1/none")
    result = run()
    assert result.exit_code == 2
    assert len(result.stderr.splitlines()) == 1
    (folder / "sites.yaml").write_text("sites: [{name: a}]")
    assert "this site has no url" in str(run().exception)


def test_before_beat_announced_anything(database_url: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Everything is new, and why is said."""
    monkeypatch.setenv("WMS_DATABASE_URL", database_url)
    (tmp_path / "sites.yaml").write_text(RUNNING)
    result = run(str(tmp_path / "sites.yaml"))
    assert result.exit_code == 1
    assert result.stdout.endswith("3 added, 0 removed, 0 changed\n")
    assert "Beat has announced no sites yet" in result.stderr
