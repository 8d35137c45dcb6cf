"""
celery-exporter against our worker: what it counts is what the worker did, and what our own metrics say.

It runs from PyPI, in an environment of its own that is made once and cached; docs/decisions/0010 says why that needs
these exact companions. docker-compose.yml runs the same project's image.
"""

from __future__ import annotations

import hashlib
import http.client
import os
import re
import shutil
import subprocess
import sys
import threading
import uuid
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import ClassVar

import pytest

from tests import samples
from tests.ports import free_ports
from tests.waiting import wait_until
from wms_tasks import clock
from wms_tasks.app import app_for
from wms_tasks.names import PROBE_QUEUE, PROBE_TASK
from wms_tasks.order import ProbeOrder
from wms_tasks.settings import PREFIX, Settings
from wms_tasks.sites.record import Site, site_id_for

REQUIREMENTS = ("prometheus-exporter-celery==0.11.2", "packaging", "setuptools", "celery==5.5.3", "kombu<5.6")
START = "from src.cli import cli; cli()"
PROBES = 20
DOWN = "/down"
SAMPLE = re.compile(r"^(celery_\w+)\{(.*?)\} ([\d.e+]+)$", re.MULTILINE)

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        sys.version_info >= (3, 13),
        reason="prometheus-exporter-celery 0.11.2 declares Python <3.13: its own limit; its image has its own Python",
    ),
]


def unavailable(reason: str) -> None:
    """A part that cannot be had: skip here, fail where CI=true."""
    if os.environ.get("CI") == "true":
        pytest.fail(reason, pytrace=False)
    pytest.skip(reason)


@pytest.fixture(scope="module")
def exporter_python() -> Path:
    """The Python of an environment that holds the exporter; made at the first run, which needs the network."""
    wanted = hashlib.sha256(repr((sys.version_info[:3], sys.base_prefix, REQUIREMENTS)).encode()).hexdigest()[:12]
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "wms"
    folder = cache / f"celery-exporter-{wanted}"
    python, whole = folder / "bin" / "python", folder / "whole"
    if not whole.exists():
        shutil.rmtree(folder, ignore_errors=True)
        subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True, capture_output=True, timeout=60)
        install = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *REQUIREMENTS]
        installed = subprocess.run(install, capture_output=True, text=True, timeout=100, check=False)
        if installed.returncode != 0:
            unavailable(f"celery-exporter cannot be installed: {installed.stderr.strip().splitlines()[-1:]}")
        whole.touch()
    return python


@contextmanager
def running(command: list[str], environ: dict[str, str], log: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A process that is ended at the end, asked first."""
    with log.open("wb") as output:
        process = subprocess.Popen(command, env=environ, stdin=subprocess.DEVNULL, stdout=output, stderr=output)
        try:
            yield process
        finally:
            process.terminate()
            try:
                process.wait(timeout=15)
            finally:
                process.kill()
                process.wait()


def scrape(port: int) -> str:
    """The exporter's page, or nothing while it does not answer."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    try:
        connection.request("GET", "/metrics")
        return connection.getresponse().read().decode("utf-8")
    except OSError:
        return ""
    finally:
        connection.close()


def counted(page: str, metric: str) -> int:
    """The sum of a metric's samples for the probe task."""
    return sum(
        int(float(value)) for name, labels, value in SAMPLE.findall(page) if name == metric and PROBE_TASK in labels
    )


def settled(page: str) -> str:
    """The page, once every probe that the worker has taken is done; before that, nothing."""
    done, retried = (counted(page, f"celery_task_{state}_total") for state in ("succeeded", "retried"))
    return page if done > PROBES and done + retried == counted(page, "celery_task_received_total") else ""


class CountingSite(BaseHTTPRequestHandler):
    """Answers 200, on `DOWN` 503, and counts its paths."""

    seen: ClassVar[Counter[str]] = Counter()

    def do_GET(self) -> None:
        """Count and answer."""
        self.seen[self.path] += 1
        self.send_response(503 if self.path == DOWN else 200)
        self.send_header("Content-Length", "2")
        self.end_headers()
        self.wfile.write(b"ok")

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - http.server's name
        """Say nothing."""


@pytest.fixture
def counting_site() -> Iterator[tuple[str, Counter[str]]]:
    """A local site's url, and how often each of its paths was asked for."""
    CountingSite.seen.clear()
    with ThreadingHTTPServer(("127.0.0.1", 0), CountingSite) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}", CountingSite.seen
        server.shutdown()
        thread.join()


def order(url: str) -> ProbeOrder:
    """A slot of a site of its own, due now, with its host's turn already given: one message, one run."""
    now = clock.utcnow()
    name = f"exporter-{uuid.uuid4().hex[:12]}"
    site = Site(
        site_id=site_id_for(name),
        name=name,
        url=url,
        robots="ignore",
        timeout_seconds=5.0,
        # A turn taken late lapses after a tenth of the spacing; here none does, or its message would be received twice.
        spacing_seconds=600.0,
    )
    return ProbeOrder(site=site, scheduled_at=now, due_at=now, expires_at=now + timedelta(seconds=60), turn_at=now)


def test_exporter_counts_what_the_worker_did(
    exporter_python: Path,
    settings: Settings,
    wms_environ: dict[str, str],
    counting_site: tuple[str, Counter[str]],
    tmp_path: Path,
) -> None:
    """Each state is the worker's own total and our metrics' too; every probe reached the site once, a retry again."""
    url, seen = counting_site
    port, own_port = free_ports(2)
    options = [
        f"--broker-url={settings.broker_url}",
        f"--broker-transport-option=global_keyprefix={settings.key_prefix}",
        "--host=127.0.0.1",
        f"--port={port}",
    ]
    environ = {key: value for key, value in os.environ.items() if not key.startswith(PREFIX)}
    worker = [sys.executable, "-m", "celery", "-A", "wms_tasks", "worker"]
    celery = app_for(settings)
    with ExitStack() as stack:
        stack.callback(celery.close)
        exporter_log, worker_log = tmp_path / "exporter.log", tmp_path / "worker.log"
        stack.enter_context(running([str(exporter_python), "-c", START, *options], environ, exporter_log))
        wait_until(lambda: scrape(port), timeout_seconds=30, what="the exporter answers", every_seconds=0.2)
        ours = wms_environ | {"WMS_METRICS_PORT": str(own_port)}
        stack.enter_context(running(worker, environ | ours, worker_log))
        wait_until(
            lambda: re.search(r"^celery_worker_up\{.*\} 1\.0$", scrape(port), re.MULTILINE),
            timeout_seconds=40,
            what="the exporter sees the worker",
            every_seconds=0.2,
        )
        for path in [*map("/{}".format, range(PROBES)), DOWN]:
            message = order(url + path).to_message()
            celery.send_task(PROBE_TASK, kwargs={"order": message}, queue=PROBE_QUEUE, expires=60)
        wait_until(
            lambda: seen.total() == PROBES + 2, timeout_seconds=30, what=f"all probes: {worker_log.read_text()[-2000:]}"
        )
        page = wait_until(
            lambda: settled(scrape(port)), timeout_seconds=20, what="the exporter counts them", every_seconds=0.2
        )
        stats = celery.control.inspect(timeout=3).stats() or {}
        own = samples.scrape(own_port)

    done = sum(worker["total"].get(PROBE_TASK, 0) for worker in stats.values())
    # A retry is another message, and another run.
    assert done == PROBES + 2
    assert counted(page, "celery_task_received_total") == done
    assert counted(page, "celery_task_succeeded_total") == own.sum("wms_probe_results_total") == PROBES + 1
    assert counted(page, "celery_task_retried_total") == own.sum("wms_probe_retries_total") == 1
    assert counted(page, "celery_task_failed_total") == own.sum("wms_probe_given_up_total") == 0
    assert own.sum("wms_probe_results_total", outcome="down", reason="status") == 1
    assert seen == Counter({f"/{number}": 1 for number in range(PROBES)} | {DOWN: 2})
