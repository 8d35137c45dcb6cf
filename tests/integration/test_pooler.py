"""Reading commands through a pool by transaction, which refuses options and forgets what a session had set."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
from click.testing import CliRunner

from tests.pooler import pooled
from tests.results import SITE_ID, a_result
from wms_tasks.cli import wms
from wms_tasks.errors import ServiceUnavailable, SettingsError
from wms_tasks.persist.copy_row import copy_row
from wms_tasks.settings import Settings, get_settings
from wms_tasks.store.binary_copy import blocks
from wms_tasks.store.connect import connect, parameters, read_pool, session
from wms_tasks.store.partitions import ensure_days
from wms_tasks.store.queries import query

RESULT = a_result()


@pytest.fixture
def through(database_url: str, tmp_path: Path) -> Iterator[str]:
    """The url of a pool before a database whose clock and patience are not ours, with a row."""
    name = database_url.rpartition("/")[2]
    with psycopg.connect(database_url, autocommit=True) as connection:
        connection.execute(f"ALTER DATABASE {name} SET TimeZone = 'Asia/Kathmandu'")
        connection.execute(f"ALTER DATABASE {name} SET lock_timeout = '77s'")
        ensure_days(connection, [RESULT.scheduled_at.date()])
        with connection.cursor().copy(query("copy_results")) as copy:
            for block in blocks([copy_row(RESULT)]):
                copy.write(block)
    with pooled(database_url, tmp_path) as url:
        yield url


@pytest.fixture
def reader(through: str) -> Settings:
    """One who was told that it is a pool."""
    return Settings(env="test", database_url=through, database_pooled=True)


SET = "SELECT current_setting('TimeZone'), current_setting('lock_timeout')"


def test_who_is_not_told_is_refused_and_told_what_to_set(through: str) -> None:
    with pytest.raises(ServiceUnavailable) as caught, session(Settings(env="test", database_url=through)):
        pass
    assert "unsupported startup parameter" in caught.value.message
    assert "WMS_DATABASE_POOLED=true" in caught.value.hint


def test_each_transaction_has_our_settings_and_leaves_none(reader: Settings) -> None:
    """Whoever comes next to the same server connection finds its own."""
    with session(reader) as connection:
        assert connection.execute(SET).fetchone() == ("UTC", "5s")
    with read_pool(reader) as pool, pool.connection() as connection:
        assert connection.execute(SET).fetchone() == ("UTC", "5s")
    with psycopg.connect(reader.database_url) as stranger:
        assert stranger.execute(SET).fetchone() == ("Asia/Kathmandu", "77s")


def test_instants_are_utc(reader: Settings) -> None:
    with session(reader) as connection:
        (found,) = connection.execute("SELECT scheduled_at FROM wms.results").fetchone() or (None,)
    assert found is not None
    assert (found, str(found.tzinfo)) == (RESULT.scheduled_at, "UTC")


def test_what_one_prepares_another_does_not_need(reader: Settings) -> None:
    """psycopg would prepare what comes for the sixth time, on whichever server connection it then has."""
    with read_pool(reader) as pool:
        for _ in range(12):
            with pool.connection() as connection:
                assert connection.execute(query("newest_name"), {"site_id": SITE_ID}).fetchone()
    with psycopg.connect(reader.database_url) as connection:
        assert connection.execute("SELECT count(*) FROM pg_prepared_statements").fetchone() == (0,)


@pytest.mark.parametrize(
    "words",
    [
        "status --all",
        "results --last 9000d",
        "results example --last 9000d --json",
        "ledger --last 7d",
        "rejects list",
        "migrate status",
        "sites diff --sites {sites}",
    ],
)
def test_every_reading_command(reader: Settings, words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As it would without; the database is a terminal's window on it."""
    sites = tmp_path / "sites.yaml"
    sites.write_text("sites:\n  - {name: one, url: https://example.com/}\n")
    monkeypatch.setenv("WMS_ENV", "test")
    monkeypatch.setenv("WMS_DATABASE_URL", reader.database_url)
    monkeypatch.setenv("WMS_DATABASE_POOLED", "true")
    get_settings.cache_clear()
    done = CliRunner().invoke(wms, words.format(sites=sites).split())
    assert done.exception is None or isinstance(done.exception, SystemExit), done.exception
    assert "Postgres" not in done.output, done.output


def test_who_needs_a_session_refuses_a_pool(reader: Settings) -> None:
    """Locks and temporary tables that outlast a transaction; a login of housekeeping's own is no pool."""
    with pytest.raises(SettingsError, match="WMS_DATABASE_POOLED: persist holds locks"):
        connect(reader, "persist")
    keeper = reader.model_copy(update={"database_url_housekeeping": "postgresql://keeper@db/wms"}).for_housekeeping
    assert not keeper.database_pooled
    assert "lock_timeout" in parameters(keeper, "housekeep")["options"]


def test_options_of_the_url_are_the_urls_own_affair() -> None:
    url = "postgresql://db/wms?options=-c%20search_path%3Dmine"
    assert parameters(Settings(database_url=url, database_pooled=True), "read")["options"] == "-c search_path=mine"
    assert "options" not in parameters(Settings(database_url="postgresql://db/wms", database_pooled=True), "read")
