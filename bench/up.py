"""`wms up` for a benchmark, as a user runs it: in a folder of its own, on ports of its own."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import psutil

from tests.ports import free_ports

_PORTS = ("POSTGRES", "VALKEY", "KAFKA", "KAFKA_CONTROLLER", "DEMO", "FLOWER", "HEALTH")
_SERVICES = ("postgres", "kafka", "valkey", "flower")
_STOP_SECONDS = 30.0


def environ_for_up() -> dict[str, str]:
    """The environment without our settings but ports that are free."""
    outside = {name: value for name, value in os.environ.items() if not name.startswith("WMS_")}
    ports = zip(_PORTS, free_ports(len(_PORTS)), strict=True)
    return outside | {f"WMS_UP_{name}_PORT": str(port) for name, port in ports} | {"WMS_ALLOW_NETWORKS": "127.0.0.0/8"}


class Up:
    """The command, running in `folder`."""

    def __init__(self, folder: Path, process: subprocess.Popen[bytes]) -> None:
        self.folder = folder
        self.process = process

    def pss_bytes(self) -> dict[str, int]:
        """Of "up" itself and of each service: what its processes have alone, and their part of what they share."""
        found = {name: sum(map(_pss, _family(self._pid_of(name)))) for name in _SERVICES}
        return found | {"up": _pss(psutil.Process(self.process.pid))}

    def _pid_of(self, service: str) -> int:
        return int(json.loads((self.folder / ".wms" / service / "pid").read_text(encoding="ascii"))["pid"])


def _family(pid: int) -> list[psutil.Process]:
    process = psutil.Process(pid)
    return [process, *process.children(recursive=True)]


def _pss(process: psutil.Process) -> int:
    return int(process.memory_full_info().pss)


@contextmanager
def up(folder: Path, environ: Mapping[str, str]) -> Iterator[Up]:
    """``folder`` holds sites.yaml; it is asked to end afterwards, and has ended."""
    with (folder / "said").open("ab") as said:
        process = subprocess.Popen(
            [sys.executable, "-m", "wms_tasks.cli", "up", "--sites", "sites.yaml"],
            cwd=folder,
            env=environ,
            stdin=subprocess.DEVNULL,
            stdout=said,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        yield Up(folder, process)
    finally:
        process.send_signal(signal.SIGINT)
        try:
            process.wait(_STOP_SECONDS)
        finally:
            process.kill()
