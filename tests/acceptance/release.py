"""
The newest release, as it was: its tree by `git archive` of the commit that CHANGELOG.md names, installed in an
environment of its own, and run from outside any checkout.
"""

from __future__ import annotations

import hashlib
import io
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import tarfile
from configparser import ConfigParser
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parents[2]
_HEADING = re.compile(r"^## \[(.+?)\] - [\d-]+, ([0-9a-f]{40})$", re.MULTILINE)
_PIP = [sys.executable, "-m", "pip", "--disable-pip-version-check"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Release:
    """A release that can be run: ``python``, in ``folder``, where nothing of another one is found."""

    version: str
    commit: str
    python: Path
    folder: Path
    newest_migration: str


def installed_release(folder: Path) -> Release:
    """
    The newest release whose commit CHANGELOG.md names. What it needs is borrowed from this environment where that has
    the same versions (4 s), else downloaded, once (a minute).
    """
    found = _HEADING.search((ROOT / "CHANGELOG.md").read_text(encoding="utf-8"))
    assert found, "CHANGELOG.md: no release has its commit's id beside its date"
    version, commit = found.groups()
    tree, run = folder / "tree", folder / "run"
    unpack(commit, tree, f"the commit of {version}")
    run.mkdir()
    python = _borrowing(tree, folder / "venv") if _needs_what_is_here(tree) else _downloaded(tree, commit)
    newest = max(one.stem for one in (tree / "migrations").glob("[0-9]*.sql") if not one.stem.endswith(".rollback"))
    return Release(version=version, commit=commit, python=python, folder=run, newest_migration=newest)


def unpack(commit: str, tree: Path, what: str) -> None:
    """The tree of a commit. Never a skip: a history without its releases cannot show that they can be upgraded."""
    archive = subprocess.run(["git", "archive", commit], cwd=ROOT, capture_output=True, timeout=30, check=False)
    if archive.returncode != 0:
        why = archive.stderr.decode().strip()
        hint = "git fetch --unshallow; in a workflow: fetch-depth: 0"
        pytest.fail(f"the history lacks {commit}, {what} ({why}): {hint}", pytrace=False)
    with tarfile.open(fileobj=io.BytesIO(archive.stdout)) as files:
        files.extractall(tree, filter="data")


def _needs_what_is_here(tree: Path) -> bool:
    """Whether both releases are pinned to the same versions of all that the older one needs."""
    parser = ConfigParser()
    parser.read(tree / "setup.cfg", encoding="utf-8")
    then, now = _pins(tree), _pins(ROOT)
    todo = [Requirement(line) for line in parser["options"]["install_requires"].strip().splitlines()]
    seen: set[str] = set()
    while todo:
        wanted = todo.pop()
        name = str(canonicalize_name(wanted.name))
        if name in seen and not wanted.extras:
            continue
        seen.add(name)
        try:
            each = [Requirement(line) for line in metadata.requires(name) or ()]
        except metadata.PackageNotFoundError:
            return False
        if then.get(name) != now.get(name):
            return False
        extras = ("", *wanted.extras)
        todo += [
            one for one in each if one.marker is None or any(one.marker.evaluate({"extra": extra}) for extra in extras)
        ]
    return True


def _pins(tree: Path) -> dict[str, str]:
    lines = (tree / "constraints.txt").read_text(encoding="utf-8").splitlines()
    pins = (line.partition("==") for line in lines if "==" in line and not line.startswith("#"))
    return {str(canonicalize_name(name)): version for name, _, version in pins}


def _borrowing(tree: Path, venv: Path) -> Path:
    """The release itself, and the path of our site-packages after its own: no .pth file there is read, so not we."""
    python = _venv(venv)
    (own,) = venv.glob("lib/python*/site-packages")
    (own / "borrowed.pth").write_text(sysconfig.get_path("purelib") + "\n", encoding="utf-8")
    _pip(python, "--no-deps", "--no-build-isolation", "--no-index", str(tree))
    return python


def _downloaded(tree: Path, commit: str) -> Path:
    key = hashlib.sha256(repr((sys.version_info[:3], sys.base_prefix, commit)).encode()).hexdigest()[:12]
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "wms"
    venv = cache / f"release-{key}"
    whole = venv / "whole"
    if not whole.exists():
        shutil.rmtree(venv, ignore_errors=True)
        _pip(_venv(venv), "-c", str(tree / "constraints.txt"), str(tree))
        whole.touch()
    return venv / "bin" / "python"


def _venv(venv: Path) -> Path:
    command = [sys.executable, "-m", "venv", "--without-pip", str(venv)]
    subprocess.run(command, check=True, capture_output=True, timeout=60)
    return venv / "bin" / "python"


def _pip(python: Path, *arguments: str) -> None:
    command = [*_PIP, "--python", str(python), "install", "--quiet", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=100, check=False)
    assert done.returncode == 0, f"the release cannot be installed: {done.stdout}{done.stderr}"
