"""
Both ways to a role's settings make the same of the same facts: Terraform's outputs by scripts/export-tf-outputs.sh,
and Aiven asked by the role itself.

Terraform computes the module's own outputs; what a provider would know of the services stands in their place. It maps
`service_host` and `service_port` from Aiven's `service_uri_params`.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.aiven_api import PROJECT, TOKEN, AivenApi, Names
from tests.certificates import CA
from tests.hcl import TERRAFORM, folder, resources
from wms_tasks.aiven import facts, obtain
from wms_tasks.aiven.facts import ROLES, Role
from wms_tasks.settings import PREFIX, get_settings, load_settings

MODULE = TERRAFORM / "modules" / "wms"
SCRIPT = TERRAFORM.parents[1] / "scripts" / "export-tf-outputs.sh"
GIVEN = {"project": PROJECT, "kafka_plan": "business-4", "pg_plan": "business-8", "valkey_plan": "business-4"}
ENVIRONMENTS = [("staging", ""), ("staging", "pr-17"), ("prod", "")]

pytestmark = pytest.mark.skipif(shutil.which("terraform") is None, reason="terraform is not found here")


@dataclass(frozen=True, slots=True, kw_only=True)
class Applied:
    """An environment by both ways: Terraform's outputs, and the double that has the same."""

    env: str
    suffix: str
    names: Names
    api: AivenApi
    outputs: dict[str, Any]


def names_in_the_module() -> dict[str, Any]:
    """The expressions that name services and users, as the module's resources have them."""
    made = {f"{kind}.{name}": body for kind, name, body in resources(folder(MODULE))}
    kafka_user = made["aiven_kafka_user.role"]
    return {
        "kafka": made["aiven_kafka.this"]["service_name"],
        "postgres": made["aiven_pg.this"]["service_name"],
        "valkey": made["aiven_valkey.this"]["service_name"],
        "database": made["aiven_pg_database.wms"]["database_name"],
        "pool": made["aiven_connection_pool.reader"]["pool_name"].replace(
            "aiven_pg_database.wms.database_name", made["aiven_pg_database.wms"]["database_name"]
        ),
        "kafka_users": [
            kafka_user["username"].replace("${each.key}", role)
            for role in re.findall(r"\w+", kafka_user["for_each"].removeprefix("${toset("))
        ],
        "postgres_users": made["aiven_pg_user.role"]["for_each"],
        "valkey_user": made["aiven_valkey_user.wms"]["username"],
    }


def terraform(place: Path, *words: str) -> str:
    """What it says; without provider and backend it needs no network."""
    done = subprocess.run(
        ["terraform", f"-chdir={place}", *words], capture_output=True, text=True, timeout=60, check=False,
        env={**os.environ, "CHECKPOINT_DISABLE": "1", "TF_IN_AUTOMATION": "1"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout


def outputs(place: Path, more: dict[str, Any], **variables: str) -> dict[str, Any]:
    """Of the files of the module that are in `place`, and of `more`."""
    (place / "more.tf.json").write_text(json.dumps(more), encoding="utf-8")
    (place / "terraform.tfvars.json").write_text(json.dumps(GIVEN | variables), encoding="utf-8")
    terraform(place, "init", "-input=false", "-backend=false")
    terraform(place, "apply", "-auto-approve", "-input=false")
    found: dict[str, Any] = json.loads(terraform(place, "output", "-json"))
    return found


def known(api: AivenApi) -> dict[str, Any]:
    """What stands for the module's resources, as the provider makes their attributes of Aiven's answers."""
    names, services, users = api.names, api.services, api.users
    return {
        "project": PROJECT,
        "ca_cert": CA,
        "aiven_kafka__this": as_a_resource(services[names.kafka]),
        "aiven_kafka_user__role": {name.rpartition("-")[2]: user for name, user in users[names.kafka].items()},
        "aiven_kafka_topic__results": {},
        "aiven_pg__this": as_a_resource(services[names.postgres]),
        "aiven_pg_database__wms": {"database_name": names.database},
        "aiven_pg_user__role": {name.rpartition("_")[2]: user for name, user in users[names.postgres].items()},
        "aiven_connection_pool__reader": services[names.postgres]["connection_pools"][0],
        "aiven_valkey__this": as_a_resource(services[names.valkey]),
        "aiven_valkey_user__wms": users[names.valkey][names.valkey_user],
    }


def as_a_resource(service: dict[str, Any]) -> dict[str, Any]:
    """Its computed attributes."""
    where = service["service_uri_params"]
    return {
        "service_name": service["service_name"],
        "service_host": where["host"],
        "service_port": int(where["port"]),
        # Aiven's own user, which only the output `bootstrap` uses: no role asks for it.
        "service_username": "avnadmin",
        "service_password": "AVNS_of-avnadmin_x",
        "components": service.get("components", []),
    }


@pytest.fixture(scope="module", params=ENVIRONMENTS, ids=lambda pair: "-".join(filter(None, pair)))
def applied(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Applied]:
    """First Terraform says what all is called; then Aiven has that, and Terraform its outputs."""
    env, suffix = request.param
    place = tmp_path_factory.mktemp("terraform")
    variables = {"environment": env, "topic_suffix": suffix}
    for name in ("variables.tf", "names.tf"):
        shutil.copy(MODULE / name, place)
    called = outputs(place, {"output": {"names": {"value": names_in_the_module()}}}, **variables)["names"]["value"]
    called |= {name: tuple(called[name]) for name in ("kafka_users",)}
    names = Names(**{**called, "postgres_users": tuple(called["postgres_users"].values())})
    text = (MODULE / "outputs.tf").read_text(encoding="utf-8")
    (place / "outputs.tf").write_text(re.sub(r"\b(aiven_\w+)\.(\w+)", r"local.\1__\2", text), encoding="utf-8")
    with AivenApi(names=names) as api:
        found = outputs(place, {"locals": known(api)}, **variables)
        yield Applied(env=env, suffix=suffix, names=names, api=api, outputs=found)


def from_terraform(applied: Applied, role: Role, place: Path) -> dict[str, str]:
    """The variables that a shell has after the script's lines; `place` gets its certificates."""
    says = place / "bin" / "terraform"
    says.parent.mkdir()
    (place / "said").write_text(json.dumps(applied.outputs), encoding="utf-8")
    says.write_text(f'#!/bin/sh\ncat "{place}/said"\n', encoding="utf-8")
    says.chmod(0o755)
    path = os.pathsep.join([str(says.parent), str(Path(sys.executable).parent), "/usr/bin", "/bin"])
    done = subprocess.run(
        ["bash", "-c", 'settings=$("$0" "$@") && eval "$settings" && env -0', str(SCRIPT), applied.env, role],
        cwd=place, env={"PATH": path}, capture_output=True, text=True, timeout=60, check=True,
    )  # fmt: skip
    pairs = [one.partition("=") for one in done.stdout.split("\0") if one.startswith(PREFIX)]
    return {name: value for name, _, value in pairs}


@pytest.mark.parametrize("role", ROLES)
def test_both_ways_make_the_same(applied: Applied, role: Role, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every setting that either makes, and every certificate, in the same place with the same rights."""
    script = from_terraform(applied, role, tmp_path)
    certs = Path(script["WMS_CERTS_DIR"])
    written = {path.name: (path.read_text(), path.stat().st_mode) for path in certs.iterdir()}
    shutil.rmtree(certs)
    given = {"ENV": applied.env, "TOPIC_SUFFIX": applied.suffix, "CERTS_DIR": str(certs)}
    given |= {"AIVEN_PROJECT": PROJECT, "AIVEN_TOKEN": TOKEN, "AIVEN_URL": applied.api.url}
    with monkeypatch.context() as patched:
        for name, value in given.items():
            patched.setenv(f"{PREFIX}{name}", value)
        ours = obtain(get_settings(), role, *ROLES[role])
    with monkeypatch.context() as patched:
        for name, value in script.items():
            patched.setenv(name, value)
        theirs = load_settings()
    asked = {"aiven_project", "aiven_token", "aiven_url"}
    assert ours.model_dump(exclude=asked) == theirs.model_dump(exclude=asked)
    assert ours.model_fields_set - asked == theirs.model_fields_set
    assert {path.name: (path.read_text(), path.stat().st_mode) for path in certs.iterdir()} == written


def test_all_is_called_as_the_module_calls_it(applied: Applied, monkeypatch: pytest.MonkeyPatch) -> None:
    """
    And every role of the outputs that a process or command of ours has is one of ours. `operator` is several at once,
    for a person's shell; `bootstrap` is psql's, run once by who may change the service, whose secrets no role asks for.
    """
    monkeypatch.setenv("WMS_ENV", applied.env)
    monkeypatch.setenv("WMS_TOPIC_SUFFIX", applied.suffix)
    settings, names = get_settings(), applied.names
    assert facts.Names.of(settings) == facts.Names(redis=names.valkey, kafka=names.kafka, postgres=names.postgres)
    assert set(applied.outputs["settings"]["value"]) - set(ROLES) == {"operator", "bootstrap"}
    assert (names.database, names.pool, names.valkey_user) == (facts.DATABASE, facts.READERS_POOL, facts.VALKEY_USER)
