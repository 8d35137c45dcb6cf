"""One batch, one transaction: new rows are stored, known ones stay, bad ones are rejects; or nothing is done."""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from datetime import UTC, date, datetime, timedelta
from typing import Any

import msgspec
import psycopg
import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from psycopg.rows import dict_row

from tests.results import FULL, RESULTS, SITE_ID, a_result
from wms_tasks.codec import json_codec
from wms_tasks.errors import LostPartition
from wms_tasks.persist.column import microseconds
from wms_tasks.persist.copy_row import COLUMNS, copy_row
from wms_tasks.persist.fits import Unstorable
from wms_tasks.persist.rows import reject
from wms_tasks.result import Phases, Result
from wms_tasks.settings import Settings
from wms_tasks.store import offsets
from wms_tasks.store.binary_copy import blocks
from wms_tasks.store.connect import connect
from wms_tasks.store.housekeep import make_partitions
from wms_tasks.store.message import Message, OffsetMove, PartitionKey, Reject, Row, Written
from wms_tasks.store.partitions import ensure_days, ensure_partitions, partition_days
from wms_tasks.store.queries import query
from wms_tasks.store.read import StoredResult, results, stored_result
from wms_tasks.store.writer import is_postgres_away, write_batch

DAY = date(2026, 11, 23)
NOON = datetime(2026, 11, 23, 12, tzinfo=UTC)
ALL = {"since": datetime(1, 1, 1, tzinfo=UTC), "limit": None, "not_up": False}
KEY = PartitionKey("cluster", "test.topic", "id", 0)
Connection = psycopg.Connection[Any]


@pytest.fixture
def connection(database_url: str) -> Iterator[Connection]:
    """A connection as the persist loop has it; the day has its partition, the topic's partition is at 0."""
    with connect(Settings(env="test", database_url=database_url), "persist", autocommit=True) as made:
        ensure_days(made, [DAY])
        offsets.claim(made, [KEY], lambda partition: 0)
        yield made


def message(offset: int = 0, **changes: Any) -> Message:
    """A message at this offset."""
    good = {"partition": 0, "key": None, "value": b"v", "headers": []}
    return Message(topic="test.topic", topic_id="id", offset=offset, **(good | changes))


def row(n: int, **changes: Any) -> Row:
    """The row of slot n."""
    scheduled_at = changes.pop("scheduled_at", NOON + timedelta(seconds=n))
    return Row(copy_row(a_result(scheduled_at=scheduled_at, **changes)), microseconds(scheduled_at), message(n))


def bad_row(n: int, old: bytes, new: bytes) -> Row:
    """One that copy_row.py would never have made."""
    data = row(n).data
    assert old in data
    return Row(data.replace(old, new), microseconds(NOON), message(n))


def value(content: bytes) -> bytes:
    """A column of binary COPY."""
    return struct.pack(">i", len(content)) + content


def instant(at: datetime) -> bytes:
    """The same, of an instant."""
    return value(struct.pack(">q", (at - datetime(2000, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1)))


def write(connection: Connection, rows: Sequence[Row], rejects: Sequence[Reject] = (), start: int = 0) -> Written:
    """The batch that moves the partition from `start` to one past it."""
    return write_batch(connection, rows, rejects, [OffsetMove(KEY, start, start + 1)], make_reject=reject)


def stored(connection: Connection, columns: str = "outcome") -> list[Any]:
    """One column, or several, of all results by slot."""
    found = connection.execute(f"SELECT {columns} FROM wms.results ORDER BY scheduled_at".encode()).fetchall()
    return [one[0] if len(one) == 1 else one for one in found]


def next_offset(connection: Connection) -> int:
    """Where the partition is."""
    found = connection.execute("SELECT next_offset FROM wms.offsets").fetchone()
    assert found
    return int(found[0])


def test_rows_and_the_offset_are_stored_together(connection: Connection) -> None:
    """The usual batch."""
    assert write(connection, [row(n) for n in range(3)]) == Written(rows=3, duplicates=0, rejects=0)
    assert stored(connection) == ["up"] * 3
    assert next_offset(connection) == 1


def test_what_is_there_already_stays_as_it_was(connection: Connection) -> None:
    """A redelivered message is a no-op, new rows beside it are stored."""
    write(connection, [row(1, worker="first")])
    assert write(connection, [row(1, worker="again"), row(2)], start=1) == Written(rows=1, duplicates=1, rejects=0)
    assert stored(connection, "worker") == ["first", "test"]


def test_of_two_in_one_batch_the_first_counts(connection: Connection) -> None:
    """The order in Kafka decides."""
    assert write(connection, [row(1, worker="first"), row(1, worker="second")]).duplicates == 1
    assert stored(connection, "worker") == ["first"]


def test_a_real_result_replaces_missed_and_nothing_else_changes_a_row(connection: Connection) -> None:
    """Late is better than never; and never does not undo late."""
    write(connection, [row(1, outcome="missed", reason="expired"), row(2)])
    late = [row(1, outcome="down", reason="timeout"), row(2, outcome="missed", reason="expired")]
    assert write(connection, late, start=1) == Written(rows=1, duplicates=1, rejects=0)
    assert stored(connection, "outcome, reason") == [("down", "timeout"), ("up", "ok")]
    write(connection, [row(1, outcome="up")], start=2)
    assert stored(connection) == ["down", "up"]


def test_within_a_batch_the_real_result_goes_before_missed(connection: Connection) -> None:
    """Whichever comes first."""
    write(connection, [row(1, outcome="missed"), row(1, outcome="up"), row(1, outcome="down")])
    assert stored(connection) == ["up"]


DUE_AT = instant(datetime(2026, 11, 23, 7, 0, 1, tzinfo=UTC))
BAD = {
    "outcome": (value(b"up"), value(b"degraded"), "results_outcome_check"),
    "reason": (value(b"ok"), value(b"Not OK"), "results_reason_check"),
    "number": (value(struct.pack(">i", 200)), value(struct.pack(">q", 200)), "incorrect binary data format"),
    "instant": (DUE_AT, value(struct.pack(">q", 2**63 - 2)), "out of range"),
    "day": (instant(NOON)[:-4], instant(datetime(1999, 1, 1, tzinfo=UTC))[:-4], "no partition"),
    "nul": (value(b"example"), value(b"e\x00e"), "invalid byte sequence"),
    "utf8": (value(b"example"), value(b"e\xffe"), "invalid byte sequence"),
    "columns": (
        struct.pack(">hi", COLUMNS, 8),
        struct.pack(">hi", 1, 8),
        "field count",
    ),
    "short": (value(b"example"), b"example", ""),
    "null": (value(b"example"), struct.pack(">i", -1), "null value"),
    "key too long": (value(b"local"), b"", "index row"),
}


@pytest.mark.parametrize("name", BAD)
def test_a_row_that_postgres_refuses_becomes_a_reject_and_the_others_are_stored(
    connection: Connection, name: str
) -> None:
    """At the beginning, in the middle and at the end of a batch, beside a duplicate too."""
    old, new, says = BAD[name]
    write(connection, [row(20)])
    batch = [row(n) if n not in {0, 5, 9} else bad_row(n, old, new) for n in range(10)] + [row(20)]
    if name == "key too long":
        # A text this regular would be compressed into the index; random bytes are not.
        noise = "".join(f"{n * 2654435761 % 2**32:08x}" for n in range(2000)).encode()
        batch = [bad_row(n, old, value(noise)) if n in {0, 5, 9} else one for n, one in enumerate(batch)]
    assert write(connection, batch, start=1) == Written(rows=7, duplicates=1, rejects=3)
    rejects = connection.execute("SELECT kafka_offset, reason, error FROM wms.rejects ORDER BY 1").fetchall()
    assert [one[:2] for one in rejects] == [(n, "unstorable") for n in (0, 5, 9)]
    assert all(says in one[2] and "SQLSTATE" in one[2] for one in rejects)
    assert next_offset(connection) == 2


@given(bad=st.sets(st.integers(0, 30)), known=st.sets(st.integers(0, 30)))
@hypothesis_settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_every_row_is_stored_known_or_rejected(connection: Connection, bad: set[int], known: set[int]) -> None:
    """Wherever the bad and the known ones are in a batch."""
    connection.execute("DELETE FROM wms.results")
    connection.execute("DELETE FROM wms.rejects")
    connection.execute("UPDATE wms.offsets SET next_offset = 0")
    write(connection, [row(n) for n in sorted(known)])
    batch = [bad_row(n, *BAD["outcome"][:2]) if n in bad else row(n) for n in range(31)]
    written = write(connection, batch, start=1)
    assert written == Written(rows=31 - len(bad | known), duplicates=len(known - bad), rejects=len(bad))
    assert {one for (one,) in connection.execute("SELECT kafka_offset FROM wms.rejects")} == bad


def test_a_former_owners_batch_leaves_nothing(connection: Connection) -> None:
    """Compare and swap: somebody else has moved the offset."""
    write(connection, [row(1)])
    with pytest.raises(LostPartition):
        write(connection, [row(2)], [reject(message(3), "undecodable", "e")], start=0)
    assert len(stored(connection)) == 1
    assert connection.execute("SELECT count(*) FROM wms.rejects").fetchone() == (0,)


def test_an_unknown_error_stops_and_drops_nothing(connection: Connection) -> None:
    """A missing table is no fault of a row: not one becomes a reject."""
    connection.execute("ALTER TABLE wms.results RENAME COLUMN worker TO labourer")
    with pytest.raises(psycopg.errors.UndefinedColumn) as caught:
        write(connection, [row(1)])
    assert not is_postgres_away(caught.value)
    assert next_offset(connection) == 0


def test_a_read_only_server_is_one_that_is_away(connection: Connection) -> None:
    """Waiting helps: it is what a failover looks like."""
    connection.execute("SET default_transaction_read_only = on")
    with pytest.raises(psycopg.errors.ReadOnlySqlTransaction) as caught:
        write(connection, [row(1)])
    assert is_postgres_away(caught.value)


def test_a_reject_keeps_the_message_whole_and_is_kept_once(connection: Connection) -> None:
    """Bytes, headers of any kind, and the slot it stands for."""
    headers = [("a", b"text"), ("b", b"\xff"), ("c", None), ("d", b"\x00"), ("\ud800\x00", b"")]
    one = Reject(message(7, key=b"\x00k", value=b"\x00\xff", headers=headers), "undecodable", "why", SITE_ID, NOON)
    write(connection, [], [one])
    assert write(connection, [], [one], start=1).rejects == 1
    found = connection.execute(
        "SELECT topic, topic_id, partition, kafka_offset, key, value, error, reason, site_id, scheduled_at,"
        " headers::text FROM wms.rejects"
    ).fetchall()
    assert found == [
        (
            "test.topic", "id", 0, 7, b"\x00k", b"\x00\xff", "why", "undecodable", SITE_ID, NOON,
            '[["a", "text"], ["b", {"base64": "/w=="}], ["c", null], ["d", "\\u0000"], ["\\ud800\\u0000", ""]]',
        )
    ]  # fmt: skip


@given(result=RESULTS)
@hypothesis_settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
def test_postgres_gives_back_what_it_was_given(connection: Connection, result: Result) -> None:
    """Every text, number and instant that fits.py lets through, to the bit; NUL is refused."""
    connection.execute(
        "CREATE TEMP TABLE IF NOT EXISTS copied (LIKE wms.results INCLUDING DEFAULTS INCLUDING CONSTRAINTS)"
    )
    connection.execute("TRUNCATE copied")
    try:
        data = copy_row(result)
    except Unstorable:
        assert "\\u0000" in json_codec.encode(result).decode()
        return
    with connection.cursor().copy(query("copy_results").replace(b"wms.results", b"copied")) as copy:
        for block in blocks([data]):
            copy.write(block)
    reader = connection.cursor(row_factory=dict_row)
    reader.execute(query("results_since").replace(b"wms.results", b"copied"), ALL)
    found = stored_result(reader.fetchall()[0])
    phases = None if result.phases == Phases() else result.phases
    assert found == StoredResult(stored_at=found.stored_at, **(msgspec.structs.asdict(result) | {"phases": phases}))


def test_a_full_result_takes_the_place_of_a_missed_one_with_all_its_columns(connection: Connection) -> None:
    """By way of staging, which has a list of columns of its own."""
    write(connection, [row(1, outcome="missed", reason="expired", started_at=None)])
    write(connection, [row(1, **FULL), row(2, **FULL)], start=1)
    replaced, fresh = connection.cursor(row_factory=dict_row).execute("SELECT * FROM wms.results ORDER BY scheduled_at")
    assert {name for name, value in fresh.items() if value is None} == {"missed_reason"}
    assert replaced == fresh | {
        "scheduled_at": replaced["scheduled_at"],
        "stored_at": replaced["stored_at"],
        "missed_reason": "expired",
    }
    newest, _ = results(connection, None, NOON)
    for name, value in FULL.items():
        assert getattr(newest, name) == value


def test_partitions_are_made_from_yesterday_on_and_once(connection: Connection) -> None:
    """The second call finds nothing to do."""
    made = ensure_partitions(connection, DAY, 3)
    assert made == [DAY + timedelta(days=n) for n in (-1, 1, 2, 3)]
    assert ensure_partitions(connection, DAY, 3) == []
    assert partition_days(connection) == {DAY + timedelta(days=n) for n in range(-1, 4)}


def test_housekeeping_makes_the_days_that_the_settings_name(database_url: str) -> None:
    """Yesterday to so many ahead, by today's date in UTC."""
    settings = Settings(env="test", database_url=database_url, partitions_ahead_days=2)
    assert len(make_partitions(settings)) == 4
    assert make_partitions(settings) == []


def test_a_partition_holds_its_utc_day_whatever_the_sessions_time_zone(connection: Connection) -> None:
    """The first and the last microsecond."""
    connection.execute("SET TimeZone = 'Pacific/Kiritimati'")
    ensure_days(connection, [date(2026, 3, 29)])
    first = datetime(2026, 3, 29, tzinfo=UTC)
    last = datetime(2026, 3, 29, 23, 59, 59, 999999, tzinfo=UTC)
    write(connection, [row(1, scheduled_at=first), row(2, scheduled_at=last)])
    found = connection.execute(
        "SELECT DISTINCT c.relname FROM wms.results AS r JOIN pg_class AS c ON c.oid = r.tableoid"
    ).fetchall()
    assert found == [("results_p20260329",)]


def test_two_that_make_the_same_partitions_at_once_both_succeed(connection: Connection, database_url: str) -> None:
    """The second waits for the first one's transaction and finds its work done."""
    day = DAY + timedelta(days=9)
    with connect(Settings(env="test", database_url=database_url)) as other:
        assert ensure_days(other, [day]) == [day]
        waiting = connection.pgconn
        waiting.send_query(b"SELECT wms.ensure_partition('2026-12-02')")
        other.commit()
        result = waiting.get_result()
        assert result
        assert result.get_value(0, 0) == b"f"
        assert waiting.get_result() is None


def test_a_partition_is_made_while_rows_are_being_written(connection: Connection, database_url: str) -> None:
    """No lock that a COPY waits for, or that waits for a COPY."""
    with connect(Settings(env="test", database_url=database_url)) as writer:
        with writer.cursor().copy(query("copy_results")) as copy:
            for block in blocks([row(1).data]):
                copy.write(block)
            assert ensure_days(connection, [DAY + timedelta(days=1)]) == [DAY + timedelta(days=1)]
        writer.rollback()


def test_a_new_owner_ends_the_one_who_sleeps_in_a_transaction(database_url: str) -> None:
    """No timeout of Postgres ends it, so the offsets row names its backend."""
    url = psycopg.conninfo.make_conninfo(database_url, options="-c lock_timeout=200ms")
    settings = Settings(env="test", database_url=url)
    with connect(settings, "persist", autocommit=True) as former, connect(settings, "persist", autocommit=True) as new:
        assert offsets.claim(former, [KEY], lambda partition: 5) == {0: 5}
        former.execute("BEGIN")
        offsets.move(former, [OffsetMove(KEY, 5, 9)])
        assert offsets.claim(new, [KEY], lambda partition: 7) == {0: 5}
        with pytest.raises(psycopg.errors.AdminShutdown):
            former.execute("COMMIT")
    with connect(settings) as reader:
        assert next_offset(reader) == 5


def test_a_row_locked_by_somebody_else_is_not_ended(database_url: str) -> None:
    """Only what names itself a persist loop is."""
    url = psycopg.conninfo.make_conninfo(database_url, options="-c lock_timeout=200ms")
    settings = Settings(env="test", database_url=url)
    with connect(settings, "persist", autocommit=True) as owner, connect(settings, "person") as person:
        offsets.claim(owner, [KEY], lambda partition: 5)
        person.execute("SELECT * FROM wms.offsets FOR UPDATE")
        with pytest.raises(psycopg.errors.LockNotAvailable) as caught:
            offsets.claim(owner, [KEY], lambda partition: 7)
        assert is_postgres_away(caught.value)
        assert person.execute("SELECT 1").fetchone() == (1,)
