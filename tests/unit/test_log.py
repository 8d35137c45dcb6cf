"""Logging: what a level shows of others' loggers, the form of a line, and what is never in one."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
import structlog
from confluent_kafka import Producer

from tests.waiting import wait_until
from wms_tasks.log import configure_logging, is_json, last_words
from wms_tasks.settings import Settings
from wms_tasks.topic import LibrdkafkaLog

CELERYS = ("celery", "celery.pool", "celery.worker.strategy", "celery.concurrency.asynpool", "kombu.channel", "redis")


@pytest.fixture(autouse=True)
def as_before() -> Iterator[None]:
    """The loggers as they were."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    for handler in root.handlers:
        if handler not in handlers:
            handler.close()
    root.handlers[:] = handlers
    root.setLevel(level)
    structlog.reset_defaults()
    for name in list(logging.root.manager.loggerDict):
        if name.partition(".")[0] in {one.partition(".")[0] for one in CELERYS}:
            logging.getLogger(name).setLevel(logging.NOTSET)


@pytest.mark.parametrize("name", CELERYS)
def test_debug_is_ours_alone(name: str) -> None:
    """Celery's pool logs whole messages at DEBUG, and a message holds a site's headers."""
    configure_logging(Settings(log_level="DEBUG"))
    assert not logging.getLogger(name).isEnabledFor(logging.DEBUG)
    assert logging.getLogger(name).isEnabledFor(logging.INFO)
    assert logging.getLogger("wms_tasks").isEnabledFor(logging.DEBUG)


def test_a_higher_level_holds_for_all() -> None:
    """The cap never shows more than was asked for."""
    configure_logging(Settings(log_level="ERROR"))
    assert not logging.getLogger("celery.pool").isEnabledFor(logging.WARNING)


def lines_of(log: Path) -> list[dict[str, Any]]:
    """Each line, which must be JSON."""
    return [json.loads(line) for line in log.read_text(encoding="utf-8").splitlines()]


def test_ours_and_others_are_json_of_one_form(tmp_path: Path) -> None:
    """Time, level and a constant event first, then the fields; of others, the logger's name and its words apart."""
    configure_logging(Settings(log_format="json", log_file=tmp_path / "log"))
    with structlog.contextvars.bound_contextvars(site="Shop"):
        structlog.get_logger("wms_tasks.x").warning("probe.tested", seconds=1.5, hosts=("a", "b"))
        logging.getLogger("celery.worker.x").warning("Lost %s", "a thing")
    ours, others = lines_of(tmp_path / "log")
    assert list(ours)[:3] == list(others)[:3] == ["timestamp", "level", "event"]
    assert datetime.fromisoformat(ours.pop("timestamp")).tzinfo is not None
    logger = ours.pop("logger")
    assert ours == {"level": "warning", "event": "probe.tested", "seconds": 1.5, "hosts": ["a", "b"], "site": "Shop"}
    assert isinstance(logger, str)
    assert (others["event"], others["message"], others["site"]) == ("celery.worker.x", "Lost a thing", "Shop")


def test_an_exception_is_text_in_one_line(tmp_path: Path) -> None:
    """With its traceback, without what its frames held; and the standard library's record has it for others."""
    configure_logging(Settings(log_format="json", log_file=tmp_path / "log"))
    seen: list[Any] = []
    logging.getLogger().handlers[0].addFilter(lambda record: seen.append(record.exc_info) or True)

    def fails(held: str) -> None:
        raise ValueError("broken")

    try:
        fails("-".join(["held", "in", "a", "frame"]))
    except ValueError:
        structlog.get_logger("wms_tasks.x").exception("probe.tested")
    (line,) = lines_of(tmp_path / "log")
    assert "ValueError: broken" in line["exception"]
    assert "in fails" in line["exception"]
    assert "held-in-a-frame" not in line["exception"]
    assert seen[0][0] is ValueError


@pytest.mark.parametrize("form", ["json", "console"])
def test_secrets_of_ours_are_masked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, form: str) -> None:
    """In fields, others' words and exceptions, in either form."""
    monkeypatch.setenv("WMS_SECRET_SHOP", "canary-site")
    secret = {
        "broker_url": "rediss://:canary-broker@redis:6379/0",
        "database_url": "postgresql://wms:canary%2Fdatabase@db/wms",
        "heartbeat_url": "https://hc.example/ping/canary-heartbeat?x=1",
    }
    configure_logging(Settings.model_validate({"log_format": form, "log_file": tmp_path / "log", **secret}))
    log = structlog.get_logger("wms_tasks.x")
    log.warning("probe.tested", url=secret["broker_url"], nested={"a": ["canary-site"]}, error=OSError("canary-site"))
    log.warning("probe.tested", url=secret["database_url"], plain="canary/database")
    log.warning("probe.tested", url=secret["heartbeat_url"])
    logging.getLogger("celery.x").warning("to %s", "amqp://somebody:canary-of-others@host/")
    try:
        raise OSError(" ".join(["no answer from", "canary-broker"]))
    except OSError:
        log.exception("probe.tested")
    text = (tmp_path / "log").read_text(encoding="utf-8")
    assert text.count("[secret]") == 9  # the traceback shows a line of this file too
    assert "canary" not in text
    assert "hc.example" in text


def test_the_form_follows_stderr(monkeypatch: pytest.MonkeyPatch) -> None:
    """People at a terminal read lines, everything else reads JSON, unless it is said."""
    monkeypatch.setattr("sys.stderr.isatty", lambda: True, raising=False)
    assert not is_json(Settings())
    assert is_json(Settings(log_format="json"))
    monkeypatch.setattr("sys.stderr.isatty", lambda: False, raising=False)
    assert is_json(Settings())
    assert not is_json(Settings(log_format="console"))


@pytest.mark.parametrize(
    ("form", "wanted"),
    [
        ("json", b'"event": "stop.overdue", "waited_seconds": 10.0}\n'),
        ("console", b"event=stop.overdue waited_seconds=10.0\n"),
    ],
)
def test_last_words_have_the_form_of_the_others(tmp_path: Path, form: str, wanted: bytes) -> None:
    """The watchdog's line, which no logger makes."""
    configure_logging(Settings.model_validate({"log_format": form, "log_file": tmp_path / "log"}))
    assert last_words("stop.overdue", waited_seconds=10.0).endswith(wanted)


def test_librdkafka_logs_through_us(tmp_path: Path) -> None:
    """A client whose broker is not there: its words are fields of an event at DEBUG."""
    configure_logging(Settings(log_format="json", log_level="DEBUG", log_file=tmp_path / "log"))
    producer = Producer({"bootstrap.servers": "127.0.0.1:1", "logger": LibrdkafkaLog()})
    wait_until(lambda: producer.poll(0.05) or (tmp_path / "log").read_text(encoding="utf-8"), 10, "a line")
    line = lines_of(tmp_path / "log")[0]
    assert (line["event"], line["level"]) == ("kafka.client", "debug")
    assert "127.0.0.1:1" in line["line"]
