"""TLS as it was met: version, cipher and the peer's certificate, whether it is good or not; and the options of TLS."""

from __future__ import annotations

import ssl
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import pytest
import trustme
from cryptography.hazmat.primitives import serialization
from hypothesis import example, given, settings
from hypothesis import strategies as st

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
from tests.guards import ON_LOOPBACK
from tests.servers import LocalServer, answer, hang, redirect
from wms_tasks.net import certificate as certificates
from wms_tasks.net.certificate import certificate_of
from wms_tasks.net.chain import MAX_NAMES, read_chain
from wms_tasks.net.fetch import Answer, Fetcher
from wms_tasks.net.redirect import Request
from wms_tasks.net.tls import context_for
from wms_tasks.result import Reason
from wms_tasks.sites.record import TlsOptions

TRUSTING = TlsOptions(ca=CA)


@contextmanager
def serving(leaf: trustme.LeafCert, **settings: Any) -> Iterator[LocalServer]:
    """A server that shows `leaf`."""
    with LocalServer({"/": answer(b"hello"), "/hang": hang}, tls=in_front(leaf, **settings)) as local:
        yield local


def get(url: str, tls: TlsOptions = TRUSTING, *, deadline_seconds: float = 10.0) -> Answer:
    """A GET with TLS options."""
    request = Request(method="GET", url=url, tls=tls)
    return Fetcher().fetch(request, deadline_seconds=deadline_seconds, guard=ON_LOOPBACK)


def reason(got: Answer) -> Reason | None:
    """Why it failed."""
    return got.failure.reason if got.failure else None


CASES: dict[str, tuple[Callable[[], trustme.LeafCert], Reason | None]] = {
    "good": (lambda: AUTHORITY.issue_cert("127.0.0.1", "localhost", not_after=SOON), None),
    "expired": (lambda: AUTHORITY.issue_cert("127.0.0.1", not_after=PAST), Reason.TLS_EXPIRED),
    "not yet valid": (lambda: AUTHORITY.issue_cert("127.0.0.1", not_before=SOON), Reason.TLS_EXPIRED),
    "other host": (lambda: AUTHORITY.issue_cert("example.org", not_after=SOON), Reason.TLS_HOSTNAME),
    "untrusted": (lambda: trustme.CA().issue_cert("127.0.0.1", not_after=SOON), Reason.TLS_UNTRUSTED),
    "self-signed": (self_signed, Reason.TLS_UNTRUSTED),
    "intermediate missing": (without_intermediate, Reason.TLS_UNTRUSTED),
}


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
@pytest.mark.parametrize("kind", CASES)
def test_the_certificate_is_seen(kind: str, version: ssl.TLSVersion) -> None:
    """Good or bad, over either version; and nothing is asked of a server that is not trusted."""
    make, expected = CASES[kind]
    leaf = make()
    with serving(leaf, maximum_version=version) as local:
        got = get(local.url("/"))
        (hop,) = got.hops
        assert reason(got) == expected
        assert len(local.seen) == (expected is None)
    shown = hop.certificate
    assert shown is not None
    assert shown == certificate_of([ssl.PEM_cert_to_DER_cert(blob.bytes().decode()) for blob in leaf.cert_chain_pems])
    assert hop.address == "127.0.0.1"
    assert hop.phases.tls_ms is not None
    assert (hop.phases.processing_ms is None) == (expected is not None)
    modern = version == ssl.TLSVersion.TLSv1_3
    if expected is None or modern:  # before 1.3, OpenSSL forgets a cipher that it did not come to use
        assert hop.tls_version == ("TLSv1.3" if modern else "TLSv1.2")
        assert hop.tls_cipher


def test_what_a_certificate_says() -> None:
    """Subject, issuer, names, and the earliest end in the chain that was shown."""
    middle = AUTHORITY.create_child_ca()
    leaf = middle.issue_cert("example.org", "*.example.org", "::1", "10.0.0.1", common_name="example.org")
    read = certificate_of([ssl.PEM_cert_to_DER_cert(blob.bytes().decode()) for blob in leaf.cert_chain_pems])
    assert read is not None
    assert "CN=example.org" in read.subject
    assert "trustme" in read.issuer
    assert read.names == ("example.org", "*.example.org", "::1", "10.0.0.1")
    assert read.expires_at.tzinfo is not None
    assert read.chain_expires_at <= read.expires_at


def test_the_earliest_end_is_the_chains() -> None:
    """An intermediate that ends sooner than the leaf is what will break the site."""
    late = AUTHORITY.issue_cert("127.0.0.1", not_after=NOW + timedelta(days=90))
    soon = AUTHORITY.issue_cert("example.org", not_after=SOON)
    ders = [ssl.PEM_cert_to_DER_cert(leaf.cert_chain_pems[0].bytes().decode()) for leaf in (late, soon)]
    read = certificate_of(ders)
    assert read is not None
    assert (read.expires_at, read.chain_expires_at) == (NOW + timedelta(days=90), SOON)


def test_a_certificate_with_very_many_names() -> None:
    """They are cut: a row is no place for thousands."""
    leaf = AUTHORITY.issue_cert(*(f"host{n}.example" for n in range(400)), "127.0.0.1")
    with serving(leaf) as local:
        (hop,) = get(local.url("/")).hops
    assert hop.certificate is not None
    assert len(hop.certificate.names) == MAX_NAMES


def test_what_is_no_certificate() -> None:
    """Nothing is said of it, and nothing raised."""
    assert certificate_of([b"no DER"]) is None


LEAF = ssl.PEM_cert_to_DER_cert(AUTHORITY.issue_cert("a.example", "10.0.0.1").cert_chain_pems[0].bytes().decode())
CHANGES = st.lists(st.tuples(st.integers(0, len(LEAF) - 1), st.integers(0, 255)), min_size=1, max_size=3)


@settings(max_examples=500)
@given(CHANGES)
@example([(12, 77)])  # a version that there is not
def test_any_certificate_is_read_or_not(changes: list[tuple[int, int]]) -> None:
    """Whatever a server shows, nothing is raised, and no warning given."""
    shown = bytearray(LEAF)
    for at, value in changes:
        shown[at] = value
    read = read_chain([bytes(shown)])
    assert read is None or read.expires_at == read.chain_expires_at


def test_what_was_read_is_kept_and_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """The same chain is the same record; the oldest go."""
    monkeypatch.setattr(certificates, "MAX_KEPT", 4)
    first = ssl.PEM_cert_to_DER_cert(CA)
    assert certificate_of([first]) is certificate_of([first])
    for n in range(10):
        certificate_of([b"%d" % n])
    assert len(certificates._kept) <= 4


def test_a_handshake_that_failed_for_another_reason() -> None:
    """A server that wants a client's certificate: what it showed of itself is kept."""
    leaf = AUTHORITY.issue_cert("127.0.0.1")
    settings = {"verify_mode": ssl.CERT_REQUIRED, "maximum_version": ssl.TLSVersion.TLSv1_2}
    with serving(leaf, **settings) as local:
        got = get(local.url("/"))
    assert reason(got) == Reason.TLS_OTHER
    assert got.hops[0].certificate is not None


def test_only_http_1_1_is_offered() -> None:
    """A server that would rather speak HTTP/2 gets to speak 1.1."""
    context = in_front(AUTHORITY.issue_cert("127.0.0.1"))
    context.set_alpn_protocols(["h2", "http/1.1"])
    spoken: list[str | None] = []

    def look(peer: Any) -> None:
        spoken.append(peer.connection.selected_alpn_protocol())
        answer()(peer)

    with LocalServer({"/": look}, tls=context) as local:
        assert get(local.url("/")).hops[0].http_version == "1.1"
    assert spoken == ["http/1.1"]


class TestOptions:
    """Each of TlsOptions, against a server that tells whether it had its effect."""

    def test_ca(self) -> None:
        """Trusted with it, untrusted without."""
        with serving(AUTHORITY.issue_cert("127.0.0.1")) as local:
            assert get(local.url("/")).body == b"hello"
            assert reason(get(local.url("/"), TlsOptions())) == Reason.TLS_UNTRUSTED
            other = trustme.CA().cert_pem.bytes().decode()
            assert reason(get(local.url("/"), TlsOptions(ca=other))) == Reason.TLS_UNTRUSTED

    def test_the_certificate_itself_as_ca(self) -> None:
        """A self-signed server is trusted by its own certificate."""
        own = trustme.CA()
        with serving(own.issue_cert("127.0.0.1")) as local:
            pinned = TlsOptions(ca=own.cert_pem.bytes().decode())
            assert get(local.url("/"), pinned).body == b"hello"

    def test_verify_false(self) -> None:
        """Anything will do, and is reported."""
        with serving(trustme.CA().issue_cert("example.org", not_after=PAST)) as local:
            got = get(local.url("/"), TlsOptions(verify=False))
        assert got.body == b"hello"
        assert got.hops[0].certificate is not None
        assert got.hops[0].certificate.names == ("example.org",)
        assert got.hops[0].certificate.expires_at == PAST

    def test_server_name(self) -> None:
        """It is asked for and verified instead of the url's host."""
        asked: list[str | None] = []

        def note(_: object, name: str | None, __: object) -> None:
            asked.append(name)

        with serving(AUTHORITY.issue_cert("shop.example"), sni_callback=note) as local:
            assert reason(get(local.url("/"))) == Reason.TLS_HOSTNAME
            assert get(local.url("/"), TlsOptions(ca=CA, server_name="shop.example")).body == b"hello"
            wrong = TlsOptions(ca=CA, server_name="other.example")
            assert reason(get(local.url("/"), wrong)) == Reason.TLS_HOSTNAME
        assert asked == [None, "shop.example", "other.example"]

    @pytest.mark.parametrize("name", [".example", "a" * 70])
    def test_a_server_name_that_is_none(self, name: str) -> None:
        """It is said which key is wrong."""
        with serving(AUTHORITY.issue_cert("127.0.0.1")) as local:
            got = get(local.url("/"), TlsOptions(ca=CA, server_name=name))
        assert got.failure is not None
        assert (got.failure.reason, got.failure.detail) == (Reason.TLS_OTHER, "tls.server_name cannot be a name")

    @pytest.mark.parametrize(("low", "high"), [("1.2", "1.2"), ("1.3", None), (None, "1.2")])
    def test_versions(self, low: Any, high: Any) -> None:
        """The one that both know is spoken."""
        with serving(AUTHORITY.issue_cert("127.0.0.1")) as local:
            got = get(local.url("/"), TlsOptions(ca=CA, min_version=low, max_version=high))
        assert got.body == b"hello"
        assert got.hops[0].tls_version == ("TLSv1.3" if low == "1.3" else "TLSv1.2")

    def test_no_common_version(self) -> None:
        """Too old for us is tls_other, and old servers are spoken to where that is asked for."""
        with serving(AUTHORITY.issue_cert("127.0.0.1"), maximum_version=ssl.TLSVersion.TLSv1_2) as local:
            assert reason(get(local.url("/"), TlsOptions(ca=CA, min_version="1.3"))) == Reason.TLS_OTHER

    def test_an_old_version(self) -> None:
        """TLS 1.1 is refused, unless the site's options name it; no warning is given."""
        context = only_tls_1_1(AUTHORITY.issue_cert("127.0.0.1"))
        with LocalServer({"/": answer(b"hello")}, tls=context) as local:
            assert reason(get(local.url("/"))) == Reason.TLS_OTHER
            got = get(local.url("/"), TlsOptions(ca=CA, min_version="1.0", max_version="1.1"))
        assert got.body == b"hello"
        assert got.hops[0].tls_version == "TLSv1.1"

    def test_client_certificate(self) -> None:
        """Shown to the server that asks for it; without it there is no answer."""
        clients = trustme.CA()
        me = clients.issue_cert("me@example.org")
        context = in_front(AUTHORITY.issue_cert("127.0.0.1"), verify_mode=ssl.CERT_REQUIRED)
        clients.configure_trust(context)
        with LocalServer({"/": answer(b"hello")}, tls=context) as local:
            options = TlsOptions(ca=CA, certificate=chain_of(me), key=key_of(me))
            together = TlsOptions(ca=CA, certificate=key_of(me) + chain_of(me))
            assert get(local.url("/"), options).body == b"hello"
            assert get(local.url("/"), together).body == b"hello"
            assert get(local.url("/")).failure is not None
            assert len(local.seen) == 2

    def test_a_client_certificate_stays_at_home(self) -> None:
        """A redirect to another origin does not show it, and the server's name is its own again."""
        clients = trustme.CA()
        me = clients.issue_cert("me@example.org")
        wanting = in_front(AUTHORITY.issue_cert("127.0.0.1"), verify_mode=ssl.CERT_OPTIONAL)
        clients.configure_trust(wanting)
        options = TlsOptions(ca=CA, certificate=chain_of(me), key=key_of(me), server_name="127.0.0.1")
        shown: list[object] = []

        def look(peer: Any) -> None:
            shown.append(peer.connection.getpeercert())
            answer(b"hello")(peer)

        with LocalServer({"/": look}, tls=wanting) as other:
            with LocalServer({"/": redirect(other.url("/"))}, tls=in_front(AUTHORITY.issue_cert("127.0.0.1"))) as first:
                assert get(first.url("/"), options).body == b"hello"
            assert get(other.url("/"), options).body == b"hello"
        assert shown[0] is None
        assert shown[1]

    WRONG = (
        (TlsOptions(ca="nonsense"), "tls.ca holds no certificates in PEM"),
        (TlsOptions(ca=""), "tls.ca is empty"),
        (TlsOptions(ca="grüße"), "tls.ca holds no certificates in PEM"),
        (TlsOptions(certificate="nonsense"), "tls.certificate and tls.key are no pair in PEM"),
        (TlsOptions(certificate=CA, key=key_of(AUTHORITY.issue_cert("a.example"))), "are no pair in PEM"),
        (TlsOptions(key=key_of(AUTHORITY.issue_cert("a.example"))), "tls.key is of no use without tls.certificate"),
    )

    @pytest.mark.parametrize(("options", "words"), WRONG)
    def test_what_is_no_pem(self, options: TlsOptions, words: str) -> None:
        """One line that names the key and repeats nothing of it; nobody is connected to."""
        with serving(AUTHORITY.issue_cert("127.0.0.1")) as local:
            got = get(local.url("/"), options)
            assert got.failure is not None
            assert got.failure.reason == Reason.TLS_OTHER
            assert words in got.failure.detail
            assert "nonsense" not in got.failure.detail
            assert got.hops[0].address is None

    def test_an_encrypted_key(self) -> None:
        """Nobody is asked for its password, least of all on the terminal."""
        me = AUTHORITY.issue_cert("me.example")
        plain = serialization.load_pem_private_key(me.private_key_pem.bytes(), password=None)
        locked = plain.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.BestAvailableEncryption(b"secret"),
        ).decode()
        got = get("https://127.0.0.1:2/", TlsOptions(certificate=chain_of(me), key=locked))
        assert got.failure is not None
        assert (got.failure.reason, got.failure.detail) == (Reason.TLS_OTHER, "tls.key is encrypted")

    def test_a_context_each(self) -> None:
        """Made once for the same options, whatever the server name."""
        assert context_for(TRUSTING) is context_for(TlsOptions(ca=CA, server_name="a.example"))
        assert context_for(TRUSTING) is not context_for(TlsOptions(ca=CA, min_version="1.3"))
