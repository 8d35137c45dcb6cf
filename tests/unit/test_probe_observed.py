"""From what a probe saw to a result's fields, and the evidence of an answer that was not as expected."""

from __future__ import annotations

import unicodedata
from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.results import a_result
from wms_tasks.codec import json_codec
from wms_tasks.fill import decide
from wms_tasks.net.hop import Hop
from wms_tasks.net.reasons import Failure
from wms_tasks.probe import evidence
from wms_tasks.probe.evidence import LEFT_OUT, evidence_of
from wms_tasks.probe.observed import MAX_NAMES, NOTHING_OBSERVED, Observed, observed
from wms_tasks.probe.scrub import forms_of, scrub, scrubbed
from wms_tasks.probe.seen import Seen
from wms_tasks.result import Certificate, Evidence, Phases, Reason, Result

NOON = datetime(2026, 11, 23, 12, tzinfo=UTC)
CERTIFICATE = Certificate(
    subject="CN=a.example", issuer="CN=Test CA", names=("a.example",), expires_at=NOON, chain_expires_at=NOON
)
FIRST = Hop(
    url="http://a.example/",
    phases=Phases(resolve_ms=1.0, connect_ms=2.0, processing_ms=4.0),
    status_code=301,
    address="192.0.2.1",
    http_version="1.0",
)
LAST = Hop(
    url="https://a.example/",
    phases=Phases(connect_ms=3.0, tls_ms=5.0, processing_ms=6.0, transfer_ms=7.0),
    status_code=200,
    address="192.0.2.2",
    http_version="1.1",
    tls_version="1.3",
    tls_cipher="TLS_AES_128_GCM_SHA256",
    certificate=CERTIFICATE,
)
SEEN = Seen(
    url=LAST.url,
    redirects=1,
    status_code=200,
    body=b"hello",
    response_time_ms=28.0,
    hops=(FIRST, LAST),
    headers={"content-type": "text/html; charset=utf-8", "server": "x"},
    wire_bytes=3,
)


def test_the_last_hop_and_the_time_of_all() -> None:
    """Address, HTTP and TLS are the last hop's, phases are sums."""
    assert observed(SEEN) == Observed(
        address="192.0.2.2",
        http_version="1.1",
        tls_version="1.3",
        tls_cipher="TLS_AES_128_GCM_SHA256",
        redirects=1,
        wire_bytes=3,
        body_bytes=5,
        content_type="text/html; charset=utf-8",
        phases=Phases(resolve_ms=1.0, connect_ms=5.0, tls_ms=5.0, processing_ms=10.0, transfer_ms=7.0),
        certificate=CERTIFICATE,
        evidence=None,
    )


def test_what_failed_has_what_it_came_to() -> None:
    """A name that does not resolve has its time; a certificate that was not trusted is told all the same."""
    nowhere = Seen(
        failure=Failure(reason=Reason.DNS, detail="no such name"),
        hops=(Hop(url="http://x/", phases=Phases(resolve_ms=9)),),
    )
    assert observed(nowhere, keep="body") == Observed(redirects=0, phases=Phases(resolve_ms=9))
    untrusted = Hop(url="https://x/", phases=Phases(tls_ms=1), address="192.0.2.1", certificate=CERTIFICATE)
    assert (
        observed(Seen(failure=Failure(reason=Reason.TLS_EXPIRED, detail=""), hops=(untrusted,))).certificate
        == CERTIFICATE
    )


def test_nothing_asked_is_nothing_observed() -> None:
    """Not even that there were no redirects."""
    assert observed(Seen(), keep="body") == NOTHING_OBSERVED


def test_every_observed_field_is_a_results_own() -> None:
    """The same names, and all of those that a result has by default."""
    optional = {field.name for field in msgspec.structs.fields(Result) if not field.required}
    assert set(Observed.__struct_fields__) == optional - {"schema_version"}


def test_evidence_is_headers_and_where_asked_for_the_body() -> None:
    """As the site's spec says."""
    assert evidence_of(SEEN, "none") is None
    assert evidence_of(SEEN, "headers") == Evidence(headers=dict(SEEN.headers))
    assert evidence_of(SEEN, "body") == Evidence(headers=dict(SEEN.headers), body="hello")
    assert evidence_of(Seen(body=b""), "body") == Evidence(headers={}, body="")
    assert evidence_of(Seen(), "headers") is None


@pytest.mark.parametrize(
    "name",
    ["set-cookie", "Set-Cookie2", "authorization", "proxy-authenticate", "x-csrf-token", "x-api-key", "x-session-id"],
)
def test_no_header_that_carries_credentials_is_kept(name: str) -> None:
    """Whatever its case; it is not counted as left out either."""
    seen = Seen(headers={name: "hunter2", "server": "x"})
    assert evidence_of(seen, "headers") == Evidence(headers={"server": "x"})


@pytest.mark.parametrize(
    ("value", "kept"),
    [
        ("/in?token=hunter2#hunter3", "/in?…"),
        ("https://user:hunter2@a.example/in#hunter3", "https://a.example/in?…"),
        ("//user@a.example", "//a.example"),
        ("/plain", "/plain"),
    ],
)
def test_a_redirect_is_kept_without_what_a_url_hides(value: str, kept: str) -> None:
    """Neither user nor query nor fragment."""
    assert evidence_of(Seen(headers={"location": value}), "headers") == Evidence(headers={"location": kept})


def test_what_is_cut_says_so() -> None:
    """A long value, too many headers, too many names."""
    many = {f"x-{n}": "v" * 300 for n in range(60)}
    found = evidence_of(Seen(headers=many), "headers")
    assert found is not None
    assert len(found.headers) == evidence.MAX_HEADERS + 1
    assert found.headers["x-0"] == "v" * 199 + "…"
    assert found.headers[LEFT_OUT] == "10 more"
    names = tuple(f"{n}.example" for n in range(120))
    certificate = Certificate(subject="s" * 600, issuer="i", names=names, expires_at=NOON, chain_expires_at=NOON)
    seen = Seen(hops=(Hop(url="https://x/", phases=Phases(), certificate=certificate),))
    kept = observed(seen).certificate
    assert kept is not None
    assert kept.names == (*names[:MAX_NAMES], "… 20 more")
    assert kept.subject == "s" * 499 + "…"


@pytest.mark.parametrize(
    ("body", "charset", "text"),
    [
        ("grün".encode("latin-1"), "iso-8859-1", "grün"),
        ("grün".encode("utf-16"), "utf-16", "grün"),
        ("grün".encode(), None, "grün"),
        (b"a\x00b\xff", "idna", "a\ufffdb\ufffd"),
        (b"x" * 2047 + "ü".encode(), "utf-8", "x" * 2047),
        (b"x" * 3000, "no such charset", "x" * 2048),
    ],
)
def test_the_body_is_text_of_its_charset(body: bytes, charset: str | None, text: str) -> None:
    """The first 2 KiB, whole characters, nothing that cannot be stored."""
    found = evidence_of(Seen(body=body, charset=charset), "body")
    assert found is not None
    assert found.body == text


# What http.client may hand on, and worse.
HOSTILE = st.text(st.characters(), max_size=20) | st.text(st.characters(), min_size=101, max_size=110)
SEENS = st.builds(
    Seen,
    status_code=st.none() | st.just(500),
    body=st.none() | st.binary(max_size=100) | st.binary(min_size=2040, max_size=2060),
    charset=st.none() | st.sampled_from(["utf-16", "utf-32", "iso-2022-jp", "latin-1", "idna", "utf-7"]),
    headers=st.dictionaries(HOSTILE, HOSTILE, max_size=8),
    hops=st.lists(
        st.builds(
            Hop,
            url=st.just(""),
            phases=st.just(Phases()),
            address=st.none() | HOSTILE,
            certificate=st.none()
            | st.builds(
                Certificate,
                subject=HOSTILE,
                issuer=HOSTILE,
                names=st.lists(HOSTILE, max_size=8).map(tuple),
                expires_at=st.just(NOON),
                chain_expires_at=st.just(NOON),
            ),
        ),
        max_size=2,
    ).map(tuple),
)


def result_of(seen: Seen) -> Result:
    """The result that this would become."""
    changes: dict[str, Any] = msgspec.structs.asdict(observed(seen, keep="body"))
    return a_result(outcome="down", reason="status", detail="…" * 200, **changes)


@given(seen=SEENS)
def test_whatever_a_server_sends_can_be_written_and_is_printable(seen: Seen) -> None:
    """No lone surrogate, no NUL, one line each; and it is read again as it was written."""
    result = json_codec.decode(json_codec.encode(result_of(seen)))
    assert result == result_of(seen)
    texts = [result.address or ""]
    if result.certificate is not None:
        texts += [result.certificate.subject, result.certificate.issuer, *result.certificate.names]
    if result.evidence is not None:
        assert "\x00" not in (result.evidence.body or "")
        texts += [text for pair in result.evidence.headers.items() for text in pair]
    for text in texts:
        assert not any(unicodedata.category(c) in {"Cc", "Cf", "Cs", "Zl", "Zp"} for c in text)


def the_largest(text: str) -> Result:
    """A result of an answer that has this wherever something may be written, as often as it can be."""
    certificate = Certificate(subject=text, issuer=text, names=(text,) * 1_000, expires_at=NOON, chain_expires_at=NOON)
    hop = Hop(
        url="",
        phases=Phases(**dict.fromkeys(Phases.__struct_fields__, 1 / 3)),
        address=text,
        http_version=text,
        tls_version=text,
        tls_cipher=text,
        certificate=certificate,
    )
    headers = {f"{n}{text}": text for n in range(1_000)} | {"content-type": text}
    body = text.encode("utf-8", "surrogatepass")
    return result_of(Seen(status_code=500, hops=(hop,), headers=headers, body=body, redirects=20, wire_bytes=2**40))


@pytest.mark.parametrize("character", ["a", '"', "\\", "ü", "\U0001f600", "\x01", "\x00", "\ud800"])
def test_the_largest_message_stays_below_64_kib(character: str) -> None:
    """Whatever it is filled with, and whatever that takes in JSON."""
    assert 4_000 < len(json_codec.encode(the_largest(character * 20_000))) < 64 * 1024


def test_also_if_every_word_of_it_is_a_secret() -> None:
    """The shortest that there may be is half as long as what stands for it."""
    secret = "s3cr"
    result = scrubbed(the_largest(secret * 5_000), lambda text: scrub(text, forms_of([secret])))
    assert secret not in str((result.content_type, result.certificate, result.evidence))
    assert len(json_codec.encode(result)) < 64 * 1024


def test_a_result_that_was_not_published_leaves_nothing_behind() -> None:
    """Its slot was missed: what was seen is not in the row that says so."""
    seen = {name: getattr(observed(SEEN, keep="body"), name) for name in Observed.__struct_fields__}
    result = a_result(outcome="down", reason="status", detail="x", matched=True, attempt=2, **seen)
    assert decide.unpublished(result) == a_result(
        outcome="missed",
        reason="not_published",
        started_at=None,
        attempt=0,
        status_code=None,
        response_time_ms=None,
    )
