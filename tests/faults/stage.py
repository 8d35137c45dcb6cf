"""
The three embedded services, each behind a breakable proxy, and ways to do to a service what a proxy cannot.

The processes under test know only the proxies' ports; the harness looks at Postgres and Redis past them. Kafka's
clients always go where the broker says, so the harness's own consumer passes the proxy too, when it is whole.
"""

from __future__ import annotations

import os
import shutil
import signal
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import psutil
import redis

from tests.faults.proxy import Proxy
from tests.ports import free_ports
from wms_tasks.embedded.kafka import EmbeddedKafka
from wms_tasks.embedded.postgres import EmbeddedPostgres
from wms_tasks.embedded.valkey import EmbeddedValkey

Service = EmbeddedPostgres | EmbeddedValkey | EmbeddedKafka


class Stage:
    """Use `on_stage`; all calls belong in the main thread, in which services must be started."""

    def __init__(self, folder: Path, jars: Path, stack: ExitStack) -> None:
        postgres_port, valkey_port, kafka_port, controller_port = free_ports(4)
        self.folder = folder
        self.postgres_proxy = stack.enter_context(Proxy(postgres_port))
        self.valkey_proxy = stack.enter_context(Proxy(valkey_port))
        self.kafka_proxy = stack.enter_context(Proxy(kafka_port))
        self.postgres = EmbeddedPostgres(folder / "postgres", port=postgres_port)
        self.valkey = EmbeddedValkey(folder / "valkey", port=valkey_port)
        self.kafka = EmbeddedKafka(
            folder / "kafka",
            port=kafka_port,
            controller_port=controller_port,
            jars=jars,
            advertised_port=self.kafka_proxy.port,
        )

    @property
    def services(self) -> tuple[EmbeddedKafka, EmbeddedPostgres, EmbeddedValkey]:
        """All three; the slowest to start first."""
        return self.kafka, self.postgres, self.valkey

    @property
    def proxies(self) -> tuple[Proxy, Proxy, Proxy]:
        """All three."""
        return self.postgres_proxy, self.valkey_proxy, self.kafka_proxy

    @property
    def broker_url(self) -> str:
        """Redis, past the proxy."""
        return self.valkey.url

    @property
    def proxied_broker_url(self) -> str:
        """Redis, for the processes under test."""
        return f"redis://127.0.0.1:{self.valkey_proxy.port}/0"

    @property
    def kafka_bootstrap_servers(self) -> str:
        """Kafka, through the proxy, for everybody."""
        return f"127.0.0.1:{self.kafka_proxy.port}"

    def proxied_database_url(self, database: str) -> str:
        """Postgres, for the processes under test."""
        return self.postgres.url(database).replace(f":{self.postgres.port}/", f":{self.postgres_proxy.port}/")

    def start(self) -> None:
        """Prepare, launch and wait."""
        for service in self.services:
            service.prepare()
            service.launch()
        for service in self.services:
            service.wait_ready()

    def stop(self) -> None:
        """End the services; what they log stays."""
        for service in self.services:
            service.process.signal_stop()
        for service in self.services:
            service.stop()

    def heal(self) -> None:
        """Every proxy whole again, every connection from before ended; every service running and awake."""
        for proxy in self.proxies:
            proxy.heal("reset")
        for service in self.services:
            if service.process.running:
                signal_tree(service, signal.SIGCONT)
            else:
                start_again(service)


def signal_tree(service: Service, signum: signal.Signals) -> None:
    """The process and its children: a stopped postmaster alone stops no backend."""
    pid = service.process.pid
    assert pid is not None
    for one in [*psutil.Process(pid).children(recursive=True), psutil.Process(pid)]:
        os.kill(one.pid, signum)


def kill(service: Service, signum: signal.Signals = signal.SIGKILL) -> None:
    """End it by a signal, and wait until it has gone."""
    pid = service.process.pid
    assert pid is not None
    process = psutil.Process(pid)
    children = process.children(recursive=True)
    os.kill(pid, signum)
    while service.process.running:  # reaps it; nobody else may
        psutil.wait_procs([process], timeout=0.05)
    psutil.wait_procs(children, timeout=10)


def start_again(service: Service) -> None:
    """Launch and wait."""
    service.launch()
    service.wait_ready()


def forget_data(valkey: EmbeddedValkey) -> None:
    """What a Redis without persistence has after a restart; it must not run."""
    for path in valkey.folder.glob("appendonlydir"):
        shutil.rmtree(path)
    for path in valkey.folder.glob("*.rdb"):
        path.unlink()


def flush(stage: Stage) -> None:
    """An empty Redis with its own memory limit."""
    with redis.Redis.from_url(stage.broker_url) as client:
        client.config_set("maxmemory", "256mb")
        client.flushall()


@contextmanager
def on_stage(folder: Path, jars: Path) -> Iterator[Stage]:
    """A started `Stage`, ended afterwards."""
    with ExitStack() as stack:
        stage = Stage(folder, jars, stack)
        stack.callback(stage.stop)
        stage.start()
        yield stage
