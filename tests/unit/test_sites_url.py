"""Which host a url asks: one key for politeness, however the host was written."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wms_tasks.sites.url import check_url, host_of, normal_host


def refusal_of(url: str) -> str:
    """Why `url` is refused; empty if it is not."""
    try:
        check_url(url)
    except ValueError as refused:
        return str(refused)
    return ""


@pytest.mark.parametrize(
    ("url", "host"),
    [
        ("https://example.com/", "example.com"),
        ("https://EXAMPLE.com:8443/a", "example.com"),
        ("http://example.com.", "example.com"),
        ("http://bücher.example/", "xn--bcher-kva.example"),
        ("http://BÜCHER.example/", "xn--bcher-kva.example"),
        ("http://xn--bcher-kva.example/", "xn--bcher-kva.example"),
        ("http://127.0.0.1:18080/x", "127.0.0.1"),
        ("http://[2001:DB8:0::1]:80/x", "2001:db8::1"),
        ("http://localhost", "localhost"),
        ("http://my_service.internal/", "my_service.internal"),
        ("http://example.com?x=http://other.example", "example.com"),
        ("http://1e100.net/", "1e100.net"),
    ],
)
def test_host_of(url: str, host: str) -> None:
    """Lower case, punycode, no port, no trailing dot, addresses in their shortest form."""
    assert check_url(url) == url
    assert host_of(url) == host
    assert normal_host(host) == host


@pytest.mark.parametrize("url", ["", "example.com", "https://", "https:///a", "http://a..b/", "http://127.1/"])
def test_host_of_nothing_is_an_error(url: str) -> None:
    """No empty key, on which all such urls would wait for one another."""
    with pytest.raises(ValueError, match=r"host|address"):
        host_of(url)


@given(st.text())
def test_any_text_is_a_url_with_a_host_or_refused(text: str) -> None:
    """What passes has a host in its normal form and no secret part; nothing else than ValueError comes out."""
    refusal = refusal_of(text)

    assert refusal.isprintable()
    assert refusal or normal_host(host_of(text)) == host_of(text)


@given(
    st.sampled_from(["http", "https", "ftp", ""]),
    st.sampled_from(["://", ":", ":/", "//", ":///"]),
    st.text(max_size=8),
    st.sampled_from([":hunter2@", "@hunter2@", ":hunter2%@"]),
    st.text(max_size=8),
)
def test_a_password_is_never_repeated(scheme: str, separator: str, user: str, secret: str, rest: str) -> None:
    """Wherever the @ stands, the refusal does not hold what stands before it."""
    assert "hunter2" not in refusal_of(scheme + separator + user + secret + rest)
