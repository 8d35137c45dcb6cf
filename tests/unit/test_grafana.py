"""Dashboards and provisioning, as far as they can be judged without Grafana; tests/acceptance runs their queries."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.dashboards import FOLDER, POSTGRES, PROMETHEUS, ROOT, Query, dashboards, queries
from tests.promql import known_names, names_in, promtool

IN_PROMQL = [one for one in queries() if one.uid == PROMETHEUS]


def provisioned(name: str) -> dict[str, Any]:
    """A file of ops/grafana/provisioning."""
    found: dict[str, Any] = yaml.safe_load((FOLDER / "provisioning" / name / "wms.yml").read_text(encoding="utf-8"))
    return found


@pytest.mark.parametrize("query", IN_PROMQL, ids=lambda query: f"{query.dashboard}-{query.panel}")
def test_every_metric_in_a_dashboard_exists(query: Query) -> None:
    """A panel of a misspelt one would be empty for ever."""
    used = names_in(query.text) - {"ALERTS"}
    assert used - known_names() == set()
    assert used or "ALERTS" in query.text


@pytest.mark.parametrize("loops", [1, 2])
def test_what_persist_does_is_shown_for_any_number_of_loops(loops: int, tmp_path: Path) -> None:
    """There is one for each version of the topic; the states that none is in are left out."""
    (panel,) = (one.text for one in IN_PROMQL if one.panel == "What persist does")
    states = {"running": loops, "stopped": 0}
    test = {
        "interval": "15s",
        "input_series": [
            {"series": f'wms_persist_state{{instance="a", state="{state}"}}', "values": f"{count}x4"}
            for state, count in states.items()
        ],
        "promql_expr_test": [
            {
                "expr": panel,
                "eval_time": "1m",
                "exp_samples": [{"labels": '{instance="a", state="running"}', "value": loops}],
            }
        ],
    }
    (tmp_path / "panel.yml").write_text(yaml.safe_dump({"tests": [test]}), encoding="utf-8")
    checked = promtool("test", "rules", "panel.yml", folder=tmp_path)
    assert checked.returncode == 0, checked.stdout + checked.stderr


@pytest.mark.parametrize("query", queries(), ids=lambda query: f"{query.dashboard}-{query.panel}")
def test_every_variable_of_a_query_is_one_that_the_tests_replace(query: Query) -> None:
    """What is left are Grafana's own macros of SQL."""
    assert set(re.findall(r"\$\{?\w+", query.text)) <= ({"$__timeFilter"} if query.uid == POSTGRES else set())


@pytest.mark.parametrize("name", dashboards())
def test_a_dashboard_is_one_that_grafana_takes(name: str) -> None:
    """Ids once, panels with a title and a query each, none upon another, sources that are provisioned."""
    board = dashboards()[name]
    panels = board["panels"]
    assert board["uid"] == f"wms-{name}"
    assert len({panel["id"] for panel in panels}) == len(panels)
    sources = {one["uid"]: one["type"] for one in provisioned("datasources")["datasources"]}
    cells: set[tuple[int, int]] = set()
    for panel in panels:
        at = panel["gridPos"]
        own = {(x, y) for x in range(at["x"], at["x"] + at["w"]) for y in range(at["y"], at["y"] + at["h"])}
        assert at["x"] + at["w"] <= 24
        assert not own & cells, panel["title"]
        cells |= own
        assert panel["title"]
        assert bool(panel.get("targets")) is (panel["type"] != "row")
        for target in panel.get("targets", ()):
            assert target["datasource"] == {
                "uid": target["datasource"]["uid"],
                "type": sources[target["datasource"]["uid"]],
            }


def test_every_metric_of_ours_is_on_a_dashboard() -> None:
    """What nobody looks at need not be counted; but a closed few are for alerts and people only."""
    shown = set().union(*(names_in(one.text) for one in IN_PROMQL))
    recorded = (ROOT / "ops" / "prometheus" / "rules" / "recording.yml").read_text(encoding="utf-8")
    hidden = {
        name.removesuffix("_bucket").removesuffix("_sum").removesuffix("_count")
        for name in known_names()
        if name.startswith("wms_") and name not in shown and name not in recorded
    }
    shown_in_part = {name.removesuffix("_bucket").removesuffix("_sum").removesuffix("_count") for name in shown}
    assert hidden - shown_in_part == set()


def test_the_sources_are_those_of_compose() -> None:
    """Hosts and ports by the services' names; the password by a variable that Grafana's container has."""
    services = yaml.safe_load((ROOT / "docker-compose.yml").read_text(encoding="utf-8"))["services"]
    sources = {one["uid"]: one for one in provisioned("datasources")["datasources"]}
    assert sources[PROMETHEUS]["url"] == "http://prometheus:9090"
    assert sources[POSTGRES]["url"] == "postgres:5432"
    assert "prometheus" in services
    variable = sources[POSTGRES]["secureJsonData"]["password"].removeprefix("$")
    assert services["grafana"]["environment"][variable] == services["postgres"]["environment"][variable]
    init = (ROOT / "ops" / "compose" / "init.sql").read_text(encoding="utf-8")
    assert f"CREATE ROLE {sources[POSTGRES]['user']} LOGIN" in init
    (provider,) = provisioned("dashboards")["providers"]
    assert f"./ops/grafana/dashboards:{provider['options']['path']}:ro" in services["grafana"]["volumes"]
