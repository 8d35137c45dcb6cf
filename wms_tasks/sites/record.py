"""
One `Site`: everything a worker needs to probe it, and nothing secret. Travels inside the task message as JSON, without
what has its default. A field that a worker does not know is an error there: see `wms_tasks.order`, and known_since.py.

Made by ``sites.file``; a hand-made one is only checked for types.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from functools import lru_cache
from typing import Any, Literal
from uuid import UUID, uuid5

import msgspec

from wms_tasks.prepared import prepared

# A namespace of our own, so that ids never collide with uuid5s made elsewhere from the same names. Never change it:
# every site's id, and with it every row's key, follows from it.
SITE_NAMESPACE = UUID("5d6f2a0e-3f5e-5c0b-9f0e-77656273697a")


def site_id_for(identity: str) -> UUID:
    """The site's id from its ``id`` in the file (by default its name); stable over processes and releases."""
    return uuid5(SITE_NAMESPACE, identity)


class HeaderRule(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True):
    """
    A pattern for a header of the answer; ``name`` in lower case. Under ``headers`` one of its values must match, and
    ``may_lack`` says that the header need not be there; under ``not_headers`` none of them may.
    """

    name: str
    regexp: str
    may_lack: bool = False


class Expect(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True):
    """
    What an answer must be for the site to be up.

    ``status`` holds codes ("200") and classes ("2xx"); ``http_versions`` "1.0", "1.1", empty: any. ``tls``: the last
    hop must, or must not, be https. All of ``body_regexp`` and ``body_regexps`` are found in the body, none of
    ``body_not_regexps``. ``json``: JMESPath expressions, each true of the body. ``certificate_days``: with fewer days
    until the chain's earliest expiry, and ``slow_seconds``: above that response time, the outcome stays up, with
    reason ``tls_expiring`` or ``slow``.
    """

    status: tuple[str, ...] = ("2xx",)
    http_versions: tuple[str, ...] = ()
    tls: Literal["required", "forbidden"] | None = None
    body_regexp: str | None = None
    body_regexps: tuple[str, ...] = ()
    body_not_regexps: tuple[str, ...] = ()
    headers: tuple[HeaderRule, ...] = ()
    not_headers: tuple[HeaderRule, ...] = ()
    json: tuple[str, ...] = ()
    certificate_days: int | None = None
    slow_seconds: float | None = None


class Auth(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True):
    """
    Credentials, by reference: ``basic`` (``username`` and ``password``) or ``bearer``. ``password`` and ``bearer`` hold
    ``${WMS_SECRET_…}`` or ``${file:…}``, never a secret itself; the worker resolves them.
    """

    username: str | None = None
    password: str | None = None
    bearer: str | None = None


class TlsOptions(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True):
    """
    How https is spoken. ``ca`` is PEM text or a ``${file:…}`` of it, instead of the system's authorities;
    ``certificate`` and ``key`` are ``${file:…}`` references. ``server_name`` is sent (SNI) and checked instead of the
    url's host. Versions are "1.0" to "1.3", None: OpenSSL's. ``verify`` false: any certificate will do, and is
    reported.
    """

    ca: str | None = None
    certificate: str | None = None
    key: str | None = None
    server_name: str | None = None
    min_version: Literal["1.0", "1.1", "1.2", "1.3"] | None = None
    max_version: Literal["1.0", "1.1", "1.2", "1.3"] | None = None
    verify: bool = True


@prepared
class Site(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True):
    """
    A site as probed. Durations in seconds; ``interval`` is at least 1, ``jitter + timeout`` fits inside it.

    ``spacing_seconds`` is the least time between two requests to the url's host, over all workers. ``headers``
    values and ``body`` may hold references to secrets, which the worker resolves. ``compression`` names the encodings
    that are accepted, none: identity. ``ip``: the address family, ``prefer_…`` falls back to the other. ``evidence``:
    what a result that is not up keeps of the answer. ``allow_networks`` (CIDR) and ``allow_ports`` ("8080",
    "9000-9100") open the guard for this site, beside what the worker's settings open.
    """

    site_id: UUID
    name: str
    url: str
    method: str = "GET"
    headers: dict[str, str] = msgspec.field(default_factory=dict)
    body: str | None = None
    auth: Auth | None = None
    tls: TlsOptions = TlsOptions()
    compression: tuple[str, ...] = ("gzip",)
    max_redirects: int = 5
    ip: Literal["any", "4", "6", "prefer_4", "prefer_6"] = "any"
    max_body_bytes: int = 1024 * 1024
    evidence: Literal["none", "headers", "body"] = "headers"
    allow_networks: tuple[str, ...] = ()
    allow_ports: tuple[str, ...] = ()
    interval_seconds: float = 60.0
    jitter_seconds: float = 6.0
    timeout_seconds: float = 10.0
    retries: int = 1
    robots: Literal["respect", "ignore"] = "respect"
    spacing_seconds: float = 1.0
    tags: tuple[str, ...] = ()
    expect: Expect = Expect()

    def digest(self) -> str:
        """`digest_of` the spec."""
        return digest_of(plain(self))


@lru_cache(maxsize=16)
def _defaults(kind: type[msgspec.Struct]) -> dict[str, Any]:
    """Of each field; `msgspec.NODEFAULT`, which is no field's value, of one without."""
    return {
        one.name: one.default if one.default_factory is msgspec.NODEFAULT else one.default_factory()
        for one in msgspec.structs.fields(kind)
    }


def plain(record: msgspec.Struct) -> dict[str, Any]:
    """
    The record in JSON's types, without what equals its default.

    msgspec's own ``omit_defaults``, which asks whether it is that very object, leaves some defaults that somebody wrote
    out: an older worker would meet a field there that it need not know.
    """
    found: dict[str, Any] = msgspec.to_builtins(record)
    defaults = _defaults(type(record))
    for name in [*found]:
        value = getattr(record, name)
        if value == defaults[name]:
            del found[name]
        elif isinstance(value, msgspec.Struct):
            found[name] = plain(value)
        elif isinstance(value, tuple) and value and isinstance(value[0], msgspec.Struct):
            found[name] = [plain(part) for part in value]
    return found


# What 0.1.0 wrote out also where it was not set. It stays in every digest, so that a site has the same one in all
# releases: to the ledger another digest is another version of the site.
_WRITTEN_OUT: dict[str, Any] = {
    "method": "GET",
    "headers": {},
    "interval_seconds": 60.0,
    "jitter_seconds": 6.0,
    "timeout_seconds": 10.0,
    "retries": 1,
    "robots": "respect",
    "spacing_seconds": 1.0,
    "tags": (),
}
_EXPECT_WRITTEN_OUT: dict[str, Any] = {"status": ("2xx",), "body_regexp": None}


def digest_of(spec: Mapping[str, Any]) -> str:
    """
    16 hex digits of sha256 over the canonical JSON: changes exactly when the spec does.

    Args:
        spec: a site as `plain` makes it; also a newer release's, or 0.1.0's.
    """
    expect = spec.get("expect", {})
    if isinstance(expect, dict):
        expect = _EXPECT_WRITTEN_OUT | expect
    canonical = msgspec.json.encode(_WRITTEN_OUT | dict(spec) | {"expect": expect}, order="sorted")
    return hashlib.sha256(canonical).hexdigest()[:16]
