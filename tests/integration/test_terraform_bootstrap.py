"""ops/terraform/bootstrap.sql, run by an owner who is no superuser, as Aiven's is, on the embedded Postgres."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
from psycopg import sql

from wms_tasks.embedded.postgres import EmbeddedPostgres
from wms_tasks.settings import Settings
from wms_tasks.store.migrate import migrate_to_target

SCRIPT = Path(__file__).resolve().parents[2] / "ops" / "terraform" / "bootstrap.sql"
# The session's server may have one of the script's name.
DATABASE = "wms_bootstrap"
OWNER, STRANGER = "wms_bootstrap_owner", "wms_bootstrap_stranger"
USERS = ("wms_migrate", "wms_housekeeping", "wms_persist", "wms_reader")
PASSWORD = "of-all-of-them"


def drop_all(server: EmbeddedPostgres) -> None:
    """Leave the session's server as it was."""
    with psycopg.connect(server.url("postgres"), autocommit=True) as connection:
        connection.execute(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(DATABASE)))
        for name in (*USERS, STRANGER, OWNER):
            connection.execute(sql.SQL("DROP ROLE IF EXISTS {}").format(sql.Identifier(name)))


def connect(server: EmbeddedPostgres, user: str) -> psycopg.Connection:
    """Log in as a role does."""
    return psycopg.connect(host="127.0.0.1", port=server.port, user=user, password=PASSWORD, dbname=DATABASE)


@pytest.fixture
def server(postgres_server: EmbeddedPostgres) -> Iterator[EmbeddedPostgres]:
    """With users and a database as Terraform leaves them, and the script run twice."""
    drop_all(postgres_server)
    with psycopg.connect(postgres_server.url("postgres"), autocommit=True) as connection:
        for name in (OWNER, STRANGER, *USERS):
            statement = sql.SQL("CREATE ROLE {} LOGIN PASSWORD {}")
            connection.execute(statement.format(sql.Identifier(name), sql.Literal(PASSWORD)))
        statement = sql.SQL("CREATE DATABASE {} OWNER {}")
        connection.execute(statement.format(sql.Identifier(DATABASE), sql.Identifier(OWNER)))
    text = SCRIPT.read_text(encoding="utf-8").replace("DATABASE wms ", f"DATABASE {DATABASE} ")
    for _ in range(2):
        with connect(postgres_server, OWNER) as connection:
            connection.execute(text.encode())
    yield postgres_server
    drop_all(postgres_server)


def test_migrations_run_as_migrate_and_it_owns_what_they_make(server: EmbeddedPostgres) -> None:
    url = f"postgresql://wms_migrate:{PASSWORD}@127.0.0.1:{server.port}/{DATABASE}"
    migrate_to_target(Settings(env="dev", database_url=url), give_up_after_seconds=20)

    with connect(server, "wms_migrate") as connection:
        owner = connection.execute("SELECT tableowner FROM pg_tables WHERE tablename = 'results'").fetchone()
    assert owner == ("wms_migrate",)


@pytest.mark.parametrize("user", [user for user in USERS if user != "wms_migrate"])
def test_the_others_may_connect_and_make_nothing(server: EmbeddedPostgres, user: str) -> None:
    temporary = ["CREATE TEMPORARY TABLE mine (x int)"] if user == "wms_reader" else []
    for statement in ("CREATE SCHEMA mine", "CREATE TABLE public.mine (x int)", *temporary):
        with connect(server, user) as connection, pytest.raises(psycopg.errors.InsufficientPrivilege):
            connection.execute(statement)


@pytest.mark.parametrize("user", ["wms_persist", "wms_housekeeping"])
def test_who_needs_a_temporary_table_may_have_it(server: EmbeddedPostgres, user: str) -> None:
    with connect(server, user) as connection:
        connection.execute("CREATE TEMPORARY TABLE mine (x int)")


LACKING = """
SELECT r.purpose, r.object, r.privilege
FROM wms.rights AS r
JOIN wms.right_holders AS h USING (purpose)
WHERE NOT CASE r.kind
    WHEN 'DATABASE' THEN has_database_privilege(h.role_name, current_database(), r.privilege)
    WHEN 'SCHEMA' THEN has_schema_privilege(h.role_name, r.object, r.privilege)
    WHEN 'TABLE' THEN has_table_privilege(h.role_name, r.object, r.privilege)
    ELSE has_function_privilege(h.role_name, r.object, r.privilege)
END
"""


def test_script_and_migrations_together_give_each_all_it_needs(server: EmbeddedPostgres) -> None:
    """With the names that the output of the role migrate has; who migrates does not own the database here."""
    url = f"postgresql://wms_migrate:{PASSWORD}@127.0.0.1:{server.port}/{DATABASE}"
    names = {f"database_role_{one.removeprefix('wms_')}": one for one in USERS if one != "wms_migrate"}
    migrate_to_target(Settings(env="dev", database_url=url, **names), give_up_after_seconds=20)
    with connect(server, "wms_migrate") as connection:
        assert connection.execute("SELECT count(*) FROM wms.right_holders").fetchone() == (3,)
        assert connection.execute(LACKING).fetchall() == []


def test_nobody_else_may_connect(server: EmbeddedPostgres) -> None:
    with pytest.raises(psycopg.OperationalError, match="permission denied for database"):
        connect(server, STRANGER)
