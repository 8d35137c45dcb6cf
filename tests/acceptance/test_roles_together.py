"""All roles in one process: what `wms run` runs."""

from __future__ import annotations

import signal
import sys
from pathlib import Path

import psycopg
import pytest

from tests.acceptance.orders import Left
from tests.acceptance.processes import Role, Roles, roles
from tests.servers import LocalServer, answer
from tests.waiting import wait_until
from wms_tasks.settings import Settings

CODE = """
import sys
from wms_tasks.roles.together import run_together
from wms_tasks.settings import get_settings

sys.exit(run_together(get_settings(), on_ready=lambda persist: print(f"ready: {persist.stats().topic}", flush=True)))
"""
PROGRAM = [sys.executable, "-c", CODE]


def start(started: Roles, **environ: str) -> Role:
    """The program."""
    return started.start("together", program=PROGRAM, **environ)


def write_sites(folder: Path, url: str) -> str:
    """A sites file with one site; its path."""
    path = folder / "sites.yaml"
    site = f"{{name: a, url: '{url}', interval: 1s, timeout: 500ms, jitter: 0s, robots: ignore}}"
    path.write_text(f"hosts: {{127.0.0.1: {{spacing: 1ms}}}}\nsites:\n  - {site}\n")
    return str(path)


@pytest.mark.slow
@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_one_process_does_it_all_and_stops_on_a_signal(
    settings: Settings, wms_environ: dict[str, str], tmp_path: Path, signum: signal.Signals
) -> None:
    """Rows, exit 0 in time; HUP with no terminal does not start it again; nothing acknowledged is lost."""
    with LocalServer({"/": answer()}) as server, roles(wms_environ, tmp_path) as started:
        role = start(started, WMS_SITES=write_sites(tmp_path, server.url("/")))
        role.until_said(f"ready: {settings.topic}")

        def rows() -> int:
            with psycopg.connect(settings.database_url) as connection:
                found = connection.execute("SELECT count(*) FROM wms.results WHERE outcome = 'up'").fetchone()
                return int(found[0]) if found else 0

        wait_until(lambda: rows() >= 2, 20, "rows")
        exit_code, seconds = role.stop(signum)
        assert exit_code == 0, role.said()
        assert seconds < 8
        assert role.said().count("ready: ") == 1
        left = Left(settings)
        assert left.unacknowledged() == 0


@pytest.mark.slow
def test_a_role_that_ends_by_itself_ends_the_process_and_says_why(wms_environ: dict[str, str], tmp_path: Path) -> None:
    """Exit 1: beat without its file, persist with a schema that nobody knows."""
    with roles(wms_environ, tmp_path) as started:
        no_file = start(started, WMS_SITES=str(tmp_path / "none.yaml"))
        assert no_file.wait() == 1
        assert "role.ended_unasked" in no_file.said()
        assert "none.yaml" in no_file.said()
        sites = write_sites(tmp_path, "http://127.0.0.1:1/")
        no_schema = start(started, WMS_SITES=sites, WMS_SCHEMA_TARGET="9999.unknown")
        assert no_schema.wait() == 1
        assert "9999.unknown" in no_schema.said()
