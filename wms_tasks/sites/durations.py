"""
Durations as people write them: ``500ms``, ``30s``, ``5m``, ``1h``, ``1m30s``, ``1.5s``. Always whole milliseconds.

A plain number is refused, because nobody remembers whether it means seconds or milliseconds.
"""

from __future__ import annotations

import re
from decimal import Decimal
from functools import lru_cache

from wms_tasks.sites.wording import shown

MS_PER_UNIT = {"d": 86_400_000, "h": 3_600_000, "m": 60_000, "s": 1_000, "ms": 1}
FORMS = "write it like 500ms, 30s, 5m, 1h or 1m30s"
_NUMBER = r"[0-9]{1,12}(?:\.[0-9]{1,9})?"
_DURATION = re.compile("".join(rf"(?:(?P<{unit}>{_NUMBER}){unit})?" for unit in MS_PER_UNIT))
_PART = re.compile(rf"({_NUMBER})\s*([a-zµ]*)\s*")
# What people write instead of the unit; by the shortest beginning that is not another unit's.
_WORDS = {
    "ms": ("millisecond", "milliseconds", "millis", "msec", "msecs"),
    "s": ("sec", "secs", "second", "seconds"),
    "m": ("min", "mins", "minute", "minutes"),
    "h": ("hr", "hrs", "hour", "hours"),
    "d": ("day", "days"),
}
_UNITS = {word: unit for unit, words in _WORDS.items() for word in (unit, *words)}


@lru_cache(maxsize=4096)
def parse_duration_ms(text: str) -> int:
    """
    Whole milliseconds.

    Raises:
        ValueError: not a duration; the text says what was probably meant.
    """
    match = _DURATION.fullmatch(text)
    if match is None or not text:
        raise ValueError(f"{shown(text)} is not a duration ({_hint(text)})")
    ms = sum(Decimal(number) * MS_PER_UNIT[unit] for unit, number in match.groupdict(default="0").items())
    if ms != int(ms):
        raise ValueError(f"{shown(text)} is not a whole number of milliseconds (the smallest step is 1ms)")
    return int(ms)


def format_duration(ms: int) -> str:
    """The shortest text that `parse_duration_ms` reads as `ms`: ``1m30s``, ``1.8s``, ``800ms``, ``0s``."""
    parts = []
    for unit in ("d", "h", "m"):
        count, ms = divmod(ms, MS_PER_UNIT[unit])
        if count:
            parts.append(f"{count}{unit}")
    if ms >= 1000:
        parts.append(f"{ms / 1000:g}s")
    elif ms:
        parts.append(f"{ms}ms")
    return "".join(parts) or "0s"


def _hint(text: str) -> str:
    plain = text.strip().lower()
    if re.fullmatch(_NUMBER, plain):
        return f"did you mean {plain}s?" if Decimal(plain) < 1000 else f"did you mean {plain}ms or {plain}s?"
    parts = _PART.findall(plain)
    meant = "".join(number + _UNITS.get(word, "?") for number, word in parts)
    whole = _PART.sub("", plain) == ""
    return f"did you mean {meant}?" if whole and _DURATION.fullmatch(meant) and meant else FORMS
