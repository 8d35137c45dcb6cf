"""
docker-compose.yml's own command lines and health checks, as processes on the embedded services.

Each role gets the variables that its service names and no others, so a role that needs one more shows here. Like its
container it has no capability, and may write to its own /tmp only.
"""

from __future__ import annotations

import http.client
import os
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import psycopg
import pytest
import yaml

from tests import read_only
from tests.ports import free_ports
from tests.waiting import wait_until
from wms_tasks import clock
from wms_tasks.settings import PREFIX, Settings

ROOT = Path(__file__).resolve().parents[2]
ROLES = ("persist", "worker", "beat", "flower")
# What every role may take from TERM to its end.
STOPPING_SECONDS = 12.0
FLOWER_PORT = "5555"

# Isolates the test on services that it shares; nothing that a role would need in a container.
OF_THE_TEST = {f"{PREFIX}TOPIC_SUFFIX", f"{PREFIX}KAFKA_TOPIC_PARTITIONS", f"{PREFIX}WORKER_CONCURRENCY"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Role:
    """A service of ours: what to run, how to ask whether it is well, and with which environment."""

    name: str
    command: list[str]
    health_check: list[str]
    environ: dict[str, str]
    log: Path
    scratch: Path

    def healthy(self) -> bool:
        """Whether the service's own health check says so."""
        checked = subprocess.run(self.health_check, env=self.environ, capture_output=True, timeout=20, check=False)
        return checked.returncode == 0


def with_defaults(value: str) -> str:
    """Compose's interpolation for an empty environment: ``${NAME:-default}`` is the default."""
    return re.sub(r"\$\{\w+:-([^}]*)\}", r"\1", value)


def role(name: str, service: dict[str, Any], given: dict[str, str], ports: list[int], folder: Path) -> Role:
    """The service as this machine can run it: its words, our addresses, ports that are free."""
    metrics_port, flower_port = (str(port) for port in ports)
    own = {key: with_defaults(str(value)) for key, value in service["environment"].items()}
    ours = {key: value for key, value in given.items() if key in own or key in OF_THE_TEST}
    scratch = folder / f"{name}.tmp"
    scratch.mkdir()
    environ = {
        **{key: value for key, value in os.environ.items() if not key.startswith(PREFIX)},
        **own,
        **ours,
        # `celery` and `python` are those of the environment under test, as they are those of the image there.
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        f"{PREFIX}METRICS_PORT": metrics_port,
        # What the image says, and what is /tmp there.
        "PYTHONDONTWRITEBYTECODE": "1",
        "HOME": str(scratch),
        "TMPDIR": str(scratch),
    }
    return Role(
        name=name,
        command=[word.replace(FLOWER_PORT, flower_port).replace("0.0.0.0", "127.0.0.1") for word in service["command"]],
        health_check=[word.replace(FLOWER_PORT, flower_port) for word in service["healthcheck"]["test"][1:]],
        environ=environ,
        log=folder / f"{name}.log",
        scratch=scratch,
    )


class Page(BaseHTTPRequestHandler):
    """A site that is up."""

    def do_GET(self) -> None:
        """Answer 200."""
        self.send_response(200)
        self.send_header("Content-Length", "2")
        self.end_headers()
        self.wfile.write(b"ok")

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - http.server's name
        """Say nothing."""


@pytest.fixture
def site_url() -> Iterator[str]:
    """The url of a local site."""
    with ThreadingHTTPServer(("127.0.0.1", 0), Page) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}/"
        server.shutdown()
        thread.join()


@pytest.fixture(scope="session")
def landlock() -> None:
    """A kernel that can keep a process from writing."""
    if not read_only.available():
        message = "this kernel has no Landlock, so nothing here can be made read-only"
        if os.environ.get("CI") == "true":
            pytest.fail(message, pytrace=False)
        pytest.skip(message)


@pytest.fixture
def roles(landlock: None, wms_environ: dict[str, str], site_url: str, tmp_path: Path) -> list[Role]:
    """Our services, not yet started, watching one local site."""
    sites = tmp_path / "sites.yaml"
    sites.write_text(
        yaml.safe_dump({"sites": [{"name": "local", "url": site_url, "interval": "1s", "robots": "ignore"}]}),
        encoding="utf-8",
    )
    services = yaml.safe_load((ROOT / "docker-compose.yml").read_text(encoding="utf-8"))["services"]
    given = {**wms_environ, f"{PREFIX}SITES": str(sites)}
    ports = free_ports(2 * len(ROLES))
    return [
        role(name, services[name], given, ports[2 * index : 2 * index + 2], tmp_path)
        for index, name in enumerate(ROLES)
    ]


def start(stack: ExitStack, one: Role) -> subprocess.Popen[bytes]:
    """Run it, writing to its scratch folder only; killed at the end if it is still there."""
    log = stack.enter_context(one.log.open("wb"))
    process = subprocess.Popen(
        [*read_only.command(one.scratch), *one.command],
        env=one.environ, stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=one.log.parent,
    )  # fmt: skip
    stack.callback(process.wait)
    stack.callback(process.kill)
    return process


def lives_and_is_well(process: subprocess.Popen[bytes], one: Role) -> bool:
    """The health check's answer; a role that has ended fails the test at once, with the end of its log."""
    assert process.poll() is None, f"{one.name} ended: {one.log.read_text(encoding='utf-8')[-3000:]}"
    return one.healthy()


def status_without_password(one: Role) -> int:
    """What Flower answers to a stranger."""
    (port,) = [word.removeprefix("--port=") for word in one.command if word.startswith("--port=")]
    connection = http.client.HTTPConnection("127.0.0.1", int(port), timeout=5)
    connection.request("GET", "/workers")
    status = connection.getresponse().status
    connection.close()
    return status


def rows(settings: Settings) -> int:
    """How many probes of the site are stored as up."""
    with psycopg.connect(settings.database_url) as connection:
        found = connection.execute("SELECT count(*) FROM wms.results WHERE outcome = 'up'").fetchone()
    assert found is not None
    return int(found[0])


@pytest.mark.slow
def test_the_services_bring_a_site_to_rows_and_stop_in_time(roles: list[Role], settings: Settings) -> None:
    """Started by the file's commands, each becomes healthy by its own check; rows arrive; TERM ends each in 12 s."""
    assert [one.name for one in roles if one.healthy()] == [], "a health check that nobody answers must fail"
    with ExitStack() as stack:
        running = {one.name: (start(stack, one), one) for one in roles}
        for process, one in running.values():
            wait_until(
                partial(lives_and_is_well, process, one),
                timeout_seconds=40,
                what=f"{one.name} is healthy",
                every_seconds=0.2,
            )
        wait_until(lambda: rows(settings) >= 2, timeout_seconds=20, what="two rows", every_seconds=0.2)
        assert status_without_password(running["flower"][1]) == HTTPStatus.UNAUTHORIZED

        asked_at = clock.monotonic()
        for process, _ in running.values():
            process.terminate()
        for process, _ in running.values():
            process.wait(timeout=max(0.1, asked_at + STOPPING_SECONDS - clock.monotonic()))

    logs = {name: one.log.read_text(encoding="utf-8")[-3000:] for name, (_, one) in running.items()}
    assert {name: process.returncode for name, (process, _) in running.items()} == dict.fromkeys(ROLES, 0), logs


def test_a_program_that_writes_elsewhere_fails(landlock: None, tmp_path: Path) -> None:
    """So that a role which runs is one that does not write there."""
    allowed = tmp_path / "allowed"
    allowed.mkdir()
    attempts = {
        f"echo > {allowed}/new": 0,
        f"mkdir {allowed}/folder && echo > {allowed}/folder/new": 0,
        "echo > /dev/null": 0,
        f"echo > {tmp_path}/new": 2,
        f"mkdir {tmp_path}/folder": 1,
        f": > {Path(__file__)}": 2,
        f"mv {allowed}/new {tmp_path}/moved": 1,
        "grep -q '^CapEff:[[:space:]]*0*$' /proc/self/status": 0,
    }
    ended = {
        attempt: subprocess.run(
            [*read_only.command(allowed), "sh", "-c", attempt], capture_output=True, timeout=20, check=False
        ).returncode
        for attempt in attempts
    }

    assert ended == attempts
    assert sorted(path.name for path in tmp_path.iterdir()) == ["allowed"]


def test_the_sites_of_the_compose_file_are_valid() -> None:
    """`wms sites validate` has nothing to say about the sites that the file mounts, and needs no setting."""
    command = [sys.executable, "-m", "wms_tasks.cli", "sites", "validate", "ops/compose/sites/sites.yaml"]
    environ = {key: value for key, value in os.environ.items() if not key.startswith(PREFIX)}
    checked = subprocess.run(command, cwd=ROOT, env=environ, capture_output=True, text=True, timeout=60, check=False)

    assert checked.returncode == 0, checked.stderr
