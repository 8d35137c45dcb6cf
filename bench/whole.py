"""The whole system for a benchmark: stores of its own, our roles as processes, and what each of them costs."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

from bench.services import environ_of, services
from tests.acceptance.processes import Role, roles
from tests.ports import free_ports
from tests.waiting import wait_until
from wms_tasks.embedded.postgres import EmbeddedPostgres
from wms_tasks.settings import Settings
from wms_tasks.topic import ensure_topic

OURS = ("beat", "worker", "persist")
STORES = ("Valkey", "Kafka", "Postgres")
# When a row could be seen is when its transaction was committed, which Postgres notes where it is told to.
_NOTE_COMMITS = "track_commit_timestamp = on\n"


@dataclass(frozen=True, slots=True, kw_only=True)
class Stores:
    """Where our processes find theirs, and the process of each by its name in `STORES`."""

    settings: Settings
    pids: Mapping[str, int]


@contextmanager
def stores(folder: Path, **given: Any) -> Iterator[Stores]:
    """Valkey, Kafka and Postgres, running; ``given`` are settings beside where they are."""
    (port,) = free_ports(1)
    postgres = EmbeddedPostgres(folder / "postgres", port=port)
    postgres.prepare()
    with (postgres.data / "postgresql.conf").open("a", encoding="utf-8") as config:
        config.write(_NOTE_COMMITS)
    with ExitStack() as stack:
        stack.callback(postgres.stop)
        postgres.launch()
        valkey, kafka = stack.enter_context(services(folder))
        postgres.wait_ready()
        settings = Settings(
            env="test",
            broker_url=valkey.url,
            kafka_bootstrap_servers=kafka.bootstrap_servers,
            database_url=postgres.url(),
            sites=folder / "sites.yaml",
            allow_networks="127.0.0.0/8",
            **given,
        )
        ensure_topic(settings)
        pids = zip(STORES, (valkey.process.pid, kafka.process.pid, postgres.process.pid), strict=True)
        yield Stores(settings=settings, pids={name: pid for name, pid in pids if pid is not None})


class System:
    """The roles; ``start_beat`` may be called again after ``stop_beat``."""

    def __init__(self, start: Callable[..., Role]) -> None:
        self._start = start
        self.health_ports = dict(zip(OURS, free_ports(len(OURS)), strict=True))
        self.roles = {
            "worker": self._role("worker", " ready.", "worker", "-n", "probe@%h"),
            "persist": self._role("persist", "persist.assigned", "worker", "--persist", "-n", "persist@%h"),
        }

    def start_beat(self) -> None:
        """Returns when it leads."""
        self.roles["beat"] = self._role("beat", "beat.leading", "beat")

    def stop_beat(self) -> None:
        """In order, so that a next one goes on where it was."""
        self.roles.pop("beat").stop()

    def pids(self) -> dict[str, int]:
        """By role, those that run."""
        return {name: role.process.pid for name, role in self.roles.items()}

    def _role(self, name: str, said: str, *arguments: str) -> Role:
        role = self._start(*arguments, WMS_HEALTH_PORT=str(self.health_ports[name]))
        role.until_said(said, timeout_seconds=60)
        return role


@contextmanager
def system(settings: Settings, folder: Path) -> Iterator[System]:
    """Worker and persist, running; beat is for the caller to start. All have ended afterwards."""
    logs = folder / "logs"
    logs.mkdir()
    with roles(environ_of(settings), logs) as started:
        yield System(started.start)


def cpu_seconds(pids: Mapping[str, int]) -> dict[str, float]:
    """What each has used so far, with its children, user and system together."""
    return {name: sum(map(_of_process, _family(pid))) for name, pid in pids.items()}


def _family(pid: int) -> list[psutil.Process]:
    process = psutil.Process(pid)
    return [process, *process.children(recursive=True)]


def _of_process(process: psutil.Process) -> float:
    """Also of the children that have ended: Postgres has one for each connection."""
    try:
        used = process.cpu_times()
    except psutil.NoSuchProcess:
        return 0.0
    return float(used.user + used.system + used.children_user + used.children_system)


def write_sites(path: Path, *, count: int, url: str, interval_seconds: float) -> None:
    """Sites named "site N", each on a host of its own; ``{host}`` in the url is its address in 127/8."""
    lines = ["sites:"]
    for number in range(count):
        spec = {
            "name": f"site {number}",
            "url": url.format(host=host_of(number)),
            "interval": f"{interval_seconds * 1000:.0f}ms",
        }
        lines.append(f"  - {json.dumps(spec)}")
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


def host_of(number: int) -> str:
    """Another address in 127/8 for each number below 15 million."""
    return f"127.{1 + number // 62_500}.{number // 250 % 250}.{1 + number % 250}"


def pause(seconds: float) -> None:
    """Let it run."""
    until = time.monotonic() + seconds
    wait_until(lambda: time.monotonic() >= until, seconds + 30, every_seconds=0.1)
