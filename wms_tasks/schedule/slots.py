"""
Slots: ``splay + k * interval`` from the Unix epoch, in whole microseconds. Pure; the scheduler is its only caller.

The splay follows from the site's id, so 10,000 sites spread by themselves and a restart moves nothing. A slot's
jitter follows from (site, slot), so that two schedulers and a restart agree on when it is due.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

MICROSECONDS = 1_000_000


def microseconds(seconds: float) -> int:
    """Seconds as whole microseconds, to the nearest."""
    return round(seconds * MICROSECONDS)


def _uniform(key: bytes, below: int) -> int:
    """A whole number in [0, below), uniform over keys and the same in every process and release."""
    return int.from_bytes(hashlib.blake2b(key, digest_size=16).digest(), "big") % below


@dataclass(frozen=True, slots=True)
class Slots:
    """
    One entry's slots. ``key`` is what spreads it: a site's id as bytes.

    All instants are microseconds since the Unix epoch; ``interval_us`` is above 0, ``jitter_us`` below it.
    """

    key: bytes
    interval_us: int
    jitter_us: int = 0
    splay_us: int = -1

    def __post_init__(self) -> None:
        if self.splay_us < 0:
            object.__setattr__(self, "splay_us", _uniform(self.key, self.interval_us))

    def at(self, now_us: int) -> int:
        """The slot now running: the newest that begins at or before ``now_us``."""
        return now_us - (now_us - self.splay_us) % self.interval_us

    def after(self, slot_us: int) -> int:
        """The slot that follows."""
        return slot_us + self.interval_us

    def due(self, slot_us: int) -> int:
        """When the slot is to be sent: its beginning and this slot's jitter, less than ``jitter_us``."""
        if self.jitter_us <= 0:
            return slot_us
        return slot_us + _uniform(self.key + slot_us.to_bytes(9, "big", signed=True), self.jitter_us)

    def expires(self, slot_us: int, due_us: int, max_lateness_us: int) -> int:
        """When nobody may begin it any more: as the next slot begins, at most ``max_lateness_us`` after it was due."""
        return min(self.after(slot_us), due_us + max_lateness_us)
