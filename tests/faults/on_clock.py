"""A wall clock that steps by an hour and back, of one role at a time; never the machine's own. See clock_step/."""

from __future__ import annotations

from functools import partial
from pathlib import Path

from tests.faults.lab import Lab
from tests.faults.scenario import OUTAGES, Scenario

_FILE = "clock-{member}"
_HOUR_SECONDS = 3600


def _off_by(member: str, offset_seconds: int, lab: Lab) -> None:
    """This role's clock steps, and steps back."""
    file = lab.folder / _FILE.format(member=member)
    _write(file, offset_seconds)
    lab.wait(lab.seconds(20.0, 8.0))
    _write(file, 0)
    lab.wait(0.5)  # until the process has seen it


def _write(file: Path, offset_seconds: int) -> None:
    """At once: it is being read all the time."""
    unfinished = file.with_suffix(".new")
    unfinished.write_text(f"{offset_seconds}\n", encoding="ascii")
    unfinished.rename(file)


def _scenario(role: str, hours: int) -> Scenario:
    return Scenario(
        name=f"clock of {role} {hours:+d} h",
        act=partial(_off_by, f"{role}-0", hours * _HOUR_SECONDS),
        repetitions=OUTAGES,
        about_seconds=30,
        with_visits=False,  # a row's instants are those of the clock that was off
        environ={
            "PYTHONPATH": str(Path(__file__).parent / "clock_step"),
            "CLOCK_STEP_FILE": f"{{folder}}/{_FILE}",
        },
    )


SCENARIOS = tuple(_scenario(role, hours) for role in ("beat", "worker", "persist") for hours in (1, -1))
