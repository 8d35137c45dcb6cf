"""The servers that the table's cases are about, and the secrets that its sites refer to."""

from __future__ import annotations

import gzip
import json
import ssl
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import trustme

from tests.certificates import (
    AUTHORITY,
    CA,
    NOW,
    PAST,
    SOON,
    chain_of,
    in_front,
    key_of,
    only_tls_1_1,
    self_signed,
    without_intermediate,
)
from tests.servers import (
    Behaviour,
    LocalServer,
    Peer,
    SeenRequest,
    answer,
    black_hole,
    bomb,
    close,
    encoded,
    failing,
    hang,
    head,
    huge,
    raw,
    redirect,
    refusing_url,
    repeat,
    reset,
    slow,
)

VARIABLE = "variable-7f3a"
FILE = "file-91c2"
ENVIRON = {"WMS_SECRET_TOKEN": VARIABLE}
LATER = NOW + timedelta(days=400)


def wants(asked: Callable[[SeenRequest], bool], then: Behaviour | None = None) -> Behaviour:
    """The answer, to a request that is as it should be; else 400."""
    right = then or answer(b"right")

    def behave(peer: Peer) -> None:
        (right if asked(peer.request) else failing(400))(peer)

    return behave


def wants_header(name: str, value: str) -> Behaviour:
    """The answer, to whoever sends that header."""
    return wants(lambda request: request.headers.get(name) == value)


def _codings(request: SeenRequest) -> list[str]:
    return request.headers.get("accept-encoding", "").split(", ")


def _authorization() -> dict[str, Behaviour]:
    return {
        "/basic": wants_header("authorization", "Basic bWU6dmFyaWFibGUtN2YzYQ=="),  # me:variable-7f3a
        "/bearer": wants_header("authorization", f"Bearer {FILE}"),
        "/other-scheme": wants_header("authorization", f"ApiKey {VARIABLE}"),
        "/header": wants_header("x-plain", "as written"),
        "/header-variable": wants_header("x-secret", f"a {VARIABLE}"),
        "/header-file": wants_header("x-secret", FILE),
        "/query": wants(lambda request: request.path == f"/query?a=1&key={VARIABLE}&file={FILE}"),
    }


def _requests() -> dict[str, Behaviour]:
    return {
        "/head": wants(lambda request: request.method == "HEAD"),
        "/post": wants(lambda request: (request.method, request.body) == ("POST", b"question")),
        "/post-file": wants(lambda request: request.body == f"key={FILE}".encode()),
        "/gzip": wants(lambda request: _codings(request) == ["gzip"], encoded(b"in gzip")),
        "/br": wants(lambda request: _codings(request) == ["br"], encoded(b"in brotli", "br")),
        "/deflate": wants(lambda request: "deflate" in _codings(request), encoded(b"in deflate", "deflate")),
        "/identity": wants(lambda request: _codings(request) == ["identity"]),
    }


def _answers() -> dict[str, Behaviour]:
    facts = json.dumps({"status": "ok", "errors": [], "queues": [{"lag": 5}, {"lag": 70}]}).encode()
    return {
        "/": answer(b"all systems go", headers={"X-Cache": "HIT", "Set-Cookie": "session=1"}),
        "/missing": failing(404),
        "/error": failing(503),
        "/json": answer(facts, headers={"Content-Type": "application/json"}),
        "/1.0": raw(b"HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok"),
        "/slow": slow(0.3),
        "/large": huge(100_000),
        "/bomb": bomb(20_000_000),
    }


def _failures() -> dict[str, Behaviour]:
    chunked = head(headers={"Transfer-Encoding": "chunked"})
    member = gzip.compress(b"")
    return {
        "/hang": hang,
        "/drip": repeat(b"x", first=head(), every_seconds=0.02),
        "/interim": repeat(b"HTTP/1.1 100 Continue\r\n\r\n", every_seconds=0.01),
        "/reset": reset,
        "/close": close,
        "/cut": raw(head(headers={"Content-Length": "100"}) + b"half"),
        "/not-http": raw(b"SSH-2.0-OpenSSH_9.2\r\n"),
        "/large-header": raw(b"HTTP/1.1 200 OK\r\nX: " + b"x" * 1024 * 1024 + b"\r\n\r\n"),
        "/many-headers": raw(b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 10_000 + b"\r\n"),
        "/bad-chunks": raw(chunked + b"zz\r\nhello\r\n"),
        "/no-gzip": answer(b"plain", headers={"Content-Encoding": "gzip"}),
        "/no-end": repeat(member * 1000, first=head(headers={"Content-Encoding": "gzip"})),
    }


def _redirects() -> dict[str, Behaviour]:
    return {
        "/moved": redirect("/"),
        "/twice": redirect("/moved"),
        "/loop": redirect("/loop"),
        "/to-metadata": redirect("http://169.254.169.254/latest/meta-data/"),
        "/to-decimal": redirect("http://2852039166/"),
        "/to-octal": redirect("http://0251.0376.0251.0376/"),
        "/to-file": redirect("file:///etc/passwd"),
    }


def _tls() -> Iterator[tuple[str, ssl.SSLContext]]:
    good = AUTHORITY.issue_cert("127.0.0.1", "localhost", not_after=LATER)
    yield "tls", in_front(good)
    yield "tls-soon", in_front(AUTHORITY.issue_cert("127.0.0.1", not_after=SOON))
    yield "tls-expired", in_front(AUTHORITY.issue_cert("127.0.0.1", not_after=PAST))
    yield "tls-early", in_front(AUTHORITY.issue_cert("127.0.0.1", not_before=SOON, not_after=LATER))
    yield "tls-other-host", in_front(AUTHORITY.issue_cert("shop.example", not_after=LATER))
    yield "tls-self-signed", in_front(self_signed())
    yield "tls-gap", in_front(without_intermediate())
    yield "tls-stranger", in_front(trustme.CA().issue_cert("127.0.0.1", not_after=LATER))
    yield "tls-1.1", only_tls_1_1(good)
    yield "tls-1.2", in_front(good, maximum_version=ssl.TLSVersion.TLSv1_2)
    yield "tls-1.3", in_front(good, minimum_version=ssl.TLSVersion.TLSv1_3)
    # Up to 1.2, so that it refuses us in the handshake.
    wanting = in_front(good, verify_mode=ssl.CERT_REQUIRED, maximum_version=ssl.TLSVersion.TLSv1_2)
    AUTHORITY.configure_trust(wanting)
    yield "tls-client", wanting


def _robots() -> dict[str, dict[str, Behaviour]]:
    page = {"/": answer(), "/private": answer()}
    rules = answer(b"User-agent: wms\nDisallow: /private\n")
    return {"robots": {**page, "/robots.txt": rules}, "robots-broken": {**page, "/robots.txt": failing(500)}}


@dataclass(frozen=True, slots=True, kw_only=True)
class World:
    """``bases``: where each server is, without a slash at its end."""

    bases: Mapping[str, str]

    def url(self, at: str) -> str:
        """The url of a case's ``at``."""
        if "://" in at:
            return at
        name, _, path = at.partition("/")
        return f"{self.bases[name]}/{path}"


@contextmanager
def world() -> Iterator[World]:
    """All servers, running."""
    routes = _answers() | _requests() | _authorization() | _failures() | _redirects()
    with ExitStack() as stack:
        plain = stack.enter_context(LocalServer(routes))
        servers = {"plain": plain}
        for name, context in _tls():
            servers[name] = stack.enter_context(LocalServer({"/": answer()}, tls=context))
        for name, pages in _robots().items():
            servers[name] = stack.enter_context(LocalServer(pages))
        servers["tls"].routes["/to-http"] = redirect(plain.url("/"))
        bases = {name: server.url("") for name, server in servers.items()}
        bases["localhost"] = plain.url("", host="localhost")
        # What a web server says where it is spoken to in TLS on its plain port.
        confused = stack.enter_context(LocalServer({}, greeting=head(400)))
        bases["https-to-http"] = confused.url("").replace("http:", "https:")
        bases["refusing"] = refusing_url().rstrip("/")
        bases["black-hole"] = stack.enter_context(black_hole()).rstrip("/")
        yield World(bases=bases)


def write_secrets(folder: Path) -> None:
    """The files that sites refer to; `ENVIRON` are the variables."""
    me = AUTHORITY.issue_cert("me@example.org")
    other = trustme.CA().issue_cert("me@example.org")
    files = {
        "token": FILE,
        "ca.pem": CA,
        "me.pem": chain_of(me),
        "me.key": key_of(me),
        "other.pem": chain_of(other),
        "other.key": key_of(other),
        "no.pem": "no certificate",
    }
    for name, text in files.items():
        (folder / name).write_text(text, encoding="utf-8")
