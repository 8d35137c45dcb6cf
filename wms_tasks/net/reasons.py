"""
The one function that turns a client exception into a `Reason` and a line of detail. Pure.

Details are our own words and numbers: text from the wire or from libraries may repeat urls and headers, and with them
secrets. The layers above see only `Failure`.
"""

from __future__ import annotations

import errno
import http.client
import os
import socket
import ssl
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product

import requests
import urllib3.exceptions

from wms_tasks.net.guard import Blocked
from wms_tasks.net.progress import Phase
from wms_tasks.net.reading import HeadTooLarge, WireTooLarge
from wms_tasks.net.redact import one_line
from wms_tasks.net.tls import BadTlsOptions
from wms_tasks.result import Reason

# What a request may fail with by the site's fault. Anything else is ours, and must be seen as such.
CLIENT_ERRORS = (
    requests.RequestException,
    urllib3.exceptions.HTTPError,
    http.client.HTTPException,
    OSError,
    BadTlsOptions,
    UnicodeError,
)

# OpenSSL's X509_V_ERR_*: not yet valid, expired; hostname, IP address mismatch.
_OUT_OF_VALIDITY = frozenset({9, 10})
_WRONG_NAME = frozenset({62, 64})

_WAITING_FOR = {
    Phase.RESOLVE: "the resolver",
    Phase.CONNECT: "the connection",
    Phase.TLS: "the TLS handshake",
    Phase.PROCESSING: "the answer's head",
    Phase.TRANSFER: "the rest of the body",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """Why there is no whole answer; ``detail`` is one redacted line."""

    reason: Reason
    detail: str


def _chain(error: BaseException) -> Iterator[BaseException]:
    """The error and all that it was made from: causes, contexts and wrapped arguments."""
    seen: set[int] = set()
    todo: list[BaseException] = [error]
    while todo:
        current = todo.pop(0)
        if id(current) in seen:
            continue
        seen.add(id(current))
        yield current
        inner = (current.__cause__, current.__context__, getattr(current, "reason", None), *current.args)
        todo.extend(i for i in inner if isinstance(i, BaseException))


def timed_out(phase: Phase, deadline_seconds: float) -> Failure:
    """The deadline came in `phase`."""
    reason = {Phase.RESOLVE: Reason.DNS, Phase.CONNECT: Reason.CONNECT_TIMEOUT}.get(phase, Reason.TIMEOUT)
    return Failure(reason=reason, detail=f"still waiting for {_WAITING_FOR[phase]} after {deadline_seconds:g} s")


def _certificate(error: ssl.SSLCertVerificationError) -> Failure:
    detail = one_line(error.verify_message or "certificate verify failed")
    if error.verify_code in _OUT_OF_VALIDITY:
        return Failure(reason=Reason.TLS_EXPIRED, detail=detail)
    if error.verify_code in _WRONG_NAME:
        return Failure(reason=Reason.TLS_HOSTNAME, detail=detail)
    return Failure(reason=Reason.TLS_UNTRUSTED, detail=detail)


def _system(error: OSError) -> str:
    return os.strerror(error.errno) if error.errno else "the network failed"


def _of_connecting(error: OSError) -> Failure:
    if isinstance(error, ConnectionRefusedError):
        return Failure(reason=Reason.CONNECT_REFUSED, detail=_system(error))
    if isinstance(error, TimeoutError) or error.errno == errno.ETIMEDOUT:
        return Failure(reason=Reason.CONNECT_TIMEOUT, detail="no address answered")
    return Failure(reason=Reason.CONNECT_FAILED, detail=_system(error))


def _cut(phase: Phase) -> Failure:
    when = {Phase.TLS: "during the TLS handshake", Phase.TRANSFER: "in the middle of the body"}
    return Failure(
        reason=Reason.RESET, detail=f"the connection was closed {when.get(phase, 'before the answer was whole')}"
    )


def _misframed(error: BaseException) -> bool:
    """Whether a chunk's size was no number; an empty one is where the connection ended."""
    return any(type(e) is ValueError and not str(e).endswith("b''") for e in _chain(error))


def _of_guard(error: BaseException, phase: Phase) -> Failure | None:  # noqa: ARG001 - the others' signature
    return Failure(reason=Reason.BLOCKED_ADDRESS, detail=one_line(str(error))) if isinstance(error, Blocked) else None


def _of_tls(error: BaseException, phase: Phase) -> Failure | None:
    match error:
        case ssl.SSLCertVerificationError():
            return _certificate(error)
        case ssl.SSLEOFError() | ssl.SSLZeroReturnError():
            return _cut(phase)
        case ssl.SSLError():
            words = (error.reason or "TLS failed").replace("_", " ").lower()
            return Failure(reason=Reason.TLS_OTHER, detail=one_line(words))
    return None


def _of_network(error: BaseException, phase: Phase) -> Failure | None:
    match error:
        case requests.RequestException():  # an OSError only by inheritance
            return None
        case socket.gaierror():
            return Failure(reason=Reason.DNS, detail=one_line(error.strerror or "the name has no address"))
        case UnicodeError() if phase is Phase.RESOLVE:
            return Failure(reason=Reason.DNS, detail="the host cannot be a name")
        case OSError() if phase is Phase.CONNECT:
            return _of_connecting(error)
        case http.client.RemoteDisconnected() | ConnectionError():
            return _cut(phase)
    return None


def _of_http(error: BaseException, phase: Phase) -> Failure | None:
    detail = None
    match error:
        case http.client.IncompleteRead() | urllib3.exceptions.IncompleteRead() if not _misframed(error):
            return _cut(phase)
        case WireTooLarge():
            return Failure(reason=Reason.TOO_LARGE, detail=one_line(str(error)))
        case HeadTooLarge() | http.client.LineTooLong():
            detail = one_line(str(error))
        case urllib3.exceptions.InvalidHeader():
            detail = "Content-Length says two things"
        case requests.exceptions.InvalidHeader():
            detail = "a configured header cannot be sent"
        case requests.exceptions.InvalidURL() | urllib3.exceptions.LocationValueError():
            detail = "the url cannot be requested"
        case urllib3.exceptions.DecodeError():
            detail = "the body is not in the encoding its headers name"
    return Failure(reason=Reason.PROTOCOL, detail=detail) if detail else None


def failure_of(error: BaseException, phase: Phase, *, deadline_seconds: float) -> Failure:
    """
    What `error`, raised in `phase`, says about the site. Every member of CLIENT_ERRORS has an answer.

    The innermost error decides: requests and urllib3 wrap what the socket, TLS or HTTP said two or three times over.
    """
    chain = list(_chain(error))
    ours = next((e for e in chain if isinstance(e, BadTlsOptions)), None)
    if ours is not None:  # our own words, whatever OpenSSL said before them
        return Failure(reason=Reason.TLS_OTHER, detail=one_line(str(ours)))
    for inner, look in product(reversed(chain), (_of_guard, _of_tls, _of_network, _of_http)):
        found = look(inner, phase)
        if found is not None:
            return found
    if any(isinstance(e, TimeoutError | urllib3.exceptions.TimeoutError | requests.Timeout) for e in chain):
        return timed_out(phase, deadline_seconds)
    if any(isinstance(e, OSError) and not isinstance(e, requests.RequestException) for e in chain):
        return _cut(phase)
    if phase is Phase.TRANSFER:
        return Failure(reason=Reason.PROTOCOL, detail="the body breaks HTTP's rules")
    words = "more than 100 headers" if "headers" in str(chain[-1]) else "the answer is not HTTP"
    return Failure(reason=Reason.PROTOCOL, detail=words)
