"""When rejects are no exceptions any more."""

from __future__ import annotations

import pytest

from wms_tasks.store.reject_limit import too_many


@pytest.mark.parametrize(
    ("offsets", "max_share", "trouble"),
    [
        ([], 0.2, None),
        (range(99), 0.2, None),
        (range(100), 0.2, "in a row, up to offset 99"),
        ([*range(99), *range(100, 199)], 0.2, None),
        (range(0, 1000, 5), 0.2, None),
        ([*range(0, 1000, 5), 996], 0.2, "201 of the last 1,000 messages up to offset 996"),
        (range(0, 100_000, 5), 0.2, None),
        ([*range(0, 1000, 5), *range(1001, 3000, 5)], 0.2, None),
        (range(0, 1000, 2), 0.4, "401 of the last 1,000"),
        (range(5000), 1.0, None),
    ],
)
def test_too_many(offsets: list[int], max_share: float, trouble: str | None) -> None:
    """By share of the last thousand offsets, and by a run; from a share of 1 on never."""
    found = too_many(list(offsets), max_share)
    assert found is None if trouble is None else trouble in str(found)
