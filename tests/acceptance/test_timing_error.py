"""The benchmark of response times measures what it says; how exact they are is for an idle machine to show."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench.delay_server import delay_server
from bench.timing_error import SHORTEST_MS, Load, errors_of, noted, of_the_worker
from wms_tasks.settings import Settings

LOAD = Load(per_second=20, seconds=1, warm_up_seconds=0.5)


@pytest.mark.slow
@pytest.mark.timeout(120)
def test_every_probe_has_an_error_and_the_server_its_own_clock(settings: Settings, tmp_path: Path) -> None:
    """One of each probe that counts; far smaller than the times themselves, even here."""
    with delay_server() as port:
        reported = of_the_worker(settings, LOAD, port, tmp_path)
        server = noted(port)
    assert min(server.values()) >= SHORTEST_MS
    assert reported.keys() == {f"wms-{number}" for number in range(30)} == server.keys()
    errors = errors_of("wms", LOAD, reported, server)
    assert len(errors) == 20
    assert errors[len(errors) // 2] < SHORTEST_MS
