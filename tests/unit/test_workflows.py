"""The workflows of .github, as far as they can be judged without GitHub; `make lint` has actionlint read them too."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.unit.test_compose import check_schema, setup_cfg

ROOT = Path(__file__).resolve().parents[2]
WORKFLOWS = {path.stem: path for path in sorted((ROOT / ".github" / "workflows").glob("*.yml"))}
ACTIONS = r"(actions|aws-actions|hashicorp)/[\w-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+"
# YAML reads the key `on` as true.
ON = True


def workflow(name: str) -> dict[Any, Any]:
    """One, as YAML."""
    found: dict[Any, Any] = yaml.safe_load(WORKFLOWS[name].read_text(encoding="utf-8"))
    return found


def steps(name: str) -> list[dict[str, Any]]:
    """All steps of all its jobs."""
    return [step for job in workflow(name)["jobs"].values() for step in job.get("steps", [])]


def test_there_are_these() -> None:
    assert set(WORKFLOWS) == {"ci", "staging", "deploy"}


def test_ci_installs_all_that_tests_want_and_no_index_has() -> None:
    """The Makefile's list; a test without its program fails where CI is true."""
    [wanted] = re.findall(r"^PEERS := (.*)$", (ROOT / "Makefile").read_text(encoding="utf-8"), flags=re.MULTILINE)
    [installs] = [step["run"] for step in steps("ci") if "apt-get install" in step.get("run", "")]
    assert set(wanted.split()) <= set(installs.split())


@pytest.mark.parametrize("name", WORKFLOWS)
def test_workflow_is_valid_by_githubs_schema(name: str) -> None:
    checked = check_schema("vendor.github-workflows", WORKFLOWS[name])

    assert checked.returncode == 0, checked.stdout


@pytest.mark.parametrize("name", WORKFLOWS)
def test_every_action_is_pinned_by_commit(name: str) -> None:
    """With the release it is, and of few owners; one of our own is this commit's."""
    used = re.findall(r"uses: (.+)", WORKFLOWS[name].read_text(encoding="utf-8"))

    assert used
    assert [one for one in used if not re.fullmatch(rf"{ACTIONS}|\./\.github/workflows/\w+\.yml", one)] == []


@pytest.mark.parametrize("name", WORKFLOWS)
def test_a_workflow_may_read_and_a_job_says_what_more_it_needs(name: str) -> None:
    found = workflow(name)
    more = {
        job: set(body["permissions"]) - {"contents"} for job, body in found["jobs"].items() if "permissions" in body
    }
    writes = {job for job, body in found["jobs"].items() if body.get("permissions", {}).get("contents") == "write"}

    assert found["permissions"] == {"contents": "read"}
    assert (
        more
        == {
            "ci": {},
            "staging": {"e2e": {"id-token"}},
            "deploy": {"plan": {"id-token"}, "apply": {"id-token"}, "image": {"packages"}, "publish": {"packages"}},
        }[name]
    )
    assert writes == ({"publish"} if name == "deploy" else set())


@pytest.mark.parametrize("name", WORKFLOWS)
def test_no_checkout_leaves_its_token_behind(name: str) -> None:
    found = [step for step in steps(name) if step.get("uses", "").startswith("actions/checkout@")]

    assert all(step["with"]["persist-credentials"] is False for step in found)


@pytest.mark.parametrize("name", WORKFLOWS)
def test_no_script_is_made_of_what_others_write(name: str) -> None:
    """A branch's name or a title in a script would be run; a number may stand there, the rest comes by `env`."""
    inside = re.findall(r"\$\{\{(.*?)\}\}", "\n".join(step.get("run", "") for step in steps(name)))

    assert [one for one in inside if one.strip() != "github.event.number"] == []
    assert "pull_request_target" not in WORKFLOWS[name].read_text(encoding="utf-8")


@pytest.mark.parametrize("name", ["staging", "deploy"])
def test_what_is_applied_is_never_broken_off(name: str) -> None:
    """One at a time in an environment, and none is cancelled by the next; Aiven's token is with Terraform alone."""
    found = workflow(name)
    told = [step for step in steps(name) if "AIVEN_TOKEN" in str(step)]

    assert found["concurrency"]["cancel-in-progress"] is False
    assert found["concurrency"]["group"] in {"staging-pr-${{ github.event.number }}", "production"}
    assert len(told) >= 2
    assert all("terraform" in step["run"] and "wms" not in step["run"].split("terraform", 1)[0] for step in told)
    assert "AIVEN_TOKEN" not in str([job.get("env") for job in found["jobs"].values()])


def test_a_staging_system_is_taken_down_whatever_happened() -> None:
    """The last step, also after a failure and when the request is closed; forks and a label keep it from being made."""
    (job,) = workflow("staging")["jobs"].values()
    *_, last = job["steps"]
    wanted = job["if"]

    assert workflow("staging")[ON]["pull_request"]["types"][-1] == "closed"
    assert last["if"] == "always() && steps.init.outcome == 'success'"
    assert "terraform" in last["run"]
    assert " destroy " in last["run"]
    assert "head.repo.full_name == github.repository" in wanted
    assert "no-staging" in wanted
    assert job["env"]["TF_VAR_topic_suffix"] in str(job["steps"]).replace("wms/staging-", "")


def test_production_is_applied_after_the_tests_and_as_it_was_shown() -> None:
    """Tests, plan, apply, then image and package; an approval is the environment's affair."""
    jobs = workflow("deploy")["jobs"]

    assert workflow("deploy")[ON] == {"push": {"branches": ["main"]}}
    assert jobs["ci"]["uses"] == "./.github/workflows/ci.yml"
    assert {name: job.get("needs") for name, job in jobs.items()} == {
        "ci": None,
        "plan": "ci",
        "apply": "plan",
        "image": ["ci", "apply"],
        "publish": "image",
    }
    assert (jobs["plan"]["environment"], jobs["apply"]["environment"]) == ("production-plan", "production")
    assert '"$found" != "$SHOWN"' in jobs["apply"]["steps"][-1]["run"]


def test_every_python_and_both_architectures_are_tried() -> None:
    """The matrix is equal to the classifiers in setup.cfg."""
    jobs = workflow("ci")["jobs"]
    promised = re.findall(r"Python :: (3\.\d+)$", setup_cfg()["metadata"]["classifiers"], re.MULTILINE)
    built = {one["runner"] for one in workflow("deploy")["jobs"]["image"]["strategy"]["matrix"]["include"]}

    assert jobs["test"]["strategy"]["matrix"]["python-version"] == promised
    assert set(jobs["image"]["strategy"]["matrix"]["runner"]) == built == {"ubuntu-24.04", "ubuntu-24.04-arm"}


def test_the_tests_have_the_history() -> None:
    """Where `make test` runs, the commit of the release before is there."""
    runs = [job["steps"] for job in workflow("ci")["jobs"].values() if {"run": "make test"} in job["steps"]]

    assert [steps[0]["with"]["fetch-depth"] for steps in runs] == [0]


def test_a_release_is_known_by_the_changelog(tmp_path: Path) -> None:
    """The step's own script: the version, where it is the newest heading; nothing while something is unreleased."""
    (step,) = [step for step in steps("deploy") if step.get("id") == "release"]
    (tmp_path / "setup.cfg").write_text("[metadata]\nname = x\nversion = 0.3.0\n", encoding="utf-8")
    said = {}
    for heading in ("## [Unreleased]\n\n## [0.3.0] - 2026-12-01", "## [0.3.0] - 2026-12-01\n\n## [0.2.0] - 2026-11-26"):
        (tmp_path / "CHANGELOG.md").write_text(f"# Changelog\n\n{heading}\n", encoding="utf-8")
        output = tmp_path / "output"
        output.write_text("", encoding="utf-8")
        environ = {**os.environ, "GITHUB_OUTPUT": str(output)}
        subprocess.run(["bash", "-e", "-c", step["run"]], cwd=tmp_path, env=environ, timeout=20, check=True)
        said[heading[:14]] = output.read_text(encoding="utf-8")

    assert said == {"## [Unreleased": "", "## [0.3.0] - 2": "version=0.3.0\n"}


@pytest.mark.skipif(shutil.which("terraform") is None, reason="terraform is not found here")
def test_the_plan_is_compared_by_what_it_says(tmp_path: Path) -> None:
    """Two plans of the same say the same, another one does not: the digest that apply asks for tells them apart."""
    (tmp_path / "main.tf").write_text('variable "it" {}\noutput "it" {\n value = var.it\n}\n', encoding="utf-8")

    def digest(value: str) -> str:
        plan = f"terraform plan -input=false -var it={value} -out=it.tfplan >/dev/null"
        script = f"{plan}; terraform show -no-color it.tfplan | sha256sum"
        done = subprocess.run(
            ["bash", "-e", "-c", script], cwd=tmp_path, capture_output=True, text=True, timeout=60, check=True
        )
        return done.stdout

    assert digest("a") == digest("a") != digest("b")
