"""While one batch is being written, the next one is gathered: nothing of either is lost or doubled."""

from __future__ import annotations

import signal
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg
from structlog.testing import capture_logs

from tests.acceptance.processes import roles
from tests.persisting import count, query, running, send, slots, wait_for_rows
from tests.samples import own
from tests.waiting import wait_until
from wms_tasks import metrics
from wms_tasks.persist.loop import PersistLoop, State
from wms_tasks.settings import Settings
from wms_tasks.topic import ensure_topic

# stop() promises about three seconds; a busy machine adds to it.
STOP_SECONDS = 4.5
WAITS = (
    "SELECT 1 FROM pg_stat_activity WHERE application_name = 'wms-persist' AND wait_event_type = 'Lock' "
    "AND datname = current_database()"
)
# A persist loop that says when so many records are in hand.
PROGRAM = """
import sys, threading, time
from wms_tasks.persist.loop import PersistLoop
from wms_tasks.settings import load_settings
loop = PersistLoop(load_settings())
threading.Thread(target=loop.run, daemon=True).start()
while loop.stats().held_records < int(sys.argv[1]):
    time.sleep(0.02)
print("held", flush=True)
threading.Event().wait()
"""


@contextmanager
def blocked(settings: Settings, table: str = "results") -> Iterator[psycopg.Connection[Any]]:
    """Whoever writes into this table waits; its lock_timeout is five seconds."""
    with psycopg.connect(settings.database_url) as blocker:
        blocker.execute(f"LOCK TABLE wms.{table} IN ACCESS EXCLUSIVE MODE".encode())
        yield blocker
        blocker.rollback()


def until_it_waits(settings: Settings) -> None:
    """A write stands at the lock."""
    wait_until(lambda: query(settings, WAITS), 10, "the write to wait")


def until_ready(loop: PersistLoop, partitions: int = 2) -> None:
    """It has its partitions, and Postgres."""
    wait_until(lambda: len(loop.stats().assignment) == partitions, 20, "partitions")


def until_held(loop: PersistLoop, records: int) -> None:
    """As many are in hand, written or gathered."""
    wait_until(lambda: loop.stats().held_records == records, 5, f"{records} records in hand")


def events(logs: Sequence[Any], name: str) -> list[Any]:
    """The log lines of this name."""
    return [one for one in logs if one["event"] == name]


def test_while_postgres_is_slow_the_next_batch_is_gathered(settings: Settings) -> None:
    """And written at once afterwards, in order."""
    ensure_topic(settings)
    with running(settings) as loop:
        until_ready(loop)
        with blocked(settings):
            send(settings, slots(10))
            until_it_waits(settings)
            send(settings, slots(30, first=10))
            until_held(loop, 40)
            assert own(metrics.HELD).sum("wms_persist_held_messages") == 40
            assert loop.stats().state is State.RUNNING
        wait_for_rows(settings, 40)
        wait_until(lambda: loop.stats().batches == 2)
        until_held(loop, 0)
        assert own(metrics.HELD).has("wms_persist_held_messages")
        assert own(metrics.HELD).sum("wms_persist_held_messages") == 0
        assert (loop.stats().last_batch_records, loop.stats().duplicates) == (30, 0)
    assert query(settings, "SELECT sum(next_offset) FROM wms.offsets") == [(40,)]


def test_threads_take_shorter_turns_only_while_a_batch_is_written(settings: Settings) -> None:
    """It concerns the whole process, which in `wms up` has other roles too."""
    usual = sys.getswitchinterval()
    ensure_topic(settings)
    with running(settings) as loop:
        until_ready(loop)
        assert sys.getswitchinterval() == usual
        with blocked(settings):
            send(settings, slots(10))
            until_it_waits(settings)
            assert sys.getswitchinterval() < usual
        wait_for_rows(settings, 10)
        until_held(loop, 0)
        assert sys.getswitchinterval() == usual


def test_both_batches_together_stay_within_the_bytes_of_one(settings: Settings) -> None:
    """What does not fit stays in Kafka until the first is written."""
    small = settings.model_copy(update={"persist_max_bytes": 100_000, "kafka_topic_partitions": 1})
    ensure_topic(small)
    with running(small) as loop:
        until_ready(loop, partitions=1)
        with blocked(small):
            send(small, slots(5, detail="x" * 10_000))
            until_it_waits(small)
            send(small, slots(40, first=5, detail="x" * 10_000))
            wait_until(lambda: loop.stats().held_records >= 9, 5, "a second batch")
            assert loop.stats().held_records <= 10
        wait_for_rows(small, 45)
    assert query(small, "SELECT next_offset FROM wms.offsets") == [(45,)]


def test_a_partition_lost_while_writing_takes_both_batches_along(settings: Settings) -> None:
    """An old dump is restored at that moment: the write finds it, and everything since is read again."""
    ensure_topic(settings)
    with capture_logs() as logs, running(settings) as loop:
        send(settings, slots(20))
        wait_for_rows(settings, 20)
        wait_until(lambda: loop.stats().held_records == 0)
        with psycopg.connect(settings.database_url) as restorer:
            restorer.execute("DELETE FROM wms.results")
            restorer.execute("UPDATE wms.offsets SET next_offset = 0")
            send(settings, slots(10, first=20))
            until_it_waits(settings)
            send(settings, slots(10, first=30))
            until_held(loop, 20)
            restorer.commit()
        wait_for_rows(settings, 40)
    assert [one["abandoned"] for one in events(logs, "persist.partition_lost")] == [20]
    assert query(settings, "SELECT sum(next_offset) FROM wms.offsets") == [(40,)]


def test_a_rebalance_while_writing_waits_for_the_end_of_the_write(settings: Settings) -> None:
    """The second takes its share only behind the first one's transaction; what was gathered is read again."""
    ensure_topic(settings)
    with running(settings) as first:
        until_ready(first)
        with blocked(settings):
            send(settings, slots(20))
            until_it_waits(settings)
            send(settings, slots(20, first=20))
            until_held(first, 40)
            with running(settings) as second:
                wait_until(lambda: first.stats().assignment == (), 4.5, "the first to lose its partitions")
                wait_until(lambda: first.stats().held_records == 0)
        # The second is gone again: its place in the group was all that was needed.
        wait_for_rows(settings, 40)
        assert second.stats().state is State.STOPPED
        send(settings, slots(20, first=40))
        wait_for_rows(settings, 60)
    assert query(settings, "SELECT sum(next_offset) FROM wms.offsets") == [(60,)]
    assert count(settings, "rejects") == 0


def test_an_outage_while_writing_keeps_both_batches(settings: Settings) -> None:
    """The connection is lost in the middle of the write: it is made again first, then the other."""
    ensure_topic(settings)
    with capture_logs() as logs, running(settings) as loop:
        until_ready(loop)
        with blocked(settings):
            send(settings, slots(10))
            until_it_waits(settings)
            send(settings, slots(10, first=10))
            until_held(loop, 20)
            query(settings, "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                            " WHERE application_name = 'wms-persist' AND datname = current_database()")  # fmt: skip
            wait_until(lambda: events(logs, "persist.postgres_away"), 5, "the outage to be noticed")
            assert loop.stats().held_records == 20
        wait_for_rows(settings, 20)
        wait_until(lambda: loop.stats().rows_written == 20)
        assert (loop.stats().batches, loop.stats().duplicates) == (2, 0)
    assert query(settings, "SELECT sum(next_offset) FROM wms.offsets") == [(20,)]


def test_stop_while_writing_ends_in_time_and_leaves_both_in_kafka(settings: Settings) -> None:
    """The write is cut, the other batch is not tried on a connection that is gone."""
    ensure_topic(settings)
    with running(settings) as loop, blocked(settings):
        until_ready(loop)
        send(settings, slots(10))
        until_it_waits(settings)
        send(settings, slots(10, first=10))
        until_held(loop, 20)
        began = time.monotonic()
        loop.stop()
        assert time.monotonic() - began < STOP_SECONDS
    assert count(settings) == 0
    with running(settings):
        wait_for_rows(settings, 20)


def test_stop_writes_both_where_postgres_takes_them(settings: Settings) -> None:
    """The write under way goes on for as long as `stop` waits for it; then what was gathered follows."""
    patient = settings.model_copy(update={"persist_timeout_ms": 60_000, "persist_max_records": 10})
    one = patient.model_copy(update={"kafka_topic_partitions": 1})
    ensure_topic(one)
    with running(one) as loop:
        until_ready(loop, partitions=1)
        with blocked(one):
            send(one, slots(15))
            until_it_waits(one)
            until_held(loop, 15)
        loop.stop()
    assert count(one) == 15
    assert (loop.stats().rows_written, loop.stats().batches) == (15, 2)
    assert query(one, "SELECT next_offset FROM wms.offsets") == [(15,)]


def test_killed_with_one_batch_being_written_and_one_gathered(
    settings: Settings, wms_environ: dict[str, str], tmp_path: Path
) -> None:
    """Each row once: the transaction of the first ends with its connection, and both are still in Kafka."""
    ensure_topic(settings)
    send(settings, slots(5))
    with running(settings):
        wait_for_rows(settings, 5)
    with roles(wms_environ, tmp_path) as started:
        with blocked(settings):
            send(settings, slots(10, first=5))
            role = started.start("20", program=[sys.executable, "-c", PROGRAM])
            until_it_waits(settings)
            send(settings, slots(10, first=15))
            role.until_said("held")
            role.send_signal(signal.SIGKILL)
            role.wait()
        assert count(settings) == 5
        with running(settings) as loop:
            wait_for_rows(settings, 25)
            wait_until(lambda: loop.stats().rows_written == 20)
            assert loop.stats().duplicates == 0
    assert query(settings, "SELECT sum(next_offset) FROM wms.offsets") == [(25,)]
