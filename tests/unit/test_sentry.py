"""What leaves for Sentry, and how often: the editor and its limit, without Sentry."""

from __future__ import annotations

import logging
from typing import Any

import pytest
from kombu.message import Message

from wms_tasks.errors import SettingsError
from wms_tasks.mask import mask_for
from wms_tasks.sentry import EVERY_SECONDS, Editor
from wms_tasks.settings import Settings, load_settings

BROKER = "redis://:canary-broker@redis/0"


def record(message: Any, *arguments: Any, name: str = "wms_tasks.x") -> logging.LogRecord:
    """As LoggingIntegration hands it on."""
    return logging.LogRecord(name, logging.ERROR, "x.py", 1, message, arguments, None)


def ours(**fields: Any) -> logging.LogRecord:
    """As structlog hands it on."""
    return record({"event": "probe.tested", "level": "error", "timestamp": "now", **fields})


@pytest.fixture
def editor() -> Editor:
    """One for settings with a password."""
    return Editor(mask_for(Settings(broker_url=BROKER), {}))


def test_an_error_of_ours_is_its_event_and_fields(editor: Editor) -> None:
    """Not the text of a dictionary; secrets masked; grouped by event and exception."""
    raised = {"values": [{"type": "OSError", "value": f"no answer from {BROKER}"}]}
    event = editor.event(
        {"exception": raised, "logentry": {"message": "{'event': …"}},
        {"log_record": ours(why="of canary-broker", exc_info=True)},
    )
    assert event is not None
    assert event["logentry"] == {"message": "probe.tested"}
    assert event["extra"] == {"why": "of [secret]"}
    assert event["fingerprint"] == ["probe.tested", "OSError"]
    assert event["exception"]["values"][0]["value"] == "no answer from redis://:[secret]@redis/0"


def test_an_error_of_others_is_grouped_by_its_words(editor: Editor) -> None:
    """What varies in them makes no new group, and no argument goes along beside the text."""
    first = editor.event({"logentry": {"params": ["x"]}}, {"log_record": record("Lost %s", "one", name="celery.x")})
    assert first is not None
    assert first["fingerprint"] == ["celery.x: Lost %s", "no exception"]
    assert first["logentry"] == {"message": "Lost %s", "formatted": "Lost one"}
    assert editor.event({}, {"log_record": record("Lost %s", "two", name="celery.x")}) is None


def test_a_storm_is_one_event_a_minute_with_its_size(editor: Editor, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of each kind for itself."""
    monkeypatch.setattr("wms_tasks.clock.monotonic", lambda: 1000.0)
    assert editor.event({}, {"log_record": ours()}) is not None
    assert [editor.event({}, {"log_record": ours()}) for _ in range(5)] == [None] * 5
    assert editor.event({"exception": {"values": [{"type": "E"}]}}, {"log_record": ours()}) is not None
    monkeypatch.setattr("wms_tasks.clock.monotonic", lambda: 1000.0 + EVERY_SECONDS)
    event = editor.event({}, {"log_record": ours()})
    assert event is not None
    assert event["extra"]["held_before"] == 5


def test_that_redis_went_is_no_fault(editor: Editor, caplog: pytest.LogCaptureFixture) -> None:
    """In the words that kombu has for it, of an acknowledgement and of a message that goes back."""

    class Gone:
        no_ack_consumers = None

        def basic_ack(self, *_: Any, **__: Any) -> None:
            raise ConnectionError

        basic_reject = basic_ack

    message: Any = Message(channel=Gone(), delivery_tag="1")
    for name in ("celery.worker.request", "celery.worker.consumer.consumer"):
        message.reject_log_error(logging.getLogger(name), (ConnectionError,))
    message.ack_log_error(logging.getLogger("celery.worker.request"), (ConnectionError,))
    assert len(caplog.records) == 3
    assert [editor.event({}, {"log_record": one}) for one in caplog.records] == [None] * 3
    # Of others, the same words are an event.
    assert editor.event({}, {"log_record": record(caplog.records[0].msg, "1", "gone", name="celery.x")}) is not None


def test_a_failed_task_goes_without_its_arguments(editor: Editor) -> None:
    """They are a site's spec."""
    job = {"task_name": "wms.probe", "args": [], "kwargs": {"order": {"site": "canary"}}}
    event = editor.event({"extra": {"celery-job": job}, "exception": {"values": [{"type": "KeyError"}]}}, {})
    assert event is not None
    assert event["fingerprint"] == ["wms.probe", "KeyError"]
    assert "canary" not in str(event)


def test_breadcrumbs_are_log_lines_alone(editor: Editor) -> None:
    """No requests, no commands to Redis."""
    assert editor.breadcrumb({"category": "httplib"}, {}) is None
    others = editor.breadcrumb(
        {"message": "Received x", "data": {"data": {"kwargs": "canary"}}}, {"log_record": record("")}
    )
    assert others == {"message": "Received x"}
    crumb = editor.breadcrumb({"message": "{…"}, {"log_record": ours(why="canary-broker")})
    assert crumb == {"message": "probe.tested", "data": {"why": "[secret]"}}


def test_the_dsn_is_ours_or_sentrys_own(clean_environ: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """WMS_SENTRY_DSN goes before SENTRY_DSN, and a wrong one is named without its value."""
    monkeypatch.setenv("SENTRY_DSN", "https://theirs@o1.ingest.sentry.io/2")
    assert load_settings().sentry_dsn == "https://theirs@o1.ingest.sentry.io/2"
    monkeypatch.setenv("WMS_SENTRY_DSN", "https://ours@sentry.example/path/3")
    assert load_settings().sentry_dsn == "https://ours@sentry.example/path/3"
    assert "ours" not in repr(load_settings())
    for name in ("WMS_SENTRY_DSN", "SENTRY_DSN"):
        monkeypatch.setenv(name, "sentry.example/canary")
        with pytest.raises(SettingsError, match=f"^{name}: ") as error:
            load_settings()
        assert "canary" not in str(error.value)
        monkeypatch.delenv(name)
