"""Terraform's files as plain Python, and what the Aiven provider would say of them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import hcl2

ROOT = Path(__file__).resolve().parents[1]
TERRAFORM = ROOT / "ops" / "terraform"
# Taken from the provider's own documentation of 4.61; only the types that are used here.
PROVIDER: dict[str, dict[str, dict[str, dict[str, str]]]] = json.loads(
    (ROOT / "tests" / "unit" / "aiven-provider-4.61.json").read_text(encoding="utf-8")
)
# Terraform's own, in every resource.
META = {"count", "for_each", "depends_on", "lifecycle", "provider"}
_MARK = "__is_block__"


def _plain(value: Any) -> Any:
    """Without the quotes around literals and without comments; blocks keep their mark."""
    if isinstance(value, dict):
        return {_plain(key): _plain(inner) for key, inner in value.items() if key != "__comments__"}
    if isinstance(value, list):
        return [_plain(one) for one in value]
    if isinstance(value, str) and len(value) > 1 and value.startswith('"') and value.endswith('"'):
        return value[1:-1]
    return value


def parse(text: str) -> dict[str, Any]:
    """One file's text. Expressions are ``${...}``, blocks are lists of dicts with a mark."""
    parsed: dict[str, Any] = _plain(hcl2.loads(text))
    return parsed


def folder(path: Path) -> dict[str, list[dict[str, Any]]]:
    """Every file of a folder, as Terraform takes it: one configuration."""
    whole: dict[str, list[dict[str, Any]]] = {}
    for file in sorted(path.glob("*.tf")):
        for kind, blocks in parse(file.read_text(encoding="utf-8")).items():
            whole.setdefault(kind, []).extend(blocks)
    return whole


def labelled(blocks: list[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """Blocks with one label (variable, output, module) by it."""
    return {name: body for block in blocks for name, body in block.items() if name != _MARK}


def resources(configuration: dict[str, list[dict[str, Any]]], kind: str = "resource") -> Iterator[tuple[str, str, Any]]:
    """Type, name and body of each resource or data source."""
    for block in configuration.get(kind, []):
        for resource_type, named in block.items():
            if resource_type != _MARK:
                yield from ((resource_type, name, body) for name, body in named.items() if name != _MARK)


def _nested(body: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    for name, value in body.items():
        for one in value if isinstance(value, list) else []:
            if name == "dynamic":
                yield from ((label, dynamic["content"][0]) for label, dynamic in one.items() if label != _MARK)
            elif isinstance(one, dict) and _MARK in one:
                yield name, one


def faults(resource_type: str, body: dict[str, Any], *, path: str = ".", required: bool = True) -> Iterator[str]:
    """What is wrong with a resource's arguments and blocks; a data source asks for no more than names it."""
    where = f"{resource_type}{'' if path == '.' else '.' + path}"
    known = PROVIDER.get(resource_type, {}).get(path)
    if known is None:
        yield f"{where}: the provider has no such type or block"
        return
    blocks = list(_nested(body))
    takes = known.get("optional", {}) | known.get("required", {})
    names = {name for name, _ in blocks}
    arguments = set(body) - names - {"dynamic", _MARK} - (META if path == "." else set())
    for name in sorted((arguments | names) - set(takes)):
        yield f"{where}: no argument or block {name}"
    for name in sorted(set(takes) & (arguments | names)):
        if takes[name].startswith("Block") != (name in names):
            yield f"{where}: {name} is {takes[name]}"
        if "Deprecated" in takes[name]:
            yield f"{where}: {name} is deprecated"
    if required:
        yield from (
            f"{where}: {name} is missing" for name in sorted(set(known.get("required", {})) - set(body) - names)
        )
    for name, inner in blocks:
        if name in takes:
            yield from faults(resource_type, inner, path=name if path == "." else f"{path}.{name}")
