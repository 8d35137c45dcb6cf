"""A Postgres of a benchmark's own: the embedded one, migrated, that remembers when each transaction was committed."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import psycopg
from psycopg import sql

from tests.ports import free_port
from wms_tasks.embedded.postgres import EmbeddedPostgres
from wms_tasks.settings import Settings
from wms_tasks.store.migrate import migrate_to_target


@contextmanager
def postgres(folder: Path) -> Iterator[EmbeddedPostgres]:
    """Running, with its data in `folder`."""
    server = EmbeddedPostgres(folder / "postgres", port=free_port())
    server.start()
    try:
        with psycopg.connect(server.url(), autocommit=True) as connection:
            connection.execute("ALTER SYSTEM SET track_commit_timestamp = on")
        server.stop()
        server.start()
        migrate_to_target(Settings(env="test", database_url=server.url()), give_up_after_seconds=20)
        yield server
    finally:
        server.stop()


class Committed(NamedTuple):
    """Rows of a table, the seconds between its first and its last commit, and how many rows the first one brought."""

    rows: int
    seconds: float
    first_rows: int

    @property
    def per_second(self) -> float:
        """How fast rows came after the first commit."""
        return (self.rows - self.first_rows) / self.seconds


def committed(url: str, schema: str, table: str) -> Committed:
    """When the rows that are there now were committed, by the server's own clock."""
    statement = sql.SQL(
        "WITH by_commit AS (SELECT pg_xact_commit_timestamp(xmin) AS at, count(*) AS rows FROM {} GROUP BY 1) "
        "SELECT sum(rows)::bigint, extract(epoch FROM max(at) - min(at))::float8, "
        "(SELECT rows FROM by_commit ORDER BY at LIMIT 1) FROM by_commit"
    ).format(sql.Identifier(schema, table))
    with psycopg.connect(url) as connection:
        row = connection.execute(statement).fetchone()
    assert row is not None
    return Committed(*row)
