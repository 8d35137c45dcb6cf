"""What 429 and 503 with Retry-After ask for: both forms, capped, and nonsense that costs nothing."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wms_tasks.polite.patience import MAX_PATIENCE_SECONDS, Patience, asked, retry_after_seconds

NOW = datetime(1994, 11, 6, 8, 49, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("120", 120.0),
        (" 120 ", 120.0),
        ("0", 0.0),
        ("3600", 3600.0),
        ("99999999999", MAX_PATIENCE_SECONDS),
        ("9" * 5000, 0.0),
        ("-5", 0.0),
        ("1.5", 0.0),
        ("١٢٠", 0.0),
        ("", 0.0),
        ("soon", 0.0),
        ("10, 20", 0.0),
        # RFC 9110, 5.6.7: its three forms of one instant
        ("Sun, 06 Nov 1994 08:49:37 GMT", 37.0),
        ("Sunday, 06-Nov-94 08:49:37 GMT", 37.0),
        ("Sun Nov  6 08:49:37 1994", 37.0),
        ("Sun, 06 Nov 1994 08:48:37 GMT", 0.0),
        ("Mon, 06 Nov 2034 08:49:37 GMT", MAX_PATIENCE_SECONDS),
        ("Sun, 99 Nov 1994 08:49:37 GMT", 0.0),
        ("Sun, 06 Nov 99999 08:49:37 GMT", 0.0),
    ],
)
def test_retry_after(value: str, seconds: float) -> None:
    """Seconds or a date, an hour at most; what cannot be read asks for nothing."""
    assert retry_after_seconds(value, NOW) == seconds


@given(st.text(max_size=80))
def test_any_text_is_a_bounded_wait(value: str) -> None:
    """Whatever a stranger writes."""
    assert 0 <= retry_after_seconds(value, NOW) <= MAX_PATIENCE_SECONDS


def wish(status_code: int | None, headers: dict[str, str], answered_url: str = "https://a.example/") -> Patience | None:
    """Of an answer to a request for a.example's page."""
    return asked(
        url="https://a.example/x", answered_url=answered_url, status_code=status_code, headers=headers, now=NOW
    )


@pytest.mark.parametrize("status_code", [200, 301, 404, 500, 502, None])
def test_only_429_and_503_ask_for_patience(status_code: int | None) -> None:
    """Elsewhere Retry-After means something else, or nothing."""
    assert wish(status_code, {"retry-after": "9"}) is None


@pytest.mark.parametrize("status_code", [429, 503])
def test_who_is_left_alone(status_code: int) -> None:
    """The host that said so, and the one whose redirect led there; without Retry-After nobody."""
    assert wish(status_code, {}) is None
    assert wish(status_code, {"retry-after": "0"}) is None
    alone = Patience(hosts=("a.example",), seconds=9.0, status_code=status_code)
    assert wish(status_code, {"retry-after": "9"}) == alone
    both = wish(status_code, {"retry-after": "9"}, "https://WWW.b.example:8443/login")
    assert both == Patience(hosts=("a.example", "www.b.example"), seconds=9.0, status_code=status_code)
    assert wish(status_code, {"retry-after": "9"}, "http://127.1/") == alone
    assert wish(status_code, {"retry-after": "9"}, "an invalid url") == alone
