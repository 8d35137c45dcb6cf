"""PromQL: names of metrics in it, those that there are, and promtool, which evaluates it."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from wms_tasks import metrics
from wms_tasks.site_metrics import SERIES

ROOT = Path(__file__).resolve().parents[1]
PROMETHEUS = ROOT / "ops" / "prometheus"
RULES = PROMETHEUS / "rules"

# Of Prometheus itself, and of its client library in each of our processes.
OTHERS = frozenset({"up", "process_resident_memory_bytes", "process_cpu_seconds_total", "process_start_time_seconds"})


def promtool(*arguments: object, folder: Path = PROMETHEUS) -> subprocess.CompletedProcess[str]:
    """Run it, where it is installed; skip here, fail where CI=true."""
    program = shutil.which("promtool")
    if program is None:
        reason = "promtool is not installed here (Debian's package prometheus): no expression is evaluated"
        pytest.fail(reason, pytrace=False) if os.environ.get("CI") == "true" else pytest.skip(reason)
    command = [str(program), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False, cwd=folder)


def rules() -> list[dict[str, Any]]:
    """All recording and alert rules."""
    files = [yaml.safe_load(path.read_text(encoding="utf-8")) for path in sorted(RULES.glob("*.yml"))]
    return [rule for file in files for group in file["groups"] for rule in group["rules"]]


def names_in(expression: str) -> set[str]:
    """Whatever is neither a function, a keyword, a label nor a number."""
    bare = re.sub(r"\{[^}]*\}|\[[^\]]*\]|\"[^\"]*\"", " ", expression)
    bare = re.sub(r"\b(by|without|on|ignoring|group_left|group_right)\s*\([^)]*\)", " ", bare)
    words = set(re.findall(r"\b[a-z_][a-z0-9_:]*\b(?!\s*\()", bare))
    return words - {"or", "and", "unless", "by", "bool", "offset", "sum", "max", "min", "avg", "count", "topk"}


def known_names() -> set[str]:
    """Every series that our pages may have, and what the rules record."""
    found = set(OTHERS) | {one.name for one in SERIES} | {rule["record"] for rule in rules() if "record" in rule}
    for one in metrics.BOARD.instruments.values():
        suffixes = ("_bucket", "_sum", "_count") if one.kind == "histogram" else ("",)
        found |= {one.name + suffix for suffix in suffixes}
    return found
