"""ops/compose/init.sql, run by psql as the postgres image runs it, on the embedded Postgres."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import psycopg
import pytest
from psycopg import sql

from wms_tasks.embedded.postgres import EmbeddedPostgres
from wms_tasks.settings import Settings
from wms_tasks.store.migrate import migrate_to_target

SCRIPT = Path(__file__).resolve().parents[2] / "ops" / "compose" / "init.sql"
# With quotes, because a password is data and must not be read as SQL.
PASSWORDS = {"wms_dev": "de'v; --", "wms_test": 'te"st$$', "wms_dev_reader": "re'ad"}
# Users with a database of their own.
OWNERS = ("wms_dev", "wms_test")


def run_script(server: EmbeddedPostgres, passwords: dict[str, str]) -> subprocess.CompletedProcess[str]:
    """Run it as the superuser, passwords in the environment, as in docker-compose.yml."""
    superuser = urlsplit(server.url("postgres"))
    environ = {
        "PATH": os.environ["PATH"],
        "PGHOST": superuser.hostname or "",
        "PGPORT": str(superuser.port),
        "PGUSER": superuser.username or "",
        "PGPASSWORD": superuser.password or "",
        "PGDATABASE": "postgres",
        **{f"{user.upper()}_PASSWORD": password for user, password in passwords.items()},
    }
    command = [str(server.bin_dir / "psql"), "-v", "ON_ERROR_STOP=1", "--no-password", "--no-psqlrc", "-f", str(SCRIPT)]
    return subprocess.run(command, env=environ, capture_output=True, text=True, timeout=60, check=False)


def drop_all(server: EmbeddedPostgres) -> None:
    """Leave the session's server as it was."""
    with psycopg.connect(server.url("postgres"), autocommit=True) as connection:
        for name in PASSWORDS:
            connection.execute(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(name)))
            connection.execute(sql.SQL("DROP ROLE IF EXISTS {}").format(sql.Identifier(name)))


@pytest.fixture
def server(postgres_server: EmbeddedPostgres) -> Iterator[EmbeddedPostgres]:
    """The session's Postgres, without the script's databases before and after."""
    drop_all(postgres_server)
    yield postgres_server
    drop_all(postgres_server)


@pytest.fixture
def initialised(server: EmbeddedPostgres) -> EmbeddedPostgres:
    """The same after the script has run."""
    done = run_script(server, PASSWORDS)
    assert done.returncode == 0, done.stderr
    return server


def connect(server: EmbeddedPostgres, user: str, database: str, password: str) -> psycopg.Connection:
    """Log in over TCP with a password, as a role does."""
    return psycopg.connect(host="127.0.0.1", port=server.port, user=user, password=password, dbname=database)


@pytest.mark.parametrize("user", OWNERS)
def test_each_user_logs_in_to_its_own_database(initialised: EmbeddedPostgres, user: str) -> None:
    """The password from the environment opens it, quotes and all, and makes no superuser."""
    with connect(initialised, user, user, PASSWORDS[user]) as connection:
        row = connection.execute("SELECT current_user, current_database(), current_setting('is_superuser')").fetchone()

    assert row == (user, user, "off")


@pytest.mark.parametrize("user", OWNERS)
def test_a_wrong_password_is_refused(initialised: EmbeddedPostgres, user: str) -> None:
    """The login above means something."""
    with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
        connect(initialised, user, user, "wrong")


@pytest.mark.parametrize(
    ("user", "database"), [("wms_dev", "wms_test"), ("wms_test", "wms_dev"), ("wms_dev_reader", "wms_test")]
)
def test_no_user_reaches_the_other_database(initialised: EmbeddedPostgres, user: str, database: str) -> None:
    """Not even to look: the right to connect is its owner's alone."""
    with pytest.raises(psycopg.OperationalError, match="permission denied for database"):
        connect(initialised, user, database, PASSWORDS[user])


def test_the_migrations_run_as_the_plain_user(initialised: EmbeddedPostgres) -> None:
    """What the script grants is all that the persist role needs at its start."""
    url = f"postgresql://wms_dev@127.0.0.1:{initialised.port}/wms_dev"
    quoted = url.replace("wms_dev@", "wms_dev:de%27v%3B%20--@")
    migrate_to_target(Settings(env="dev", database_url=quoted), give_up_after_seconds=20)

    with connect(initialised, "wms_dev", "wms_dev", PASSWORDS["wms_dev"]) as connection:
        assert connection.execute("SELECT count(*) FROM wms.results").fetchone() == (0,)
    with connect(initialised, "wms_dev_reader", "wms_dev", PASSWORDS["wms_dev_reader"]) as connection:
        assert connection.execute("SELECT count(*) FROM wms.results").fetchone() == (0,)
        with pytest.raises(psycopg.errors.ReadOnlySqlTransaction):
            connection.execute("DELETE FROM wms.results")
    with connect(initialised, "wms_dev_reader", "wms_dev", PASSWORDS["wms_dev_reader"]) as connection:
        connection.execute("SET TRANSACTION READ WRITE")
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            connection.execute("DELETE FROM wms.results")


def test_a_missing_password_stops_the_script(server: EmbeddedPostgres) -> None:
    """No user without a password: psql fails, and with it the container's first start."""
    done = run_script(server, {"wms_dev": "only this one"})

    assert done.returncode != 0
    with psycopg.connect(server.url("postgres")) as connection:
        made = connection.execute("SELECT rolname FROM pg_roles WHERE rolname LIKE 'wms\\_%' ORDER BY 1").fetchall()
    assert ("wms_test",) not in made
