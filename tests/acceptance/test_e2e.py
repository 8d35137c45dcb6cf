"""tests/e2e on a system of our own, which it sees through `WMS_*` alone; and that it says no where there is none."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.acceptance.test_up import Running, environ_without_wms, environment
from tests.waiting import wait_until
from wms_tasks.settings import Settings

ROOT = Path(__file__).resolve().parents[2]
E2E = [sys.executable, "-m", "pytest", "-n", "0", "-q", "-p", "no:cacheprovider", "tests/e2e"]


def e2e(given: dict[str, str], *options: str) -> subprocess.CompletedProcess[str]:
    """Run it as `make e2e` does, from the checkout."""
    environ = environ_without_wms() | given
    return subprocess.run(
        [*E2E, *options], cwd=ROOT, env=environ, capture_output=True, text=True, timeout=110, check=False
    )


def written(path: Path) -> dict[str, str]:
    """The variables of `.wms/env`."""
    return dict(re.findall(r"^export (\w+)='?(.*?)'?$", path.read_text(encoding="utf-8"), re.MULTILINE))


@pytest.mark.slow
@pytest.mark.timeout(180)
def test_a_running_system_passes(tmp_path: Path, kafka_jars: Path) -> None:
    """All checks on `wms up`, none of them skipped but what is for sites that cannot be watched."""
    environ = environment(tmp_path)
    system = Running(tmp_path, environ)
    try:
        wait_until((tmp_path / ".wms" / "env").exists, 60, "the services' addresses")
        given = written(tmp_path / ".wms" / "env") | {
            "WMS_ENV": "dev",
            "WMS_SITES": str(tmp_path / "sites.yaml"),
            "WMS_METRICS_PORT": environ["WMS_UP_METRICS_PORT"],
        }
        done = e2e(given, "--wait-seconds", "60")
        assert done.returncode == 0, done.stdout + done.stderr
        assert re.search(r"^1[0-9] passed, 1 skipped", done.stdout, re.MULTILINE), done.stdout
        assert system.stop(signal.SIGTERM) <= 12
    finally:
        system.kill()


def test_services_without_roles_fail(settings: Settings, wms_environ: dict[str, str]) -> None:
    """Everything answers, and nobody probes: that is told, not passed over."""
    from wms_tasks.topic import ensure_topic

    ensure_topic(settings)
    done = e2e(wms_environ)

    assert done.returncode == 1, done.stdout + done.stderr
    assert "a site has been probed: do beat, a worker and persist run, with these services?" in done.stdout


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({}, ["WMS_ENV is not set", "WMS_BROKER_URL is", "WMS_KAFKA_BOOTSTRAP_SERVERS is", "WMS_DATABASE_URL is"]),
        ({"WMS_ENV": "dev", "WMS_BROKER_URL": "redis://127.0.0.1:1", "WMS_KAFKA_BOOTSTRAP_SERVERS": "127.0.0.1:1"},
         ["WMS_DATABASE_URL is not set: it says which system to look at"]),
        ({"WMS_ENV": "prod", "WMS_BROKER_URL": "redis://127.0.0.1:1", "WMS_KAFKA_BOOTSTRAP_SERVERS": "127.0.0.1:1",
          "WMS_DATABASE_URL": "postgresql://x@127.0.0.1:1/x"},
         ["WMS_BROKER_URL: no TLS for Redis", "WMS_KAFKA_PROPERTIES", "WMS_DATABASE_URL"]),
    ],
    ids=["nothing", "without the database", "without TLS"],
)  # fmt: skip
def test_what_is_missing_is_told_in_a_line_each(given: dict[str, str], told: list[str]) -> None:
    """Before anything is connected to; pytest's status for a wrong call, and no traceback."""
    done = e2e(given)
    said = done.stdout + done.stderr

    assert done.returncode == pytest.ExitCode.USAGE_ERROR, said
    assert len(re.findall(r"tests/e2e: WMS_", said)) == len(told), said
    assert all(f"tests/e2e: {line}" in said for line in told), said
    assert "Traceback" not in said


def test_it_is_no_part_of_the_usual_run() -> None:
    """`pytest` without a path does not collect it: there `WMS_*` would be whatever the developer works with."""
    others = [f"--ignore=tests/{name}" for name in ("acceptance", "faults", "integration", "unit")]
    collected = subprocess.run(
        [sys.executable, "-m", "pytest", "-n", "0", "-q", "--collect-only", "-p", "no:cacheprovider", *others],
        cwd=ROOT, env=dict(os.environ), capture_output=True, text=True, timeout=110, check=False,
    )  # fmt: skip

    assert collected.returncode == 0, collected.stdout
    assert "tests/migration/test_migrate.py::" in collected.stdout
    assert "tests/e2e/" not in collected.stdout
