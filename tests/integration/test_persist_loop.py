"""The persist loop on real Kafka and Postgres: each message ends as one row or one reject, whatever goes away."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Literal

import psycopg
import pytest
from confluent_kafka import Consumer, Producer, TopicPartition
from confluent_kafka.cimpl import NewTopic
from psycopg import sql
from structlog.testing import capture_logs

from tests.faults.proxy import Proxy
from tests.persisting import count, query, running, send, site, slots, wait_for_rows
from tests.results import a_result
from tests.samples import own
from tests.waiting import wait_until
from wms_tasks import metrics
from wms_tasks.codec import json_codec
from wms_tasks.embedded.postgres import EmbeddedPostgres
from wms_tasks.errors import TooManyRejects
from wms_tasks.health import HEALTH
from wms_tasks.ledger.passed import topic_ends
from wms_tasks.persist.loop import PersistLoop, State
from wms_tasks.persist.places import BELIEVED_ANSWERS
from wms_tasks.result import Result
from wms_tasks.settings import Settings
from wms_tasks.store.connect import connect
from wms_tasks.store.message import UNKNOWN_END
from wms_tasks.topic import admin_client, ensure_topic, topic_identity

# stop() promises about three seconds; a busy machine adds to it.
STOP_SECONDS = 4.5


@pytest.fixture(params=["classic", "consumer"])
def protocol(request: pytest.FixtureRequest) -> Literal["classic", "consumer"]:
    """Both of Kafka's group protocols."""
    return request.param  # type: ignore[no-any-return]


@pytest.fixture
def both(settings: Settings, protocol: str) -> Settings:
    """The settings under each protocol; the topic exists."""
    changed = settings.model_copy(update={"kafka_group_protocol": protocol})
    ensure_topic(changed)
    return changed


@pytest.fixture
def black_hole() -> Iterator[int]:
    """A port that takes connections and never says a word."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


@pytest.fixture
def outage(settings: Settings, postgres_server: EmbeddedPostgres) -> Any:
    """`outage(True)`: the database ends its connections and takes no new ones; `outage(False)`: it is back."""
    name = psycopg.conninfo.conninfo_to_dict(settings.database_url)["dbname"]

    def turn(away: bool) -> None:
        allowed = sql.SQL("false" if away else "true")
        with psycopg.connect(postgres_server.url("postgres"), autocommit=True) as connection:
            connection.execute(
                sql.SQL("ALTER DATABASE {} ALLOW_CONNECTIONS {}").format(sql.Identifier(str(name)), allowed)
            )
            if away:
                connection.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s", (name,))

    return turn


def events(logs: list[Any], name: str) -> list[Any]:
    """The log lines of this name."""
    return [one for one in logs if one["event"] == name]


def stop_took(loop: PersistLoop) -> float:
    """Seconds."""
    began = time.monotonic()
    loop.stop()
    return time.monotonic() - began


def test_messages_become_rows_and_what_is_none_becomes_a_reject(both: Settings) -> None:
    """Each once; nothing stops; the reject has the bytes and knows its slot."""
    with running(both) as loop:
        send(both, slots(60), [b"\x00\xffnot json", b""])
        send(both, [*slots(5), *slots(1, first=70, detail="a\x00b"), *slots(39, first=60)])
        wait_for_rows(both, 99)
        wait_for_rows(both, 3, "rejects")
        stats = wait_until(lambda: s if (s := loop.stats()).rows_written == 99 else None)
    assert stats.rejects_written == 3
    assert stats.duplicates == 5
    assert stats.last_batch_ms
    assert stats.last_end_to_end_seconds
    rejects = query(both, "SELECT reason, value, site_id, scheduled_at FROM wms.rejects")
    assert ("undecodable", b"\x00\xffnot json", site(0), a_result().scheduled_at) in rejects
    assert sorted(one[0] for one in rejects) == ["undecodable", "undecodable", "unstorable"]
    assert query(both, "SELECT sum(next_offset) FROM wms.offsets") == [(107,)]


def test_a_later_run_goes_on_where_postgres_says(both: Settings) -> None:
    """Nothing is read twice, and Kafka's own committed offsets mean nothing."""
    send(both, slots(20))
    with running(both):
        wait_for_rows(both, 20)
    send(both, slots(20, first=20))
    consumer = Consumer({"bootstrap.servers": both.kafka_bootstrap_servers, "group.id": both.consumer_group})
    consumer.commit(offsets=[TopicPartition(both.topic, p, 0) for p in range(2)], asynchronous=False)
    consumer.close()
    with running(both) as loop:
        wait_for_rows(both, 40)
        stats = wait_until(lambda: s if (s := loop.stats()).rows_written == 20 else None)
    assert stats.duplicates == 0


def test_an_old_dump_restored_fills_itself_up(settings: Settings) -> None:
    """Rows and offsets of one moment: what came after it is read again."""
    ensure_topic(settings)
    send(settings, slots(40))
    with running(settings):
        wait_for_rows(settings, 40)
    with psycopg.connect(settings.database_url) as connection:
        connection.execute("DELETE FROM wms.results WHERE site_id <> %s", (site(0),))
        connection.execute("UPDATE wms.offsets SET next_offset = 0")
    with running(settings) as loop:
        wait_for_rows(settings, 40)
        wait_until(lambda: loop.stats().duplicates == 8, what="the rows the dump had")


def test_an_old_dump_restored_under_a_running_loop_is_noticed(settings: Settings) -> None:
    """Its next batch does not begin where Postgres is: it is dropped, and everything since the dump read again."""
    ensure_topic(settings)
    with capture_logs() as logs, running(settings) as loop:
        send(settings, slots(20))
        wait_for_rows(settings, 20)
        with psycopg.connect(settings.database_url) as connection:
            connection.execute("DELETE FROM wms.results")
            connection.execute("UPDATE wms.offsets SET next_offset = 0")
        send(settings, slots(10, first=20))
        wait_for_rows(settings, 30)
        wait_until(lambda: loop.stats().rows_written == 50)
    assert events(logs, "persist.partition_lost")
    assert query(settings, "SELECT sum(next_offset) FROM wms.offsets") == [(30,)]


def test_batches_end_by_time_and_by_size(settings: Settings) -> None:
    """Neither waits for the other."""
    small = settings.model_copy(update={"persist_max_records": 10, "persist_timeout_ms": 60_000})
    ensure_topic(small)
    with running(small) as loop:
        send(small, slots(25))
        wait_for_rows(small, 20)
        assert wait_until(lambda: s if (s := loop.stats()).batches == 2 else None).last_batch_records == 10
    # What was in hand at the end is stored too.
    assert count(small) == 25
    quick = settings.model_copy(update={"persist_max_records": 10_000, "persist_timeout_ms": 50})
    with running(quick):
        send(quick, slots(3, first=25))
        wait_for_rows(quick, 28)


def test_two_share_the_partitions_and_one_takes_over(both: Settings) -> None:
    """Rebalances at any time lose and double nothing."""
    send(both, slots(30))
    with running(both) as first:
        wait_for_rows(both, 30)
        with running(both) as second:
            wait_until(lambda: len(second.stats().assignment) == 1 == len(first.stats().assignment), 20, "one each")
            send(both, slots(40, first=30))
            wait_for_rows(both, 70)
            first.stop()
            # More than one fetch for each partition: librdkafka can stall after the first.
            send(both, slots(8000, first=70))
            wait_for_rows(both, 8070)
    assert query(both, "SELECT sum(next_offset) FROM wms.offsets") == [(8070,)]
    assert count(both, "rejects") == 0


def test_an_outage_of_postgres_is_sat_out(both: Settings, outage: Any) -> None:
    """It says once that it waits and once that it is over; every message is stored, once."""
    HEALTH.expect("persist", allowed_seconds=5)
    with capture_logs() as logs, running(both) as loop:
        send(both, slots(10))
        wait_for_rows(both, 10)
        outage(True)
        send(both, slots(50, first=10))
        wait_until(lambda: loop.stats().state is State.WAITING_FOR_POSTGRES, 10, "the outage to be noticed")
        send(both, slots(20, first=60))
        assert all(pulse.healthy for pulse in HEALTH.pulses() if pulse.name == "persist")
        outage(False)
        wait_for_rows(both, 80)
        wait_until(lambda: loop.stats().state is State.RUNNING)
    HEALTH.forget("persist")
    assert len(events(logs, "persist.postgres_away")) == 1
    assert len(events(logs, "persist.postgres_back")) == 1
    assert query(both, "SELECT sum(next_offset) FROM wms.offsets") == [(80,)]


def test_a_read_only_postgres_is_sat_out(settings: Settings, postgres_server: EmbeddedPostgres) -> None:
    """As after a failover to a standby."""
    ensure_topic(settings)
    name = sql.Identifier(str(psycopg.conninfo.conninfo_to_dict(settings.database_url)["dbname"]))
    with running(settings) as loop, psycopg.connect(postgres_server.url("postgres"), autocommit=True) as connection:
        wait_until(lambda: loop.stats().state is State.RUNNING, 20)
        connection.execute(sql.SQL("ALTER DATABASE {} SET default_transaction_read_only = on").format(name))
        connection.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'wms-persist'"
        )
        send(settings, slots(10))
        wait_until(lambda: loop.stats().state is State.WAITING_FOR_POSTGRES, 10)
        connection.execute(sql.SQL("ALTER DATABASE {} RESET default_transaction_read_only").format(name))
        wait_for_rows(settings, 10)


def test_a_connection_lost_between_writes_is_no_matter(settings: Settings) -> None:
    """The batch in hand is kept or read again."""
    ensure_topic(settings)
    with running(settings):
        for n in range(3):
            send(settings, slots(20, first=20 * n))
            wait_for_rows(settings, 20 * (n + 1))
            query(settings, "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                        " WHERE application_name = 'wms-persist' AND datname = current_database()")  # fmt: skip
    assert query(settings, "SELECT sum(next_offset) FROM wms.offsets") == [(60,)]


def test_offsets_that_kafka_no_longer_has_are_named_and_left_behind(both: Settings) -> None:
    """It goes on from the low mark; other partitions are not held up."""
    send(both, slots(40))
    ends = [TopicPartition(both.topic, p, 5) for p in range(2)]
    admin = admin_client(both)
    for future in admin.delete_records(ends).values():
        future.result(10)
    stored_up_to(both, 1)
    before = own(metrics.LOST_OFFSETS).sum("wms_persist_lost_offsets_total")
    with capture_logs() as logs, running(both) as loop:
        wait_for_rows(both, 30)
        send(both, slots(10, first=40))
        wait_for_rows(both, 40)
        stats = loop.stats()
    assert {(one["partition"], one["asked"]) for one in events(logs, "persist.offsets_lost")} == {(0, 1), (1, 1)}
    lost = "SELECT topic, partition, first_offset, end_offset, why FROM wms.lost_offsets ORDER BY partition"
    assert query(both, lost) == [(both.topic, partition, 1, 5, "retention") for partition in range(2)]
    assert stats.lost_offsets == own(metrics.LOST_OFFSETS).sum("wms_persist_lost_offsets_total") - before == 8
    assert query(both, "SELECT sum(next_offset) FROM wms.offsets") == [(50,)]


def test_a_partition_that_ends_before_what_is_stored_is_read_again_and_counted(both: Settings) -> None:
    """As after an unclean election: the range is empty, and still it is not passed over in silence."""
    send(both, slots(40))
    stored_up_to(both, 1000)
    before = own(metrics.LOST_OFFSETS).sum("wms_persist_lost_offsets_total")
    with running(both):
        wait_for_rows(both, 40)
    lost = "SELECT first_offset, end_offset, why FROM wms.lost_offsets"
    assert query(both, lost) == [(1000, 1000, "truncated")] * 2
    assert own(metrics.LOST_OFFSETS).sum("wms_persist_lost_offsets_total") - before == 2


def stored_up_to(settings: Settings, next_offset: int) -> None:
    """Postgres holds this offset of both partitions."""
    identity = topic_identity(admin_client(settings), settings.topic)
    with psycopg.connect(settings.database_url) as connection:
        for partition in range(2):
            row = (identity.cluster_id, settings.topic, identity.topic_id, partition, next_offset)
            connection.execute("INSERT INTO wms.offsets VALUES (%s, %s, %s, %s, %s)", row)


def test_a_topic_made_again_is_read_from_its_beginning(both: Settings) -> None:
    """Its id tells; a classic consumer would go on at the old offset without a word."""
    admin = admin_client(both)
    with capture_logs() as logs, running(both, topic_check_seconds=0.5) as loop:
        send(both, slots(40))
        wait_for_rows(both, 40)
        admin.delete_topics([both.topic])[both.topic].result(10)
        wait_until(lambda: both.topic not in admin.list_topics(timeout=5).topics, 10, "the topic to be gone")
        wait_until(lambda: _made(both), 10, "the topic to be made again")
        send(both, slots(30, first=40))
        wait_for_rows(both, 70)
        wait_until(lambda: sum(p.next_offset for p in loop.stats().assignment) == 30, 10)
    by_topic = "SELECT sum(next_offset) FROM wms.offsets GROUP BY topic_id ORDER BY 1"
    assert query(both, by_topic) == [(30,), (40,)]
    assert len(events(logs, "persist.topic_made_again")) == 1
    assert {one["why"] for one in events(logs, "persist.offsets_lost")} == {"topic_made_again"}
    lost = "SELECT sum(first_offset), min(end_offset), count(*) FROM wms.lost_offsets"
    assert query(both, lost) == [(40, UNKNOWN_END, 2)]


def _made(settings: Settings) -> bool:
    """Whether the topic could be made: Kafka says "exists" for a moment after it was deleted."""
    ensure_topic(settings)
    return settings.topic in admin_client(settings).list_topics(timeout=5).topics


def test_a_backlog_gets_its_partitions_and_what_is_out_of_range_is_a_reject(settings: Settings) -> None:
    """A fresh database and last week's messages; and a slot of the year 1."""
    now = datetime.now(UTC)
    ensure_topic(settings)
    days = [now - timedelta(days=n) for n in (0, 3, 30)] + [now + timedelta(days=2)]
    out = [datetime(1, 1, 1, tzinfo=UTC), now - timedelta(days=40), now + timedelta(days=40)]
    send(settings, [a_result(scheduled_at=at) for at in days + out])
    with running(settings):
        wait_for_rows(settings, 4)
        wait_for_rows(settings, 3, "rejects")
    assert {one[0] for one in query(settings, "SELECT reason FROM wms.rejects")} == {"no_partition"}
    found = {at for (at,) in query(settings, "SELECT scheduled_at FROM wms.rejects")}
    assert {at for at in out if at.year > 1} <= found


def test_stop_ends_a_write_that_waits(settings: Settings) -> None:
    """A lock on the table: the write is given up in time, and its messages stay in Kafka."""
    ensure_topic(settings)
    with running(settings) as loop, psycopg.connect(settings.database_url) as blocker:
        wait_until(lambda: len(loop.stats().assignment) == 2, 20)
        blocker.execute("LOCK TABLE wms.results IN ACCESS EXCLUSIVE MODE")
        send(settings, slots(10))
        waits = "SELECT 1 FROM pg_stat_activity WHERE application_name = 'wms-persist' AND wait_event_type = 'Lock'"
        wait_until(lambda: query(settings, waits + " AND datname = current_database()"), 10, "the write to wait")
        assert stop_took(loop) < STOP_SECONDS
        blocker.rollback()
    assert count(settings) == 0
    with running(settings):
        wait_for_rows(settings, 10)


@pytest.mark.parametrize("where", ["refused", "silent"])
def test_kafka_may_be_away_at_the_start(settings: Settings, black_hole: int, where: str) -> None:
    """It waits, says so once, stays healthy, and stops in time."""
    port = black_hole if where == "silent" else 1
    away = settings.model_copy(update={"kafka_bootstrap_servers": f"127.0.0.1:{port}"})
    with capture_logs() as logs, running(away) as loop:
        wait_until(lambda: loop.stats().state is State.WAITING_FOR_KAFKA, 10)
        assert stop_took(loop) < STOP_SECONDS
    assert len(events(logs, "persist.kafka_away")) == 1


def test_postgres_may_be_silent_at_the_start(settings: Settings, black_hole: int) -> None:
    """A port that takes connections and never answers."""
    ensure_topic(settings)
    away = settings.model_copy(update={"database_url": f"postgresql://wms@127.0.0.1:{black_hole}/wms"})
    with capture_logs() as logs, running(away) as loop:
        wait_until(lambda: loop.stats().state is State.WAITING_FOR_POSTGRES, 10)
        assert stop_took(loop) < STOP_SECONDS
    assert len(events(logs, "persist.postgres_away")) == 1


def test_postgres_may_come_later(settings: Settings, outage: Any) -> None:
    """Started first, it waits, and then reads from the beginning."""
    outage(True)
    ensure_topic(settings)
    send(settings, slots(10))
    with running(settings) as loop:
        wait_until(lambda: loop.stats().state is State.WAITING_FOR_POSTGRES, 10)
        outage(False)
        wait_for_rows(settings, 10)


def test_a_postgres_that_falls_silent_is_left(settings: Settings) -> None:
    """Its kernel still answers, so that no keepalive helps: the write is given up, and made again elsewhere."""
    ensure_topic(settings)
    port = int(str(psycopg.conninfo.conninfo_to_dict(settings.database_url)["port"]))
    with Proxy(port) as proxy:
        url = psycopg.conninfo.make_conninfo(settings.database_url, host="127.0.0.1", port=proxy.port)
        behind = settings.model_copy(update={"database_url": url})
        with capture_logs() as logs, running(behind, answer_seconds=1.0) as loop:
            wait_until(lambda: len(loop.stats().assignment) == 2, 20)
            proxy.black_hole()
            send(settings, slots(10))
            wait_until(lambda: loop.stats().state is State.WAITING_FOR_POSTGRES, 10)
            proxy.heal("dead")
            wait_for_rows(settings, 10)
    assert [one["reason"] for one in events(logs, "persist.postgres_away")] == ["no answer for 1 s"]


def test_offsets_that_never_were_are_believed_in_the_end(both: Settings) -> None:
    """The marker of a transaction takes an offset, and nobody can read it: it is asked for, then written down."""
    send(both, slots(10))
    in_a_transaction(both, slots(20, first=10))
    send(both, slots(20, first=30))
    with capture_logs() as logs, running(both):
        wait_for_rows(both, 50)
    lost = query(both, "SELECT end_offset - first_offset, why FROM wms.lost_offsets")
    assert lost == [(1, "hole"), (1, "hole")]
    assert len(events(logs, "persist.gap")) == 2 * BELIEVED_ANSWERS
    assert count(both, "rejects") == 0


def test_a_partition_that_stands_still_is_started_again(settings: Settings) -> None:
    """As with an offset at the end that nobody can read; the messages after it are stored all the same."""
    one = settings.model_copy(update={"kafka_topic_partitions": 1})
    ensure_topic(one)
    in_a_transaction(one, slots(10))
    with capture_logs() as logs, running(one, stall_check_seconds=0.3) as loop:
        wait_for_rows(one, 10)
        wait_until(lambda: events(logs, "persist.kafka_consumer_failed"), 30, "a new consumer")
        send(one, slots(10, first=10))
        wait_for_rows(one, 20)
        wait_until(lambda: loop.stats().assignment)
    assert [line["times"] for line in events(logs, "persist.partition_stalled")][:2] == [1, 2]


class Stalling(Consumer):
    """A real consumer whose first positions are stopped again without a word, as librdkafka did by itself."""

    stalls = 1

    def assign(self, partitions: list[TopicPartition]) -> None:
        super().assign(partitions)
        self.stall(partitions)

    def incremental_assign(self, partitions: list[TopicPartition]) -> None:
        super().incremental_assign(partitions)
        self.stall(partitions)

    def stall(self, partitions: list[TopicPartition]) -> None:
        """The first positions come second: those of the assignment itself are zero, and held by the reader."""
        if Stalling.stalls == 1:
            self.pause(partitions)
        Stalling.stalls -= 1


def test_a_partition_that_librdkafka_stopped_is_read_again_by_the_same_consumer(
    both: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Positions given once more are enough: no rebalance. About four seconds after its messages are there."""
    monkeypatch.setattr("wms_tasks.persist.reader.Consumer", Stalling)
    monkeypatch.setattr(Stalling, "stalls", 2)
    with capture_logs() as logs, running(both):
        wait_until(lambda: Stalling.stalls <= 0, 20, "positions")
        send(both, slots(10))
        wait_for_rows(both, 10)
    assert {line["times"] for line in events(logs, "persist.partition_stalled")} == {1}
    assert not events(logs, "persist.kafka_consumer_failed")


def in_a_transaction(settings: Settings, results: Sequence[Result]) -> None:
    """Publish them; each partition they went to ends with the marker of the transaction."""
    producer = Producer({"bootstrap.servers": settings.kafka_bootstrap_servers, "transactional.id": settings.topic})
    producer.init_transactions(20)
    before = sum(topic_ends(settings).ends.values())
    producer.begin_transaction()
    for result in results:
        producer.produce(settings.topic, json_codec.encode(result), key=str(result.site_id).encode())
    producer.commit_transaction(20)
    # Its markers are written after the commit is confirmed.
    wait_until(
        lambda: sum(topic_ends(settings).ends.values()) == before + len(results) + settings.kafka_topic_partitions
    )


def test_a_batch_ends_by_bytes(settings: Settings) -> None:
    """Whatever the count: memory has a limit."""
    small = settings.model_copy(update={"persist_max_bytes": 100_000, "persist_timeout_ms": 60_000})
    ensure_topic(small)
    with running(small) as loop:
        send(small, slots(40, detail="x" * 10_000))
        wait_until(lambda: loop.stats().batches == 4, 20)
        assert loop.stats().last_batch_records == 10
    assert count(small) == 40


def test_too_many_rejects_end_the_loop_and_nothing_is_skipped(settings: Settings) -> None:
    """Not the topic but the release is wrong; a restart forgets nothing; with the limit lifted all of it goes in."""
    one = settings.model_copy(update={"kafka_topic_partitions": 1, "persist_max_records": 50})
    ensure_topic(one)
    send(one, slots(10), [b"no result"] * 120)
    for _ in range(2):
        loop = PersistLoop(one)
        with pytest.raises(TooManyRejects, match=r"100 messages in a row.*WMS_REJECTS_MAX_SHARE"):
            loop.run()
    assert (count(one), count(one, "rejects")) == (10, 90)
    assert query(one, "SELECT next_offset FROM wms.offsets") == [(100,)]
    with running(one.model_copy(update={"rejects_max_share": 1.0})):
        wait_for_rows(one, 120, "rejects")


def test_a_missing_topic_is_waited_for_where_it_may_not_be_made(settings: Settings) -> None:
    """One clear line with the topic, the servers and what to do; then it is made, and everything goes by itself."""
    staging = settings.model_copy(update={"env": "staging"})
    with capture_logs() as logs, running(staging) as loop:
        wait_until(lambda: loop.stats().state is State.WAITING_FOR_TOPIC, 10)
        said = events(logs, "persist.topic_missing")[0]["reason"]
        assert staging.topic in said
        assert staging.kafka_bootstrap_servers in said
        admin = admin_client(staging)
        admin.create_topics([NewTopic(staging.topic, num_partitions=2)])[staging.topic].result(10)
        wait_until(lambda: len(loop.stats().assignment) == 2, 20)
        send(staging, slots(5))
        wait_for_rows(staging, 5)
    assert len(events(logs, "persist.topic_missing")) == 1


def test_what_is_no_fault_of_a_message_ends_the_loop(settings: Settings) -> None:
    """A column is missing: not one message goes to rejects, and the thread's owner gets the error."""
    ensure_topic(settings)
    with psycopg.connect(settings.database_url) as connection:
        connection.execute("ALTER TABLE wms.results RENAME COLUMN worker TO labourer")
    send(settings, slots(3))
    loop = PersistLoop(settings)
    failures: list[BaseException] = []

    def run() -> None:
        try:
            loop.run()
        except psycopg.Error as error:
            failures.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    thread.join(20)
    assert not thread.is_alive()
    assert isinstance(failures[0], psycopg.errors.UndefinedColumn)
    assert count(settings, "rejects") == 0
    assert loop.stats().state is State.STOPPED


def test_a_zombie_does_not_hold_up_the_new_owner(settings: Settings) -> None:
    """A former owner stopped inside its transaction: its backend is ended after lock_timeout."""
    url = psycopg.conninfo.make_conninfo(settings.database_url, options="-c lock_timeout=300ms")
    quick = settings.model_copy(update={"database_url": url})
    ensure_topic(quick)
    send(quick, slots(10))
    with running(quick):
        wait_for_rows(quick, 10)
    with connect(quick, "persist") as zombie:
        zombie.execute("UPDATE wms.offsets SET holder_pid = pg_backend_pid()")
        zombie.commit()
        zombie.execute("UPDATE wms.offsets SET next_offset = next_offset + 1")
        send(quick, slots(10, first=10))
        with capture_logs() as logs, running(quick):
            wait_for_rows(quick, 20)
        with pytest.raises(psycopg.OperationalError):
            zombie.commit()
    assert events(logs, "persist.former_owner_ended")
    assert query(quick, "SELECT sum(next_offset) FROM wms.offsets") == [(20,)]
