"""
The short subset of `make faults`: one system, one fault of each kind with a seed, the judge after each.

The faults after which no slot may stay open come first; see docs/reliability.md for all of them.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.faults.lab import SLACK, Lab
from tests.faults.run import QUICK_SECONDS, Outcome, prepared, repeat, settle
from tests.faults.scenario import Scenario
from tests.faults.scenarios import SCENARIOS
from tests.faults.stage import Stage, on_stage

SEED = 1
NAMES = (
    "Postgres immediate stop",
    "persist killed mid-COPY",
    "worker killed between produce and report",
    "Redis restart with its data",
    "Kafka restart",
)
CHOSEN = [one for name in NAMES for one in SCENARIOS if one.name == name]


@pytest.fixture(scope="module")
def stage(kafka_jars: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    """Services of this module's own: nobody else's are broken."""
    with on_stage(tmp_path_factory.mktemp("faults"), kafka_jars) as started:
        yield started


@pytest.fixture(scope="module")
def lab(stage: Stage) -> Iterator[Lab]:
    """A system that runs well."""
    with prepared(stage, CHOSEN[0], SEED, True, stage.folder / "short") as running:
        yield running


def outcome_of(scenario: Scenario) -> Outcome:
    """Nothing yet."""
    return Outcome(name=scenario.name, seed=SEED, limit_seconds=scenario.limit_seconds)


@pytest.mark.slow
@pytest.mark.parametrize("scenario", CHOSEN, ids=lambda scenario: scenario.name)
def test_the_invariant_holds_after(lab: Lab, scenario: Scenario) -> None:
    """The system recovers by itself, and every message, delivery and row is accounted for."""
    outcome = outcome_of(scenario)
    repeat(lab, scenario, outcome)
    assert outcome.problems == []
    assert outcome.verdict is not None
    assert outcome.verdict.rows > 0
    assert outcome.verdict.deliveries > 0


@pytest.mark.slow
def test_every_slot_since_the_start_is_accounted_for(lab: Lab) -> None:
    """Once the slots that the last fault touched have ended: none is open that no fault touched."""
    outcome = outcome_of(CHOSEN[-1])
    lab.wait(QUICK_SECONDS + SLACK.total_seconds())
    settle(lab, CHOSEN[-1], outcome)
    assert outcome.problems == []
    assert outcome.verdict is not None
    assert outcome.verdict.expected > outcome.verdict.open_slots
