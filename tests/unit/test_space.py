"""How long the disk will do, from the sizes of days."""

from __future__ import annotations

from datetime import date, timedelta

import pytest

from wms_tasks.commands.status import space_line
from wms_tasks.store.space import Forecast, Space, forecast

TODAY = date(2026, 11, 23)
GB = 10**9


def a_space(days: int, *, size: int = GB, free_bytes: int | None = None) -> Space:
    """So many whole days, today's part of one, and tomorrow's empty partition."""
    by_day = {TODAY - timedelta(days=n): size for n in range(1, days + 1)}
    return Space(
        by_day={**by_day, TODAY: size // 2, TODAY + timedelta(days=1): 40_000},
        database_bytes=days * size,
        free_bytes=free_bytes,
    )


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        (a_space(0, free_bytes=GB), Forecast(bytes_a_day=None, days_until_full=None, fits=False)),
        (a_space(3), Forecast(bytes_a_day=GB, days_until_full=None, fits=False)),
        (a_space(3, free_bytes=5 * GB), Forecast(bytes_a_day=GB, days_until_full=5.0, fits=False)),
        (a_space(3, free_bytes=29 * GB), Forecast(bytes_a_day=GB, days_until_full=None, fits=True)),
        (a_space(30, free_bytes=2 * GB), Forecast(bytes_a_day=GB, days_until_full=None, fits=True)),
        (a_space(30, free_bytes=GB // 2), Forecast(bytes_a_day=GB, days_until_full=0.5, fits=False)),
    ],
)
def test_the_rate_is_that_of_whole_days_and_ends_where_retention_does(found: Space, expected: Forecast) -> None:
    """Today's half and the partitions made ahead do not count."""
    assert forecast(found, TODAY, retention_days=30) == expected


@pytest.mark.parametrize(
    ("found", "said"),
    [
        (a_space(0), "a day's bytes are known after the first whole day (UTC)"),
        (a_space(3), "3.0 GB, 1.0 GB a day of results; its disk cannot be seen from here"),
        (a_space(3, size=2_500_000, free_bytes=5_000_000), "2.5 MB a day of results; 5.0 MB free, full in 2 days"),
        (a_space(3, free_bytes=29 * GB), "29.0 GB free, enough for the 30 days that are kept"),
    ],
)
def test_the_line_under_the_table(found: Space, said: str) -> None:
    """What is known, and what is not."""
    assert said in space_line(found, TODAY, 30)
