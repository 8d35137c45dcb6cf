"""
The words a problem is told in: what was written, safe to print, and the nearest thing that would have been right.

Pure text; every check of the sites file uses it, nothing else does. Never hand it a secret: it repeats what it gets.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable
from functools import lru_cache

SHOWN_CHARACTERS = 60  # as much as is needed to find the place, and one line stays one line on a terminal
# What breaks a log line, a header or a terminal: C0, DEL and C1, the Unicode line breaks, and the marks that turn text
# around (they let a name look like another one).
CONTROL = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]")


def shown(text: str) -> str:
    """`text` in single quotes, shortened, with control characters and surrogates as escapes."""
    short = text if len(text) <= SHOWN_CHARACTERS else text[: SHOWN_CHARACTERS - 1] + "…"
    if CONTROL.search(short) or not short.isprintable():
        short = short.encode("unicode_escape").decode("ascii")
    return f"'{short}'"


@lru_cache(maxsize=1024)
def nearest(word: str, known: tuple[str, ...]) -> str | None:
    """The one of `known` that `word` most looks like; None where none comes near."""
    close = difflib.get_close_matches(word[:SHOWN_CHARACTERS].strip().lower(), [k.lower() for k in known], n=1)
    return next((k for k in known if k.lower() == close[0]), None) if close else None


def suggestion(word: str, known: tuple[str, ...]) -> str:
    """``did you mean X?``, or all that is known where nothing comes near."""
    near = nearest(word, known)
    return f"did you mean {near}?" if near else f"known: {', '.join(known)}"


def listed(names: Iterable[str], *, at_most: int) -> str:
    """Names, comma separated, and how many more there are."""
    all_names = list(names)
    more = len(all_names) - at_most
    return ", ".join(all_names[:at_most]) + (f" and {more} more" if more > 0 else "")
