"""Beat sends many slots with one round trip: none is lost where it breaks, and none is sent without the lease."""

from __future__ import annotations

from collections.abc import Callable
from itertools import count, islice
from pathlib import Path

import pytest
import redis

from tests.integration.test_beat import Gate, beat, orders, send_due, write_sites
from tests.ledgers import a_site, entries_at, now_us
from tests.waiting import wait_until
from wms_tasks.schedule import outbox as outbox_module
from wms_tasks.schedule import scheduler as scheduler_module
from wms_tasks.schedule.scheduler import SiteScheduler
from wms_tasks.settings import Settings

SITES = 300
# Longer than a test may take.
_QUIET_US = 150_000_000


def _no_slot_begins_soon(name: str, at_us: int) -> bool:
    """Of 300 sites one begins a slot every 12 s: a second slot that is due is no second try of the first."""
    slots = entries_at([a_site(name, interval_seconds=3600.0)], at_us)[0].slots
    return slots.after(slots.at(at_us)) - at_us > _QUIET_US


@pytest.fixture
def every() -> set[str]:
    """The names of sites of which each has just one slot while a test lasts."""
    at_us = now_us()
    return set(islice((name for n in count() if _no_slot_begins_soon(name := f"s{n}", at_us)), SITES))


@pytest.fixture
def many(redis_url: str, tmp_path: Path, every: set[str]) -> Settings:
    """Some sites, all of them new: due at once."""
    settings = Settings(env="test", broker_url=redis_url, sites=tmp_path / "sites.yaml", lease_seconds=2.0)
    write_sites(settings, *((name, "1h") for name in sorted(every)))
    return settings


def after_each_send(scheduler: SiteScheduler, then: Callable[[], None], monkeypatch: pytest.MonkeyPatch) -> None:
    """Something happens once a batch is in Redis."""
    send = scheduler._outbox.send

    def sending(*messages: object) -> None:
        send(*messages)  # type: ignore[arg-type]
        then()

    monkeypatch.setattr(scheduler._outbox, "send", sending)


@pytest.mark.parametrize("kilobytes", [1, 60, 150, 300])
def test_a_line_that_breaks_within_a_batch_loses_no_slot(
    many: Settings, every: set[str], kilobytes: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever had arrived: what was not confirmed is sent again, as the very same slots."""
    monkeypatch.setattr(scheduler_module, "_BATCH_MESSAGES", 100)
    monkeypatch.setattr(outbox_module, "_PART_BYTES", 40_000)
    gate = Gate(many.broker_url)
    with beat(many.model_copy(update={"broker_url": gate.url})) as scheduler:
        gate.shut_after = kilobytes * 1000
        wait_until(lambda: scheduler.tick() >= 0 and scheduler._failures > 0, 5, "the break")
        gate.shut_after = None
        gate.reopen()
        wait_until(lambda: scheduler.tick() >= 0 and scheduler._failures == 0, 5, "Redis again")
        send_due(scheduler)
    gate.close()
    came = orders(many)
    assert {order.site.name for order in came} == every
    # One slot each, however often it came; only the batch in hand came twice.
    assert len({(order.site.name, order.scheduled_at) for order in came}) == SITES
    assert len(came) - SITES <= 100


def test_a_lease_that_ends_between_two_batches_stops_the_next(
    many: Settings, every: set[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its mark stays before what it did not send, and the next leader sends just that."""
    monkeypatch.setattr(scheduler_module, "_BATCH_MESSAGES", 100)
    with beat(many) as sleeper:

        def oversleep() -> None:
            sleeper._lease._asked_at -= 10

        after_each_send(sleeper, oversleep, monkeypatch)
        sleeper.tick()
        first = [order.site.name for order in orders(many)]
        assert len(first) == 100
        with redis.Redis.from_url(many.broker_url) as client:
            client.set(f"{many.key_prefix}beat:lease", "another's token", px=1000)
        sleeper.tick()
        assert orders(many) == []
    with beat(many) as successor:
        wait_until(lambda: successor.tick() >= 0 and successor._leading, 5, "the lease")
        send_due(successor)
        second = [order.site.name for order in orders(many)]
    assert set(first) | set(second) == every


def test_what_is_due_before_housekeeping_goes_before_it(
    many: Settings, every: set[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The word that a closing task carries says until when all was sent: a batch in hand is not, yet."""
    monkeypatch.setattr(scheduler_module, "_BATCH_MESSAGES", 7)
    with beat(many) as scheduler:
        promised: list[int] = []
        tell = scheduler._announcer.word_kwargs

        def telling(sent_until_us: int) -> dict[str, object]:
            due = [e.due_us for e in scheduler._timetable.entries.values() if not e.seen and e.name in every]
            assert all(sent_until_us < due_us for due_us in due)
            promised.append(sent_until_us)
            return tell(sent_until_us)

        monkeypatch.setattr(scheduler._announcer, "word_kwargs", telling)
        send_due(scheduler)
        assert promised
    assert {order.site.name for order in orders(many)} == every
