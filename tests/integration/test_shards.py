"""Two beats share the sites: each site is one's, the ledger hears both, and one that falls silent is not the other."""

from __future__ import annotations

import random
from collections.abc import Sequence
from pathlib import Path

import psycopg
import pytest
import redis

from tests.integration.test_beat import beat, names, orders, send_due, write_sites
from tests.integration.test_ledger_beat import keep_house, run
from tests.ledgers import SECOND, a_site, a_word, announced, chunks_of, claimed, entries_at, ranges, seconds_ago
from tests.persisting import query
from tests.waiting import wait_until
from wms_tasks import clock
from wms_tasks.ledger import close
from wms_tasks.ledger.close import close_slots, note
from wms_tasks.ledger.sites import take_in
from wms_tasks.names import ANNOUNCE_KEY
from wms_tasks.schedule.announce import Outage
from wms_tasks.settings import Settings
from wms_tasks.shard import ALL_SITES, Shard
from wms_tasks.sites.record import Site, site_id_for

FIRST, SECOND_SHARD = Shard(1, 2), Shard(2, 2)
SITES = [a_site(f"s{number}") for number in range(12)]
OF_FIRST = [site for site in SITES if FIRST.has(site.site_id)]
OF_SECOND = [site for site in SITES if SECOND_SHARD.has(site.site_id)]


@pytest.fixture
def shards(redis_url: str, tmp_path: Path) -> tuple[Settings, Settings]:
    """Two beats' settings on one Redis, with one sites file."""
    settings = Settings(env="test", broker_url=redis_url, sites=tmp_path / "sites.yaml", lease_seconds=2.0)
    write_sites(settings, *((site.name, "1h") for site in SITES))
    first, second = (settings.model_copy(update={"shard": str(one)}) for one in (FIRST, SECOND_SHARD))
    return first, second


@pytest.fixture
def eager(settings: Settings) -> Settings:
    """No grace: what is over is closed."""
    return settings.model_copy(update={"close_grace_seconds": 0})


@pytest.fixture
def store(database_url: str) -> Settings:
    """Postgres is all that is needed here."""
    return Settings(env="test", database_url=database_url)


def reasons_of(settings: Settings, sites: Sequence[Site]) -> list[str]:
    """Why slots of these sites were missed, oldest first."""
    rows = query(settings, "SELECT site_id, reason FROM wms.results WHERE outcome = 'missed' ORDER BY scheduled_at")
    return [str(reason) for site_id, reason in rows if site_id in {site.site_id for site in sites}]


def missed_until(settings: Settings, sites: Sequence[Site]) -> int:
    """The newest missed slot of these sites, in microseconds."""
    rows = query(settings, "SELECT site_id, scheduled_at FROM wms.results WHERE outcome = 'missed'")
    return max(clock.to_microseconds(at) for site_id, at in rows if site_id in {site.site_id for site in sites})


def names_of(sites: Sequence[Site]) -> list[str]:
    """Sorted."""
    return sorted(site.name for site in sites)


def silence(settings: Settings, shard: Shard, seconds: float) -> None:
    """Its beat was last heard of so long ago."""
    with psycopg.connect(settings.database_url) as connection:
        statement = "UPDATE wms.words SET heard_at = heard_at - %s * interval '1 second' WHERE shard = %s"
        connection.execute(statement, (seconds, str(shard)))


def test_every_site_is_sent_once_by_its_own_shard(shards: tuple[Settings, Settings]) -> None:
    """Both lead at the same time; a second beat of one shard stands by; a restart repeats nothing."""
    first, second = shards
    with beat(first) as one, beat(second) as two, beat(second) as standing_by:
        send_due(one)
        assert names(first) == names_of(OF_FIRST)
        send_due(two)
        send_due(standing_by)
        assert names(second) == names_of(OF_SECOND)
        assert one._lease.holds()
        assert two._lease.holds()
        assert not standing_by._lease.holds()
    for settings in shards:
        with beat(settings) as again:
            send_due(again)
    assert names(first) == []


def test_an_edit_moves_no_site_to_another_shard(shards: tuple[Settings, Settings]) -> None:
    """Each takes what is new of its own."""
    first, second = shards
    added = [a_site(f"new{number}") for number in range(8)]
    with beat(first) as one, beat(second) as two:
        send_due(one)
        send_due(two)
        orders(first)
        write_sites(first, *((site.name, "1h") for site in [*SITES, *added]))
        for scheduler, shard, settings in ((one, FIRST, first), (two, SECOND_SHARD, second)):
            own = names_of([site for site in added if shard.has(site.site_id)])
            wait_until(lambda s=scheduler, own=own: s.tick() >= 0 and set(own) <= set(s.schedule), 5, "the edit")
            send_due(scheduler)
            assert names(settings) == own


def test_what_both_announce_is_all_sites(settings: Settings, tmp_path: Path) -> None:
    """And no announcement ends what is the other's; each is asked for its own."""
    both = settings.model_copy(update={"sites": tmp_path / "sites.yaml", "lease_seconds": 2.0})
    write_sites(both, *((site.name, "1h") for site in SITES))
    first, second = (both.model_copy(update={"shard": str(one)}) for one in (FIRST, SECOND_SHARD))
    with beat(first) as one, beat(second) as two:
        run(one, 0.3)
        keep_house(first)
        assert sorted(name for name, _, ended in ranges(first) if ended is None) == names_of(OF_FIRST)
        run(two, 0.3)
        keep_house(second)
        assert sorted(name for name, _, ended in ranges(first) if ended is None) == names_of(SITES)
        write_sites(both, *((site.name, "1h") for site in SITES if site != OF_FIRST[0]))
        wait_until(lambda: one.tick() >= 0 and OF_FIRST[0].name not in one.schedule, 5, "the edit")
        run(one, 0.3)
        keep_house(first)
        gone = {OF_FIRST[0].name}
        assert {name for name, _, ended in ranges(first) if ended is None} == set(names_of(SITES)) - gone


def test_postgres_counts_shards_as_we_do(store: Settings) -> None:
    """Of ids whose first bit is set, too."""
    ids = [site_id_for(f"site-{number}") for number in range(300)]
    for count in (1, 2, 3, 7, 1024):
        rows = query(
            store, f"SELECT id, wms.shard_of(id::uuid, {count}) FROM unnest(ARRAY{[str(i) for i in ids]}) AS id"
        )
        assert {str(site_id): Shard(int(str(number)) + 1, count) for site_id, number in rows} == {
            str(site_id): next(Shard(n, count) for n in range(1, count + 1) if Shard(n, count).has(site_id))
            for site_id in ids
        }


@pytest.mark.parametrize("seed", range(4))
def test_shards_with_one_generation_do_not_meet(store: Settings, seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Announced at the very same microsecond, in chunks of one site, in any order: all of both."""
    monkeypatch.setattr("wms_tasks.schedule.announce.CHUNK_SITES", 1)
    at_us = seconds_ago(100)
    chunks = [
        *chunks_of(*OF_FIRST, at_us=at_us, shard=FIRST),
        *chunks_of(*OF_SECOND, at_us=at_us, shard=SECOND_SHARD),
    ]
    random.Random(seed).shuffle(chunks)
    for chunk in chunks:
        take_in(store, chunk)
    assert sorted(name for name, _, ended in ranges(store) if ended is None) == names_of(SITES)
    announced(store, at_us=at_us + SECOND, shard=SECOND_SHARD)
    assert sorted(name for name, _, ended in ranges(store) if ended is None) == names_of(OF_FIRST)


def test_other_shards_than_before_go_on_with_the_ranges(store: Settings) -> None:
    """From all sites in one to two, and to three."""
    start = seconds_ago(300)
    announced(store, *SITES, at_us=start)
    before = ranges(store)
    for count in (2, 3, 1):
        for number in range(1, count + 1):
            shard = Shard(number, count)
            own = [site for site in SITES if shard.has(site.site_id)]
            announced(store, *own, at_us=start + (count * 10 + number) * SECOND, shard=shard)
            assert ranges(store) == before


def both_known(settings: Settings, at_us: int) -> None:
    """The ledger has the sites of both shards, and Kafka holds nothing."""
    announced(settings, *OF_FIRST, at_us=at_us, shard=FIRST)
    announced(settings, *OF_SECOND, at_us=at_us, shard=SECOND_SHARD)
    claimed(settings)


def test_slots_are_closed_as_far_as_both_have_spoken(eager: Settings) -> None:
    """The one that is behind holds it up; what is sent by neither is neither's."""
    start, behind, end = seconds_ago(200), seconds_ago(100), seconds_ago(10)
    both_known(eager, start)
    note(eager, a_word(start, behind, leadership=2, shard=SECOND_SHARD))
    close_slots(eager, a_word(start, end, shard=FIRST))
    assert behind - 20 * SECOND < missed_until(eager, SITES) < behind
    close_slots(eager, a_word(start, end, leadership=2, shard=SECOND_SHARD))
    assert end - 20 * SECOND < missed_until(eager, OF_FIRST) < end
    assert end - 20 * SECOND < missed_until(eager, OF_SECOND) < end
    assert set(reasons_of(eager, SITES)) == {"unknown"}


def test_of_a_dead_shard_slots_are_the_schedulers_fault_and_of_the_other_not(eager: Settings) -> None:
    """Waited for at first; then its silence is the evidence, while the other goes on."""
    start, died, end = seconds_ago(300), seconds_ago(200), seconds_ago(10)
    both_known(eager, start)
    note(eager, a_word(start, died, leadership=2, shard=SECOND_SHARD))
    close_slots(eager, a_word(start, end, shard=FIRST))
    assert missed_until(eager, SITES) < died
    silence(eager, SECOND_SHARD, close.SILENT_SECONDS + 1)
    close_slots(eager, a_word(start, end, shard=FIRST))
    assert set(reasons_of(eager, OF_FIRST)) == {"unknown"}
    assert missed_until(eager, OF_SECOND) > end - 20 * SECOND
    of_dead = reasons_of(eager, OF_SECOND)
    assert set(of_dead) == {"unknown", "scheduler_down"}
    assert of_dead == sorted(of_dead, reverse=True)
    slots = sum(
        len(range(entry.slots.after(entry.slots.at(died)), end, entry.slots.interval_us))
        for entry in entries_at(OF_SECOND, start)
    )
    assert abs(of_dead.count("scheduler_down") - slots) <= 2 * len(OF_SECOND)


def test_an_outage_of_one_shard_is_not_the_others(eager: Settings) -> None:
    """Only it was cut off from Redis."""
    start, end = seconds_ago(200), seconds_ago(10)
    both_known(eager, start)
    outage = Outage(from_us=start, until_us=end, reason="broker_down")
    note(eager, a_word(start, end, outage, leadership=2, shard=SECOND_SHARD))
    close_slots(eager, a_word(start, end, shard=FIRST))
    assert set(reasons_of(eager, OF_FIRST)) == {"unknown"}
    assert set(reasons_of(eager, OF_SECOND)) == {"broker_down"}


def test_after_a_time_in_which_nobody_was_heard_all_are_waited_for_anew(eager: Settings) -> None:
    """Redis or Postgres was away, for all: whose word comes first does not make the others silent."""
    start, away, end = seconds_ago(900), seconds_ago(800), seconds_ago(10)
    both_known(eager, start)
    note(eager, a_word(start, away, leadership=2, shard=SECOND_SHARD))
    note(eager, a_word(start, away, shard=FIRST))
    for shard in (FIRST, SECOND_SHARD):
        silence(eager, shard, 700)
    close_slots(eager, a_word(start, end, shard=FIRST))
    assert missed_until(eager, SITES) < away
    told = Outage(from_us=away, until_us=end, reason="broker_down")
    close_slots(eager, a_word(start, end, told, leadership=2, shard=SECOND_SHARD))
    assert set(reasons_of(eager, OF_SECOND)) == {"unknown", "broker_down"}


def test_a_shard_whose_sites_are_not_known_holds_up_and_is_asked(eager: Settings) -> None:
    """Under its own key; the other is not asked."""
    start, changed, end = seconds_ago(200), seconds_ago(100), seconds_ago(10)
    both_known(eager, start)
    note(eager, a_word(start, end, leadership=2, shard=SECOND_SHARD, generation=changed))
    close_slots(eager, a_word(start, end, shard=FIRST, generation=start))
    assert missed_until(eager, SITES) < changed
    with redis.Redis.from_url(eager.broker_url) as client:
        assert client.get(f"{eager.key_prefix}{SECOND_SHARD.key(ANNOUNCE_KEY)}") == str(changed).encode()
        assert client.get(f"{eager.key_prefix}{FIRST.key(ANNOUNCE_KEY)}") is None
        assert client.get(f"{eager.key_prefix}{ANNOUNCE_KEY}") is None
    announced(eager, *OF_SECOND, at_us=changed, shard=SECOND_SHARD)
    close_slots(eager, a_word(start, end, shard=FIRST, generation=start))
    assert missed_until(eager, SITES) > end - 20 * SECOND


def test_from_one_beat_to_two_nothing_is_closed_for_another_reason(eager: Settings) -> None:
    """The one that had all is silent from then on; its word still tells of its time."""
    start, split, end = seconds_ago(300), seconds_ago(150), seconds_ago(10)
    announced(eager, *SITES, at_us=start)
    claimed(eager)
    close_slots(eager, a_word(start, split, shard=ALL_SITES))
    announced(eager, *OF_FIRST, at_us=split, shard=FIRST)
    announced(eager, *OF_SECOND, at_us=split + 1, shard=SECOND_SHARD)
    note(eager, a_word(split, end, leadership=2, generation=split, shard=FIRST))
    silence(eager, ALL_SITES, close.SILENT_SECONDS + 1)
    close_slots(eager, a_word(split, end, leadership=3, generation=split + 1, shard=SECOND_SHARD))
    assert missed_until(eager, SITES) > end - 20 * SECOND
    assert set(reasons_of(eager, SITES)) == {"unknown"}
