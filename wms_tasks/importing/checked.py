"""
What was converted, looked at as ``wms sites validate`` would: whatever it refuses is left out, and said. Pure.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

import yaml

from wms_tasks.importing.notes import Notes
from wms_tasks.sites.durations import format_duration
from wms_tasks.sites.file import examine_text
from wms_tasks.sites.url import host_of

_A_SITE = {"name": "a", "url": "https://a.example/"}
MAX_ROUNDS = 100


def without_problems(group: Mapping[str, Any], notes: Notes) -> dict[str, Any]:
    """The group's keys that may stand in a file; the others are noted, with what is wrong."""
    keys: dict[str, Any] = copy.deepcopy(dict(group))
    for _ in range(MAX_ROUNDS):
        problems = _problems({"groups": {"group": keys}, "sites": [_A_SITE | {"group": "group", "interval": "1d"}]})
        removed = [problem for problem in problems if _remove(keys, problem)]
        for problem in removed:
            notes.lost(problem.partition(":")[0], problem.partition(":")[2].strip())
        if not removed:
            break
    return keys


def problem_of(site: Mapping[str, Any], group: Mapping[str, Any], interval_ms: int) -> str | None:
    """Why the site cannot stand in a file with its group; None: it can."""
    problems = _problems(
        {
            "defaults": {"interval": format_duration(interval_ms)},
            "groups": {site["group"]: group},
            # By itself, no site is too much for its host: the spacing that all of them need is found later.
            "hosts": {host_of(site["url"]): {"spacing": "1ms"}},
            "sites": [site],
        }
    )
    return problems[0] if problems else None


def _problems(file: Mapping[str, Any]) -> list[str]:
    text: str = yaml.safe_dump(file, sort_keys=False, allow_unicode=True)
    return [problem.text for problem in examine_text(text)[1]]


def _remove(keys: dict[str, Any], problem: str) -> bool:
    """Take the key that a problem begins with out of `keys`, as deep as it is there."""
    at: Any = keys
    parts = problem.partition(":")[0].split(".")
    for depth, part in enumerate(parts):
        if not isinstance(at, dict) or part not in at:
            return False
        if depth == len(parts) - 1 or not isinstance(at[part], dict):
            del at[part]
            return True
        at = at[part]
    return False
