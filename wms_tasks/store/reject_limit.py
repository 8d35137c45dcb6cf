"""
When rejects are too many to be exceptions: then a release or a producer is wrong, and the topic must not be emptied.

Pure. What is judged is what Postgres holds, this batch's own included, so that a restart forgets nothing.
"""

from __future__ import annotations

from collections.abc import Sequence

LAST_MESSAGES = 1_000
IN_A_ROW = 100


def too_many(offsets: Sequence[int], max_share: float) -> str | None:
    """
    What is wrong with a partition's rejects, or None.

    Args:
        offsets: their offsets, ascending, from `LAST_MESSAGES` before the batch on.
        max_share: of the last `LAST_MESSAGES`; from 1 on, nothing is too much.
    """
    if max_share >= 1:
        return None
    first = run = 0
    for n, offset in enumerate(offsets):
        run = run + 1 if n and offsets[n - 1] == offset - 1 else 1
        if run >= IN_A_ROW:
            return f"{IN_A_ROW} messages in a row, up to offset {offset},"
        while offsets[first] <= offset - LAST_MESSAGES:
            first += 1
        if (count := n - first + 1) > max_share * LAST_MESSAGES:
            return f"{count} of the last {LAST_MESSAGES:,} messages up to offset {offset}"
    return None
