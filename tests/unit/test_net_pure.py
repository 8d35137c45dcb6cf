"""The pure parts of net: redirects, redaction, how we introduce ourselves."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.versions import VERSION
from wms_tasks.errors import SettingsError
from wms_tasks.net.agent import user_agent
from wms_tasks.net.redact import MAX_DETAIL_CHARACTERS, bare_url, one_line
from wms_tasks.net.redirect import BadRedirect, Request, next_request, origin

OWN = {"Authorization": "x", "Cookie": "y", "X-Key": "z", "User-Agent": "wms", "Accept": "*/*"}


def test_user_agent() -> None:
    """Product, version and contact."""
    assert user_agent("https://example.org/probes") == f"wms/{VERSION} (+https://example.org/probes)"


@pytest.mark.parametrize("contact", ["a\r\nX: y", "a\x00", "grüße"])
def test_a_contact_that_no_header_carries(contact: str) -> None:
    """Refused, in one line that names the setting."""
    with pytest.raises(SettingsError, match="WMS_USER_AGENT_CONTACT"):
        user_agent(contact)


@pytest.mark.parametrize(
    ("method", "status_code", "following"),
    [
        ("GET", 301, "GET"),
        ("HEAD", 302, "HEAD"),
        ("POST", 301, "GET"),
        ("POST", 302, "GET"),
        ("PUT", 302, "PUT"),
        ("OPTIONS", 303, "GET"),
        ("HEAD", 303, "HEAD"),
        ("POST", 303, "GET"),
        ("POST", 307, "POST"),
        ("POST", 308, "POST"),
    ],
)
def test_methods_after_a_redirect(method: str, status_code: int, following: str) -> None:
    """RFC 9110, 15.4."""
    assert next_request(Request(method=method, url="http://a/"), status_code, "/b").method == following


@pytest.mark.parametrize(
    ("url", "location", "target"),
    [
        ("http://a/x/y?q=1#f", "z", "http://a/x/z"),
        ("http://a/x", "//b/c", "http://b/c"),
        ("https://a/x", "?page=2", "https://a/x?page=2"),
        ("http://a/", "http://user:secret@a/p#top", "http://a/p"),
        ("http://a/", "/caf\u00c3\u00a9", "http://a/café"),
        ("http://[::1]:8080/", "/x", "http://[::1]:8080/x"),
    ],
)
def test_where_a_redirect_leads(url: str, location: str, target: str) -> None:
    """Relative to where it came from, without fragment and credentials, UTF-8 read as such."""
    assert next_request(Request(method="GET", url=url), 302, location).url == target


@pytest.mark.parametrize(
    "location",
    [
        "ftp://a/",
        "javascript:alert(1)",
        "file:///etc/passwd",
        "http://:80/",
        "http://[",
        "http://a:x/",
        "/" + "y" * 9000,
    ],
)
def test_where_no_redirect_may_lead(location: str) -> None:
    """Refused with a line that repeats nothing of it but the scheme."""
    with pytest.raises(BadRedirect) as caught:
        next_request(Request(method="GET", url="http://a/"), 302, location)
    assert len(str(caught.value)) < 80


@pytest.mark.parametrize(
    ("location", "kept"),
    [
        ("/other", True),
        ("http://a:80/", True),
        ("https://a/", True),
        ("http://b/", False),
        ("http://a:81/", False),
        ("https://a:8443/", False),
        ("http://a.b/", False),
    ],
)
def test_a_sites_own_headers_stay_with_its_origin(location: str, kept: bool) -> None:
    """The same host and port, or the step up from http to https; nowhere else."""
    headers = next_request(Request(method="GET", url="http://a/", headers=OWN), 302, location).headers
    assert headers == (OWN if kept else {"User-Agent": "wms", "Accept": "*/*"})


def test_no_way_down_from_https() -> None:
    """From https to http the headers are dropped."""
    assert "Cookie" not in next_request(Request(method="GET", url="https://a/", headers=OWN), 302, "http://a/").headers


@given(st.text(max_size=300))
def test_any_location_is_a_request_or_refused(location: str) -> None:
    """Nothing else is raised, and what comes out is http or https with a host."""
    try:
        following = next_request(Request(method="GET", url="http://a/b?c", headers=OWN), 302, location)
    except BadRedirect:
        return
    scheme, host, _ = origin(following.url)
    assert scheme in {"http", "https"}
    assert host
    assert "@" not in following.url.split("/")[2]


@given(st.text(max_size=2000))
def test_one_line(text: str) -> None:
    """Short, printable, and itself again."""
    line = one_line(text)
    assert len(line) <= MAX_DETAIL_CHARACTERS
    assert all(c == " " or unicodedata.category(c)[0] not in "CZ" for c in line)
    assert one_line(line) == line


@given(st.text(max_size=50), st.text(alphabet="abc123", min_size=1, max_size=20))
def test_bare_url_hides_secrets(path: str, secret: str) -> None:
    """Neither credentials nor query nor fragment."""
    marked = f"S3CR3T{secret}"
    shown = bare_url(
        f"https://user:{marked}@example.org:8443/{path.replace('#', '').replace('?', '')}?t={marked}#{marked}"
    )
    assert marked not in shown
