"""What each role gets from Aiven, held to a double of its API; and what is said where something is wrong there."""

from __future__ import annotations

import logging
import os
import re
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509

from tests.aiven_api import PROJECT, TOKEN, AivenApi
from tests.certificates import CA
from tests.hcl import TERRAFORM
from tests.ports import free_port
from wms_tasks.aiven import obtain
from wms_tasks.aiven.facts import ROLES, Role
from wms_tasks.entry import settings_of, worker_uses
from wms_tasks.errors import ServiceUnavailable, SettingsError, WmsError
from wms_tasks.mask import mask_for
from wms_tasks.settings import Settings, get_settings
from wms_tasks.tls_check import faults

KAFKA, POSTGRES, VALKEY = "wms-staging-kafka", "wms-staging-pg", "wms-staging-valkey"


@pytest.fixture
def api() -> Iterator[AivenApi]:
    """It has all."""
    with AivenApi() as running:
        yield running


@pytest.fixture
def certs(tmp_path: Path, api: AivenApi, monkeypatch: pytest.MonkeyPatch) -> Path:
    """WMS_CERTS_DIR; and the environment names project, token and double, and nothing else."""
    for name in ("AIVEN_AUTH_TOKEN", "AIVEN_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    folder = tmp_path / "certs"
    given = {"ENV": "staging", "AIVEN_PROJECT": PROJECT, "AIVEN_TOKEN": TOKEN, "AIVEN_URL": api.url}
    for name, value in (given | {"CERTS_DIR": str(folder)}).items():
        monkeypatch.setenv(f"WMS_{name}", value)
    monkeypatch.chdir(tmp_path)
    return folder


def filled(role: Role) -> Settings:
    """As the role would start with."""
    return obtain(get_settings(), role, *ROLES[role])


AT = "wms-staging-pg-acme.a.aivencloud.com"
DATABASE = f"postgresql://wms_persist:AVNS_of-wms_persist_x@{AT}:12347/wms"
HOUSEKEEPING = f"postgresql://wms_housekeeping:AVNS_of-wms_housekeeping_x@{AT}:12347/wms"


def test_persist_gets_all(certs: Path, api: AivenApi) -> None:
    """Address, login and certificates of three services, of its own users, over TLS that verifies; nobody else's."""
    settings = filled("persist")
    assert settings is get_settings()
    assert settings.broker_url == "rediss://wms:AVNS_of-wms_x@wms-staging-valkey-acme.a.aivencloud.com:12349/0"
    assert settings.kafka_bootstrap_servers == "wms-staging-kafka-acme.a.aivencloud.com:12345"
    assert settings.database_url == f"{DATABASE}?sslmode=verify-full"
    assert settings.database_url_housekeeping == f"{HOUSEKEEPING}?sslmode=verify-full"
    assert settings.migrate == "wait"
    assert settings.schema_registry_url == "https://wms-kafka-acme.a.aivencloud.com:12346"
    assert settings.schema_registry_auth == "staging-wms-persist:AVNS_of-staging-wms-persist_x"
    assert settings.schema_registry_ca == certs / "ca.pem"
    assert (certs / "ca.pem").read_text() == CA
    assert subject_of(certs / "kafka-cert.pem") == "staging-wms-persist"
    assert faults(settings, "redis", "kafka", "postgres", "housekeeping") == []
    assert {one.split("/user/")[1] for one in api.asked if "/user/" in one} == {
        "wms",
        "wms_persist",
        "wms_housekeeping",
        "staging-wms-persist",
    }


def subject_of(path: Path) -> str:
    """Whose certificate it is."""
    (name,) = x509.load_pem_x509_certificates(path.read_bytes())[0].subject.get_attributes_for_oid(
        x509.NameOID.COMMON_NAME
    )
    return str(name.value)


@pytest.mark.parametrize(
    ("role", "services", "files"),
    [
        ("beat", {VALKEY}, {"ca.pem"}),
        ("worker", {VALKEY, KAFKA}, {"ca.pem", "kafka-cert.pem", "kafka-key.pem"}),
        ("persist", {VALKEY, KAFKA, POSTGRES}, {"ca.pem", "kafka-cert.pem", "kafka-key.pem"}),
        ("housekeeping", {POSTGRES}, {"ca.pem"}),
        ("migrate", {POSTGRES}, {"ca.pem"}),
        ("reader", {POSTGRES}, {"ca.pem"}),
        ("release", {KAFKA}, {"ca.pem"}),
    ],
)
def test_a_role_asks_for_what_it_needs(
    certs: Path, api: AivenApi, role: Role, services: set[str], files: set[str]
) -> None:
    """And of the others nothing: beat and worker do not know where the database is."""
    settings = filled(role)
    assert {one.split("/")[1] for one in api.asked if one.startswith("service/")} == services
    assert {path.name for path in certs.iterdir()} == files
    assert ("database_url" in settings.model_fields_set) == (POSTGRES in services)
    assert ("kafka_bootstrap_servers" in settings.model_fields_set) == (KAFKA in services and role != "release")


@pytest.mark.parametrize("role", ROLES)
def test_a_role_gets_the_settings_of_terraforms_outputs(certs: Path, role: Role) -> None:
    """By name, as the module's text has them; Terraform itself computes the values in test_aiven_terraform.py."""
    text = (TERRAFORM / "modules" / "wms" / "outputs.tf").read_text(encoding="utf-8")
    shared = dict(re.findall(r"^  (\w+) = \{\n(.*?)^  \}$", text, re.MULTILINE | re.DOTALL))
    (words,) = re.findall(rf"^    {role} += merge\((.*)\)$", text, re.MULTILINE)
    told = words + "".join(shared[name] for name in re.findall(r"\blocal\.(\w+)[,)]", f"{words})") if name in shared)
    names = {name.removeprefix("WMS_").lower() for name in re.findall(r"\b(WMS_\w+) +=", told)}
    asked = {"aiven_project", "aiven_token", "aiven_url"}
    # The script names the certificates' folder, and the CA where there is a registry.
    script = {"certs_dir"} | {"schema_registry_ca" for name in names if name == "schema_registry_url"}
    assert filled(role).model_fields_set - asked | {"topic_suffix"} == names | script


@pytest.mark.parametrize("role", ["reader", "housekeeping"])
def test_readers_go_through_the_pool(certs: Path, role: Role) -> None:
    """Whose url is redacted, so that the login is the user's."""
    settings = filled(role)
    assert (
        settings.database_url == f"postgres://wms_reader:AVNS_of-wms_reader_x@{AT}:12348/wms-reader?sslmode=verify-full"
    )
    assert settings.database_pooled


def test_housekeeping_writes_without_the_pool(certs: Path, api: AivenApi) -> None:
    """``wms rejects replay`` and ``drop``, and a worker with its queue alone, ask for no other login."""
    own = settings_of("housekeeping", "housekeeping").for_housekeeping
    assert (own.database_url, own.database_pooled) == (f"{HOUSEKEEPING}?sslmode=verify-full", False)
    get_settings.cache_clear()
    role, needs = worker_uses(["housekeeping"], persist=False)
    settings = settings_of(role, *needs)
    assert settings.for_housekeeping.database_url == own.database_url
    assert "database_url" not in settings.model_fields_set
    users = [one.partition("/user/")[2] for one in api.asked if "/user/wms" in one]
    assert users == ["wms_housekeeping", "wms_housekeeping"]


def test_who_migrates_is_told_whom_to_give_rights(certs: Path) -> None:
    """And migrates, where persist waits for it; what is set wins here too."""
    settings = filled("migrate")
    assert (settings.migrate, settings.database_pooled) == ("auto", False)
    assert settings.database_role_persist == "wms_persist"
    assert settings.database_role_housekeeping == "wms_housekeeping"
    assert settings.database_role_reader == "wms_reader"


@pytest.mark.parametrize(
    ("name", "housekeeping"),
    [("WMS_DATABASE_URL", None), ("WMS_DATABASE_URL_HOUSEKEEPING", "postgresql://d/w?sslmode=verify-full")],
)
def test_one_login_that_is_set_is_enough_for_both(
    certs: Path, api: AivenApi, monkeypatch: pytest.MonkeyPatch, name: str, housekeeping: str | None
) -> None:
    """Who names Postgres elsewhere wants all there; housekeeping's own alone leaves persist's to Aiven."""
    monkeypatch.setenv(name, "postgresql://d/w?sslmode=verify-full")
    monkeypatch.setenv("WMS_MIGRATE", "off")
    settings = filled("persist")
    assert settings.database_url_housekeeping == housekeeping
    assert settings.migrate == "off"
    assert not any(one.endswith("wms_housekeeping") for one in api.asked)
    assert any(one.endswith("wms_persist") for one in api.asked if POSTGRES in one) == (housekeeping is not None)


def test_certificates_are_for_their_owner_only(certs: Path) -> None:
    """What was there before goes; what is right already stays as it is."""
    certs.mkdir(mode=0o755)
    (certs / "ca.pem").write_text("older, and for all to read")
    filled("worker")
    files = sorted(certs.iterdir())
    assert [path.name for path in files] == ["ca.pem", "kafka-cert.pem", "kafka-key.pem"]
    assert {stat.S_IMODE(path.stat().st_mode) for path in files} == {0o600}
    before = [path.stat().st_ino for path in files]
    get_settings.cache_clear()
    filled("worker")
    assert [path.stat().st_ino for path in sorted(certs.iterdir())] == before


def test_roles_in_one_place_keep_their_certificates_apart(certs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where no folder is named. A worker has asked for Redis before it is known what it is."""
    monkeypatch.delenv("WMS_CERTS_DIR")
    for role in ("worker", "persist"):
        get_settings.cache_clear()
        obtain(get_settings(), "beat", "redis")
        settings = filled(role)
        assert settings.certs_dir == certs / role
        assert settings.schema_registry_ca == certs / role / "ca.pem"
        assert subject_of(certs / role / "kafka-cert.pem") == f"staging-wms-{role}"
        assert faults(settings, "redis", "kafka") == []
    assert sorted(path.name for path in certs.iterdir()) == ["ca.pem", "persist", "worker"]


SET = [
    ("WMS_BROKER_URL", "rediss://r/0", "broker_url", VALKEY),
    ("WMS_KAFKA_BOOTSTRAP_SERVERS", "k:9", "kafka_bootstrap_servers", KAFKA),
    ("WMS_DATABASE_URL", "postgresql://d/w?sslmode=verify-full", "database_url", POSTGRES),
]


@pytest.mark.parametrize(("variable", "value", "field", "service"), SET)
@pytest.mark.parametrize("way", ["variable", "file"])
def test_what_is_set_wins(
    certs: Path, api: AivenApi, monkeypatch: pytest.MonkeyPatch, tmp_path: Path,
    variable: str, value: str, field: str, service: str, way: str,
) -> None:  # fmt: skip
    """And its service is not asked for at all."""
    (tmp_path / "value").write_text(value)
    monkeypatch.setenv(*(variable, value) if way == "variable" else (f"{variable}_FILE", str(tmp_path / "value")))
    assert getattr(filled("persist"), field) == value
    assert not any(service in one for one in api.asked)


def test_single_settings_of_a_service_win_too(certs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The registry's address may be another one."""
    monkeypatch.setenv("WMS_SCHEMA_REGISTRY_URL", "https://other:1")
    settings = filled("worker")
    assert settings.schema_registry_url == "https://other:1"
    assert settings.kafka_bootstrap_servers.startswith("wms-staging-kafka-")


def test_nobody_is_asked_where_all_is_set(
    certs: Path, api: AivenApi, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nor where no project is named: then another program's token is none of ours."""
    for variable, value, *_ in SET:
        monkeypatch.setenv(variable, value)
    filled("persist")
    monkeypatch.delenv("WMS_AIVEN_PROJECT")
    monkeypatch.delenv("WMS_AIVEN_TOKEN")
    monkeypatch.setenv("AIVEN_TOKEN", TOKEN)
    get_settings.cache_clear()
    monkeypatch.delenv("WMS_BROKER_URL")
    assert filled("beat").broker_url.startswith("redis://127.0.0.1")
    assert api.asked == []
    assert not certs.exists()


def test_the_services_may_be_called_otherwise(certs: Path, api: AivenApi, monkeypatch: pytest.MonkeyPatch) -> None:
    """By default as ops/terraform calls them, with the suffix of several systems in one environment."""
    monkeypatch.setenv("WMS_TOPIC_SUFFIX", "pr-17")
    with pytest.raises(SettingsError, match=r"no service wms-staging-pr-17-valkey .*WMS_AIVEN_VALKEY_SERVICE"):
        filled("beat")
    for name, service in (("VALKEY", VALKEY), ("KAFKA", KAFKA), ("POSTGRES", POSTGRES)):
        monkeypatch.setenv(f"WMS_AIVEN_{name}_SERVICE", service)
    get_settings.cache_clear()
    assert filled("persist").database_url.startswith(DATABASE)


@pytest.mark.parametrize("names", [("AIVEN_TOKEN",), ("AIVEN_AUTH_TOKEN", "AIVEN_TOKEN")])
def test_the_token_may_be_another_programs(
    certs: Path, monkeypatch: pytest.MonkeyPatch, names: tuple[str, ...]
) -> None:
    """Of Terraform's provider or of avn, whose own comes first."""
    monkeypatch.delenv("WMS_AIVEN_TOKEN")
    for name in names:
        monkeypatch.setenv(name, TOKEN if name == names[0] else "another")
    assert filled("beat").aiven_token == TOKEN


def test_the_token_and_what_it_brings_are_hidden(certs: Path, caplog: pytest.LogCaptureFixture) -> None:
    """From repr, and masked in whatever is logged; the environment of children has none of what was brought."""
    with caplog.at_level(logging.DEBUG):
        settings = filled("persist")
    assert TOKEN not in repr(settings) + caplog.text
    assert "AVNS_" not in repr(settings) + caplog.text + "".join(os.environ.values())
    said = mask_for(settings)(
        f"{TOKEN} AVNS_of-wms_x AVNS_of-wms_persist_x AVNS_of-staging-wms-persist_x AVNS_of-wms_housekeeping_x"
    )
    assert said == " ".join(["[secret]"] * 5)


def refused(api: AivenApi) -> None:
    api.token = "another"


def redacted(api: AivenApi) -> None:
    api.instead["/user/wms"] = (200, '{"user": {"username": "wms", "password": "<redacted>", "type": "normal"}}')


def of_service(name: str, **other: Any) -> Callable[[AivenApi], None]:
    return lambda api: api.services[name].update(other)


def without_user(service: str, name: str) -> Callable[[AivenApi], None]:
    return lambda api: api.users[service].pop(name) and None


def of_user(service: str, name: str, **other: Any) -> Callable[[AivenApi], None]:
    return lambda api: api.users[service][name].update(other)


def instead(end: str, status: int, body: str) -> Callable[[AivenApi], None]:
    return lambda api: api.instead.update({end: (status, body)})


WRONG = [
    pytest.param(
        refused,
        SettingsError,
        "WMS_AIVEN_TOKEN: Aiven refuses the token: Invalid token .*make another",
        id="token refused",
    ),
    pytest.param(
        lambda api: setattr(api, "may_read_secrets", False),
        SettingsError,
        "WMS_AIVEN_TOKEN: the token may not do this in acme-wms: Missing permission.*service:secrets:read there",
        id="token may not read secrets",
    ),
    pytest.param(
        redacted, SettingsError, "WMS_AIVEN_TOKEN: may not read secrets of wms-staging-valkey", id="secrets redacted"
    ),
    pytest.param(
        instead("/kms/ca", 404, '{"errors": [], "message": "Project does not exist"}'),
        SettingsError,
        "WMS_AIVEN_PROJECT: Aiven has no project acme-wms that this token may see .avn project list",
        id="project unknown",
    ),
    pytest.param(
        lambda api: api.services.pop(KAFKA),
        SettingsError,
        "the project acme-wms has no service wms-staging-kafka .terraform apply makes it, WMS_AIVEN_KAFKA_SERVICE",
        id="service missing",
    ),
    pytest.param(
        of_service(POSTGRES, state="POWEROFF", service_uri=None, service_uri_params={}),
        ServiceUnavailable,
        "wms-staging-pg is powered off .avn service update --power-on --project acme-wms wms-staging-pg",
        id="service powered off",
    ),
    pytest.param(
        lambda api: [api.services[VALKEY].pop("service_uri_params"), of_service(VALKEY, state="REBUILDING")(api)],
        ServiceUnavailable,
        "wms-staging-valkey has no address yet: it is REBUILDING .avn service wait",
        id="service being built",
    ),
    pytest.param(
        without_user(KAFKA, "staging-wms-persist"),
        SettingsError,
        "wms-staging-kafka has no user staging-wms-persist .terraform apply makes it",
        id="Kafka's user missing",
    ),
    pytest.param(
        without_user(POSTGRES, "wms_persist"),
        SettingsError,
        "wms-staging-pg has no user wms_persist",
        id="Postgres' user missing",
    ),
    pytest.param(
        of_user(VALKEY, "wms", password=None),
        SettingsError,
        "Aiven does not know the password of wms at wms-staging-valkey: it was set elsewhere .reset it",
        id="password set elsewhere",
    ),
    pytest.param(
        of_user(KAFKA, "staging-wms-persist", access_key=None),
        WmsError,
        "Aiven's answer about the user staging-wms-persist of wms-staging-kafka has no access_key",
        id="certificate missing",
    ),
    pytest.param(
        instead("/kms/ca", 200, '{"certificate": "no PEM"}'),
        WmsError,
        "Aiven's answer about the project's CA is none that we know: .*certificate.*is http://127.* Aiven's API",
        id="authority is no PEM",
    ),
    pytest.param(
        of_service(KAFKA, service_uri_params={"host": "h", "port": "many"}),
        WmsError,
        "Aiven's answer about where wms-staging-kafka is is none that we know: .*port",
        id="no port",
    ),
    pytest.param(
        instead("-kafka", 200, '{"service": {"service_name": "k", "state": 1}}'),
        WmsError,
        "Aiven's answer about wms-staging-kafka is none that we know: .*state",
        id="malformed",
    ),
    pytest.param(
        instead("-kafka", 200, "{}"), WmsError, "wms-staging-kafka is none that we know: KeyError", id="empty"
    ),
    pytest.param(instead("-kafka", 200, "[1]"), WmsError, "is none that we know: AttributeError", id="a list"),
    pytest.param(
        instead("-kafka", 200, "<html>Sign in</html>"), WmsError, "is none that we know: no JSON", id="a proxy's page"
    ),
    pytest.param(
        instead("/kms/ca", 503, f"<html>\n<p>{TOKEN} " + "x" * 9000),
        ServiceUnavailable,
        r"http://127\S+ answers: <html> <p>\[secret\] x+$",
        id="Aiven is down",
    ),
    pytest.param(
        instead("/kms/ca", 429, '{"message": "Slow down"}'),
        ServiceUnavailable,
        "has been asked too often: Slow down",
        id="asked too often",
    ),
]


@pytest.mark.parametrize(("breaks", "kind", "line"), WRONG)
def test_what_is_wrong_is_one_line(
    certs: Path, api: AivenApi, breaks: Callable[[AivenApi], object], kind: type[WmsError], line: str
) -> None:
    """With what to do; nothing is filled in, no file written, no secret said."""
    breaks(api)
    with pytest.raises(kind, match=line) as caught:
        filled("persist")
    said = str(caught.value)
    assert type(caught.value) is kind
    assert len(said.splitlines()) == 1
    assert len(said) < 420
    assert TOKEN not in said
    assert "AVNS_" not in said
    assert get_settings().broker_url.startswith("redis://127.0.0.1")
    assert not certs.exists()


def test_a_network_without_aiven_is_one_line(
    certs: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """aiven-client's own words about each try are not said."""
    monkeypatch.setenv("WMS_AIVEN_URL", f"http://127.0.0.1:{free_port()}")
    with pytest.raises(ServiceUnavailable, match=r"^http://127\S+ cannot be reached: ConnectionError .the network"):
        filled("beat")
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize(
    ("variable", "value", "line"),
    [
        ("WMS_ENV", "dev", "WMS_AIVEN_PROJECT: WMS_ENV=dev has nothing at Aiven"),
        ("WMS_AIVEN_TOKEN", "", "no token to ask Aiven with .set WMS_AIVEN_TOKEN, AIVEN_AUTH_TOKEN or AIVEN_TOKEN"),
        ("WMS_AIVEN_PROJECT", "", "WMS_AIVEN_TOKEN: is of no use alone .WMS_AIVEN_PROJECT names the project"),
        ("WMS_AIVEN_PROJECT", "Acme!", "WMS_AIVEN_PROJECT: String should match pattern"),
        ("WMS_AIVEN_TOKEN", "two lines\n", "WMS_AIVEN_TOKEN: String should match pattern"),
        ("WMS_AIVEN_URL", "http://api.example", "WMS_AIVEN_URL: String should match pattern"),
    ],
)
def test_settings_that_do_not_fit(
    certs: Path, api: AivenApi, monkeypatch: pytest.MonkeyPatch, variable: str, value: str, line: str
) -> None:
    """Said before anybody is asked; a token is never sent in clear over a network."""
    monkeypatch.setenv(variable, value)
    with pytest.raises(SettingsError, match=line):
        filled("beat")
    assert api.asked == []


def test_without_the_extra(certs: Path, api: AivenApi, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is named."""
    monkeypatch.setitem(sys.modules, "aiven.client", None)
    with pytest.raises(SettingsError, match=r"aiven-client is not installed .pip install 'wms-tasks\[aiven\]'"):
        filled("beat")


def test_a_folder_that_cannot_be_written(certs: Path) -> None:
    """A file where it should be."""
    certs.write_text("")
    with pytest.raises(SettingsError, match=r"certs/ca.pem: cannot be written: Not a directory .WMS_CERTS_DIR names"):
        filled("beat")


def test_the_registry_alone_needs_no_certificate_of_ours(certs: Path, api: AivenApi) -> None:
    """``wms schema register``, with a user of its own; where Kafka has no registry that is said."""
    assert settings_of("release", "registry").schema_registry_auth == (
        "staging-wms-release:AVNS_of-staging-wms-release_x"
    )
    get_settings.cache_clear()
    api.services[KAFKA]["components"] = []
    with pytest.raises(SettingsError, match="wms-staging-kafka has no schema registry"):
        settings_of("release", "registry")
    get_settings.cache_clear()
    assert filled("worker").schema_registry_url is None


CELERY = ("-m", "celery", "-A", "wms_tasks")
STARTS = [
    pytest.param((*CELERY, "beat"), refused, "wms: WMS_AIVEN_TOKEN: Aiven refuses the token", 2, id="beat"),
    pytest.param(
        (*CELERY, "worker"),
        without_user(KAFKA, "staging-wms-worker"),
        "wms: wms-staging-kafka has no user",
        2,
        id="worker",
    ),
    pytest.param(
        (*CELERY, "worker", "--persist"),
        of_service(POSTGRES, state="POWEROFF"),
        "wms: wms-staging-pg is powered off",
        1,
        id="persist",
    ),
    pytest.param(
        (*CELERY, "worker", "-Q", "housekeeping"),
        without_user(POSTGRES, "wms_housekeeping"),
        "wms: wms-staging-pg has no user wms_housekeeping",
        2,
        id="housekeeping",
    ),
    pytest.param(
        ("-m", "wms_tasks.cli", "rejects", "drop", "1", "--yes"),
        without_user(POSTGRES, "wms_housekeeping"),
        "wms: wms-staging-pg has no user wms_housekeeping",
        2,
        id="wms rejects drop",
    ),
    pytest.param(
        ("-m", "wms_tasks.cli", "rejects", "replay", "--all"),
        without_user(POSTGRES, "wms_housekeeping"),
        "wms: wms-staging-pg has no user wms_housekeeping",
        2,
        id="wms rejects replay",
    ),
    pytest.param(
        ("-m", "wms_tasks.cli", "migrate", "status"),
        without_user(POSTGRES, "wms_reader"),
        "wms: wms-staging-pg has no user wms_reader",
        2,
        id="wms migrate status",
    ),
    pytest.param(
        ("-m", "wms_tasks.cli", "status"),
        without_user(POSTGRES, "wms_reader"),
        "wms: wms-staging-pg has no user wms_reader",
        2,
        id="wms status",
    ),
    pytest.param(
        ("-m", "wms_tasks.cli", "migrate", "up"),
        without_user(POSTGRES, "wms_migrate"),
        "wms: wms-staging-pg has no user wms_migrate",
        2,
        id="wms migrate",
    ),
    pytest.param(
        ("-m", "wms_tasks.cli", "run"),
        refused,
        "wms: WMS_AIVEN_PROJECT: at Aiven no one user may both",
        2,
        id="wms run",
    ),
]


@pytest.mark.parametrize(("words", "breaks", "line", "code"), STARTS)
def test_who_cannot_start_says_so(
    certs: Path, api: AivenApi, words: tuple[str, ...], breaks: Callable[[AivenApi], object], line: str, code: int
) -> None:
    """One line, of the process itself, and its exit code; no traceback."""
    breaks(api)
    root = Path(__file__).resolve().parents[2]
    done = subprocess.run(
        [sys.executable, *words], cwd=certs.parent, capture_output=True, text=True, timeout=60, check=False,
        env={**os.environ, "PYTHONPATH": str(root)},
    )  # fmt: skip
    assert (done.returncode, len(done.stderr.splitlines())) == (code, 1), done.stderr
    assert done.stderr.startswith(line)
    assert TOKEN not in done.stderr + done.stdout


@pytest.mark.parametrize(
    ("queues", "persist", "uses"),
    [
        (["probe"], False, ("worker", ("kafka",))),
        (["housekeeping"], False, ("persist", ("kafka", "housekeeping"))),
        (["housekeeping"], True, ("persist", ("kafka", "postgres", "housekeeping"))),
        (["other"], True, ("persist", ("kafka", "postgres"))),
        (["other"], False, ("worker", ())),
    ],
)
def test_what_a_worker_uses_follows_from_its_queues(queues: list[str], persist: bool, uses: object) -> None:
    """And which user it is; Redis was asked for when the program began."""
    assert worker_uses(queues, persist=persist) == uses
