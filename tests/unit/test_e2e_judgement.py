"""What tests/e2e asks of a system's rows: that each kind of fault is one."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.e2e.judgement import EPOCH, MICROSECOND, Row, Schedule, expected, faults
from wms_tasks.schedule.slots import Slots

BEGIN = datetime(2026, 11, 26, 12, tzinfo=UTC)
ID = UUID(int=7)
SCHEDULE = Schedule(
    site_id=ID,
    location="local",
    site_name="page",
    interval_us=10_000_000,
    splay_us=3_000_000,
    deadline_us=10_000_000,
    valid_from=BEGIN,
    valid_to=BEGIN + timedelta(seconds=40),
)


def row(second: float, outcome: str = "up") -> Row:
    """A row of the site's, so long after the beginning."""
    at = BEGIN + timedelta(seconds=second)
    return Row(site_id=ID, location="local", scheduled_at=at, outcome=outcome, reason="ok")


WHOLE = [row(3), row(13, "down"), row(23, "skipped"), row(33)]


@pytest.mark.parametrize(
    ("rows", "found"),
    [
        (WHOLE, []),
        (WHOLE[1:], ["page: no row of 2026-11-26T12:00:03+00:00"]),
        ([*WHOLE, row(13)], ["page: 2 rows of 2026-11-26T12:00:13+00:00"]),
        ([*WHOLE, row(14)], [f"{ID}: 2026-11-26T12:00:14+00:00 is no slot"]),
        ([*WHOLE, row(43)], [f"{ID}: 2026-11-26T12:00:43+00:00 is no slot"]),
        ([*WHOLE[:3], row(33, "missed")], ["page: 2026-11-26T12:00:33+00:00 was missed: ok"]),
    ],
    ids=["none", "no row", "two rows", "off the grid", "after the end", "missed"],
)
def test_faults(rows: list[Row], found: list[str]) -> None:
    slots = expected([SCHEDULE], BEGIN - timedelta(days=1), BEGIN + timedelta(days=1))

    assert len(slots) == 4
    assert faults(slots, rows) == found


@given(st.uuids(), st.integers(1_000_000, 86_400_000_000), st.integers(0, 10**15))
def test_slots_are_those_that_beat_sends(site: UUID, interval_us: int, since_us: int) -> None:
    """The same grid, computed a second way."""
    slots = Slots(site.bytes, interval_us)
    schedule = Schedule(
        site_id=site, location="local", site_name="", interval_us=interval_us, splay_us=slots.splay_us,
        deadline_us=interval_us, valid_from=EPOCH, valid_to=datetime.max.replace(tzinfo=UTC),
    )  # fmt: skip
    since = EPOCH + since_us * MICROSECOND
    (first,) = schedule.slots(since, since + schedule.interval)

    assert (first - EPOCH) // MICROSECOND == slots.at(since_us + interval_us - 1)
    assert schedule.newest_before(since + schedule.interval) == first
