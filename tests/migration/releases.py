"""Other releases of this package, as a wheel installs them: built, unpacked, run from outside the checkout."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Mapping
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
_PARTS = ("setup.cfg", "pyproject.toml", "README.md", "LICENSE", "beat_schedule.py", "wms_tasks", "migrations")


def install_release(folder: Path, extra_migrations: Mapping[str, str]) -> Path:
    """Build a wheel of the checkout plus these migrations (file name → SQL); returns the folder it is unpacked in."""
    source, site = folder / "source", folder / "site"
    source.mkdir(parents=True)
    for part in _PARTS:
        if (ROOT / part).is_dir():
            shutil.copytree(ROOT / part, source / part, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(ROOT / part, source / part)
    for name, text in extra_migrations.items():
        (source / "migrations" / name).write_text(text, encoding="utf-8")
    command = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(folder), str(source)]
    built = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert built.returncode == 0, built.stdout + built.stderr
    (wheel,) = folder.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(site)
    return site


def run_python(code: str, *, cwd: Path, path: str = "", **environ: str) -> subprocess.CompletedProcess[str]:
    """A Python of this environment in another folder; `path` comes before what is installed."""
    variables = {name: value for name, value in os.environ.items() if not name.startswith("WMS_")}
    variables |= {"PYTHONPATH": path, **environ}
    return subprocess.run(
        [sys.executable, "-c", code], cwd=cwd, env=variables, capture_output=True, text=True, timeout=60, check=False
    )
