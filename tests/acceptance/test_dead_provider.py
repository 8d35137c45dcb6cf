"""A dead provider does not touch the rest; bench/dead_provider.py is the same at full size."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench.dead_provider import measure
from bench.dead_sites import Load
from wms_tasks.settings import Settings

# All times a tenth of the usual: a slot each 6 s, 1.2 s until a dead site is given up, one retry. Twenty dead sites
# then need eight threads all the time. The first slots, of sites that nobody knows to be slow, are not looked at.
LOAD = Load(
    sites=200, dead_share=0.1, interval_seconds=6.0, timeout_seconds=1.2, retries=1, warm_up_seconds=6.0, seconds=6.0
)
THREADS = 9


@pytest.mark.slow
def test_a_dead_provider_does_not_touch_the_rest(settings: Settings, tmp_path: Path) -> None:
    """A tenth of the sites never answers, and needs nearly all threads: the others are all up, and in time."""
    seen = measure(settings.model_copy(update={"worker_concurrency": THREADS}), LOAD, tmp_path)
    assert seen.up == seen.expected == 180
    assert seen.late(0.99) <= 1.0
    assert seen.twice == 0
    assert sum(count for outcome, count in seen.dead_outcomes.items() if outcome.startswith("down/")) > 0
