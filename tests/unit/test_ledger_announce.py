"""What beat tells the ledger: whole, in parts, without secrets; and when it says what, without a clock or Redis."""

from __future__ import annotations

import json

from hypothesis import given
from hypothesis import strategies as st

from tests.ledgers import LATENESS_US, SECOND, a_site, chunks_of, entries_at
from wms_tasks.names import ANNOUNCE_SITES_TASK, CLOSE_SLOTS_TASK, HOUSEKEEPING_QUEUE
from wms_tasks.result import Reason
from wms_tasks.schedule import announce
from wms_tasks.schedule.announce import Chunk, Outage, Word
from wms_tasks.schedule.announcer import ASKED_AGAIN_AFTER_US, KEPT_OUTAGES, Announcer
from wms_tasks.schedule.entries import Message, SiteEntry
from wms_tasks.schedule.sent import Sent
from wms_tasks.sites.record import Auth, Expect, HeaderRule, TlsOptions, plain

NOW_US = 1_800_000_000 * SECOND


def an_announcer() -> Announcer:
    """One that was made a minute before now."""
    return Announcer(location="local", max_lateness_us=LATENESS_US, now_us=NOW_US - 60 * SECOND)


def say_all(announcer: Announcer, now_us: int = NOW_US) -> list[Message]:
    """Everything it wants to send at once."""
    said = []
    while (message := announcer.next_message(now_us)) is not None:
        said.append(message)
        announcer.sent()
    return said


@given(st.integers(0, 2_500))
def test_chunks_are_small_and_together_all_sites(count: int) -> None:
    """At most a thousand sites each, each site once, and no sites are an announcement too."""
    sites = [a_site(f"s{n}") for n in range(count)]
    chunks = chunks_of(*sites, at_us=NOW_US)
    assert [one.chunk for one in chunks] == list(range(chunks[0].chunks))
    assert all(len(one.sites) <= announce.CHUNK_SITES for one in chunks)
    assert [site.site_name for one in chunks for site in one.sites] == [site.name for site in sites]


def test_nothing_that_may_be_secret_is_announced() -> None:
    """Neither what a header or a body says nor what a url hides; the digest is still that of the whole spec."""
    site = a_site(
        url="https://user:hunter2@a.example/x?token=hunter3#hunter4",
        headers={"Authorization": "hunter5"},
        body="hunter6",
    )
    (chunk,) = chunks_of(site, at_us=NOW_US)
    assert "hunter" not in json.dumps(chunk.to_message())
    (told,) = chunk.sites
    assert told.spec["headers"] == {"Authorization": announce.REDACTED}
    assert told.spec["url"] == "https://a.example/x"
    assert told.spec_digest == site.digest()


def test_a_spec_of_every_field_is_announced_without_secrets() -> None:
    """References stay; what could be a secret itself does not, nor texts as long as a certificate."""
    site = a_site(
        body="password=hunter1",
        auth=Auth(username="wms", password="hunter2", bearer="${WMS_SECRET_BEARER}"),
        tls=TlsOptions(ca="-----BEGIN CERTIFICATE-----hunter3", key="${file:keys/a.pem}", server_name="b.example"),
        compression=("br",),
        max_redirects=0,
        ip="6",
        max_body_bytes=1,
        evidence="body",
        allow_networks=("10.0.0.0/8",),
        allow_ports=("8080",),
        headers={"X-Key": "hunter4 ${WMS_SECRET_X}"},
        method="POST",
        expect=Expect(headers=(HeaderRule(name="x", regexp="y"),), slow_seconds=2.0),
    )
    (chunk,) = chunks_of(site, at_us=NOW_US)
    (told,) = Chunk.from_message(json.loads(json.dumps(chunk.to_message()))).sites
    assert "hunter" not in json.dumps(told.spec)
    assert told.spec["body"] == announce.REDACTED
    assert told.spec["auth"] == {"username": "wms", "password": announce.REDACTED, "bearer": "${WMS_SECRET_BEARER}"}
    assert told.spec["tls"] == {"ca": announce.REDACTED, "key": "${file:keys/a.pem}", "server_name": "b.example"}
    assert told.spec["expect"] == {"headers": [{"name": "x", "regexp": "y"}], "slow_seconds": 2.0}
    beside = {"site_id", "name", "interval_seconds", "jitter_seconds"}
    assert told.spec.keys() == plain(site).keys() - beside
    assert told.spec_digest == site.digest()


def test_records_survive_the_message() -> None:
    """Through JSON, as Celery sends them."""
    (chunk,) = chunks_of(a_site(), at_us=NOW_US)
    assert Chunk.from_message(json.loads(json.dumps(chunk.to_message()))) == chunk
    announcer = an_announcer()
    announcer.redis_away()
    word = announcer.word(NOW_US)
    assert Word.from_message(json.loads(json.dumps(word.to_message()))) == word


def test_a_slot_past_its_deadline_is_not_expected() -> None:
    """A new site is probed at once, in a slot that began long ago: a row more than the schedule has."""
    entry = SiteEntry(a_site(interval_seconds=86_400.0))
    entry.resume(now_us=entry.slots.at(NOW_US) + LATENESS_US, sent=Sent())
    late = announce.announced(
        entry, generation=entry.slots.at(NOW_US) + LATENESS_US, location="local", max_lateness_us=LATENESS_US
    )
    assert late.first_slot_us == entry.slots.after(entry.first_slot_us)
    in_time = announce.announced(
        entry, generation=entry.slots.at(NOW_US) + LATENESS_US - 1, location="local", max_lateness_us=LATENESS_US
    )
    assert in_time.first_slot_us == entry.first_slot_us


def test_a_new_leader_says_so_and_announces_its_sites() -> None:
    """First its word, then the chunks, each until it is in the queue; then nothing more."""
    announcer = an_announcer()
    announcer.lead(NOW_US, before_us=NOW_US - 5 * SECOND)
    announcer.announce(entries_at([a_site(f"s{n}") for n in range(1_001)], NOW_US), NOW_US)
    assert announcer.next_message(NOW_US) == announcer.next_message(NOW_US)
    said = say_all(announcer)
    assert [one.task for one in said] == [CLOSE_SLOTS_TASK, ANNOUNCE_SITES_TASK, ANNOUNCE_SITES_TASK]
    assert {one.queue for one in said} == {HOUSEKEEPING_QUEUE}
    word = Word.from_message(said[0].kwargs["word"])
    assert (word.from_us, word.before_us) == (NOW_US, NOW_US - 5 * SECOND)
    assert {Chunk.from_message(one.kwargs["chunk"]).generation for one in said[1:]} == {word.generation} == {NOW_US}


def test_a_generation_is_always_newer_than_the_last() -> None:
    """Also where the clock went back."""
    announcer = an_announcer()
    announcer.announce([], NOW_US)
    announcer.announce([], NOW_US - SECOND)
    assert announcer.word(NOW_US).generation == NOW_US + 1


def test_what_is_asked_for_again_is_sent_again_once_a_minute() -> None:
    """The answer may still be in the queue."""
    announcer = an_announcer()
    entries = entries_at([a_site()], NOW_US)
    announcer.announce(entries, NOW_US)
    first = say_all(announcer)
    announcer.announce_again(entries, NOW_US + ASKED_AGAIN_AFTER_US - 1)
    assert say_all(announcer) == []
    announcer.announce_again(entries, NOW_US + ASKED_AGAIN_AFTER_US)
    assert [one.kwargs for one in say_all(announcer)] == [one.kwargs for one in first]


def test_an_outage_lasts_until_everything_due_is_dealt_with() -> None:
    """From the last round that left nothing unsent, over the rounds that failed and those that caught up."""
    announcer = an_announcer()
    announcer.round_done(NOW_US, caught_up=True, lost=False)
    announcer.redis_away()
    assert announcer.word(NOW_US + SECOND).outages == (
        Outage(from_us=NOW_US, until_us=NOW_US + SECOND, reason=Reason.BROKER_DOWN),
    )
    announcer.round_done(NOW_US + 2 * SECOND, caught_up=False, lost=True)
    announcer.round_done(NOW_US + 3 * SECOND, caught_up=True, lost=True)
    announcer.round_done(NOW_US + 4 * SECOND, caught_up=True, lost=False)
    over = Outage(from_us=NOW_US, until_us=NOW_US + 3 * SECOND, reason=Reason.BROKER_DOWN)
    assert announcer.word(NOW_US + 5 * SECOND).outages == (over,)


def test_slots_lost_with_redis_there_are_the_schedulers_fault() -> None:
    """A beat that was stopped, or too slow."""
    announcer = an_announcer()
    announcer.round_done(NOW_US, caught_up=True, lost=False)
    announcer.round_done(NOW_US + 90 * SECOND, caught_up=True, lost=True)
    stalled = Outage(from_us=NOW_US, until_us=NOW_US + 90 * SECOND, reason=Reason.SCHEDULER_DOWN)
    assert announcer.word(NOW_US + 91 * SECOND).outages == (stalled,)


def test_a_redis_that_lost_its_data_had_an_outage_since_it_was_last_seen() -> None:
    """Whatever waited in it is gone."""
    announcer = an_announcer()
    announcer.round_done(NOW_US, caught_up=True, lost=False)
    announcer.redis_emptied(NOW_US - 8 * SECOND)
    announcer.round_done(NOW_US + SECOND, caught_up=True, lost=False)
    (outage,) = announcer.word(NOW_US + SECOND).outages
    assert (outage.from_us, outage.until_us) == (NOW_US - 8 * SECOND, NOW_US + SECOND)
    assert outage.reason == Reason.BROKER_DOWN


def test_what_a_leader_lost_as_it_began_is_nobodys_outage() -> None:
    """Slots that ended before it led were sent by nobody; none after is concerned."""
    announcer = an_announcer()
    announcer.lead(NOW_US, before_us=0)
    announcer.round_done(NOW_US + SECOND, caught_up=True, lost=True)
    (outage,) = announcer.word(NOW_US + SECOND).outages
    assert outage.from_us == NOW_US


def test_a_word_does_not_grow_for_ever() -> None:
    """It repeats the newest outages only."""
    announcer = an_announcer()
    for n in range(KEPT_OUTAGES + 10):
        announcer.redis_away()
        announcer.round_done(NOW_US + n * SECOND, caught_up=True, lost=False)
    outages = announcer.word(NOW_US).outages
    assert len(outages) == KEPT_OUTAGES
    assert outages[-1].until_us == NOW_US + (KEPT_OUTAGES + 9) * SECOND
