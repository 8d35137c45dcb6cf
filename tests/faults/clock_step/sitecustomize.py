"""
On PYTHONPATH of a process under test: its wall clock is off by what the file in CLOCK_STEP_FILE says, in seconds.

Python imports a module of this name at its start. time-machine answers for `time` and `datetime` then, and lets the
monotonic clock alone; libfaketime would break time.sleep() of Python 3.11 and later. C code keeps the real time.
"""

from __future__ import annotations

import os
import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path

import time_machine

_LOOK_SECONDS = 0.1


def _follow(file: Path) -> None:
    pause, offset_seconds, travelling = threading.Event(), 0.0, None
    while not pause.wait(_LOOK_SECONDS):
        wanted_seconds = float(file.read_text(encoding="ascii")) if file.exists() else 0.0
        if wanted_seconds == offset_seconds:
            continue
        if travelling is not None:
            travelling.stop()
        offset_seconds, travelling = wanted_seconds, None
        if offset_seconds:
            travelling = time_machine.travel(datetime.now(UTC) + timedelta(seconds=offset_seconds), tick=True)
            travelling.start()


if "CLOCK_STEP_FILE" in os.environ:
    threading.Thread(
        target=_follow, args=(Path(os.environ["CLOCK_STEP_FILE"]),), name="clock-step", daemon=True
    ).start()
