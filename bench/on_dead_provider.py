"""A tenth of 10,000 sites answers nothing: are the others late, is one of them missed? See dead_provider.py."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from bench.dead_provider import look, probing
from bench.dead_sites import Load
from bench.figure import Figure, Measure, Round, Subject, at_most
from bench.services import services
from wms_tasks.settings import Settings

# All are due at once at the start, and nobody knows yet who is slow: that is over after an interval.
LOAD = Load(sites=10_000, robots="respect", warm_up_seconds=75.0, seconds=30.0)


@contextmanager
def _open(folder: Path) -> Iterator[Measure]:
    with services(folder) as (valkey, kafka):
        settings = Settings(
            env="test",
            broker_url=valkey.url,
            kafka_bootstrap_servers=kafka.bootstrap_servers,
            allow_networks="127.0.0.0/8",
        )
        with probing(settings, LOAD, folder) as worker:
            began = time.time()

            def measure(number: int) -> Round:
                seen = look(settings, LOAD, began + number * LOAD.seconds, worker)
                return {"dead.lateness": seen.late(0.99), "dead.missed": float(seen.expected - seen.up)}

            yield measure


SUBJECT = Subject(
    name="whole: a tenth of 10,000 sites is dead",
    figures=(
        Figure(
            key="dead.lateness",
            name="a tenth of 10,000 sites black-holed: lateness of the others, p99",
            unit="s",
            must=at_most(1.0),
            aim=at_most(0.3),
        ),
        Figure(
            key="dead.missed",
            name="a tenth of 10,000 sites black-holed: slots of the others that are not up, of 4,500",
            unit="slots",
            must=at_most(0),
            over="worst",
        ),
    ),
    open=_open,
    conditions="10,000 sites every 60 s, timeout 10 s and one retry as by default, robots respected, each on a host of "
    "its own; 1,000 of them take connections and say nothing, or take none; one beat and one worker as by default; one "
    "run, its five windows of 30 s as rounds",
)
