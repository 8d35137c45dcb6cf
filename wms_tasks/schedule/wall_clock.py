"""
Notices when the wall clock is set: it moves away from the monotonic one. The scheduler asks at each round.

Slots are instants of the wall clock, so that after a step every one of them has to be found anew. A machine that was
suspended looks the same, and is.
"""

from __future__ import annotations

from dataclasses import dataclass

from wms_tasks import clock
from wms_tasks.schedule.slots import microseconds

# ntpd and chrony slew what is smaller. Slots are late by that much, or early, without harm.
STEP_US = 1_500_000
# Two clocks cannot be read at once; a process stopped between the two would see a step.
_READ_WITHIN_SECONDS = 0.1


@dataclass(frozen=True, slots=True)
class Now:
    """This instant, in microseconds since the epoch; ``before_us``: the one before, where the clock stepped between."""

    us: int
    before_us: int | None = None


class WallClock:
    """The wall clock of one thread; the first look sees no step."""

    def __init__(self) -> None:
        self._us, self._monotonic = self._read()

    def now(self) -> Now:
        """What time it is, and whether that follows from what it was at the last look."""
        before_us, before = self._us, self._monotonic
        self._us, self._monotonic = self._read()
        expected_us = before_us + microseconds(self._monotonic - before)
        return Now(self._us, before_us if abs(self._us - expected_us) > STEP_US else None)

    @staticmethod
    def _read() -> tuple[int, float]:
        while True:
            began = clock.monotonic()
            now_us = clock.to_microseconds(clock.utcnow())
            ended = clock.monotonic()
            if ended - began < _READ_WITHIN_SECONDS:
                return now_us, ended
