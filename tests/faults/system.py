"""
The system under test: one process a role, on the stage's services through the proxies, and what a supervisor does.

Faults are quick here because every time-out that a setting names is set short; none is set that a user could not set.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from uuid import uuid4

import psycopg

from tests.acceptance.processes import Role, Roles, roles
from tests.faults.sites import Sites
from tests.faults.stage import Stage
from tests.guards import LOOPBACK
from wms_tasks.settings import Settings
from wms_tasks.store.migrate import migrate_to_target

START_SECONDS = 60.0
# Above what a message may be held (Kafka's 8 s, a hop's 10 s): redelivered after 20 to 25 s.
VISIBILITY_SECONDS = 20
LEASE_SECONDS = 3
PARTITIONS = 2
TEMPLATE = "faults_template"


@dataclass(slots=True, eq=False)
class Member:
    """A process of the system by its place (``persist-0``); ``killed``: by us, so a supervisor starts it again."""

    name: str
    arguments: tuple[str, ...]
    environ: dict[str, str]
    said_when_started: str
    role: Role
    killed: bool = False
    stopped: bool = False

    @property
    def pid(self) -> int:
        """Of the process that runs now, or ran last."""
        return self.role.process.pid

    def signal(self, signum: signal.Signals) -> None:
        """To this process only."""
        os.kill(self.pid, signum)
        self.killed = self.killed or signum == signal.SIGKILL
        if signum in {signal.SIGSTOP, signal.SIGCONT}:
            self.stopped = signum == signal.SIGSTOP


class System:
    """Beat, workers and persist workers with a database, a topic and a Redis of their own. Use `running_system`."""

    def __init__(
        self, stage: Stage, sites: Sites, started: Roles, settings: Settings, environ: Mapping[str, str]
    ) -> None:
        """``environ``: for every process; ``{member}`` becomes its name, ``{folder}`` the run's folder."""
        self.stage = stage
        self.environ = environ
        self.sites = sites
        self.settings = settings
        self.members: dict[str, Member] = {}
        self.worker_logs: list[Path] = []
        self._roles = started

    @property
    def database(self) -> str:
        """The name of the run's own database."""
        return self.settings.database_url.rpartition("/")[2]

    @property
    def database_url(self) -> str:
        """Past the proxy."""
        return self.stage.postgres.url(self.database)

    def start(self, name: str, *arguments: str, said: str, **environ: str) -> Member:
        """Start a process; returns at once. ``name`` is its place, and the worker's name in Celery and in results."""
        environ = {**self.environ, **environ}
        member = Member(
            name, arguments, {**environ, "WMS_WORKER_NAME": name}, said, self._spawn(name, arguments, environ)
        )
        self.members[name] = member
        return member

    def start_beat(self, number: int = 0, **environ: str) -> Member:
        """A beat; of two, one leads."""
        return self.start(f"beat-{number}", "beat", said="beat.started", **environ)

    def start_worker(self, number: int = 0, **environ: str) -> Member:
        """A probe worker that writes down what Kafka confirmed."""
        return self.start(f"worker-{number}", "worker", said=" ready.", **{"WMS_LOG_LEVEL": "DEBUG", **environ})

    def start_persist(self, number: int = 0, **environ: str) -> Member:
        """A persist worker; what the Kafka client did is in its log."""
        return self.start(
            f"persist-{number}", "worker", "--persist", said="persist.assigned", **{"WMS_LOG_LEVEL": "DEBUG", **environ}
        )

    def until_started(self, *members: Member) -> None:
        """Wait until they do what they are for."""
        for member in members or tuple(self.members.values()):
            member.role.until_said(member.said_when_started, START_SECONDS)

    def revive(self) -> None:
        """What a supervisor does: whatever was killed is started again, whatever sleeps is not touched."""
        for member in self.members.values():
            if member.killed:
                member.role.wait()
                member.role = self._spawn(member.name, member.arguments, member.environ)
                member.killed = False

    def end(self, member: Member) -> None:
        """Stop it in order; it is no member any more."""
        member.role.stop()
        del self.members[member.name]

    def dead(self) -> list[str]:
        """Members that ended without being killed, with what they said last."""
        ended = [m for m in self.members.values() if not m.killed and m.role.process.poll() is not None]
        return [f"{m.name} ended with {m.role.process.returncode}: {_last_line(m.role)}" for m in ended]

    def _spawn(self, name: str, arguments: tuple[str, ...], environ: Mapping[str, str]) -> Role:
        environ = {key: value.format(member=name, folder=self.settings.sites.parent) for key, value in environ.items()}
        named = ("-n", f"{name}@%h") if arguments[0] == "worker" else ()
        role = self._roles.start(*arguments, *named, program=None, **{**environ, "WMS_WORKER_NAME": name})
        if name.startswith("worker"):
            self.worker_logs.append(role.log)
        return role


def _last_line(role: Role) -> str:
    lines = [line for line in role.said().splitlines() if line.strip()]
    return lines[-1][:300] if lines else "nothing said"


def _settings(stage: Stage, folder: Path, database: str) -> Settings:
    return Settings(
        env="test",
        broker_url=stage.proxied_broker_url,
        kafka_bootstrap_servers=stage.kafka_bootstrap_servers,
        database_url=stage.proxied_database_url(database),
        topic_suffix=uuid4().hex[:12],
        kafka_topic_partitions=PARTITIONS,
        worker_concurrency=8,
        allow_networks=LOOPBACK,
        persist_timeout_ms=500,
        visibility_timeout_seconds=VISIBILITY_SECONDS,
        lease_seconds=LEASE_SECONDS,
        sites=folder / "sites.yaml",
    )


def environ_of(settings: Settings) -> dict[str, str]:
    """The WMS_* variables that make a process read these settings."""
    return {f"WMS_{name.upper()}": str(getattr(settings, name)) for name in sorted(settings.model_fields_set)}


def make_database(stage: Stage, *, migrated: bool = True) -> str:
    """A new database; its name. A migrated one is a clone of one that was migrated for the first of them."""
    name = f"f_{uuid4().hex[:12]}"
    with psycopg.connect(stage.postgres.url("postgres"), autocommit=True) as connection:
        if migrated and connection.execute("SELECT FROM pg_database WHERE datname = %s", (TEMPLATE,)).rowcount == 0:
            connection.execute(f"CREATE DATABASE {TEMPLATE}".encode())
            wanted = Settings(env="test", database_url=stage.postgres.url(TEMPLATE))
            migrate_to_target(wanted, give_up_after_seconds=20)
        connection.execute(f"CREATE DATABASE {name} TEMPLATE {TEMPLATE if migrated else 'template1'}".encode())
    return name


def drop_database(stage: Stage, name: str) -> None:
    """Drop it, whoever is in it."""
    with psycopg.connect(stage.postgres.url("postgres"), autocommit=True) as connection:
        connection.execute(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)".encode())


@contextmanager
def running_system(
    stage: Stage, sites: Sites, folder: Path, environ: Mapping[str, str] | None = None
) -> Iterator[System]:
    """A `System` without a process yet; at the end every process is killed and the database dropped."""
    folder.mkdir(parents=True, exist_ok=True)
    settings = _settings(stage, folder, make_database(stage))
    sites.write_file(settings.sites)
    with roles(environ_of(settings), folder) as started:
        system = System(stage, sites, started, settings, environ or {})
        try:
            yield system
        finally:
            drop_database(stage, system.database)
