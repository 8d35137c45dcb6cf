"""JMESPath on a body: what is true of it, where it breaks, and that nothing in it costs without end."""

from __future__ import annotations

import json
import re
import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wms_tasks.errors import UsageError
from wms_tasks.probe.json_body import NotJson, NotJudged, is_true, parse_json
from wms_tasks.sites.json_rules import MAX_EXPRESSION_BYTES, check_expression

BODY = {
    "status": "ok",
    "count": 0,
    "items": [{"name": "a", "lag": 3}, {"name": "b", "lag": 12}],
    "errors": [],
    "nothing": None,
    "off": False,
}
JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from("abc") | st.text(), inner, max_size=4),
    max_leaves=20,
)


def judged(expression: str, value: Any) -> str:
    """What a person would read."""
    try:
        return str(is_true(expression, value))
    except NotJudged as error:
        return str(error)


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ("status == 'ok'", True),
        ("status == 'down'", False),
        ("status", True),
        ("count", True),
        ("errors", False),
        ("!errors", True),
        ("nothing", False),
        ("off", False),
        ("missing.deep", False),
        ("length(items) >= `2`", True),
        ("items[?lag > `10`]", True),
        ("items[?lag > `100`]", False),
        ("max_by(items, &lag).name == 'b'", True),
        ("items[].name | join(',', @) == 'a,b'", True),
        ("[status, count] == ['ok', `0`]", True),
        ('to_string(items[0]) == \'{"name":"a","lag":3}\'', True),
        ("items[*].[name, lag][] | length(@) == `4`", True),
    ],
)
def test_what_is_true(expression: str, expected: bool) -> None:
    """JMESPath's own truth: 0 is true, what is empty or missing is not."""
    assert check_expression(expression) == expression
    assert is_true(expression, BODY) is expected


@pytest.mark.parametrize(
    ("expression", "words"),
    [
        ("length(count)", "length() does not take a value of type number"),
        ("length(missing)", "length() does not take a value of type null"),
        ("sum(items[].name)", "sum() does not take a value of type string"),
        ("status < `1`", "it compares or computes what does not go together"),
        ("contains(status, `1`)", "it compares or computes what does not go together"),
    ],
)
def test_what_cannot_be_judged(expression: str, words: str) -> None:
    """The function and the type it met, never the body's value."""
    with pytest.raises(NotJudged) as caught:
        is_true(expression, BODY)
    assert str(caught.value) == words


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b"", "it is empty"),
        (b" \n", "it is empty"),
        (b"<html>", "invalid character (byte 0)"),
        (b'{"a": 1', "it ends too early, at byte 7"),
        (b'{"a": tru}', "invalid character (byte 10)"),
        (b'{"a": 1}x', "trailing characters (byte 9)"),
        (b'"\xff"', "a text in it is not UTF-8"),
        (b"[" * 100_000, "it is nested too deep"),
        (b'{"a":' * 100_000, "it is nested too deep"),
        (b"1e999", "number out of range"),
        (b"9" * 1_000_000, "integer value out of range"),
        (b"NaN", "invalid character (byte 0)"),
    ],
)
def test_a_body_that_is_no_json(body: bytes, words: str) -> None:
    """One line that says where."""
    with pytest.raises(NotJson) as caught:
        parse_json(body, None)
    assert str(caught.value) == words


@pytest.mark.parametrize(
    ("body", "charset"),
    [
        ('"grün"'.encode(), None),
        ('"grün"'.encode(), "utf-8"),
        ('"grün"'.encode("latin-1"), "iso-8859-1"),
        ('"grün"'.encode("utf-16"), "utf-16"),
        ('"grün"'.encode("utf-8-sig"), None),
        ('"grün"'.encode(), "no-such-charset"),
    ],
)
def test_charsets(body: bytes, charset: str | None) -> None:
    """UTF-8 unless the answer names another; with or without a byte order mark."""
    assert parse_json(body, charset) == "grün"


@given(JSON)
def test_every_json_is_read(value: Any) -> None:
    """What Python writes comes back."""
    assert parse_json(json.dumps(value).encode(), None) == value


@given(JSON, st.sampled_from(["a", "a.b", "a[0]", "[]", "a[].b", "*.a", "[?a]", "length(@)", "keys(@)", "sort(@)"]))
def test_every_json_is_judged(value: Any, expression: str) -> None:
    """True, not true, or one printable line why not."""
    assert judged(expression, value).isprintable()


def growing(count: int) -> str:
    """Doubles a list with each step."""
    return "|".join(["[@,@][]"] * count)


LONG = [{"a": 1, "b": "x"}] * 60_000
TEXT = {"glue": "x" * 500_000, "parts": [""] * 250_000}


@pytest.mark.parametrize(
    ("expression", "value"),
    [
        ("[*].[a, b][].[@, @][].[@, @][]", LONG),
        ("[?a == `1` && b == 'x' && a == `1` && b == 'x' && a == `1` && b == 'x' && a == `1` && b == 'y']", LONG),
        ("join(glue, parts)", TEXT),
        (growing(6), [1] * 400_000),
        ("[@, @, @, @, @, @, @, @] | to_string(@)", LONG * 5),
        ("|".join(["to_string([@])"] * 60), '"' * 100),
    ],
)
def test_an_expression_that_costs_ends(expression: str, value: Any) -> None:
    """It is stopped before it has built what nobody could hold."""
    check_expression(expression)
    started = time.monotonic()
    with pytest.raises(NotJudged, match="more than 1,000,000 steps"):
        is_true(expression, value)
    assert time.monotonic() - started < 30


def test_a_large_body_is_judged() -> None:
    """A plain question to all of the largest body is not what the budget is for."""
    body = json.dumps([{"id": n, "state": "ok"} for n in range(100_000)]).encode()
    assert is_true("length([?state == 'ok']) == `100000`", parse_json(body, None))


@pytest.mark.parametrize(
    ("expression", "words"),
    [
        (growing(7), "makes 128 copies"),
        ("(" * 500 + "a" + ")" * 500, "nested too deep"),
        ("[" * 500 + "a" + "]" * 500, "nested too deep"),
        ("a" * (MAX_EXPRESSION_BYTES + 1), "is 1025 bytes long (at most 1024)"),
        ("a\nb", "holds a line end"),
        ("status == `ok`", "`ok` is no JSON (write a text as 'ok')"),
        ("nope(a)", "there is no function 'nope'"),
        ("length(a, b)", "length() takes 1, not 2 arguments"),
        ("merge()", "merge() takes at least 1, not 0 arguments"),
    ],
)
def test_an_expression_that_is_refused(expression: str, words: str) -> None:
    """When the file is read, not when a site is probed."""
    with pytest.raises(ValueError, match=re.escape(words)):
        check_expression(expression)


@given(st.text(st.sampled_from("ab.[]{}()|&@*!?:,'`\"0-= <>"), max_size=40) | st.text(max_size=40))
def test_any_text_is_taken_or_refused(text: str) -> None:
    """A refusal is one line; what is taken can be judged."""
    try:
        check_expression(text)
        told = judged(text, BODY)
    except ValueError as error:
        told = str(error)
    assert told
    assert "\n" not in told


def test_a_hand_made_expression_that_is_none() -> None:
    """Refused, never taken for true."""
    with pytest.raises(UsageError, match="json 'a =='"):
        is_true("a ==", BODY)
