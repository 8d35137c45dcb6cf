"""
From what is written about one site, and the defaults, to the `Site` that is probed. Pure.
"""

from __future__ import annotations

from collections.abc import Set
from functools import lru_cache
from typing import Any, NamedTuple

import msgspec

from wms_tasks.sites.expect_build import build_expect
from wms_tasks.sites.record import Auth, Expect, Site, TlsOptions, site_id_for
from wms_tasks.sites.request_spec import AuthSpec, TlsSpec
from wms_tasks.sites.spec import DefaultsSpec, SiteSpec
from wms_tasks.sites.times import Times, resolve_times

RETRIES_DEFAULT = 1
MAX_REDIRECTS_DEFAULT = 5
# As written, under the same name in `Site`.
_PLAIN_KEYS = frozenset({"body", "compression", "ip", "evidence", "allow_networks", "allow_ports"})
# What most sites do not write: it is looked at only where it is.
_RARE_KEYS = _PLAIN_KEYS | {"auth", "tls", "follow_redirects", "max_redirects", "max_body"}


class Asked(NamedTuple):
    """
    What a site is asked and expected to answer: its own, else the default's, else ours. ``rare`` holds the fields of
    `Site` that are not as they are by default.
    """

    method: str
    headers: dict[str, str]
    expect: Expect
    rare: dict[str, Any]


def what_is_asked(spec: DefaultsSpec, defaults: DefaultsSpec) -> Asked:
    """Every key but those of identity, times and politeness; merged, not yet looked at in pairs."""
    own, shared = spec.model_fields_set, defaults.model_fields_set
    rare = not (_RARE_KEYS.isdisjoint(own) and _RARE_KEYS.isdisjoint(shared))
    return Asked(
        method=spec.method or defaults.method or "GET",
        headers=_headers(spec.headers or {}, defaults.headers or {}),
        expect=build_expect(spec.expect, defaults.expect),
        rare=_rare(spec, defaults, own | shared) if rare else {},
    )


def site_times(spec: DefaultsSpec, defaults: DefaultsSpec) -> Times:
    """
    The site's times: each its own, else the file's default, else ours.

    Raises:
        ValueError: they do not fit together.
    """
    return resolve_times(
        _first(spec.interval, defaults.interval),
        _first(spec.jitter, defaults.jitter),
        _first(spec.timeout, defaults.timeout),
    )


def build_site(spec: SiteSpec, defaults: DefaultsSpec, asked: Asked, times: Times, *, spacing_ms: int) -> Site:
    """The site with every gap filled."""
    retries = _first(spec.retries, defaults.retries)
    site = Site(
        site_id=site_id_for(spec.id or spec.name),
        name=spec.name,
        url=spec.url,
        method=asked.method,
        headers=asked.headers,
        interval_seconds=_seconds(times.interval_ms),
        jitter_seconds=_seconds(times.jitter_ms),
        timeout_seconds=_seconds(times.timeout_ms),
        retries=RETRIES_DEFAULT if retries is None else retries,
        robots=spec.robots or defaults.robots or "respect",
        spacing_seconds=_seconds(spacing_ms),
        tags=defaults.tags or () if spec.tags is None else spec.tags,
        expect=asked.expect,
    )
    return msgspec.structs.replace(site, **asked.rare) if asked.rare else site


def _rare(spec: DefaultsSpec, defaults: DefaultsSpec, written: Set[str]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key in written & _PLAIN_KEYS:
        if (value := _own_or_default(key, spec, defaults)) is not None:
            found[key] = value
    if "max_body" in written and (size := _own_or_default("max_body", spec, defaults)) is not None:
        found["max_body_bytes"] = size
    if auth := spec.auth or defaults.auth:
        found["auth"] = _auth(auth)
    if spec.tls or defaults.tls:
        found["tls"] = _tls(spec.tls, defaults.tls)
    if (redirects := _max_redirects(spec, _max_redirects(defaults, None))) is not None:
        found["max_redirects"] = redirects
    return found


def _own_or_default(key: str, spec: DefaultsSpec, defaults: DefaultsSpec) -> Any:
    own = getattr(spec, key)
    return getattr(defaults, key) if own is None else own


def _auth(spec: AuthSpec) -> Auth:
    if spec.basic is None:
        return Auth(bearer=spec.bearer)
    return Auth(username=spec.basic.username, password=spec.basic.password)


def _tls(own: TlsSpec | None, default: TlsSpec | None) -> TlsOptions:
    fields = {key: value for spec in (default, own) if spec for key, value in spec if value is not None}
    return TlsOptions(**fields)


def _max_redirects(spec: DefaultsSpec, default: int | None) -> int | None:
    """None: nothing is written about redirects."""
    if spec.follow_redirects is False:
        return 0
    if spec.max_redirects is not None:
        return spec.max_redirects
    return (default or MAX_REDIRECTS_DEFAULT) if spec.follow_redirects else default


def _first(own: int | None, default: int | None) -> int | None:
    return default if own is None else own


@lru_cache(maxsize=4096)
def _seconds(ms: int) -> float:
    return ms / 1000


def _headers(own: dict[str, str], defaults: dict[str, str]) -> dict[str, str]:
    if not defaults:
        return own
    written = {name.lower() for name in own}
    return {name: value for name, value in defaults.items() if name.lower() not in written} | own
