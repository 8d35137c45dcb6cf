"""
Beat at 10,000 and at 100,000 sites of a minute: what a send costs, how late sends are while it reads its file anew, and
how large it grows. Beside it, at 10,000, Celery's own.

A real ``celery beat`` on a real Valkey. There are no workers: a thread takes the messages out. CPU is that of beat's
process alone; lateness is counted until a message was taken out, which is done each 20 ms.
"""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil

from bench import stock_beat
from bench.drain import Drain, draining, lateness_seconds, quantile
from bench.figure import Figure, Measure, Round, Subject, at_most
from tests.acceptance.processes import CELERY, ROOT, Role, roles
from tests.ports import free_ports
from tests.waiting import wait_until
from wms_tasks.embedded.valkey import EmbeddedValkey
from wms_tasks.names import HOUSEKEEPING_QUEUE, PROBE_QUEUE
from wms_tasks.settings import Settings

FEW, MANY = 10_000, 100_000
WINDOW_SECONDS = 10.0
# Until beat has sent what was new to it, and announced it.
_SETTLED_SECONDS = 240.0
_SETTLED_LATENESS = 0.25
_RELOAD_SECONDS = 120.0
# One site in so many is other when the file is read anew.
CHANGED_SHARE = 100
_MB = 1e6


def write_sites(path: Path, count: int, *, edition: int = 0) -> None:
    """A sites file by a rename; in another edition one site in a hundred has another url."""
    lines = ["defaults:", "  interval: 60s", "sites:"]
    for number in range(count):
        query = f"?{edition}" if edition and number % CHANGED_SHARE == 0 else ""
        lines += [
            f"  - name: site-{number}",
            f"    url: https://host{number}.example.com/health{query}",
            "    tags: [bench]",
        ]
    new = path.with_suffix(".new")
    new.write_text("\n".join(lines) + "\n", encoding="utf-8")
    new.replace(path)


def cpu_seconds(pid: int) -> float:
    """What the process has used, in user and system mode."""
    times = psutil.Process(pid).cpu_times()
    return float(times.user + times.system)


def cpu_ms_per_message(pid: int, drain: Drain, seconds: float = WINDOW_SECONDS) -> float:
    """Over so many seconds."""
    before, came = cpu_seconds(pid), drain.came
    time.sleep(seconds)
    return 1000 * (cpu_seconds(pid) - before) / max(1, drain.came - came)


class Beat:
    """A beat process that has settled, and what takes its messages out."""

    def __init__(self, role: Role, drain: Drain, sites: Path, count: int) -> None:
        self._role, self._drain, self._sites, self._count = role, drain, sites, count

    def send_cost_ms(self) -> float:
        """CPU a send."""
        return cpu_ms_per_message(self._role.process.pid, self._drain)

    def reload_p99_seconds(self, edition: int) -> float:
        """How late sends are from an edit of the file until its sites are announced."""
        announced, applied = self._drain.announced, self._applied()
        self._drain.keep()
        write_sites(self._sites, self._count, edition=edition)
        wait_until(lambda: self._applied() > applied, _RELOAD_SECONDS, "the edit")
        self._until_announced(announced)
        return quantile([lateness_seconds(one) for one in self._drain.kept()], 0.99)

    def most_mb(self) -> float:
        """The most memory that it had."""
        return self._drain.most_bytes / _MB

    def until_settled(self) -> None:
        """All announced, and the newest message in time."""
        self._until_announced(0)
        wait_until(self._in_time, _SETTLED_SECONDS, "sends in time")

    def _in_time(self) -> bool:
        return self._drain.last is not None and lateness_seconds(self._drain.last) < _SETTLED_LATENESS

    def _until_announced(self, before: int) -> None:
        chunks = self._count // 1000
        wait_until(lambda: self._drain.announced >= before + chunks, _SETTLED_SECONDS, "the announcement")

    def _applied(self) -> int:
        return self._role.said().count("sites.file_applied")


@contextmanager
def beat_with(valkey: EmbeddedValkey, folder: Path, count: int) -> Iterator[Beat]:
    """Our beat with so many sites, settled."""
    sites = folder / f"sites-{count}.yaml"
    write_sites(sites, count)
    settings = Settings(env="test", broker_url=valkey.url, sites=sites)
    environ = {"WMS_ENV": settings.env, "WMS_BROKER_URL": valkey.url, "WMS_SITES": str(sites)}
    with roles(environ, folder) as started:
        role = started.start("beat")
        prefix = settings.key_prefix
        drain = Drain(valkey.url, f"{prefix}{PROBE_QUEUE}", f"{prefix}{HOUSEKEEPING_QUEUE}", role.process.pid)
        with draining(drain):
            role.until_said("beat.leading", _SETTLED_SECONDS)
            beat = Beat(role, drain, sites, count)
            beat.until_settled()
            yield beat
            role.stop()


@contextmanager
def _valkey(folder: Path) -> Iterator[EmbeddedValkey]:
    valkey = EmbeddedValkey(folder / "valkey", port=free_ports(1)[0])
    valkey.start()
    try:
        yield valkey
    finally:
        valkey.stop()


def validate_seconds(path: Path) -> float:
    """`wms sites validate`, from its start to its end."""
    began = time.monotonic()
    command = [sys.executable, "-m", "wms_tasks.cli", "sites", "validate", str(path)]
    subprocess.run(command, check=True, cwd=ROOT, stdout=subprocess.DEVNULL)
    return time.monotonic() - began


def _few(valkey: EmbeddedValkey, folder: Path) -> Round:
    with beat_with(valkey, folder, FEW) as beat:
        return {"beat_send_10k": beat.send_cost_ms()}


def _many(valkey: EmbeddedValkey, folder: Path, edition: int) -> Round:
    with beat_with(valkey, folder, MANY) as beat:
        cost = beat.send_cost_ms()
        reload = beat.reload_p99_seconds(edition)
        return {"beat_send_100k": cost, "beat_reload_p99": reload, "beat_memory": beat.most_mb()}


def _stock(valkey: EmbeddedValkey, folder: Path) -> Round:
    environ = {"STOCK_BEAT_ENTRIES": str(FEW), "STOCK_BEAT_BROKER": valkey.url}
    program = [*CELERY[:-1], "bench.stock_beat", "beat", "-s", str(folder / "schedule")]
    with roles(environ, folder) as started:
        role = started.start(program=program)
        drain = Drain(valkey.url, stock_beat.QUEUE, "stock-housekeeping", role.process.pid)
        with draining(drain):
            wait_until(lambda: drain.came > 0, 60, "a message of Celery's own beat")
            cost = cpu_ms_per_message(role.process.pid, drain)
        role.end()
    return {"beat_send_stock": cost}


@contextmanager
def _open(folder: Path) -> Iterator[Measure]:
    with _valkey(folder) as valkey:

        def measure(number: int) -> Round:
            turns: list[Callable[[], Round]] = [
                lambda: _many(valkey, folder, number + 1),
                lambda: _few(valkey, folder),
                lambda: _stock(valkey, folder),
            ]
            found: dict[str, float] = {}
            for turn in turns if number % 2 == 0 else reversed(turns):
                found |= turn()
            found["beat_send_ratio"] = found["beat_send_100k"] / found["beat_send_10k"]
            found["beat_send_beside_stock"] = found["beat_send_10k"] / found.pop("beat_send_stock")
            found["beat_validate"] = validate_seconds(folder / f"sites-{MANY}.yaml")
            return found

        yield measure


SUBJECT = Subject(
    name="beat",
    figures=(
        Figure(
            key="beat_send_ratio",
            name="beat: CPU a send at 100,000 sites ÷ at 10,000",
            unit="×",
            must=at_most(1.3),
        ),
        Figure(
            key="beat_send_10k",
            name="beat: CPU a send, 10,000 sites",
            unit="ms",
            must=at_most(0.35),
            aim=at_most(0.2),
        ),
        Figure(
            key="beat_send_100k",
            name="beat: CPU a send, 100,000 sites",
            unit="ms",
            must=at_most(0.35),
            aim=at_most(0.2),
        ),
        Figure(
            key="beat_validate",
            name="`wms sites validate`, 100,000 sites",
            unit="s",
            must=at_most(15),
            aim=at_most(5),
        ),
        Figure(
            key="beat_reload_p99",
            name="beat: p99 lateness of sends while 100,000 sites are read anew",
            unit="s",
            must=at_most(1),
        ),
        Figure(
            key="beat_memory",
            name="beat: most memory with 100,000 sites, read anew once",
            unit="MB",
            must=at_most(500),
        ),
        Figure(
            key="beat_send_beside_stock",
            name="beat: CPU a send at 10,000 sites ÷ Celery's own",
            unit="×",
            peer="Celery 5.7 beat",
        ),
    ),
    open=_open,
    conditions="`celery beat`, Valkey and a thread that takes the messages out; sites of a minute; CPU of beat's "
    "process; one site in a hundred is other when they are read anew; lateness until 20 ms after it was sent; "
    "Celery's own has as many entries of a minute, sends fewer than fall due, and is late ever more",
)
