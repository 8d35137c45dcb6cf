"""The roles as processes with the rights that each needs and no more; beat and worker with no database at all."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.acceptance.processes import roles
from tests.logins import logins
from tests.servers import LocalServer, answer
from tests.waiting import wait_until
from wms_tasks.embedded.postgres import EmbeddedPostgres
from wms_tasks.settings import Settings
from wms_tasks.topic import ensure_topic


@contextmanager
def doorbell() -> Iterator[tuple[int, list[object]]]:
    """A port, and whoever came to it; nobody is answered."""
    came: list[object] = []
    with socket.create_server(("127.0.0.1", 0)) as server:

        def watch() -> None:
            while True:
                try:
                    connection, address = server.accept()
                except OSError:
                    return
                connection.close()
                came.append(address)

        thread = threading.Thread(target=watch, daemon=True)
        thread.start()
        yield server.getsockname()[1], came
        server.shutdown(socket.SHUT_RDWR)
        thread.join(5)


@pytest.mark.slow
def test_each_role_works_with_its_own_logins(
    settings: Settings, wms_environ: dict[str, str], tmp_path: Path, postgres_server: EmbeddedPostgres
) -> None:
    """
    A site's probes become rows, its schedule is taken in, slots are closed, days are made. Nobody asks Postgres for
    what it may not do, and beat and worker do not ask it for anything.
    """
    ensure_topic(settings)
    sites = tmp_path / "sites.yaml"
    with (
        logins(postgres_server) as database,
        LocalServer({"/": answer()}) as web,
        doorbell() as (port, came),
        roles(wms_environ, tmp_path) as started,
    ):
        site = f"{{name: a, url: '{web.url('/')}', interval: 1s, timeout: 500ms, robots: ignore}}"
        sites.write_text(f"hosts: {{127.0.0.1: {{spacing: 1ms}}}}\nsites:\n  - {site}\n")
        environ = {"WMS_SITES": str(sites), "WMS_CLOSE_GRACE_SECONDS": "2"}
        nothing = {"WMS_DATABASE_URL": f"postgresql://nobody@127.0.0.1:{port}/none"}
        own = {
            "WMS_DATABASE_URL": database.url("persist"),
            "WMS_DATABASE_URL_HOUSEKEEPING": database.url("housekeeping"),
            "WMS_MIGRATE": "wait",
        }
        persist = started.worker("--persist", **environ, **own)
        persist.until_said("migrate.waiting_for_schema")
        database.migrate()
        persist.until_said("migrate.schema_is_there")
        worker = started.worker(**environ, **nothing)
        beat = started.start("beat", "-s", str(tmp_path / "beat"), **environ, **nothing)
        beat.until_said("beat.leading")
        wait_until(
            lambda: database.owned("SELECT count(*) FROM wms.results WHERE outcome = 'up'")[0][0] > 3, 30, "rows"
        )
        closed = "SELECT closed_until > (SELECT min(valid_from) + interval '2 seconds' FROM wms.sites) FROM wms.closing"
        wait_until(lambda: database.owned(closed) == [(True,)], 40, "closed slots")
        assert [role.stop()[0] for role in (beat, worker, persist)] == [0, 0, 0]
        assert came == []
        # Before there was a schema, it could not even connect.
        since = persist.said().partition("migrate.schema_is_there")[2]
        assert [one for one in since.splitlines() if "permission denied" in one or "must be owner" in one] == []
        assert len({one for (one,) in database.owned("SELECT tableowner FROM pg_tables WHERE schemaname = 'wms'")}) == 1
