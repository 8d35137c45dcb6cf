"""
That this process is stopping: said once, seen everywhere. Those who hold something give it back when they see it.

The first to say it gives the exit code and the reason. Nothing here ends the process; roles/stop.py does.
"""

from __future__ import annotations

import threading


class Stopping:
    """An event with a reason. Thread-safe; ``begin`` may be called from a signal handler."""

    def __init__(self) -> None:
        self._event = threading.Event()
        self.exit_code = 0
        self.why = ""

    def begin(self, why: str, *, exit_code: int = 0) -> bool:
        """Stop from now on; False if that was said before."""
        if self._event.is_set():
            return False
        self.exit_code, self.why = exit_code, why
        self._event.set()
        return True

    def begun(self) -> bool:
        """Whether we are stopping."""
        return self._event.is_set()

    def wait(self, timeout_seconds: float | None = None) -> bool:
        """Wait until we are; False if that took too long."""
        return self._event.wait(timeout_seconds)


STOPPING = Stopping()
