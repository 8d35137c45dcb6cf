"""The peer of the probe worker: Prometheus' blackbox_exporter, asked for probes as Prometheus asks it."""

from __future__ import annotations

import http.client
import shutil
import subprocess
import threading
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import quote

from bench.cpu import cpu_seconds, paced
from bench.figure import PeerMissing
from tests.ports import free_ports
from tests.waiting import wait_until

PROGRAMS = ("prometheus-blackbox-exporter", "blackbox_exporter")
_CONFIG = """\
modules:
  http: {prober: http, http: {preferred_ip_protocol: ip4, tls_config: {server_name: SERVER_NAME}}}
"""
_AT_ONCE = 32


def program() -> str:
    """
    Its path.

    Raises:
        PeerMissing: it is not installed.
    """
    found = next(filter(None, map(shutil.which, PROGRAMS)), None)
    if found is None:
        raise PeerMissing("blackbox_exporter is not here; Debian: apt-get install prometheus-blackbox-exporter")
    return found


class Blackbox:
    """A running one. Asked over kept connections, as Prometheus does: it pays for no new one between the two."""

    def __init__(self, pid: int, port: int) -> None:
        self.pid = pid
        self._port = port
        self._own = threading.local()

    def _get(self, path: str) -> str:
        if not hasattr(self._own, "connection"):
            self._own.connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=10)
        self._own.connection.request("GET", path)
        answer: bytes = self._own.connection.getresponse().read()
        return answer.decode()

    def ready(self) -> bool:
        """Whether it answers."""
        try:
            return bool(self._get("/-/healthy"))
        except OSError:
            del self._own.connection
            return False

    def close(self) -> None:
        """Close this thread's connection."""
        if hasattr(self._own, "connection"):
            self._own.connection.close()

    def page(self, url: str) -> str:
        """One probe, as Prometheus is told of it."""
        return self._get(f"/probe?module=http&target={quote(url, safe='')}")

    def probe(self, url: str) -> None:
        """One probe; an AssertionError where it found the site down."""
        answer = self.page(url)
        assert "\nprobe_success 1\n" in answer, answer

    def cpu_ms_per_probe(self, url_of: Callable[[int], str], *, per_second: float, seconds: float) -> float:
        """Its CPU time for each of so many probes a second."""
        with ThreadPoolExecutor(_AT_ONCE) as pool:
            before = cpu_seconds(self.pid)
            asked = []
            paced(per_second, seconds, lambda number: asked.append(pool.submit(self.probe, url_of(number))))
            for one in asked:
                one.result()
            return 1000 * (cpu_seconds(self.pid) - before) / len(asked)


@contextmanager
def blackbox(folder: Path, *, server_name: str = "", environ: Mapping[str, str] | None = None) -> Iterator[Blackbox]:
    """
    One with its defaults; gone afterwards.

    Raises:
        PeerMissing: it is not installed.
    """
    path, port, config = program(), free_ports(1)[0], folder / "blackbox.yml"
    config.write_text(_CONFIG.replace("SERVER_NAME", f'"{server_name}"'), encoding="utf-8")
    command = [path, f"--config.file={config}", f"--web.listen-address=127.0.0.1:{port}", "--log.level=error"]
    with subprocess.Popen(command, env=environ) as process:
        own = Blackbox(process.pid, port)
        try:
            wait_until(own.ready, 10, path)
            yield own
        finally:
            own.close()
            process.terminate()
