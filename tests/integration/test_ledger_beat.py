"""Beat's side of the ledger on a real Redis: what it announces, and the outages it tells of."""

from __future__ import annotations

import base64
import json
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import redis

from tests.integration.test_beat import Gate, beat, write_sites
from tests.ledgers import claimed, missed
from tests.samples import own
from tests.waiting import wait_until
from wms_tasks import clock, metrics
from wms_tasks.ledger.close import close_slots, note
from wms_tasks.ledger.sites import take_in
from wms_tasks.names import ANNOUNCE_KEY, ANNOUNCE_SITES_TASK, CLOSE_SLOTS_TASK
from wms_tasks.schedule import announcer
from wms_tasks.schedule.announce import Chunk, Word
from wms_tasks.schedule.scheduler import SiteScheduler
from wms_tasks.settings import Settings


@pytest.fixture
def whole(settings: Settings, tmp_path: Path) -> Settings:
    """Three services, a sites file of this test's own, a short lease, no grace."""
    changed = {"sites": tmp_path / "sites.yaml", "lease_seconds": 2.0, "close_grace_seconds": 0}
    mine = settings.model_copy(update=changed)
    write_sites(mine, ("a", "1s"), ("b", "1s"))
    mine.sites.write_text(mine.sites.read_text().replace("interval: 1s", "interval: 1s\n    timeout: 500ms"))
    return mine


def said(settings: Settings) -> list[tuple[str, dict[str, Any]]]:
    """What waits for housekeeping, taken out: task and arguments, oldest first."""
    with redis.Redis.from_url(settings.broker_url) as client:
        found = []
        while (raw := client.rpop(f"{settings.key_prefix}housekeeping")) is not None:
            message = json.loads(raw)
            found.append((message["headers"]["task"], json.loads(base64.b64decode(message["body"]))[1]))
        return found


def keep_house(settings: Settings) -> list[Word]:
    """Do what the tasks do, but close nothing; the words."""
    words = []
    for task, kwargs in said(settings):
        if task == ANNOUNCE_SITES_TASK:
            take_in(settings, Chunk.from_message(kwargs["chunk"]))
        if task == CLOSE_SLOTS_TASK:
            words.append(Word.from_message(kwargs["word"]))
            note(settings, words[-1])
    return words


def run(scheduler: SiteScheduler, seconds: float) -> None:
    """Let it work for so long, at its own pace."""
    until = clock.monotonic() + seconds

    def over() -> bool:
        scheduler.tick()
        return clock.monotonic() >= until

    wait_until(over, seconds + 5, "the time")


def test_slots_that_redis_was_away_for_are_closed_as_broker_down(whole: Settings, redis_url: str) -> None:
    """Beat writes down since when it could send nothing, and until when it had caught up; the others it sent."""
    gate = Gate(redis_url)
    claimed(whole)
    before_lost = own(metrics.SLOTS_LOST).sum("wms_beat_slots_lost_total")
    with beat(whole.model_copy(update={"broker_url": gate.url})) as scheduler:
        run(scheduler, 1.5)
        gate.shut()
        shut_at = clock.utcnow()
        run(scheduler, 3.5)
        gate.reopen()
        reopened_at = clock.utcnow()
        wait_until(lambda: scheduler.tick() >= 0 and scheduler._failures == 0, 10, "back")
        run(scheduler, 1.5)
        word = scheduler._announcer.word(clock.to_microseconds(clock.utcnow()))
    gate.close()
    keep_house(whole)
    close_slots(whole, word)
    reasons = missed(whole)
    # One that ended later was sent after all.
    away = [reason for at, reason in reasons.items() if shut_at < at < reopened_at - timedelta(seconds=1)]
    assert set(away) == {"broker_down"}
    assert own(metrics.SLOTS_LOST).sum("wms_beat_slots_lost_total") - before_lost >= len(away)
    # What was sent is in the queue: there is no worker.
    before = {reason for at, reason in reasons.items() if at < shut_at - timedelta(seconds=0.2)}
    after = {reason for at, reason in reasons.items() if at > reopened_at}
    assert before == {"expired"} >= after


def test_a_redis_that_lost_its_data_is_an_outage(whole: Settings, redis_url: str) -> None:
    """Whatever was sent and not yet taken is gone; beat goes on, and says so."""
    with beat(whole) as scheduler, redis.Redis.from_url(redis_url) as client:
        run(scheduler, 0.7)
        emptied_at = clock.to_microseconds(clock.utcnow())
        client.flushall()
        run(scheduler, 1.2)
        word = scheduler._announcer.word(clock.to_microseconds(clock.utcnow()))
    (outage,) = word.outages
    assert outage.from_us < emptied_at < outage.until_us
    assert outage.reason == "broker_down"


def test_the_ledger_gets_what_it_asks_for(whole: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    """The announcement was lost with Redis' data: the closing task asks, and beat announces the same sites again."""
    monkeypatch.setattr(announcer, "ASKED_AGAIN_AFTER_US", 0)
    with beat(whole) as scheduler:
        run(scheduler, 0.5)
        (lost,) = (kwargs["chunk"] for task, kwargs in said(whole) if task == ANNOUNCE_SITES_TASK)
        note(whole, scheduler._announcer.word(clock.to_microseconds(clock.utcnow())))
        with redis.Redis.from_url(whole.broker_url) as client:
            assert client.exists(f"{whole.key_prefix}{ANNOUNCE_KEY}")
            run(scheduler, 1.0)
            assert not client.exists(f"{whole.key_prefix}{ANNOUNCE_KEY}")
        (again,) = (kwargs["chunk"] for task, kwargs in said(whole) if task == ANNOUNCE_SITES_TASK)
    assert again == lost


def test_a_successor_begins_a_leadership_of_its_own_and_tells_how_far_the_one_before_came(whole: Settings) -> None:
    """By the marks it finds; a reload is announced by whoever leads."""
    with beat(whole) as first:
        run(first, 0.6)
    (*_, old) = keep_house(whole)
    with beat(whole) as second:
        run(second, 0.3)
        new = keep_house(whole)[0]
        write_sites(whole, ("c", "1h"))
        wait_until(lambda: second.tick() >= 0 and "c" in second.schedule, 5, "the edit")
        run(second, 0.3)
        chunks = [kwargs["chunk"] for task, kwargs in said(whole) if task == ANNOUNCE_SITES_TASK]
    assert new.leadership != old.leadership
    assert old.until_us <= new.before_us <= new.from_us
    assert [site["site_name"] for site in chunks[-1]["sites"]] == ["c"]
    assert chunks[-1]["generation"] > new.generation > old.generation
