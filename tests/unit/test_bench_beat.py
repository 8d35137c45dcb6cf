"""What the figures of beat are made of."""

from __future__ import annotations

import math
from datetime import timedelta
from pathlib import Path

import pytest

from bench.drain import Came, lateness_seconds, quantile
from bench.on_beat import CHANGED_SHARE, write_sites
from tests.ledgers import LATENESS_US, a_site, entries_at, now_us
from wms_tasks import clock
from wms_tasks.app import app_for
from wms_tasks.schedule.wire import Wire
from wms_tasks.settings import Settings
from wms_tasks.sites.file import load_sites


@pytest.mark.parametrize(("share", "expected"), [(0.0, 1), (0.5, 50), (0.99, 99), (1.0, 100)])
def test_a_quantile_is_one_of_the_values(share: float, expected: float) -> None:
    """In whatever order they come; of none there is none."""
    assert quantile(range(100, 0, -1), share) == expected
    assert math.isnan(quantile([], share))


def test_lateness_counts_from_when_the_message_was_due() -> None:
    """As it is written in the order."""
    (entry,) = entries_at([a_site()], now_us())
    message = entry.message(LATENESS_US)
    raw = Wire(app_for(Settings(env="test"))).encoded(message, clock.utcnow())
    came_at = clock.from_microseconds(entry.due_us) + timedelta(seconds=1.25)
    assert lateness_seconds(Came(came_at.timestamp(), raw)) == pytest.approx(1.25, abs=0.001)


def test_another_edition_changes_one_site_in_a_hundred(tmp_path: Path) -> None:
    """All of them are valid; the others are as they were."""
    path = tmp_path / "sites.yaml"
    write_sites(path, 1_000)
    first = load_sites(path)
    write_sites(path, 1_000, edition=3)
    second = load_sites(path)
    assert len(first) == len(second) == 1_000
    assert sum(one != other for one, other in zip(first, second, strict=True)) == 1_000 // CHANGED_SHARE
    assert [one.site_id for one in first] == [one.site_id for one in second]
