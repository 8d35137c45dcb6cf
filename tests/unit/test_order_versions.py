"""Orders of other releases: what an older beat sent is filled, what a newer one sent is left to a newer worker."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.results import a_result
from wms_tasks.fill import decide
from wms_tasks.fill.decide import Again, Here, TooLate
from wms_tasks.order import ORDER_VERSION, NewerOrder, ProbeOrder, read_order
from wms_tasks.result import Reason
from wms_tasks.schedule.entries import SiteEntry
from wms_tasks.schedule.sent import Sent
from wms_tasks.sites.known_since import FIELDS, version_of
from wms_tasks.sites.record import Auth, Expect, HeaderRule, Site, TlsOptions, digest_of, site_id_for

NOON = datetime(2026, 11, 23, 12, tzinfo=UTC)
HERE = Here(location="local", worker="w1")
# As 0.1.0 sent and re-sent them; never to be changed.
OLD_ORDERS = json.loads((Path(__file__).parents[1] / "messages" / "orders-0.1.0.json").read_text(encoding="utf-8"))


def a_site(**fields: Any) -> Site:
    """A site of only what 0.1.0 knew, and these fields."""
    return Site(**{"site_id": site_id_for("a"), "name": "a", "url": "https://a.example/"} | fields)


def a_message(seconds: float = 60.0, **changes: Any) -> dict[str, Any]:
    """An order on the wire, from noon on, with some fields set."""
    order = ProbeOrder(
        version=ORDER_VERSION,
        site=a_site(expect=Expect(slow_seconds=1.0), tags=("x",)),
        scheduled_at=NOON,
        due_at=NOON,
        expires_at=NOON + timedelta(seconds=seconds),
    )
    message: dict[str, Any] = json.loads(json.dumps(order.to_message()))
    return message | changes


def with_unknown(path: tuple[str | int, ...]) -> dict[str, Any]:
    """An order with a field at this place that nobody has yet."""
    site = a_site(
        auth=Auth(bearer="${WMS_SECRET_A}"),
        tls=TlsOptions(verify=False),
        expect=Expect(headers=(HeaderRule(name="x", regexp="y"),)),
    )
    message = a_message(site=msgspec.to_builtins(site))
    place: Any = message
    for step in path:
        place = place[step]
    place["of_tomorrow"] = True
    return message


@pytest.mark.parametrize("number", range(len(OLD_ORDERS)))
def test_an_order_of_0_1_0_is_filled(number: int) -> None:
    """Before its turn, with an attempt behind it, with its result in hand; its site is the one it was."""
    old = OLD_ORDERS[number]
    order = read_order(old["order"])
    assert isinstance(order, ProbeOrder)
    assert order.version == version_of(order.site) == 1
    assert order.spec_digest == digest_of(old["order"]["site"]) == old["digest"]
    assert [result for result in (order.last, order.result) if result is not None] == [
        msgspec.convert(old["order"][name], type(a_result())) for name in ("last", "result") if name in old["order"]
    ]


def test_what_0_1_0_knew_is_still_sent_to_it() -> None:
    """Nothing else is in the message of a site that uses nothing else, and 0.1.0 has the same defaults."""
    known = {name for record in FIELDS[1].values() for name in record.split()}
    for old in OLD_ORDERS:
        order = read_order(old["order"])
        assert isinstance(order, ProbeOrder)
        now = json.loads(json.dumps(order.to_message()))
        assert "version" not in now
        assert now["site"].keys() <= known
        was = old["order"]["site"]
        assert was | now["site"] | {"expect": was["expect"] | now["site"].get("expect", {})} == was


def test_every_field_of_every_record_has_its_version() -> None:
    """A field added without one would be left out by workers that do not know it, and their site reported up."""
    for record in (Site, Expect, HeaderRule, Auth, TlsOptions):
        listed = [name for records in FIELDS.values() for name in records.get(record, "").split()]
        assert sorted(listed) == sorted(record.__struct_fields__), record
    assert {record for records in FIELDS.values() for record in records} == records_in(Site)
    assert max(FIELDS) == ORDER_VERSION


def records_in(kind: type[msgspec.Struct]) -> set[type]:
    """The record and all that it holds."""
    found: set[type] = set()

    def look(one: Any) -> None:
        if isinstance(one, msgspec.inspect.StructType) and one.cls not in found:
            found.add(one.cls)
            for field in one.fields:
                look(field.type)
        for part in (*getattr(one, "types", ()), *getattr(one, "item_types", ()), getattr(one, "item_type", None)):
            if part is not None:
                look(part)

    look(msgspec.inspect.type_info(kind))
    return found


@pytest.mark.parametrize(
    ("fields", "version"),
    [
        ({}, 1),
        ({"method": "HEAD", "headers": {"X": "1"}, "tags": ("a",), "expect": Expect(body_regexp="x")}, 1),
        ({"compression": ("gzip",), "max_redirects": 5, "tls": TlsOptions(), "evidence": "headers"}, 1),
        ({"compression": ("gzip", "br")}, 2),
        ({"expect": Expect(not_headers=(HeaderRule(name="x", regexp="y"),))}, 2),
        ({"expect": Expect(certificate_days=14)}, 2),
        ({"tls": TlsOptions(verify=False)}, 2),
        ({"auth": Auth(bearer="${WMS_SECRET_A}")}, 2),
        ({"method": "POST"}, 2),
        ({"compression": ()}, 2),
        ({"headers": {"X-Key": "a ${WMS_SECRET_A}"}}, 2),
        ({"url": "https://a.example/?key=a"}, 1),
        ({"url": "https://a.example/?key=${WMS_SECRET_A}"}, 3),
    ],
)
def test_an_order_has_the_least_version_that_knows_all_of_it(fields: dict[str, Any], version: int) -> None:
    """So beat sends it; a worker that retries it keeps it."""
    site = a_site(**fields)
    assert version_of(site) == version
    entry = SiteEntry(site)
    entry.resume(now_us=1_800_000_000_000_000, sent=Sent())
    order = read_order(json.loads(json.dumps(entry.message(300_000_000).kwargs["order"])))
    assert isinstance(order, ProbeOrder)
    assert (order.version, order.site) == (version, site)


def test_a_default_that_was_written_out_is_no_field_to_know() -> None:
    """Whatever object it is: a worker without the field takes the order, and the digest is the same."""
    written = msgspec.json.decode(
        b"""{"site_id": "88925922-159a-5325-bcbc-633f7080a641", "name": "a", "url": "https://a.example/",
        "method": "GET", "compression": ["gzip"], "max_body_bytes": 1048576, "interval_seconds": 60.0, "tls": {},
        "ip": "any", "evidence": "headers", "expect": {"status": ["2xx"], "headers": []}, "allow_ports": []}""",
        type=Site,
    )
    assert written == a_site()
    assert version_of(written) == 1
    assert written.digest() == a_site().digest()
    order = ProbeOrder(site=written, scheduled_at=NOON, due_at=NOON, expires_at=NOON)
    assert order.to_message()["site"].keys() == {"site_id", "name", "url"}


@pytest.mark.parametrize(
    "path",
    [(), ("site",), ("site", "expect"), ("site", "expect", "headers", 0), ("site", "auth"), ("site", "tls")],
    ids=str,
)
def test_an_unknown_field_at_any_depth_makes_an_order_newer(path: tuple[str | int, ...]) -> None:
    """Whatever version it says: what it asks for is not known here, so it is not filled here."""
    order = read_order(with_unknown(path))
    assert isinstance(order, NewerOrder)
    assert "of_tomorrow" in order.why


@pytest.mark.parametrize("site", [{"ip": "7"}, {"url": None}, {"expect": "anything"}])
def test_so_does_a_higher_version_whatever_became_of_its_fields(site: dict[str, Any]) -> None:
    """Whose slot it is must be readable, and nothing else; the spec's digest is that of the whole."""
    spec = a_message()["site"] | site
    order = read_order(a_message(version=99, site=spec))
    assert isinstance(order, NewerOrder)
    assert "version is 99" in order.why
    assert order.spec_digest == digest_of(spec)
    assert order.to_message()["site"] == spec


@pytest.mark.parametrize(
    "changes", [{"site": {"name": "a"}}, {"due_at": "noon"}, {"version": "2"}, {"version": 99, "site": 1}]
)
def test_nonsense_is_no_newer_order(changes: dict[str, Any]) -> None:
    """It is an error of ours, and stays one."""
    with pytest.raises(msgspec.ValidationError):
        read_order(a_message(**changes))


@given(seconds=st.floats(1.0, 3600.0), late_seconds=st.floats(0.0, 30.0))
def test_a_worker_that_is_too_old_leaves_the_slot_until_it_is_nearly_over(seconds: float, late_seconds: float) -> None:
    """Each time the very message it got; never busy, never past the end, and at last missed for that reason."""
    message = a_message(seconds, version=99)
    now, ends_at, sent = NOON + timedelta(seconds=late_seconds), NOON + timedelta(seconds=seconds), 0
    while True:
        order = read_order(message)
        assert isinstance(order, NewerOrder)
        step = decide.left_to_newer(order, now)
        if isinstance(step, TooLate):
            break
        assert isinstance(step, Again)
        assert step.order.to_message() is message
        assert not step.is_retry
        assert 0 < step.countdown_seconds <= decide.HOP_SECONDS
        now += timedelta(seconds=step.countdown_seconds)
        sent += 1
        assert now < ends_at
    assert sent <= 6 + seconds / decide.HOP_SECONDS
    assert late_seconds >= seconds - 1 or now > ends_at - timedelta(seconds=1)
    result = decide.too_late(order, step.reason, HERE)
    assert (result.outcome, result.reason, result.attempt) == ("missed", Reason.WORKER_TOO_OLD, 0)
    assert (result.site_name, result.scheduled_at, result.spec_digest) == ("a", NOON, digest_of(message["site"]))


@pytest.mark.parametrize("name", ["last", "result"])
def test_what_a_newer_worker_saw_counts(name: str) -> None:
    """Also where its record has a field more; only where nobody saw anything is the slot missed."""
    seen = a_result(outcome="down", reason="timeout")
    message = a_message(version=99) | {name: msgspec.to_builtins(seen) | {"of_tomorrow": 1}}
    order = read_order(message)
    assert decide.too_late(order, Reason.WORKER_TOO_OLD, HERE) == seen
    assert decide.left_in_queue(order, redelivered=False, here=HERE) == seen


def test_a_newer_order_that_expires_is_missed_for_its_worker() -> None:
    """Unless a worker is known to have had it, and been lost."""
    order = read_order(a_message(version=99))
    assert decide.left_in_queue(order, redelivered=False, here=HERE).reason == Reason.WORKER_TOO_OLD
    assert decide.left_in_queue(order, redelivered=True, here=HERE).reason == Reason.WORKER_LOST


def test_a_newer_order_shows_no_more_than_another() -> None:
    """Neither in a log nor in an error."""
    message = with_unknown(())
    message["site"]["headers"] = {"X-Key": "hunter2"}
    order = read_order(message)
    assert order.shown() == "('a', '2026-11-23T12:00:00+00:00')"
    assert "hunter2" not in repr(order)
