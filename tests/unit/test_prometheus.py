"""Rules and alerts: what they use exists, promtool agrees with them and their tests, and each alert has its runbook."""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.promql import PROMETHEUS, ROOT, known_names, names_in, promtool, rules
from wms_tasks import metrics
from wms_tasks.persist.stats import State
from wms_tasks.result import RejectReason

RULE_TESTS = sorted((PROMETHEUS / "tests").glob("*.yml"))
ALERTS = [rule for rule in rules() if "alert" in rule]
RUNBOOK = (ROOT / "docs" / "runbook.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("rule", rules(), ids=lambda rule: rule.get("alert") or rule["record"])
def test_every_metric_in_a_rule_exists(rule: dict[str, Any]) -> None:
    """A misspelt one would be no series, and the alert would never fire."""
    used = names_in(rule["expr"])
    assert used
    assert used - known_names() == set()


def test_names_are_found_in_an_expression() -> None:
    """The check above would pass on nothing."""
    expression = 'sum by (le) (rate(wms_a_bucket{le="x", wms_b="1"}[5m])) / max(wms:c:rate5m) or vector(0) > 2 * 86400'
    assert names_in(expression) == {"wms_a_bucket", "wms:c:rate5m"}


def test_promtool_takes_configuration_and_rules() -> None:
    """The configuration names the rules, so both are checked."""
    checked = promtool("check", "config", "prometheus.yml")
    assert checked.returncode == 0, checked.stdout + checked.stderr
    assert checked.stdout.count("rules found") >= 2


def test_promtool_takes_the_tutorials_configuration(tmp_path: Path) -> None:
    """With our rules and the one that its reader writes, which uses a series that exists."""
    text = (ROOT / "docs" / "tutorial.md").read_text(encoding="utf-8")
    _, configuration, rule = re.findall(r"^```yaml\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    shutil.copytree(PROMETHEUS, tmp_path / "ops" / "prometheus")
    (tmp_path / ".wms").mkdir()
    (tmp_path / ".wms" / "prometheus.yml").write_text(configuration, encoding="utf-8")
    (tmp_path / ".wms" / "my-rules.yml").write_text(rule, encoding="utf-8")

    checked = promtool("check", "config", ".wms/prometheus.yml", folder=tmp_path)
    assert checked.returncode == 0, checked.stdout + checked.stderr
    assert checked.stdout.count("rules found") >= 3
    assert names_in(yaml.safe_load(rule)["groups"][0]["rules"][0]["expr"]) <= known_names()


@pytest.mark.parametrize("path", RULE_TESTS, ids=lambda path: path.stem)
def test_promtool_agrees_with_the_rules_own_tests(path: Path) -> None:
    """Each alert fires when it should."""
    checked = promtool("test", "rules", path)
    assert checked.returncode == 0, checked.stdout + checked.stderr


def fires_in(path: Path) -> set[str]:
    """The alerts that a file of tests expects to fire at some time."""
    found = set()
    for test in yaml.safe_load(path.read_text(encoding="utf-8"))["tests"]:
        found |= {one["alertname"] for one in test.get("alert_rule_test", []) if one["exp_alerts"]}
        samples = [sample for one in test.get("promql_expr_test", []) for sample in one["exp_samples"]]
        firing = [one["labels"] for one in samples if 'alertstate="firing"' in one["labels"]]
        found |= {name for labels in firing for name in re.findall(r'alertname="(\w+)"', labels)}
    return found


def test_every_alert_is_expected_to_fire_in_a_test() -> None:
    """And none that is gone."""
    assert set().union(*map(fires_in, RULE_TESTS)) == {one["alert"] for one in ALERTS}


def test_alerts_that_never_fire_are_found_out(tmp_path: Path) -> None:
    """promtool says no to rules whose thresholds are out of reach, so its yes means something."""
    shutil.copytree(PROMETHEUS, tmp_path / "prometheus")
    path = tmp_path / "prometheus" / "rules" / "alerts.yml"
    path.write_text(path.read_text(encoding="utf-8").replace(">= 2\n", ">= 20\n"), encoding="utf-8")
    assert promtool("test", "rules", "tests/sites.yml", folder=tmp_path / "prometheus").returncode != 0


@pytest.mark.parametrize("alert", ALERTS, ids=lambda rule: rule["alert"])
def test_every_alert_has_a_runbook_entry_that_it_links(alert: dict[str, Any]) -> None:
    """And says how urgent it is, there and here."""
    name, severity = alert["alert"], alert["labels"]["severity"]
    assert severity in {"page", "ticket"}
    assert set(alert["annotations"]) == {"summary", "description", "runbook_url"}
    assert alert["annotations"]["runbook_url"] == f"docs/runbook.md#{name.lower()}"
    entry = re.search(rf"^## {name}\n\n\*\*(\w+)\.\*\* (.+?)(?=^## |\Z)", RUNBOOK, re.MULTILINE | re.DOTALL)
    assert entry, f"no entry for {name}"
    assert entry[1] == severity


@pytest.mark.parametrize(
    ("alert", "words"),
    [
        ("WmsPublishFails", set(metrics.PUBLISH_ERRORS.labels["reason"]) - {"stopping"}),
        ("WmsPersistStopped", {one.removeprefix("waiting_for_") for one in State} - {State.STOPPED, State.RUNNING}),
        ("WmsRejects", set(RejectReason)),
    ],
)
def test_the_runbook_knows_every_word_that_an_alert_leads_to(alert: str, words: set[str]) -> None:
    """The label of the alert, or what /readyz says: a new one without advice is found at night otherwise."""
    entry = RUNBOOK.partition(f"## {alert}\n")[2].partition("\n## ")[0]
    assert {word for word in words if f"`{word}`" not in entry} == set()


def test_the_runbook_has_no_entry_of_an_alert_that_is_gone() -> None:
    """Entries are alerts."""
    assert re.findall(r"^## (\w+)$", RUNBOOK, re.MULTILINE) == [one["alert"] for one in ALERTS]


def test_the_sites_series_keep_their_labels() -> None:
    """Without honor_labels, instance would be where we asked, and blackbox's dashboards would show that."""
    document = yaml.safe_load((PROMETHEUS / "prometheus.yml").read_text(encoding="utf-8"))
    jobs = {job["job_name"]: job for job in document["scrape_configs"]}
    assert jobs["blackbox"]["honor_labels"] is True
    assert jobs["blackbox"]["metrics_path"] == "/metrics/sites"
    services = yaml.safe_load((ROOT / "docker-compose.yml").read_text(encoding="utf-8"))["services"]
    for job, roles in {"wms": {"beat", "worker", "persist"}, "blackbox": {"persist"}}.items():
        (found,) = jobs[job]["dns_sd_configs"]
        assert set(found["names"]) == roles
        for role in roles:
            environment = services[role]["environment"]
            assert environment["WMS_METRICS_PORT"] == str(found["port"])
            assert environment["WMS_METRICS_HOST"] == "0.0.0.0"
