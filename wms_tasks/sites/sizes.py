"""
Sizes as people write them: ``512B``, ``64KiB``, ``1MiB``, ``1.5MiB``. Always whole bytes, units of 1024.

A plain number is refused, and so is ``KB``, which means 1000 to some and 1024 to others.
"""

from __future__ import annotations

import re
from decimal import Decimal
from functools import lru_cache

from wms_tasks.sites.wording import shown

BYTES_PER_UNIT = {"B": 1, "KiB": 1024, "MiB": 1024**2}
FORMS = "write it like 64KiB or 1MiB"
_SIZE = re.compile(r"([0-9]{1,12}(?:\.[0-9]{1,9})?)\s*([A-Za-z]*)")
# By the first letter, in lower case: what people write instead.
_MEANT = {"": "B", "b": "B", "k": "KiB", "m": "MiB"}


@lru_cache(maxsize=1024)
def parse_size_bytes(text: str) -> int:
    """
    Whole bytes.

    Raises:
        ValueError: not a size; the text says what was probably meant.
    """
    match = _SIZE.fullmatch(text.strip())
    number, unit = match.groups() if match else ("", "")
    if unit not in BYTES_PER_UNIT:
        meant = _MEANT.get(unit[:1].lower()) if match else None
        raise ValueError(f"{shown(text)} is not a size ({f'did you mean {number}{meant}?' if meant else FORMS})")
    size = Decimal(number) * BYTES_PER_UNIT[unit]
    if size != int(size):
        raise ValueError(f"{shown(text)} is not a whole number of bytes")
    return int(size)


def format_size(size_bytes: int) -> str:
    """The shortest text that `parse_size_bytes` reads as `size_bytes`: ``1MiB``, ``1500B``."""
    for unit in ("MiB", "KiB"):
        count, rest = divmod(size_bytes, BYTES_PER_UNIT[unit])
        if count and not rest:
            return f"{count}{unit}"
    return f"{size_bytes}B"
