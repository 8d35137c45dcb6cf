"""scripts/export-tf-outputs.sh, with a terraform that says what it is told to."""

from __future__ import annotations

import json
import os
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.hcl import TERRAFORM, folder, labelled

ROOT = Path(__file__).resolve().parents[2]
SCRIPT = ROOT / "scripts" / "export-tf-outputs.sh"
PEM = "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n"
# What a shell would act on, were it not quoted.
ODD = "re:d$HOME/`id`'\"\\ $(touch x); &|\nend"
Run = Callable[..., subprocess.CompletedProcess[str]]


def outputs(settings: dict[str, Any] | None = None, files: dict[str, Any] | None = None) -> dict[str, Any]:
    """As `terraform output -json` says it."""
    settings = {"WMS_ENV": "staging", "WMS_TOPIC_SUFFIX": "", "WMS_DATABASE_URL": "postgresql://x"} | (settings or {})
    value = {"ca.pem": PEM, "kafka-key.pem": PEM + "# key\n"} if files is None else files
    return {
        "settings": {"sensitive": True, "type": [], "value": {"operator": {}, "worker": settings}},
        "certificates": {"sensitive": True, "type": [], "value": {"operator": {}, "worker": value}},
    }


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """The script in a folder of its own; what terraform says is given."""

    def call(*words: str, said: Any = None, status: int = 0, umask: int = 0o022) -> subprocess.CompletedProcess[str]:
        (tmp_path / "said").write_text(
            said if isinstance(said, str) else json.dumps(said or outputs()), encoding="utf-8"
        )
        terraform = tmp_path / "bin" / "terraform"
        terraform.parent.mkdir(exist_ok=True)
        terraform.write_text(f'#!/bin/sh\necho "$@" > "{tmp_path}/asked"\ncat "{tmp_path}/said"\nexit {status}\n')
        terraform.chmod(0o755)
        path = os.pathsep.join([str(terraform.parent), str(Path(sys.executable).parent), "/usr/bin", "/bin"])
        return subprocess.run(
            [str(SCRIPT), *words], cwd=tmp_path, env={"PATH": path, "HOME": "/home/of/nobody"},
            capture_output=True, text=True, timeout=60, check=False, umask=umask,
        )  # fmt: skip

    return call


def as_a_shell_takes(lines: str, cwd: Path) -> dict[str, str]:
    """The WMS_ variables after `eval`."""
    done = subprocess.run(
        ["bash", "-c", 'eval "$1" && env -0', "bash", lines],
        cwd=cwd, env={"PATH": "/usr/bin:/bin"}, capture_output=True, text=True, timeout=60, check=True,
    )  # fmt: skip
    pairs = [one.partition("=") for one in done.stdout.split("\0") if one.startswith("WMS_")]
    return {name: value for name, _, value in pairs}


def test_a_shell_gets_every_value_unchanged(run: Run, tmp_path: Path) -> None:
    done = run("staging", "worker", said=outputs({"WMS_BROKER_URL": ODD, "WMS_SCHEMA_REGISTRY_URL": "https://r:1"}))

    assert done.returncode == 0, done.stderr
    assert as_a_shell_takes(done.stdout, tmp_path) == {
        "WMS_ENV": "staging",
        "WMS_TOPIC_SUFFIX": "",
        "WMS_DATABASE_URL": "postgresql://x",
        "WMS_BROKER_URL": ODD,
        "WMS_SCHEMA_REGISTRY_URL": "https://r:1",
        "WMS_SCHEMA_REGISTRY_CA": str(tmp_path / "certs" / "ca.pem"),
        "WMS_CERTS_DIR": str(tmp_path / "certs"),
    }
    assert not (tmp_path / "x").exists()
    assert (tmp_path / "asked").read_text().split() == [f"-chdir={TERRAFORM / 'envs' / 'staging'}", "output", "-json"]


def test_certificates_are_for_their_owner_only(run: Run, tmp_path: Path) -> None:
    (tmp_path / "certs").mkdir()
    (tmp_path / "certs" / "ca.pem").write_text("older, and for all to read")
    done = run("staging", "worker", umask=0)
    files = sorted((tmp_path / "certs").iterdir())

    assert done.returncode == 0, done.stderr
    assert [file.name for file in files] == ["ca.pem", "kafka-key.pem"]
    assert [stat.S_IMODE(file.stat().st_mode) for file in files] == [0o600, 0o600]
    assert files[0].read_text() == PEM


@pytest.mark.parametrize(
    ("said", "told"),
    [
        ({"x": 1}, "no output settings"),
        (outputs({"WMS_X; id": "1"}), "is no name of a setting"),
        (outputs({"WMS_BROKER_URL": None}), "WMS_BROKER_URL is no text"),
        (outputs({"WMS_BROKER_URL": ""}), "WMS_BROKER_URL is empty"),
        (outputs(files={"../ca.pem": PEM}), "is no name of a certificate"),
        (outputs(files={"ca.pem": "half"}), "ca.pem is no PEM"),
        ("{", "no JSON"),
    ],
)
def test_a_bad_state_is_told_and_nothing_written(run: Run, tmp_path: Path, said: Any, told: str) -> None:
    done = run("staging", "worker", said=said)

    assert (done.returncode, done.stdout) == (1, "")
    assert told in done.stderr
    assert not (tmp_path / "certs").exists()


@pytest.mark.parametrize("words", [(), ("dev",), ("../staging",), ("staging", "worker", "more"), ("--chek", "staging")])
def test_a_wrong_call_is_told(run: Run, words: tuple[str, ...]) -> None:
    done = run(*words)

    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr


def test_a_role_that_there_is_not_is_told(run: Run) -> None:
    assert "has no role werker; there are: operator, worker" in run("staging", "werker").stderr


def test_a_terraform_that_fails_leaves_everything_as_it_was(run: Run, tmp_path: Path) -> None:
    done = run("staging", "worker", status=1)

    assert (done.returncode, done.stdout) == (1, "")
    assert not (tmp_path / "certs").exists()


def test_check_tells_what_differs_and_touches_nothing(run: Run, tmp_path: Path) -> None:
    before = run("--check", "staging", "worker")
    run("staging", "worker")
    well = run("--check", "staging", "worker")
    (tmp_path / "certs" / "ca.pem").chmod(0o644)
    (tmp_path / "certs" / "kafka-key.pem").write_text("another")
    after = run("staging", "worker", "--check")

    assert (before.returncode, before.stdout, "No such file" in before.stderr) == (1, "", True)
    assert (well.returncode, well.stdout, well.stderr) == (0, "", "")
    assert (after.returncode, after.stdout) == (1, "")
    assert "ca.pem may be read by others (mode 0644)" in after.stderr
    assert "kafka-key.pem is not what the state has" in after.stderr


def test_the_roles_it_names_are_those_of_the_module() -> None:
    """And each has its certificates, at the least the authorities'."""
    values = {name: body["value"] for name, body in labelled(folder(TERRAFORM / "modules" / "wms")["output"]).items()}
    roles = set(values["settings"])
    comment = SCRIPT.read_text(encoding="utf-8").split("set -euo")[0]

    assert len(roles) == 9
    assert all(role in comment for role in roles)
    assert all(f'"{role}"' in values["certificates"] for role in roles)
