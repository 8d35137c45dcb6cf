"""
`make soak`: faults in a random order for half an hour at 100 probes a second, and the memory of every process.

Two of each role. The kills are given to one worker, one persist worker and one beat; the other of each suffers all
else, and must not grow by 10 % after its warm-up. Exit 1 where that, recovery or the invariant broke.
"""

from __future__ import annotations

import argparse
import logging
import signal
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from random import Random

import structlog
from rich.console import Console

from tests.faults import on_kafka, on_persist, on_postgres, on_redis, on_worker
from tests.faults.lab import SLACK, Lab, now
from tests.faults.memory import WINDOW_SECONDS, Life, growth, watched_memory
from tests.faults.records import Outage
from tests.faults.run import Outcome, prepared, settle, shortened
from tests.faults.scenario import HALF_OPEN_RECOVERY_SECONDS, Scenario
from tests.faults.sites import Page, pages
from tests.faults.stage import Stage, on_stage
from tests.faults.table import DOCUMENT, markdown_table, reasons_line, too_vague, write_between
from wms_tasks.embedded.jars import fetch_jars
from wms_tasks.settings import load_settings

PROBES_PER_SECOND = 100
INTERVAL_SECONDS = 5.0
WARM_UP_SECONDS = 300.0
MAX_GROWTH = 0.1
PAUSE_SECONDS = (3.0, 12.0)
# Whose lives must be as long as the run.
LASTING = ("worker-1", "persist-1", "beat-0")
FILLS_POOLS = "Kafka away for five minutes"
BEGIN = "<!-- soak: written by `make soak` -->"
END = "<!-- soak: end -->"

console = Console()


def _killed(member: str, lab: Lab) -> None:
    lab.member(member).signal(signal.SIGKILL)


# Those that need no system of their own, that do not stop a connection at a point which the other of a pair may reach
# first, and that kill the first of a pair only.
FAULTS_OF = {
    on_worker: ("worker killed mid-fetch", "leading beat stopped past its lease"),
    on_persist: ("persist killed at any moment", "persist stopped past its session", "persist down while slots end"),
    on_postgres: (
        "Postgres restart",
        "Postgres immediate stop",
        "Postgres refused",
        "Postgres black-holed",
        "Postgres slow",
        "Postgres connections reset",
        "Postgres read-only",
        "Postgres full",
    ),
    on_redis: (
        "Redis restart with its data",
        "Redis restart without its data",
        "Redis stopped",
        "Redis black-holed",
        "Redis out of memory",
        "Redis connections reset",
    ),
    on_kafka: ("Kafka restart", "Kafka black-holed", "Kafka away for five minutes", "Kafka connections reset"),
}
FAULTS: tuple[Scenario, ...] = (
    *(one for room, names in FAULTS_OF.items() for one in room.SCENARIOS if one.name in names),
    Scenario(name="beat killed", act=lambda lab: _killed("beat-1", lab), repetitions=1),
)
_SYSTEM = Scenario(
    name="soak",
    act=lambda _: None,
    repetitions=1,
    limit_seconds=HALF_OPEN_RECOVERY_SECONDS,
    workers=2,
    persists=2,
    beats=2,
    environ={"WMS_WORKER_CONCURRENCY": "64"},
)


@dataclass(slots=True, kw_only=True)
class Soak:
    """What came of it."""

    seed: int
    minutes: float
    outcome: Outcome
    recoveries: dict[str, list[float]] = field(default_factory=dict)
    lives: list[Life] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)


def soak_pages() -> list[Page]:
    """Sites whose slots come at 100 a second."""
    return pages("soak", int(PROBES_PER_SECOND * INTERVAL_SECONDS), INTERVAL_SECONDS)


def run_soak(stage: Stage, seed: int, minutes: float, folder: Path) -> Soak:
    """Faults until the time is over, then the verdict on everything since the start."""
    outcome = Outcome(name="soak", seed=seed, limit_seconds=HALF_OPEN_RECOVERY_SECONDS)
    soak = Soak(seed=seed, minutes=minutes, outcome=outcome)
    try:
        with prepared(stage, _SYSTEM, seed, True, folder, soak_pages()) as lab:
            with watched_memory(lab.system) as lives:
                soak.lives = lives
                _break_until(lab, soak, time.monotonic() + 60 * minutes)
            closed_until = lab.outages[-1].recovered_at
            lab.wait(INTERVAL_SECONDS + SLACK.total_seconds())
            lab.wait_closed(closed_until)
            settle(lab, _SYSTEM, outcome, closed_until)
    except Exception as error:  # noqa: BLE001 - whatever it is belongs into the report
        soak.problems.append(f"{type(error).__name__}: {shortened(str(error))}")
    finally:
        stage.heal()
    soak.problems += outcome.problems + _memory_problems(soak)
    return soak


def _break_until(lab: Lab, soak: Soak, ends_at: float) -> None:
    random = Random(f"soak/{soak.seed}")
    # First what makes a worker begin all the threads that it may have: their memory is no growth.
    left = [next(one for one in FAULTS if one.name == FILLS_POOLS)]
    while time.monotonic() < ends_at:
        fault = left.pop() if left else random.choice(FAULTS)
        lab.random = Random(random.random())
        lab.outages.append(Outage(now(), now()))
        fault.act(lab)
        ended_at = now()
        lab.widen_last_outage(ended_at)
        lab.system.revive()
        recovery_seconds = lab.wait_recovered(ended_at, fault.limit_seconds)
        lab.widen_last_outage(now())
        soak.recoveries.setdefault(fault.name, []).append(recovery_seconds)
        console.print(f"{now():%H:%M:%S} {fault.name}: recovered in {recovery_seconds:.1f} s", highlight=False)
        lab.wait(random.uniform(*PAUSE_SECONDS))


def _warm_up_seconds(soak: Soak) -> float:
    """Of a short run a sixth, as of half an hour."""
    return min(WARM_UP_SECONDS, 60 * soak.minutes / 6)


def _memory_problems(soak: Soak) -> list[str]:
    problems = []
    for name in LASTING:
        own = [life for life in soak.lives if life.name == name]
        grown = growth(own[0].samples, _warm_up_seconds(soak), WINDOW_SECONDS) if len(own) == 1 else None
        if grown is None:
            problems.append(f"{name} was not measured: it had {len(own)} lives")
        elif grown.share >= MAX_GROWTH:
            problems.append(f"{name} grew by {grown.share:.1%}")
    return problems


def _lines(soak: Soak) -> list[str]:
    """The report, as Markdown."""
    faults = sum(map(len, soak.recoveries.values()))
    verdict = soak.outcome.verdict
    day = datetime.now(UTC).date().isoformat()
    load = f"{soak.minutes:g} minutes at {PROBES_PER_SECOND} probes a second"
    lines = [f"Run on {day}, seed {soak.seed}: {load}, {faults} faults."]
    if verdict is not None:
        counts = f"{verdict.messages:,} messages, {verdict.rows:,} rows, {verdict.redeliveries:,} redeliveries"
        lines += [f"{counts}, {verdict.open_slots} open. {reasons_line([soak.outcome])}"]
    lines += [f"**{'; '.join(soak.problems) or 'The invariant holds, and no lasting process grew by 10 %.'}**", ""]
    rows = [
        (name, str(len(found)), f"{sorted(found)[len(found) // 2]:.1f} s", f"{max(found):.1f} s")
        for name, found in sorted(soak.recoveries.items())
    ]
    lines += [*markdown_table(("fault", "times", "recovery, median", "worst"), rows), ""]
    return lines + markdown_table(_LIFE_HEADINGS, _life_rows(soak))


_LIFE_HEADINGS = ("process", "lived", "MiB after the warm-up", "MiB at its end", "growth")


def _life_rows(soak: Soak) -> list[tuple[str, ...]]:
    found: list[tuple[str, ...]] = []
    for life in sorted(soak.lives, key=lambda one: (one.name not in LASTING, one.name, one.samples[0][0])):
        grown = growth(life.samples, _warm_up_seconds(soak), WINDOW_SECONDS)
        if grown is not None:
            sizes = (f"{grown.warm_bytes / 2**20:.1f}", f"{grown.last_bytes / 2**20:.1f}", f"{grown.share:+.1%}")
            found.append((life.name, f"{life.seconds / 60:.0f} min", *sizes))
    return found


def _leave(*_: object) -> None:
    """TERM ends what was started too."""
    raise KeyboardInterrupt


def main(argv: Sequence[str] | None = None) -> int:
    """Returns the exit code."""
    signal.signal(signal.SIGTERM, _leave)
    parser = argparse.ArgumentParser(prog="python -m tests.faults.soak", description=__doc__)
    parser.add_argument("--minutes", type=float, default=30.0)
    parser.add_argument("--seed", type=int, default=1, help="Which faults, in which order, at which moments.")
    parser.add_argument("--document", action="store_true", help="Write the result into docs/reliability.md.")
    parser.add_argument("--folder", type=Path, help="Keep data and logs there.")
    arguments = parser.parse_args(argv)
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING))
    with ExitStack() as stack:
        folder = arguments.folder or Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="wms-soak-")))
        folder.mkdir(parents=True, exist_ok=True)
        folder.chmod(0o711)  # Postgres, which is not root, must get through
        stage = stack.enter_context(on_stage(folder, fetch_jars(load_settings())))
        soak = run_soak(stage, arguments.seed, arguments.minutes, folder / "run")
    lines = _lines(soak)
    console.print("\n".join(lines), highlight=False, markup=False)
    if arguments.document:
        write_between(DOCUMENT, BEGIN, END, "\n".join([*lines, ""]))
    return 1 if soak.problems or too_vague([soak.outcome]) else 0


if __name__ == "__main__":
    sys.exit(main())
