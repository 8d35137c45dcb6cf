"""
What a request is, where a redirect leads and what may be sent there (RFC 9110, section 15.4). Pure. Used by journey.py.

A site's own headers, body and client certificate may be keys to it, so another origin gets none of them, not only no
Authorization and Cookie. Nor does it get a secret of the url's query, which servers like to repeat in a Location.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Literal
from urllib.parse import unquote, unquote_plus, urldefrag, urljoin, urlsplit

import msgspec

from wms_tasks.mask import MASKED
from wms_tasks.net.redact import bare_url
from wms_tasks.sites.record import TlsOptions

IpChoice = Literal["any", "4", "6", "prefer_4", "prefer_6"]

REDIRECTS = frozenset({301, 302, 303, 307, 308})
DEFAULT_PORTS = {"http": 80, "https": 443}
MAX_LOCATION_CHARACTERS = 8192
# What says nothing but who we are and what we can read.
_FOR_STRANGERS = frozenset({"accept", "accept-encoding", "accept-language", "connection", "user-agent"})
# What describes a body, and goes with it (RFC 9110, 15.4).
_OF_A_BODY = frozenset({"content-encoding", "content-language", "content-length", "content-location", "content-type"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """
    One request to make. ``headers`` and ``body`` are sent as they are, ``tls`` holds no references any more.
    ``secret_headers``: names, in lower case, of those that hold a secret, whatever they are called. ``url_secrets``:
    what the url holds that no other origin may find in its own, in whatever form; so the url is for no log.

    ``ip``: the addresses of the host to try (see resolve.py, `chosen`).
    """

    method: str
    url: str = field(repr=False)
    url_secrets: tuple[str, ...] = field(default=(), repr=False)
    headers: dict[str, str] = field(default_factory=dict, repr=False)
    secret_headers: frozenset[str] = frozenset()
    body: bytes | None = field(default=None, repr=False)
    tls: TlsOptions = field(default=TlsOptions(), repr=False)
    ip: IpChoice = "any"

    def bare_url(self) -> str:
        """What may be shown of the url; a secret that a redirect put into its path is none of it."""
        url = self.url
        for secret in self.url_secrets:
            url = url.replace(secret, MASKED)
        return bare_url(url)


class BadRedirect(ValueError):  # noqa: N818 - a fact about the answer, mapped to a reason
    """It leads nowhere that we go; the message is one line without secrets."""


def origin(url: str) -> tuple[str, str, int | None]:
    """
    Scheme, host and port, with the scheme's usual port filled in (RFC 6454).

    Raises:
        ValueError: the port is no number.
    """
    parts = urlsplit(url)
    return parts.scheme, parts.hostname or "", parts.port or DEFAULT_PORTS.get(parts.scheme)


def _target(url: str, location: str) -> str:
    if len(location) > MAX_LOCATION_CHARACTERS:
        raise BadRedirect(f"a Location of {len(location)} characters")
    with suppress(UnicodeError):
        # http.client reads headers as Latin-1; servers that do not escape send UTF-8.
        location = location.encode("latin-1").decode("utf-8")
    try:
        target = urldefrag(urljoin(url, location)).url
        scheme, host, _ = origin(target)
    except ValueError as error:
        raise BadRedirect("a Location that is no url") from error
    if scheme not in DEFAULT_PORTS:
        raise BadRedirect(f"a redirect to the scheme {scheme[:20]!r}")
    if not host:
        raise BadRedirect("a Location without a host")
    # Credentials that a stranger wrote into a url are not sent on.
    parts = urlsplit(target)
    return parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()


def _holds_any(secrets: Sequence[str], url: str) -> bool:
    """Whether one of them is in the url, or in a url that is a value of its query, however much of it is escaped."""
    if not secrets:
        return False
    once = unquote_plus(url)
    return any(secret in text for text in (url, unquote(url), once, unquote_plus(once)) for secret in secrets)


def _method(method: str, status_code: int) -> str:
    """303 asks for GET; 301 and 302 turn POST into GET, as every client does; 307 and 308 change nothing."""
    if (status_code == 303 and method != "HEAD") or (status_code in {301, 302} and method == "POST"):
        return "GET"
    return method


def next_request(request: Request, status_code: int, location: str) -> Request:
    """
    The request that a redirect asks for.

    To another origin goes neither what the site's own headers say, nor a client certificate or a server name. A body
    goes where the method stays, and never to another origin; nor does a secret of the url.

    Raises:
        BadRedirect: not http or https, no url at all, or the body or a secret would have to go to another origin.
    """
    url = _target(request.url, location)
    before, after = origin(request.url), origin(url)
    upgraded = before[1] == after[1] and (before[0], before[2], after[0], after[2]) == ("http", 80, "https", 443)
    at_home = before == after or upgraded
    method = _method(request.method, status_code)
    keeps_body = method == request.method and status_code != 303
    headers, body, tls = request.headers, request.body, request.tls
    if not keeps_body:
        headers, body = {name: value for name, value in headers.items() if name.lower() not in _OF_A_BODY}, None
    if not at_home:
        if body is not None:
            raise BadRedirect("a redirect that would take the request's body to another origin")
        if _holds_any(request.url_secrets, url):
            raise BadRedirect("a redirect that would take a secret of the url to another origin")
        public = _FOR_STRANGERS - request.secret_headers
        headers = {name: value for name, value in headers.items() if name.lower() in public}
        tls = msgspec.structs.replace(tls, certificate=None, key=None, server_name=None)
    return replace(request, method=method, url=url, headers=headers, body=body, tls=tls)
