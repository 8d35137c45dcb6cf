"""
Keys of one site that cannot stand together: what would never be true, or never be looked at. Pure; used by check.py.

Looked at after the defaults are merged in. What follows from a key that is wrong in itself is not told.
"""

from __future__ import annotations

from collections.abc import Iterator, Set
from typing import NamedTuple

from wms_tasks.sites.build import Asked
from wms_tasks.sites.durations import format_duration
from wms_tasks.sites.record import Expect
from wms_tasks.sites.spec import DefaultsSpec

WITH_BODY = ("POST", "PUT", "PATCH", "DELETE")
_REDIRECTS = ("follow_redirects", "max_redirects")


class Pair(NamedTuple):
    """``keys``: the site's keys it follows from, the one to point at first."""

    keys: tuple[str, ...]
    text: str


def impossible_pairs(
    spec: DefaultsSpec, asked: Asked, *, url: str | None, timeout_ms: int | None, unsure: Set[str]
) -> tuple[Pair, ...]:
    """
    Each pair that cannot be.

    Args:
        url: the site's, None where it is wrong.
        timeout_ms: the same.
        unsure: keys that are wrong, here or in the defaults.
    """
    if not asked.rare and asked.method == "GET" and _is_plain(asked.expect):
        return ()  # nearly every site
    pairs = _all_pairs(spec, asked, url, timeout_ms)
    return tuple(pair for pair in pairs if unsure.isdisjoint(pair.keys))


def contradiction(spec: DefaultsSpec) -> str | None:
    """What is written about redirects in one place, if it says two things."""
    if spec.follow_redirects is None or spec.max_redirects is None or spec.follow_redirects == bool(spec.max_redirects):
        return None
    followed = "true" if spec.follow_redirects else "false"
    return f"follow_redirects: {followed} and max_redirects: {spec.max_redirects} do not go together (leave one out)"


def _is_plain(expect: Expect) -> bool:
    return expect.tls is None and expect.certificate_days is None and expect.slow_seconds is None


def _all_pairs(spec: DefaultsSpec, asked: Asked, url: str | None, timeout_ms: int | None) -> Iterator[Pair]:
    if text := contradiction(spec):
        yield Pair(("max_redirects", "follow_redirects"), text)
    if asked.rare.get("body") is not None and asked.method not in WITH_BODY:
        hint = f"use {', '.join(WITH_BODY[:-1])} or {WITH_BODY[-1]}, or take the body out"
        yield Pair(("body", "method"), f"method {asked.method} sends no body ({hint})")
    if asked.method == "HEAD" and (key := _key_about_the_body(asked.expect)):
        yield Pair(("method", "expect"), f"method HEAD brings no body that expect.{key} could match (use GET)")
    if "auth" in asked.rare and any(name.lower() == "authorization" for name in asked.headers):
        yield Pair(("auth", "headers"), "auth and the header Authorization say the same thing twice (leave one out)")
    yield from _tls_pairs(asked)
    yield from _slow_pairs(asked.expect, timeout_ms)
    if url is not None:
        yield from _scheme_pairs(spec, asked, url)


def _key_about_the_body(expect: Expect) -> str | None:
    if expect.body_regexp or expect.body_regexps:
        return "body_regexp"
    if expect.body_not_regexps:
        return "body_not_regexp"
    return "json" if expect.json else None


def _tls_pairs(asked: Asked) -> Iterator[Pair]:
    tls = asked.rare.get("tls")
    if tls is None:
        return
    if tls.key is not None and tls.certificate is None:
        yield Pair(("tls",), "tls.key is there without tls.certificate (the key of which certificate?)")
    if tls.min_version and tls.max_version and tls.min_version > tls.max_version:  # "1.0" to "1.3" sort as text
        text = f"tls.min_version {tls.min_version} is above tls.max_version {tls.max_version} (swap them?)"
        yield Pair(("tls",), text)
    if tls.ca is not None and not tls.verify:
        yield Pair(("tls",), "tls.ca is for nothing with tls.verify: false (leave one out)")


def _slow_pairs(expect: Expect, timeout_ms: int | None) -> Iterator[Pair]:
    if expect.slow_seconds is None or timeout_ms is None:
        return
    slow_ms = round(expect.slow_seconds * 1000)
    if slow_ms >= timeout_ms:
        text = f"expect.slow {format_duration(slow_ms)} is not below the timeout {format_duration(timeout_ms)}"
        yield Pair(("expect", "timeout", "interval", "jitter"), f"{text} (the probe would end before it is slow)")


def _scheme_pairs(spec: DefaultsSpec, asked: Asked, url: str) -> Iterator[Pair]:
    expect, is_https = asked.expect, url.lower().startswith("https:")
    if expect.tls == "forbidden" and expect.certificate_days is not None:
        yield Pair(("expect",), "expect.certificate_days asks for a certificate, and expect.tls: forbidden for none")
    if asked.rare.get("max_redirects") != 0:
        return  # where a redirect may lead is known when it does
    stays = f"the url is {'https' if is_https else 'http'}, and redirects are not followed"
    if expect.tls == ("forbidden" if is_https else "required"):
        yield Pair(("expect", "url", *_REDIRECTS), f"expect.tls: {expect.tls} can never be: {stays}")
    elif expect.certificate_days is not None and not is_https:
        hint = "certificate_days: 0 takes it back"
        yield Pair(("expect", "url", *_REDIRECTS), f"expect.certificate_days finds no certificate: {stays} ({hint})")
    if spec.tls is not None and not is_https:
        yield Pair(("tls", "url", *_REDIRECTS), f"tls is for nothing: {stays}")
