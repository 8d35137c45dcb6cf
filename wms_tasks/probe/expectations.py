"""
Each thing that a site is expected to answer, looked at by itself, in the order in which they are told. Pure.

What could not be looked at has not passed. Called by judge.py, which makes one verdict of them.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from datetime import timedelta
from functools import lru_cache
from typing import Any

import re2

from wms_tasks.errors import UsageError
from wms_tasks.net.redact import header_value, one_line
from wms_tasks.probe.charset import plain_charset
from wms_tasks.probe.json_body import NotJson, NotJudged, is_true, parse_json
from wms_tasks.probe.seen import Seen
from wms_tasks.result import Reason
from wms_tasks.sites.record import Expect, HeaderRule
from wms_tasks.sites.text_rules import pattern_options

SHOWN_CHARACTERS = 60
UNKNOWN = "not known"
_DAY = timedelta(days=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Checked:
    """
    One expectation of one answer. ``name`` is its key in the sites file, ``expected`` and ``found`` are for people, one
    line each, without what may be secret.

    ``passed`` is None where it could not be looked at, because there was no whole answer. ``reason`` and ``detail``
    are what a result says whose first expectation that has not passed this is. ``is_down``: that result is down, else
    up all the same.
    """

    name: str
    passed: bool | None
    expected: str
    found: str
    reason: Reason
    detail: str
    is_down: bool = True


def status_matches(expected: Iterable[str], status_code: int) -> bool:
    """Whether `expected`, codes ("200") and classes ("2xx"), holds `status_code`."""
    code = str(status_code)
    return any(item == code or (item[1:] == "xx" and item[0] == code[0]) for item in expected)


@lru_cache(maxsize=4096)
def compiled(pattern: str) -> Any:
    """
    A pattern for bytes in UTF-8; compiled once.

    Raises:
        UsageError: google-re2 does not take it.
    """
    try:
        return re2.compile(pattern.encode(), pattern_options())
    except (re2.error, UnicodeEncodeError) as error:
        raise UsageError(f"body_regexp {_quoted(pattern)}: {one_line(str(error))}") from error


def look_at(expect: Expect, seen: Seen) -> Iterator[Checked]:
    """
    Every expectation of `expect`, checked against a whole answer (``seen.failure`` is None): status, HTTP version,
    https, headers, body, JSON, response time, certificate.

    Raises:
        UsageError: a pattern or expression is none; one from the sites file has been checked.
    """
    yield _status(expect, seen)
    if expect.http_versions:
        yield _http_version(expect, seen)
    if expect.tls is not None:
        yield _tls(expect.tls, seen)
    yield from (_header(rule, seen) for rule in expect.headers)
    yield from (_not_header(rule, seen) for rule in expect.not_headers)
    yield from _patterns(expect, seen)
    if expect.json:
        yield from _json(expect.json, seen)
    if expect.slow_seconds is not None:
        yield _slow(expect.slow_seconds, seen)
    if expect.certificate_days is not None:
        yield _certificate(expect.certificate_days, seen)


def not_looked_at(expect: Expect) -> tuple[Checked, ...]:
    """Every expectation of `expect`, of an answer that is not there."""
    return tuple(replace(checked, passed=None, found=UNKNOWN) for checked in look_at(expect, Seen()))


def _status(expect: Expect, seen: Seen) -> Checked:
    code, expected = seen.status_code, ", ".join(expect.status)
    return Checked(
        name="status",
        passed=code is not None and status_matches(expect.status, code),
        expected=expected,
        found=UNKNOWN if code is None else str(code),
        reason=Reason.STATUS,
        detail=f"status {code}, expected {expected}",
    )


def _http_version(expect: Expect, seen: Seen) -> Checked:
    version = seen.hops[-1].http_version if seen.hops else None
    expected = " or ".join(expect.http_versions)
    return Checked(
        name="http_version",
        passed=version in expect.http_versions,
        expected=expected,
        found=version or UNKNOWN,
        reason=Reason.HTTP_VERSION,
        detail=f"HTTP version {version or UNKNOWN}, expected {expected}",
    )


def _scheme(seen: Seen) -> str | None:
    return seen.hops[-1].url.partition(":")[0] if seen.hops else None


def _tls(tls: str, seen: Seen) -> Checked:
    expected, scheme = "https" if tls == "required" else "http", _scheme(seen)
    return Checked(
        name="tls",
        passed=scheme == expected,
        expected=tls,
        found=scheme or UNKNOWN,
        reason=Reason.SCHEME,
        detail=f"the answer came over {scheme or 'what is not known'}, expected {expected}",
    )


def _header(rule: HeaderRule, seen: Seen) -> Checked:
    value = seen.headers.get(rule.name)
    expected = f"to match {_quoted(rule.regexp)}"
    return Checked(
        name=f"headers.{rule.name}",
        passed=rule.may_lack if value is None else _found_in(rule.regexp, value),
        expected=f"{expected}, or none" if rule.may_lack else expected,
        found=_shown_header(rule.name, value, seen),
        reason=Reason.HEADER,
        detail=f"header {rule.name} is {_shown_header(rule.name, value, seen)}, expected {expected}",
    )


def _not_header(rule: HeaderRule, seen: Seen) -> Checked:
    value = seen.headers.get(rule.name)
    expected = f"not to match {_quoted(rule.regexp)}"
    return Checked(
        name=f"not_headers.{rule.name}",
        passed=value is None or not _found_in(rule.regexp, value),
        expected=expected,
        found=_shown_header(rule.name, value, seen),
        reason=Reason.HEADER,
        detail=f"header {rule.name} is {_shown_header(rule.name, value, seen)}, expected {expected}",
    )


def _found_in(pattern: str, header: str) -> bool:
    # Read as Latin-1 by our client, written in UTF-8 by most servers that write more than ASCII.
    return compiled(pattern).search(header.encode("latin-1", "replace")) is not None


def _shown_header(name: str, value: str | None, seen: Seen) -> str:
    if value is None:
        return "not there"
    # Before a url in it loses its query, and with that a part of a secret.
    shown = header_value(name, seen.revealed.scrub(value))
    return "there (its value is not shown)" if shown is None else _quoted(shown)


def _patterns(expect: Expect, seen: Seen) -> Iterator[Checked]:
    wanted = (*(() if expect.body_regexp is None else (expect.body_regexp,)), *expect.body_regexps)
    if not wanted and not expect.body_not_regexps:
        return
    body = None if seen.body is None else _in_utf8(seen.body, seen.charset)
    for pattern in wanted:
        yield _pattern(pattern, body, seen, wanted=True)
    for pattern in expect.body_not_regexps:
        yield _pattern(pattern, body, seen, wanted=False)


def _pattern(pattern: str, body: bytes | None, seen: Seen, *, wanted: bool) -> Checked:
    """One that is not wanted has passed only where the whole body was read."""
    found = body is not None and compiled(pattern).search(body) is not None
    name = "body_regexp" if wanted else "body_not_regexp"
    size = f"{len(seen.body or b''):,}"
    place = f"the first {size} bytes, and the body goes on" if seen.truncated else f"the {size} bytes of body"
    where = "in no body: none was read" if body is None else f"{'' if found else 'not '}in {place}"
    return Checked(
        name=name,
        passed=found if wanted else body is not None and not found and not seen.truncated,
        expected=f"{'' if wanted else 'not '}found: {_quoted(pattern)}",
        found=where,
        reason=Reason.TOO_LARGE if seen.truncated and not found else Reason.REGEXP,
        detail=f"{name} {_quoted(pattern)} {where}",
    )


def _in_utf8(body: bytes, charset: str | None) -> bytes:
    name = plain_charset(charset)
    return body if name is None else body.decode(name, "replace").encode()


def _json(expressions: tuple[str, ...], seen: Seen) -> Iterator[Checked]:
    """An answer whose body was cut has no JSON; what was read of it is not guessed at."""
    value, problem, reason = None, "", Reason.JSON
    if seen.truncated:
        size = f"{len(seen.body or b''):,}"
        problem, reason = f"the body goes on after {size} bytes, so that it is no whole JSON", Reason.TOO_LARGE
    else:
        try:
            value = parse_json(seen.body or b"", seen.charset)
        except NotJson as error:
            problem = f"the body is no JSON: {error}"
    for expression in expressions:
        found = problem or _judged(expression, value)
        yield Checked(
            name="json",
            passed=found == "true",
            expected=f"true: {_quoted(expression)}",
            found=found,
            reason=reason,
            detail=problem or f"json {_quoted(expression)}: {found}",
        )


def _judged(expression: str, value: Any) -> str:
    try:
        return "true" if is_true(expression, value) else "not true"
    except NotJudged as error:
        return str(error)


def _slow(slow_seconds: float, seen: Seen) -> Checked:
    took_ms, limit_ms = seen.response_time_ms, 1000 * slow_seconds
    took = UNKNOWN if took_ms is None else f"{took_ms:,.0f} ms"
    return Checked(
        name="slow",
        passed=took_ms is not None and took_ms <= limit_ms,
        expected=f"at most {limit_ms:,.0f} ms",
        found=took,
        reason=Reason.SLOW,
        detail=f"response time {took}, expected at most {limit_ms:,.0f} ms",
        is_down=took_ms is None,
    )


def _certificate(days: int, seen: Seen) -> Checked:
    certificate = seen.hops[-1].certificate if seen.hops else None
    expected = f"at least {days} days left"
    if certificate is None or seen.seen_at is None:
        is_http = _scheme(seen) == "http"
        found = "no certificate: the answer came over http" if is_http else f"certificate {UNKNOWN}"
        return Checked(
            name="certificate_days",
            passed=False,
            expected=expected,
            found=found,
            reason=Reason.SCHEME if is_http else Reason.TLS_EXPIRING,
            detail=f"{found}, expected {expected}",
        )
    left = certificate.chain_expires_at - seen.seen_at
    found = f"{left // _DAY} days left, until {certificate.chain_expires_at:%Y-%m-%d %H:%M} UTC"
    return Checked(
        name="certificate_days",
        passed=left >= days * _DAY,
        expected=expected,
        found=found,
        reason=Reason.TLS_EXPIRING,
        detail=f"certificate chain has {found}, expected {expected}",
        is_down=False,
    )


def _quoted(text: str) -> str:
    return f"'{one_line(text, limit=SHOWN_CHARACTERS)}'"
