"""Our request of a task: what Celery's own says, with less work."""

from __future__ import annotations

import gc
import weakref
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any
from unittest.mock import Mock

import pytest
from celery.exceptions import InvalidTaskError
from celery.worker import state
from celery.worker.request import Request as CeleryRequest
from kombu.asynchronous.timer import Entry

from wms_tasks import clock
from wms_tasks.roles.request import Request
from wms_tasks.tasks import probe

NOW = datetime(2026, 11, 26, 12, 0, tzinfo=UTC)


def message_with(**headers: Any) -> Any:
    """As the transport hands it over."""
    payload = ((), {}, {})
    return SimpleNamespace(
        headers={"id": "an-id", "task": probe.name, **headers},
        body="[[], {}, {}]",
        payload=payload,
        content_type="application/json",
        content_encoding="utf-8",
        delivery_info={"exchange": "probe", "routing_key": "probe"},
        properties={},
    )


def made(kind: type[Any] = Request, **headers: Any) -> Any:
    return kind(message_with(**headers), app=probe.app, task=probe, on_ack=Mock())


def test_the_probe_has_it() -> None:
    assert probe.Request == f"{Request.__module__}:{Request.__qualname__}"


@pytest.mark.parametrize(
    "written",
    [
        "2026-11-26T12:00:00+00:00",
        "2026-11-26T12:00:00.123456+00:00",
        "2026-11-26T13:00:00+01:00",
        "2026-11-26T12:00:00",
        "2026-11-26T12:00:00Z",
        "20261126T120000Z",
        "2026-11-26",
    ],
)
def test_instants_are_read_as_celery_reads_them(written: str) -> None:
    """Also those that need its own parser."""
    ours, theirs = made(expires=written, eta=written), made(CeleryRequest, expires=written, eta=written)
    assert ours.expires == theirs.expires
    assert ours.eta == theirs.eta
    assert ours.expires.tzinfo is not None


def test_what_is_no_instant_is_refused_as_by_celery() -> None:
    with pytest.raises(InvalidTaskError, match="expires"):
        made(expires="soon")


def test_it_is_revoked_after_its_end_only(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clock, "utcnow", lambda: NOW)
    request = made(expires=(NOW + timedelta(seconds=1)).isoformat())
    assert not request.revoked()
    announced = Mock()
    monkeypatch.setattr(request, "_announce_revoked", announced)
    monkeypatch.setattr(clock, "utcnow", lambda: NOW + timedelta(seconds=2))
    # Celery's own look at the clock follows; it agrees, the end being long ago.
    monkeypatch.setattr(request, "_expires", NOW - timedelta(days=300))
    assert request.revoked()
    announced.assert_called_once_with("expired", False, None, True)


def test_it_is_revoked_where_somebody_said_so(monkeypatch: pytest.MonkeyPatch) -> None:
    request = made(id="another")
    assert not request.revoked()
    announced = Mock()
    monkeypatch.setattr(request, "_announce_revoked", announced)
    state.revoked.add("another")
    try:
        assert request.revoked()
    finally:
        state.revoked.pop_value("another")
    announced.assert_called_once_with("revoked", False, None, False)


def test_a_message_that_waits_is_held_by_the_timer_alone() -> None:
    """Until it is due, Celery can cancel it by the request; after that nothing is left for Python's collector."""
    request = made()
    assert request._eta_timer_entry is None
    waiting = [Entry(Mock(), (request,))]
    request._eta_timer_entry = waiting[0]
    assert request._eta_timer_entry is waiting[0]
    gone = weakref.ref(request)
    del request
    assert gone() is not None
    gc.disable()
    try:
        waiting.clear()
        assert gone() is None
    finally:
        gc.enable()


def test_a_request_whose_time_has_come_has_no_entry() -> None:
    """Celery, which cancels entries when the connection is lost, passes it over."""
    request = made()
    request._eta_timer_entry = Entry(Mock(), (request,))
    assert request._eta_timer_entry is None
