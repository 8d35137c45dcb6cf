"""docker-compose.yml, the Dockerfile and the workflow, as far as they can be judged without a Docker engine."""

from __future__ import annotations

import configparser
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from wms_tasks.settings import PREFIX, Settings

ROOT = Path(__file__).resolve().parents[2]
COMPOSE = ROOT / "docker-compose.yml"
COMPOSE_TEST = ROOT / "ops" / "compose" / "test.yml"
OURS = {"beat", "worker", "persist", "flower"}
WATCHERS = {"prometheus", "grafana"}
THEIRS = {"postgres", "redis", "kafka", "karapace", "celery-exporter"} | WATCHERS

# What a role may take to stop, issue-wide; the grace period has to be longer.
STOPPING_SECONDS = 12


@pytest.fixture(scope="module")
def compose() -> dict[str, Any]:
    """The file as YAML, anchors resolved."""
    document: dict[str, Any] = yaml.safe_load(COMPOSE.read_text(encoding="utf-8"))
    return document


@pytest.fixture(scope="module")
def services(compose: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Its services by name."""
    found: dict[str, dict[str, Any]] = compose["services"]
    return found


def check_schema(schema: str, path: Path) -> subprocess.CompletedProcess[str]:
    """Hold a file against one of the schemas that check-jsonschema carries; needs no network."""
    command = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", schema, str(path)]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


def dockerfile_instructions(keyword: str) -> list[str]:
    """The arguments of each such instruction, in order, continuation lines joined."""
    text = re.sub(r"\\\n\s*", "", (ROOT / "Dockerfile").read_text(encoding="utf-8"))
    return [line.split(None, 1)[1] for line in text.splitlines() if line.startswith(f"{keyword} ")]


@pytest.mark.parametrize("path", [COMPOSE, COMPOSE_TEST], ids=lambda path: path.name)
def test_compose_file_is_valid_by_the_specification(path: Path) -> None:
    """The file holds against the JSON schema of the Compose Specification."""
    checked = check_schema("vendor.compose-spec", path)

    assert checked.returncode == 0, checked.stdout


def test_a_wrong_compose_file_is_found_out(tmp_path: Path, compose: dict[str, Any]) -> None:
    """The schema check says no to a misspelt key, so its yes means something."""
    broken = json.loads(json.dumps(compose))
    broken["services"]["beat"]["stop_grace_periode"] = "20s"
    (tmp_path / "docker-compose.yml").write_text(yaml.safe_dump(broken), encoding="utf-8")

    assert check_schema("vendor.compose-spec", tmp_path / "docker-compose.yml").returncode == 1


def test_compose_itself_reads_the_file() -> None:
    """`docker compose config` takes the file, where it is installed; it needs no engine."""
    docker = shutil.which("docker")
    plugin = [docker, "compose"] if docker else None
    standalone = [shutil.which("docker-compose")] if shutil.which("docker-compose") else None
    for command in (plugin, standalone):
        if command and subprocess.run([*command, "version"], capture_output=True, check=False).returncode == 0:
            break
    else:
        pytest.skip("neither `docker compose` nor `docker-compose` is installed here; the schema was checked")
    for files in (["-f", str(COMPOSE)], ["-f", str(COMPOSE), "-f", str(COMPOSE_TEST)]):
        asked = [*command, *files, "config", "--quiet"]
        checked = subprocess.run(asked, capture_output=True, text=True, timeout=60, check=False)

        assert checked.returncode == 0, checked.stderr


def test_dev_and_test_share_nothing_but_the_file(services: dict[str, dict[str, Any]]) -> None:
    """Environment `test` is dev's services with another WMS_ENV, database and site, and volumes of its own."""
    over = yaml.safe_load(COMPOSE_TEST.read_text(encoding="utf-8"))
    changed = {name: set(service) for name, service in over["services"].items()}
    environ = {name: over["services"][name]["environment"] for name in OURS}
    (mount,) = over["services"]["beat"]["volumes"]

    assert over["name"] != yaml.safe_load(COMPOSE.read_text(encoding="utf-8"))["name"]
    assert changed == {
        "beat": {"environment", "volumes"},
        "celery-exporter": {"command"},
    } | {name: {"environment"} for name in OURS - {"beat"}}
    assert {settings["WMS_ENV"] for settings in environ.values()} == {"test"}
    assert environ["persist"]["WMS_DATABASE_URL"].endswith("@postgres:5432/wms_test")
    assert {key for settings in environ.values() for key in settings} <= set(services["worker"]["environment"]) | {
        "WMS_DATABASE_URL"
    }
    assert (
        f"--broker-transport-option=global_keyprefix={Settings(env='test').key_prefix}"
        in (over["services"]["celery-exporter"]["command"])
    )
    assert (ROOT / mount.split(":")[0] / "sites.yaml").is_file()


def test_every_part_of_the_system_is_a_service(services: dict[str, dict[str, Any]]) -> None:
    """One service per role and per service we rely on, and nothing else."""
    assert set(services) == OURS | THEIRS


@pytest.mark.parametrize("name", sorted(OURS | THEIRS))
def test_service_restarts_is_watched_and_stays_on_loopback(services: dict[str, dict[str, Any]], name: str) -> None:
    """Each has a restart policy, a health check, a bounded log and no port open to the network."""
    service = services[name]

    assert service["restart"] == "unless-stopped"
    assert service["healthcheck"]["test"][0] in {"CMD", "CMD-SHELL"}
    assert service["logging"]["options"]["max-size"]
    assert "no-new-privileges:true" in service["security_opt"]
    assert all(port.startswith("127.0.0.1:") for port in service.get("ports", []))


@pytest.mark.parametrize("name", sorted(OURS | THEIRS))
def test_service_waits_until_what_it_needs_is_healthy(services: dict[str, dict[str, Any]], name: str) -> None:
    """Started is not ready: each dependency is waited for by its health check."""
    needed = services[name].get("depends_on", {})

    assert all(how == {"condition": "service_healthy"} for how in needed.values())
    assert set(needed) <= THEIRS


def test_each_role_waits_for_exactly_the_services_it_uses(services: dict[str, dict[str, Any]]) -> None:
    """Beat and the probe worker have no database, and only the persist worker knows its url."""
    uses = {name: set(services[name]["depends_on"]) for name in OURS | {"celery-exporter"}}

    assert uses == {
        "beat": {"redis"},
        "worker": {"redis", "kafka"},
        "persist": {"redis", "kafka", "postgres"},
        "flower": {"redis"},
        "celery-exporter": {"redis"},
    }
    assert [name for name in sorted(OURS) if "WMS_DATABASE_URL" in services[name]["environment"]] == ["persist"]


@pytest.mark.parametrize("name", sorted(OURS))
def test_our_roles_have_few_rights_and_time_to_stop(services: dict[str, dict[str, Any]], name: str) -> None:
    """One image, a read-only root, no capability, and more time after TERM than a role may take."""
    service = services[name]

    assert service["image"] == f"wms-tasks:{version()}"
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert "user" not in service, "the image's own user is the unprivileged one"
    assert int(service["stop_grace_period"].removesuffix("s")) > STOPPING_SECONDS


@pytest.mark.parametrize("name", sorted(OURS))
def test_every_setting_named_in_the_file_exists(services: dict[str, dict[str, Any]], name: str) -> None:
    """A misspelt WMS_* variable would be ignored in silence by the program, so it is caught here."""
    known = {f"{PREFIX}{field.upper()}" for field in Settings.model_fields}

    assert {key for key in services[name]["environment"] if key.startswith(PREFIX)} <= known


@pytest.mark.parametrize("name", sorted(THEIRS))
def test_images_are_pinned_to_a_release(services: dict[str, dict[str, Any]], name: str) -> None:
    """A tag that names a release, never a moving one."""
    assert re.search(r":v?\d+\.\d+(\.\d+)?$", services[name]["image"])


def test_passwords_can_be_replaced_from_outside(services: dict[str, dict[str, Any]]) -> None:
    """Every password in the file is a variable with a dev default."""
    lines = [
        line
        for line in COMPOSE.read_text(encoding="utf-8").splitlines()
        if re.match(r"\s+\w*(PASSWORD|AUTH)\w*:|.*://\w+:\S+@", line)
    ]

    assert len(lines) == 8
    assert all(re.search(r"\$\{\w+:-[\w:]+\}", line) for line in lines)
    assert services["flower"]["environment"]["FLOWER_BASIC_AUTH"]


def test_mounted_files_exist_and_are_read_only(compose: dict[str, Any]) -> None:
    """A bind mount of a missing path makes an empty folder; a volume nobody declared is an error."""
    for service in compose["services"].values():
        for volume in service.get("volumes", []):
            source, target, *mode = volume.split(":")
            assert target.startswith("/")
            if source.startswith("."):
                assert (ROOT / source).exists(), source
                assert mode == ["ro"]
            else:
                assert source in compose["volumes"]


def test_prometheus_and_grafana_come_when_they_are_asked_for(services: dict[str, dict[str, Any]]) -> None:
    """By a profile; nothing that runs without it waits for them."""
    assert {name for name, service in services.items() if service.get("profiles") == ["observability"]} == WATCHERS
    assert not [name for name in (OURS | THEIRS) - WATCHERS if WATCHERS & set(services[name].get("depends_on", ()))]


def test_the_core_has_no_profile(services: dict[str, dict[str, Any]]) -> None:
    """0038: a plain `up` starts all that the how-to says, and it needs nothing of any profile."""
    core = {name for name, service in services.items() if "profiles" not in service}
    profiles = {one for service in services.values() for one in service.get("profiles", ())}
    page = (ROOT / "docs" / "howto" / "compose.md").read_text(encoding="utf-8")
    (told,) = re.findall(r"^\| none: the core \| (.+) \|$", page, re.MULTILINE)

    assert {{"valkey": "redis"}.get(name, name) for name in told.lower().split(", ")} == core
    assert core == (OURS | THEIRS) - WATCHERS - {"karapace"}
    assert {needed for name in core for needed in services[name].get("depends_on", ())} <= core
    assert set(re.findall(r"^\| `--profile (\w+)` \|", page, re.MULTILINE)) == profiles


def test_sites_are_mounted_as_a_folder(services: dict[str, dict[str, Any]]) -> None:
    """A mount of the file alone keeps showing the old inode after an editor's rename, and beat would not reload."""
    (mount,) = services["beat"]["volumes"]
    source, target, _ = mount.split(":")

    assert (ROOT / source).is_dir()
    assert services["beat"]["environment"]["WMS_SITES"] == f"{target}/sites.yaml"
    assert (ROOT / source / "sites.yaml").is_file()


def test_slots_are_expected_where_they_are_filled(services: dict[str, dict[str, Any]]) -> None:
    """Beat says at which location; with another one than the worker's, every slot would be missed."""
    locations = {services[name]["environment"]["WMS_LOCATION"] for name in ("beat", "worker")}

    assert locations == {"${WMS_LOCATION:-local}"}


def test_exporter_reads_the_keys_that_we_write(services: dict[str, dict[str, Any]]) -> None:
    """The exporter looks under our environment's key prefix, else it would count nothing and say nothing."""
    prefix = Settings(env=services["worker"]["environment"]["WMS_ENV"]).key_prefix

    assert f"--broker-transport-option=global_keyprefix={prefix}" in services["celery-exporter"]["command"]


def test_image_runs_unprivileged_and_ends_on_term() -> None:
    """The final user is a number other than root's, TERM is what stops it, and it writes to /tmp only."""
    environ = " ".join(dockerfile_instructions("ENV"))

    assert re.fullmatch(r"[1-9]\d*:[1-9]\d*", dockerfile_instructions("USER")[-1])
    assert dockerfile_instructions("STOPSIGNAL") == ["SIGTERM"]
    assert {"HOME=/tmp", "PYTHONDONTWRITEBYTECODE=1"} <= set(environ.split())


def test_image_is_made_of_one_base_that_nobody_can_move() -> None:
    """Named by its digest, once; the label says the same release."""
    base, *stages = dockerfile_instructions("FROM")
    (release,) = re.findall(r"^(python:3\.\d+\.\d+-slim-\w+)@sha256:[0-9a-f]{64} AS base$", base)

    assert stages == ["base AS build", "base"]
    assert f'base.name="docker.io/library/{release}"' in " ".join(dockerfile_instructions("LABEL"))


def test_image_and_compose_ask_the_same_health_question(services: dict[str, dict[str, Any]]) -> None:
    """`docker run` and `docker compose` judge a role alike."""
    (instruction,) = dockerfile_instructions("HEALTHCHECK")
    asked = json.loads(instruction.split("CMD", 1)[1])

    assert ["CMD", *asked] == services["worker"]["healthcheck"]["test"]


def test_image_holds_no_embedded_services_and_no_pip() -> None:
    """The final stage copies the environment and nothing else; it installs nothing."""
    text = (ROOT / "Dockerfile").read_text(encoding="utf-8")
    final = text[text.rindex("\nFROM ") :]

    assert re.findall(r"^(?:COPY|ADD) .*$", final, re.MULTILINE) == ["COPY --from=build /opt/wms /opt/wms"]
    assert "pip" not in final
    assert "embedded" not in text
    assert "--without-pip" in text


def test_build_context_holds_what_is_copied_and_nothing_else() -> None:
    """Everything is shut out but the paths that the Dockerfile copies, so no secret or history gets into a layer."""
    first, *rest = [
        line for line in (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines() if not line.startswith("#")
    ]
    allowed = {line.removeprefix("!").rstrip("/") for line in rest if line.startswith("!")}
    copied = {
        source.rstrip("/")
        for line in dockerfile_instructions("COPY")
        if not line.startswith("--from")
        for source in line.split()[:-1]
    }

    assert first == "*"
    assert allowed == copied


def setup_cfg() -> configparser.ConfigParser:
    """setup.cfg, read as it is."""
    parser = configparser.ConfigParser(interpolation=None)
    parser.read(ROOT / "setup.cfg", encoding="utf-8")
    return parser


def version() -> str:
    """This release's version."""
    return setup_cfg()["metadata"]["version"]
