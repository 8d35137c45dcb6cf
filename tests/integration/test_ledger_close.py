"""Closing slots on real Kafka, Redis and Postgres: when, how far, why, and what a later result does."""

from __future__ import annotations

import json
import threading
from datetime import timedelta

import psycopg
import pytest
import redis
from confluent_kafka.admin import AdminClient, NewPartitions

from tests.ledgers import LATENESS_US, SECOND, a_site, a_word, announced, claimed, entries_at, missed, seconds_ago
from tests.persisting import count, query, running, send, wait_for_rows
from tests.results import a_result
from tests.samples import own
from tests.waiting import wait_until
from wms_tasks import clock, metrics
from wms_tasks.app import app_for
from wms_tasks.codec import json_codec
from wms_tasks.errors import MigrationError, TopicMissingError
from wms_tasks.fill.missed import UNPUBLISHED_MAX, unpublished_key
from wms_tasks.ledger import waiting
from wms_tasks.ledger.close import close_slots
from wms_tasks.names import ANNOUNCE_KEY
from wms_tasks.result import Result
from wms_tasks.schedule.announce import Outage
from wms_tasks.schedule.outbox import Outbox
from wms_tasks.settings import Settings
from wms_tasks.sites.record import Site
from wms_tasks.store.migrate import migrate_up
from wms_tasks.store.migration_files import folder, migration_files
from wms_tasks.topic import ensure_topic

SITE = a_site()
MIGRATIONS = [one.migration_id for one in migration_files(folder())]


@pytest.fixture
def eager(settings: Settings) -> Settings:
    """No grace: what is over is closed."""
    return settings.model_copy(update={"close_grace_seconds": 0})


def slots_of(site: Site, from_us: int, until_us: int) -> list[int]:
    """The site's slots that begin in this time and whose deadline is before its end."""
    slots = entries_at([site], from_us)[0].slots
    first = slots.after(slots.at(from_us - 1))
    return [s for s in range(first, until_us, slots.interval_us) if s + slots.interval_us < until_us]


def result_of(slot_us: int, site: Site = SITE, **changes: object) -> Result:
    """An up result of that slot."""
    at = clock.from_microseconds(slot_us)
    return a_result(
        **{
            "site_id": site.site_id,
            "site_name": site.name,
            "scheduled_at": at,
            "due_at": at,
            "started_at": at,
            "spec_digest": site.digest(),
        }
        | changes
    )


def missed_slots(settings: Settings) -> list[int]:
    """The slots of the missed rows, oldest first."""
    return [clock.to_microseconds(at) for at in missed(settings)]


def test_every_slot_nobody_filled_is_missed_and_says_why(eager: Settings) -> None:
    """Sent by nobody, sent into an outage, sent and never seen again, rejected: each with its evidence."""
    start, end = seconds_ago(200), seconds_ago(10)
    announced(eager, SITE, at_us=start)
    claimed(eager)
    expected = slots_of(SITE, start, end)
    bad = result_of(expected[12], detail="too\x00bad")
    send(eager, [bad])
    with running(eager):
        wait_for_rows(eager, 1, "rejects")
    outage = Outage(from_us=expected[8] + 1, until_us=expected[10], reason="broker_down")
    before = own(metrics.MISSED)
    close_slots(eager, a_word(expected[4], end, outage))
    assert missed_slots(eager) == expected
    counted = own(metrics.MISSED).sum("wms_ledger_missed_total") - before.sum("wms_ledger_missed_total")
    assert counted == len(expected)
    # The fourth was still running as the leadership began; so was the eighth as the outage did.
    reasons = ["scheduler_down"] * 4 + ["unknown"] * 4 + ["broker_down"] * 3 + ["unknown", "rejected"]
    assert list(missed(eager).values()) == reasons + ["unknown"] * (len(expected) - len(reasons))


def test_only_what_is_over_for_as_long_as_the_grace(settings: Settings) -> None:
    """By beat's word, not by the clock of whoever closes."""
    patient = settings.model_copy(update={"close_grace_seconds": 60})
    start, end = seconds_ago(200), seconds_ago(20)
    announced(patient, SITE, at_us=start)
    claimed(patient)
    close_slots(patient, a_word(start, end))
    assert missed_slots(patient) == slots_of(SITE, start, end - 60 * SECOND)


def test_the_grace_outlasts_the_visibility_timeout(settings: Settings) -> None:
    """Unless it is set: a lost message is found by then, and what became of it is published."""
    assert settings.grace_seconds >= settings.visibility_timeout_seconds + 5 + 9


def test_nothing_is_closed_that_persist_has_not_passed(eager: Settings) -> None:
    """Results wait in Kafka: their slots are open until these are rows, and only the others are missed."""
    start, end = seconds_ago(200), seconds_ago(10)
    announced(eager, SITE, at_us=start)
    claimed(eager)
    expected = slots_of(SITE, start, end)
    send(eager, [result_of(slot) for slot in expected[::2]])
    assert close_slots(eager, a_word(start, end)) == 0
    with running(eager):
        wait_for_rows(eager, len(expected[::2]))
    assert close_slots(eager, a_word(start, end)) == len(expected[1::2])
    assert missed_slots(eager) == expected[1::2]


def test_a_loop_that_always_lags_still_passes(eager: Settings) -> None:
    """The end it has come to is the one that was asked for, though there is another by now."""
    start, end = seconds_ago(200), seconds_ago(10)
    announced(eager, SITE, at_us=start)
    claimed(eager)
    expected = slots_of(SITE, start, end)
    send(eager, [result_of(expected[0])])
    assert close_slots(eager, a_word(start, end)) == 0
    with running(eager):
        wait_for_rows(eager, 1)
    send(eager, [result_of(expected[1])])
    assert close_slots(eager, a_word(start, end)) > 0
    assert count(eager) == len(expected)


def test_nothing_is_closed_before_every_partition_has_a_place(eager: Settings) -> None:
    """A topic nobody reads, one with another partition, one made again: none is passed before it is read."""
    start, end = seconds_ago(100), seconds_ago(10)
    announced(eager, SITE, at_us=start)
    ensure_topic(eager)
    assert close_slots(eager, a_word(start, end)) == 0
    admin = AdminClient({"bootstrap.servers": eager.kafka_bootstrap_servers})
    claimed(eager)
    admin.create_partitions([NewPartitions(eager.topic, 3)])[eager.topic].result(10)
    assert close_slots(eager, a_word(start, end)) == 0
    admin.delete_topics([eager.topic])[eager.topic].result(10)
    wait_until(lambda: _topic_is_gone(eager), 10, "the topic is gone")
    ensure_topic(eager)
    assert close_slots(eager, a_word(start, end)) == 0
    claimed(eager)
    assert close_slots(eager, a_word(start, end)) == len(slots_of(SITE, start, end))


@pytest.mark.parametrize("asked", [True, False])
def test_what_a_topic_took_with_it_is_said_to_be_lost(eager: Settings, asked: bool) -> None:
    """From when all of it had been stored; what was sent before that, and is not there, is still unknown."""
    start, end = seconds_ago(200), seconds_ago(10)
    announced(eager, SITE, at_us=start)
    claimed(eager)
    stored_at = clock.from_microseconds(start)
    if asked:
        close_slots(eager, a_word(start, start))
        stored_at = clock.from_microseconds(seconds_ago(65))
        with psycopg.connect(eager.database_url) as connection:
            connection.execute("UPDATE wms.passed SET passed_at = %s", (stored_at,))
    admin = AdminClient({"bootstrap.servers": eager.kafka_bootstrap_servers})
    admin.delete_topics([eager.topic])[eager.topic].result(10)
    wait_until(lambda: _topic_is_gone(eager), 10, "the topic is gone")
    claimed(eager)
    close_slots(eager, a_word(start, end))
    found = missed(eager)
    assert set(found.values()) == ({"unknown", "lost_in_kafka"} if asked else {"lost_in_kafka"})
    ended = {at: at + timedelta(seconds=SITE.interval_seconds) for at in found}
    assert all((reason == "lost_in_kafka") == (ended[at] > stored_at) for at, reason in found.items())


def _topic_is_gone(settings: Settings) -> bool:
    try:
        close_slots(settings, a_word(0, 0))
    except TopicMissingError:
        return True
    return False


def test_no_slot_is_closed_that_began_before_its_site_was_known(eager: Settings) -> None:
    """Nor one that begins after it was taken out."""
    start, gone, end = seconds_ago(200), seconds_ago(100), seconds_ago(10)
    announced(eager, SITE, at_us=start)
    announced(eager, at_us=gone)
    claimed(eager)
    close_slots(eager, a_word(start - 1000 * SECOND, end))
    expected = slots_of(SITE, start, end)
    assert missed_slots(eager) == [slot for slot in expected if slot < gone]


def test_a_schedule_that_comes_late_is_closed_from_its_beginning(eager: Settings) -> None:
    """Others were closed beyond that already."""
    late, start, end = a_site("late"), seconds_ago(200), seconds_ago(10)
    announced(eager, SITE, at_us=start)
    claimed(eager)
    close_slots(eager, a_word(start, end))
    before = count(eager)
    announced(eager, SITE, late, at_us=start + 1)
    close_slots(eager, a_word(start, end))
    assert count(eager) == before + len(slots_of(late, start, end))


def test_a_later_result_takes_the_place_of_a_missed_row_and_is_counted(eager: Settings) -> None:
    """The row remembers what it had been missed for; the message again, and a late word of the miss, change nothing."""
    start, end = seconds_ago(100), seconds_ago(10)
    announced(eager, SITE, at_us=start)
    claimed(eager)
    close_slots(eager, a_word(start, end))
    slot = slots_of(SITE, start, end)[3]
    late = result_of(slot)
    miss = result_of(slot, outcome="missed", reason="expired", started_at=None)
    with running(eager) as loop:
        for batch in ([miss], [late], [late], [miss]):
            batches = loop.stats().batches
            send(eager, batch)
            wait_until(lambda seen=batches: loop.stats().batches > seen, 10, "the batch")
    at = clock.from_microseconds(slot).isoformat()
    row = query(eager, f"SELECT outcome, reason, missed_reason FROM wms.results WHERE scheduled_at = '{at}'")
    assert row == [("up", "ok", "unknown")]
    assert query(eager, "SELECT site_id, location, dropped FROM wms.redeliveries") == [(SITE.site_id, "local", 3)]


def test_closing_is_repeated_and_shared_without_harm(eager: Settings) -> None:
    """Several at once, and again: each slot is one row."""
    start, end = seconds_ago(200), seconds_ago(10)
    sites = [a_site(f"s{n}") for n in range(20)]
    announced(eager, *sites, at_us=start)
    claimed(eager)
    failures: list[BaseException] = []

    def close() -> None:
        try:
            close_slots(eager, a_word(start, end))
        except BaseException as error:  # noqa: BLE001 - handed to the test's own thread
            failures.append(error)

    threads = [threading.Thread(target=close) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert failures == []
    close_slots(eager, a_word(start, end))
    assert count(eager) == sum(len(slots_of(site, start, end)) for site in sites)


def test_with_sites_not_known_nothing_is_closed_of_their_time_and_beat_is_asked(eager: Settings) -> None:
    """A generation is on its way, or lost: up to its beginning the old schedule holds."""
    start, changed, end = seconds_ago(200), seconds_ago(100), seconds_ago(10)
    announced(eager, SITE, at_us=start)
    claimed(eager)
    close_slots(eager, a_word(start, end, generation=changed))
    assert missed_slots(eager) == slots_of(SITE, start, changed)
    with redis.Redis.from_url(eager.broker_url) as client:
        assert client.getdel(f"{eager.key_prefix}{ANNOUNCE_KEY}") == str(changed).encode()
        announced(eager, at_us=changed)
        close_slots(eager, a_word(start, end, generation=changed))
        assert client.get(f"{eager.key_prefix}{ANNOUNCE_KEY}") is None


def test_what_workers_could_not_publish_becomes_rows(eager: Settings) -> None:
    """
    With the workers' reason; only misses, each once, and what cannot be read stops nothing. Counted here is only what
    no worker has counted as missed.
    """
    start, end = seconds_ago(100), seconds_ago(10)
    announced(eager, SITE, at_us=start)
    claimed(eager)
    expected = slots_of(SITE, start, end)
    reasons = ["not_published"] * 3 + ["expired", "broker_down", "worker_too_old"]
    told = [
        result_of(slot, outcome="missed", reason=reason, started_at=None)
        for slot, reason in zip(expected, reasons, strict=False)
    ]
    with redis.Redis.from_url(eager.broker_url) as client:
        client.rpush(unpublished_key(eager), b"{", json_codec.encode(result_of(expected[7])))
        client.rpush(unpublished_key(eager), *[json_codec.encode(one) for one in [*told, *told]])
        before = own(metrics.MISSED)
        close_slots(eager, a_word(start, end))
        assert client.llen(unpublished_key(eager)) == 0
    name, counted = "wms_ledger_missed_total", own(metrics.MISSED)
    for reason, slots in (("not_published", 3), ("unknown", len(expected) - 6)):
        assert counted.sum(name, reason=reason) - before.sum(name, reason=reason) == slots
    assert counted.sum(name) - before.sum(name) == len(expected) - 3
    assert list(missed(eager).values()) == reasons + ["unknown"] * (len(expected) - 6)
    assert UNPUBLISHED_MAX * len(json_codec.encode(told[0])) < 32 * 1024**2


def test_where_the_message_still_is_says_why(eager: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    """While there is no worker: in the queue it expired; held by one that is gone, that one lost it."""
    monkeypatch.setattr(waiting, "BLOCK_MESSAGES", 2)
    start, end = seconds_ago(100), seconds_ago(10)
    announced(eager, SITE, at_us=start)
    claimed(eager)
    expected = slots_of(SITE, start, end)
    outbox = Outbox(app_for(eager), eager)
    entry = entries_at([SITE], start)[0]
    for slot in expected[:5]:
        entry.next_slot_us = entry.due_us = slot
        outbox.send(entry.message(LATENESS_US))
    outbox.close()
    with redis.Redis.from_url(eager.broker_url) as client:
        taken = client.rpop(f"{eager.key_prefix}probe")
        client.hset(f"{eager.key_prefix}unacked", "tag", json.dumps([json.loads(taken), "", "probe"]))
        client.hset(f"{eager.key_prefix}unacked", "other", "no message")
        client.rpush(f"{eager.key_prefix}probe", "no message")
    close_slots(eager, a_word(start, end))
    assert list(missed(eager).values()) == ["worker_lost"] + ["expired"] * 4 + ["unknown"] * (len(expected) - 5)


def test_how_far_a_dead_leader_came_is_known_from_its_marks(eager: Settings) -> None:
    """It was killed after its last word; its successor found the mark it left."""
    start, end = seconds_ago(200), seconds_ago(10)
    announced(eager, SITE, at_us=start)
    claimed(eager)
    expected = slots_of(SITE, start, end)
    close_slots(eager.model_copy(update={"close_grace_seconds": 3600}), a_word(start, expected[3]))
    successor = a_word(expected[9], end, before_us=expected[6], leadership=2)
    close_slots(eager, successor)
    reasons = list(missed(eager).values())
    assert reasons[:9] == ["unknown"] * 7 + ["scheduler_down"] + ["scheduler_down"]
    assert set(reasons[9:]) == {"unknown"}


@pytest.mark.parametrize("newest", MIGRATIONS)
def test_between_two_migrations_it_is_one_line(eager: Settings, empty_database_url: str, newest: str) -> None:
    """Beat speaks while a first start still migrates; its word and sites wait until the schema is whole."""
    half = eager.model_copy(update={"database_url": empty_database_url})
    migrate_up(half, newest, give_up_after_seconds=20)
    ensure_topic(half)
    begun = seconds_ago(60)
    outcomes = []
    for task in (lambda: close_slots(half, a_word(begun, seconds_ago(0))), lambda: announced(half, SITE, at_us=begun)):
        try:
            task()
        except MigrationError as error:
            outcomes.append(str(error))
    assert all("has no schema of ours, or an older one" in one for one in outcomes)
    assert bool(outcomes) is (newest < "0006.shards"), outcomes
