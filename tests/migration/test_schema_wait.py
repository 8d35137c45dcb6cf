"""WMS_MIGRATE: a role applies what is missing, waits until another process has, or does not look."""

from __future__ import annotations

import threading
from typing import Any, Literal

import psycopg
import pytest
from structlog.testing import capture_logs

from tests.waiting import wait_until
from wms_tasks.errors import MigrationError, ServiceUnavailable
from wms_tasks.settings import Settings
from wms_tasks.store import schema
from wms_tasks.store.migrate import migrate_to_target, migration_status
from wms_tasks.store.migration_files import folder, migration_files
from wms_tasks.store.patience import Patience
from wms_tasks.store.schema import prepare_schema

IDS = [one.migration_id for one in migration_files(folder())]
NOBODY = "postgresql://wms@127.0.0.1:1/wms"


@pytest.fixture(autouse=True)
def quick_looks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody waits a second here."""
    monkeypatch.setattr(schema, "LOOK_AGAIN_SECONDS", 0.05)


def settings_for(url: str, migrate: Literal["auto", "wait", "off"], target: str | None = None) -> Settings:
    """A role's."""
    return Settings(env="test", database_url=url, migrate=migrate, schema_target=target)


def applied(url: str) -> list[str]:
    """The applied ids."""
    with psycopg.connect(url) as connection:
        return [one.migration_id for one in migration_status(connection) if one.applied_at]


def step(url: str, target: str | None = None) -> None:
    """Somebody migrates."""
    migrate_to_target(settings_for(url, "auto", target), give_up_after_seconds=20)


def waiting(url: str, target: str | None = None) -> threading.Thread:
    """A role that waits, in a thread."""
    thread = threading.Thread(target=prepare_schema, args=(settings_for(url, "wait", target), Patience(20)))
    thread.start()
    return thread


def until_waits(logs: list[Any], times: int = 1) -> None:
    """It has said so, as often as that."""
    wait_until(lambda: events(logs).count("migrate.waiting_for_schema") == times, 20, "the waiter's word")


def events(logs: list[Any]) -> list[str]:
    """What was said."""
    return [one["event"] for one in logs]


def test_auto_applies(empty_database_url: str) -> None:
    prepare_schema(settings_for(empty_database_url, "auto"), Patience(20))
    assert applied(empty_database_url) == IDS


def test_off_does_not_even_connect() -> None:
    prepare_schema(settings_for(NOBODY, "off"), Patience(0))


def test_waits_for_the_last_migration_and_applies_none(empty_database_url: str) -> None:
    """Said once each: what it waits for, and that it is there. Half of the way is not enough."""
    with capture_logs() as logs:
        thread = waiting(empty_database_url)
        until_waits(logs)
        assert applied(empty_database_url) == []
        step(empty_database_url, IDS[0])
        with pytest.raises(ServiceUnavailable, match=f"lacks {IDS[1]}, .*{IDS[-1]}: wms migrate up"):
            prepare_schema(settings_for(empty_database_url, "wait"), Patience(0))
        assert thread.is_alive()
        step(empty_database_url)
        thread.join(20)
    assert not thread.is_alive()
    assert events(logs).count("migrate.waiting_for_schema") == events(logs).count("migrate.schema_is_there") == 1


def test_a_schema_that_is_there_is_not_spoken_of(database_url: str) -> None:
    with capture_logs() as logs:
        prepare_schema(settings_for(database_url, "wait"), Patience(0))
    assert logs == []


def test_a_schema_past_its_target_will_do(database_url: str) -> None:
    """It is not rolled back, and neither is one of a newer release."""
    prepare_schema(settings_for(database_url, "wait", IDS[1]), Patience(0))
    with psycopg.connect(database_url) as connection:
        connection.execute(
            "INSERT INTO wms_migrations._yoyo_migration (migration_hash, migration_id, applied_at_utc)"
            " VALUES ('x', '9001.newer', now())"
        )
    with capture_logs() as logs:
        prepare_schema(settings_for(database_url, "wait"), Patience(0))
    assert events(logs) == ["migrate.schema_newer"]
    assert applied(database_url) == [*IDS, "9001.newer"]


def test_waits_only_as_far_as_its_target(empty_database_url: str) -> None:
    step(empty_database_url, IDS[1])
    prepare_schema(settings_for(empty_database_url, "wait", IDS[1]), Patience(0))


def test_a_target_that_nobody_knows_is_not_waited_for(database_url: str) -> None:
    with pytest.raises(MigrationError, match=r"no migration '9999'"):
        prepare_schema(settings_for(database_url, "wait", "9999"), Patience(20))


def test_whoever_migrates_is_let_finish(database_url: str) -> None:
    """What it has applied so far may not be all that it does."""
    with psycopg.connect(database_url, autocommit=True) as migrator, capture_logs() as logs:
        migrator.execute("SELECT pg_advisory_lock(hashtextextended('wms.migrations', 0))")
        thread = waiting(database_url)
        until_waits(logs)
        migrator.execute("SELECT pg_advisory_unlock(hashtextextended('wms.migrations', 0))")
        thread.join(20)
    assert not thread.is_alive()
    assert "another process is migrating" in logs[0]["reason"]


def test_those_who_wait_do_not_wait_for_one_another(database_url: str) -> None:
    with psycopg.connect(database_url) as other:
        other.execute("SELECT pg_advisory_xact_lock_shared(hashtextextended('wms.migrations', 0))")
        prepare_schema(settings_for(database_url, "wait"), Patience(0))


def test_postgres_that_is_away_is_waited_for_and_patience_ends() -> None:
    """With the reason; whoever is told to stop does not wait on."""
    with pytest.raises(ServiceUnavailable, match=r"Postgres at 127\.0\.0\.1:1/wms does not answer"):
        prepare_schema(settings_for(NOBODY, "wait"), Patience(0.1))
    stopping = threading.Event()
    stopping.set()
    with pytest.raises(ServiceUnavailable):
        prepare_schema(settings_for(NOBODY, "wait"), Patience(stopping=stopping))


def test_who_waits_says_that_it_lives() -> None:
    """Or /healthz would have it restarted in the middle of a long migration."""
    beats: list[None] = []
    with pytest.raises(ServiceUnavailable):
        prepare_schema(settings_for(NOBODY, "wait"), Patience(0.2, alive=lambda: beats.append(None)))
    assert beats
