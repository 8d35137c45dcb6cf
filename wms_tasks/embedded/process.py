"""
One service process: started in a session of its own, ended with us, found again after a kill -9. POSIX; on Linux the
kernel itself ends it when we die.

The session keeps a Ctrl-C in the terminal from reaching it (we stop it last, ourselves). The parent-death signal is
tied to the *thread* that starts it: `ServiceProcess.launch` must be called from the main thread, or from one that
outlives the service, else the service ends with that thread. Used by postgres.py, valkey.py and kafka.py.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import psutil

from wms_tasks import clock
from wms_tasks.errors import EmbeddedError

LAUNCHER = Path(__file__).with_name("launch.py")
POLL_SECONDS = 0.02
KILL_SECONDS = 5.0
# psutil derives a start time from the boot time, which moves a little when the wall clock is set.
START_TIME_SLACK_SECONDS = 2.0
LOG_KEEP_BYTES = 4 * 1024**2
TELLING = re.compile(r"could not bind|FATAL|ERROR|PANIC|Exception|[Ff]ailed|[Ee]rror:|# ")


@dataclass(frozen=True, slots=True, kw_only=True)
class Program:
    """
    What to run. Every command line contains `folder`, by which a process left behind is known as ours.

    ``stop_signal`` is the one that ends it cleanly, also when our own death ends it. ``uid``: give up root for it.
    """

    name: str
    folder: Path
    argv: tuple[str, ...]
    stop_signal: signal.Signals
    stop_seconds: float
    uid: int | None = None
    reach: tuple[Path, ...] = ()
    # Given to it beside the little that every service gets; ours stays with us.
    environ: tuple[tuple[str, str], ...] = ()

    @property
    def log(self) -> Path:
        """Where its output goes."""
        return self.folder / "log"

    @property
    def pid_file(self) -> Path:
        """JSON: ``pid`` and ``started_at`` (seconds since the epoch, by psutil)."""
        return self.folder / "pid"


def _spawn(program: Program, argv: tuple[str, ...]) -> subprocess.Popen[bytes]:
    environ = {"PATH": os.defpath, "LC_ALL": "C.UTF-8", "TZ": "UTC", "HOME": str(program.folder)}
    order = {
        "argv": argv,
        "env": environ | dict(program.environ),
        "parent": os.getpid(),
        "death_signal": int(program.stop_signal),
        "uid": program.uid,
        "reach": [str(path) for path in program.reach],
    }
    with program.log.open("ab") as log:
        return subprocess.Popen(
            [sys.executable, "-I", "-S", str(LAUNCHER), json.dumps(order)],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            cwd=program.folder,
            start_new_session=True,
        )


def run_once(program: Program, argv: tuple[str, ...], *, what: str, timeout_seconds: float = 60.0) -> None:
    """
    Run a preparing command (initdb, format) to its end, under the service's uid and into its log.

    Raises:
        EmbeddedError: it failed or took too long.
    """
    start_offset = program.log.stat().st_size if program.log.exists() else 0
    child = _spawn(program, argv)
    try:
        code = child.wait(timeout_seconds)
    except subprocess.TimeoutExpired:
        raise EmbeddedError(
            f"{program.name}: {what} took longer than {timeout_seconds:g} s; see {program.log}"
        ) from None
    finally:
        if child.poll() is None:
            _kill_tree(psutil.Process(child.pid))
            child.wait(KILL_SECONDS)
    if code != 0:
        raise EmbeddedError(f"{program.name}: {what} failed: {telling_line(program.log, start_offset)}")


def telling_line(log: Path, start_offset: int = 0) -> str:
    """The line of `log` after `start_offset` bytes that most likely says why, and the log's path."""
    with contextlib.suppress(OSError), log.open("rb") as file:
        file.seek(max(start_offset, log.stat().st_size - 256 * 1024))
        lines = [line.strip() for line in file.read().decode("utf-8", "replace").splitlines() if line.strip()]
        telling = [line for line in lines if TELLING.search(line)]
        if lines:
            return f"{(telling or lines)[0 if telling else -1][:300]} (log: {log})"
    return f"it said nothing (log: {log})"


def _kill_tree(process: psutil.Process) -> None:
    """SIGKILL a process and what it had started; a service killed so cannot clean up after itself."""
    with contextlib.suppress(psutil.NoSuchProcess):
        family = [process, *process.children(recursive=True)]
        for member in family:
            with contextlib.suppress(psutil.NoSuchProcess):
                member.kill()
        psutil.wait_procs(family, timeout=KILL_SECONDS)


class ServiceProcess:
    """A `Program` that runs, or ran, or is to run. Not thread-safe; see the module about which thread launches."""

    def __init__(self, program: Program) -> None:
        self.program = program
        self._child: subprocess.Popen[bytes] | None = None
        self._log_offset = 0
        self._stop_deadline: float | None = None

    def launch(self) -> None:
        """
        Start it; returns at once. What a killed run of ours left running in the same folder is ended first.

        Raises:
            EmbeddedError: the leftover would not end.
        """
        self.end_leftover()
        self._rotate_log()
        self._child = _spawn(self.program, self.program.argv)
        record = {"pid": self._child.pid, "started_at": psutil.Process(self._child.pid).create_time()}
        self.program.pid_file.write_text(json.dumps(record), encoding="ascii")

    def wait_ready(self, ready: Callable[[], bool], *, timeout_seconds: float) -> None:
        """
        Poll `ready` until it says so.

        Raises:
            EmbeddedError: it ended or did not get ready in time; names the log's telling line. It is stopped then.
        """
        deadline = clock.monotonic() + timeout_seconds
        while not ready():
            if not self.running:
                self.program.pid_file.unlink(missing_ok=True)
                raise EmbeddedError(f"{self.program.name} did not start: {self._telling_line()}")
            if clock.monotonic() > deadline:
                self.stop()
                raise EmbeddedError(
                    f"{self.program.name} was not ready after {timeout_seconds:g} s: {self._telling_line()}"
                )
            time.sleep(POLL_SECONDS)

    @property
    def running(self) -> bool:
        """Whether the process we launched has not ended."""
        return self._child is not None and self._child.poll() is None

    @property
    def exit_code(self) -> int | None:
        """Of the process we launched last; None while it runs, and where there is none."""
        return None if self._child is None else self._child.poll()

    @property
    def pid(self) -> int | None:
        """Of the process we launched last."""
        return None if self._child is None else self._child.pid

    def signal_stop(self) -> None:
        """Ask it to end, once, and return at once; `stop` waits. Lets several services stop side by side."""
        if self._child is not None and self._stop_deadline is None:
            self._child.send_signal(self.program.stop_signal)
            self._stop_deadline = clock.monotonic() + self.program.stop_seconds

    def stop(self) -> None:
        """End it: its own signal, a deadline counted from that, then kill. Does nothing when it does not run."""
        self.signal_stop()
        if self._child is None or self._stop_deadline is None:
            return
        try:
            self._child.wait(max(0.0, self._stop_deadline - clock.monotonic()))
        except subprocess.TimeoutExpired:
            _kill_tree(psutil.Process(self._child.pid))
            self._child.wait(KILL_SECONDS)
        self._child = self._stop_deadline = None
        self.program.pid_file.unlink(missing_ok=True)

    def leftover(self) -> psutil.Process | None:
        """The process a killed run left in this folder, if it lives and is ours: same pid, start time and folder."""
        try:
            record = json.loads(self.program.pid_file.read_text(encoding="ascii"))
            process = psutil.Process(int(record["pid"]))
            same_start = abs(process.create_time() - float(record["started_at"])) < START_TIME_SLACK_SECONDS
            ours = any(str(self.program.folder) in argument for argument in process.cmdline())
        except (OSError, ValueError, KeyError, TypeError, psutil.Error):
            return None
        return process if same_start and ours else None

    def end_leftover(self) -> None:
        """
        End what `leftover` finds, gracefully if it will; never a stranger that got the same pid since.

        Raises:
            EmbeddedError: it lives on.
        """
        process = self.leftover()
        if process is not None and not self.running:
            family = [process, *process.children(recursive=True)]
            with contextlib.suppress(psutil.NoSuchProcess):
                process.send_signal(self.program.stop_signal)
            _, alive = psutil.wait_procs(family, timeout=self.program.stop_seconds)
            for member in alive:
                _kill_tree(member)
            if any(member.is_running() and member.status() != psutil.STATUS_ZOMBIE for member in alive):
                raise EmbeddedError(f"{self.program.name} of an earlier run (pid {process.pid}) cannot be ended")
        self.program.pid_file.unlink(missing_ok=True)

    def _rotate_log(self) -> None:
        log = self.program.log
        if log.exists() and log.stat().st_size > LOG_KEEP_BYTES:
            log.replace(log.with_name("log.1"))
        self._log_offset = log.stat().st_size if log.exists() else 0

    def _telling_line(self) -> str:
        return telling_line(self.program.log, self._log_offset)
