"""
`make bench`: every figure beside what a user would pick instead, a table, and docs/performance.md. Exit 1 where a
figure is worse than it must be.
"""

from __future__ import annotations

import argparse
import signal
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from time import monotonic

from rich.console import Console

from bench.figure import Measured, PeerMissing, Round, Subject
from bench.subjects import SUBJECTS
from bench.table import (
    RESULTS,
    Line,
    lines_of,
    merged,
    read_results,
    shown,
    terminal_table,
    write_document,
    write_results,
)

# Into a file, a line is a line.
console = Console(width=None if sys.stdout.isatty() else 200)


def _arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("--only", action="append", default=[], help="Subjects whose name contains this; repeatable.")
    parser.add_argument("--list", action="store_true", help="Name the subjects and their figures, and end.")
    parser.add_argument("--rounds", type=int, help="Instead of as many as each subject asks for.")
    parser.add_argument("--document", action="store_true", help="Write bench/results.json and docs/performance.md.")
    parser.add_argument("--results", type=Path, default=RESULTS, help="Where results.json is read and written.")
    return parser.parse_args(argv)


def _chosen(arguments: argparse.Namespace) -> list[Subject]:
    wanted = [one.lower() for one in arguments.only]
    if not wanted:
        return [one for one in SUBJECTS if not one.on_request]
    return [one for one in SUBJECTS if any(part in one.name.lower() for part in wanted)]


def _measure(subject: Subject, rounds: int) -> list[Measured]:
    """All rounds of a subject; where a peer is missing, none, and why."""
    found: dict[str, list[float]] = {figure.key: [] for figure in subject.figures}
    missing = None
    with tempfile.TemporaryDirectory(prefix="wms-bench-") as folder:
        try:
            with subject.open(Path(folder)) as measure:
                for number in range(rounds):
                    began = monotonic()
                    values = measure(number)
                    for key, value in values.items():
                        found[key].append(value)
                    _say_round(subject, number, values, monotonic() - began)
        except PeerMissing as error:
            missing = str(error)
            console.print(f"  [yellow]not measured[/yellow]: {error}", highlight=False)
    return [
        Measured(
            figure=figure,
            rounds=tuple(found[figure.key]),
            missing=None if found[figure.key] else missing or "no round gave it",
        )
        for figure in subject.figures
    ]


def _say_round(subject: Subject, number: int, values: Round, seconds: float) -> None:
    units = {figure.key: figure.unit for figure in subject.figures}
    said = ", ".join(f"{key} {shown(value, units[key])}" for key, value in values.items())
    console.print(f"  round {number + 1}: {said} [dim]({seconds:.0f} s)[/dim]", highlight=False)


def _list() -> int:
    for subject in SUBJECTS:
        when = " [dim](only where named)[/dim]" if subject.on_request else ""
        console.print(f"[bold]{subject.name}[/bold]{when}: " + "; ".join(figure.name for figure in subject.figures))
    return 0


def _write(lines: Sequence[Line], results: Path) -> None:
    order = [figure.key for subject in SUBJECTS for figure in subject.figures]
    every = merged(read_results(results), lines, order)
    write_results(every, results)
    write_document(every)


def main(argv: Sequence[str] | None = None) -> int:
    """Measure, print, write; 1 where something is worse than it must be, 2 where nothing was chosen."""
    arguments = _arguments(argv)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # so that what was started ends too
    if arguments.list:
        return _list()
    chosen = _chosen(arguments)
    if not chosen:
        console.print(f"bench: no subject is called {', '.join(arguments.only)}; see --list")
        return 2
    began = monotonic()
    lines: list[Line] = []
    for subject in chosen:
        console.print(f"[bold]{subject.name}[/bold]")
        lines += lines_of(subject, _measure(subject, arguments.rounds or subject.rounds))
        if arguments.document:
            # After each, because a later one may break off an hour's run.
            _write(lines, arguments.results)
    console.print(terminal_table(lines))
    console.print(f"{(monotonic() - began) / 60:.0f} minutes")
    return 1 if any(line.met is False for line in lines) else 0


if __name__ == "__main__":
    sys.exit(main())
