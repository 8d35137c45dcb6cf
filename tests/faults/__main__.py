"""`make faults`: every fault, as often as its kind asks for, and a table. Exit 1 where the invariant broke."""

from __future__ import annotations

import argparse
import logging
import signal
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from time import monotonic

import structlog
from rich.console import Console

from tests.faults.run import Outcome, run_scenario
from tests.faults.scenario import Scenario
from tests.faults.scenarios import SCENARIOS
from tests.faults.stage import Stage, on_stage
from tests.faults.table import read_json, reasons_line, terminal_table, too_vague, write_document, write_json
from wms_tasks.embedded.jars import fetch_jars
from wms_tasks.settings import load_settings

# Into a file, a line is a line.
console = Console(width=None if sys.stdout.isatty() else 200)


def _arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.faults", description=__doc__)
    parser.add_argument("--only", action="append", default=[], help="Faults whose name contains this; may be repeated.")
    parser.add_argument("--list", action="store_true", help="Name the faults and end.")
    parser.add_argument("--seed", type=int, default=1, help="Which moments are hit.")
    parser.add_argument("--repetitions", type=int, help="Instead of as many as each kind of fault asks for.")
    parser.add_argument("--short", action="store_true", help="Outages of seconds, one repetition.")
    parser.add_argument("--json", type=Path, help="Write the outcomes there too.")
    parser.add_argument("--document", action="store_true", help="Write the table into docs/reliability.md.")
    parser.add_argument("--lanes", type=int, default=1, help="So many systems side by side, in processes of their own.")
    parser.add_argument("--folder", type=Path, help="Keep data and logs there.")
    parser.add_argument("--claims", type=Path, help=argparse.SUPPRESS)  # of a lane: what the others have begun
    return parser.parse_args(argv)


def _chosen(arguments: argparse.Namespace) -> list[Scenario]:
    wanted = [one.lower() for one in arguments.only]
    return [one for one in SCENARIOS if not wanted or any(part in one.name.lower() for part in wanted)]


def _run_all(stage: Stage, chosen: Sequence[Scenario], arguments: argparse.Namespace, folder: Path) -> list[Outcome]:
    outcomes: list[Outcome] = []
    for scenario in _longest_first(chosen) if arguments.claims else chosen:
        if arguments.claims and not _claimed(arguments.claims, scenario):
            continue
        console.print(f"[bold]{scenario.name}[/bold]")
        outcome = _run_one(stage, scenario, arguments, folder / f"{len(outcomes):02}")
        for problem in outcome.problems:
            console.print(f"  {scenario.name}: [red]{problem}[/red]", highlight=False)
        outcomes.append(outcome)
        if arguments.json:
            write_json(outcomes, arguments.json)
    return outcomes


def _longest_first(chosen: Sequence[Scenario]) -> list[Scenario]:
    return sorted(chosen, key=lambda one: -one.repetitions * one.about_seconds)


def _claimed(claims: Path, scenario: Scenario) -> bool:
    """Whether nobody had begun it; now we have."""
    try:
        (claims / f"{SCENARIOS.index(scenario):03}").touch(exist_ok=False)
    except FileExistsError:
        return False
    return True


def _run_lanes(chosen: Sequence[Scenario], arguments: argparse.Namespace, folder: Path) -> list[Outcome]:
    """Each lane takes what no other has begun: they wait for most of their time. The outcomes in the usual order."""
    claims = folder / "claims"
    claims.mkdir()
    started = [_start_lane(arguments, folder / f"lane-{n}", claims) for n in range(arguments.lanes)]
    try:
        for process, _ in started:
            process.wait()
    except KeyboardInterrupt:
        for process, _ in started:
            process.terminate()
        for process, _ in started:
            process.wait()
        raise
    ended = {one.name: one for _, path in started if path.exists() for one in read_json(path)}
    return [ended[one.name] for one in chosen if one.name in ended]


def _start_lane(arguments: argparse.Namespace, folder: Path, claims: Path) -> tuple[subprocess.Popen[bytes], Path]:
    path = folder.with_suffix(".json")
    command = [sys.executable, "-m", "tests.faults", f"--seed={arguments.seed}", f"--folder={folder}", f"--json={path}"]
    command += [f"--repetitions={arguments.repetitions}"] * bool(arguments.repetitions) + ["--short"] * arguments.short
    return subprocess.Popen([*command, f"--claims={claims}", *(f"--only={one}" for one in arguments.only)]), path


def _run_one(stage: Stage, scenario: Scenario, arguments: argparse.Namespace, folder: Path) -> Outcome:
    return run_scenario(
        stage,
        scenario,
        seed=arguments.seed,
        repetitions=arguments.repetitions or (1 if arguments.short else scenario.repetitions),
        short=arguments.short,
        folder=folder,
        report=lambda line: console.print(f"  {line}", highlight=False),
    )


def _leave(*_: object) -> None:
    """TERM ends what was started too."""
    raise KeyboardInterrupt


def main(argv: Sequence[str] | None = None) -> int:
    """Returns the exit code."""
    arguments = _arguments(argv)
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING))
    signal.signal(signal.SIGTERM, _leave)
    chosen = _chosen(arguments)
    if arguments.list or not chosen:
        console.print("\n".join(one.name for one in SCENARIOS), highlight=False)
        return 0 if arguments.list else 2
    began = monotonic()
    with ExitStack() as stack:
        folder = arguments.folder or Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="wms-faults-")))
        folder.mkdir(parents=True, exist_ok=True)
        folder.chmod(0o711)  # Postgres, which is not root, must get through
        if arguments.lanes > 1:
            outcomes = _run_lanes(chosen, arguments, folder)
        else:
            stage = stack.enter_context(on_stage(folder, fetch_jars(load_settings())))
            outcomes = _run_all(stage, chosen, arguments, folder)
    if not arguments.claims:
        console.print(terminal_table(outcomes))
    if arguments.json:
        write_json(outcomes, arguments.json)
    minutes = (monotonic() - began) / 60
    if arguments.document:
        write_document(outcomes, arguments.seed, minutes)
    if arguments.claims:
        return 0
    console.print(reasons_line(outcomes), highlight=False)
    missing = sorted({one.name for one in chosen} - {one.name for one in outcomes})
    for name in missing:
        console.print(f"[red]not run: {name}[/red]", highlight=False)
    vague = not arguments.only and not arguments.short and too_vague(outcomes)
    return 1 if missing or vague or any(one.problems for one in outcomes) else 0


if __name__ == "__main__":
    sys.exit(main())
