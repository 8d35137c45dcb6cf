"""Runs scenarios: the fault, recovery, the verdict, and again with the next seed. One `Outcome` a scenario."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from random import Random
from time import monotonic

from tests.faults.evidence import Topic
from tests.faults.judge import Rules, Verdict
from tests.faults.lab import SLACK, Lab, now
from tests.faults.records import Outage
from tests.faults.scenario import Scenario
from tests.faults.sites import Page, pages, serving
from tests.faults.stage import Stage
from tests.faults.system import running_system

# Slots that end before a lost message can come back, and slots that do not.
QUICK_SECONDS = 2.0
LONG_SECONDS = 30.0

Report = Callable[[str], None]


@dataclass(slots=True, kw_only=True)
class Outcome:
    """What became of a scenario. ``problems`` is empty where all is well."""

    name: str
    seed: int
    limit_seconds: float
    repetitions: int = 0
    recoveries_seconds: list[float] = field(default_factory=list)
    verdict: Verdict | None = None
    problems: list[str] = field(default_factory=list)
    elapsed_seconds: float = 0.0


def run_pages() -> list[Page]:
    """The sites of a run: about five probes a second."""
    return pages("quick", 8, QUICK_SECONDS) + pages("long", 30, LONG_SECONDS)


def run_scenario(
    stage: Stage, scenario: Scenario, *, seed: int, repetitions: int, short: bool, folder: Path, report: Report
) -> Outcome:
    """
    Every repetition of one scenario on one system.

    A repetition that fails ends the scenario, because the next one would start from a broken system.
    """
    outcome = Outcome(name=scenario.name, seed=seed, limit_seconds=scenario.limit_seconds)
    began = monotonic()
    try:
        with prepared(stage, scenario, seed, short, folder) as lab:
            for number in range(repetitions):
                lab.random = Random(f"{seed}/{scenario.name}/{number}")
                recovery_seconds = repeat(lab, scenario, outcome)
                report(
                    f"{number + 1}/{repetitions}: "
                    + (f"recovered in {recovery_seconds:.1f} s" if outcome.verdict else "done")
                )
                if outcome.problems:
                    break
            if not outcome.problems and not scenario.bare:
                closed_until = lab.outages[-1].recovered_at
                lab.wait(QUICK_SECONDS + SLACK.total_seconds())
                lab.wait_closed(closed_until)
                settle(lab, scenario, outcome, closed_until)
    except Exception as error:  # noqa: BLE001 - whatever it is belongs into the table, and the next scenario is run
        outcome.problems.append(f"{type(error).__name__}: {shortened(str(error))}")
    finally:
        stage.heal()
    outcome.elapsed_seconds = monotonic() - began
    return outcome


def shortened(text: str) -> str:
    """The first and the last line; whole logs are in the run's folder."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return " … ".join(line[:400] for line in lines[:1] + lines[1:][-1:])


@contextmanager
def prepared(
    stage: Stage, scenario: Scenario, seed: int, short: bool, folder: Path, wanted: list[Page] | None = None
) -> Iterator[Lab]:
    """A system that runs well, with the roles that the scenario wants and, unless others are given, `run_pages`."""
    with serving(wanted or run_pages()) as sites, running_system(stage, sites, folder, scenario.environ) as system:
        topic = Topic(stage.kafka_bootstrap_servers, system.settings.topic)
        lab = Lab(
            stage=stage,
            sites=sites,
            system=system,
            topic=topic,
            random=Random(f"{seed}/{scenario.name}"),
            short=short,
            folder=folder,
            with_visits=scenario.with_visits,
        )
        try:
            if not scenario.bare:
                lab.start(workers=scenario.workers, persists=scenario.persists, beats=scenario.beats)
            yield lab
        finally:
            topic.close()


def repeat(lab: Lab, scenario: Scenario, outcome: Outcome) -> float:
    """One fault: done, recovered from, judged. Returns the seconds that recovery took."""
    lab.outages.append(Outage(now(), now()))
    scenario.act(lab)
    if scenario.bare:
        outcome.repetitions += 1
        return 0.0
    ended_at = now()
    lab.widen_last_outage(ended_at)
    lab.system.revive()
    outcome.repetitions += 1
    recovery_seconds = lab.wait_recovered(ended_at, scenario.limit_seconds)
    outcome.recoveries_seconds.append(recovery_seconds)
    lab.widen_last_outage(now())
    settle(lab, scenario, outcome)
    return recovery_seconds


def settle(lab: Lab, scenario: Scenario, outcome: Outcome, closed_until: datetime | None = None) -> None:
    """The verdict on everything since the system was started; what began by then must be closed."""
    rules = Rules(may_miss=scenario.may_miss, may_reject=scenario.may_reject, closed_until=closed_until)
    outcome.verdict = lab.judge(rules)
    outcome.problems += [f"{one.kind} x{one.count}: {one.example}" for one in outcome.verdict.violations]
