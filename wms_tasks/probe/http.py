"""
Ask a site once, as its spec says, and note what came. Decides nothing (see judge.py) and never raises for the site's
fault. Called by the probe task and by ``wms check``.
"""

from __future__ import annotations

import base64
from dataclasses import replace
from typing import TYPE_CHECKING

import msgspec

from wms_tasks import clock, tracing
from wms_tasks.errors import SecretError
from wms_tasks.net.fetch import Answer, Fetcher, process_fetcher
from wms_tasks.net.guard import CLOSED, Guard
from wms_tasks.net.reasons import Failure
from wms_tasks.net.redact import bare_url, one_line
from wms_tasks.net.redirect import Request
from wms_tasks.probe.charset import charset_of
from wms_tasks.probe.expectations import status_matches
from wms_tasks.probe.secrets import NO_SECRETS, NOTHING_REVEALED, Revealed, Secrets
from wms_tasks.probe.seen import Seen
from wms_tasks.result import Reason
from wms_tasks.sites.record import Site, TlsOptions
from wms_tasks.sites.references import URL, has_reference
from wms_tasks.sites.secret_hosts import hosts_hold
from wms_tasks.sites.url import host_of

if TYPE_CHECKING:
    from wms_tasks.tracing.spans import Traces


def request_for(site: Site, user_agent: str, revealed: Revealed = NOTHING_REVEALED) -> Request:
    """
    The first request to `site`; its own headers win over ours, whatever their case.

    Args:
        revealed: the site's texts with their secrets; without it, references are sent as they are written.
    """
    headers = {
        "user-agent": ("User-Agent", user_agent),
        "accept": ("Accept", "*/*"),
        # Where nothing is named, none is wanted (RFC 9110, 12.5.3).
        "accept-encoding": ("Accept-Encoding", ", ".join(site.compression) or "identity"),
        "connection": ("Connection", "close"),
    }
    if (traces := tracing.TRACES) is not None and (trace := _trace(traces, site)) is not None:
        headers[tracing.HEADER] = (tracing.HEADER, trace)
    if (credentials := authorization(site, revealed)) is not None:
        headers["authorization"] = ("Authorization", credentials)
    for name, written in site.headers.items():
        headers[name.lower()] = (name, revealed.text(f"headers.{name}") or written)
    body = revealed.text("body") or site.body
    return Request(
        method=site.method,
        url=revealed.text(URL) or site.url,
        url_secrets=revealed.in_url,
        headers=dict(headers.values()),
        secret_headers=frozenset(name.lower() for name, written in site.headers.items() if has_reference(written)),
        body=None if body is None else body.encode(),
        tls=_tls(site, revealed),
        ip=site.ip,
    )


def _trace(traces: Traces, site: Site) -> str | None:
    """What a site that WMS_TRACE_HOSTS names is told of our trace; strangers are told nothing."""
    return traces.header() if hosts_hold(traces.told_hosts, host_of(site.url)) else None


def tls_for(site: Site, secrets: Secrets) -> TlsOptions:
    """
    How https is spoken to the site, also when its robots.txt is fetched; with its secrets.

    Raises:
        SecretError: one of the site's cannot be had. Not where it has no TLS options, whatever else it refers to.
    """
    return site.tls if site.tls == TlsOptions() else _tls(site, secrets.reveal(site))


def _tls(site: Site, revealed: Revealed) -> TlsOptions:
    if site.tls == TlsOptions():
        return site.tls
    found = {key: revealed.text(f"tls.{key}") or getattr(site.tls, key) for key in ("ca", "certificate", "key")}
    return msgspec.structs.replace(site.tls, **found)


def authorization(site: Site, revealed: Revealed) -> str | None:
    """The Authorization header that the site's ``auth`` asks for (RFC 7617, RFC 6750); None without one."""
    if site.auth is None:
        return None
    if (token := revealed.text("auth.bearer")) is not None:
        return f"Bearer {token}"
    pair = f"{site.auth.username or ''}:{revealed.text('auth.password') or ''}"
    return f"Basic {base64.b64encode(pair.encode()).decode()}"


def _seen(answer: Answer, revealed: Revealed) -> Seen:
    failure = answer.failure
    return Seen(
        url=bare_url(revealed.scrub(answer.url)),
        redirects=answer.redirects,
        status_code=answer.status_code,
        body=answer.body,
        truncated=answer.truncated,
        charset=charset_of(answer.headers.get("content-type", "")),
        retry_after="retry-after" in answer.headers,
        response_time_ms=answer.elapsed_ms,
        failure=failure and replace(failure, detail=revealed.scrub(failure.detail)),
        hops=tuple(replace(hop, url=revealed.scrub(hop.url)) for hop in answer.hops),
        headers=answer.headers,
        wire_bytes=answer.wire_bytes,
        seen_at=clock.utcnow(),
        revealed=revealed,
    )


def probe(  # noqa: PLR0913 - what bounds a probe, and what it is made with
    site: Site,
    *,
    deadline_seconds: float,
    user_agent: str,
    guard: Guard = CLOSED,
    secrets: Secrets = NO_SECRETS,
    fetcher: Fetcher | None = None,
) -> Seen:
    """
    One probe. Where the site follows no redirects, or expects the status of one, the redirect is the answer. DNS,
    connect, TLS, headers, body and redirects share `deadline_seconds`. Where a secret cannot be had, nothing is sent,
    and the failure's reason is ``secret``.

    Args:
        guard: what may be connected to; by default only the public internet.
        secrets: what the site's references are looked up in.
        fetcher: this process's own by default.

    Raises:
        Cancelled: the process is stopping; the slot is another worker's.
    """
    try:
        revealed = secrets.reveal(site)
    except SecretError as error:
        return Seen(url=bare_url(site.url), failure=Failure(reason=Reason.SECRET, detail=one_line(error.message)))
    answer = (fetcher or process_fetcher()).fetch(
        request_for(site, user_agent, revealed),
        deadline_seconds=deadline_seconds,
        max_body_bytes=site.max_body_bytes,
        max_redirects=site.max_redirects,
        is_final=lambda status_code: site.max_redirects == 0 or status_matches(site.expect.status, status_code),
        guard=guard,
    )
    return _seen(answer, revealed)
