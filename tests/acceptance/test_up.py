"""`wms up` as a user runs it: real services in its own folder, rows soon, clean stops, back after a kill -9."""

from __future__ import annotations

import json
import os
import re
import shlex
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import psutil
import pytest

from tests.ports import free_ports
from tests.samples import scrape
from tests.waiting import wait_until

WMS = [sys.executable, "-m", "wms_tasks.cli"]
SITES = """
hosts:
  127.0.0.1: {{spacing: 50ms}}
sites:
  - {{name: healthy, url: "http://127.0.0.1:{demo}/healthy", interval: 1s, timeout: 500ms, jitter: 100ms,
     allow_networks: 127.0.0.1}}
"""


def environment(folder: Path) -> dict[str, str]:
    """A clean environment with ports of its own; writes the sites file that fits them."""
    postgres, valkey, kafka, controller, demo, flower, health = map(str, free_ports(7))
    folder.joinpath("sites.yaml").write_text(SITES.format(demo=demo), encoding="utf-8")
    return {k: v for k, v in os.environ.items() if not k.startswith("WMS_") or k == "WMS_KAFKA_JARS"} | {
        "WMS_UP_POSTGRES_PORT": postgres,
        "WMS_UP_VALKEY_PORT": valkey,
        "WMS_UP_KAFKA_PORT": kafka,
        "WMS_UP_KAFKA_CONTROLLER_PORT": controller,
        "WMS_UP_DEMO_PORT": demo,
        "WMS_UP_FLOWER_PORT": flower,
        "WMS_UP_METRICS_PORT": health,
    }


class Running:
    """A `wms up` process and what it has said so far."""

    def __init__(self, folder: Path, environ: dict[str, str]) -> None:
        self.folder = folder
        self.started = time.monotonic()
        self.process = subprocess.Popen(
            [*WMS, "up", "--sites", "sites.yaml"],
            cwd=folder,
            env=environ,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        self.lines: list[str] = []
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        with self.process.stdout as stdout:
            for line in stdout:
                self.lines.append(line.rstrip())

    def says(self, pattern: str) -> bool:
        """Whether a line matches; False as long as none does, an error once the process is gone."""
        if any(re.search(pattern, line) for line in list(self.lines)):
            return True
        assert self.process.poll() is None, "wms up ended:\n" + "\n".join(self.lines)
        return False

    def seconds_to(self, pattern: str, *, timeout_seconds: float) -> float:
        """Seconds from the start until a line matches."""
        wait_until(lambda: self.says(pattern), timeout_seconds=timeout_seconds, what=pattern)
        return time.monotonic() - self.started

    def descendants(self) -> list[psutil.Process]:
        """The processes it started."""
        return psutil.Process(self.process.pid).children(recursive=True)

    def stop(self, signum: signal.Signals) -> float:
        """Send the signal; seconds until the process and all it started are gone. It must exit with 0."""
        children = self.descendants()
        began = time.monotonic()
        self.process.send_signal(signum)
        code = self.process.wait(timeout=20)
        self._reader.join(timeout=5)
        seconds = time.monotonic() - began
        assert code == 0, "\n".join(self.lines)
        assert [child for child in children if child.is_running()] == []
        return seconds

    def kill(self) -> None:
        """SIGKILL, which nothing can answer."""
        self.process.kill()
        self.process.wait(timeout=20)

    def rows(self) -> list[dict[str, object]]:
        """All results so far, as `wms results --json` prints them with the environment that `wms up` wrote."""
        command = f". .wms/env && exec {shlex.join(WMS)} results healthy --last 1h --json"
        done = subprocess.run(
            ["sh", "-c", command], cwd=self.folder, capture_output=True, text=True, check=True, timeout=30
        )
        return [json.loads(line) for line in done.stdout.splitlines()]


@pytest.mark.slow
@pytest.mark.timeout(180)
def test_up_shows_rows_stops_on_every_signal_and_comes_back(tmp_path: Path, kafka_jars: Path) -> None:
    """Four starts in one folder: INT, TERM, HUP, kill -9; the data is found again each time, nothing is left behind."""
    environ = environment(tmp_path)
    first = Running(tmp_path, environ)
    first.seconds_to(r"healthy is up 200", timeout_seconds=60)
    assert scrape(int(environ["WMS_UP_METRICS_PORT"])).sum("wms_probe_results_total", outcome="up") >= 1
    flower = int(environ["WMS_UP_FLOWER_PORT"])
    wait_until(lambda: scrape(flower).sum("flower_events_total", task="wms.probe", type="task-succeeded") >= 1, 20)
    assert first.stop(signal.SIGINT) <= 12

    again = Running(tmp_path, environ)
    assert again.seconds_to(r"healthy is up 200", timeout_seconds=30) <= 15  # 8 s alone; the suite shares two cores
    slots = [row["scheduled_at"] for row in again.rows()]
    assert len(slots) == len(set(slots))
    assert again.stop(signal.SIGTERM) <= 12

    hung_up = Running(tmp_path, environ)
    hung_up.seconds_to(r"healthy is up 200", timeout_seconds=30)
    assert set(slots) <= {row["scheduled_at"] for row in hung_up.rows()}
    assert hung_up.stop(signal.SIGHUP) <= 12

    killed = Running(tmp_path, environ)
    killed.seconds_to(r"healthy is up 200", timeout_seconds=30)
    children = killed.descendants()
    killed.kill()
    successor = Running(tmp_path, environ)
    successor.seconds_to(r"healthy is up 200", timeout_seconds=60)
    assert [child for child in children if child.is_running() and child.status() != psutil.STATUS_ZOMBIE] == []
    assert set(slots) <= {row["scheduled_at"] for row in successor.rows()}
    assert successor.stop(signal.SIGTERM) <= 12


@pytest.mark.slow
@pytest.mark.parametrize("last_line", [None, r"healthy is up 200"], ids=["at once", "running"])
def test_up_ends_when_nobody_reads_it(tmp_path: Path, kafka_jars: Path, last_line: str | None) -> None:
    """`wms up | head`, whose reader leaves: as with INT everything stops, and the exit is 0, without a traceback."""
    said = tmp_path / "stderr"
    with said.open("wb") as stderr:
        process = subprocess.Popen(
            [*WMS, "up", "--sites", "sites.yaml"],
            cwd=tmp_path, env=environment(tmp_path), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=stderr,
            text=True, start_new_session=True,
        )  # fmt: skip
    try:
        assert process.stdout is not None
        with process.stdout as stdout:
            if last_line is not None:
                assert any(re.search(last_line, line) for line in stdout), said.read_text()
            children = psutil.Process(process.pid).children(recursive=True)
        assert process.wait(60) == 0, said.read_text()
    finally:
        process.kill()
        process.wait(20)
    assert [child for child in children if child.is_running()] == []
    assert "Traceback" not in said.read_text()


def test_a_port_in_use_is_one_clear_line(tmp_path: Path, kafka_jars: Path) -> None:
    """The port, and the setting that moves it; exit 1, nothing left running."""
    environ = environment(tmp_path)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        environ["WMS_UP_POSTGRES_PORT"] = port
        done = subprocess.run(
            [*WMS, "up", "--sites", "sites.yaml"],
            cwd=tmp_path, env=environ, capture_output=True, text=True, timeout=60, check=False,
        )  # fmt: skip
    assert done.returncode == 1
    [line] = [line for line in done.stderr.splitlines() if port in line]
    assert "WMS_UP_POSTGRES_PORT" in line


def test_a_broken_sites_file_starts_nothing(tmp_path: Path) -> None:
    """Exit 2 with file:line before any service is touched."""
    tmp_path.joinpath("sites.yaml").write_text("sites:\n  - {name: a, url: ftp://example.com}\n", encoding="utf-8")
    done = subprocess.run(
        [*WMS, "up", "--sites", "sites.yaml"],
        cwd=tmp_path, env=environ_without_wms(), capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == 2
    assert "sites.yaml:2" in done.stderr
    assert not tmp_path.joinpath(".wms").exists()


def environ_without_wms() -> dict[str, str]:
    """The environment without any setting of ours."""
    return {k: v for k, v in os.environ.items() if not k.startswith("WMS_")}
