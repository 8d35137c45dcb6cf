"""Waiting for other processes and threads: poll until a deadline, never sleep for a guess."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


def wait_until(
    condition: Callable[[], T], timeout_seconds: float = 10.0, what: str = "", *, every_seconds: float = 0.02
) -> T:
    """
    What `condition` returns, as soon as that is true; an AssertionError naming `what` at the deadline.

    An exception from `condition` is not swallowed.
    """
    deadline = time.monotonic() + timeout_seconds
    pause = threading.Event()
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {timeout_seconds:g} s: {what or condition!r}; last: {value!r}")
        pause.wait(every_seconds)
