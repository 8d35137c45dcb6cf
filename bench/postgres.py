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
    """
    Rows of a table; the seconds between the first and the last commit of a full batch; and how many rows came after
    the first until then. A batch that is not full has waited for its time to end, not for anybody to work.
    """

    rows: int
    seconds: float
    rows_meanwhile: int

    @property
    def per_second(self) -> float:
        """How fast rows came after the first commit."""
        return self.rows_meanwhile / self.seconds


def committed(url: str, schema: str, table: str) -> Committed:
    """When the rows that are there now were committed, by the server's own clock; full is half of the fullest."""
    statement = sql.SQL(
        "WITH by_commit AS (SELECT pg_xact_commit_timestamp(xmin) AS at, count(*) AS rows FROM {} GROUP BY 1), "
        "ends AS (SELECT min(at) AS first, max(at) AS last FROM by_commit "
        "WHERE 2 * rows >= (SELECT max(rows) FROM by_commit)) "
        "SELECT sum(rows)::bigint, extract(epoch FROM last - first)::float8, "
        "coalesce(sum(rows) FILTER (WHERE at > first AND at <= last), 0)::bigint "
        "FROM by_commit, ends GROUP BY first, last"
    ).format(sql.Identifier(schema, table))
    with psycopg.connect(url) as connection:
        row = connection.execute(statement).fetchone()
    assert row is not None
    return Committed(*row)


def public_rows(url: str, table: str) -> int:
    """How many rows a table of a peer's has; 0 before it has made it."""
    with psycopg.connect(url) as connection:
        if connection.execute("SELECT to_regclass(%s)", (f"public.{table}",)).fetchone() == (None,):
            return 0
        row = connection.execute(sql.SQL("SELECT count(*) FROM {}").format(sql.Identifier("public", table))).fetchone()
    assert row is not None
    return int(row[0])
