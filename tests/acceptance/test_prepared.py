"""
Threads that read their first message at the same moment; and what has to be made ready for that.

In a process of its own each, because once somebody has read one the rest is safe; and with an interpreter that changes
threads as often as it can, by which a struct that was not prepared killed more than half of them.
"""

from __future__ import annotations

import ast
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "wms_tasks"
PROCESSES = 8
# With -c, so that nothing but what is named has been imported.
TOGETHER = """
import importlib, json, sys, threading
kind = getattr(importlib.import_module(sys.argv[1]), sys.argv[2])
message, barrier, made = json.loads(sys.argv[3]), threading.Barrier(16), []
def read():
    barrier.wait()
    made.append(kind.from_message(message))
sys.setswitchinterval(1e-6)
threads = [threading.Thread(target=read) for _ in range(16)]
for thread in threads: thread.start()
for thread in threads: thread.join()
assert len(made) == 16, len(made)
"""
SITE = {"site_id": "6a9bb4a5-4c85-5b5e-9d0b-0f4d8b0f0a11", "name": "a", "url": "http://127.0.0.1/"}
AT = "2026-11-26T12:00:00Z"
ORDER = {"version": 2, "site": SITE, "scheduled_at": AT, "due_at": AT, "expires_at": AT}


@pytest.mark.parametrize(("module", "kind", "message"), [("wms_tasks.order", "ProbeOrder", ORDER)])
def test_threads_that_read_their_first_message_together_all_live(module: str, kind: str, message: object) -> None:
    """Sixteen threads, in eight processes one after the other."""
    for _ in range(PROCESSES):
        command = [sys.executable, "-c", TOGETHER, module, kind, json.dumps(message)]
        ended = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False, cwd=ROOT)
        assert ended.returncode == 0, f"ended with {ended.returncode}: {ended.stderr}"


def test_each_struct_that_is_made_of_a_message_is_prepared() -> None:
    """Whatever `msgspec.convert` or a decode is told to make, by name or as its own class."""
    files = {path: ast.parse(path.read_text()) for path in PACKAGE.rglob("*.py")}
    ready = {name for tree in files.values() for name in _prepared(tree)}
    asked = {(path.name, name) for path, tree in files.items() for name in _asked(tree)}
    assert ("order.py", "ProbeOrder") in asked
    # What Aiven answers is asked for by a parameter; `test_what_aiven_answers_is_prepared` has those.
    assert {one for one in asked if one[1] not in ready} == {("api.py", "kind")}


def test_what_aiven_answers_is_prepared() -> None:
    tree = ast.parse((PACKAGE / "aiven" / "api.py").read_text())
    calls = [node for node in ast.walk(tree) if isinstance(node, ast.Call) and _name(node.func) == "_read"]
    kinds = {_name(call.args[1]) for call in calls}
    assert kinds <= set(_prepared(ast.parse((PACKAGE / "aiven" / "answers.py").read_text())))
    assert len(kinds) > 1


def _prepared(tree: ast.Module) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.ClassDef) and "prepared" in map(_name, node.decorator_list):
            yield node.name


def _asked(tree: ast.Module) -> Iterator[str]:
    """The second argument of convert, and the type of a decode; ``cls`` is the class around it."""
    for owner in ast.walk(tree):
        if not isinstance(owner, ast.ClassDef | ast.Module):
            continue
        for call in _calls(owner):
            kinds = [word.value for word in call.keywords if word.arg == "type"]
            kinds += call.args[1:2] if ast.unparse(call.func) == "msgspec.convert" else []
            for kind in kinds if _name(call.func) in {"convert", "decode"} else ():
                yield owner.name if _name(kind) == "cls" and isinstance(owner, ast.ClassDef) else _name(kind)


def _calls(owner: ast.ClassDef | ast.Module) -> Iterator[ast.Call]:
    """Those in it, without those in a class inside it."""
    inside: list[ast.AST] = list(owner.body)
    while inside:
        node = inside.pop()
        if isinstance(node, ast.ClassDef):
            continue
        if isinstance(node, ast.Call):
            yield node
        inside += ast.iter_child_nodes(node)


def _name(node: ast.expr) -> str:
    return node.attr if isinstance(node, ast.Attribute) else node.id if isinstance(node, ast.Name) else ""
