"""SECURITY.md's threat model: each defence names tests that there are."""

from __future__ import annotations

import ast
import re
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
MODEL = (ROOT / "SECURITY.md").read_text(encoding="utf-8").partition("\n## Threat model\n")[2].partition("\n## ")[0]
ROWS = [line for line in MODEL.splitlines() if line.startswith("| ") and not line.startswith(("| against ", "| --- "))]


@cache
def names_in(path: str) -> set[str]:
    """The functions of a test file."""
    tree = ast.parse((ROOT / "tests" / path).read_text(encoding="utf-8"))
    return {node.name for node in tree.body if isinstance(node, ast.FunctionDef) and node.name.startswith("test_")}


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.split("|")[1].strip())
def test_each_defence_is_held_by_tests_that_exist(row: str) -> None:
    _, against, done, held_by, _ = row.split("|")
    named = re.findall(r"`([\w/]+\.py)::(\w+)`", held_by)

    assert against.strip()
    assert done.strip()
    assert named
    assert re.sub(r"`[\w/.:]+`", "", held_by).strip() == ""
    assert [f"{path}::{name}" for path, name in named if name not in names_in(path)] == []


def test_each_boundary_says_what_is_not_done() -> None:
    """What is not defended is part of the model."""
    boundaries = MODEL.split("\n### ")[1:]

    assert len(boundaries) == 6
    assert [one.splitlines()[0] for one in boundaries if "\nNot: " not in one] == []
