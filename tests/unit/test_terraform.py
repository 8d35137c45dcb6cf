"""
ops/terraform, as far as it can be judged without the provider and without an account at Aiven.

What is computed of variables alone (names.tf, validations) is computed by Terraform itself where it is found.
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.hcl import TERRAFORM, faults, folder, labelled, parse, resources
from wms_tasks.codec.wire import subject_of
from wms_tasks.settings import PREFIX, Settings

MODULE = TERRAFORM / "modules" / "wms"
ENVIRONMENTS = {name: TERRAFORM / "envs" / name for name in ("staging", "prod")}
FOLDERS = [MODULE, *ENVIRONMENTS.values()]
# Of whole kinds: nothing but true and false, and objects whose values are what they are.
NEEDS_NO_VALIDATION = {"bool"}
SECRET = re.compile(r"password|access_cert|access_key|ca_cert|_ur[il]s?\b|registry_logins|module\.wms\.(settings|cert)")
WITH_TERRAFORM = pytest.mark.skipif(shutil.which("terraform") is None, reason="terraform is not found here")
GIVEN = {"environment": "prod", "project": "acme", "kafka_plan": "business-4", "pg_plan": "business-8"}
GIVEN |= {"valkey_plan": "business-4"}
# What an environment does not leave to whoever runs it, and why.
SAID_BY_THE_FOLDER = {
    "environment": "the folder is the environment",
    "termination_protection": "to take it from prod is a change that somebody reviews",
}
AS_THE_MODULE_HAS_IT = {
    "name_prefix": "roles with a token look for services of these names (wms_tasks/aiven)",
    "pg_database": "and for this database",
    "pg_roles": "and for these users",
}
OF_STAGING_ONLY = {"topic_suffix": "there is one production"}


@pytest.fixture(scope="module")
def module() -> dict[str, list[dict[str, Any]]]:
    """The module, parsed."""
    return folder(MODULE)


@pytest.fixture(scope="module")
def made(module: dict[str, list[dict[str, Any]]]) -> dict[str, Any]:
    """Its resources by type.name."""
    return {f"{kind}.{name}": body for kind, name, body in resources(module)}


def test_the_provider_knows_every_type_argument_and_block(module: dict[str, list[dict[str, Any]]]) -> None:
    found = [fault for kind, _, body in resources(module) for fault in faults(kind, body)]
    found += [fault for kind, _, body in resources(module, "data") for fault in faults(kind, body, required=False)]

    assert found == []
    assert len(list(resources(module))) > 10


@pytest.mark.parametrize(
    ("inner", "told"),
    [
        ('permission = "ALLOW"', "aiven_kafka: no argument or block permission"),
        (
            "kafka_user_config {\n kafka {\n auto_create = true\n }\n }",
            "aiven_kafka.kafka_user_config.kafka: no argument",
        ),
        ("kafka_user_config = true", "aiven_kafka: kafka_user_config is Block"),
        ("karapace = true", "aiven_kafka: karapace is deprecated"),
        ('dynamic "tag" {\n for_each = {}\n content {\n key = "a"\n }\n }', "aiven_kafka.tag: value is missing"),
        ("termination_protection = true", "aiven_kafka: plan is missing"),
    ],
)
def test_what_the_provider_does_not_know_is_told(inner: str, told: str) -> None:
    text = f'resource "aiven_kafka" "this" {{\n project = "p"\n service_name = "s"\n {inner}\n}}\n'
    ((kind, _, body),) = resources(parse(text))

    assert any(fault.startswith(told) for fault in faults(kind, body))


@pytest.mark.parametrize("path", FOLDERS, ids=lambda path: path.name)
def test_every_variable_is_typed_described_and_validated(path: Path) -> None:
    for name, body in labelled(folder(path)["variable"]).items():
        assert body.get("type"), name
        assert body.get("description", "").endswith("."), name
        assert body.get("validation") or body["type"] in NEEDS_NO_VALIDATION, name


@pytest.mark.parametrize("path", FOLDERS, ids=lambda path: path.name)
def test_every_variable_is_used(path: Path) -> None:
    text = "\n".join(file.read_text(encoding="utf-8") for file in path.glob("*.tf") if file.name != "variables.tf")

    assert [name for name in labelled(folder(path)["variable"]) if not re.search(rf"\bvar\.{name}\b", text)] == []


@pytest.mark.parametrize("path", FOLDERS, ids=lambda path: path.name)
def test_every_reference_is_to_something(path: Path) -> None:
    """`terraform validate` says so too, but needs the provider."""
    whole = folder(path)
    text = "\n".join(file.read_text(encoding="utf-8") for file in path.glob("*.tf"))
    local = {name for block in whole.get("locals", []) for name in block}
    made = {f"{kind}.{name}" for kind, name, _ in resources(whole)}
    data = {f"{kind}.{name}" for kind, name, _ in resources(whole, "data")}
    outputs = labelled(folder(MODULE)["output"])

    assert set(re.findall(r"\bvar\.(\w+)", text)) <= set(labelled(whole["variable"]))
    assert set(re.findall(r"\blocal\.(\w+)", text)) <= local
    assert set(re.findall(r"(?<!data\.)\b(aiven_\w+\.\w+)", text)) <= made
    assert set(re.findall(r"\bdata\.(aiven_\w+\.\w+)", text)) <= data
    assert set(re.findall(r"\bmodule\.wms\.(\w+)", text)) <= set(outputs)


@pytest.mark.parametrize("path", FOLDERS, ids=lambda path: path.name)
def test_outputs_with_credentials_are_sensitive(path: Path) -> None:
    outputs = labelled(folder(path)["output"])
    secret = {name for name, body in outputs.items() if SECRET.search(json.dumps(body["value"]))}

    assert secret == {"settings", "certificates"}
    assert {name for name, body in outputs.items() if body.get("sensitive") is True} == secret
    assert all(body["description"] for body in outputs.values())


@pytest.mark.parametrize("path", FOLDERS, ids=lambda path: path.name)
def test_versions_are_pinned_alike(path: Path) -> None:
    (terraform,) = folder(path)["terraform"]
    (providers,) = terraform["required_providers"]

    assert terraform["required_version"] == ">= 1.11.0, < 2.0.0"
    assert providers["aiven"] == {"source": "aiven/aiven", "version": "4.61.0"}


@pytest.mark.parametrize("name", ENVIRONMENTS)
def test_an_environment_calls_the_module_by_what_it_takes(name: str, module: dict[str, list[dict[str, Any]]]) -> None:
    call = labelled(folder(ENVIRONMENTS[name])["module"])["wms"]
    takes = labelled(module["variable"])
    given = {key for key in call if key != "__is_block__"} - {"source"}

    assert (ENVIRONMENTS[name] / call["source"]).resolve() == MODULE.resolve()
    assert given <= set(takes)
    assert {key for key, body in takes.items() if "default" not in body} <= given
    assert call["environment"] == name


@pytest.mark.parametrize("name", ENVIRONMENTS)
def test_an_environment_passes_on_whatever_the_module_takes(name: str, module: dict[str, list[dict[str, Any]]]) -> None:
    """From a variable of the same name, or it is one of those above: a new variable of the module is not forgotten."""
    call = labelled(folder(ENVIRONMENTS[name])["module"])["wms"]
    own = set(labelled(folder(ENVIRONMENTS[name])["variable"]))
    absent = AS_THE_MODULE_HAS_IT.keys() | ({} if name == "staging" else OF_STAGING_ONLY).keys()
    passed = {key for key in labelled(module["variable"]) if call.get(key) == f"${{var.{key}}}"}

    assert passed == own == labelled(module["variable"]).keys() - SAID_BY_THE_FOLDER.keys() - absent
    assert {key for key in SAID_BY_THE_FOLDER if "var." in str(call[key])} == set()
    assert not absent & call.keys()


@pytest.mark.parametrize("name", ENVIRONMENTS)
def test_an_environment_takes_what_the_module_takes(name: str, module: dict[str, list[dict[str, Any]]]) -> None:
    """The same type and at least the same conditions, so that a wrong value is told of before the module is read."""

    def rules(body: dict[str, Any]) -> list[str]:
        return [one["condition"] for one in body.get("validation", [])]

    takes = labelled(module["variable"])
    for key, body in labelled(folder(ENVIRONMENTS[name])["variable"]).items():
        assert body["type"] == takes[key]["type"], key
        assert [one for one in rules(takes[key]) if one not in rules(body)] == [], key


def test_prod_is_protected_and_every_service_heeds_it(made: dict[str, Any]) -> None:
    assert labelled(folder(ENVIRONMENTS["prod"])["module"])["wms"]["termination_protection"] is True
    services = {name: body for name, body in made.items() if "plan" in body}

    assert len(services) == 3
    for body in services.values():
        assert body["termination_protection"] == "${var.termination_protection}"
        assert body["project_vpc_id"] == "${local.vpc_id}"
        assert body["service_name"].startswith("${local.name}-")
        assert body["dynamic"][0]["tag"]["for_each"] == "${local.tags}"


def test_the_services_are_as_the_roles_need_them(made: dict[str, Any]) -> None:
    kafka, valkey = made["aiven_kafka.this"], made["aiven_valkey.this"]
    (config,) = kafka["kafka_user_config"]

    assert kafka["default_acl"] is False
    assert config["schema_registry"] is True
    assert config["kafka"][0]["auto_create_topics_enable"] is False
    assert valkey["valkey_user_config"][0]["valkey_maxmemory_policy"] == "noeviction"
    assert made["aiven_connection_pool.reader"]["username"] == '${aiven_pg_user.role["reader"].username}'


def test_users_may_do_what_their_role_does_and_no_more(made: dict[str, Any]) -> None:
    def of(acl: dict[str, Any]) -> tuple[str, ...]:
        user = re.findall(r'role\["(\w+)"\]', acl["principal"])
        return (*user, acl["resource_type"], acl["operation"], acl["pattern_type"], acl["permission_type"])

    acls = {of(body) for name, body in made.items() if name.startswith("aiven_kafka_native_acl.")}
    registry = made["aiven_kafka_schema_registry_acl.role"]

    assert acls == {
        ("worker", "Topic", "Write", "LITERAL", "ALLOW"),
        ("persist", "Topic", "Read", "LITERAL", "ALLOW"),
        ("persist", "Group", "Read", "LITERAL", "ALLOW"),
    }
    assert registry["resource"] == "Subject:" + subject_of("${each.value.topic}")
    assert registry["permission"] == (
        '${each.value.role == "release" ? "schema_registry_write" : "schema_registry_read"}'
    )
    assert made["aiven_valkey_user.wms"]["valkey_acl_keys"] == ["wms:${var.environment}:*"]


def test_the_outputs_name_settings_that_there_are() -> None:
    named = set(re.findall(r"\b(WMS_\w+)\s*=", (MODULE / "outputs.tf").read_text(encoding="utf-8")))

    assert len(named) >= 7
    assert {name.removeprefix(PREFIX).lower() for name in named} <= set(Settings.model_fields)


def test_only_who_has_a_database_is_told_of_one() -> None:
    """Persist has two logins, readers are told that theirs is a pool, and a migration is told whom to give rights."""
    text = (MODULE / "outputs.tf").read_text(encoding="utf-8")
    told = dict(re.findall(r"^    (\w+) += merge\((.*)\)$", text, re.MULTILINE))

    assert {role for role, words in told.items() if "DATABASE" in words or "local.reads" in words} == {
        *("persist", "housekeeping", "migrate", "reader", "operator", "bootstrap")
    }
    assert re.findall(r"DATABASE_\w+|WMS_MIGRATE", told["persist"]) == [
        *("WMS_MIGRATE", "DATABASE_URL", "DATABASE_URL_HOUSEKEEPING")
    ]
    assert "local.role_names" in told["migrate"]
    assert set(re.findall(r"(WMS_DATABASE_ROLE_\w+) +=", text)) == {
        f"{PREFIX}{name.upper()}" for name in Settings.model_fields if name.startswith("database_role_")
    }


def test_terraforms_own_test_asks_for_what_there_is(
    module: dict[str, list[dict[str, Any]]], made: dict[str, Any]
) -> None:
    """It needs the provider, so that the workflow runs it; a name that is gone is told here already."""
    text = (MODULE / "tests" / "wms.tftest.hcl").read_text(encoding="utf-8")
    runs = labelled(parse(text)["run"])
    (given,) = parse(text)["variables"]
    required = {name for name, body in labelled(module["variable"]).items() if "default" not in body}

    assert len(runs) == 4
    assert set(given) - {"__is_block__"} == required
    assert set(re.findall(r"\boutput\.(\w+)", text)) <= set(labelled(module["output"]))
    assert set(re.findall(r"\b(aiven_\w+\.\w+)", text)) <= set(made)


Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """Terraform on the module's variables and names alone: they need no provider."""
    for name in ("variables.tf", "names.tf"):
        shutil.copy(MODULE / name, tmp_path)

    def call(*command: str, stdin: str = "", **given: Any) -> subprocess.CompletedProcess[str]:
        values = {key: value for key, value in (GIVEN | given).items() if value is not None}
        (tmp_path / "terraform.tfvars.json").write_text(json.dumps(values), encoding="utf-8")
        return subprocess.run(
            ["terraform", f"-chdir={tmp_path}", *command],
            input=stdin, capture_output=True, text=True, timeout=60, check=False,
        )  # fmt: skip

    return call


@WITH_TERRAFORM
@pytest.mark.parametrize(("env", "suffix"), [("staging", ""), ("staging", "pr-17"), ("prod", "")])
def test_topics_and_groups_are_those_of_the_settings(run: Run, env: str, suffix: str) -> None:
    asked = "jsonencode([local.topics, local.groups])\n"
    said = run("console", stdin=asked, environment=env, topic_suffix=suffix, topic_versions=[1, 2])
    assert said.returncode == 0, said.stderr
    topics, groups = json.loads(json.loads(said.stdout))
    settings = Settings(env=env, topic_suffix=suffix, topic_versions="1,2").read_versions  # type: ignore[arg-type]

    assert topics == {str(one.topic_version): one.topic for one in settings}
    assert groups == {str(one.topic_version): one.consumer_group for one in settings}


@WITH_TERRAFORM
def test_environments_in_one_project_share_no_name(run: Run) -> None:
    ways = [{"environment": "prod"}, {"environment": "staging"}, {"environment": "staging", "topic_suffix": "pr-17"}]
    said = [run("console", stdin="jsonencode([local.name, local.tags])\n", **way) for way in ways]
    names = [json.loads(json.loads(one.stdout)) for one in said]

    assert [name for name, _ in names] == ["wms-prod", "wms-staging", "wms-staging-pr-17"]
    assert [tags["environment"] for _, tags in names] == ["prod", "staging", "staging"]


@WITH_TERRAFORM
def test_terraform_takes_good_values(run: Run) -> None:
    said = run("plan", "-input=false", "-no-color", topic_suffix="pr-17", vpc_cidr="10.0.0.0/24", tags={"team": "ops"})

    assert said.returncode == 0, said.stderr


@WITH_TERRAFORM
@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"environment": "dev"}, "environment is staging or prod"),
        ({"termination_protection": False}, "prod is never without termination_protection"),
        ({"create_project": True}, "needs a billing_group"),
        ({"topic_min_insync_replicas": 3}, "is less than topic_replication"),
        ({"topic_versions": []}, "topic_versions holds whole numbers"),
        ({"topic_retention_hours": 1}, "topic_retention_hours is a whole number, at least 24"),
        ({"tags": {"environment": "x"}}, "are set by the module"),
        ({"vpc_cidr": "10.0.0.1"}, "vpc_cidr is an IPv4 network"),
        ({"topic_suffix": "PR_17"}, "topic_suffix is made of"),
        ({"kafka_plan": "Business 4"}, "kafka_plan looks like"),
        ({"project": None}, "No value for required variable"),
    ],
)  # fmt: skip
def test_terraform_refuses_bad_values(run: Run, given: dict[str, Any], told: str) -> None:
    said = run("plan", "-input=false", "-no-color", **given)

    assert said.returncode == 1
    assert told in " ".join(re.sub(r"[│╷╵]", " ", said.stderr).split())


@WITH_TERRAFORM
@pytest.mark.parametrize(
    ("name", "given", "told"),
    [
        ("staging", {}, ""),
        ("staging", {"topic_suffix": "pr-17", "tags": {"team": "ops"}, "topic_versions": [1, 2]}, ""),
        ("staging", {"vpc_cidr": "10.0.0.0/24"}, ""),
        ("staging", {"vpc_cidr": "10.0.0.0/24", "topic_suffix": "pr-17"}, "A project has one VPC for each cloud"),
        ("prod", {"allowed_networks": ["192.0.2.0/24"]}, ""),
        ("prod", {}, "No value for required variable"),
        ("prod", {"allowed_networks": ["192.0.2.0/24"], "topic_replication": 2}, "is less than topic_replication"),
    ],
)
def test_terraform_judges_an_environments_values(name: str, given: dict[str, Any], told: str, tmp_path: Path) -> None:
    """Its defaults are good with no more than is asked for; what goes together is judged there already."""
    shutil.copy(ENVIRONMENTS[name] / "variables.tf", tmp_path)
    (tmp_path / "terraform.tfvars.json").write_text(json.dumps({"project": "acme"} | given), encoding="utf-8")
    command = ["terraform", f"-chdir={tmp_path}", "plan", "-input=false", "-no-color"]
    said = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)

    assert said.returncode == (1 if told else 0), said.stderr
    assert told in " ".join(re.sub(r"[│╷╵]", " ", said.stderr).split())
