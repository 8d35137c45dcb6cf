"""Python's collector as a new process has it: a test before may have asked for less, or left a large heap."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def as_in_a_new_process() -> Iterator[None]:
    """Its own thresholds, and nothing to look through but what is made within; afterwards as it was."""
    before, was_frozen = gc.get_threshold(), gc.get_freeze_count() > 0
    gc.collect()
    gc.freeze()
    gc.set_threshold(700, 10, 10)
    try:
        yield
    finally:
        gc.set_threshold(*before)
        if not was_frozen:
            gc.unfreeze()
