"""
What a result costs from the schedule to Postgres, beside Gatus, which keeps it in sqlite and has nothing in between.

Both at the same pace on the same server, one held still while the other is measured. CPU time is what the processes'
own kernel accounts say; the server, and whoever measures, are in nobody's.
"""

from __future__ import annotations

import json
import time
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from bench.delay_server import delay_server
from bench.figure import Figure, Measure, Round, Subject, at_most
from bench.gatus import Gatus, begins_seconds, gatus
from bench.rows import bytes_on_disk
from bench.turns import both
from bench.whole import OURS, STORES, Stores, System, cpu_seconds, pause, stores, system, write_sites

PER_SECOND = 200
SECONDS = 10.0
# Slower than this it is not the same pace, and the round tells nothing.
LEAST_PACE = 0.97
OUR_INTERVAL_SECONDS = 5.0
THEIR_INTERVAL_SECONDS = 1.0
# All of our sites once, with their jitter, and what came due at once at the start.
OUR_WARM_UP_SECONDS = 8.0
THEIR_WARM_UP_SECONDS = 4.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Used:
    """In one window: seconds of CPU by process, and what the server was asked meanwhile."""

    cpu: Mapping[str, float]
    results: int
    seconds: float

    def ms(self, *names: str) -> float:
        """Milliseconds of CPU of these for one result."""
        return 1000 * sum(self.cpu[name] for name in names) / self.results

    @property
    def per_second(self) -> float:
        """The pace that it was."""
        return self.results / self.seconds


def counted(port: int, client: str) -> int:
    """How many probes of that client the server has answered."""
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/counted", timeout=10) as response:
        found: dict[str, int] = json.load(response)
    return found.get(client, 0)


def use(pids: Mapping[str, int], port: int, client: str) -> Used:
    """What these processes use from now on."""
    began, before, results = time.monotonic(), cpu_seconds(pids), counted(port, client)
    pause(SECONDS)
    after = cpu_seconds(pids)
    return Used(
        cpu={name: after[name] - before[name] for name in pids},
        results=counted(port, client) - results,
        seconds=time.monotonic() - began,
    )


def round_of(ours: Used, theirs: Used) -> Round:
    """A round's figures; the pace alone where one of them did not keep it, since then it did less than its work."""
    pace = min(ours.per_second, theirs.per_second)
    if pace < LEAST_PACE * PER_SECOND:
        return {"whole.pace": pace}
    return {
        "whole.cpu_ratio": ours.ms(*OURS) / theirs.ms("gatus"),
        "whole.cpu": ours.ms(*OURS),
        "whole.gatus_cpu": theirs.ms("gatus"),
        **{f"whole.cpu.{name.lower()}": ours.ms(name) for name in (*OURS, *STORES)},
        "whole.pace": pace,
    }


def _ours(whole: System, kept: Stores, port: int) -> Used:
    whole.start_beat()
    pause(OUR_WARM_UP_SECONDS)
    used = use({**whole.pids(), **kept.pids}, port, "wms")
    whole.stop_beat()
    return used


def _theirs(peer: Gatus, port: int) -> Used:
    peer.go_on()
    pause(THEIR_WARM_UP_SECONDS)
    used = use({"gatus": peer.pid}, port, "gatus")
    peer.hold()
    return used


@contextmanager
def _open(folder: Path) -> Iterator[Measure]:
    with ExitStack() as stack:
        port = stack.enter_context(delay_server())
        url = f"http://{{host}}:{port}/"
        endpoints = round(PER_SECOND * THEIR_INTERVAL_SECONDS)
        peer = stack.enter_context(
            gatus(folder / "gatus", endpoints=endpoints, url=url, interval_seconds=THEIR_INTERVAL_SECONDS)
        )
        begun = time.monotonic()
        kept = stack.enter_context(stores(folder))
        write_sites(
            kept.settings.sites,
            count=round(PER_SECOND * OUR_INTERVAL_SECONDS),
            url=url,
            interval_seconds=OUR_INTERVAL_SECONDS,
        )
        whole = stack.enter_context(system(kept.settings, folder))
        pause(max(0.0, begun + begins_seconds(endpoints) + 2 - time.monotonic()))
        peer.hold()

        def measure(number: int) -> Round:
            used = both(number, lambda: _ours(whole, kept, port), lambda: _theirs(peer, port))
            row, message = bytes_on_disk(kept.settings, folder / "kafka" / "data")
            return {**round_of(*used), "whole.row_bytes": row, "whole.message_bytes": message}

        yield measure


SUBJECT = Subject(
    name="whole: CPU per result",
    figures=(
        Figure(
            key="whole.cpu_ratio",
            name="whole: CPU per result (beat, worker, persist) ÷ Gatus's",
            unit="×",
            peer="Gatus, sqlite",
            must=at_most(2.5),
            aim=at_most(1.2),
        ),
        Figure(key="whole.cpu", name="whole: CPU per result, ours", unit="ms"),
        *(
            Figure(key=f"whole.cpu.{name.lower()}", name=f"whole: CPU per result, {name}", unit="ms")
            for name in (*OURS, *STORES)
        ),
        Figure(key="whole.gatus_cpu", name="Gatus: CPU per result", unit="ms"),
        Figure(key="whole.row_bytes", name="whole: disk of a row in Postgres, with its indexes", unit="bytes"),
        Figure(key="whole.message_bytes", name="whole: disk of a result in Kafka", unit="bytes"),
        Figure(key="whole.pace", name="whole: results a second while that was measured, the slower of both", unit="/s"),
    ),
    open=_open,
    conditions="200 results/s each; ours from 1,000 sites every 5 s, Gatus's from 200 every second (it takes 0.22 s to "
    "begin each); HTTP, a new connection each, a site that answers at once; defaults of sites.yaml "
    "(robots.txt, guard, spacing), rows in Postgres, events on; not counted: Valkey, Kafka and Postgres, which are "
    "shown, and Flower",
)
