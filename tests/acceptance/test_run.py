"""`wms run`: all three roles in one process on services of its own choosing; how it ends, asked and unasked."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from tests import read_only
from tests.waiting import wait_until
from wms_tasks.embedded.demo_site import DemoSite

RUN = [sys.executable, "-m", "wms_tasks.cli", "run", "--sites", "sites.yaml"]
SITES = """
hosts: {{127.0.0.1: {{spacing: 50ms}}}}
sites:
  - {{name: page, url: "http://127.0.0.1:{port}/healthy", interval: 1s, timeout: 500ms, jitter: 100ms}}
"""


@pytest.fixture
def demo() -> Iterator[DemoSite]:
    """A site that is well."""
    site = DemoSite(port=0)
    site.start()
    yield site
    site.stop()


def start(folder: Path, environ: dict[str, str]) -> subprocess.Popen[str]:
    """`wms run` with stdin closed to terminals, as a service manager starts it, and writing to its /tmp only."""
    scratch = folder / "tmp"
    scratch.mkdir()
    here = {"HOME": str(scratch), "TMPDIR": str(scratch), "PYTHONDONTWRITEBYTECODE": "1"}
    with folder.joinpath("log").open("w", encoding="utf-8") as log:
        return subprocess.Popen(
            [*(read_only.command(scratch) if read_only.available() else []), *RUN],
            cwd=folder,
            env={k: v for k, v in os.environ.items() if not k.startswith("WMS_")} | here | environ,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=log,
            text=True,
        )


def rows(database_url: str) -> list[str]:
    """Outcomes so far."""
    with psycopg.connect(database_url) as connection:
        return [outcome for (outcome,) in connection.execute("SELECT outcome FROM wms.results")]


@pytest.mark.slow
def test_rows_come_and_hup_stops_it_for_good(
    tmp_path: Path, demo: DemoSite, wms_environ: dict[str, str], database_url: str
) -> None:
    """HUP with no terminal would make Celery execute the program again; here it ends, with 0 and in time."""
    tmp_path.joinpath("sites.yaml").write_text(SITES.format(port=demo.port), encoding="utf-8")
    process = start(tmp_path, wms_environ)
    try:
        wait_until(lambda: rows(database_url).count("up") >= 2, timeout_seconds=40, what="two rows")
        began = time.monotonic()
        process.send_signal(signal.SIGHUP)
        assert process.wait(timeout=20) == 0, tmp_path.joinpath("log").read_text()
        assert time.monotonic() - began <= 12
    finally:
        process.kill()
        process.wait()


def test_a_broken_sites_file_ends_it_before_it_begins(tmp_path: Path) -> None:
    """Exit 2 and file:line."""
    tmp_path.joinpath("sites.yaml").write_text("sites:\n  - {name: a, url: 'http://u:p@example.com'}\n")
    done = subprocess.run(RUN, cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 2
    assert "sites.yaml:2" in done.stderr
    assert "u:p" not in done.stderr
