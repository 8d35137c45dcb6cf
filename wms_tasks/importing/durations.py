"""Durations as Prometheus writes them: ``30s``, ``1m30s``, ``1d``, ``1w``. Pure."""

from __future__ import annotations

import re

_MS_PER_UNIT = {
    "y": 365 * 86_400_000,
    "w": 7 * 86_400_000,
    "d": 86_400_000,
    "h": 3_600_000,
    "m": 60_000,
    "s": 1_000,
    "ms": 1,
}
_PART = re.compile(r"([0-9]+)(ms|[smhdwy])")
_WHOLE = re.compile(r"([0-9]+(?:ms|[smhdwy]))+")


def prometheus_duration_ms(written: object) -> int | None:
    """Whole milliseconds; None where it is no duration, or none at all."""
    text = str(written).strip()
    if not _WHOLE.fullmatch(text):
        return None
    return sum(int(number) * _MS_PER_UNIT[unit] for number, unit in _PART.findall(text)) or None
