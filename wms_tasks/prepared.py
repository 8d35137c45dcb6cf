"""
Makes msgspec know a struct when its module is imported, while there is one thread.

msgspec looks into a struct's annotations when it is first asked to make one, and lets other threads use what it has
found before it has found all: the process then dies of a segmentation fault (msgspec 0.22; tests/acceptance/
test_prepared.py). A worker did, whose first messages came together. Encoding does not look.
"""

from __future__ import annotations

from typing import TypeVar

import msgspec

Kind = TypeVar("Kind")


def prepared(kind: type[Kind]) -> type[Kind]:
    """
    The class itself; for every struct that `msgspec.convert` or a ``decode(…, type=…)`` makes later.

    Raises:
        NameError: an annotation names what is defined only after it.
    """
    msgspec.json.Decoder(kind)
    return kind
