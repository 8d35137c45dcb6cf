"""What a process of ours, or a peer's, costs: its CPU time over a paced window, which a busy machine hardly changes."""

from __future__ import annotations

import time
from collections.abc import Callable

import psutil


def cpu_seconds(pid: int) -> float:
    """User and system time so far, of the process and of the children it has now."""
    process = psutil.Process(pid)
    each = [one.cpu_times() for one in (process, *process.children(recursive=True))]
    return float(sum(one.user + one.system for one in each))


def paced(per_second: float, seconds: float, send: Callable[[int], object]) -> None:
    """Call `send` with each number, from 0, when it is due; what comes late is caught up."""
    began = time.monotonic()
    for number in range(round(per_second * seconds)):
        time.sleep(max(0.0, began + number / per_second - time.monotonic()))
        send(number)
