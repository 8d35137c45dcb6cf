"""
The only module that asks what time it is, so that tests can answer.

Instants are aware UTC with microseconds; durations come from ``monotonic`` and survive a step of the wall clock.
"""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MICROSECOND = timedelta(microseconds=1)


def utcnow() -> datetime:
    """The wall clock, aware UTC."""
    return datetime.now(UTC)


def monotonic() -> float:
    """Seconds on a clock that never steps; only differences mean anything."""
    return time.monotonic()


def to_microseconds(instant: datetime) -> int:
    """Whole microseconds since the Unix epoch; exact, unlike ``timestamp()`` whose float rounds."""
    return (instant - EPOCH) // MICROSECOND


def from_microseconds(microseconds: int) -> datetime:
    """The inverse of `to_microseconds`."""
    return EPOCH + timedelta(microseconds=microseconds)
