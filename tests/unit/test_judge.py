"""The judge: a pure function from a site's spec and what was seen to a verdict."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wms_tasks.errors import UsageError
from wms_tasks.net.reasons import Failure
from wms_tasks.net.redact import MAX_DETAIL_CHARACTERS
from wms_tasks.probe.expectations import status_matches
from wms_tasks.probe.judge import SKIPPED_REASONS, TRANSIENT_REASONS, is_transient, judge
from wms_tasks.probe.seen import Seen
from wms_tasks.result import Outcome, Reason
from wms_tasks.sites.record import Expect, Site, site_id_for

OK = Seen(url="https://example.org/", status_code=200, body=b"all systems go", response_time_ms=12.5)


def site(**expect: Any) -> Site:
    """A site that expects this."""
    return Site(site_id=site_id_for("a"), name="a", url="https://example.org/", expect=Expect(**expect))


def test_up() -> None:
    """An expected status, and no more asked for."""
    verdict = judge(site(), OK)
    assert (verdict.outcome, verdict.reason, verdict.detail) == (Outcome.UP, Reason.OK, None)
    assert (verdict.status_code, verdict.response_time_ms, verdict.matched) == (200, 12.5, None)
    assert not verdict.transient


@pytest.mark.parametrize(
    ("expected", "status_code", "matches"),
    [
        (("2xx",), 204, True),
        (("2xx",), 301, False),
        (("404",), 404, True),
        (("200", "3xx"), 308, True),
        (("200",), 201, False),
        ((), 200, False),
        (("2xx",), 999, False),
    ],
)
def test_statuses(expected: tuple[str, ...], status_code: int, matches: bool) -> None:
    """Codes and classes."""
    assert status_matches(expected, status_code) is matches


@given(st.integers(100, 599), st.sets(st.integers(1, 5)), st.sets(st.integers(100, 599)))
def test_statuses_are_the_union_of_what_is_expected(code: int, classes: set[int], codes: set[int]) -> None:
    """A code is expected exactly if it or its class is named."""
    expected = tuple(f"{c}xx" for c in classes) + tuple(map(str, codes))
    assert status_matches(expected, code) is (code in codes or code // 100 in classes)


@pytest.mark.parametrize(
    ("status_code", "retry_after", "transient"),
    [
        (503, False, True),
        (503, True, False),
        (502, False, True),
        (500, False, False),
        (404, False, False),
        (429, False, False),
    ],
)
def test_an_unexpected_status(status_code: int, retry_after: bool, transient: bool) -> None:
    """Down with both codes named; a gateway's trouble is worth another try unless the server said when to come."""
    verdict = judge(site(), replace(OK, status_code=status_code, retry_after=retry_after))
    assert (verdict.outcome, verdict.reason) == (Outcome.DOWN, Reason.STATUS)
    assert verdict.detail == f"status {status_code}, expected 2xx"
    assert verdict.transient is transient
    assert verdict.response_time_ms == 12.5


@pytest.mark.parametrize("reason", list(Reason))
def test_a_failure_is_down_with_its_reason(reason: Reason) -> None:
    """Whatever else is expected; the network's passing troubles are worth another try, and no others."""
    failed = Seen(redirects=1, failure=Failure(reason=reason, detail="so it was"))
    verdict = judge(site(body_regexp="x"), failed)
    outcome = Outcome.SKIPPED if reason in SKIPPED_REASONS else Outcome.DOWN
    assert (verdict.outcome, verdict.reason, verdict.detail) == (outcome, reason, "so it was")
    assert (verdict.matched, verdict.response_time_ms) == (None, None)
    assert verdict.transient is (reason in TRANSIENT_REASONS)


def test_an_address_we_may_not_connect_to() -> None:
    """Where the site leads us there it is down; where nobody was asked at all the slot is skipped; neither passes."""
    blocked = Seen(failure=Failure(reason=Reason.BLOCKED_ADDRESS, detail="10.0.0.1 is private"))
    first, later = judge(site(), blocked), judge(site(), replace(blocked, redirects=1, status_code=302))
    assert (first.outcome, first.reason, first.transient) == (Outcome.SKIPPED, Reason.BLOCKED_ADDRESS, False)
    assert (later.outcome, later.reason, later.transient) == (Outcome.DOWN, Reason.BLOCKED_ADDRESS, False)


def test_which_failures_pass() -> None:
    """A wrong certificate, a broken answer or a redirect loop will be there in a second, too."""
    stays = {Reason.TLS_EXPIRED, Reason.TLS_HOSTNAME, Reason.PROTOCOL, Reason.TOO_MANY_REDIRECTS, Reason.REGEXP}
    assert not any(is_transient(reason) for reason in stays)
    assert is_transient("dns")
    assert not is_transient("a reason of a later release")


@pytest.mark.parametrize(
    ("pattern", "body", "charset", "matched"),
    [
        ("systems (go|ready)", b"all systems go", None, True),
        ("^all", b"all systems go", None, True),
        ("nothing", b"all systems go", None, False),
        ("grün", "alles grün".encode(), None, True),
        ("grün", "alles grün".encode("latin-1"), "iso-8859-1", True),
        ("grün", "alles grün".encode("latin-1"), None, False),
        ("緑", "緑".encode("shift_jis"), "shift_jis", True),
        ("grün", "grün".encode("utf-16"), "utf-16", True),
        ("ok", b"ok", "no-such-charset", True),
        ("ok", b"ok", "zip", True),
        ("ok", b"ok\xff\xfe\x00", "idna", True),
        ("ok", b"ok", "a\x00b", True),
        ("x", b"", None, False),
    ],
)
def test_body_regexp(pattern: str, body: bytes, charset: str | None, matched: bool) -> None:
    """Found anywhere in the body, in the charset the answer names, else UTF-8."""
    verdict = judge(site(body_regexp=pattern), replace(OK, body=body, charset=charset))
    assert verdict.matched is matched
    assert verdict.reason == (Reason.OK if matched else Reason.REGEXP)


def test_a_body_that_goes_on() -> None:
    """What was read decides if the regexp is in it; if not, the size is the reason."""
    cut = replace(OK, truncated=True)
    assert judge(site(), cut).outcome == Outcome.UP
    assert judge(site(body_regexp="systems"), cut).outcome == Outcome.UP
    verdict = judge(site(body_regexp="nothing"), cut)
    assert (verdict.reason, verdict.matched) == (Reason.TOO_LARGE, False)
    assert "first 14 bytes" in (verdict.detail or "")


def test_the_status_comes_before_the_body() -> None:
    """Both wrong: the status is the reason, and what was found in the body is still said."""
    verdict = judge(site(body_regexp="nothing"), replace(OK, status_code=500))
    assert (verdict.reason, verdict.matched) == (Reason.STATUS, False)


def test_a_costly_pattern_is_quick() -> None:
    """What makes backtracking engines take for ever takes google-re2 no time."""
    started = time.monotonic()
    judge(site(body_regexp="(a+)+$"), replace(OK, body=b"a" * 1_000_000 + b"!"))
    assert time.monotonic() - started < 2


def test_a_charset_that_costs_is_not_used() -> None:
    """Python's idna codec is quadratic; a stranger may name it, and nothing happens."""
    started = time.monotonic()
    judge(site(body_regexp="x"), replace(OK, body=b"a" * 1_000_000, charset="idna"))
    assert time.monotonic() - started < 2


def test_a_regexp_that_is_none() -> None:
    """A hand-made spec with a bad pattern is refused, never taken for a match."""
    with pytest.raises(UsageError, match="body_regexp"):
        judge(site(body_regexp="(?=look)"), OK)


@given(
    status_code=st.none() | st.integers(100, 599),
    body=st.none() | st.binary(max_size=200),
    truncated=st.booleans(),
    charset=st.none() | st.text(max_size=20),
    reason=st.none() | st.sampled_from(list(Reason)),
    detail=st.text(max_size=400),
    regexp=st.none() | st.sampled_from(["a", "^$", "[^a]+", "ä"]),
)
def test_every_finding_has_a_verdict(
    status_code: int | None,
    body: bytes | None,
    truncated: bool,
    charset: str | None,
    reason: Reason | None,
    detail: str,
    regexp: str | None,
) -> None:
    """One of up, down and skipped; up only with an expected status, a match where one is asked for, and no failure."""
    seen = Seen(
        status_code=status_code,
        body=body,
        truncated=truncated,
        charset=charset,
        failure=Failure(reason=reason, detail=detail) if reason else None,
    )
    verdict = judge(site(body_regexp=regexp), seen)
    assert (verdict.outcome is Outcome.SKIPPED) is (reason in SKIPPED_REASONS | {Reason.BLOCKED_ADDRESS})
    assert (verdict.outcome is Outcome.UP) is (verdict.detail is None)
    if verdict.outcome is Outcome.UP:
        assert reason is None
        assert status_code is not None
        assert 200 <= status_code < 300
        assert verdict.matched is not False
        assert not verdict.transient
    else:
        assert len(verdict.detail or "") <= MAX_DETAIL_CHARACTERS
        assert (verdict.detail or "").isprintable()
