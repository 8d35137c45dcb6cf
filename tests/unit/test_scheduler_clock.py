"""What a step of the wall clock does to the schedule: no beat falls silent, and little is sent twice."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pytest
import time_machine
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.test_scheduler_timetable import SECOND, Beat, site
from wms_tasks.schedule.sent import SKEW_US, Sent, believed
from wms_tasks.schedule.slots import microseconds
from wms_tasks.schedule.wall_clock import WallClock

HOUR = 3600.0
START = datetime(2027, 1, 15, 8, tzinfo=UTC)


def step(beat: Beat, seconds: float) -> None:
    """The wall clock is set."""
    before_us = beat.now_us
    beat.now_us += microseconds(seconds)
    beat.table.clock_stepped(before_us=before_us, now_us=beat.now_us)


def sent_since(beat: Beat, count: int) -> list[tuple[str, float]]:
    """Name and slot of what was sent after the first ``count``."""
    return [(order.site.name, order.scheduled_at.timestamp()) for order in beat.sent[count:]]


@given(st.floats(min_value=-2 * HOUR, max_value=2 * HOUR), st.floats(min_value=0, max_value=300))
def test_after_a_step_every_site_goes_on_within_two_intervals(by_seconds: float, before_seconds: float) -> None:
    """Forward or back, by little or much: a slot for each site, and no burst of those the clock jumped over."""
    beat = Beat([site(f"s{number}", interval_seconds=50, jitter_seconds=5) for number in range(4)])
    beat.run(before_seconds)
    step(beat, by_seconds)
    before = len(beat.sent)
    beat.run(100)
    for number in range(4):
        slots = [slot for name, slot in sent_since(beat, before) if name == f"s{number}"]
        assert 1 <= len(slots) <= 3
        assert all(round(later - earlier) == 50 for earlier, later in pairwise(slots))
    assert beat.table.lost_slots == 0


@pytest.mark.parametrize("by_seconds", [HOUR, -HOUR])
def test_a_clock_that_steps_and_comes_back_repeats_no_slot_of_a_long_interval(by_seconds: float) -> None:
    """A site probed each six hours was sent before; the clock's excursion of 20 s is no reason to ask it again."""
    beat = Beat([site("rare", interval_seconds=6 * HOUR), site("often", interval_seconds=5, jitter_seconds=1)])
    beat.run(60)
    rare = beat.slots_of("rare")
    step(beat, by_seconds)
    beat.run(20)
    step(beat, -by_seconds)
    before = len(beat.sent)
    beat.run(20)
    slots = beat.slots_of("rare")
    assert len(slots) == len(set(slots))
    assert set(rare) <= set(slots)
    assert len([name for name, _ in sent_since(beat, before) if name == "often"]) >= 3


def test_what_fell_due_while_the_clock_was_ahead_is_sent_when_it_is_back() -> None:
    """It was not sent under the wrong time, so it is now, once."""
    beat = Beat([site("one", interval_seconds=60, jitter_seconds=0)])
    beat.run(1)
    last = beat.slots_of("one")[-1]
    beat.now_us = microseconds(last + 50)
    step(beat, HOUR + 5)
    beat.now_us += 15 * SECOND
    step(beat, -HOUR - 5)
    assert beat.tick() == 1
    assert beat.slots_of("one")[-1] == pytest.approx(last + 60)
    assert beat.tick() == 0


@pytest.mark.parametrize("by_seconds", [HOUR, -HOUR])
def test_what_nobody_sent_while_the_clock_was_wrong_is_nobodys(by_seconds: float) -> None:
    """Of the true time, all was sent until the clock left it, and not until it came back."""
    beat = Beat([site("often", interval_seconds=5, jitter_seconds=0)])
    beat.run(60)
    left_us, beat.now_us = beat.now_us, beat.now_us + microseconds(by_seconds)
    there = beat.table.clock_stepped(before_us=left_us, now_us=beat.now_us)
    assert there == pytest.approx(left_us if by_seconds > 0 else beat.now_us, abs=5 * SECOND)
    beat.run(20)
    back_us, beat.now_us = beat.now_us, left_us + 20 * SECOND
    back = beat.table.clock_stepped(before_us=back_us, now_us=beat.now_us)
    assert back == pytest.approx(left_us, abs=5 * SECOND)


def test_a_step_does_not_change_since_when_a_site_is_expected() -> None:
    """The ledger was told of its first slot; only a clock set back makes that earlier."""
    beat = Beat([site("one")])
    (entry,) = beat.table.entries.values()
    first_us = entry.first_slot_us
    step(beat, HOUR)
    assert entry.first_slot_us == first_us
    step(beat, -2 * HOUR)
    assert entry.first_slot_us < first_us


def test_only_marks_of_the_past_are_believed() -> None:
    """A beat whose clock was an hour ahead must not silence its successor; one a second ahead is told the truth."""
    now_us = 10 * SECOND
    assert believed(now_us, now_us=now_us) == now_us
    assert believed(now_us + SKEW_US, now_us=now_us) == now_us + SKEW_US
    assert believed(now_us + SKEW_US + 1, now_us=now_us) == 0


def test_only_the_latest_stretches_are_kept() -> None:
    """A clock that steps each minute for years costs no memory."""
    sent = Sent()
    for number in range(100):
        sent = sent.and_from(number * 10, number * 10 + 5)
    assert sent.covers(995)
    assert not sent.covers(996)
    assert not sent.covers(5)


def test_the_wall_clock_that_goes_with_the_monotonic_one_makes_no_step() -> None:
    """Looked at often, on a real machine."""
    wall_clock = WallClock()
    assert {wall_clock.now().before_us for _ in range(1000)} == {None}


@pytest.mark.parametrize("by_seconds", [HOUR, -HOUR, 2.0, -2.0])
def test_a_step_is_seen_once(by_seconds: float) -> None:
    """With the time it was before; the look after that sees none."""
    with time_machine.travel(START, tick=False) as traveller:
        wall_clock = WallClock()
        before_us = wall_clock.now().us
        traveller.shift(timedelta(seconds=by_seconds))
        stepped = wall_clock.now()
        assert stepped.before_us == before_us
        assert stepped.us == before_us + microseconds(by_seconds)
        assert wall_clock.now().before_us is None


def test_what_ntp_slews_is_no_step() -> None:
    """A second is as late as a slot may be anyhow."""
    with time_machine.travel(START, tick=False) as traveller:
        wall_clock = WallClock()
        traveller.shift(timedelta(seconds=1))
        assert wall_clock.now().before_us is None
