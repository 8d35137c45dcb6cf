"""Slots: each site once per interval, spread evenly, the same in every process."""

from __future__ import annotations

import statistics
from uuid import UUID

from hypothesis import given
from hypothesis import strategies as st

from wms_tasks.schedule.slots import Slots, microseconds
from wms_tasks.sites.record import site_id_for

intervals = st.integers(min_value=1_000_000, max_value=7 * 86_400 * 1_000_000)
instants = st.integers(min_value=0, max_value=4_102_444_800 * 1_000_000)
keys = st.uuids().map(lambda site_id: site_id.bytes)


@given(keys, intervals, instants)
def test_exactly_one_slot_begins_in_each_interval(key: bytes, interval_us: int, now_us: int) -> None:
    """The slot now running began less than an interval ago, and the next begins within one."""
    slots = Slots(key, interval_us)
    slot_us = slots.at(now_us)
    assert now_us - interval_us < slot_us <= now_us
    assert slots.after(slot_us) > now_us
    assert slots.at(slots.after(slot_us)) == slots.after(slot_us)
    assert slots.at(slots.after(slot_us) - 1) == slot_us


@given(keys, intervals, instants, instants)
def test_a_restart_moves_no_slot(key: bytes, interval_us: int, now_us: int, later_us: int) -> None:
    """Two schedulers, made at different times, lay their slots on the same grid."""
    first, second = Slots(key, interval_us), Slots(key, interval_us)
    assert (first.at(now_us) - second.at(later_us)) % interval_us == 0


@given(keys, intervals, instants, st.floats(min_value=0, max_value=0.9))
def test_jitter_stays_below_its_limit_and_is_the_same_for_everyone(
    key: bytes, interval_us: int, now_us: int, share: float
) -> None:
    """Due within the jitter after the slot, and equal for two schedulers."""
    jitter_us = int(interval_us * share)
    one, other = Slots(key, interval_us, jitter_us), Slots(key, interval_us, jitter_us)
    slot_us = one.at(now_us)
    assert 0 <= one.due(slot_us) - slot_us <= max(0, jitter_us - 1)
    assert one.due(slot_us) == other.due(slot_us)


@given(keys, intervals, instants, st.integers(min_value=1, max_value=10**10))
def test_a_slot_expires_at_the_next_one_or_when_it_is_too_late(
    key: bytes, interval_us: int, now_us: int, max_lateness_us: int
) -> None:
    """Never after the next slot's beginning, never later than the limit after it was due."""
    slots = Slots(key, interval_us, interval_us // 10)
    slot_us = slots.at(now_us)
    due_us = slots.due(slot_us)
    expires_us = slots.expires(slot_us, due_us, max_lateness_us)
    assert expires_us <= slots.after(slot_us)
    assert expires_us <= due_us + max_lateness_us
    assert expires_us in {slots.after(slot_us), due_us + max_lateness_us}


def test_ten_thousand_sites_spread_evenly() -> None:
    """Each second of the minute gets its share: chi-squared over 60 seconds stays below its 99.99 % quantile."""
    interval_us = microseconds(60)
    counts = [0] * 60
    for number in range(10_000):
        slots = Slots(site_id_for(f"site-{number}").bytes, interval_us)
        counts[slots.splay_us // 1_000_000] += 1
    expected = statistics.mean(counts)
    assert sum((count - expected) ** 2 / expected for count in counts) < 113.0


def test_jitter_differs_between_slots() -> None:
    """One site's slots are not all jittered alike."""
    slots = Slots(site_id_for("one").bytes, microseconds(60), microseconds(6))
    jitters = {
        slots.due(slot_us) - slot_us for slot_us in range(slots.splay_us, slots.splay_us + 50 * 60_000_000, 60_000_000)
    }
    assert len(jitters) > 45


def test_the_splay_is_what_it_was_in_every_release() -> None:
    """A changed hash would move every site's slots at an upgrade."""
    splay_us, jitter_us = 14758770, 2824519
    key = UUID("12345678-1234-5678-1234-567812345678").bytes
    assert Slots(key, 60_000_000).splay_us == splay_us
    assert Slots(key, 60_000_000, 6_000_000).due(splay_us) - splay_us == jitter_us
