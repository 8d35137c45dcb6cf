"""The timetable: what is sent when, over restarts, reloads and stops, without a clock or Redis."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wms_tasks.order import ProbeOrder
from wms_tasks.schedule.entries import Entry, HousekeepingEntry, SiteEntry
from wms_tasks.schedule.slots import microseconds
from wms_tasks.schedule.timetable import Timetable
from wms_tasks.sites.record import Site, site_id_for

NOW_US = 1_800_000_000_000_000
SECOND = 1_000_000


def site(
    name: str, *, interval_seconds: float = 60.0, jitter_seconds: float = 6.0, url: str = "http://a.example/"
) -> Site:
    """A site of that name."""
    return Site(
        site_id=site_id_for(name),
        name=name,
        url=url,
        interval_seconds=interval_seconds,
        jitter_seconds=jitter_seconds,
        timeout_seconds=1.0,
    )


@dataclass
class Beat:
    """A scheduler without clock and Redis: a timetable and what it sent."""

    sites: list[Site]
    now_us: int = NOW_US
    max_lateness_us: int = 300 * SECOND
    at_most: int = 3
    sent: list[ProbeOrder] = field(default_factory=list)
    known: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.table = Timetable(max_lateness_us=self.max_lateness_us)
        self.reload(self.sites)

    def reload(self, sites: list[Site]) -> tuple[int, frozenset[str]]:
        """The sites file was edited."""
        return self.table.change_to([SiteEntry(one) for one in sites], now_us=self.now_us)

    def _send(self, due: Sequence[Entry]) -> None:
        messages = [entry.message(self.max_lateness_us) for entry in due]
        self.sent += [ProbeOrder.from_message(message.kwargs["order"]) for message in messages]

    def tick(self) -> int:
        """Send what is due now; how many."""
        return sum(len(sent) for sent in self.table.take_due(self.now_us, self._send, at_most=self.at_most))

    def run(self, seconds: float, *, step_us: int = SECOND // 5) -> None:
        """Tick for a while."""
        end_us = self.now_us + microseconds(seconds)
        while self.now_us < end_us:
            self.tick()
            self.now_us += step_us

    def sent_until_us(self) -> int:
        """The mark that a scheduler writes down."""
        next_due_us = self.table.next_due_us()
        return self.now_us if next_due_us is None else min(self.now_us, next_due_us - 1)

    def restarted(self, *, after_seconds: float) -> Beat:
        """The next scheduler, with this one's marks."""
        self.known |= self.table.newly_sent
        other = Beat(self.sites, now_us=self.now_us + microseconds(after_seconds), sent=self.sent, known=self.known)
        other.table.resume(now_us=other.now_us, sent_until_us=self.sent_until_us(), known=frozenset(self.known))
        return other

    def slots_of(self, name: str) -> list[float]:
        """When the site's slots were, in seconds."""
        return [order.scheduled_at.timestamp() for order in self.sent if order.site.name == name]


def test_a_new_site_is_probed_in_the_slot_now_running() -> None:
    """Sent at the first tick, due then and not before, for the slot that has begun."""
    beat = Beat([site("new")])
    assert beat.tick() == 1
    (order,) = beat.sent
    now = NOW_US / SECOND
    assert now - 60 < order.scheduled_at.timestamp() <= now
    assert order.due_at.timestamp() >= now
    assert order.expires_at.timestamp() > now
    assert order.expires_at.timestamp() == pytest.approx(order.scheduled_at.timestamp() + 60)


def test_every_slot_is_sent_once() -> None:
    """Ten minutes of 20 sites: each slot once, at its due time, none left out."""
    beat = Beat([site(f"s{number}", interval_seconds=7 + number) for number in range(20)])
    beat.run(600)
    for number in range(20):
        slots = beat.slots_of(f"s{number}")
        gaps = {round(later - earlier, 3) for earlier, later in pairwise(slots)}
        assert gaps == {7.0 + number}


@given(st.lists(st.floats(min_value=0.0, max_value=40.0), min_size=1, max_size=6), st.floats(min_value=5, max_value=90))
def test_a_restart_neither_repeats_nor_skips_a_slot_that_can_still_be_probed(downs: list[float], run: float) -> None:
    """Whatever the scheduler's downtimes: no slot twice, and each slot that was running when it was up was sent."""
    beat = Beat([site(f"s{number}", interval_seconds=50, jitter_seconds=5) for number in range(3)])
    beat.run(run)
    for down in downs:
        beat = beat.restarted(after_seconds=down)
        beat.run(run)
    for number in range(3):
        slots = beat.slots_of(f"s{number}")
        assert len(slots) == len(set(slots))
        # Down for less than interval - jitter: no slot can have begun and ended unseen.
        assert {round(later - earlier) for earlier, later in pairwise(slots)} <= {50}


def test_after_a_long_stop_only_the_newest_slot_is_sent() -> None:
    """An hour down: one late probe a site, not sixty."""
    beat = Beat([site("one")])
    beat.run(120)
    before = len(beat.sent)
    beat = beat.restarted(after_seconds=3600)
    beat.tick()
    assert len(beat.sent) - before <= 1
    beat.run(61)
    assert beat.slots_of("one")[-1] > (beat.now_us / SECOND) - 120


def test_a_slot_too_late_to_begin_is_not_sent() -> None:
    """A site probed hourly, beat away until half an hour after it was due: the next slot is what is sent."""
    beat = Beat([site("hourly", interval_seconds=3600, jitter_seconds=0)])
    beat.run(1)
    slot = beat.slots_of("hourly")[0]
    beat.now_us = microseconds(slot + 3600 - 1)
    beat = beat.restarted(after_seconds=1800)
    assert beat.tick() == 0
    assert beat.table.lost_slots == 1
    beat.now_us = microseconds(slot + 7200 + 0.5)
    assert beat.tick() == 1
    assert beat.slots_of("hourly")[-1] == pytest.approx(slot + 7200)


def test_an_edit_keeps_the_place_of_unchanged_sites() -> None:
    """Their entries are the same objects, and no slot is repeated."""
    beat = Beat([site("stays"), site("changes"), site("goes")])
    beat.run(61)
    kept = beat.table.entries[site_id_for("stays").hex]
    changed, gone = beat.reload([site("stays"), site("changes", url="http://b.example/"), site("comes")])
    assert (changed, gone) == (2, frozenset({site_id_for("goes").hex}))
    assert beat.table.entries[site_id_for("stays").hex] is kept
    beat.run(120)
    for name in ("stays", "changes"):
        slots = beat.slots_of(name)
        assert {round(later - earlier) for earlier, later in pairwise(slots)} == {60}
    assert [order.site.url for order in beat.sent if order.site.name == "changes"][-1] == "http://b.example/"
    assert beat.slots_of("comes")


def test_a_site_that_is_gone_is_not_sent_any_more() -> None:
    """Its turn in the heap is dropped."""
    beat = Beat([site("goes"), site("stays")])
    beat.tick()
    sent = len(beat.slots_of("goes"))
    beat.reload([site("stays")])
    beat.run(180)
    assert len(beat.slots_of("goes")) == sent
    assert set(beat.table.by_name()) == {"stays"}


def test_what_the_broker_does_not_take_is_tried_again() -> None:
    """An error of the send leaves the entry due; the same slot goes out later."""
    beat = Beat([site("one")])

    def refuse(due: Sequence[Entry]) -> None:
        raise ConnectionError

    with pytest.raises(ConnectionError):
        list(beat.table.take_due(beat.now_us, refuse))
    beat.now_us += SECOND
    assert beat.tick() == 1


def test_of_a_batch_that_is_not_taken_none_counts_as_sent() -> None:
    """All of it goes out later, in the same order; while it is in hand, nothing is said to be sent of its time."""
    beat = Beat([site(f"s{number}") for number in range(10)], at_most=4)
    given: list[list[str]] = []
    until: list[int] = []

    def refuse_the_second(due: Sequence[Entry]) -> None:
        given.append([entry.name for entry in due])
        until.append(beat.sent_until_us())
        if len(given) == 2:
            raise ConnectionError

    with pytest.raises(ConnectionError):
        list(beat.table.take_due(beat.now_us, refuse_the_second, at_most=4))
    assert len(beat.table.newly_sent) == 4
    assert beat.sent_until_us() < beat.now_us
    assert sum(len(sent) for sent in beat.table.take_due(beat.now_us, refuse_the_second, at_most=4)) == 6
    assert [len(names) for names in given] == [4, 4, 4, 2]
    assert given[1] == given[2]
    assert max(until) < beat.now_us
    assert beat.sent_until_us() >= beat.now_us


def test_what_tells_of_others_goes_alone_and_after_them() -> None:
    """A closing task between two batches of sites."""
    beat = Beat([site(f"s{number}", jitter_seconds=0) for number in range(4)])
    closing = {"task": "t", "schedule": 60.0, "options": {"queue": "q", "expires": 9.0}}
    wanted = [*beat.table.entries.values(), HousekeepingEntry("close", closing)]
    beat.table.change_to(wanted, now_us=beat.now_us)
    beat.table.resume(now_us=beat.now_us, sent_until_us=beat.now_us, known=frozenset(beat.table.entries))
    given: list[list[str]] = []
    beat.now_us += 60 * SECOND
    order = [entry.name for entry in sorted(beat.table.entries.values(), key=lambda entry: entry.due_us)]
    list(beat.table.take_due(beat.now_us, lambda due: given.append([entry.name for entry in due]), at_most=10))
    assert [name for names in given for name in names] == order
    assert ["close"] in given
    assert len(given) <= 3


def test_a_shorter_interval_takes_effect_at_once() -> None:
    """From an hour to ten seconds: the next slot comes within ten seconds."""
    beat = Beat([site("one", interval_seconds=3600)])
    beat.tick()
    beat.reload([site("one", interval_seconds=10, jitter_seconds=0)])
    beat.run(21)
    assert len(beat.sent) >= 3
