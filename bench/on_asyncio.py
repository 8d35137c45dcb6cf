"""Beside the system of the first design text (asyncio_peer): a probe's CPU time at the same pace, and rows a second."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from uuid import uuid4

from bench.cpu import cpu_seconds
from bench.delay_server import delay_server
from bench.figure import Figure, Measure, Round, Subject
from bench.full_topic import FullTopic
from bench.on_persist import BATCH_ROWS, RESULTS_BESIDE_PEERS, conditions, drained, full_topic, stored_by
from bench.on_worker import ON, PER_SECOND, SECONDS, worker_settings
from bench.peers import asyncio_python, explained_by
from bench.probing import Results, line, rate, sites
from bench.services import services
from bench.turns import both
from tests.acceptance.processes import roles
from tests.waiting import wait_until
from wms_tasks.settings import Settings
from wms_tasks.topic import ensure_topic

PROGRAMS = Path(__file__).parent / "asyncio_peer"
TABLE = "asyncio_results"
_SITES = 800
_STARTED_SECONDS = 30.0
_PEER = "aiohttp, aiokafka, asyncpg: the first design"


@contextmanager
def program(python: Path, name: str, arguments: Sequence[str], log: Path) -> Iterator[subprocess.Popen[bytes]]:
    """Running; what it says is in the log."""
    command = [str(python), str(PROGRAMS / f"{name}.py"), *arguments]
    with (
        log.open("ab") as output,
        subprocess.Popen(command, stdin=subprocess.PIPE, stdout=output, stderr=subprocess.STDOUT) as process,
        explained_by(log),
    ):
        try:
            yield process
        finally:
            process.kill()


def scraped(python: Path, settings: Settings, urls: Sequence[str], log: Path) -> float:
    """The scraper's CPU time a probe in milliseconds, once each site was asked."""
    every_seconds = len(urls) / PER_SECOND
    arguments = ["--servers", settings.kafka_bootstrap_servers, "--topic", settings.topic]
    with (
        closing(Results(settings)) as results,
        program(python, "scraper", [*arguments, "--every-seconds", str(every_seconds)], log) as process,
    ):
        assert process.stdin is not None
        process.stdin.write(json.dumps(urls).encode() + b"\n")
        process.stdin.flush()
        until = results.count() + len(urls)
        wait_until(lambda: results.count() >= until, _STARTED_SECONDS, "a probe of each site", every_seconds=0.1)
        before, had = cpu_seconds(process.pid), results.count()
        per_second = rate(results, SECONDS)
        spent_seconds, came = cpu_seconds(process.pid) - before, results.count() - had
        assert per_second > 0.95 * PER_SECOND, f"{per_second:.0f} a second"
    return spent_seconds * 1000 / came


def persisted(python: Path, topic: FullTopic, log: Path) -> float:
    """Rows a second by the persister, as a new consumer group, into a table that it makes itself."""
    settings = topic.settings
    named = {
        "servers": settings.kafka_bootstrap_servers,
        "topic": settings.topic,
        "group": uuid4().hex,
        "url": settings.database_url,
        "table": TABLE,
        "max-records": str(BATCH_ROWS),
    }
    arguments = [part for name in named for part in (f"--{name}", named[name])]
    return stored_by(topic, TABLE, program(python, "persister", arguments, log))


@contextmanager
def _probing(folder: Path) -> Iterator[Measure]:
    python = asyncio_python()
    with ExitStack() as stack:
        port = stack.enter_context(delay_server())
        started = stack.enter_context(roles({}, folder))
        settings = worker_settings(*stack.enter_context(services(folder)))
        theirs = settings.model_copy(update={"topic_suffix": "asyncio"})
        ensure_topic(theirs)
        watched = sites(_SITES, f"http://HOST:{port}/page")
        ours = stack.enter_context(line(settings, watched, started))
        ours.warm_up(PER_SECOND)

        def measure(number: int) -> Round:
            def of_ours() -> float:
                return ours.cpu_ms_per_probe(per_second=PER_SECOND, seconds=SECONDS)

            def of_peer() -> float:
                return scraped(python, theirs, [site.url for site in watched], folder / "scraper.log")

            own, other = both(number, of_ours, of_peer)
            return {"asyncio_probe": own / other, "asyncio_probe_peer_ms": other}

        yield measure


@contextmanager
def _persisting(folder: Path) -> Iterator[Measure]:
    python = asyncio_python()
    with full_topic(folder, RESULTS_BESIDE_PEERS) as topic:

        def measure(number: int) -> Round:
            ours, theirs = both(
                number, lambda: drained(topic, 1, folder), lambda: persisted(python, topic, folder / "persister.log")
            )
            return {"asyncio_persist": ours.per_second / theirs}

        yield measure


PROBE = Subject(
    name="probe worker: CPU a probe beside asyncio",
    figures=(
        Figure(
            key="asyncio_probe",
            name="probe worker: CPU a probe ÷ aiohttp and aiokafka's, paced 200/s",
            unit="×",
            peer=_PEER,
        ),
        Figure(key="asyncio_probe_peer_ms", name="aiohttp and aiokafka: CPU a probe, paced 200/s", unit="ms"),
    ),
    open=_probing,
    conditions=f"{ON}; HTTP; the peer schedules in the same process, asks no robots.txt, guards and spaces nothing, "
    "and what it has in its queue is lost with it",
)
PERSIST = Subject(
    name="persist beside asyncio",
    figures=(
        Figure(
            key="asyncio_persist",
            name="persist: rows/s, exactly once",
            unit="×",
            peer="aiokafka and asyncpg's COPY, no key, no deduplication",
        ),
    ),
    open=_persisting,
    conditions=conditions(RESULTS_BESIDE_PEERS)
    + f"; the peer on the same topic: json, getmany() of up to {BATCH_ROWS:,}, one COPY each, "
    "offsets after it, a table of its own without index",
)
