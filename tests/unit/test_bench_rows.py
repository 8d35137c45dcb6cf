"""What the long runs of `make bench` compute: quantiles, the slots that a dead provider's neighbours have."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from bench.dead_sites import Load, expected, is_dead, write_sites
from bench.rows import histogram_quantile, quantile
from wms_tasks.schedule.entries import SiteEntry
from wms_tasks.sites.file import load_sites


@pytest.mark.parametrize(("share", "value"), [(0.5, 2.0), (0.51, 3.0), (0.99, 4.0), (1.0, 4.0)])
def test_a_quantile_is_a_value_that_was_there(share: float, value: float) -> None:
    """The least that this share does not exceed."""
    assert quantile((1.0, 2.0, 3.0, 4.0), share) == value


def test_of_nothing_every_quantile_is_infinite() -> None:
    """No row is no good row: it meets no bound."""
    assert quantile((), 0.5) == math.inf
    assert histogram_quantile([(0.1, 0.0), (math.inf, 0.0)], 0.5) == math.inf


@pytest.mark.parametrize(("share", "edge"), [(0.5, 0.1), (0.9, 0.1), (0.91, 0.5), (0.99, 0.5), (0.999, math.inf)])
def test_a_histogram_gives_the_upper_edge(share: float, edge: float) -> None:
    """Which is never better than it was."""
    assert histogram_quantile([(0.1, 900.0), (0.5, 990.0), (math.inf, 1000.0)], share) == edge


def test_the_slots_of_living_sites_are_those_that_beat_sends(tmp_path: Path) -> None:
    """Also where the time looked at is no whole interval; a tenth of the sites is dead, among the others."""
    load = Load(sites=200, interval_seconds=60.0)
    since, until = 1_800_000_007.25, 1_800_000_031.5
    write_sites(tmp_path / "sites.yaml", load, 1, 2)
    entries = [SiteEntry(site) for site in load_sites(tmp_path / "sites.yaml") if site.name.startswith("living")]
    begin, end = round(since * 1e6), round(until * 1e6)
    sent = sum(1 for entry in entries if entry.slots.at(end - 1) >= begin)
    assert expected(load, since, until) == sent
    assert expected(load, since, since + 120) == 2 * len(entries)
    assert sum(is_dead(number, load) for number in range(load.sites)) == load.dead == 20
