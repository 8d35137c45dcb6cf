"""The logs of running roles as JSON: every line is one, whoever wrote it, and ours say whose slot it is."""

from __future__ import annotations

import json
import re
import sys
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from tests.acceptance.orders import Left, send
from tests.acceptance.processes import Role, roles
from tests.persisting import count
from tests.servers import LocalServer, answer, failing
from tests.waiting import wait_until
from wms_tasks import clock
from wms_tasks.settings import Settings

EVENT = re.compile(r"[a-z_]+\.[a-z_]+")
# Celery's banner goes to stdout; logs go to stderr.
STDERR_ONLY = ["sh", "-c", 'exec "$@" >/dev/null', "sh", sys.executable, "-m", "celery", "-A", "wms_tasks"]
SITES = """
hosts: {{127.0.0.1: {{spacing: 1ms}}}}
defaults: {{interval: 1s, timeout: 700ms, jitter: 0s, retries: 1, robots: ignore}}
sites:
  - {{name: up, url: "{base}/up"}}
  - {{name: down, url: "{base}/down"}}
"""


def lines_of(role: Role) -> list[dict[str, Any]]:
    """Each line of its stderr, which must be a JSON object with time, level and event."""
    lines = [json.loads(line) for line in role.said().splitlines()]
    for line in lines:
        assert datetime.fromisoformat(line["timestamp"]).tzinfo is not None
        assert line["level"] in {"debug", "info", "warning", "error", "critical"}
        assert EVENT.fullmatch(line["event"]) or line["event"] == line["logger"], line
    return lines


@pytest.mark.slow
def test_every_line_of_every_role_is_json(
    settings: Settings, wms_environ: dict[str, str], empty_database_url: str, tmp_path: Path
) -> None:
    """Through a migration, retries, a fault of ours and a stop, at DEBUG: ours, Celery's and yoyo's."""
    environ = {
        **wms_environ,
        "WMS_SITES": str(tmp_path / "sites.yaml"),
        "WMS_DATABASE_URL": empty_database_url,
        "WMS_LOG_FORMAT": "json",
        "WMS_LOG_LEVEL": "DEBUG",
    }
    settings = settings.model_copy(update={"database_url": empty_database_url})
    with LocalServer({"/up": answer(), "/down": failing(503)}) as server, roles(environ, tmp_path) as started:
        (tmp_path / "sites.yaml").write_text(SITES.format(base=server.url("")))
        persist = started.start("worker", "--persist", "-n", "persist@%h", program=STDERR_ONLY)
        persist.until_said("persist.assigned", 60)
        worker = started.start("worker", program=STDERR_ONLY)
        beat = started.start("beat", program=STDERR_ONLY)
        send(settings, {"version": 1, "nonsense": True}, task_id="broken")
        wait_until(lambda: Left(settings).state("broken") == "FAILURE", 60, "the fault")
        wait_until(lambda: count(settings) >= 4, 60, "rows")
        for role in (beat, worker, persist):
            assert role.stop()[0] == 0
        said = {name: lines_of(role) for name, role in (("beat", beat), ("worker", worker), ("persist", persist))}
    events = {name: {line["event"] for line in lines} for name, lines in said.items()}
    assert "beat.leading" in events["beat"]
    assert {"probe.ended", "celery.app.trace"} <= events["worker"]
    assert {"persist.batch_stored", "migrate.applied"} <= events["persist"]
    assert any(event.startswith("yoyo.") for event in events["persist"])
    (fault,) = [line for line in said["worker"] if line["event"] == "celery.app.trace" and line["level"] == "error"]
    assert "ValidationError" in fault["exception"]
    for line in said["worker"]:
        if line["event"] == "probe.ended":
            assert line["site"] in {"up", "down"}
            assert line["task_id"].endswith(f".{clock.to_microseconds(datetime.fromisoformat(line['slot']))}")
