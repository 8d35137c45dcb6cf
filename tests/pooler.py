"""A real PgBouncer by transaction before a database, as Aiven's pools are: one server connection for all who come."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import psycopg
import pytest

from tests.ports import free_ports
from tests.waiting import wait_until

_PATH = os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin", "/usr/local/sbin"])
CONFIG = """
[databases]
* = host={host} port={port} user={user} password={password}
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {listen_port}
unix_socket_dir =
auth_type = any
pool_mode = transaction
default_pool_size = 1
ignore_startup_parameters = extra_float_digits,search_path
"""


def program() -> str:
    """Where it is; without it the test is skipped here, and fails where CI=true."""
    found = shutil.which("pgbouncer", path=_PATH)
    if found is None:
        why = "pgbouncer is not found (apt-get install pgbouncer)"
        pytest.fail(why) if os.environ.get("CI") == "true" else pytest.skip(why)
    return found


@contextmanager
def pooled(url: str, folder: Path) -> Iterator[str]:
    """The same database's url through it; who logs in does not matter to it, the server sees the url's own login."""
    there, (port,) = urlsplit(url), free_ports(1)
    words = {"host": there.hostname, "port": there.port, "user": there.username, "password": there.password or ""}
    config = folder / "pgbouncer.ini"
    config.write_text(CONFIG.format(**words, listen_port=port), encoding="utf-8")
    # It refuses to run as root.
    unprivileged = ["--user", "nobody"] if os.geteuid() == 0 else []
    with (folder / "pgbouncer.log").open("wb") as log:
        process = subprocess.Popen([program(), *unprivileged, str(config)], stdout=log, stderr=log)
    through = f"postgresql://{there.username}@127.0.0.1:{port}{there.path}"
    try:
        wait_until(lambda: _answers(through), 10, "pgbouncer")
        yield through
    finally:
        process.terminate()
        process.wait(10)


def _answers(url: str) -> bool:
    try:
        psycopg.connect(url, connect_timeout=2).close()
    except psycopg.OperationalError:
        return False
    return True
