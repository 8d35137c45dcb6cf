"""scripts/check-terraform.sh, with a terraform that writes down what it is asked."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

SCRIPT = Path(__file__).resolve().parents[2] / "scripts" / "check-terraform.sh"
MODULE, PROD, STAGING = "modules/wms", "envs/prod", "envs/staging"
FMT = "fmt -check -diff -recursive ."
Run = Callable[..., tuple[int, list[str], str]]


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """The script in a tree of its own: its status, what terraform was asked, what was said."""
    script = tmp_path / "scripts" / SCRIPT.name
    script.parent.mkdir()
    shutil.copy(SCRIPT, script)
    terraform = tmp_path / "ops" / "terraform"
    for name in (f"{MODULE}/tests", PROD, STAGING):
        (terraform / name).mkdir(parents=True)
    tools = tmp_path / "bin"
    tools.mkdir()
    for name in ("bash", "dirname"):
        (tools / name).symlink_to(str(shutil.which(name)))

    def call(*has_provider: str, fails_at: str = "nothing", there: bool = True) -> tuple[int, list[str], str]:
        for name in has_provider:
            (terraform / name / ".terraform" / "providers").mkdir(parents=True)
        if there:
            fake = tools / "terraform"
            fake.write_text(f'#!{tools}/bash\necho "$*" >> "{tmp_path}/asked"\n[[ "$*" != *"{fails_at}"* ]]\n')
            fake.chmod(0o755)
        environ = {"PATH": str(tools), "HOME": os.devnull}
        command = [str(tools / "bash"), str(script)]
        done = subprocess.run(command, env=environ, capture_output=True, text=True, timeout=60, check=False)
        asked = tmp_path / "asked"
        return done.returncode, asked.read_text().splitlines() if asked.exists() else [], done.stdout

    return call


def test_what_cannot_be_run_is_named(run: Run) -> None:
    """Nothing has the provider: the form alone is looked at."""
    code, asked, said = run()

    assert (code, asked) == (0, [FMT])
    assert [line.partition(",")[0] for line in said.splitlines()] == [
        f"terraform validate: not run in {MODULE}",
        f"terraform test: not run in {MODULE}",
        f"terraform validate: not run in {PROD}",
        f"terraform validate: not run in {STAGING}",
    ]


def test_where_the_provider_is_it_is_run(run: Run) -> None:
    """Both in the module, which has tests; an environment has none."""
    code, asked, said = run(MODULE, PROD)

    assert code == 0
    assert asked == [FMT, f"-chdir={MODULE} validate", f"-chdir={MODULE} test", f"-chdir={PROD} validate"]
    assert said.splitlines() == [
        f"terraform validate: not run in {STAGING}, which lacks Aiven's provider; the GitHub workflow runs it"
    ]


@pytest.mark.parametrize("fails_at", ["fmt", "validate", "test"])
def test_what_terraform_refuses_fails(run: Run, fails_at: str) -> None:
    """And nothing after it is run."""
    code, asked, _ = run(MODULE, PROD, STAGING, fails_at=fails_at)

    assert code != 0
    assert fails_at in asked[-1]
    assert len(asked) == ["fmt", "validate", "test"].index(fails_at) + 1


def test_without_terraform_that_is_said(run: Run) -> None:
    """CI has it."""
    assert run(there=False) == (0, [], "terraform: not found here, run by the GitHub workflow\n")
