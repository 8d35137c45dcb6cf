"""What counts as growth, on made-up samples."""

from __future__ import annotations

import pytest

from tests.faults.memory import growth

MIB = 2**20


def samples(*sizes_mib: float, every_seconds: float = 10.0) -> list[tuple[float, int]]:
    """One every ten seconds, from the run's second 100 on."""
    return [(100.0 + n * every_seconds, int(size * MIB)) for n, size in enumerate(sizes_mib)]


def test_growth_is_from_the_end_of_the_warm_up_on() -> None:
    """What comes before counts for nothing; one peak moves no median."""
    found = growth(samples(1, 5, 100, 100, 100, 900, 110, 110, 110), 20.0, 30.0)
    assert found is not None
    assert (found.warm_bytes, found.last_bytes) == (100 * MIB, 110 * MIB)
    assert found.share == pytest.approx(0.1)


@pytest.mark.parametrize("sizes", [(), (1,), (1, 1, 2, 2, 2, 3, 3)])
def test_a_short_life_says_nothing(sizes: tuple[float, ...]) -> None:
    """Two windows must have passed since its warm-up."""
    assert growth(samples(*sizes), 20.0, 30.0) is None
