"""A charset is named by a stranger: in a header of up to 64 KiB, another one for each answer."""

from __future__ import annotations

import encodings
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wms_tasks.probe.charset import beginning_of, charset_of, plain_charset


@pytest.mark.parametrize(
    ("content_type", "charset"),
    [
        ("text/html; charset=utf-8", "utf-8"),
        ('text/html;Charset="ISO-8859-1"; x=y', "iso-8859-1"),
        ("text/html; charset = 'koi8-r'", "koi8-r"),
        ("text/html", None),
        ("text/html; charset=", None),
        ("text/html; xcharset=a", None),
        ("text/html; charset*=punycode''a", None),
        ("", None),
    ],
)
def test_what_a_content_type_names(content_type: str, charset: str | None) -> None:
    """In lower case, without quotes; no form of it that browsers do not read either."""
    assert charset_of(content_type) == charset


@pytest.mark.parametrize(
    "content_type",
    [
        'a; x="' + ";" * 60_000,
        ";" * 60_000,
        "; charset" * 7000,
        ";" + " " * 60_000,
        "a; charset*=punycode''" + "a" * 60_000,
    ],
)
def test_a_content_type_of_60_kib_costs_nothing(content_type: str) -> None:
    """The standard library takes five seconds for the first of them, and holds every thread of the worker meanwhile."""
    began = time.process_time()
    for _ in range(20):
        assert charset_of(content_type) is None
    assert time.process_time() - began < 1


@pytest.mark.parametrize(
    ("charset", "name"),
    [
        ("latin-1", "iso8859_1"),
        ("ISO-8859-15", "iso8859_15"),
        ("l1", "iso8859_1"),
        ("windows-1252", "cp1252"),
        ("Shift_JIS", "shift_jis"),
        ("gb2312", "gb2312"),
        ("utf-16", "utf_16"),
        ("utf-8", None),
        ("idna", None),
        ("a\0b", None),
        ("grün", None),
    ],
)
def test_charsets(charset: str, name: str | None) -> None:
    """Python's name for those that decode in one pass."""
    assert plain_charset(charset) == name


def test_names_that_strangers_invent_are_not_kept() -> None:
    """Python keeps each name for ever that it was once asked for."""
    before = len(encodings._cache)  # type: ignore[attr-defined]
    for number in range(50):
        assert plain_charset(f"invented-{number}" * 100) is None
        assert beginning_of(b"x", f"other-{number}", max_bytes=1) == "x"
    assert len(encodings._cache) == before  # type: ignore[attr-defined]


@given(st.text(max_size=50))
def test_any_name_will_do(charset: str) -> None:
    """It never raises, and what it gives decodes anything."""
    charset_of(charset)
    assert isinstance(b"\xff\xfe\x00".decode(plain_charset(charset) or "utf-8", "replace"), str)
