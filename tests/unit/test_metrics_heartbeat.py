"""WMS_HEARTBEAT_URL: called after a write and not more often than once a minute, never waited for, never in a log."""

from __future__ import annotations

import logging
import time

import pytest
import structlog
from structlog.testing import capture_logs

from tests.servers import Behaviour, LocalServer, answer, failing, hang, in_turn, redirect
from tests.waiting import wait_until
from wms_tasks import metrics
from wms_tasks.errors import SettingsError
from wms_tasks.heartbeat import Heartbeat
from wms_tasks.settings import Settings, load_settings

SECRET = "/ping/6f1d-canary"


def calls(outcome: str) -> float:
    """How many calls this process has counted."""
    samples = [s for family in metrics.HEARTBEATS.collect() for s in family.samples]
    return sum(s.value for s in samples if s.labels.get("outcome") == outcome)


def test_many_writes_in_a_minute_are_one_call() -> None:
    """The first write calls, those that follow do not."""
    with LocalServer({SECRET: answer()}) as server:
        heartbeat, before = Heartbeat(server.url(SECRET)), calls("ok")
        for _ in range(100):
            heartbeat.wrote()
        wait_until(lambda: calls("ok") == before + 1, 5, "the call")
        heartbeat.wrote()
        assert server.count(SECRET) == 1
        assert server.seen[0].method == "GET"


def test_without_a_url_nothing_is_called() -> None:
    """The default: no thread, no call."""
    before = calls("ok") + calls("failed")
    Heartbeat(Settings().heartbeat_url).wrote()
    assert calls("ok") + calls("failed") == before


def test_failures_are_said_once_and_once_that_they_are_over() -> None:
    """Host and reason, never the url."""
    structlog.reset_defaults()
    behaviours: list[Behaviour] = [answer(), failing(500), failing(500), failing(500), answer(), answer()]
    with LocalServer({SECRET: in_turn(behaviours)}) as server, capture_logs() as said:
        heartbeat = Heartbeat(server.url(SECRET), every_seconds=0.0)
        for number in range(1, len(behaviours) + 1):
            before = calls("ok") + calls("failed")
            heartbeat.wrote()
            wait_until(lambda before=before: calls("ok") + calls("failed") == before + 1, 5, f"call {number}")
        wait_until(lambda: len(said) == 2, 5, "two lines")
    assert [line["event"] for line in said] == ["heartbeat.failed", "heartbeat.back"]
    assert said[0]["why"] == "status 500"
    assert said[0]["host"] == "127.0.0.1"
    assert "canary" not in repr(said)


def test_an_unreachable_switch_is_a_line_without_the_url(caplog: pytest.LogCaptureFixture) -> None:
    """Nor does any library log it, with DEBUG."""
    structlog.reset_defaults()
    caplog.set_level(logging.DEBUG)
    with LocalServer({}) as server:
        url = server.url(SECRET)
    with capture_logs() as said:
        Heartbeat(url).wrote()
        wait_until(lambda: said, 5, "the line")
    assert said[0]["why"] == "ConnectionRefusedError"
    assert "canary" not in repr(said) + caplog.text


def test_redirects_are_not_followed() -> None:
    """Where one leads was not configured; it counts as failed."""
    with LocalServer({SECRET: redirect("/elsewhere"), "/elsewhere": answer()}) as server:
        before = calls("failed")
        Heartbeat(server.url(SECRET)).wrote()
        wait_until(lambda: calls("failed") == before + 1, 5, "the call")
        assert server.count("/elsewhere") == 0


def test_a_switch_that_hangs_delays_nothing() -> None:
    """`wrote` returns at once, while the call is under way and when it would be made again."""
    with LocalServer({SECRET: hang}) as server:
        heartbeat = Heartbeat(server.url(SECRET), every_seconds=0.0)
        heartbeat.wrote()
        wait_until(lambda: server.count(SECRET) == 1, 5, "the call")
        began = time.thread_time(), time.monotonic()
        for _ in range(100):
            heartbeat.wrote()
        assert time.monotonic() - began[1] < 1.0
        assert time.thread_time() - began[0] < 0.1


@pytest.mark.parametrize("url", ["ftp://example.com/canary", "example.com/canary", "https://"])
def test_what_is_no_url_is_refused_without_repeating_it(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """One line that names the variable."""
    monkeypatch.setenv("WMS_HEARTBEAT_URL", url)
    with pytest.raises(SettingsError) as refused:
        load_settings()
    assert "WMS_HEARTBEAT_URL" in str(refused.value)
    assert "canary" not in str(refused.value)


def test_the_url_is_in_no_repr(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nor in the settings'."""
    monkeypatch.setenv("WMS_HEARTBEAT_URL", "https://example.com/canary")
    assert "canary" not in repr(load_settings())
