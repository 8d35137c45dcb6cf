"""The schema is brought to its target once, whatever starts, crashes or waits; and back, also by an older release."""

from __future__ import annotations

import subprocess
import threading
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
import psycopg
import pytest
from psycopg import sql
from structlog.testing import capture_logs

from tests.migration.releases import install_release, run_python
from tests.results import a_result
from tests.waiting import wait_until
from wms_tasks.embedded.postgres import EmbeddedPostgres
from wms_tasks.errors import MigrationError, ServiceUnavailable
from wms_tasks.settings import Settings
from wms_tasks.store.migrate import migrate_to_target, migration_status
from wms_tasks.store.migration_files import folder, migration_files
from wms_tasks.store.read import StoredResult, results

IDS = [one.migration_id for one in migration_files(folder())]
MIGRATE = """
from wms_tasks.settings import get_settings
from wms_tasks.store.migrate import migrate_to_target
migrate_to_target(get_settings(), give_up_after_seconds=20)
"""
NEWER = {
    "9001.notes.sql": "CREATE TABLE IF NOT EXISTS wms.notes (id int);\nCREATE TABLE IF NOT EXISTS wms.more (a text);",
    "9001.notes.rollback.sql": "DROP TABLE IF EXISTS wms.more;\nDROP TABLE IF EXISTS wms.notes;",
    "9002.last.sql": "CREATE TABLE IF NOT EXISTS wms.last (id integer);",
    "9002.last.rollback.sql": "DROP TABLE IF EXISTS wms.last;",
    "9003.index.sql": "-- transactional: false\nCREATE INDEX CONCURRENTLY IF NOT EXISTS last_id ON wms.last (id);",
    "9003.index.rollback.sql": "DROP INDEX CONCURRENTLY IF EXISTS wms.last_id;",
}


def migrate(url: str, target: str | None = None, **changes: Any) -> None:
    """To the target, with patience for a slow machine only."""
    migrate_to_target(Settings(env="test", database_url=url, schema_target=target), give_up_after_seconds=20, **changes)


def query(url: str, statement: str) -> list[tuple[Any, ...]]:
    """All rows."""
    with psycopg.connect(url) as connection:
        return connection.execute(statement.encode()).fetchall()


def applied(url: str) -> list[str]:
    """The applied ids."""
    with psycopg.connect(url) as connection:
        return [one.migration_id for one in migration_status(connection) if one.applied_at]


def tables(url: str) -> set[str]:
    """The tables of schema wms."""
    return {name for (name,) in query(url, "SELECT tablename FROM pg_tables WHERE schemaname = 'wms'")}


@pytest.fixture
def dump(postgres_server: EmbeddedPostgres) -> Any:
    """pg_dump's idea of a schema, without its random key."""

    def run(url: str) -> str:
        program = str(postgres_server.bin_dir / "pg_dump")
        command = [program, "--schema-only", "--restrict-key=x", "--exclude-schema=wms_migrations", url]
        found = subprocess.run(command, capture_output=True, text=True, timeout=30, check=True)
        return found.stdout

    return run


@pytest.fixture(scope="session")
def newer_release(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A release with three more migrations, installed from its wheel."""
    return install_release(tmp_path_factory.mktemp("newer"), NEWER)


@pytest.mark.parametrize("index", range(len(IDS)), ids=IDS)
def test_up_down_up_gives_the_same_schema(empty_database_url: str, dump: Any, index: int) -> None:
    """Each migration's rollback undoes all of it, rows and all."""
    before = IDS[index - 1] if index else "0000"
    migrate(empty_database_url, before)
    below = dump(empty_database_url)
    migrate(empty_database_url, IDS[index])
    above = dump(empty_database_url)
    assert above != below
    migrate(empty_database_url, before)
    assert dump(empty_database_url) == below
    migrate(empty_database_url, IDS[index])
    assert dump(empty_database_url) == above


def test_a_rollback_takes_the_partitions_along(database_url: str) -> None:
    """Tables made after the migration do not stop its rollback."""
    query(database_url, "SELECT wms.ensure_partition(current_date)")
    migrate(database_url, "0000")
    assert tables(database_url) == set()


def test_five_starts_at_once_apply_each_migration_once(empty_database_url: str) -> None:
    """All five succeed, and yoyo's own log shows one application of each."""
    failures: list[BaseException] = []

    def start() -> None:
        try:
            migrate(empty_database_url)
        except BaseException as error:  # noqa: BLE001 - handed to the test's own thread
            failures.append(error)

    threads = [threading.Thread(target=start) for _ in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert failures == []
    log = "SELECT migration_id, operation FROM wms_migrations._yoyo_log ORDER BY migration_id"
    assert query(empty_database_url, log) == [(one, "apply") for one in IDS]


def test_a_crash_between_applying_and_marking_is_mended_by_the_next_start(empty_database_url: str, dump: Any) -> None:
    """Every statement may run twice."""
    migrate(empty_database_url)
    above = dump(empty_database_url)
    with psycopg.connect(empty_database_url) as connection:
        connection.execute("DELETE FROM wms_migrations._yoyo_migration")
    migrate(empty_database_url)
    assert applied(empty_database_url) == IDS
    assert dump(empty_database_url) == above


def test_a_crash_between_rolling_back_and_unmarking_is_mended_too(empty_database_url: str) -> None:
    """The rollback may run twice as well."""
    migrate(empty_database_url)
    with psycopg.connect(empty_database_url) as connection:
        connection.execute("DROP SCHEMA wms CASCADE")
    migrate(empty_database_url, "0000")
    migrate(empty_database_url)
    assert applied(empty_database_url) == IDS
    assert "results" in tables(empty_database_url)


def test_the_lock_row_of_a_killed_migrator_stops_nobody(empty_database_url: str) -> None:
    """yoyo's own lock is a row that outlives its process; ours is a session's."""
    migrate(empty_database_url, "0000")
    migrate(empty_database_url, IDS[0])
    with psycopg.connect(empty_database_url) as connection:
        connection.execute("INSERT INTO wms_migrations.yoyo_lock (locked, pid) VALUES (1, 1)")
    migrate(empty_database_url, "0000")
    assert applied(empty_database_url) == []


def test_a_start_waits_while_another_migrates(empty_database_url: str) -> None:
    """It goes on by itself when the lock is free, and says once what it waits for."""
    with psycopg.connect(empty_database_url, autocommit=True) as holder, capture_logs() as logs:
        holder.execute("SELECT pg_advisory_lock(hashtextextended('wms.migrations', 0))")
        thread = threading.Thread(target=migrate, args=(empty_database_url,))
        thread.start()
        wait_until(lambda: any(one["event"] == "migrate.waiting_for_lock" for one in logs), what="the waiter's word")
        with pytest.raises(ServiceUnavailable, match="another process"):
            migrate_to_target(Settings(env="test", database_url=empty_database_url), give_up_after_seconds=0.3)
        holder.execute("SELECT pg_advisory_unlock(hashtextextended('wms.migrations', 0))")
        thread.join(20)
    assert applied(empty_database_url) == IDS


def test_postgres_that_comes_later_is_waited_for(postgres_server: EmbeddedPostgres, empty_database_url: str) -> None:
    """Said once, not once an attempt."""
    name = psycopg.conninfo.conninfo_to_dict(empty_database_url)["dbname"] + "_later"
    url = postgres_server.url(str(name))
    with capture_logs() as logs:
        thread = threading.Thread(target=migrate, args=(url,))
        thread.start()
        wait_until(lambda: any(one["event"] == "migrate.postgres_away" for one in logs), what="the waiter's word")
        with psycopg.connect(empty_database_url, autocommit=True) as connection:
            connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(str(name))))
        thread.join(20)
    assert applied(url) == IDS
    assert [one["event"] for one in logs].count("migrate.postgres_away") == 1


def test_a_table_in_use_is_waited_for_and_keeps_nobody_waiting(database_url: str) -> None:
    """Said once; others read meanwhile, between its attempts; nothing of the migration is done before it can be."""
    migrate(database_url, "0003")
    with psycopg.connect(database_url) as reader, capture_logs() as logs:
        reader.execute("SELECT * FROM wms.results")
        thread = threading.Thread(target=migrate, args=(database_url,))
        thread.start()
        wait_until(lambda: any(one["event"] == "migrate.tables_in_use" for one in logs), 20, "the waiter's word")
        assert query(database_url, "SELECT count(*) FROM wms.results") == [(0,)]
        assert applied(database_url) == IDS[:3]
        reader.rollback()
        thread.join(30)
    assert applied(database_url) == IDS
    assert [one["event"] for one in logs].count("migrate.tables_in_use") == 1


COPY_OF_0_1_0 = """
COPY wms.results (site_id, location, scheduled_at, site_name, due_at, started_at, attempt, outcome, reason, detail,
    status_code, response_time_ms, matched, worker, spec_digest, schema_version) FROM STDIN
"""
LINE_OF_0_1_0 = (
    b"9f0e2f60-3f5e-5c0b-9f0e-77656273697a\tlocal\t2026-11-23T07:00:00+00:00\texample\t2026-11-23T07:00:01+00:00\t"
    b"2026-11-23T07:00:01.000500+00:00\t1\tup\tok\t\\N\t200\t12.5\t\\N\ttest\t0123456789abcdef\t1\n"
)


def test_the_release_before_writes_on_this_schema(database_url: str) -> None:
    """Its COPY names its columns; what it does not know stays NULL, and this release reads the row."""
    with psycopg.connect(database_url) as connection:
        connection.execute("SELECT wms.ensure_partition('2026-11-23')")
        with connection.cursor().copy(COPY_OF_0_1_0) as copy:
            copy.write(LINE_OF_0_1_0)
        (found,) = results(connection, None, datetime(2026, 11, 23, tzinfo=UTC))
    assert found == StoredResult(stored_at=found.stored_at, **msgspec.structs.asdict(a_result()))


def test_patience_ends_with_one_line_and_no_password() -> None:
    """Host, port and reason."""
    settings = Settings(env="test", database_url="postgresql://wms:secret@127.0.0.1:1/wms")
    with pytest.raises(ServiceUnavailable, match=r"Postgres at 127\.0\.0\.1:1/wms does not answer") as caught:
        migrate_to_target(settings, give_up_after_seconds=0.1)
    assert "secret" not in str(caught.value)


def test_whoever_is_told_to_stop_does_not_wait_on() -> None:
    """A role that is stopped while Postgres is away ends at once."""
    stopping = threading.Event()
    stopping.set()
    settings = Settings(env="test", database_url="postgresql://wms@127.0.0.1:1/wms")
    with pytest.raises(ServiceUnavailable):
        migrate_to_target(settings, stopping=stopping)


def test_an_unknown_target_names_the_known_ones(empty_database_url: str) -> None:
    """Nothing is done."""
    with pytest.raises(MigrationError, match=r"no migration '9999'.*0001\.results"):
        migrate(empty_database_url, "9999")
    assert tables(empty_database_url) == set()


def test_a_newer_schema_without_a_target_is_run_on(
    empty_database_url: str, newer_release: Path, tmp_path: Path
) -> None:
    """An installed newer release migrates from outside the checkout; this one then says what it does not know."""
    run = run_python(MIGRATE, cwd=tmp_path, path=str(newer_release), WMS_DATABASE_URL=empty_database_url)
    assert run.returncode == 0, run.stderr
    assert applied(empty_database_url) == [*IDS, "9001.notes", "9002.last", "9003.index"]
    with capture_logs() as logs:
        migrate(empty_database_url)
    said = [one for one in logs if one["event"] == "migrate.schema_newer"]
    assert [one["unknown"] for one in said] == [["9001.notes", "9002.last", "9003.index"]]
    assert "notes" in tables(empty_database_url)


def test_an_older_release_rolls_back_what_it_does_not_contain(
    empty_database_url: str, newer_release: Path, tmp_path: Path, dump: Any
) -> None:
    """From the SQL that the newer one kept in the database; one not in a transaction too."""
    migrate(empty_database_url)
    before = dump(empty_database_url)
    run = run_python(MIGRATE, cwd=tmp_path, path=str(newer_release), WMS_DATABASE_URL=empty_database_url)
    assert run.returncode == 0, run.stderr
    kept = dict(query(empty_database_url, "SELECT migration_id, rollback_sql FROM wms_migrations.rollbacks"))
    assert kept["9001.notes"] == NEWER["9001.notes.rollback.sql"]
    migrate(empty_database_url, IDS[-1])
    assert applied(empty_database_url) == IDS
    assert dump(empty_database_url) == before
    assert query(empty_database_url, "SELECT migration_id FROM wms_migrations.rollbacks") == [(one,) for one in IDS]


@pytest.mark.parametrize(
    ("damage", "says"),
    [
        ("DELETE FROM wms_migrations.rollbacks WHERE migration_id = '9003.index'", "keeps no rollback"),
        ("UPDATE wms_migrations.rollbacks SET rollback_sql = 'DROP SCHEMA wms CASCADE'", "was changed"),
    ],
)
def test_a_rollback_that_is_missing_or_changed_is_not_run(
    empty_database_url: str, newer_release: Path, tmp_path: Path, damage: str, says: str
) -> None:
    """One line, and the schema stays as it was."""
    run = run_python(MIGRATE, cwd=tmp_path, path=str(newer_release), WMS_DATABASE_URL=empty_database_url)
    assert run.returncode == 0, run.stderr
    with psycopg.connect(empty_database_url) as connection:
        connection.execute(damage.encode())
    with pytest.raises(MigrationError, match=says):
        migrate(empty_database_url, IDS[-1])
    assert "notes" in tables(empty_database_url)


def test_kept_rollbacks_are_not_for_others(database_url: str) -> None:
    """Whoever could write one could run any SQL as the owner."""
    role = sql.Identifier(f"stranger_{psycopg.conninfo.conninfo_to_dict(database_url)['dbname']}")
    with psycopg.connect(database_url) as connection:
        connection.execute(sql.SQL("CREATE ROLE {}").format(role))
        connection.execute(sql.SQL("SET LOCAL ROLE {}").format(role))
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            connection.execute("UPDATE wms_migrations.rollbacks SET rollback_sql = ''")


def test_a_role_without_the_right_to_create_starts_on_a_schema_that_is_up_to_date(
    postgres_server: EmbeddedPostgres, database_url: str
) -> None:
    """Only reading is needed where nothing is to be done."""
    name = f"reader_{psycopg.conninfo.conninfo_to_dict(database_url)['dbname']}"
    role = sql.Identifier(name)
    with psycopg.connect(database_url, autocommit=True) as connection:
        connection.execute(sql.SQL("CREATE ROLE {} LOGIN PASSWORD 'reader'").format(role))
        connection.execute(sql.SQL("GRANT USAGE ON SCHEMA wms_migrations TO {}").format(role))
        connection.execute(sql.SQL("GRANT SELECT ON ALL TABLES IN SCHEMA wms_migrations TO {}").format(role))
        try:
            migrate(psycopg.conninfo.make_conninfo(database_url, user=name, password="reader"))
        finally:
            connection.execute(sql.SQL("DROP OWNED BY {}").format(role))
            connection.execute(sql.SQL("DROP ROLE {}").format(role))


def test_a_migration_that_fails_is_one_line_and_leaves_nothing(empty_database_url: str, tmp_path: Path) -> None:
    """Its statements roll back together, it is not marked, and a later release can mend it."""
    broken = install_release(
        tmp_path / "broken",
        {"9001.bad.sql": "CREATE TABLE wms.half (a int);\nSELECT nonsense();", "9001.bad.rollback.sql": "SELECT 1;"},
    )
    run = run_python(MIGRATE, cwd=tmp_path, path=str(broken), WMS_DATABASE_URL=empty_database_url)
    assert run.returncode == 1
    assert "MigrationError: apply of 9001.bad failed: function nonsense() does not exist" in run.stderr
    assert applied(empty_database_url) == IDS
    assert "half" not in tables(empty_database_url)
    migrate(empty_database_url)
