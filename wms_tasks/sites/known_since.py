"""
From which version of an order on workers know each field of a site. Pure.

An order has the lowest version whose workers know all that its site uses, so that an older worker leaves only those
alone that it would get wrong. Called by beat, for each order.
"""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

from wms_tasks.sites.record import Auth, Expect, HeaderRule, Site, TlsOptions, plain

# A field that is added to a record is added here, with the version that the same release raises ORDER_VERSION to
# (wms_tasks/order.py); a release that changes what a field's values may be does the same for them, in `_used`.
FIELDS: dict[int, dict[type[msgspec.Struct], str]] = {
    1: {
        Site: "site_id name url method headers interval_seconds jitter_seconds timeout_seconds retries robots "
        "spacing_seconds tags expect",
        Expect: "status body_regexp",
    },
    2: {
        Site: "body auth tls compression max_redirects ip max_body_bytes evidence allow_networks allow_ports",
        Expect: "http_versions tls body_regexps body_not_regexps headers not_headers json certificate_days "
        "slow_seconds",
        HeaderRule: "name regexp may_lack",
        Auth: "username password bearer",
        TlsOptions: "ca certificate key server_name min_version max_version verify",
    },
    3: {},
}
_SINCE = {
    (record, name): version
    for version, records in FIELDS.items()
    for record, names in records.items()
    for name in names.split()
}
# What 0.1.0 could ask with, and without a body: of others it would make a request without one.
_FIRST_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})


def version_of(site: Site) -> int:
    """
    The version of its orders.

    Raises:
        KeyError: a field that is set is in no version; a test finds it before that.
    """
    return max(_used(site))


def _used(site: Site) -> Iterator[int]:
    yield from _versions(site)
    if site.method not in _FIRST_METHODS:
        yield 2
    # 0.1.0 would send a reference as it is written.
    if any("${" in value for value in site.headers.values()):
        yield 2
    # And in a url, so would 0.2.0 and 0.3.0.
    if "${" in site.url:
        yield 3


def _versions(record: msgspec.Struct) -> Iterator[int]:
    for name in plain(record):
        yield _SINCE[type(record), name]
        value = getattr(record, name)
        for part in value if isinstance(value, tuple) else (value,):
            if isinstance(part, msgspec.Struct):
                yield from _versions(part)
