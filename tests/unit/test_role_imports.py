"""What a role never uses it does not load: psycopg, yoyo and what they bring are 9 MB of every process."""

from __future__ import annotations

import subprocess
import sys

import pytest

_LOADED = "import sys, {modules}; print([name for name in ('psycopg', 'yoyo', 'sqlparse') if name in sys.modules])"


@pytest.mark.parametrize(
    "modules",
    [
        pytest.param("wms_tasks.app, wms_tasks.tasks, wms_tasks.roles.steps, wms_tasks.fill.carry", id="probe worker"),
        pytest.param("wms_tasks.app, wms_tasks.roles.beat, wms_tasks.schedule.scheduler", id="beat"),
    ],
)
def test_who_needs_no_database_loads_no_driver(modules: str) -> None:
    program = [sys.executable, "-c", _LOADED.format(modules=modules)]
    assert subprocess.run(program, capture_output=True, text=True, check=True, timeout=60).stdout.strip() == "[]"
