"""
A site's interval, jitter and timeout, with what was not written filled in so that the probe fits in its interval.

Defaults are kind to strangers: 60 s, a tenth of the interval as jitter, timeout min(10 s, 0.8 × interval). A default
gives way to what is written, something written never does. Pure, whole milliseconds.
"""

from __future__ import annotations

from dataclasses import dataclass

from wms_tasks.sites.durations import format_duration
from wms_tasks.sites.spec import TIMEOUT_MS

INTERVAL_MS_DEFAULT = 60_000
TIMEOUT_MS_DEFAULT = 10_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Times:
    """All three, in milliseconds. ``jitter_ms + timeout_ms <= interval_ms``."""

    interval_ms: int
    jitter_ms: int
    timeout_ms: int


def resolve_times(interval_ms: int | None, jitter_ms: int | None, timeout_ms: int | None) -> Times:
    """
    The three times, None being "not written".

    Raises:
        ValueError: what is written does not fit; the text holds the numbers and one that would do.
    """
    interval = INTERVAL_MS_DEFAULT if interval_ms is None else interval_ms
    jitter, timeout = jitter_ms, timeout_ms
    if timeout is None:
        room = interval - (jitter or 0)
        timeout = max(min(TIMEOUT_MS_DEFAULT, interval * 8 // 10, room), TIMEOUT_MS[0])
    if jitter is None:
        jitter = max(min(interval // 10, interval - timeout), 0)
    if jitter + timeout > interval:
        raise ValueError(_misfit(interval, jitter, timeout, timeout_is_default=timeout_ms is None))
    return Times(interval_ms=interval, jitter_ms=jitter, timeout_ms=timeout)


def _misfit(interval: int, jitter: int, timeout: int, *, timeout_is_default: bool) -> str:
    whole = format_duration(interval)
    if timeout > interval:
        kind = format_duration(interval * 8 // 10)
        return f"timeout {format_duration(timeout)} is longer than the interval {whole} ({kind} leaves room for jitter)"
    kind = "the least timeout" if timeout_is_default else "timeout"
    sums = f"jitter {format_duration(jitter)} + {kind} {format_duration(timeout)} = {format_duration(jitter + timeout)}"
    return f"{sums}, more than the interval {whole} (jitter {format_duration(interval - timeout)} would fit)"
