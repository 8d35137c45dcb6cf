"""
Whether JMESPath expressions are true of a body. Pure, and bounded whatever body and expression are: a worker has other
probes to make.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec
from jmespath.exceptions import JMESPathTypeError
from jmespath.functions import TYPES_MAP, Functions, signature
from jmespath.visitor import Options, TreeInterpreter

from wms_tasks.errors import UsageError
from wms_tasks.net.redact import one_line
from wms_tasks.probe.charset import plain_charset
from wms_tasks.sites.json_rules import compiled

# Nodes visited and values built, for one expression; half a second to a second of Python.
MAX_STEPS = 1_000_000
# Characters of a built text that count as one step.
CHARACTERS_PER_STEP = 16
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"
# What these nodes give is part of a value that was there before.
_SELECTING = frozenset(
    {"field", "current", "identity", "index", "literal", "subexpression", "index_expression", "pipe", "key_val_pair"}
)


class NotJson(ValueError):  # noqa: N818 - a fact about the body; becomes a reason
    """The message is one line: what is wrong and where."""


class NotJudged(ValueError):  # noqa: N818 - as above
    """The expression cannot be evaluated on this body; the message is one line without the body's values."""


def parse_json(body: bytes, charset: str | None) -> Any:
    """
    The value of a JSON body (RFC 8259), in the charset that Content-Type names, else UTF-8 without its byte order mark.

    Raises:
        NotJson: with the byte where it breaks, give or take one.
    """
    name = plain_charset(charset)
    text = body.removeprefix(_BYTE_ORDER_MARK) if name is None else body.decode(name, "replace").encode()
    try:
        return msgspec.json.decode(text)
    except RecursionError:
        raise NotJson("it is nested too deep") from None
    except UnicodeDecodeError:
        raise NotJson("a text in it is not UTF-8") from None
    except msgspec.MsgspecError as error:
        raise NotJson(_words(str(error), text)) from None


def is_true(expression: str, value: Any) -> bool:
    """
    Whether `expression` is true of `value`, as JMESPath has it: null, false, empty texts, lists and mappings are not.

    Raises:
        NotJudged: a function does not take what it gets, or it takes more than `MAX_STEPS`.
        UsageError: the expression is none; one from the sites file has been checked.
    """
    try:
        tree = compiled(expression)
    except ValueError as error:
        raise UsageError(f"json {one_line(expression, limit=60)!r}: {one_line(str(error))}") from error
    return _Interpreter().judge(tree, value)


def _words(error: str, text: bytes) -> str:
    if not text.strip():
        return "it is empty"
    if "truncated" in error:
        return f"it ends too early, at byte {len(text):,}"
    words = error.removeprefix("JSON is malformed: ")
    return words[:1].lower() + words[1:]


def _truth(value: Any) -> bool:
    # 0 is true.
    return bool(value) if value is None or isinstance(value, (bool, str, list, dict)) else True


class _Budget:
    __slots__ = ("left",)

    def __init__(self) -> None:
        self.left = MAX_STEPS

    def spend(self, steps: int) -> None:
        """
        Count `steps`.

        Raises:
            NotJudged: there are not so many left.
        """
        self.left -= steps
        if self.left < 0:
            raise NotJudged(f"it takes more than {MAX_STEPS:,} steps on this body")

    def spend_on(self, value: Any) -> None:
        """
        Count all that `value` holds, however deep, before somebody writes it out.

        Raises:
            NotJudged: as `spend`.
        """
        rest = [value]
        while rest:
            part = rest.pop()
            self.spend(1 + (len(part) // CHARACTERS_PER_STEP if isinstance(part, str) else 0))
            if isinstance(part, dict):
                rest.extend(part.values())
            elif isinstance(part, list):
                rest.extend(part)


class _BoundedFunctions(Functions):
    """JMESPath's functions; those that build texts pay for their length."""

    def __init__(self, budget: _Budget) -> None:
        super().__init__()
        self._budget = budget

    @signature({"types": ["string"]}, {"types": ["array-string"]})
    def _func_join(self, separator: str, array: list[str]) -> str:
        self._budget.spend((len(separator) * len(array) + sum(map(len, array))) // CHARACTERS_PER_STEP)
        return separator.join(array)

    @signature({"types": []})
    def _func_to_string(self, value: Any) -> str:
        if isinstance(value, str):
            return value
        self._budget.spend_on(value)
        text = msgspec.json.encode(value).decode()
        self._budget.spend(len(text) // CHARACTERS_PER_STEP)  # each quote within a text takes two
        return text


class _Interpreter(TreeInterpreter):
    """Counts each node it visits, and the items of each list and mapping that a node makes."""

    def __init__(self) -> None:
        self._budget = _Budget()
        super().__init__(Options(custom_functions=_BoundedFunctions(self._budget)))

    def visit(self, node: Any, *args: Any, **kwargs: Any) -> Any:
        self._budget.spend(1)
        made = super().visit(node, *args, **kwargs)
        if isinstance(made, (list, dict)) and node["type"] not in _SELECTING:
            self._budget.spend(len(made))
        return made

    def visit_flatten(self, node: Any, value: Any) -> Any:
        """As jmespath's, but it pays before it builds: the same long list may be in there many times."""
        base = self.visit(node["children"][0], value)
        if not isinstance(base, list):
            return None
        self._budget.spend(sum(len(item) if isinstance(item, list) else 1 for item in base))
        return [part for item in base for part in (item if isinstance(item, list) else [item])]

    def judge(self, tree: Mapping[str, Any], value: Any) -> bool:
        """
        Whether `tree` is true of `value`.

        Raises:
            NotJudged: as `is_true`.
        """
        try:
            return _truth(self.visit(tree, value))
        except NotJudged:
            raise
        except RecursionError:
            raise NotJudged("it is nested too deep") from None
        except JMESPathTypeError as error:
            kind = TYPES_MAP.get(error.actual_type, error.actual_type)
            raise NotJudged(f"{error.function_name}() does not take a value of type {kind}") from None
        except (ValueError, TypeError, ArithmeticError):
            raise NotJudged("it compares or computes what does not go together") from None
