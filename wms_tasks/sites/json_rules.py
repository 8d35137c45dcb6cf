"""
JMESPath expressions: which ones may stand under ``expect.json`` (https://jmespath.org/specification.html). Pure.

One is refused where it could build out of a body something far larger than the body: it is judged in a worker that
others wait for. What it costs on a given body is bounded in probe/json_body.py.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator, Mapping
from functools import lru_cache
from typing import Any

import jmespath
from jmespath.exceptions import (
    ArityError,
    EmptyExpressionError,
    IncompleteExpressionError,
    JMESPathError,
    LexerError,
    ParseError,
)
from jmespath.functions import Functions

from wms_tasks.sites.wording import CONTROL, shown, suggestion

MAX_EXPRESSION_BYTES = 1024
# How many copies of a value an expression may make, one inside the other: [a, b].{c: @, d: @} makes four.
MAX_COPIES = 64
_COPYING = frozenset({"multi_select_list", "multi_select_dict"})
_FUNCTIONS: dict[str, dict[str, Any]] = Functions.FUNCTION_TABLE
_NAMES = tuple(sorted(_FUNCTIONS))
# What JMESPath quotes: 'text', "name", `JSON`.
_QUOTED = re.compile(r"""'(?:\\.|[^'\\])*'|"(?:\\.|[^"\\])*"|`(?P<literal>(?:\\.|[^`\\])*)`""")

Node = Mapping[str, Any]


@lru_cache(maxsize=4096)
def compiled(text: str) -> Node:
    """
    The expression as a tree of jmespath's nodes; compiled once.

    Raises:
        ValueError: what is wrong and where, or that it may not be used.
    """
    try:
        _refuse_old_texts(text)
        tree: Node = jmespath.compile(text).parsed
        _look_at(tree)
        copies = _copies(tree)
    except (ParseError, EmptyExpressionError, IncompleteExpressionError, JMESPathError) as error:
        raise ValueError(f"is not a JMESPath expression: {_words(error)}") from error
    except RecursionError:
        raise ValueError("is nested too deep") from None
    if copies > MAX_COPIES:
        raise ValueError(f"makes {copies:,} copies of what it selects (at most {MAX_COPIES}; use fewer nested [a, b])")
    return tree


def check_expression(text: str) -> str:
    """
    An expression that can be judged.

    Raises:
        ValueError: as `compiled`, or it is too long or holds control characters.
    """
    size = len(text.encode("utf-8", "surrogatepass"))
    if size > MAX_EXPRESSION_BYTES:
        raise ValueError(f"is {size} bytes long (at most {MAX_EXPRESSION_BYTES})")
    if CONTROL.search(text):
        raise ValueError("holds a line end or another control character (write it on one line)")
    compiled(text)
    return text


def _refuse_old_texts(text: str) -> None:
    """`ok` between backticks was a text once; what is no JSON there is deprecated, and read in ways nobody expects."""
    for quoted in _QUOTED.finditer(text):
        literal = quoted["literal"]
        try:
            if literal is not None:
                json.loads(literal.replace("\\`", "`"))
        except ValueError:
            raise JMESPathError(f"`{literal[:40]}` is no JSON (write a text as '{literal[:40]}')") from None


def _look_at(tree: Node) -> None:
    if tree["type"] == "expref":
        raise JMESPathError("& begins an argument, not an expression")
    for node in _nodes(tree):
        if node["type"] == "function_expression":
            _look_at_call(node["value"], len(node["children"]))
        elif node["type"] == "slice" and node["children"][2] == 0:
            raise JMESPathError("a slice's step is never 0")


def _look_at_call(name: str, count: int) -> None:
    if name not in _FUNCTIONS:
        raise JMESPathError(f"there is no function {shown(name)} ({suggestion(name, _NAMES)})")
    wanted = _FUNCTIONS[name]["signature"]
    or_more = bool(wanted) and wanted[-1].get("variadic", False)
    if count < len(wanted) if or_more else count != len(wanted):
        raise JMESPathError(f"{name}() takes {'at least ' if or_more else ''}{len(wanted)}, not {count} arguments")


def _nodes(tree: Node) -> Iterator[Node]:
    yield tree
    for child in tree["children"]:
        if isinstance(child, dict):  # a slice's are numbers
            yield from _nodes(child)


def _copies(node: Node) -> int:
    parts = [_copies(child) for child in node["children"] if isinstance(child, dict)]
    return sum(parts) if node["type"] in _COPYING else math.prod(parts)


def _words(error: JMESPathError) -> str:
    if isinstance(error, LexerError):
        return f"{error.message} at character {error.lexer_position + 1}"
    if isinstance(error, EmptyExpressionError):
        return "it is empty"
    if isinstance(error, ArityError) or not isinstance(error, ParseError):
        return str(error)
    if isinstance(error, IncompleteExpressionError):
        return "it ends too early"
    return f"{shown(str(error.token_value))} at character {error.lex_position + 1} does not belong there"
