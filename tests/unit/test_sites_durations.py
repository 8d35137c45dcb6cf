"""Durations: every whole millisecond has a text, every text one meaning."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wms_tasks.sites.durations import format_duration, parse_duration_ms


@given(st.integers(min_value=0, max_value=10**12))
def test_what_is_formatted_is_read_back(ms: int) -> None:
    """The round trip, far beyond what a site may have."""
    assert parse_duration_ms(format_duration(ms)) == ms


@pytest.mark.parametrize(
    ("text", "ms"),
    [
        ("500ms", 500),
        ("30s", 30_000),
        ("5m", 300_000),
        ("1h", 3_600_000),
        ("1d", 86_400_000),
        ("1m30s", 90_000),
        ("1h0m0s1ms", 3_600_001),
        ("1.5s", 1_500),
        ("0.25s", 250),
        ("0.1m", 6_000),
        ("0s", 0),
    ],
)
def test_forms(text: str, ms: int) -> None:
    """Units from large to small, whole or broken numbers."""
    assert parse_duration_ms(text) == ms


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ("30", "did you mean 30s?"),
        ("0.5", "did you mean 0.5s?"),
        ("60000", "did you mean 60000ms or 60000s?"),
        ("5 min", "did you mean 5m?"),
        ("10 Seconds", "did you mean 10s?"),
        ("1 hour 30 minutes", "did you mean 1h30m?"),
        (" 30s", "did you mean 30s?"),
        ("", "write it like 500ms, 30s, 5m, 1h or 1m30s"),
        ("s", "write it like"),
        ("1s1s", "write it like"),
        ("٣s", "write it like"),
        ("1e3s", "write it like"),
        ("inf", "write it like"),
    ],
)
def test_refused_with_a_hint(text: str, hint: str) -> None:
    """A plain number could be seconds or milliseconds, so nobody guesses but the hint."""
    with pytest.raises(ValueError, match="is not a duration") as refused:
        parse_duration_ms(text)

    assert hint in str(refused.value)


@given(st.text())
def test_any_text_is_a_duration_or_refused(text: str) -> None:
    """Nothing but ValueError comes out, and a hint that names a duration names a right one."""
    refusal = ""
    try:
        assert parse_duration_ms(text) >= 0
    except ValueError as refused:
        refusal = str(refused)
    assert refusal.isprintable()
    meant = re.search(r"did you mean (\S+)\?\)$", refusal)
    if meant:
        parse_duration_ms(meant[1])
