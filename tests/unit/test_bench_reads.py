"""Which slots the table of the benchmark of reads is filled with."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import pairwise

from bench.on_reads import DAYS, FRESH, SITES, Week


def test_a_week_is_filled_in_days_without_a_gap() -> None:
    """Up to the last hours, which come after the vacuum."""
    week = Week(until=datetime(2026, 11, 23, 7, 30, tzinfo=UTC))
    parts = week.parts()
    assert parts[0][1] == week.until - timedelta(days=DAYS)
    assert parts[-1][2] == week.until - FRESH
    assert all(end == begin for (_, _, end), (_, begin, _) in pairwise(parts))
    assert all(day == begin.date() == (end - timedelta(microseconds=1)).date() for day, begin, end in parts)
    assert len({day for day, _, _ in parts}) == len(parts) == DAYS + 1


def test_it_ends_at_midnight_too() -> None:
    """No part without slots."""
    week = Week(until=datetime(2026, 11, 23, 2, tzinfo=UTC))
    assert all(begin < end for _, begin, end in week.parts())
    assert week.parts()[-1][2] == datetime(2026, 11, 23, tzinfo=UTC)


def test_there_are_twenty_million_rows() -> None:
    """As the figure says."""
    assert round(Week(until=datetime.now(UTC)).rows, -6) == 20_000_000
    assert SITES == 10_000
