"""
A canary in every secret setting, header, url query and credential; the system runs, and fails in many ways; and no
canary is where somebody could look: Redis, Kafka, Postgres, logs, /metrics and its neighbours, Flower, Sentry, spans.
"""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from confluent_kafka import Producer

from tests.acceptance.orders import Left, order_for, send
from tests.acceptance.processes import Role, Roles, roles
from tests.acceptance.test_secrets import echo, everything_sent_to, in_kafka
from tests.canary import everything_in_redis, page, postgres_user, readable, redis_user, with_port
from tests.faults.proxy import Proxy
from tests.persisting import count, query
from tests.ports import free_ports
from tests.registry import Registry, registry
from tests.servers import Behaviour, LocalServer, answer, failing, head, raw, redirect, refusing_url
from tests.sinks import OtlpSink, SentrySink
from tests.waiting import wait_until
from wms_tasks.codec.envelope import AVRO, CONTENT_TYPE
from wms_tasks.codec.framing import confluent
from wms_tasks.embedded.postgres import EmbeddedPostgres
from wms_tasks.settings import PREFIX, Settings
from wms_tasks.sites.record import Expect

# What each setting that may hold a secret has in it; each is looked for in every place.
CANARIES = {
    "broker_url": "canary-broker",
    "database_url": "canary-database",
    "database_url_housekeeping": "canary-housekeeping",
    "heartbeat_url": "canary-heartbeat",
    "schema_registry_url": "canary-registry-url",
    "schema_registry_auth": "canary-registry-auth",
    "sentry_dsn": SentrySink.KEY,
}
HEARTBEAT = CANARIES["heartbeat_url"]
REGISTRY_URL, REGISTRY_AUTH = f"url:{CANARIES['schema_registry_url']}", f"auth:{CANARIES['schema_registry_auth']}"
# In variables that are not ours.
COLLECTOR, FLOWER = "canary-collector", "canary-flower"
FLOWER_LOGIN = f"watcher:{FLOWER}"
# What sites refer to; the first three by WMS_SECRET_*, the last by a file.
HEADER, PASSWORD, BEARER, FILE = "canary-header", "canary-password", "canary-bearer", "canary-file"
# And in urls' queries, by a variable and a file; what is looked for, and the values, which no url has in clear.
IN_URL, FILE_IN_URL, ELSEWHERE = "canary-in-url", "canary-file-in-url", "canary-for-another-host"
IN_URL_VALUE, FILE_IN_URL_VALUE = f"{IN_URL}/& a=ü?#", f"{FILE_IN_URL}%41+b"
# Written into the sites file in clear: what a site's spec needs travels in its orders, through Redis, and nowhere else.
QUERY, PLAIN = "canary-query", "canary-plain"
# Written there by mistake; the file is refused.
MISTAKEN = "canary-mistaken"
NOWHERE = (
    *CANARIES.values(),
    *(COLLECTOR, FLOWER, HEADER, PASSWORD, BEARER, FILE, MISTAKEN, IN_URL, FILE_IN_URL, ELSEWHERE),
)
IN_ORDERS = (QUERY, PLAIN)

SITES = """
hosts: {{127.0.0.1: {{spacing: 1ms}}}}
defaults: {{interval: 2s, timeout: 800ms, jitter: 0s, retries: 1, robots: ignore, evidence: body}}
sites:
  - name: repeats
    url: {site}/echo?first=1&token=${{WMS_SECRET_IN_URL}}&file=${{file:shop/in-url}}
    method: POST
    body: '{{"password": "${{WMS_SECRET_PASSWORD}}"}}'
    auth: {{basic: {{username: me, password: '${{WMS_SECRET_PASSWORD}}'}}}}
    headers: {{X-Header: 'a ${{WMS_SECRET_HEADER}}', X-File: '${{file:shop/token}}'}}
    expect: {{headers: {{X-You-Sent: nothing}}}}
  - name: bearer
    url: {site}/echo
    auth: {{bearer: '${{WMS_SECRET_BEARER}}'}}
  - {{name: redirects, url: '{site}/on?token=${{WMS_SECRET_IN_URL}}'}}
  - {{name: strays, url: '{site}/away?token=${{WMS_SECRET_IN_URL}}'}}
  - {{name: circles, url: '{site}/circle?token=${{file:shop/in-url}}', max_redirects: 1}}
  - {{name: fails, url: '{site}/down?token=${{WMS_SECRET_IN_URL}}', robots: respect}}
  - {{name: breaks, url: '{site}/cut?token=${{WMS_SECRET_IN_URL}}'}}
  - {{name: refuses, url: '{refusing}?token=${{WMS_SECRET_IN_URL}}'}}
  - {{name: another host, url: '{site}/echo?token=${{WMS_SECRET_ELSEWHERE}}'}}
  - name: clear
    url: {site}/down?token={query}
    headers: {{X-Plain: {plain}}}
"""
MISTAKE = """
sites:
  - {{name: a, url: 'https://me:{mistaken}@a.example/', headers: {{Authorization: 'Bearer {mistaken}'}}}}
  - {{name: b, url: 'https://b.example/', auth: {{bearer: '{mistaken}'}}}}
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """The system's surroundings: proxies to break, sinks to read, the environment of every role."""

    environ: dict[str, str]
    valkey: Proxy
    postgres: Proxy
    schemas: Registry
    sentry: SentrySink
    otlp: OtlpSink
    site: LocalServer
    other: LocalServer
    sites: Path


def pages(other: LocalServer) -> dict[str, Behaviour]:
    """What repeats all that it is sent, takes a query along by redirects, and fails."""

    def moved_to(url: str) -> Behaviour:
        return lambda peer: redirect(f"{url}?{peer.request.path.partition('?')[2]}")(peer)

    return {
        "/echo": echo,
        "/down": failing(503),
        "/on": moved_to("/echo"),
        "/circle": moved_to("/circle"),
        "/away": moved_to(other.url("/")),
        "/cut": lambda peer: raw(head(headers={"Content-Length": "9999"}) + peer.request.path.encode())(peer),
    }


@contextmanager
def stage(settings: Settings, wms_environ: dict[str, str], folder: Path) -> Iterator[Stage]:
    """Users with canaries for passwords, behind proxies; a heartbeat that fails."""
    (folder / "secrets" / "shop").mkdir(parents=True)
    (folder / "secrets" / "shop" / "token").write_text(FILE)
    (folder / "secrets" / "shop" / "in-url").write_text(FILE_IN_URL_VALUE)
    ports = [int(url.rpartition(":")[2].partition("/")[0]) for url in (settings.broker_url, settings.database_url)]
    with (
        redis_user(settings.broker_url, CANARIES["broker_url"]) as broker_url,
        postgres_user(settings.database_url, CANARIES["database_url"]) as database_url,
        postgres_user(settings.database_url, CANARIES["database_url_housekeeping"], "keeper") as housekeeping_url,
        Proxy(ports[0]) as valkey,
        Proxy(ports[1]) as postgres,
        SentrySink() as sentry,
        OtlpSink() as otlp,
        registry() as schemas,
        LocalServer({"/": answer()}) as other,
        LocalServer(pages(other)) as site,
    ):
        schemas.logins = {REGISTRY_URL, REGISTRY_AUTH}
        environ = {
            **wms_environ,
            "WMS_WIRE_FORMAT": "avro",
            "WMS_SCHEMA_REGISTRY_URL": schemas.url.replace("//", f"//{REGISTRY_URL}@"),
            "WMS_SCHEMA_REGISTRY_AUTH": REGISTRY_AUTH,
            **otlp.environ(),
            "OTEL_EXPORTER_OTLP_HEADERS": f"x-api-key={COLLECTOR}",
            "WMS_BROKER_URL": with_port(broker_url, valkey.port),
            "WMS_DATABASE_URL": with_port(database_url, postgres.port),
            "WMS_DATABASE_URL_HOUSEKEEPING": with_port(housekeeping_url, postgres.port),
            "WMS_HEARTBEAT_URL": site.url(f"/ping/{HEARTBEAT}?{HEARTBEAT}"),
            "WMS_SENTRY_DSN": sentry.dsn,
            "WMS_SITES": str(folder / "sites.yaml"),
            "WMS_SECRETS_DIR": str(folder / "secrets"),
            "WMS_SECRET_HEADER": HEADER,
            "WMS_SECRET_PASSWORD": PASSWORD,
            "WMS_SECRET_BEARER": BEARER,
            "WMS_SECRET_IN_URL": IN_URL_VALUE,
            "WMS_SECRET_ELSEWHERE": ELSEWHERE,
            "WMS_SECRET_ELSEWHERE_HOSTS": "other.example",
            "WMS_LOG_LEVEL": "DEBUG",
            "WMS_LOG_FORMAT": "json",
        }
        sites = folder / "sites.yaml"
        sites.write_text(SITES.format(site=site.url(""), refusing=refusing_url(), query=QUERY, plain=PLAIN))
        yield Stage(
            environ=environ,
            valkey=valkey,
            postgres=postgres,
            schemas=schemas,
            sentry=sentry,
            otlp=otlp,
            site=site,
            other=other,
            sites=sites,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Running:
    """The roles, and the ports where they and Flower answer."""

    roles: dict[str, Role]
    ports: dict[str, int]


def start(started: Roles) -> Running:
    """All of them. The persist worker logs in to the registry by its url, the probe worker by the setting for that."""
    ports = dict(zip(("beat", "worker", "persist", "flower"), free_ports(4), strict=True))
    metrics = {name: {"WMS_METRICS_PORT": str(port)} for name, port in ports.items() if name != "flower"}
    flower = started.start("flower", f"--port={ports['flower']}", FLOWER_BASIC_AUTH=FLOWER_LOGIN)
    persist = started.worker("--persist", WMS_SCHEMA_REGISTRY_AUTH="", **metrics["persist"])
    worker = started.worker(**metrics["worker"])
    beat = started.start("beat", **metrics["beat"])
    return Running(roles={"flower": flower, "persist": persist, "worker": worker, "beat": beat}, ports=ports)


def break_everything(settings: Settings, on: Stage, running: Running) -> list[str]:
    """
    Redis, Postgres and the registry are lost and come back, a message is no order, another has a schema that nobody
    knows, and the sites file has a mistake in it. Returns what the persist worker said on /readyz meanwhile.
    """
    send(settings, {**an_order(on), "due_at": "never"}, task_id="broken")
    wait_until(lambda: Left(settings).state("broken") == "FAILURE", 30, "a fault of ours")
    # One in the middle of a probe, with the url's secret at hand.
    secret = order_for("no pattern", on.site.url("/echo?token=${WMS_SECRET_IN_URL}"), expect=Expect(body_regexp="("))
    send(settings, secret, task_id="no-pattern")
    wait_until(lambda: Left(settings).state("no-pattern") == "FAILURE", 30, "another one")
    before = count(settings)
    on.postgres.down()
    running.roles["persist"].until_said("persist.postgres_away", 30)
    waits_for = [waiting(running, "postgres")]
    on.postgres.heal()
    on.valkey.down()
    running.roles["worker"].until_said("worker.waiting_for_redis", 30)
    on.valkey.heal()
    on.schemas.broken = True
    put_of_unknown_schema(settings)
    running.roles["persist"].until_said("registry.away", 30)
    waits_for.append(waiting(running, "registry"))
    on.schemas.broken = False
    wait_until(lambda: count(settings, "rejects") == 1, 60, "what has no schema among the rejects")
    wait_until(lambda: count(settings) > before + 3, 60, "rows after the outages")
    on.sites.write_text(MISTAKE.format(mistaken=MISTAKEN))
    running.roles["beat"].until_said("sites.problem", 30)
    return waits_for


def waiting(running: Running, for_what: str) -> str:
    """What /readyz of the persist worker says while it waits for this."""
    at = running.ports["persist"]
    waits = f'"waits_for":"{for_what}"'
    return wait_until(lambda: (said := page(at, "/readyz", status=None)) and waits in said and said, 30, for_what)


def ended(settings: Settings) -> set[tuple[str, str, str]]:
    """Sites, and how slots of theirs ended so far."""
    return {
        (str(a), str(b), str(c)) for a, b, c in query(settings, "SELECT site_name, outcome, reason FROM wms.results")
    }


def put_of_unknown_schema(settings: Settings) -> None:
    """A message in Avro, of an id that the registry does not have."""
    producer = Producer({"bootstrap.servers": settings.kafka_bootstrap_servers})
    producer.produce(settings.topic, confluent(99), headers=[(CONTENT_TYPE, AVRO)])
    assert producer.flush(20) == 0


def pages_of(running: Running) -> dict[str, str]:
    """Whatever the processes show by HTTP, by place."""
    at = running.ports
    site_series = wait_until(lambda: (said := page(at["persist"], "/metrics/sites")) and "{" in said and said, 30)
    tasks, workers = (
        page(at["flower"], path, login=FLOWER_LOGIN) for path in ("/api/tasks?limit=1000", "/api/workers?refresh=1")
    )
    page(at["flower"], "/api/workers", status=401)
    return {
        "metrics": "\n".join(page(port, "/metrics") for port in at.values()),
        "site series": site_series,
        "health": "\n".join(page(at[name], "/healthz") for name in at if name != "flower"),
        "readiness": "\n".join(page(at[name], "/readyz") for name in at if name != "flower"),
        "Flower": f"{tasks}\n{workers}",
    }


def an_order(on: Stage) -> dict[str, Any]:
    """As beat sends it for the site that has things in clear."""
    return order_for("clear", on.site.url(f"/down?token={QUERY}"), headers={"X-Plain": PLAIN}).to_message()


@pytest.mark.slow
@pytest.mark.timeout(400)
def test_no_canary_gets_out(
    settings: Settings, wms_environ: dict[str, str], postgres_server: EmbeddedPostgres, tmp_path: Path
) -> None:
    """Every place was seen to hold what belongs there, and holds no canary; the orders in Redis only what they must."""
    with stage(settings, wms_environ, tmp_path) as on, roles(on.environ, tmp_path) as started:
        assert [name for name, canary in CANARIES.items() if canary not in on.environ[f"{PREFIX}{name.upper()}"]] == []
        with everything_sent_to(settings.broker_url) as to_redis:
            running = start(started)
            wait_until(lambda: count(settings, "sites") == 10 and len(ended(settings)) >= 8, 120, "rows and sites")
            not_ready = break_everything(settings, on, running)
            pages = pages_of(running)
            in_redis = everything_in_redis(settings.broker_url)
            for name in ("beat", "worker", "persist", "flower"):
                running.roles[name].stop()
        dump = [str(postgres_server.bin_dir / "pg_dump"), settings.database_url]
        in_postgres = subprocess.run(dump, capture_output=True, text=True, check=True, timeout=60).stdout
        sent_to_redis = without_logins(bytes(to_redis))
        sent = {name: {r.headers.get(name) for r in on.site.seen} for name in ("x-header", "x-plain", "authorization")}
        asked, ends = {request.path for request in on.site.seen}, ended(settings)
        places = {
            "Redis, sent": sent_to_redis,
            "Redis, kept": in_redis,
            "Kafka": in_kafka(settings, at_least=6),
            "Postgres": in_postgres,
            **pages,
            "readiness, waiting": "\n".join(not_ready),
            "Sentry": on.sentry.text(),
            "spans": on.otlp.text(),
            **{f"log of {name}": role.said() for name, role in running.roles.items()},
        }
    # All of them were used: by the sites, the heartbeat, the collector and the registry.
    assert f"a {HEADER}" in sent["x-header"]
    assert f"Bearer {BEARER}" in sent["authorization"]
    assert PLAIN in sent["x-plain"]
    assert {f"/ping/{HEARTBEAT}?{HEARTBEAT}", f"/down?token={QUERY}"} <= asked
    # Those in urls too, wherever a redirect on the site leads, but not to others; and what came of each.
    in_url, file_in_url = f"token={quote(IN_URL_VALUE, safe='')}", f"{quote(FILE_IN_URL_VALUE, safe='')}"
    assert {f"/{name}?{in_url}" for name in ("on", "echo", "away", "down", "cut")} <= asked
    assert {f"/echo?first=1&{in_url}&file={file_in_url}", f"/circle?token={file_in_url}"} <= asked
    assert not [path for path in asked if ELSEWHERE in path]
    assert on.other.seen == []
    assert ends >= {
        ("redirects", "down", "status"),
        ("strays", "down", "protocol"),
        ("circles", "down", "too_many_redirects"),
        ("fails", "down", "status"),
        ("breaks", "down", "reset"),
        ("refuses", "down", "connect_refused"),
        ("another host", "skipped", "secret"),
        ("clear", "down", "status"),
    }
    assert {request.headers["x-api-key"] for request in on.otlp.seen} == {COLLECTOR}
    assert on.schemas.logged_in == {REGISTRY_URL, REGISTRY_AUTH}
    # Of all that went wrong, services that are away are no faults of ours.
    assert set(on.sentry.kinds()) == {
        ("wms.probe", "ValidationError"),
        ("wms.probe", "UsageError"),
        ("sites.file_refused", "no exception"),
    }
    # And each place was really read.
    seen_in = {
        "Redis, sent": "${WMS_SECRET_HEADER}",
        "Redis, kept": "celery-task-meta-broken",
        "Kafka": "repeats",
        "Postgres": "repeats",
        "metrics": "wms_probe_duration_seconds",
        "site series": "probe_success",
        "health": '"persist"',
        "readiness": '"persist"',
        "readiness, waiting": "registry",
        "Flower": "wms.probe",
        "Sentry": "ValidationError",
        "spans": "persist.batch",
        "log of beat": "sites.problem",
        "log of worker": "probe.ended",
        "log of persist": "heartbeat.failed",
        "log of flower": "",
    }
    assert [place for place, text in places.items() if seen_in[place] not in text] == []
    found = [(place, canary) for place, text in places.items() for canary in NOWHERE if canary in text]
    # Sentry is told its own key with each event, as it asks for it.
    assert [one for one in found if one != ("Sentry", SentrySink.KEY)] == []
    in_clear = {place for place, text in places.items() for canary in IN_ORDERS if canary in text}
    assert in_clear <= {"Redis, sent", "Redis, kept"}


def test_every_secret_setting_has_its_canary() -> None:
    """A setting that is kept out of `repr` gets a canary here, or this fails."""
    secret = {name for name, field in Settings.model_fields.items() if not field.repr}
    # Of kafka_properties tests/unit/test_mask.py looks: no Kafka here asks for a password; of the token test_aiven.py.
    assert set(CANARIES) | {"kafka_properties", "aiven_token"} == secret


def test_without_a_login_flower_refuses_its_api(redis_url: str, tmp_path: Path) -> None:
    """As `wms up` runs it: whoever reaches it may look, and stop nothing."""
    (port,) = free_ports(1)
    with roles({"WMS_ENV": "test", "WMS_BROKER_URL": redis_url}, tmp_path) as started:
        started.start("flower", f"--port={port}", "--address=127.0.0.1").until_said("Connected to")
        assert page(port, "/healthcheck") == "OK"
        assert "FLOWER_UNAUTHENTICATED_API" in page(port, "/api/workers", status=401)


def without_logins(said: bytes) -> str:
    """What MONITOR told, without the one command that has to hold the password."""
    lines = [line for line in said.splitlines() if not any(word in line.upper() for word in (b'"AUTH"', b'"ACL"'))]
    return readable(b"\n".join(lines))
