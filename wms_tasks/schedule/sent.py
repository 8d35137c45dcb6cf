"""
What has been sent, as stretches of the wall clock: all that came due in one of them was sent or given up. Pure.

Of a clock that never stepped there is one, from the beginning until now. The timetable asks it where to go on.
"""

from __future__ import annotations

from dataclasses import dataclass

from wms_tasks.schedule.slots import MICROSECONDS

# Clocks of two machines differ by less; a mark further ahead was left by a clock that was wrong.
SKEW_US = 2 * MICROSECONDS
# So many steps of the clock are remembered. What is forgotten may be sent twice, which changes nothing.
_KEPT = 8


def believed(mark_us: int, *, now_us: int) -> int:
    """A beat's mark of how far it had come; 0, which says nothing, for one that lies in the future."""
    return mark_us if mark_us <= now_us + SKEW_US else 0


@dataclass(frozen=True, slots=True)
class Sent:
    """Stretches as (from, until) in microseconds since the epoch, both ends included, in the order they were lived."""

    stretches: tuple[tuple[int, int], ...] = ()

    @classmethod
    def until(cls, until_us: int) -> Sent:
        """Everything up to then."""
        return cls(((0, until_us),))

    def covers(self, due_us: int) -> bool:
        """Whether what was due then was sent."""
        return any(from_us <= due_us <= until_us for from_us, until_us in self.stretches)

    def until_before(self, now_us: int) -> int:
        """How far all was sent that came due before this instant; 0: no stretch began before it."""
        return max((min(until_us, now_us) for from_us, until_us in self.stretches if from_us <= now_us), default=0)

    def and_from(self, from_us: int, until_us: int) -> Sent:
        """One stretch more."""
        return Sent((*self.stretches, (from_us, until_us))[-_KEPT:])
