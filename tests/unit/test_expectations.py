"""Each expectation by itself: when it has passed, what a person reads when not, and that nothing is up unchecked."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wms_tasks.net.hop import Hop
from wms_tasks.net.reasons import Failure
from wms_tasks.probe.expectations import UNKNOWN, Checked
from wms_tasks.probe.judge import Verdict, judge
from wms_tasks.probe.seen import Seen
from wms_tasks.result import Certificate, Outcome, Phases, Reason
from wms_tasks.sites.record import Expect, HeaderRule, Site, site_id_for

NOW = datetime(2026, 11, 24, 12, tzinfo=UTC)
SECRET = "hunter2"
BEGINNING = "the first 33 bytes, and the body goes on"


def certificate(left: timedelta) -> Certificate:
    """The leaf lasts a year longer than another one of its chain."""
    ends_at = NOW + left
    names = {"subject": "CN=shop.example", "issuer": "CN=ca", "names": ("shop.example",)}
    return Certificate(**names, expires_at=ends_at + timedelta(days=365), chain_expires_at=ends_at)


HOP = Hop(
    url="https://shop.example/",
    phases=Phases(),
    status_code=200,
    http_version="1.1",
    tls_version="1.3",
    certificate=certificate(timedelta(days=20)),
)
ANSWER = Seen(
    url="https://shop.example/",
    status_code=200,
    body=b'{"status": "ok", "items": [1, 2]}',
    response_time_ms=250.0,
    hops=(replace(HOP, url="http://shop.example/", http_version="1.0", certificate=None), HOP),
    headers={
        "content-type": "application/json",
        "location": f"https://me:{SECRET}@shop.example/?token={SECRET}",
        "set-cookie": f"session={SECRET}",
        "www-authenticate": f"Basic {SECRET}",
        "x-api-key": SECRET,
        "via": "a, b",
        "x-name": "grün".encode().decode("latin-1"),
    },
    seen_at=NOW,
)
OVER_HTTP = replace(ANSWER, hops=(replace(HOP, url="http://shop.example/", tls_version=None, certificate=None),))


def verdict_on(seen: Seen, **expect: Any) -> Verdict:
    """The judge's word on a site that expects this."""
    site = Site(site_id=site_id_for("a"), name="a", url="https://shop.example/", expect=Expect(**expect))
    return judge(site, seen)


def last(verdict: Verdict) -> Checked:
    """The expectation that a test is about; the status comes first."""
    assert verdict.expectations[0].name == "status"
    return verdict.expectations[-1]


def rules(**patterns: str) -> tuple[HeaderRule, ...]:
    """Header rules, with ``_`` for ``-``."""
    return tuple(HeaderRule(name=name.replace("_", "-"), regexp=regexp) for name, regexp in patterns.items())


PASSES = [
    {"http_versions": ("1.1",)},
    {"http_versions": ("1.0", "1.1")},
    {"tls": "required"},
    {"body_regexp": "ok"},
    {"body_regexps": ("ok", "items")},
    {"body_not_regexps": ("down", "failed")},
    {"headers": rules(content_type="^application/json$", set_cookie="session", via="b$")},
    {"headers": rules(x_name="^grün$")},
    {"headers": (HeaderRule(name="x-cache", regexp="HIT", may_lack=True),)},
    {"not_headers": rules(content_type="html", x_not_there=".")},
    {"json": ("status == 'ok'", "length(items) == `2`")},
    {"slow_seconds": 0.25},
    {"certificate_days": 20},
]


@pytest.mark.parametrize("expect", PASSES, ids=str)
def test_what_is_as_expected(expect: dict[str, Any]) -> None:
    """Up, and each expectation says what was found."""
    verdict = verdict_on(ANSWER, **expect)

    assert (verdict.outcome, verdict.reason, verdict.detail) == (Outcome.UP, Reason.OK, None)
    assert all(checked.passed for checked in verdict.expectations)
    assert all(checked.found and checked.expected for checked in verdict.expectations)


FAILS = [
    ({"http_versions": ("1.0",)}, Reason.HTTP_VERSION, "HTTP version 1.1, expected 1.0"),
    ({"tls": "forbidden"}, Reason.SCHEME, "the answer came over https, expected http"),
    (
        {"headers": rules(content_type="^text/html")},
        Reason.HEADER,
        "header content-type is 'application/json', expected to match '^text/html'",
    ),
    ({"headers": rules(x_cache="HIT")}, Reason.HEADER, "header x-cache is not there, expected to match 'HIT'"),
    (
        {"headers": (HeaderRule(name="via", regexp="^b$", may_lack=True),)},
        Reason.HEADER,
        "header via is 'a, b', expected to match '^b$'",
    ),
    (
        {"not_headers": rules(content_type="json")},
        Reason.HEADER,
        "header content-type is 'application/json', expected not to match 'json'",
    ),
    (
        {"headers": rules(location="^/")},
        Reason.HEADER,
        "header location is 'https://shop.example/?…', expected to match '^/'",
    ),
    ({"body_regexps": ("ok", "down")}, Reason.REGEXP, "body_regexp 'down' not in the 33 bytes of body"),
    ({"body_not_regexps": ("down", "ok")}, Reason.REGEXP, "body_not_regexp 'ok' in the 33 bytes of body"),
    ({"json": ("status", "status == 'down'")}, Reason.JSON, "json 'status == 'down'': not true"),
    ({"json": ("length(`1`)",)}, Reason.JSON, "json 'length(`1`)': length() does not take a value of type number"),
]


@pytest.mark.parametrize(("expect", "reason", "detail"), FAILS, ids=lambda value: str(value)[:60])
def test_what_is_not_as_expected(expect: dict[str, Any], reason: Reason, detail: str) -> None:
    """Down, not worth another attempt, with one line that says what was found and what should have been."""
    verdict = verdict_on(ANSWER, **expect)

    assert (verdict.outcome, verdict.reason, verdict.detail) == (Outcome.DOWN, reason, detail)
    assert not verdict.transient
    assert last(verdict).passed is False


@pytest.mark.parametrize("name", ["set-cookie", "www-authenticate", "x-api-key", "location"])
@pytest.mark.parametrize("kind", ["headers", "not_headers"])
def test_a_headers_value_that_may_be_a_secret_is_not_shown(name: str, kind: str) -> None:
    """It is matched like any other, and named."""
    pattern = "nothing" if kind == "headers" else SECRET
    verdict = verdict_on(ANSWER, **{kind: (HeaderRule(name=name, regexp=pattern),)})

    assert verdict.reason == Reason.HEADER
    assert f"header {name} is " in (verdict.detail or "")
    assert SECRET not in (verdict.detail or "").replace(f"match '{SECRET}'", "")
    assert SECRET not in last(verdict).found


@pytest.mark.parametrize(
    ("expect", "reason", "detail"),
    [
        ({"body_regexp": "ok"}, None, None),
        (
            {"body_regexp": "more"},
            Reason.TOO_LARGE,
            "body_regexp 'more' not in the first 33 bytes, and the body goes on",
        ),
        (
            {"body_not_regexps": ("ok",)},
            Reason.REGEXP,
            "body_not_regexp 'ok' in the first 33 bytes, and the body goes on",
        ),
        (
            {"body_not_regexps": ("more",)},
            Reason.TOO_LARGE,
            "body_not_regexp 'more' not in the first 33 bytes, and the body goes on",
        ),
        ({"json": ("status",)}, Reason.TOO_LARGE, "the body goes on after 33 bytes, so that it is no whole JSON"),
    ],
)
def test_a_body_that_goes_on(expect: dict[str, Any], reason: Reason | None, detail: str | None) -> None:
    """What the rest of it may change is not judged by its beginning."""
    verdict = verdict_on(replace(ANSWER, truncated=True), **expect)

    assert (verdict.reason, verdict.detail) == (reason or Reason.OK, detail)


@pytest.mark.parametrize(
    ("body", "detail"),
    [
        (b"<html>", "the body is no JSON: invalid character (byte 0)"),
        (b"", "the body is no JSON: it is empty"),
        (None, "the body is no JSON: it is empty"),
        (b"[" * 200_000, "the body is no JSON: it is nested too deep"),
    ],
)
def test_a_body_that_is_no_json(body: bytes | None, detail: str) -> None:
    """Each of several expressions says so."""
    verdict = verdict_on(replace(ANSWER, body=body), json=("status", "!status"))

    assert (verdict.reason, verdict.detail) == (Reason.JSON, detail)
    assert [checked.passed for checked in verdict.expectations] == [True, False, False]


def test_slow_is_up() -> None:
    """Above the limit, not at it."""
    verdict = verdict_on(ANSWER, slow_seconds=0.2)

    assert (verdict.outcome, verdict.reason) == (Outcome.UP, Reason.SLOW)
    assert verdict.detail == "response time 250 ms, expected at most 200 ms"
    assert last(verdict).passed is False


def test_a_certificate_that_ends_soon_is_up() -> None:
    """The first of the chain counts, to the second."""
    verdict = verdict_on(ANSWER, certificate_days=21)

    assert (verdict.outcome, verdict.reason) == (Outcome.UP, Reason.TLS_EXPIRING)
    assert verdict.detail == (
        "certificate chain has 20 days left, until 2026-12-14 12:00 UTC, expected at least 21 days left"
    )
    nearly = replace(ANSWER, hops=(replace(HOP, certificate=certificate(timedelta(days=20, seconds=-1))),))
    assert verdict_on(nearly, certificate_days=20).reason == Reason.TLS_EXPIRING


def test_slow_is_told_before_the_certificate() -> None:
    """Both are up; the one that may pass is not hidden for weeks."""
    verdict = verdict_on(ANSWER, slow_seconds=0.1, certificate_days=90)

    assert verdict.reason == Reason.SLOW
    assert [checked.passed for checked in verdict.expectations] == [True, False, False]


def test_no_certificate_over_http() -> None:
    """Days that nobody could count do not pass for enough."""
    verdict = verdict_on(OVER_HTTP, certificate_days=14)

    assert (verdict.outcome, verdict.reason) == (Outcome.DOWN, Reason.SCHEME)
    assert verdict.detail == "no certificate: the answer came over http, expected at least 14 days left"
    assert verdict_on(OVER_HTTP, tls="forbidden").outcome == Outcome.UP
    assert verdict_on(OVER_HTTP, tls="required").detail == "the answer came over http, expected https"


@pytest.mark.parametrize(
    ("expect", "reason"),
    [
        ({"http_versions": ("1.0", "1.1")}, Reason.HTTP_VERSION),
        ({"tls": "required"}, Reason.SCHEME),
        ({"tls": "forbidden"}, Reason.SCHEME),
        ({"certificate_days": 1}, Reason.TLS_EXPIRING),
        ({"slow_seconds": 60.0}, Reason.SLOW),
        ({"body_regexp": "ok"}, Reason.REGEXP),
        ({"body_not_regexps": ("down",)}, Reason.REGEXP),
        ({"json": ("`true`",)}, Reason.JSON),
    ],
    ids=str,
)
def test_nothing_is_up_unchecked(expect: dict[str, Any], reason: Reason) -> None:
    """An answer of which we do not know what is asked for is down, also for what is otherwise no more than slow."""
    verdict = verdict_on(Seen(status_code=200), **expect)

    assert (verdict.outcome, verdict.reason) == (Outcome.DOWN, reason)


def test_days_are_not_counted_from_an_unknown_instant() -> None:
    """As nothing is: down."""
    verdict = verdict_on(replace(ANSWER, seen_at=None), certificate_days=1)

    assert (verdict.outcome, verdict.reason) == (Outcome.DOWN, Reason.TLS_EXPIRING)


ALL: dict[str, Any] = {
    "status": ("404",),
    "http_versions": ("1.0",),
    "tls": "forbidden",
    "headers": rules(content_type="html"),
    "not_headers": rules(via="a"),
    "body_regexp": "a",
    "body_regexps": ("b",),
    "body_not_regexps": ("ok",),
    "json": ("`false`",),
    "slow_seconds": 0.1,
    "certificate_days": 90,
}
ORDER = [
    ("status", Reason.STATUS),
    ("http_version", Reason.HTTP_VERSION),
    ("tls", Reason.SCHEME),
    ("headers.content-type", Reason.HEADER),
    ("not_headers.via", Reason.HEADER),
    ("body_regexp", Reason.REGEXP),
    ("body_regexp", Reason.REGEXP),
    ("body_not_regexp", Reason.REGEXP),
    ("json", Reason.JSON),
    ("slow", Reason.SLOW),
    ("certificate_days", Reason.TLS_EXPIRING),
]
NO_LONGER_EXPECTED: dict[str, Any] = {"status": ("2xx",), "body_regexp": None, "tls": None} | dict.fromkeys(
    ("http_versions", "headers", "not_headers", "body_regexps", "body_not_regexps", "json"), ()
)


def test_the_order_of_checks() -> None:
    """All are looked at, the first that fails is the reason; mended one by one, each of them comes up."""
    expect = dict(ALL)
    assert [(c.name, c.reason) for c in verdict_on(ANSWER, **expect).expectations] == ORDER

    told = []
    for field in ALL:
        told.append(verdict_on(ANSWER, **expect).reason)
        expect[field] = NO_LONGER_EXPECTED.get(field)

    assert list(dict.fromkeys(told)) == list(dict.fromkeys(reason for _, reason in ORDER))
    assert verdict_on(ANSWER, **expect).reason == Reason.OK


def test_a_failure_leaves_everything_unknown() -> None:
    """What was expected is still listed; none of it has passed or failed."""
    verdict = verdict_on(replace(ANSWER, failure=Failure(reason=Reason.RESET, detail="gone")), **ALL)

    assert (verdict.outcome, verdict.reason, verdict.detail) == (Outcome.DOWN, Reason.RESET, "gone")
    assert [checked.name for checked in verdict.expectations] == [name for name, _ in ORDER]
    assert {(checked.passed, checked.found) for checked in verdict.expectations} == {(None, UNKNOWN)}
    assert verdict.matched is None


@pytest.mark.parametrize(
    ("expect", "matched"),
    [
        ({}, None),
        ({"body_not_regexps": ("ok",)}, None),
        ({"body_regexp": "ok"}, True),
        ({"body_regexp": "ok", "body_regexps": ("items", "status")}, True),
        ({"body_regexp": "ok", "body_regexps": ("items", "down")}, False),
        ({"body_regexp": "ok", "status": ("404",)}, True),
        ({"body_regexps": ("ok",), "body_not_regexps": ("ok",)}, True),
    ],
    ids=str,
)
def test_matched_is_about_the_patterns_to_be_found(expect: dict[str, Any], matched: bool | None) -> None:
    """Whether all were found, whatever else failed; None where none was asked for."""
    assert verdict_on(ANSWER, **expect).matched is matched


HEADER_RULES = st.lists(
    st.builds(
        HeaderRule, name=st.sampled_from(["a", "set-cookie"]), regexp=st.sampled_from(["", "x"]), may_lack=st.booleans()
    ),
    max_size=2,
).map(tuple)
PATTERNS = st.lists(st.sampled_from(["a", "^$", "[^a]+", "ä"]), max_size=2).map(tuple)
EXPECT = st.fixed_dictionaries(
    {},
    optional={
        "http_versions": st.sampled_from([(), ("1.0",), ("1.0", "1.1")]),
        "tls": st.sampled_from([None, "required", "forbidden"]),
        "body_regexp": st.none() | st.just("a"),
        "body_regexps": PATTERNS,
        "body_not_regexps": PATTERNS,
        "headers": HEADER_RULES,
        "not_headers": HEADER_RULES,
        "json": st.sampled_from([(), ("a",), ("@", "!@", "length(@)")]),
        "certificate_days": st.none() | st.integers(1, 30),
        "slow_seconds": st.none() | st.floats(0.001, 30),
    },
)
HOPS = st.lists(
    st.builds(
        Hop,
        url=st.sampled_from(["http://a/", "https://a/"]),
        phases=st.just(Phases()),
        http_version=st.sampled_from([None, "1.0", "1.1"]),
        certificate=st.none() | st.integers(-10, 40).map(lambda days: certificate(timedelta(days=days))),
    ),
    max_size=2,
).map(tuple)
SEEN = st.builds(
    Seen,
    status_code=st.sampled_from([200, 404]),
    body=st.none() | st.sampled_from([b"", b"a", b'{"a": 1}', b'"\xff']) | st.binary(max_size=20),
    truncated=st.booleans(),
    charset=st.none() | st.sampled_from(["latin-1", "utf-16", "nope"]),
    response_time_ms=st.none() | st.floats(0, 30_000),
    hops=HOPS,
    headers=st.dictionaries(st.sampled_from(["a", "set-cookie"]), st.text(max_size=10), max_size=2),
    seen_at=st.none() | st.just(NOW),
)

NAMES = {
    "http_versions": "http_version",
    "body_regexps": "body_regexp",
    "body_not_regexps": "body_not_regexp",
    "slow_seconds": "slow",
}


@given(SEEN, EXPECT)
def test_up_means_that_all_was_looked_at(seen: Seen, expect: dict[str, Any]) -> None:
    """
    For any answer: ok exactly if every expectation has passed; up without it only for slow and tls_expiring, after all
    that makes a site down; and every line can be printed.
    """
    verdict = verdict_on(seen, **expect)

    assert (verdict.reason == Reason.OK) == all(checked.passed is True for checked in verdict.expectations)
    if verdict.outcome == Outcome.UP:
        assert verdict.reason in {Reason.OK, Reason.SLOW, Reason.TLS_EXPIRING}
        assert all(
            checked.passed for checked in verdict.expectations if checked.name not in {"slow", "certificate_days"}
        )
    asked = {NAMES.get(key, key) for key, value in expect.items() if value not in ((), None)}
    assert {checked.name.partition(".")[0] for checked in verdict.expectations} == asked | {"status"}
    for checked in verdict.expectations:
        assert f"{checked.name}{checked.expected}{checked.found}".isprintable()
