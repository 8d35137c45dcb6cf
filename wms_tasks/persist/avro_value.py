"""
Values of Avro (its specification, Binary Encoding), as far as avro_row.py reads them itself: each function gives the
value at a place and where it ends. What is rarer, or broken, is `Unusual`, or an IndexError where the bytes end. Pure.

A number is twice its value (once more for a negative one), seven bits a byte, the last without the upper bit; what may
be none stands behind the branch of its union.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

# The branch of what is there.
THERE = 2
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_LONG_BITS = 63


class Unusual(Exception):  # noqa: N818 - reads as what it says
    """Nothing is wrong: it is left to rows.py."""


def short_length_of(value: bytes, at: int) -> int:
    """Of a text of less than 64 bytes, which begins one byte later."""
    length = value[at]
    if length & 0x81:
        raise Unusual
    return length >> 1


def number(value: bytes, at: int) -> tuple[int, int]:
    """A whole number that is not negative."""
    twice = shift = 0
    while (byte := value[at]) & 0x80:
        twice |= (byte & 0x7F) << shift
        at, shift = at + 1, shift + 7
    twice |= byte << shift
    if twice & 1 or twice.bit_length() > _LONG_BITS:
        raise Unusual
    return twice >> 1, at + 1


def text(value: bytes, at: int) -> tuple[str, int]:
    """
    A text of less than 8,192 bytes.

    Raises:
        UnicodeDecodeError: it is none.
    """
    length, second = value[at], value[at + 1]
    if length & 0x80:
        if second & 0x80:
            raise Unusual
        length, at = length & 0x7F | second << 7, at + 1
    end = at + 1 + (length >> 1)
    if length & 1 or end > len(value):
        raise Unusual
    return value[at + 1 : end].decode(), end


def text_or_none(value: bytes, at: int) -> tuple[str | None, int]:
    """Of a union with null."""
    if not value[at]:
        return None, at + 1
    if value[at] != THERE:
        raise Unusual
    return text(value, at + 1)


def instant(value: bytes, at: int) -> tuple[datetime, int]:
    """
    Of the microseconds since 1970.

    Raises:
        OverflowError: it has no date.
    """
    since_us, at = number(value, at)
    return _EPOCH + timedelta(microseconds=since_us), at
