"""What people ask of the store, against a plain reckoning of the same rows; and that every read follows an index."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any
from uuid import UUID

import psycopg
import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from tests.persisting import site
from tests.results import a_result
from tests.waiting import wait_until
from wms_tasks.persist.copy_row import copy_row
from wms_tasks.result import Result
from wms_tasks.settings import Settings
from wms_tasks.store.binary_copy import blocks
from wms_tasks.store.columns import columns
from wms_tasks.store.connect import connect, read_pool
from wms_tasks.store.partitions import ensure_days
from wms_tasks.store.queries import query
from wms_tasks.store.read import pipeline, results, site_called, site_names
from wms_tasks.store.site_states import EVERY_ID, HALVES, SiteState, site_states

Connection = psycopg.Connection[Any]
START = datetime(2026, 11, 20, 23, 0, tzinfo=UTC)
ORDER = ["down", "missed", "skipped", "up"]
# For each (site, location) the outcomes of its slots, half an hour apart, so that they go over midnight.
HISTORIES = st.dictionaries(
    st.tuples(st.integers(0, 4), st.sampled_from(["local", "berlin"])),
    st.lists(st.sampled_from(ORDER), min_size=1, max_size=8),
    max_size=6,
)


@pytest.fixture
def connection(database_url: str) -> Iterator[Connection]:
    """Autocommit, as the live view has it; two days have their partitions."""
    with connect(Settings(env="test", database_url=database_url), autocommit=True) as made:
        ensure_days(made, [START.date(), START.date() + timedelta(days=1)])
        yield made


BOUNDS = {
    "history": 30,
    "scan_from": "-infinity",
    "before": "infinity",
    "first_id": EVERY_ID[0],
    "last_id": EVERY_ID[1],
}


def store(connection: Connection, rows: list[Result]) -> None:
    """By COPY, as persist does it."""
    with connection.cursor().copy(query("copy_results")) as copy:
        for block in blocks(map(copy_row, rows)):
            copy.write(block)


def history(n: int, location: str, outcomes: list[str]) -> list[Result]:
    """One result a slot."""
    return [
        a_result(
            site_id=site(n),
            site_name=f"site {n}",
            location=location,
            scheduled_at=START + timedelta(minutes=30 * slot),
            outcome=outcome,
            detail=f"{slot}",
        )
        for slot, outcome in enumerate(outcomes)
    ]


@given(histories=HISTORIES, depth=st.integers(1, 5), halved=st.booleans())
@hypothesis_settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_site_states_are_what_a_reckoning_gives(
    connection: Connection,
    database_url: str,
    histories: dict[tuple[int, str], list[str]],
    depth: int,
    halved: bool,
) -> None:
    """Newest row, beginning of its streak, last outcomes; worst first. Also where each half is asked for by itself."""
    connection.execute("DELETE FROM wms.results")
    store(connection, [row for (n, location), outcomes in histories.items() for row in history(n, location, outcomes)])
    expected = []
    for (n, location), outcomes in histories.items():
        streak = 1
        while streak < len(outcomes) and outcomes[-streak - 1] == outcomes[-1]:
            streak += 1
        since = START + timedelta(minutes=30 * (len(outcomes) - streak))
        last = str(len(outcomes) - 1)
        expected.append((ORDER.index(outcomes[-1]), f"site {n}", location, since, outcomes[-depth:], last))
    found = [
        (ORDER.index(one.outcome), one.site_name, one.location, one.since, one.recent, one.detail)
        for one in (_by_halves(connection, database_url, depth) if halved else site_states(connection, history=depth))
    ]
    assert found == sorted(expected)
    assert site_names(connection) == {site(n): f"site {n}" for n, _ in histories}


def _by_halves(connection: Connection, database_url: str, depth: int) -> list[SiteState]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("wms_tasks.store.site_states.MANY_SITES", 0)
        return site_states(connection, history=depth, another=partial(psycopg.connect, database_url))


def test_the_halves_have_every_id_once() -> None:
    """Next to each other, from the first id there can be to the last; and the tests' sites lie on both sides."""
    (first, last), (next_first, next_last) = HALVES
    assert (first, next_last) == EVERY_ID == (UUID("0" * 32), UUID("f" * 32))
    assert next_first.int == last.int + 1
    assert len({site(n) <= last for n in range(5)}) == 2


def test_who_gives_up_waits_for_no_half(database_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """As at Ctrl-C while Postgres works on both: the other half is ended, too, and its connection stays whole."""
    monkeypatch.setattr("wms_tasks.store.site_states.MANY_SITES", 0)

    @contextmanager
    def another() -> Iterator[Connection]:
        with psycopg.connect(database_url) as holder, psycopg.connect(database_url, autocommit=True) as other:
            holder.execute("LOCK TABLE wms.results")
            ending = pool.submit(_end_first_of_two_waits, database_url, asking.info.backend_pid)
            try:
                yield other
            finally:
                ending.result()
                assert other.execute("SELECT 1").fetchone() == (1,)

    with (
        ThreadPoolExecutor(1) as pool,
        psycopg.connect(database_url, autocommit=True) as asking,
        pytest.raises(psycopg.errors.QueryCanceled),
    ):
        site_states(asking, another=another)


def _end_first_of_two_waits(dsn: str, pid: int) -> None:
    waits = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()"
    with psycopg.connect(dsn, autocommit=True) as watcher:
        wait_until(lambda: watcher.execute(waits).fetchone() == (2,), what="both halves wait")
        watcher.execute("SELECT pg_cancel_backend(%s)", (pid,))


def test_a_robots_txt_in_trouble_is_a_problem(connection: Connection) -> None:
    """Right after the sites that are down; a page that is forbidden stays among the skipped."""
    rows = [
        a_result(site_id=site(n), site_name=f"{n}", scheduled_at=START, outcome=outcome, reason=reason)
        for n, (outcome, reason) in enumerate(
            [("skipped", "robots"), ("missed", "expired"), ("skipped", "robots_unreachable"), ("down", "status")]
        )
    ]
    store(connection, rows)
    assert [one.reason for one in site_states(connection)] == ["status", "robots_unreachable", "expired", "robots"]


def test_a_renamed_site_goes_by_its_newest_name(connection: Connection) -> None:
    """Its id keeps its history together."""
    old = a_result(site_name="old", scheduled_at=START)
    new = a_result(site_name="new", scheduled_at=START + timedelta(hours=1), location="b")
    store(connection, [old, new])
    assert list(site_names(connection).values()) == ["new"]


def test_where_sites_were_announced_only_those_and_todays_are_looked_for(connection: Connection) -> None:
    """An old site that nobody announced is one more step for each site and day; `everything` finds it."""
    now = datetime.now(UTC)
    ensure_days(connection, [now.date(), (now - timedelta(days=9)).date(), (now + timedelta(days=1)).date()])
    old = now - timedelta(days=9)
    store(
        connection,
        [a_result(site_id=site(n), site_name=f"site {n}", scheduled_at=at) for n, at in ((1, old), (2, old), (3, now))],
    )
    assert len(site_states(connection)) == 3
    announce(connection, site(1), "site 1")
    assert {one.site_name for one in site_states(connection)} == {"site 1", "site 3"}
    assert len(site_states(connection, everything=True)) == 3
    store(
        connection,
        [a_result(site_id=site(1), site_name="site 1", scheduled_at=now + timedelta(days=1), outcome="down")],
    )
    assert [one.outcome for one in site_states(connection)] == ["down", "up"]


def test_a_site_is_found_by_the_name_that_it_was_announced_with_or_has_as_its_id(connection: Connection) -> None:
    """If that is the name of its newest row; else all names have to be looked at."""
    store(connection, [a_result(site_id=site(n), site_name=f"site {n}", scheduled_at=START) for n in (1, 2)])
    announce(connection, site(1), "site 1")
    announce(connection, site(2), "renamed")
    assert site_called(connection, "site 1", by_id=[]) == site(1)
    assert site_called(connection, "site 2", by_id=[]) is None
    assert site_called(connection, "site 2", by_id=[site(2)]) == site(2)
    assert site_called(connection, "renamed", by_id=[site(2)]) is None


def announce(connection: Connection, site_id: UUID, name: str) -> None:
    """Its schedule is known."""
    connection.execute(
        "INSERT INTO wms.sites (site_id, location, valid_from, site_name, interval_us, splay_us, jitter_us,"
        " max_lateness_us, spec, spec_digest) VALUES (%s, 'local', now(), %s, 60000000, 0, 0, 30000000, '{}', '')",
        (site_id, name),
    )


@pytest.mark.parametrize("name", ["site_states", "site_names", "results_of_site_since"])
def test_reads_follow_an_index(connection: Connection, name: str) -> None:
    """Twenty million rows are never read through: without sequential scans the plan has none at all."""
    store(connection, history(1, "local", ["up"] * 8))
    with connection.transaction():
        connection.execute("SET LOCAL enable_seqscan = off")
        parameters = {**BOUNDS, "site_id": site(1), "since": START, "limit": 10, "not_up": False}
        plan = connection.execute(b"EXPLAIN (COSTS OFF) " + query(name), parameters).fetchall()
    assert not [line for (line,) in plan if "Seq Scan" in line]
    assert [line for (line,) in plan if "Index" in line]


def test_the_streak_of_a_site_that_is_down_is_read_from_the_index_alone(connection: Connection) -> None:
    """Its outcome rides in the key's index: no row is fetched for it."""
    store(connection, history(1, "local", ["up"] + ["down"] * 7))
    connection.execute("VACUUM ANALYZE wms.results")
    with connection.transaction():
        connection.execute("SET LOCAL enable_seqscan = off")
        statement = b"EXPLAIN (COSTS OFF) " + query("site_states")
        plan = "\n".join(line for (line,) in connection.execute(statement, BOUNDS).fetchall())
    assert "Index Only Scan" in plan


def test_results_come_newest_first_and_no_older_than_asked(connection: Connection) -> None:
    """Of one site, of all, and not more than the limit."""
    store(connection, [row for n in range(3) for row in history(n, "local", ["up"] * 6)])
    since = START + timedelta(hours=1)
    mine = [one.scheduled_at for one in results(connection, site(1), since)]
    assert mine == [START + timedelta(minutes=30 * slot) for slot in (5, 4, 3, 2)]
    everyone = [one.scheduled_at for one in results(connection, None, since)]
    assert everyone == sorted(everyone, reverse=True)
    assert len(everyone) == 12
    assert len(list(results(connection, None, START, 5))) == 5


def test_results_without_those_that_are_up(connection: Connection) -> None:
    """The newest of the others, however many ups lie between."""
    store(connection, history(1, "local", ["down", "skipped", "up", "missed", "up", "up"]))
    found = results(connection, site(1), START, 2, not_up=True)
    assert [one.outcome for one in found] == ["missed", "skipped"]


def test_a_long_answer_is_not_read_at_once(connection: Connection) -> None:
    """The first row comes from a cursor on the server; the rest is never sent."""
    store(connection, history(1, "local", ["up"] * 8))
    found = results(connection, None, START)
    assert next(found).scheduled_at == START + timedelta(minutes=210)
    assert connection.execute("SELECT count(*) FROM pg_cursors WHERE name = 'wms_results'").fetchone() == (1,)
    found.close()  # type: ignore[attr-defined]


def test_the_pipelines_facts_are_of_the_last_minute(connection: Connection) -> None:
    """Rows by arrival, lateness from due_at, end to end from the slot; older rows are not counted."""
    begun = {n: {"due_at": START, "started_at": START + timedelta(seconds=n)} for n in range(101)}
    store(connection, [a_result(site_id=site(n), scheduled_at=START, **instants) for n, instants in begun.items()])
    connection.execute(
        "UPDATE wms.results SET stored_at = now() - interval '2 minutes' WHERE site_id = %s", (site(100),)
    )
    connection.execute("UPDATE wms.results SET started_at = NULL WHERE site_id = %s", (site(99),))
    connection.execute("INSERT INTO wms.offsets VALUES ('c', 't', 'i', 0, 1, NULL, %s)", (START,))
    facts = pipeline(connection)
    assert facts.rows == 100
    assert facts.lateness_p50_seconds == pytest.approx(49)
    assert facts.lateness_p99_seconds == pytest.approx(97.02)
    assert facts.stored_p99_seconds == pytest.approx((datetime.now(UTC) - START).total_seconds(), abs=60)
    assert facts.last_stored_at == START


def test_nothing_stored_is_no_error(connection: Connection) -> None:
    """A fresh system."""
    assert site_states(connection) == []
    assert site_names(connection) == {}
    facts = pipeline(connection)
    assert (facts.rows, facts.lateness_p99_seconds, facts.last_stored_at) == (0, None, None)


def test_the_pool_replaces_connections_that_died(database_url: str) -> None:
    """A restart of Postgres between two reads is not seen."""
    with read_pool(Settings(env="test", database_url=database_url)) as pool:
        for _ in range(2):
            with pool.connection() as connection:
                pid = connection.info.backend_pid
                assert site_states(connection) == []
            with psycopg.connect(database_url) as other:
                other.execute("SELECT pg_terminate_backend(%s)", (pid,))


def test_the_reference_has_every_column(connection: Connection) -> None:
    """Of wms.results, as the migrations make it."""
    there = connection.execute(
        "SELECT column_name FROM information_schema.columns WHERE (table_schema, table_name) = ('wms', 'results')"
    )

    assert sorted(name for (name,) in there) == sorted(columns())
