"""Days and rejects that are kept no longer go, beside a loop that writes, and what they held stays in the balance."""

from __future__ import annotations

import json
import threading
from datetime import UTC, datetime, timedelta

import psycopg
import pytest
from click.testing import CliRunner

from tests.ledgers import a_site, announced, ranges
from tests.persisting import NEWEST, count, query, running, send, slots, wait_for_rows
from tests.results import a_result
from tests.waiting import wait_until
from wms_tasks import clock
from wms_tasks.cli import wms
from wms_tasks.errors import MigrationError, ServiceUnavailable
from wms_tasks.settings import Settings, get_settings
from wms_tasks.store.connect import connect
from wms_tasks.store.partitions import ensure_days, partition_days
from wms_tasks.store.retention import PAUSE_SECONDS, drop_old
from wms_tasks.store.space import space
from wms_tasks.topic import ensure_topic

TODAY = datetime.now(UTC).date()
OLD = [TODAY - timedelta(days=n) for n in (33, 32, 31)]


@pytest.fixture
def aged(settings: Settings) -> Settings:
    """A database with three days too old to keep, the oldest day that is kept, and today."""
    with connect(settings, autocommit=True) as connection:
        ensure_days(connection, [*OLD, TODAY - timedelta(days=30), TODAY])
    return settings


@pytest.fixture
def store_environ(wms_environ: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    """The command finds the test's database."""
    for name, value in wms_environ.items():
        monkeypatch.setenv(name, value)
    get_settings.cache_clear()


def days(settings: Settings) -> set[object]:
    """The days that have a partition."""
    with connect(settings) as connection:
        return set(partition_days(connection))


def test_old_days_go_while_a_loop_writes(aged: Settings) -> None:
    """Nothing that is written meanwhile is lost or refused, and what they held is in the balance."""
    ensure_topic(aged)
    with connect(aged, autocommit=True) as connection:
        connection.execute(
            "INSERT INTO wms.results (site_id, location, scheduled_at, site_name, due_at, attempt, outcome, reason,"
            " worker, spec_digest, schema_version) SELECT gen_random_uuid(), 'local', %s + n * interval '1 second',"
            " 'old', now(), 1, 'up', 'ok', 'w', 'd', 1 FROM generate_series(0, 999) AS n",
            (datetime.combine(OLD[0], datetime.min.time(), UTC),),
        )
    stopping = threading.Event()
    sent = [0]

    def keep_sending() -> None:
        while not stopping.is_set():
            send(aged, slots(50, first=sent[0]))
            sent[0] += 50

    with running(aged.model_copy(update={"persist_max_records": 20})) as loop:
        sender = threading.Thread(target=keep_sending)
        sender.start()
        try:
            wait_until(lambda: loop.stats().batches > 3, 20)
            assert drop_old(aged) == OLD
            after = loop.stats().batches
            wait_until(lambda: loop.stats().batches > after + 3, 20)
        finally:
            stopping.set()
            sender.join()
        wait_for_rows(aged, sent[0])
    assert not days(aged) & set(OLD)
    assert TODAY - timedelta(days=30) in days(aged)
    assert count(aged, "rejects") == 0
    assert query(aged, "SELECT sum(extra) FROM wms.days") == [(1000,)]
    assert drop_old(aged) == []


def test_a_locked_table_is_tried_again_and_left_in_the_end(aged: Settings) -> None:
    """A dump that reads everything holds it for hours; writers wait for moments only."""
    pauses: list[float] = []
    with psycopg.connect(aged.database_url) as dump:
        dump.execute("SELECT count(*) FROM wms.results")

        def let_go(seconds: float) -> None:
            pauses.append(seconds)
            if len(pauses) == 2:
                dump.rollback()

        assert drop_old(aged, sleep=let_go) == OLD
    assert pauses == [PAUSE_SECONDS] * 2


def test_one_drops_at_a_time(aged: Settings) -> None:
    """A second one, as when the task is delivered again, leaves it alone: it would count rows that are gone."""
    announced(aged, a_site(), at_us=days_ago_us(40))
    with connect(aged, autocommit=True) as connection:
        connection.execute(
            "INSERT INTO wms.results (site_id, location, scheduled_at, site_name, due_at, attempt, outcome, reason,"
            " worker, spec_digest, schema_version) SELECT site_id, location,"
            " wms.slot_at(wms.slots_before(day, interval_us, splay_us), interval_us, splay_us),"
            " 'a', now(), 1, 'up', 'ok', 'w', 'd', 1 FROM wms.sites, unnest(%s::timestamptz[]) AS day",
            ([datetime.combine(day, datetime.min.time(), UTC) for day in OLD],),
        )
    second: list[object] = []
    with psycopg.connect(aged.database_url) as dump:
        dump.execute("SELECT count(*) FROM wms.results")

        def meanwhile(_: float) -> None:
            dump.rollback()
            second.extend(drop_old(aged))

        assert drop_old(aged, sleep=meanwhile) == OLD
    assert query(aged, "SELECT day, up FROM wms.days ORDER BY 1") == [(day, 1) for day in OLD]
    assert second == []


def test_a_table_that_stays_locked_is_an_error(aged: Settings) -> None:
    """One that says why, for the task to be tried again."""
    with psycopg.connect(aged.database_url) as dump:
        dump.execute("SELECT count(*) FROM wms.results")
        with pytest.raises(ServiceUnavailable, match="locked"):
            drop_old(aged, attempts=2, sleep=lambda _: None)
    assert set(OLD) <= days(aged)


def test_a_row_of_a_dropped_day_is_a_reject(aged: Settings) -> None:
    """Also where the loop had known the day before."""
    ensure_topic(aged)
    with running(aged):
        send(aged, [a_result(scheduled_at=datetime.combine(OLD[0], datetime.min.time(), UTC))])
        wait_for_rows(aged, 1)
        drop_old(aged)
        late = datetime.combine(OLD[0], datetime.min.time(), UTC) + timedelta(seconds=5)
        send(aged, [a_result(scheduled_at=late)])
        wait_for_rows(aged, 1, "rejects")
    assert not days(aged) & set(OLD)


def test_schedules_of_days_that_are_gone_are_forgotten(aged: Settings, store_environ: None) -> None:
    """Their balances stay, and are found by name; a schedule that reaches into a day that is kept stays too."""
    gone, left, here = a_site("gone"), a_site("left"), a_site("here")
    announced(aged, gone, left, here, at_us=days_ago_us(40))
    announced(aged, left, here, at_us=days_ago_us(31.5))
    announced(aged, here, at_us=days_ago_us(5))
    assert drop_old(aged) == OLD
    assert {name for name, _, _ in ranges(aged)} == {"left", "here"}
    arguments = ["--site", "gone", "--from", OLD[0].isoformat(), "--to", OLD[1].isoformat(), "--json"]
    said = CliRunner().invoke(wms, ["ledger", *arguments])
    assert json.loads(said.stdout)["total"]["expected"] == 24 * 3600 / 10


def days_ago_us(days: float) -> int:
    """Before today's midnight, UTC."""
    return clock.to_microseconds(datetime.combine(TODAY, datetime.min.time(), UTC) - timedelta(days=days))


def test_a_database_without_our_schema_is_one_line(empty_database_url: str) -> None:
    """The task may come before the first migration, which another process makes."""
    with pytest.raises(MigrationError, match="has no schema of ours"):
        drop_old(Settings(env="test", database_url=empty_database_url))


def test_old_rejects_go(settings: Settings) -> None:
    """Newer ones stay."""
    with connect(settings, autocommit=True) as connection:
        connection.execute(
            "INSERT INTO wms.rejects (topic, topic_id, partition, kafka_offset, headers, error, reason, rejected_at)"
            " SELECT 't', 'i', 0, n, '[]', 'e', 'undecodable', now() - n * interval '1 day'"
            " FROM generate_series(80, 99) AS n"
        )
    drop_old(settings)
    assert query(settings, "SELECT max(kafka_offset), count(*) FROM wms.rejects") == [(89, 10)]


def test_the_space_is_that_of_the_days(settings: Settings) -> None:
    """The embedded server runs here, so its disk can be seen."""
    ensure_topic(settings)
    send(settings, slots(100))
    with running(settings):
        wait_for_rows(settings, 100)
    with connect(settings) as connection:
        found = space(connection)
    assert found.by_day[NEWEST.date()] > 0
    assert found.database_bytes > sum(found.by_day.values())
    assert found.free_bytes
