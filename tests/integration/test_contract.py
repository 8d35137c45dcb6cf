"""docs/contract.md's examples, run as they stand: only the addresses, the topic and the group are another's."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from confluent_kafka import Producer

from tests.persisting import slots
from tests.registry import registry
from tests.results import FULL
from wms_tasks.codec.avro_schema import current
from wms_tasks.codec.wire import WireWriter
from wms_tasks.result import Result
from wms_tasks.settings import Settings
from wms_tasks.topic import ensure_topic

CONTRACT = (Path(__file__).resolve().parents[2] / "docs" / "contract.md").read_text(encoding="utf-8")
PYTHON = re.findall(r"```python\n(.*?)```", CONTRACT, re.DOTALL)
(KCAT,) = re.findall(r"```sh\n(kcat .*?)```", CONTRACT, re.DOTALL)
RESULTS = slots(3, **FULL)
WAIT_SECONDS = 30


def as_here(example: str, settings: Settings, registry_url: str = "") -> str:
    """With this test's addresses, topic and group."""
    for documented, here in (
        ("localhost:9092", settings.kafka_bootstrap_servers),
        ("dev.scraped-metrics.v1", settings.topic),
        ('"alerts"', f'"{settings.topic_suffix}"'),
        ("http://localhost:38081", registry_url),
    ):
        example = example.replace(documented, here)
    return example


def publish(settings: Settings) -> None:
    """The results, as a worker with these settings does."""
    ensure_topic(settings)
    writer = WireWriter(settings)
    producer = Producer({"bootstrap.servers": settings.kafka_bootstrap_servers})
    for result in RESULTS:
        value, headers = writer.encode(result)
        producer.produce(settings.topic, value, key=str(result.site_id), headers=[*headers])
    assert producer.flush(20) == 0


@contextmanager
def reader(program: str, folder: Path) -> Iterator[subprocess.Popen[str]]:
    """The program, running in a folder of its own until the end of the block."""
    (folder / "reader.py").write_text(program, encoding="utf-8")
    environ = os.environ | {"PYTHONWARNINGS": "ignore"}
    started = subprocess.Popen(
        [sys.executable, "reader.py"],
        cwd=folder,
        env=environ,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        yield started
    finally:
        started.kill()
        started.communicate(timeout=10)


def lines_of(program: str, folder: Path) -> list[str]:
    """The first lines that it prints, as many as there are results, in any order."""
    with reader(program, folder) as started:
        assert started.stdout is not None
        assert started.stderr is not None
        found = [started.stdout.readline() for _ in RESULTS]
        if "" in found:
            pytest.fail(started.stderr.read())
    return sorted(found)


def expected(instant: str) -> list[str]:
    """What each prints of a result, its instants in this form."""

    def line(one: Result) -> str:
        at = f"{one.scheduled_at:%Y-%m-%dT%H:%M:%SZ}" if instant == "json" else str(one.scheduled_at)
        return f"{at} {one.site_name} {one.outcome} {one.reason}\n"

    return sorted(map(line, RESULTS))


def test_each_example_has_ten_lines_or_few_more() -> None:
    """So that it stays one to copy."""
    assert len(PYTHON) == 3
    assert [len([line for line in one.splitlines() if line.strip()]) for one in PYTHON] == [9, 11, 11]


@pytest.mark.timeout(90)
def test_the_reader_of_json_reads(settings: Settings, tmp_path: Path) -> None:
    """In Python, with json."""
    publish(settings)
    assert lines_of(as_here(PYTHON[0], settings), tmp_path) == expected("json")


@pytest.mark.timeout(90)
def test_the_reader_of_avro_without_a_registry_reads(settings: Settings, tmp_path: Path) -> None:
    """In Python, with fastavro and the schema that `wms schema show` prints."""
    publish(settings.model_copy(update={"wire_format": "avro"}))
    (tmp_path / "metrics.avsc").write_text(current().text, encoding="utf-8")
    assert lines_of(as_here(PYTHON[1], settings), tmp_path) == expected("avro")


@pytest.mark.timeout(90)
def test_the_reader_of_avro_with_a_registry_reads(settings: Settings, tmp_path: Path) -> None:
    """In Python, with Confluent's own deserializer: our framing is theirs."""
    with registry() as double:
        publish(settings.model_copy(update={"wire_format": "avro", "schema_registry_url": double.url}))
        assert lines_of(as_here(PYTHON[2], settings, double.url), tmp_path) == expected("avro")


def need_kcat() -> None:
    """Skip where kcat is not installed, fail there where CI=true."""
    if shutil.which("kcat") is None:
        reason = "kcat is not installed here (Debian's package kcat): its example in docs/contract.md is not run"
        pytest.fail(reason, pytrace=False) if os.environ.get("CI") == "true" else pytest.skip(reason)


def test_the_kcat_command_reads(settings: Settings) -> None:
    """In a shell: each message's key, headers and JSON."""
    need_kcat()
    publish(settings)
    command = as_here(KCAT, settings)
    ran = subprocess.run(["sh", "-c", command], capture_output=True, text=True, timeout=WAIT_SECONDS, check=False)
    assert ran.returncode == 0, ran.stderr
    found = {}
    for line in ran.stdout.splitlines():
        key, headers, value = line.split(" ", 2)
        assert dict(one.split("=", 1) for one in headers.split(","))["content-type"] == "application/json"
        found[key, json.loads(value)["scheduled_at"]] = json.loads(value)["site_name"]
    assert found == {(str(one.site_id), f"{one.scheduled_at:%Y-%m-%dT%H:%M:%SZ}"): one.site_name for one in RESULTS}
