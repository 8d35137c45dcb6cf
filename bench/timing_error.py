"""
How exact is a response time? One worker at a steady pace, against a server that measures itself; beside it
blackbox_exporter, in the same way, where it is installed.

    .venv/bin/python -m bench.timing_error                  # 200 probes a second for 30 s; the machine has to be idle
    .venv/bin/python -m bench.timing_error --seconds 5

The error of a probe is what was reported less what the server spent on that very request, on its own clock. It holds
all that is not the server's: both kernels, how late a thread woke, how late we read the clock. The worker is as shipped
(threads, late acknowledgement, events on, results delivered to Kafka); Valkey, Kafka and the server are on the same
machine.
"""

from __future__ import annotations

import argparse
import json
import math
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from urllib.parse import quote

from bench.delay_server import delay_server
from bench.services import environ_of, results, services
from tests.acceptance.processes import roles
from tests.ports import free_ports
from tests.waiting import wait_until
from wms_tasks import clock
from wms_tasks.app import app_for
from wms_tasks.embedded.kafka import EmbeddedKafka
from wms_tasks.embedded.valkey import EmbeddedValkey
from wms_tasks.names import PROBE_QUEUE, PROBE_TASK
from wms_tasks.order import ProbeOrder
from wms_tasks.settings import Settings
from wms_tasks.sites.record import Site, site_id_for
from wms_tasks.topic import ensure_topic

MOST_P50_MS = 2.0
MOST_P99_MS = 5.0
SHORTEST_MS, LONGEST_MS = 50, 300
BLACKBOX = ("prometheus-blackbox-exporter", "blackbox_exporter")
_HOSTS = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """``per_second`` probes for ``seconds``; those of the first ``warm_up_seconds`` do not count."""

    per_second: int = 200
    seconds: float = 30.0
    warm_up_seconds: float = 3.0

    @property
    def total(self) -> int:
        """How many are made."""
        return round(self.per_second * (self.seconds + self.warm_up_seconds))

    def counts(self, number: int) -> bool:
        """Whether the probe of this number, from 0, does."""
        return number >= self.per_second * self.warm_up_seconds


def noted(port: int) -> dict[str, float]:
    """What the server measured, in milliseconds, by probe."""
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/noted", timeout=10) as response:
        found: dict[str, float] = json.load(response)
    return found


def url_of(who: str, number: int, port: int) -> str:
    """Each probe's own, on one of many hosts; the delays are spread evenly and in no order."""
    delay_ms = SHORTEST_MS + number * 97 % (LONGEST_MS - SHORTEST_MS + 1)
    return f"http://127.0.1.{1 + number % _HOSTS}:{port}/{who}-{number}?ms={delay_ms}"


def paced(load: Load, send: Callable[[int], object]) -> None:
    """Call `send` with each number when it is due."""
    began = time.monotonic()
    for number in range(load.total):
        time.sleep(max(0.0, began + number / load.per_second - time.monotonic()))
        send(number)


def of_the_worker(settings: Settings, load: Load, port: int, folder: Path) -> dict[str, float]:
    """Response times that one worker on these settings' Redis and Kafka reported, in milliseconds, by probe."""
    ensure_topic(settings)
    app = app_for(settings)
    with roles(environ_of(settings), folder) as started, app.connection_for_write() as connection:
        started.worker()
        producer = app.amqp.Producer(connection)

        def send(number: int) -> None:
            kwargs = {"order": order_for(number, port).to_message()}
            app.send_task(PROBE_TASK, kwargs=kwargs, queue=PROBE_QUEUE, producer=producer)

        paced(load, send)
        found = results(settings, time.monotonic() + 3)
    return {one["site_name"]: one["response_time_ms"] for one in found if one["outcome"] == "up"}


def order_for(number: int, port: int) -> ProbeOrder:
    """A slot that is due now."""
    now, name = clock.utcnow(), f"wms-{number}"
    site = Site(
        site_id=site_id_for(name),
        name=name,
        url=url_of("wms", number, port),
        robots="ignore",
        spacing_seconds=0.001,
        retries=0,
    )
    return ProbeOrder(site=site, scheduled_at=now, due_at=now, expires_at=now + timedelta(seconds=60))


def of_blackbox(program: str, load: Load, port: int, folder: Path) -> dict[str, float]:
    """What blackbox_exporter reported as probe_duration_seconds, in milliseconds, by probe."""
    config, listening = folder / "blackbox.yml", free_ports(1)[0]
    config.write_text("modules: {http: {prober: http, http: {preferred_ip_protocol: ip4}}}\n", encoding="utf-8")
    base = f"http://127.0.0.1:{listening}"
    command = [program, f"--config.file={config}", f"--web.listen-address=127.0.0.1:{listening}", "--log.level=error"]
    found: dict[str, float] = {}

    def ask(number: int) -> None:
        target = quote(url_of("blackbox", number, port), safe="")
        with urllib.request.urlopen(f"{base}/probe?module=http&target={target}", timeout=10) as response:
            lines = dict(line.rsplit(" ", 1) for line in response.read().decode().splitlines() if line[:1] != "#")
        if lines["probe_success"] == "1":
            found[f"blackbox-{number}"] = 1000 * float(lines["probe_duration_seconds"])

    def answers() -> bool:
        try:
            with urllib.request.urlopen(f"{base}/-/healthy", timeout=1):
                return True
        except OSError:
            return False

    with subprocess.Popen(command) as process:
        try:
            wait_until(answers, 10, program)
            with ThreadPoolExecutor(max(64, load.per_second // 2)) as pool:
                asked = []
                paced(load, lambda number: asked.append(pool.submit(ask, number)))
                for one in asked:
                    one.result()
        finally:
            process.terminate()
    return found


def errors_of(who: str, load: Load, reported: Mapping[str, float], server: Mapping[str, float]) -> list[float]:
    """The size of each probe's error in milliseconds, sorted."""
    names = [f"{who}-{number}" for number in range(load.total) if load.counts(number)]
    return sorted(abs(reported[name] - server[name]) for name in names if name in reported and name in server)


def quantile(values: Sequence[float], share: float) -> float:
    """The smallest of the sorted `values` that so large a share of them does not exceed."""
    return values[min(len(values) - 1, math.ceil(share * len(values)) - 1)]


def _line(who: str, errors: Sequence[float], expected: int) -> str:
    p50, p99 = quantile(errors, 0.5), quantile(errors, 0.99)
    return f"{who:<20} p50 {p50:6.2f} ms   p99 {p99:6.2f} ms   worst {errors[-1]:7.2f} ms   {len(errors)} of {expected}"


def settings_for(valkey: EmbeddedValkey, kafka: EmbeddedKafka, load: Load) -> Settings:
    """As shipped, but for loopback and as many threads as the slowest answers take."""
    return Settings(
        env="test",
        broker_url=valkey.url,
        kafka_bootstrap_servers=kafka.bootstrap_servers,
        allow_networks="127.0.0.0/8",
        worker_concurrency=max(64, load.per_second // 2),
    )


def main() -> int:
    """Print both; 1 where ours is more than it may be, or probes are missing."""
    parser = argparse.ArgumentParser(prog="python -m bench.timing_error", description=__doc__.split("\n")[1])
    parser.add_argument("--per-second", type=int, default=200)
    parser.add_argument("--seconds", type=float, default=30.0)
    arguments = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # so that what was started ends too
    load = Load(per_second=arguments.per_second, seconds=arguments.seconds)
    expected = sum(load.counts(number) for number in range(load.total))
    program = next(filter(None, map(shutil.which, BLACKBOX)), None)
    print(
        f"error of the response time, {load.per_second} probes/s on one worker, {SHORTEST_MS} to {LONGEST_MS} ms each"
    )
    with tempfile.TemporaryDirectory(prefix="wms-bench-") as name, delay_server() as port:
        with services(Path(name)) as (valkey, kafka):
            settings = settings_for(valkey, kafka, load)
            ours = errors_of("wms", load, of_the_worker(settings, load, port, Path(name)), noted(port))
        if not ours:
            print("wms: no probe was up")
            return 1
        print(_line("wms", ours, expected))
        if program is None:
            print("blackbox_exporter    not measured: it is not installed (Debian: prometheus-blackbox-exporter)")
        else:
            theirs = errors_of("blackbox", load, of_blackbox(program, load, port, Path(name)), noted(port))
            print(_line("blackbox_exporter", theirs, expected))
    is_exact = quantile(ours, 0.5) <= MOST_P50_MS and quantile(ours, 0.99) <= MOST_P99_MS
    return 0 if is_exact and len(ours) == expected else 1


if __name__ == "__main__":
    sys.exit(main())
