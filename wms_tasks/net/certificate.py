"""
What a peer's certificate says, verified or not: DER in, `Certificate` out. Called by progress.py.

A site shows the same chain at every probe, so what was read is kept, by the sha256 of the chain.
"""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Sequence

from wms_tasks.result import Certificate

# Some kilobytes each at most; a worker that watches more https sites than this reads some chains again (0.1 ms each).
MAX_KEPT = 4096

_lock = threading.Lock()
_kept: dict[bytes, Certificate | None] = {}


def certificate_of(chain: Sequence[bytes]) -> Certificate | None:
    """As `read_chain`, from what is kept where it was read before. Thread-safe."""
    digest = hashlib.sha256()
    for der in chain:
        digest.update(der)
    key = digest.digest()
    with _lock:
        if key in _kept:
            return _kept[key]
    from wms_tasks.net.chain import read_chain  # the hop is over: what the first import takes is in none of its phases

    found = read_chain(chain)
    with _lock:
        while len(_kept) >= MAX_KEPT:
            del _kept[next(iter(_kept))]  # the oldest
        _kept[key] = found
    return found
