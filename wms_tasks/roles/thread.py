"""
A role in a thread of its own: its end is either asked for, or the end of the process.

Used by steps.py for the persist loop and for beat; both would otherwise die unseen in a process that looks alive.
"""

from __future__ import annotations

import threading
from collections.abc import Callable

import structlog

from wms_tasks.errors import WmsError
from wms_tasks.roles import stop

log = structlog.get_logger()


class RoleThread:
    """``run`` works until ``ask_to_end`` was called, which must make it return soon."""

    def __init__(self, name: str, *, run: Callable[[], None], ask_to_end: Callable[[], None]) -> None:
        self.name = name
        self._run = run
        self._ask_to_end = ask_to_end
        self._asked = False
        self._thread = threading.Thread(target=self._guarded, name=f"role-{name}", daemon=True)

    def start(self) -> None:
        """Begin; returns at once."""
        self._thread.start()

    def end(self, timeout_seconds: float) -> None:
        """Ask it to end and wait for that; idempotent."""
        if not self._asked:
            self._asked = True
            self._ask_to_end()
        if self._thread.is_alive():
            self._thread.join(timeout_seconds)
        if self._thread.is_alive():
            log.warning("role.not_ended", role=self.name, waited_seconds=timeout_seconds)

    def _guarded(self) -> None:
        try:
            self._run()
            why = "it returned"
        except WmsError as error:
            why = str(error)
        except SystemExit:
            why = "it gave up at its start"
        except BaseException as error:
            why = f"{type(error).__name__}: {error}"
            if not self._asked:
                log.exception("role.failed", role=self.name)
        if not self._asked:
            log.critical("role.ended_unasked", role=self.name, why=why, then="the process ends with exit 1")
            stop.end_worker(f"{self.name} ended: {why}", exit_code=1)
