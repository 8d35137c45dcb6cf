"""Real role processes on the test's services: start, read what they said, stop, kill; never more than their own."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from tests.waiting import wait_until

CELERY = [sys.executable, "-m", "celery", "-A", "wms_tasks"]
LAST_LINES = 40
ROOT = Path(__file__).parents[2]


class Role:
    """One process. Its output goes to a file, so that no pipe can fill up."""

    def __init__(self, arguments: list[str], environ: Mapping[str, str], log: Path, folder: Path = ROOT) -> None:
        self.log = log
        outside = {name: value for name, value in os.environ.items() if not name.startswith("WMS_")}
        with log.open("wb") as output:
            self.process = subprocess.Popen(
                arguments,
                env={**outside, "PYTHONUNBUFFERED": "1", "WMS_LOG_FORMAT": "console", **environ},
                cwd=folder,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def said(self) -> str:
        """All it has written so far."""
        return self.log.read_text(encoding="utf-8", errors="replace")

    def until_said(self, text: str, timeout_seconds: float = 20.0) -> None:
        """Wait for a text in its output; at the deadline, or if it ends before, the error shows the output."""

        def found() -> bool:
            if text in self.said():
                return True
            assert self.process.poll() is None, f"ended with {self.process.returncode}:\n{self.said()}"
            return False

        try:
            wait_until(found, timeout_seconds, text)
        except AssertionError as error:
            raise AssertionError(f"{error}\n{self.said()}") from error

    def send_signal(self, signum: signal.Signals) -> None:
        """Send it a signal."""
        self.process.send_signal(signum)

    def stop(self, signum: signal.Signals = signal.SIGTERM, timeout_seconds: float = 15.0) -> tuple[int, float]:
        """Signal it and wait; exit code and how many seconds that took."""
        began = time.monotonic()
        self.send_signal(signum)
        return self.wait(timeout_seconds), time.monotonic() - began

    def wait(self, timeout_seconds: float = 15.0) -> int:
        """Its exit code; at the deadline, the error shows its output."""
        try:
            return self.process.wait(timeout_seconds)
        except subprocess.TimeoutExpired as error:
            raise AssertionError(f"still running:\n{self.said()}") from error

    def end(self) -> None:
        """Kill it and its children, if it is still there."""
        if self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait(5)


class Roles:
    """Starts roles with one environment; whatever is still running at the end is killed."""

    def __init__(self, environ: Mapping[str, str], folder: Path) -> None:
        self.environ = dict(environ)
        self.folder = folder
        self._started: list[Role] = []

    def start(self, *arguments: str, program: list[str] | None = None, folder: Path = ROOT, **environ: str) -> Role:
        """``celery -A wms_tasks *arguments``, or another program; ``environ`` on top of the common one."""
        log = self.folder / f"{len(self._started)}-{arguments[0] if arguments else 'program'}.log"
        role = Role([*(program or CELERY), *arguments], {**self.environ, **environ}, log, folder)
        self._started.append(role)
        return role

    def worker(self, *arguments: str, folder: Path = ROOT, **environ: str) -> Role:
        """A worker that takes messages."""
        role = self.start("worker", "-n", f"w{len(self._started)}@%h", *arguments, folder=folder, **environ)
        role.until_said(" ready.")
        return role

    def said(self) -> str:
        """The last lines of each, for whoever reads why a test failed."""
        return "\n".join(
            "\n".join([f"== {role.log.name}", *role.said().splitlines()[-LAST_LINES:]]) for role in self._started
        )

    def end(self) -> None:
        """Leave nothing behind."""
        for role in self._started:
            role.end()


@contextmanager
def roles(environ: Mapping[str, str], folder: Path) -> Iterator[Roles]:
    """`Roles` that are gone afterwards; a failure shows what they said."""
    started = Roles(environ, folder)
    try:
        yield started
    except AssertionError as error:
        error.add_note(started.said())
        raise
    finally:
        started.end()
