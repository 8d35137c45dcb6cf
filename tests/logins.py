"""A database with a login for each purpose: an owner who is no superuser, and three others."""

from __future__ import annotations

import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import psycopg
from psycopg import sql

from wms_tasks.embedded.postgres import EmbeddedPostgres
from wms_tasks.settings import Settings
from wms_tasks.store.migrate import migrate_to_target

PURPOSES = ("persist", "housekeeping", "reader")
PASSWORD = "of-all-of-them"


@dataclass(frozen=True, slots=True, kw_only=True)
class Logins:
    """``names``: purpose, or ``migrate``, → role."""

    server: EmbeddedPostgres
    database: str
    names: Mapping[str, str]

    def url(self, purpose: str) -> str:
        """To log in with."""
        return f"postgresql://{self.names[purpose]}:{PASSWORD}@127.0.0.1:{self.server.port}/{self.database}"

    def connect(self, purpose: str) -> psycopg.Connection[Any]:
        """Each statement for itself."""
        return psycopg.connect(self.url(purpose), autocommit=True)

    def owned(self, statement: str) -> list[tuple[Any, ...]]:
        """The rows of a statement of the owner's, if it has any."""
        with self.connect("migrate") as connection:
            done = connection.execute(statement.encode())
            return done.fetchall() if done.description else []

    def roles(self, **changes: str | None) -> dict[str, Any]:
        """The settings that name them."""
        named: dict[str, str | None] = {purpose: self.names[purpose] for purpose in PURPOSES}
        return {f"database_role_{purpose}": name for purpose, name in (named | changes).items()}

    def migrate(self, target: str | None = None, **changes: str | None) -> None:
        """As a step of its own."""
        settings = Settings(env="test", database_url=self.url("migrate"), schema_target=target, **self.roles(**changes))
        migrate_to_target(settings, give_up_after_seconds=20)

    def of_roles(self, settings: Settings) -> Settings:
        """What a persist worker is given; it could not migrate if it had to."""
        logins = {"database_url": self.url("persist"), "database_url_housekeeping": self.url("housekeeping")}
        return settings.model_copy(update={**logins, "migrate": "wait"})

    def make_role(self, name: str) -> None:
        """One more login."""
        with psycopg.connect(self.server.url("postgres"), autocommit=True) as connection:
            connection.execute(
                sql.SQL("CREATE ROLE {} LOGIN PASSWORD {}").format(sql.Identifier(name), sql.Literal(PASSWORD))
            )


@contextmanager
def logins(server: EmbeddedPostgres) -> Iterator[Logins]:
    """Nothing is migrated yet. Roles are the whole server's, so their names are this database's."""
    database = f"t_{uuid.uuid4().hex}"
    names = {purpose: f"{database[:12]}_{purpose}" for purpose in ("migrate", *PURPOSES)}
    made = Logins(server=server, database=database, names=names)
    for name in names.values():
        made.make_role(name)
    owner, where = sql.Identifier(names["migrate"]), sql.Identifier(database)
    with psycopg.connect(server.url("postgres"), autocommit=True) as connection:
        connection.execute(sql.SQL("CREATE DATABASE {} OWNER {}").format(where, owner))
        connection.execute(sql.SQL("REVOKE ALL ON DATABASE {} FROM PUBLIC").format(where))
        try:
            yield made
        finally:
            connection.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(where))
            found = connection.execute(
                "SELECT rolname FROM pg_roles WHERE starts_with(rolname, %s)", (database[:12],)
            ).fetchall()
            for (name,) in found:
                connection.execute(sql.SQL("DROP ROLE {}").format(sql.Identifier(name)))
