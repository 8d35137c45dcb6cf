"""
Every knob: one frozen class, prefix ``WMS_``; each also as ``WMS_<NAME>_FILE`` naming a file that holds the value.

Read once by the entry point through `get_settings` and handed down; nothing else reads the environment, except that
probes look up the secrets of sites in it (``WMS_SECRET_*``, probe/secrets.py), and OpenTelemetry its own ``OTEL_*``.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, PrivateAttr, ValidationError
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from wms_tasks.canaries import parse_canaries
from wms_tasks.errors import SettingsError
from wms_tasks.kafka_properties import parse_properties
from wms_tasks.ranges import items, network_text, ports_text
from wms_tasks.settings_files import FileSource, OldNameSource, OthersSource, UnreadableFileError
from wms_tasks.shard import Shard

PREFIX = "WMS_"
# A process of the prefork pool waits for its one site most of the time, but costs memory like a whole program.
PREFORK_PER_CORE = 4
_TOPIC_VERSIONS_BELOW = 1000
# What a setting was called before, which still counts; `old_names` says that it was used.
RENAMED = {"metrics_port": "health_port", "metrics_host": "health_host", "up_metrics_port": "up_health_port"}


def _networks(text: str) -> str:
    return ",".join(map(network_text, items(text)))


def _ports(text: str) -> str:
    return ",".join(map(ports_text, items(text)))


def _canaries(text: str) -> str:
    parse_canaries(text)
    return text


def _properties(text: str) -> str:
    parse_properties(text)
    return text


def _shard(text: str) -> str:
    return str(Shard.parse(text))


def _versions(text: str) -> str:
    found = items(text)
    if not found or not all(one.isdecimal() and 0 < int(one) < _TOPIC_VERSIONS_BELOW for one in found):
        raise ValueError("whole numbers from 1 on, comma separated: 1,2")
    return ",".join(map(str, dict.fromkeys(map(int, found))))


class Settings(BaseSettings):
    """The settings, validated. ``repr`` hides what may hold a password."""

    model_config = SettingsConfigDict(env_prefix=PREFIX, frozen=True, extra="ignore", env_ignore_empty=True)

    # What this release writes: `SCHEMA_VERSION` in result.py, which a test compares.
    _topic_version: int = PrivateAttr(1)
    _database_variable: str = PrivateAttr("WMS_DATABASE_URL")

    env: Literal["dev", "test", "staging", "prod"] = Field(
        "dev", description="Environment; topic, consumer group, queues and Redis keys carry it."
    )
    broker_url: str = Field(
        "redis://127.0.0.1:6379/0",
        repr=False,
        description="Redis or Valkey: Celery's broker and result backend, politeness, lease.",
    )
    kafka_bootstrap_servers: str = Field("127.0.0.1:9092", description="Kafka's bootstrap servers, comma separated.")
    kafka_group_protocol: Literal["classic", "consumer"] = Field(
        "classic", description="Kafka's group protocol; `consumer` is KIP-848."
    )
    kafka_properties: Annotated[str, AfterValidator(_properties)] = Field(
        "",
        repr=False,
        description="Further properties of librdkafka for all our Kafka clients, one `name=value` a line, or a JSON object: "
        "`security.protocol=SASL_SSL`. Those on which exactly-once rests are refused.",
    )
    kafka_topic_partitions: int = Field(3, ge=1, description="Partitions of the topic where we make it (dev and test).")
    wire_format: Literal["json", "avro"] = Field(
        "json", description="How workers write results into Kafka; persist reads both (docs/contract.md)."
    )
    schema_registry_url: str | None = Field(
        None,
        repr=False,
        pattern=r"^https?://[^\s/]",
        description="A schema registry, for Avro in Confluent's framing; unset: Avro's single-object encoding.",
    )
    schema_registry_auth: str | None = Field(
        None, repr=False, pattern=r"^[^:]+:.*$", description="Its login, `user:password`, where the url has none."
    )
    schema_registry_ca: Path | None = Field(
        None, description="The authorities (PEM) that vouch for it; unset: the usual public ones."
    )
    schema_registry_certificate: Path | None = Field(
        None, description="Our certificate (PEM), where it asks for one; with its key, or WMS_SCHEMA_REGISTRY_KEY."
    )
    schema_registry_key: Path | None = Field(None, description="The key (PEM) of our certificate.")
    database_url: str = Field(
        "postgresql://wms@127.0.0.1:5432/wms",
        repr=False,
        description="Postgres, for the persist role and the reading commands.",
    )
    database_url_housekeeping: str | None = Field(
        None,
        repr=False,
        description="Postgres as the login that closes slots, drops old days and replays rejects, for the tasks of the queue "
        "`housekeeping` and `wms rejects replay|drop`; unset: WMS_DATABASE_URL.",
    )
    database_pooled: bool = Field(
        False,
        description="WMS_DATABASE_URL is a pool by transaction, as PgBouncer's: for reading commands only.",
    )
    database_role_persist: str | None = Field(
        None,
        max_length=63,
        description="Migrating gives this role of Postgres what the persist role needs, and takes it from the one named before; "
        "unset: who had it keeps it (docs/howto/least-rights.md).",
    )
    database_role_housekeeping: str | None = Field(
        None, max_length=63, description="The same for what the tasks of the queue `housekeeping` need."
    )
    database_role_reader: str | None = Field(None, max_length=63, description="The same for reading all and no more.")
    certs_dir: Path = Field(
        Path("certs"),
        description="The folder of certificates (PEM): `ca.pem`, the authorities that vouch for Kafka, Postgres and Redis; "
        "`kafka-cert.pem` and `kafka-key.pem`, ours for Kafka (docs/howto/tls.md).",
    )
    aiven_project: str | None = Field(
        None,
        pattern=r"^[a-z0-9][a-z0-9-]{0,62}$",
        description="The project at Aiven that staging or prod is in: what of Kafka, Postgres and Redis is not set here, each role "
        "asks Aiven for when it starts, certificates too (docs/howto/aiven.md); with the extra `aiven`.",
    )
    aiven_token: str | None = Field(
        None,
        repr=False,
        pattern=r"^[!-~]+$",
        description="The token to ask with; unset: that of `AIVEN_AUTH_TOKEN`, else of `AIVEN_TOKEN`.",
    )
    aiven_kafka_service: str | None = Field(
        None,
        description="Kafka's service at Aiven; unset: `wms-{env}-kafka`, with WMS_TOPIC_SUFFIX `wms-{env}-{suffix}-kafka`.",
    )
    aiven_postgres_service: str | None = Field(None, description="PostgreSQL's; unset: `…-pg`.")
    aiven_valkey_service: str | None = Field(None, description="Valkey's; unset: `…-valkey`.")
    aiven_url: str = Field(
        "https://api.aiven.io",
        pattern=r"^(https://[^\s/]+|http://127\.0\.0\.1:\d+)$",
        description="Aiven's API.",
    )
    topic_versions: Annotated[str, AfterValidator(_versions)] = Field(
        "1",
        description="Which versions n of the topic `{env}.scraped-metrics.v{n}` the persist worker reads, comma separated: "
        "both while a new one is rolled out (docs/contract.md).",
    )
    topic_suffix: str = Field(
        "",
        pattern=r"^[a-z0-9-]{0,40}$",
        description="Appended to topic and consumer group: several systems of one environment on one Kafka.",
    )
    sites: Path = Field(
        Path("sites.yaml"), description="The sites file that beat reads, or a folder of such files (`*.yaml`, `*.yml`)."
    )
    secrets_dir: Path | None = Field(
        None, description="The folder below which a worker reads a site's `${file:…}`; unset: none can be read."
    )
    location: str = Field(
        "local",
        pattern=r"^[a-z0-9][a-z0-9._-]{0,62}$",
        description="Where this worker probes from; part of a row's key.",
    )
    worker_name: str = Field(default_factory=socket.gethostname, description="Names this worker in results.")
    worker_pool: Literal["threads", "prefork", "gevent", "solo"] = Field(
        "threads", description="Celery's pool where the command line names none; gevent needs `-P gevent` there too."
    )
    worker_concurrency: int = Field(
        384,
        ge=1,
        le=4096,
        description="Probes at a time in one worker: threads, begun as they are needed, of which slow hosts get half. Under "
        "WMS_WORKER_POOL=prefork these are processes, by default 4 for each core.",
    )
    worker_rate_limit: str = Field(
        "1000/s",
        pattern=r"^\d+(\.\d+)?/[smh]$",
        description="Celery's own rate_limit for the probe task: a cap for each worker.",
    )
    worker_one_processor: bool = Field(
        True,
        description="Keep a probe worker's threads on one processor at a time, the one that others use least (Linux): more "
        "it can hardly use, and its threads then wake one another sooner. Not under prefork and gevent, nor in `wms up`.",
    )
    user_agent_contact: str = Field(
        "https://example.invalid/set-WMS_USER_AGENT_CONTACT",
        description="A url or address where a site's owner reaches you; sent in User-Agent.",
    )
    allow_networks: Annotated[str, AfterValidator(_networks)] = Field(
        "",
        description="Networks that probes may connect to beside the public internet, comma separated: `10.0.0.0/8,fd00::/8`. "
        "A site's `allow_networks` adds to it.",
    )
    allow_ports: Annotated[str, AfterValidator(_ports)] = Field(
        "",
        description="Ports that probes may connect to though mail, data stores and the like are there, comma separated: "
        "`9200,6000-6010`. A site's `allow_ports` adds to it.",
    )
    canaries: Annotated[str, AfterValidator(_canaries)] = Field(
        "",
        description="What shows whether a worker is online, comma separated urls or host:port on two hosts at least, which "
        "are only connected to; unset: the resolver and three hosts that were last up; `off`: a failure is always the site's.",
    )
    max_lateness_seconds: float = Field(
        300.0, gt=0, description="A probe is not begun later than this after it was due."
    )
    visibility_timeout_seconds: int = Field(
        50,
        ge=20,
        description="Redis gives an unacknowledged message to another worker after this; 20 s more than the longest timeout.",
    )
    broker_transport: Literal["wms", "stock"] = Field(
        "wms",
        description="`stock` is kombu's own Redis transport, for comparison: slower, and it exits on a Redis restart.",
    )
    result_expires_seconds: int = Field(3600, ge=60, description="How long RETRY and FAILURE stay in Redis.")
    lease_seconds: float = Field(
        8.0, ge=1, description="A beat that has not renewed its lease for this long has lost it."
    )
    shard: Annotated[str, AfterValidator(_shard)] = Field(
        "1/1",
        description="Of several beats that share the sites, which this is: `2/4` is the second of four. They read the same "
        "sites file; each may have others of the same shard standing by.",
    )
    persist_max_records: int = Field(5000, ge=1, le=100_000, description="A batch ends at this many records,")
    persist_timeout_ms: int = Field(500, ge=1, le=60_000, description="or this long after its first record,")
    persist_max_bytes: int = Field(
        16 * 1024 * 1024,
        ge=1024,
        description="or at so many bytes of values, whichever comes first. The batch that is written and the one that is "
        "gathered meanwhile have no more together.",
    )
    persist_queue_max_bytes: int = Field(
        16 * 1024 * 1024,
        ge=1024 * 1024,
        le=64 * 1024 * 1024,
        description="Read ahead from Kafka at most so much for each persist worker, and one fetch more.",
    )
    rejects_max_share: float = Field(
        0.2,
        gt=0,
        le=1,
        description="The persist worker ends when more of a partition's last 1,000 messages, or 100 in a row, cannot be "
        "stored; 1: never.",
    )
    rejects_max_value_bytes: int = Field(
        65_536, ge=0, description="Of a longer rejected value only so much is kept, with its length and SHA-256."
    )
    rejects_retention_days: int = Field(90, ge=1, le=3650, description="Rejects are deleted after this.")
    retention_days: int = Field(
        30, ge=1, le=3650, description="A day's results are dropped this many days later; the ledger's balance stays."
    )
    close_grace_seconds: int | None = Field(
        None,
        ge=0,
        le=86_400,
        description="A slot without a result is closed as missed this long after nobody could begin it any more; unset: "
        "25 s more than the visibility timeout, after which Redis gives up on a worker. A result that comes later still "
        "counts.",
    )
    partitions_ahead_days: int = Field(7, ge=1, le=60, description="Daily partitions made ahead of today.")
    migrate: Literal["auto", "wait", "off"] = Field(
        "auto",
        description="What a role that uses Postgres does about the schema at its start: `auto` applies what is missing; `wait` "
        "only waits until somebody has (`wms migrate up` as a step of its own); `off` does not look.",
    )
    schema_target: str | None = Field(
        None,
        description="Migrate up or down to this migration id at start (under WMS_MIGRATE=wait: wait for it, or for a newer "
        "one); unset: this release's newest.",
    )
    metrics_port: int | None = Field(
        None,
        ge=0,
        le=65535,
        description="Serve /healthz, /readyz and /metrics on this port, in every role; unset: not at all.",
    )
    metrics_host: str = Field("127.0.0.1", description="The address they listen on.")
    site_metrics_max: int = Field(
        2000,
        ge=0,
        description="The persist role serves a series for each site, under blackbox_exporter's names, on /metrics/sites, "
        "unless there are more sites than this; 0: never.",
    )
    heartbeat_url: str | None = Field(
        None,
        repr=False,
        pattern=r"^https?://[^\s/]",
        description="Called (GET) after a write to Postgres, at most once a minute: for an outside dead-man's switch.",
    )
    sentry_dsn: str | None = Field(
        None,
        repr=False,
        pattern=r"^https?://[^@/\s]+@[^/\s]+/(.+/)?\d+$",
        description="Report our own faults to this Sentry; unset: to the one that `SENTRY_DSN` names, if it is set.",
    )
    trace_hosts: str = Field(
        "",
        pattern=r"^\s*((\*\.)?[a-z0-9:.-]+\s*(,\s*|$))*$",
        description="Hosts whose sites are sent `traceparent`, comma separated: `shop.example,*.shop.example`; where traces "
        "are made (docs/observability.md).",
    )
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = Field("INFO", description="Least level logged.")
    log_format: Literal["json", "console"] | None = Field(
        None, description="The form of a log line; unset: `console` where stderr is a terminal, `json` elsewhere."
    )
    log_file: Path | None = Field(None, description="Log there (10 MB, then one older file) instead of to stderr.")
    data_dir: Path = Field(Path(".wms"), description="Where `wms up` keeps the embedded services' data.")
    kafka_jars: Path | None = Field(None, description="A folder with Kafka's jars, for machines without network.")
    up_postgres_port: int = Field(15432, description="`wms up`: Postgres' port on loopback.")
    up_valkey_port: int = Field(16379, description="`wms up`: Valkey's port on loopback.")
    up_kafka_port: int = Field(19092, description="`wms up`: Kafka's port on loopback.")
    up_kafka_controller_port: int = Field(19093, description="`wms up`: Kafka's controller port on loopback.")
    up_demo_port: int = Field(18080, description="`wms up`: the demo site's port on loopback.")
    up_flower_port: int = Field(15555, description="`wms up`: Flower's port on loopback.")
    up_metrics_port: int = Field(
        18081,
        description="`wms up`: the port of /healthz, /readyz and /metrics on loopback, where WMS_METRICS_PORT names none.",
    )

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Arguments, the environment, ``_FILE``, the names that settings had before, and what others call them."""
        given = init_settings()
        return (
            init_settings,
            env_settings,
            FileSource(settings_cls, given),
            OldNameSource(settings_cls, given, RENAMED),
            OthersSource(settings_cls),
        )

    @property
    def probes_at_a_time(self) -> int:
        """``worker_concurrency``, unless nobody chose it and it means whole processes."""
        if self.worker_pool == "prefork" and "worker_concurrency" not in self.model_fields_set:
            return PREFORK_PER_CORE * (os.cpu_count() or 1)
        return self.worker_concurrency

    @property
    def _suffix(self) -> str:
        return f".{self.topic_suffix}" if self.topic_suffix else ""

    @property
    def topic(self) -> str:
        """Kafka topic of results, written and read; see `of_topic_version`."""
        return f"{self.env}.scraped-metrics.v{self._topic_version}{self._suffix}"

    @property
    def topic_version(self) -> int:
        """The ``n`` of `topic`."""
        return self._topic_version

    def of_topic_version(self, version: int) -> Settings:
        """The same, for another version of the topic."""
        other = self.model_copy()
        other._topic_version = version
        return other

    @property
    def read_versions(self) -> list[Settings]:
        """For each version of the topic that the persist worker reads."""
        return [self.of_topic_version(int(one)) for one in self.topic_versions.split(",")]

    @property
    def for_housekeeping(self) -> Settings:
        """The same, with housekeeping's own login as ``database_url``, where it has one."""
        if self.database_url_housekeeping is None:
            return self
        changes = {"database_url": self.database_url_housekeeping, "database_pooled": False}
        other = self.model_copy(update=changes)
        other._database_variable = "WMS_DATABASE_URL_HOUSEKEEPING"
        return other

    @property
    def database_variable(self) -> str:
        """What `database_url` was read from, for messages."""
        return self._database_variable

    @property
    def may_make(self) -> bool:
        """Whether this environment makes what is missing in Kafka and in a schema registry; others only look for it."""
        return self.env in {"dev", "test"}

    @property
    def wants_tls(self) -> bool:
        """Whether Kafka, Postgres and Redis are to be spoken to over verified TLS only; see tls_check.py."""
        return not self.may_make

    @property
    def consumer_group(self) -> str:
        """Kafka consumer group of the persist workers; one for each version of the topic, so that none disturbs another."""
        version = "" if self._topic_version == 1 else f".v{self._topic_version}"
        return f"{self.env}.wms.persist{version}{self._suffix}"

    @property
    def grace_seconds(self) -> int:
        """
        How long a slot may take to end after its deadline.

        A message begun in time may be lost with its worker and found after the visibility timeout, by a sweep each 5 s;
        that its slot expired is then published, in at most 9 s; the rest is for the batch, the clocks and the load.
        """
        return self.visibility_timeout_seconds + 25 if self.close_grace_seconds is None else self.close_grace_seconds

    @property
    def key_prefix(self) -> str:
        """What every Redis key of ours, and of Celery for us, begins with."""
        return f"wms:{self.env}:"


def load_settings(**values: str) -> Settings:
    """
    Read the environment.

    Args:
        values: by field, over it.

    Raises:
        SettingsError: names each variable that is wrong, one a line, without repeating its value.
    """
    try:
        return Settings(**values)  # type: ignore[arg-type]
    except ValidationError as error:
        raise SettingsError("\n".join(line for _, line in _problems(error))) from error


def _problems(error: ValidationError) -> Iterator[tuple[str, str]]:
    """Each setting that is wrong, and the line about it."""
    for e in error.errors(include_url=False):
        name = "_".join(map(str, e["loc"]))
        yield name, f"{variable_of(name)}: {e['msg'].removeprefix('Value error, ')}"


def variable_of(name: str) -> str:
    """The variable to blame for a field: the one that is set, by whichever name."""
    new = f"{PREFIX}{name.upper()}"
    if os.environ.get(new) or os.environ.get(f"{new}_FILE"):
        return new
    return dict(old_names()).get(new) or OthersSource.variable_of(name) or new


def old_names() -> list[tuple[str, str]]:
    """Names of variables that are set and were given up: what each is called now, and then."""
    pairs = [(f"{PREFIX}{new.upper()}", f"{PREFIX}{old.upper()}") for new, old in RENAMED.items()]
    return [(new, old) for new, old in pairs if os.environ.get(old) or os.environ.get(f"{old}_FILE")]


def load_usable_settings() -> tuple[Settings, dict[str, str]]:
    """
    Read the environment, and leave what is wrong at its default: for a command that can do without.

    Returns:
        The settings, and a line about each that is wrong, as `load_settings` raises it, by the field's name.
    """
    wrong: dict[str, str] = {}
    while True:  # each turn finds one more that is wrong, or ends
        fields = Settings.model_fields
        try:
            return Settings(**{name: fields[name].get_default(call_default_factory=True) for name in wrong}), wrong
        except ValidationError as error:
            wrong |= _problems(error)
        except UnreadableFileError as error:
            wrong[error.field_name] = error.message


class _Process:
    """The process's settings, read when they are first asked for."""

    def __init__(self) -> None:
        self._filled: dict[str, str] = {}
        self._settings: Settings | None = None

    def __call__(self) -> Settings:
        """
        Read the environment, the first time.

        Raises:
            SettingsError: as `load_settings`.
        """
        if self._settings is None:
            self._settings = load_settings(**self._filled)
        return self._settings

    def fill(self, values: Mapping[str, str]) -> Settings:
        """From now on also these, by field, over the environment; what they are is in no child's environment."""
        self._filled |= values
        self._settings = load_settings(**self._filled)
        return self._settings

    def cache_clear(self) -> None:
        """Forget them, and what was filled in."""
        self._filled, self._settings = {}, None


get_settings = _Process()
