"""What settings say that no single field says."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from wms_tasks.settings import PREFORK_PER_CORE, Settings, load_settings, load_usable_settings, old_names


def test_prefork_does_not_take_the_threads_default() -> None:
    """384 threads are cheap, 384 processes are not; a number that somebody chose stands."""
    assert Settings().probes_at_a_time == 384
    assert Settings(worker_pool="prefork").probes_at_a_time == PREFORK_PER_CORE * (os.cpu_count() or 1)
    assert Settings(worker_pool="prefork", worker_concurrency=30).probes_at_a_time == 30


def test_what_is_wrong_is_left_out_where_a_command_can_do_without(
    clean_environ: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each that is wrong has its line, without its value; the others are as they were set, by variable or file."""
    monkeypatch.setenv("WMS_ENV", "nonsense")
    monkeypatch.setenv("WMS_BROKER_URL_FILE", "/nowhere/secret")
    monkeypatch.setenv("WMS_METRICS_PORT", "x")
    monkeypatch.setenv("WMS_LOCATION", "paris")
    settings, wrong = load_usable_settings()
    assert (settings.env, settings.location, settings.metrics_port) == ("dev", "paris", None)
    assert set(wrong) == {"env", "broker_url", "metrics_port"}
    assert wrong["env"].startswith("WMS_ENV: ")
    assert wrong["broker_url"].startswith("WMS_BROKER_URL_FILE: cannot read /nowhere/secret")


def test_all_is_usable_where_nothing_is_wrong(clean_environ: None) -> None:
    """The same settings as everywhere else."""
    assert load_usable_settings() == (load_settings(), {})


def test_a_setting_is_found_under_the_name_it_had_before(
    clean_environ: None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """As a variable or a file; the new name wins; what is wrong is said of the variable that is set."""
    (tmp_path / "port").write_text("8081\n")
    monkeypatch.setenv("WMS_HEALTH_PORT_FILE", str(tmp_path / "port"))
    monkeypatch.setenv("WMS_HEALTH_HOST", "0.0.0.0")
    assert (load_settings().metrics_port, load_settings().metrics_host) == (8081, "0.0.0.0")
    assert old_names() == [("WMS_METRICS_PORT", "WMS_HEALTH_PORT"), ("WMS_METRICS_HOST", "WMS_HEALTH_HOST")]
    monkeypatch.setenv("WMS_HEALTH_PORT", "8082")
    assert load_settings().metrics_port == 8082
    monkeypatch.setenv("WMS_METRICS_PORT", "8083")
    assert load_settings().metrics_port == 8083
    monkeypatch.delenv("WMS_METRICS_PORT")
    monkeypatch.setenv("WMS_HEALTH_PORT", "x")
    assert load_usable_settings()[1]["metrics_port"].startswith("WMS_HEALTH_PORT: ")
