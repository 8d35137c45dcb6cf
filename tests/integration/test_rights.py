"""Least rights: each login does its real work with what it has, and cannot do anybody else's."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import psycopg
import pytest
from click.testing import CliRunner
from structlog.testing import capture_logs

from tests.ledgers import SECOND, a_site, a_word, announced, missed, now_us, seconds_ago
from tests.logins import PURPOSES, Logins, logins
from tests.persisting import count, query, running, send, slots, wait_for_rows
from tests.results import a_result
from tests.waiting import wait_until
from wms_tasks import clock
from wms_tasks.cli import wms
from wms_tasks.codec import json_codec
from wms_tasks.embedded.postgres import EmbeddedPostgres
from wms_tasks.errors import MigrationError, ServiceUnavailable
from wms_tasks.ledger.close import close_slots
from wms_tasks.settings import Settings, get_settings
from wms_tasks.store.connect import connect
from wms_tasks.store.housekeep import make_partitions
from wms_tasks.store.partitions import ensure_days, partition_days
from wms_tasks.store.patience import Patience
from wms_tasks.store.retention import drop_old
from wms_tasks.store.schema import prepare_schema
from wms_tasks.topic import ensure_topic

TODAY = datetime.now(UTC).date()
PARTITION = f"wms.results_p{TODAY:%Y%m%d}"
TABLES = (
    *("results", "rejects", "offsets", "lost_offsets", "redeliveries", "sites", "generations", "announced", "days"),
    *("announced_chunks", "leaderships", "outages", "words", "passed", "closing", "rights", "right_holders"),
)


@pytest.fixture
def fresh(postgres_server: EmbeddedPostgres) -> Iterator[Logins]:
    """Nothing is migrated yet."""
    with logins(postgres_server) as made:
        yield made


@pytest.fixture
def migrated(fresh: Logins) -> Logins:
    """With the schema and its rights."""
    fresh.migrate()
    return fresh


@pytest.fixture(scope="module")
def shared(postgres_server: EmbeddedPostgres) -> Iterator[Logins]:
    """For all who only try what they may not; today has a partition, made by housekeeping."""
    with logins(postgres_server) as made:
        made.migrate()
        make_partitions(Settings(env="test", database_url=made.url("housekeeping")))
        yield made


@pytest.fixture
def worker_settings(settings: Settings, migrated: Logins) -> Settings:
    """A persist worker's: two logins, and no grace."""
    return migrated.of_roles(settings).model_copy(update={"close_grace_seconds": 0})


def held(database: Logins) -> set[tuple[str, str, str]]:
    """Who may do what with which table or function of ours: (purpose, object, privilege)."""
    purposes = {name: purpose for purpose, name in database.names.items()}
    found = database.owned(
        "SELECT grantee, table_schema || '.' || table_name, privilege_type FROM information_schema.role_table_grants"
        " WHERE table_schema IN ('wms', 'wms_migrations') AND grantee <> current_user"
        " UNION ALL SELECT grantee, routine_schema || '.' || routine_name, privilege_type"
        " FROM information_schema.role_routine_grants WHERE routine_schema = 'wms'"
        " AND grantee NOT IN (current_user, 'PUBLIC')"
    )
    return {(purposes.get(grantee, grantee), name, privilege) for grantee, name, privilege in found}


def wanted(database: Logins) -> set[tuple[str, str, str]]:
    """What the schema says of the same."""
    found = database.owned(
        "SELECT purpose, split_part(object, '(', 1), privilege FROM wms.rights WHERE kind IN ('TABLE', 'FUNCTION')"
    )
    return set(found)


# What each does ---------------------------------------------------------------------------------------------------


def test_the_persist_loop_with_its_login_alone(worker_settings: Settings) -> None:
    """Rows, messages that come again, rejects, a day that nobody made ahead: nothing of it needs more."""
    with capture_logs() as logs:
        prepare_schema(worker_settings, Patience(0))
    assert logs == []
    ensure_topic(worker_settings)
    with running(worker_settings):
        send(worker_settings, slots(40), [b"no result"])
        wait_for_rows(worker_settings.for_housekeeping, 40)
        wait_for_rows(worker_settings.for_housekeeping, 1, "rejects")
        send(worker_settings, slots(10))
        send(worker_settings, [a_result(scheduled_at=datetime.now(UTC) - timedelta(days=12))])
        wait_for_rows(worker_settings.for_housekeeping, 41)
        wait_until(lambda: count(worker_settings.for_housekeeping, "redeliveries") > 0, 20, "what came again")


def test_a_slot_that_housekeeping_closed_gives_way_to_its_result(worker_settings: Settings) -> None:
    """Announce, say, ask Kafka, close with one login; read, and replace what is missed, with the other."""
    site, keeper = a_site(), worker_settings.for_housekeeping
    start, end = seconds_ago(120), seconds_ago(10)
    ensure_topic(worker_settings)
    announced(keeper, site, at_us=start)
    announced(keeper, site, a_site("b"), at_us=start + SECOND)
    with running(worker_settings) as loop:
        wait_until(lambda: all(one.lag == 0 for one in loop.stats().assignment) and loop.stats().assignment, 20)
        word = a_word(start, now_us(), generation=start + SECOND)
        wait_until(lambda: close_slots(keeper, word) >= 0 and len(missed(keeper)) > 0, 20, "closed slots")
        mine = f"SELECT min(scheduled_at) FROM wms.results WHERE outcome = 'missed' AND site_id = '{site.site_id}'"
        ((at,),) = query(keeper, mine)
        assert clock.to_microseconds(at) < end
        send(worker_settings, [a_result(site_id=site.site_id, site_name="a", scheduled_at=at)])
        replaced = "SELECT missed_reason FROM wms.results WHERE missed_reason IS NOT NULL"
        wait_until(lambda: query(keeper, replaced), 20, "the result in its place")


def test_housekeeping_makes_and_drops_days(worker_settings: Settings) -> None:
    """With their balance kept, schedules forgotten and rejects deleted; the owner is the owner still."""
    keeper = worker_settings.for_housekeeping
    assert make_partitions(keeper)
    old = TODAY - timedelta(days=40)
    with connect(keeper, "test") as connection:
        ensure_days(connection, [old])
    announced(keeper, a_site(), at_us=clock.to_microseconds(datetime.now(UTC) - timedelta(days=50)))
    assert drop_old(keeper) == [old]
    with connect(keeper, "test") as connection:
        assert old not in partition_days(connection)
    assert query(keeper, "SELECT count(*) FROM wms.days WHERE open + up + down > 0") == [(1,)]
    owners = query(keeper, "SELECT DISTINCT tableowner FROM pg_tables WHERE schemaname = 'wms'")
    assert len(owners) == 1


def test_rejects_are_replayed_and_dropped_by_housekeeping(
    worker_settings: Settings, wms_environ: dict[str, str], migrated: Logins, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What persist alone may not delete; looking at them needs no more than reading."""
    ensure_topic(worker_settings)
    with running(worker_settings):
        send(worker_settings, [], [b"no result", b"none either"])
        wait_for_rows(worker_settings.for_housekeeping, 2, "rejects")
    shell(monkeypatch, wms_environ, WMS_DATABASE_URL=migrated.url("reader"))
    listed = CliRunner().invoke(wms, ["rejects", "list"])
    assert (listed.exit_code, listed.output.count("undecodable")) == (0, 2), listed.output
    first, second = (one for (one,) in migrated.owned("SELECT id FROM wms.rejects ORDER BY id"))
    refused = CliRunner().invoke(wms, ["rejects", "drop", "--yes", str(first)])
    told = "WMS_DATABASE_URL: its login may not do that: permission denied for table rejects"
    assert (refused.exit_code, told in str(refused.exception)) == (1, True)
    keeper = {"WMS_DATABASE_URL_HOUSEKEEPING": migrated.url("housekeeping")}
    shell(monkeypatch, wms_environ, WMS_DATABASE_URL=migrated.url("reader"), **keeper)
    assert CliRunner().invoke(wms, ["rejects", "drop", "--yes", str(first)]).output == "1 dropped\n"
    kept = CliRunner().invoke(wms, ["rejects", "replay", str(second)])
    assert "0 stored, 1 still rejected" in kept.output
    good = slots(1)[0]
    migrated.owned(
        f"UPDATE wms.rejects SET value = convert_to($${json_codec.encode(good).decode()}$$, 'UTF8'),"
        f" key = '{good.site_id}'::bytea"
    )
    shell(monkeypatch, wms_environ, WMS_DATABASE_URL_HOUSEKEEPING=migrated.url("reader"))
    told = "WMS_DATABASE_URL_HOUSEKEEPING: its login may not do that"
    assert told in str(CliRunner().invoke(wms, ["rejects", "replay", str(second)]).exception)
    shell(monkeypatch, wms_environ, **keeper)
    assert "1 stored, 0 still rejected" in CliRunner().invoke(wms, ["rejects", "replay", str(second)]).output
    assert count(worker_settings.for_housekeeping) == 1


def shell(monkeypatch: pytest.MonkeyPatch, environ: dict[str, str], **changes: str) -> None:
    """Commands find these settings."""
    for name, value in {**environ, **changes}.items():
        monkeypatch.setenv(name, value)
    get_settings.cache_clear()


@pytest.mark.parametrize(
    "words",
    ["status", "results --last 1h", "ledger --last 1h", "rejects list", "migrate status", "sites diff --sites {sites}"],
)
def test_every_reading_command_with_the_readers_login(
    shared: Logins, words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sites = tmp_path / "sites.yaml"
    sites.write_text("sites:\n  - {name: one, url: https://example.com/}\n")
    shell(monkeypatch, {}, WMS_ENV="test", WMS_DATABASE_URL=shared.url("reader"))
    done = CliRunner().invoke(wms, words.format(sites=sites).split())
    assert not isinstance(done.exception, psycopg.Error), done.exception
    assert "permission denied" not in done.output


# What each may not -------------------------------------------------------------------------------------------------

NOBODY = [
    "DELETE FROM wms.results",
    "TRUNCATE wms.results",
    "DROP TABLE wms.results",
    f"DROP TABLE {PARTITION}",
    f"SELECT * FROM {PARTITION}",
    f"DELETE FROM {PARTITION}",
    f"ALTER TABLE wms.results DETACH PARTITION {PARTITION}",
    "ALTER TABLE wms.results ADD COLUMN mine text",
    "CREATE INDEX mine ON wms.results (detail)",
    "CREATE TRIGGER mine BEFORE INSERT ON wms.results EXECUTE FUNCTION suppress_redundant_updates_trigger()",
    "CREATE TABLE wms.mine (x int)",
    "CREATE TABLE public.mine (x int)",
    "CREATE SCHEMA mine",
    "CREATE FUNCTION wms.mine() RETURNS int LANGUAGE sql AS 'SELECT 1'",
    "UPDATE wms_migrations.rollbacks SET rollback_sql = ''",
    "DELETE FROM wms_migrations._yoyo_migration",
    "INSERT INTO wms.rights VALUES ('persist', 'TABLE', 'wms.results', 'DELETE')",
    "UPDATE wms.right_holders SET role_name = current_user",
    "SELECT wms.apply_rights('{}')",
    "DELETE FROM wms.days",
]
OF_PERSIST = [
    f"SELECT wms.drop_partition('{TODAY}')",
    "DELETE FROM wms.rejects",
    "UPDATE wms.rejects SET error = ''",
    "DELETE FROM wms.offsets",
    "DELETE FROM wms.lost_offsets",
    "UPDATE wms.sites SET valid_to = now()",
    "INSERT INTO wms.closing VALUES (true, now())",
    "UPDATE wms.days SET up = 0",
    "SELECT * FROM wms.days",
    "SELECT * FROM wms.announced",
]
OF_HOUSEKEEPING = [
    "UPDATE wms.offsets SET next_offset = 0",
    "INSERT INTO wms.lost_offsets VALUES ('c', 't', 'i', 0, 0, 1, 'hole')",
    "UPDATE wms.rejects SET error = ''",
    "SELECT * FROM wms_migrations.rollbacks",
    "SELECT * FROM wms.rights",
]
OF_READER = [
    f"SELECT wms.ensure_partition('{TODAY}')",
    f"SELECT wms.drop_partition('{TODAY}')",
    "CREATE TEMPORARY TABLE mine (x int)",
    *(f"INSERT INTO wms.{table} DEFAULT VALUES" for table in TABLES),
    *(f"DELETE FROM wms.{table}" for table in TABLES),
    *(f"TRUNCATE wms.{table}" for table in TABLES),
    *(f"LOCK TABLE wms.{table} IN SHARE MODE" for table in TABLES),
    "UPDATE wms.results SET outcome = 'up'",
]


@pytest.mark.parametrize(
    ("purpose", "statements"),
    [
        *((purpose, NOBODY) for purpose in PURPOSES),
        ("persist", OF_PERSIST),
        ("housekeeping", OF_HOUSEKEEPING),
        ("reader", OF_READER),
    ],
)
def test_refused(shared: Logins, purpose: str, statements: list[str]) -> None:
    """Each for want of a right, and for nothing else."""
    done = []
    with shared.connect(purpose) as connection:
        for statement in statements:
            try:
                with connection.transaction(force_rollback=True):
                    connection.execute(statement.encode())
            except psycopg.errors.InsufficientPrivilege:
                continue
            done.append(statement)
    assert done == []


def test_readers_see_every_table(shared: Logins) -> None:
    """A migration that makes a table says whose it is: at least theirs."""
    tables = {name for (name,) in shared.owned("SELECT tablename FROM pg_tables WHERE schemaname = 'wms'")}
    assert {one for one in tables if not one.startswith("results_p")} == set(TABLES)
    with shared.connect("reader") as connection:
        for table in TABLES:
            connection.execute(f"SELECT * FROM wms.{table}".encode())


def test_what_runs_as_the_owner_looks_in_pg_catalog_first(shared: Logins) -> None:
    """Whatever its caller has in its own temporary schema, under the names that it uses."""
    found = shared.owned(
        "SELECT proname, proconfig FROM pg_proc JOIN pg_namespace n ON n.oid = pronamespace"
        " WHERE n.nspname = 'wms' AND prosecdef ORDER BY 1"
    )
    assert found == [(name, ["search_path=pg_catalog, pg_temp"]) for name in ("drop_partition", "ensure_partition")]
    with shared.connect("persist") as connection:
        connection.execute("CREATE TEMPORARY TABLE pg_class (relname text); SET search_path = pg_temp, pg_catalog")
        connection.execute(
            "CREATE FUNCTION pg_temp.to_char(date, text) RETURNS text LANGUAGE sql AS $$ SELECT 'mine'::text $$"
        )
        assert connection.execute("SELECT wms.ensure_partition('2031-01-01')").fetchone() == (True,)
    assert shared.owned("SELECT to_regclass('wms.results_p20310101') IS NOT NULL") == [(True,)]


# How they come to have it -----------------------------------------------------------------------------------------


def test_they_have_what_the_schema_says_and_no_more(migrated: Logins) -> None:
    assert held(migrated) == wanted(migrated) != set()


def test_a_second_run_does_nothing(migrated: Logins) -> None:
    with capture_logs() as logs:
        migrated.migrate()
    assert logs == []


def test_what_was_given_or_taken_by_hand_is_put_right(migrated: Logins) -> None:
    """As after a restore that left rights out, where PUBLIC may run every function again."""
    role = migrated.names["persist"]
    migrated.owned(f"GRANT DELETE ON wms.results TO {role}")
    migrated.owned(f"REVOKE SELECT ON wms.sites FROM {role}")
    migrated.owned("GRANT EXECUTE ON FUNCTION wms.drop_partition(date) TO PUBLIC")
    with capture_logs() as logs:
        migrated.migrate()
    assert [one["statement"] for one in logs if one["event"] == "migrate.right_changed"] == [
        f"GRANT SELECT ON TABLE wms.sites TO {role}",
        f"REVOKE DELETE ON TABLE wms.results FROM {role}",
        "REVOKE EXECUTE ON FUNCTION wms.drop_partition(date) FROM PUBLIC",
    ]
    assert held(migrated) == wanted(migrated)


def test_another_name_takes_the_rights_from_the_one_before(migrated: Logins) -> None:
    other = f"{migrated.database[:12]}_other"
    migrated.make_role(other)
    migrated.migrate(persist=other)
    assert {who for who, _, _ in held(migrated)} == {other, "housekeeping", "reader"}
    with pytest.raises(psycopg.OperationalError, match="permission denied for database"):
        migrated.connect("persist")
    migrated.migrate(persist=None, housekeeping=None, reader=None)
    assert {who for who, _, _ in held(migrated)} == {other, "housekeeping", "reader"}


def test_a_role_that_comes_later_is_given_them_then(fresh: Logins) -> None:
    """It is said that it is not there; the others have theirs."""
    later = f"{fresh.database[:12]}_later"
    with capture_logs() as logs:
        fresh.migrate(reader=later)
    (said,) = [one for one in logs if one["event"] == "migrate.role_not_there"]
    assert (said["purpose"], said["role"]) == ("reader", later)
    assert {who for who, _, _ in held(fresh)} == {"persist", "housekeeping"}
    fresh.make_role(later)
    fresh.migrate(reader=None)
    assert {who for who, _, _ in held(fresh)} == {"persist", "housekeeping", later}


def test_one_role_for_two_purposes_has_the_rights_of_both(fresh: Logins) -> None:
    fresh.migrate(housekeeping=fresh.names["persist"], reader=None)
    both = {(name, privilege) for purpose, name, privilege in wanted(fresh) if purpose != "reader"}
    assert held(fresh) == {("persist", *one) for one in both}


def test_the_owner_may_be_named_and_is_left_as_it_is(fresh: Logins) -> None:
    owner = fresh.names["migrate"]
    fresh.migrate(persist=owner, housekeeping=owner, reader=owner)
    fresh.migrate(persist=owner, housekeeping=owner, reader=owner)
    assert held(fresh) == set()
    make_partitions(Settings(env="test", database_url=fresh.url("migrate")))


def test_names_that_need_quotes(fresh: Logins) -> None:
    odd = f'{fresh.database[:12]}_O"Brien; --'
    fresh.make_role(odd)
    fresh.migrate(persist=odd, reader=None)
    assert {who for who, _, _ in held(fresh)} == {odd, "housekeeping"}


def test_whoever_does_not_own_the_schema_leaves_rights_alone(migrated: Logins, settings: Settings) -> None:
    """A persist worker on WMS_MIGRATE=auto, with a schema that is up to date."""
    persist = migrated.of_roles(settings).model_copy(update={"migrate": "auto", "database_role_reader": "nobody"})
    with capture_logs() as logs:
        prepare_schema(persist, Patience(0))
    assert logs == []


def test_a_login_without_rights_waits_and_says_why(fresh: Logins) -> None:
    """Where the step that migrates was not told of it, it is not there for it."""
    fresh.migrate(persist=None)
    fresh.owned(f"GRANT CONNECT ON DATABASE {fresh.database} TO {fresh.names['persist']}")
    persist = Settings(env="test", database_url=fresh.url("persist"), migrate="wait")
    with pytest.raises(ServiceUnavailable, match=r"permission denied for schema .*WMS_DATABASE_ROLE_PERSIST names it"):
        prepare_schema(persist, Patience(0))


def test_who_may_not_migrate_says_what_to_do(migrated: Logins) -> None:
    """A persist worker on WMS_MIGRATE=auto that meets an older schema."""
    migrated.migrate("0006")
    migrated.owned(f"GRANT CONNECT ON DATABASE {migrated.database} TO {migrated.names['persist']}")
    with pytest.raises(MigrationError, match="permission denied") as caught:
        prepare_schema(Settings(env="test", database_url=migrated.url("persist")), Patience(0))
    assert "WMS_MIGRATE=wait" in caught.value.hint


def test_the_rollback_takes_all_rights_away(migrated: Logins) -> None:
    """Also to connect: a role can be dropped afterwards."""
    migrated.migrate("0006")
    assert held(migrated) == set()
    with psycopg.connect(migrated.server.url("postgres"), autocommit=True) as connection:
        connection.execute(f"DROP ROLE {migrated.names['reader']}")
    migrated.migrate()
    assert {who for who, _, _ in held(migrated)} == {"persist", "housekeeping"}
