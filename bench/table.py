"""The figures as a table: on the terminal, in results.json, and between markers in docs/performance.md."""

from __future__ import annotations

import platform
import subprocess
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

import msgspec
import psutil
from rich.table import Table

from bench.figure import Bound, Measured, Subject
from tests.faults.table import markdown_table, write_between

RESULTS = Path(__file__).with_name("results.json")
DOCUMENT = Path(__file__).parents[1] / "docs" / "performance.md"
BEGIN = "<!-- bench: written by `make bench` -->"
END = "<!-- bench: end -->"
_HEADINGS = ("figure", "measured", "must", "aim", "beside", "rounds")


class Line(msgspec.Struct, frozen=True, kw_only=True):
    """A figure as results.json has it. ``must`` and ``aim`` are written as in the table; ``met`` is of ``must``."""

    key: str
    name: str
    value: float | None
    unit: str
    rounds: tuple[float, ...]
    must: str | None
    aim: str | None
    met: bool | None
    aim_met: bool | None
    peer: str | None
    missing: str | None
    conditions: str
    measured_on: str
    commit: str


def lines_of(subject: Subject, measured: Sequence[Measured]) -> list[Line]:
    """Of one subject, as of now and of the commit that is checked out."""
    return [
        Line(
            key=one.figure.key,
            name=one.figure.name,
            value=one.value,
            unit=one.figure.unit,
            rounds=tuple(round(value, 4) for value in one.rounds),
            must=_written(one.figure.must),
            aim=_written(one.figure.aim),
            met=one.meets(one.figure.must),
            aim_met=one.meets(one.figure.aim),
            peer=one.figure.peer,
            missing=one.missing,
            conditions=subject.conditions,
            measured_on=datetime.now(UTC).date().isoformat(),
            commit=_commit(),
        )
        for one in measured
    ]


def read_results(path: Path = RESULTS) -> list[Line]:
    """What was measured before; nothing where there is no file."""
    return msgspec.json.decode(path.read_bytes(), type=list[Line]) if path.exists() else []


def merged(before: Sequence[Line], now: Sequence[Line], order: Sequence[str]) -> list[Line]:
    """What was measured now takes the place of what was before; a figure that is no longer one is left out."""
    found = {line.key: line for line in (*before, *now)}
    return [found[key] for key in order if key in found]


def write_results(lines: Sequence[Line], path: Path = RESULTS) -> None:
    """For programs, and for a diff."""
    path.write_bytes(msgspec.json.format(msgspec.json.encode(lines), indent=2) + b"\n")


def write_document(lines: Sequence[Line], path: Path = DOCUMENT) -> None:
    """Replace what stands between the markers."""
    write_between(path, BEGIN, END, markdown(lines))


def markdown(lines: Sequence[Line]) -> str:
    """The table, and below it what was on while each was measured."""
    when = ", ".join(sorted({f"{line.measured_on} at {line.commit}" for line in lines}))
    notes = dict.fromkeys(line.conditions for line in lines)
    numbers = {note: number for number, note in enumerate(notes, 1)}
    rows = [(f"{line.name} [{numbers[line.conditions]}]", *_cells(line)[1:]) for line in lines]
    said = [f"Measured on {when}; {machine()}. Figures are medians of their rounds unless they say otherwise.", ""]
    said += markdown_table(_HEADINGS, rows)
    said += ["", *(f"[{number}] {note}  " for note, number in numbers.items()), ""]
    return "\n".join(said)


def terminal_table(lines: Sequence[Line]) -> Table:
    """For people: red what is not reached, dim what could not be measured."""
    table = Table(*_HEADINGS, title="Measured beside what a user would pick instead", show_lines=False)
    for line in lines:
        style = "red" if line.met is False else "dim" if line.value is None else "green" if line.aim_met else ""
        table.add_row(*_cells(line), style=style)
    return table


def machine() -> str:
    """What it was measured on, without its name."""
    cores, gib = psutil.cpu_count(), psutil.virtual_memory().total / 2**30
    return f"{cores} cores, {gib:.0f} GiB, {platform.system()} {platform.machine()}, Python {platform.python_version()}"


def shown(value: float, unit: str) -> str:
    """A value as the table has it: three digits that count."""
    return f"{value:,.0f} {unit}" if abs(value) >= 100 else f"{value:.3g} {unit}"


def _cells(line: Line) -> tuple[str, ...]:
    value = line.missing or "not measured" if line.value is None else shown(line.value, line.unit)
    rounds = ", ".join(f"{one:.3g}" for one in line.rounds)
    return (
        line.name,
        value,
        _with_mark(line.must, line.met),
        _with_mark(line.aim, line.aim_met),
        line.peer or "",
        rounds,
    )


def _with_mark(bound: str | None, met: bool | None) -> str:
    return "" if bound is None else bound if met is None else f"{bound} {'✓' if met else '✗'}"


def _written(bound: Bound | None) -> str | None:
    return None if bound is None else str(bound)


def _commit() -> str:
    asked = subprocess.run(
        ["git", "describe", "--always", "--dirty", "--exclude=*"],
        cwd=Path(__file__).parent,
        capture_output=True,
        text=True,
        check=False,
    )
    return asked.stdout.strip() or "no commit"
