"""What each role takes with 1,000 sites, and all of `wms up` but Postgres and Kafka."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import psutil

from bench.delay_server import delay_server
from bench.figure import Figure, Measure, Round, Subject, at_most
from bench.up import Up, environ_for_up, up
from bench.whole import OURS, System, pause, stores, system, write_sites

SITES = 1_000
WARM_UP_SECONDS = 60.0
_BETWEEN_SECONDS = 3.0
_MIB = 2**20
_OF_UP = ("up", "valkey", "flower")


@contextmanager
def _open(folder: Path) -> Iterator[Measure]:
    with ExitStack() as stack:
        url = f"http://{{host}}:{stack.enter_context(delay_server())}/"
        kept = stack.enter_context(stores(folder))
        at_once = folder / "up"
        at_once.mkdir()
        for sites in (kept.settings.sites, at_once / "sites.yaml"):
            write_sites(sites, count=SITES, url=url, interval_seconds=60.0)
        whole = stack.enter_context(system(kept.settings, folder))
        whole.start_beat()
        running = stack.enter_context(up(at_once, environ_for_up()))
        pause(WARM_UP_SECONDS)
        yield lambda number: _measured(number, whole, running)


def _measured(number: int, whole: System, running: Up) -> Round:
    pause(_BETWEEN_SECONDS * min(number, 1))
    resident = {name: psutil.Process(pid).memory_info().rss for name, pid in whole.pids().items()}
    of_up = running.pss_bytes()
    return {
        **{f"memory.{name}": size / _MIB for name, size in resident.items()},
        "memory.up": sum(of_up[name] for name in _OF_UP) / _MIB,
        **{f"memory.up.{name}": size / _MIB for name, size in of_up.items()},
    }


SUBJECT = Subject(
    name="memory",
    figures=(
        *(
            Figure(
                key=f"memory.{name}",
                name=f"memory at 1,000 sites: {name}, resident",
                unit="MB",
                must=at_most(120),
                over="worst",
            )
            for name in OURS
        ),
        Figure(
            key="memory.up",
            name="memory at 1,000 sites: `wms up` with Valkey and Flower, without Postgres and Kafka",
            unit="MB",
            must=at_most(200),
            over="worst",
        ),
        *(
            Figure(key=f"memory.up.{name}", name=f"memory at 1,000 sites: of it, {said}", unit="MB")
            for name, said in (
                ("up", "all roles in one process"),
                ("valkey", "Valkey"),
                ("flower", "Flower"),
                ("postgres", "Postgres (not in it)"),
                ("kafka", "Kafka (not in it)"),
            )
        ),
    ),
    open=_open,
    conditions="1,000 sites every 60 s, each on a host of its own, all defaults; from a minute after the start; roles "
    "by resident memory (RSS), `wms up` by proportional memory (PSS), since its processes share pages; MB is MiB",
)
