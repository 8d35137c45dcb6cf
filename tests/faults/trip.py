"""Where to stop a connection: at an exact point of what its client says. Armed on a `tests.faults.proxy.Proxy`."""

from __future__ import annotations

import re
import threading
from dataclasses import dataclass, field
from typing import Literal

Hold = Literal["before", "after", "answer"]


@dataclass(slots=True, eq=False)
class Trip:
    """
    Fires once: on the first connection whose client says all ``patterns``, in this order, from when it is armed.

    ``hold``: ``before`` keeps the last pattern itself back and all that follows; ``after`` lets it pass and
    ``extra_bytes`` more; ``answer`` lets the client speak and keeps back what the server answers from then on.
    When the client leaves while something is kept back, that is thrown away and the server sees it leave.
    ``anywhere``: the patterns may be said on different connections; it fires on the one that says the last.
    """

    patterns: tuple[re.Pattern[bytes], ...]
    hold: Hold
    extra_bytes: int = 0
    anywhere: bool = False
    seen: int = 0
    fired: threading.Event = field(default_factory=threading.Event)


def trip(*patterns: bytes, hold: Hold, extra_bytes: int = 0, anywhere: bool = False) -> Trip:
    """A `Trip` from regular expressions."""
    return Trip(tuple(re.compile(one, re.DOTALL) for one in patterns), hold, extra_bytes, anywhere)
