"""
The probe worker: its CPU time beside blackbox_exporter's at the same pace, and in each pool.

Everything is on loopback, each site on an address of its own. Orders come through Valkey as beat puts them, results go
to Kafka, and robots.txt of every origin is known when a round begins, as it is on all but a day's first probe.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import trustme

from bench.blackbox import blackbox, program
from bench.delay_server import delay_server
from bench.figure import Figure, Measure, Round, Subject, at_most
from bench.probing import Line, line, sites
from bench.services import services
from bench.turns import both
from tests.acceptance.processes import roles
from wms_tasks.embedded.kafka import EmbeddedKafka
from wms_tasks.embedded.valkey import EmbeddedValkey
from wms_tasks.settings import Settings
from wms_tasks.sites.record import TlsOptions
from wms_tasks.topic import ensure_topic

PER_SECOND = 200
SECONDS = 8.0
_SITES = 800
SERVER_NAME = "bench.example.org"
BLACKBOX = "blackbox_exporter"

ON = (
    "robots.txt respected, guard on, spacing 1 s a host, delivery report before the message is acknowledged, task "
    "events as shipped, a new connection for each probe"
)


def worker_settings(
    valkey: EmbeddedValkey, kafka: EmbeddedKafka, *, database: int = 0, concurrency: int = 0
) -> Settings:
    """As shipped, but for loopback; each database of Valkey is a queue of its own."""
    settings = Settings(
        env="test",
        broker_url=f"{valkey.url.rsplit('/', 1)[0]}/{database}",
        kafka_bootstrap_servers=kafka.bootstrap_servers,
        allow_networks="127.0.0.0/8",
        **({"worker_concurrency": concurrency} if concurrency else {}),
    )
    ensure_topic(settings)
    return settings


@contextmanager
def _beside_blackbox(folder: Path, *, key: str, secure: bool) -> Iterator[Measure]:
    program()
    chain, private = folder / "chain.pem", folder / "key.pem"
    trusted = {"SSL_CERT_FILE": _certificates(folder, chain, private)} if secure else {}
    with ExitStack() as stack:
        port = stack.enter_context(delay_server(certificate=chain, key=private) if secure else delay_server())
        peer = stack.enter_context(
            blackbox(folder, server_name=SERVER_NAME if secure else "", environ=os.environ | trusted)
        )
        started = stack.enter_context(roles(trusted, folder))
        settings = worker_settings(*stack.enter_context(services(folder)))
        tls = TlsOptions(server_name=SERVER_NAME) if secure else None
        watched = sites(_SITES, f"{'https' if secure else 'http'}://HOST:{port}/page", tls=tls)
        ours = stack.enter_context(line(settings, watched, started))
        ours.warm_up(PER_SECOND)

        def measure(number: int) -> Round:
            def of_ours() -> float:
                return ours.cpu_ms_per_probe(per_second=PER_SECOND, seconds=SECONDS)

            def of_peer() -> float:
                urls = [site.url for site in watched]
                return peer.cpu_ms_per_probe(
                    lambda probe: urls[probe % len(urls)], per_second=PER_SECOND, seconds=SECONDS
                )

            own, other = both(number, of_ours, of_peer)
            return {key: own / other, f"{key}_peer_ms": other}

        yield measure


def _certificates(folder: Path, chain: Path, private: Path) -> str:
    """A server's, written there; the path of the authority's."""
    authority = trustme.CA()
    leaf = authority.issue_cert(SERVER_NAME)
    chain.write_bytes(b"".join(blob.bytes() for blob in leaf.cert_chain_pems))
    leaf.private_key_pem.write_to_path(str(private))
    trusted = folder / "authority.pem"
    authority.cert_pem.write_to_path(str(trusted))
    return str(trusted)


@contextmanager
def _over_http(folder: Path) -> Iterator[Measure]:
    with _beside_blackbox(folder, key="worker_http", secure=False) as measure:
        yield measure


@contextmanager
def _over_https(folder: Path) -> Iterator[Measure]:
    with _beside_blackbox(folder, key="worker_https", secure=True) as measure:
        yield measure


_POOLS: dict[str, tuple[tuple[str, ...], dict[str, str]]] = {
    "threads": ((), {}),
    "prefork": ((), {"WMS_WORKER_POOL": "prefork"}),
    "gevent": (("-P", "gevent"), {}),
}


@contextmanager
def _each_pool(folder: Path) -> Iterator[Measure]:
    with ExitStack() as stack:
        port = stack.enter_context(delay_server())
        valkey, kafka = stack.enter_context(services(folder))
        started = stack.enter_context(roles({}, folder))
        lines: dict[str, Line] = {}
        for database, (pool, (arguments, environ)) in enumerate(_POOLS.items()):
            settings = worker_settings(valkey, kafka, database=database)
            watched = sites(_SITES, f"http://HOST:{port}/page")
            lines[pool] = stack.enter_context(line(settings, watched, started, *arguments, environ=environ))
            lines[pool].warm_up(PER_SECOND / 2)

        def measure(number: int) -> Round:
            found = {}
            for pool in sorted(lines, reverse=number % 2 == 1):
                own = lines[pool]
                own.results.new()  # the others' of this round
                found[f"worker_{pool}"] = own.cpu_ms_per_probe(per_second=PER_SECOND, seconds=SECONDS)
            return found

        yield measure


HTTP = Subject(
    name="probe worker: CPU a probe beside blackbox_exporter",
    figures=(
        Figure(
            key="worker_http",
            name="probe worker: CPU a probe ÷ blackbox_exporter's, paced 200/s",
            unit="×",
            peer=BLACKBOX,
            must=at_most(2.2),
            aim=at_most(1.2),
        ),
        Figure(key="worker_http_peer_ms", name="blackbox_exporter: CPU a probe, paced 200/s", unit="ms"),
    ),
    open=_over_http,
    conditions=ON + "; HTTP; blackbox_exporter is asked over kept connections, and hands nothing on",
)
HTTPS = Subject(
    name="probe worker: CPU a probe over HTTPS beside blackbox_exporter",
    figures=(
        Figure(
            key="worker_https",
            name="probe worker: CPU a probe over HTTPS ÷ blackbox_exporter's, paced 200/s",
            unit="×",
            peer=BLACKBOX,
        ),
        Figure(key="worker_https_peer_ms", name="blackbox_exporter: CPU a probe over HTTPS, paced 200/s", unit="ms"),
    ),
    open=_over_https,
    conditions=ON + "; HTTPS, both verify the certificate (authority by SSL_CERT_FILE, server name given)",
)
POOLS = Subject(
    name="probe worker: CPU a probe in each pool",
    figures=tuple(
        Figure(key=f"worker_{pool}", name=f"probe worker: CPU a probe, pool {pool}, paced 200/s", unit="ms")
        for pool in _POOLS
    ),
    open=_each_pool,
    conditions=ON + "; HTTP; prefork: 4 processes a core, its children counted",
)
