"""From `wms up` to the first row that can be read, where there is data of an earlier run."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from pathlib import Path

import psycopg

from bench.figure import Figure, Measure, Subject, at_most
from bench.up import environ_for_up, up
from bench.whole import pause
from tests.waiting import wait_until

# The demo's own pages, which whoever tries it sees first.
_SITES = """
hosts:
  127.0.0.1: {{spacing: 100ms}}
sites:
  - {{name: demo healthy, url: "http://127.0.0.1:{port}/healthy", interval: 2s, timeout: 1s}}
  - {{name: demo flaky, url: "http://127.0.0.1:{port}/flaky", interval: 2s, timeout: 1s}}
"""
_FOUND = "SELECT FROM wms.results WHERE started_at >= %s LIMIT 1"
# Whoever comes back was away for longer than two seconds; else the slot now running would have its row already.
_AWAY_SECONDS = 3.0
# A first run is looked at for a while, in which it makes what lets later ones start sooner.
_FIRST_STAYS_SECONDS = 20.0
_READY_SECONDS = 90.0


class Reader:
    """Asks Postgres for a row, on one connection as soon as there can be one."""

    def __init__(self, folder: Path, port: int) -> None:
        self._password = folder / ".wms" / "postgres" / "password"
        self._port = port
        self._connection: psycopg.Connection | None = None

    def sees_row(self, since: datetime) -> bool:
        """Whether there is one of a probe that began later; False where Postgres does not answer yet."""
        try:
            if self._connection is None:
                password = self._password.read_text(encoding="ascii").strip()
                where = f"host=127.0.0.1 port={self._port} dbname=wms user=wms password={password}"
                self._connection = psycopg.connect(where, autocommit=True, connect_timeout=2)
            return self._connection.execute(_FOUND, (since,)).fetchone() is not None
        except (OSError, psycopg.Error):
            return False

    def close(self) -> None:
        """Give the connection back, if there is one."""
        if self._connection is not None:
            self._connection.close()


def first_row_seconds(folder: Path, environ: Mapping[str, str], *, stay_seconds: float = 0.0) -> float:
    """Start it, see a row come, stop it after a while."""
    reader = Reader(folder, int(environ["WMS_UP_POSTGRES_PORT"]))
    began, since = time.monotonic(), datetime.now(UTC)
    with ExitStack() as stack:
        running = stack.enter_context(up(folder, environ))
        stack.callback(reader.close)

        def seen() -> bool:
            assert running.process.poll() is None, (folder / "said").read_text(encoding="utf-8")
            return reader.sees_row(since)

        wait_until(seen, _READY_SECONDS, "a row", every_seconds=0.02)
        seconds = time.monotonic() - began
        pause(stay_seconds)
        return seconds


@contextmanager
def _open(folder: Path) -> Iterator[Measure]:
    environ = environ_for_up()
    sites = _SITES.format(port=environ["WMS_UP_DEMO_PORT"])
    (folder / "sites.yaml").write_text(sites, encoding="utf-8")
    first_row_seconds(folder, environ, stay_seconds=_FIRST_STAYS_SECONDS)

    def measure(_: int) -> dict[str, float]:
        pause(_AWAY_SECONDS)
        return {"start.first_row": first_row_seconds(folder, environ)}

    yield measure


SUBJECT = Subject(
    name="start",
    figures=(
        Figure(
            key="start.first_row",
            name="start: `wms up`, a later start, to the first row",
            unit="s",
            must=at_most(6.0),
            aim=at_most(4.0),
        ),
    ),
    open=_open,
    conditions="from before the process begins until a row of it can be read in Postgres; the two demo pages every "
    "2 s; data of the run before, three seconds earlier; the first run, which is not counted, lasted 20 s",
)
