"""
Does a dead provider touch the rest? Some of many sites are black holes; how late are the others, and is one missed?

    .venv/bin/python -m bench.dead_provider                       # 2,000 sites, a tenth of them dead; under two minutes
    .venv/bin/python -m bench.dead_provider --concurrency 64 --dead 0.3

Real beat and worker processes on an embedded Valkey and Kafka of their own, all on loopback. Each site has its own
address in 127/8. A black hole is a listening socket that nobody accepts from: its first connections are made by the
kernel and never answered, later ones are not even made.
"""

from __future__ import annotations

import argparse
import math
import signal
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import psutil

from bench.dead_sites import Load, black_hole, expected, write_sites
from bench.delay_server import delay_server
from bench.services import environ_of, results, services
from bench.whole import pause
from tests.acceptance.processes import roles
from wms_tasks.settings import Settings
from wms_tasks.topic import ensure_topic


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """What came of the slots in the time looked at; all but ``dead_outcomes`` of living sites. Lateness in seconds."""

    expected: int
    up: int
    lateness: tuple[float, ...]
    dead_outcomes: Mapping[str, int]
    twice: int
    worker_rss_bytes: int
    worker_threads: int

    def late(self, share: float) -> float:
        """The lateness that this share of the probes does not exceed."""
        return self.lateness[min(len(self.lateness) - 1, math.ceil(share * len(self.lateness)) - 1)]


def judge(results: list[dict[str, Any]], load: Load, since: float, until: float, worker: psutil.Process) -> Seen:
    """Only slots that begin in the time looked at."""
    slots: dict[tuple[str, str], dict[str, Any]] = {}
    twice = 0
    for one in results:
        if since <= datetime.fromisoformat(one["scheduled_at"]).timestamp() < until:
            twice += (one["site_name"], one["scheduled_at"]) in slots
            slots[one["site_name"], one["scheduled_at"]] = one
    lateness, outcomes = [], dict[str, int]()
    for (name, _), one in slots.items():
        if name.startswith("dead"):
            outcomes[f"{one['outcome']}/{one['reason']}"] = outcomes.get(f"{one['outcome']}/{one['reason']}", 0) + 1
        elif one["outcome"] == "up":
            started_at, due_at = (datetime.fromisoformat(one[key]).timestamp() for key in ("started_at", "due_at"))
            lateness.append(started_at - due_at)
    return Seen(
        expected=expected(load, since, until),
        up=len(lateness),
        lateness=tuple(sorted(lateness)),
        dead_outcomes=outcomes,
        twice=twice,
        worker_rss_bytes=worker.memory_info().rss,
        worker_threads=worker.num_threads(),
    )


@contextmanager
def probing(settings: Settings, load: Load, folder: Path) -> Iterator[psutil.Process]:
    """Beat and a worker on these settings' Redis and Kafka, warmed up; the worker's process."""
    ensure_topic(settings)
    settings = settings.model_copy(update={"sites": folder / "sites.yaml"})
    environ = environ_of(settings)
    with delay_server() as living_port, black_hole() as dead_port, roles(environ, folder) as started:
        write_sites(settings.sites, load, living_port, dead_port)
        worker = started.worker()
        beat = started.start("beat")
        beat.until_said("beat.leading")
        pause(load.warm_up_seconds)
        yield psutil.Process(worker.process.pid)


def look(settings: Settings, load: Load, since: float, worker: psutil.Process) -> Seen:
    """What came of the slots that begin within ``seconds`` from an instant of the Unix epoch; waits for their ends."""
    until = since + load.seconds
    pause(max(0.0, until - time.time()))
    # A slot is due a tenth of its interval after it begins, at most.
    found = results(settings, time.monotonic() + load.interval_seconds / 10 + 2)
    return judge(found, load, since, until, worker)


def measure(settings: Settings, load: Load, folder: Path) -> Seen:
    """Run beat and a worker on these settings' Redis and Kafka, and look once."""
    with probing(settings, load, folder) as worker:
        return look(settings, load, time.time(), worker)


def main() -> int:
    """Print what was seen; 1 where the promise is broken."""
    parser = argparse.ArgumentParser(prog="python -m bench.dead_provider", description=__doc__.split("\n")[1])
    parser.add_argument("--sites", type=int, default=2000)
    parser.add_argument("--dead", type=float, default=0.1, help="Their share.")
    parser.add_argument("--concurrency", type=int, help="Instead of the default.")
    arguments = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # so that what was started ends too
    load = Load(sites=arguments.sites, dead_share=arguments.dead)
    with tempfile.TemporaryDirectory(prefix="wms-bench-") as name, services(Path(name)) as (valkey, kafka):
        given = {} if arguments.concurrency is None else {"worker_concurrency": arguments.concurrency}
        settings = Settings(
            env="test",
            broker_url=valkey.url,
            kafka_bootstrap_servers=kafka.bootstrap_servers,
            allow_networks="127.0.0.0/8",
            **given,
        )
        seen = measure(settings, load, Path(name))
    print(f"{load.sites} sites, {load.dead} dead, {settings.worker_concurrency} probes at a time")
    print(
        f"living: {seen.up} up of {seen.expected}; late p50 {seen.late(0.5):.3f} s, p99 {seen.late(0.99):.3f} s, "
        f"worst {seen.lateness[-1]:.3f} s"
    )
    print(f"dead: {dict(seen.dead_outcomes)}; twice: {seen.twice}")
    print(f"worker: {seen.worker_rss_bytes / 2**20:.0f} MB resident, {seen.worker_threads} threads")
    return int(seen.up < seen.expected or seen.late(0.99) > 1.0)


if __name__ == "__main__":
    sys.exit(main())
