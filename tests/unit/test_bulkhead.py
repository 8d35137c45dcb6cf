"""The bulkhead: slow hosts share a part of the places, the others always find one."""

from __future__ import annotations

from contextlib import ExitStack

import pytest

from wms_tasks import clock
from wms_tasks.fill.bulkhead import KEPT_HOSTS, SLOW_SECONDS, Bulkhead


def ran(bulkhead: Bulkhead, host: str, seconds: float | None) -> bool:
    """Whether a run there had a place; its requests took so long."""
    with bulkhead.place(host) as place:
        if place is not None:
            place.asked_seconds = seconds
        return place is not None


def test_slow_hosts_get_half_of_the_places_and_the_others_any() -> None:
    """Three dead hosts, four places: two of them run, and whoever is quick runs as well."""
    bulkhead = Bulkhead(4)
    for host in "abc":
        ran(bulkhead, host, 10.0)
    with ExitStack() as running:
        assert [running.enter_context(bulkhead.place(host)) is not None for host in "abc"] == [True, True, False]
        assert running.enter_context(bulkhead.place("quick")) is not None
        assert not ran(bulkhead, "c", 10.0)
    assert ran(bulkhead, "c", 10.0)


def test_who_runs_for_long_has_a_slow_ones_place_before_it_is_known(monkeypatch: pytest.MonkeyPatch) -> None:
    """When a worker starts, all hosts of a dead provider are new to it; those it knows must wait then."""
    now = 100.0
    monkeypatch.setattr(clock, "monotonic", lambda: now)
    bulkhead = Bulkhead(4)
    ran(bulkhead, "slow", 10.0)
    with ExitStack() as running:
        for host in "ab":
            assert running.enter_context(bulkhead.place(host)) is not None
        now += SLOW_SECONDS - 0.01
        assert ran(bulkhead, "slow", 10.0)
        now += 0.01
        assert not ran(bulkhead, "slow", 10.0)
        assert running.enter_context(bulkhead.place("new")) is not None
    assert ran(bulkhead, "slow", 10.0)


def test_a_host_that_answers_quickly_again_is_no_longer_slow() -> None:
    """One quick answer is enough; a run that asked nothing tells nothing."""
    bulkhead = Bulkhead(2)
    ran(bulkhead, "a", SLOW_SECONDS)
    ran(bulkhead, "a", None)
    assert bulkhead.slow_hosts == 1
    ran(bulkhead, "a", SLOW_SECONDS - 0.01)
    assert bulkhead.slow_hosts == 0


def test_a_run_that_ends_by_an_error_gives_its_place_back() -> None:
    """Else errors would use the places up."""
    bulkhead = Bulkhead(2)
    ran(bulkhead, "a", 5.0)
    for _ in range(3):
        try:
            with bulkhead.place("a") as place:
                assert place is not None
                raise ConnectionError
        except ConnectionError:
            pass
    assert ran(bulkhead, "a", 5.0)


def test_one_probe_at_a_time_is_never_refused() -> None:
    """A prefork child or the solo pool: nothing can be kept free."""
    bulkhead = Bulkhead(1)
    assert all(ran(bulkhead, "a", 10.0) for _ in range(3))


def test_only_so_many_hosts_are_remembered() -> None:
    """Sites come and go; memory does not grow with them. Who was slow last is kept."""
    bulkhead = Bulkhead(2)
    for number in range(KEPT_HOSTS + 5):
        ran(bulkhead, f"h{number}", 10.0)
    assert bulkhead.slow_hosts == KEPT_HOSTS
    with bulkhead.place(f"h{KEPT_HOSTS}"):
        assert not ran(bulkhead, f"h{KEPT_HOSTS + 4}", 10.0)
        assert ran(bulkhead, "h0", 10.0)
