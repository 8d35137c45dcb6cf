"""Grafana's dashboards: their queries, with what Grafana would put in the place of its variables."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
FOLDER = ROOT / "ops" / "grafana"
PROMETHEUS, POSTGRES = "wms-prometheus", "wms-postgres"
_TEXTS = {
    "$__rate_interval": "1m",
    "$site": ".*",
    "$location": ".*",
    "${site:sqlstring}": "'up','down','tls','forbidden'",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Query:
    """A panel's query. ``uid``: of its datasource."""

    dashboard: str
    panel: str
    uid: str
    text: str


def dashboards() -> dict[str, dict[str, Any]]:
    """Each by its file's name."""
    return {
        path.stem: json.loads(path.read_text(encoding="utf-8"))
        for path in sorted((FOLDER / "dashboards").glob("*.json"))
    }


def queries() -> list[Query]:
    """Of all panels, annotations and variables."""
    found = []
    for name, board in dashboards().items():
        for panel in board["panels"]:
            for target in panel.get("targets", ()):
                text = target.get("rawSql") or target["expr"]
                found.append(_query(name, panel["title"], target["datasource"]["uid"], text))
        marks = board["annotations"]["list"]
        found += [_query(name, one["name"], one["datasource"]["uid"], one["expr"]) for one in marks]
        for one in board["templating"]["list"]:
            series = one["query"]["query"].removeprefix("label_values(").rpartition(",")[0]
            found.append(_query(name, one["name"], one["datasource"]["uid"], series))
    return found


def _query(dashboard: str, panel: str, uid: str, text: str) -> Query:
    for variable, value in _TEXTS.items():
        text = text.replace(variable, value)
    return Query(dashboard=dashboard, panel=panel, uid=uid, text=text)
