"""The migrations are found wherever the package is installed, each with its rollback; their names decide the plan."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.migration.releases import ROOT, install_release, run_python
from wms_tasks.errors import MigrationError
from wms_tasks.store.migration_files import folder, migration_files
from wms_tasks.store.migration_plan import Plan, plan, plan_down, plan_up, resolve

WHERE = "from wms_tasks.store.migration_files import folder; print(folder())"
IDS = st.sets(st.integers(1, 9).map(lambda n: f"{n:04}.m"))


def test_found_from_an_installed_wheel_outside_the_checkout(tmp_path: Path) -> None:
    """Inside the package, where the wheel puts them."""
    site = install_release(tmp_path, {})
    run = run_python(WHERE, cwd=tmp_path, path=str(site))
    assert run.stdout.strip() == str(site / "wms_tasks" / "migrations")
    assert {p.name for p in (site / "wms_tasks" / "migrations").glob("*.sql")} == {
        p.name for p in (ROOT / "migrations").glob("*.sql")
    }


def test_found_from_an_editable_install(tmp_path: Path) -> None:
    """Beside the package; the working folder is another one."""
    run = run_python(WHERE, cwd=tmp_path)
    assert run.stdout.strip() == str(ROOT / "migrations"), run.stderr


def test_found_from_a_checkout_that_is_not_installed(tmp_path: Path) -> None:
    """Without site, no .pth file of an editable install is read."""
    path = os.pathsep.join([str(ROOT), sysconfig.get_path("purelib"), sysconfig.get_path("platlib")])
    environ = {**os.environ, "PYTHONPATH": path}
    run = subprocess.run(
        [sys.executable, "-S", "-c", WHERE], cwd=tmp_path, env=environ, capture_output=True, text=True, check=False
    )
    assert run.stdout.strip() == str(ROOT / "migrations"), run.stderr


def test_each_is_named_by_number_and_has_its_rollback() -> None:
    """NNNN.name.sql, numbers without gaps, a rollback that is not empty."""
    files = migration_files(folder())
    assert [one.migration_id.split(".")[0] for one in files] == [f"{n:04}" for n in range(1, len(files) + 1)]
    for one in files:
        assert re.fullmatch(r"\d{4}\.[a-z0-9-]+", one.migration_id)
        assert one.rollback_sql.strip()


def test_no_statement_returns_rows() -> None:
    """yoyo would print them, into the output of whatever migrates: a role's log, or a live view."""
    for path in folder().glob("*.sql"):
        assert not re.search(r"^(SELECT|TABLE|VALUES|SHOW)\b", path.read_text(), re.MULTILINE | re.IGNORECASE), (
            path.name
        )


def test_every_statement_may_run_twice() -> None:
    """A crash between applying and marking repeats it."""
    again = re.compile(r"IF (NOT )?EXISTS|CREATE OR REPLACE", re.IGNORECASE)
    for path in folder().glob("*.sql"):
        for statement in re.findall(r"^(?:CREATE|DROP|ALTER)\b[^;]*", path.read_text(encoding="utf-8"), re.MULTILINE):
            assert again.search(statement), f"{path.name}: {statement[:60]}"


def test_a_migration_without_rollback_is_refused(tmp_path: Path) -> None:
    """Named, with the file that is missing."""
    (tmp_path / "0001.x.sql").write_text("SELECT 1;")
    with pytest.raises(MigrationError, match=r"0001\.x\.sql has no 0001\.x\.rollback\.sql"):
        migration_files(tmp_path)


def test_a_target_is_an_id_or_its_number() -> None:
    """0000 is before the first."""
    known = {"0001.a", "0002.b"}
    assert resolve("0002", known) == resolve("0002.b", known) == "0002.b"
    assert resolve("0000", known) == resolve("0", known) == "0000"
    with pytest.raises(MigrationError, match=r"0001\.a, 0002\.b"):
        resolve("2", known)


@given(files=IDS, applied=IDS)
def test_without_a_target_nothing_is_rolled_back(files: set[str], applied: set[str]) -> None:
    """What is missing is applied in order; what is unknown is left and named."""
    found = plan(files=files, applied=applied, target=None)
    assert found == Plan(apply=tuple(sorted(files - applied)), newer=tuple(sorted(applied - files)))


@given(files=IDS, applied=IDS, target=st.integers(0, 9))
def test_a_target_is_reached_exactly(files: set[str], applied: set[str], target: int) -> None:
    """Afterwards everything known up to it is applied and nothing beyond it; newest are undone first."""
    goal = f"{target:04}"
    if target and f"{goal}.m" not in files | applied:
        return
    found = plan(files=files, applied=applied, target=goal)
    after = (applied - set(found.roll_back)) | set(found.apply)
    assert after == {one for one in files | applied if one <= f"{goal}.m"}
    assert list(found.roll_back) == sorted(found.roll_back, reverse=True)
    assert list(found.apply) == sorted(found.apply)


@given(files=IDS, applied=IDS)
def test_up_never_rolls_back_and_down_never_applies(files: set[str], applied: set[str]) -> None:
    """The two commands do what they are called."""
    assert plan_up(files, applied, "0000") == Plan()
    assert plan_down(files, applied, None).roll_back == tuple(sorted(applied)[-1:])
    assert plan_down(files, applied, "0000") == Plan(roll_back=tuple(sorted(applied, reverse=True)))
