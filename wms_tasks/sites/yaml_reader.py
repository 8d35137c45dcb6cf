"""
YAML with the line of everything kept, read as a stream of libyaml's events, so that 100,000 sites fit in memory.

Every scalar stays the text that was written: ``name: no`` and ``version: 1.10`` mean what they say, the models decide
what is a number. Tags, and with them objects, are refused; aliases may unfold into `MAX_UNFOLDED`
values. PyYAML's own loaders take 8 to 20 s and 1.1 GB for what takes 4 s here, and forget the lines.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any, NoReturn

import yaml

from wms_tasks.sites.problems import Broken, Problems
from wms_tasks.sites.wording import shown

MAX_DEPTH = 16  # a sites file needs 5
MAX_UNFOLDED = 5_000_000  # values that aliases stand for; 100,000 sites that share ten keys have 2 million
MERGE_KEY = "<<"
_NULLS = frozenset({"", "~", "null", "Null", "NULL"})
_ADVICE = {
    "mapping values are not allowed": "put text that holds ': ' in quotes",
    "found character that cannot start any token": "indent with spaces, not tabs; quote text that begins with @ or `",
    "did not find expected key": "look at the indentation here and at quotes above",
    "did not find expected '-' indicator": "look at the indentation here and above",
    "found unexpected end of stream": "a quote or bracket is never closed",
    "found unknown escape character": "use single quotes, where a backslash is a backslash",
}


class Block(dict[str, Any]):
    """A mapping, the line it begins at and the line of each key."""

    __slots__ = ("line", "lines")

    def __init__(self, line: int) -> None:
        super().__init__()
        self.line = line
        self.lines: dict[str, int] = {}


class Items(list[Any]):
    """A list, the line it begins at and the line of each item."""

    __slots__ = ("line", "lines")

    def __init__(self, line: int) -> None:
        super().__init__()
        self.line = line
        self.lines: list[int] = []


class YamlReader:
    """
    Reads one document.

    Args:
        data: UTF-8, already known to decode.
        problems: takes what is wrong but does not stop the reading.
        stream_key: the top-level key whose list is handed out item by item and not kept.
        on_item: takes each item of that list with its line.
    """

    def __init__(
        self, data: bytes, problems: Problems, *, stream_key: str, on_item: Callable[[Any, int], None]
    ) -> None:
        # Only its parser, written in C, is used; its resolver and constructor never see anything.
        self._next: Callable[[], Any] = yaml.CSafeLoader(data).get_event
        self._problems = problems
        self._stream_key = stream_key
        self._on_item = on_item
        self._anchors: dict[str, tuple[Any, int]] = {}
        self._nodes = 0  # values so far, aliases unfolded: the size of an anchor is the difference over it
        self._unfolded = 0

    def read(self) -> Any:
        """
        The document: a `Block`, an `Items`, text or None. A streamed list is there as an empty `Items`.

        Raises:
            Broken: no YAML, or more of it than we unfold.
        """
        try:
            return self._document()
        except yaml.MarkedYAMLError as error:
            mark = error.problem_mark or error.context_mark
            raise Broken(mark.line + 1 if mark else 0, _yaml_words(error)) from error
        except yaml.YAMLError as error:
            raise Broken(0, f"is not YAML: {str(error).splitlines()[0]}") from error

    def _document(self) -> Any:
        self._next()  # the stream's start
        if type(self._next()) is yaml.StreamEndEvent:
            return None
        root = self._node(self._next(), 0)
        self._next()  # the document's end
        following = self._next()
        if type(following) is not yaml.StreamEndEvent:
            self._problems.add(following.start_mark.line + 1, "a second YAML document begins here (only one is read)")
        return root

    def _node(self, event: Any, depth: int) -> Any:
        kind = type(event)
        if kind is yaml.AliasEvent:
            return self._alias(event)
        self._nodes += 1
        before = self._nodes
        if event.tag is not None:
            tag = shown(event.tag.replace("tag:yaml.org,2002:", "!!"))
            self._problems.add(event.start_mark.line + 1, f"YAML tag {tag} is not supported (take it out)")
        value: Any
        if kind is yaml.ScalarEvent:
            value = event.value
            if value in _NULLS and event.implicit[0]:
                value = None
        elif depth >= MAX_DEPTH:
            raise Broken(event.start_mark.line + 1, f"is nested more than {MAX_DEPTH} deep")
        elif kind is yaml.MappingStartEvent:
            value = self._block(event, depth)
        else:
            value = self._items(event, depth)
        if event.anchor is not None:
            self._anchors[event.anchor] = (value, self._nodes - before + 1)
        return value

    def _alias(self, event: Any) -> Any:
        line = event.start_mark.line + 1
        if event.anchor not in self._anchors:
            raise Broken(line, f"alias *{event.anchor} is used before its anchor &{event.anchor} is complete")
        value, size = self._anchors[event.anchor]
        self._nodes += size
        self._unfolded += size
        if self._unfolded > MAX_UNFOLDED:
            raise Broken(line, f"aliases unfold into more than {MAX_UNFOLDED:,} values (an alias bomb?)")
        return value

    def _items(self, start: Any, depth: int) -> Items:
        items = Items(start.start_mark.line + 1)
        while type(event := self._next()) is not yaml.SequenceEndEvent:
            items.lines.append(event.start_mark.line + 1)
            items.append(self._node(event, depth + 1))
        return items

    def _block(self, start: Any, depth: int) -> Block:
        block = Block(start.start_mark.line + 1)
        merged: list[Any] = []
        while type(event := self._next()) is not yaml.MappingEndEvent:
            line = event.start_mark.line + 1
            key = self._key(event, line)
            event = self._next()
            if key == MERGE_KEY:
                merged.append((self._node(event, depth + 1), line))
            elif depth == 0 and key == self._stream_key and key not in block:
                block[key], block.lines[key] = self._streamed(event), line
            else:
                self._put(block, key, self._node(event, depth + 1), line)
        for value, line in merged:
            self._merge(block, value, line)
        return block

    def _key(self, event: Any, line: int) -> str:
        if type(event) is not yaml.ScalarEvent:
            self._fail_key(line)
        if event.anchor is not None:
            self._anchors[event.anchor] = (event.value, 1)
        self._nodes += 1
        return sys.intern(event.value)

    def _fail_key(self, line: int) -> NoReturn:
        raise Broken(line, "a key must be plain text (quote text that begins with [, {, * or ?)")

    def _put(self, block: Block, key: str, value: Any, line: int) -> None:
        if key in block:
            self._problems.add(line, f"key {shown(key)} is there twice (first in line {block.lines[key]})")
            return
        block[key] = value
        block.lines[key] = line

    def _streamed(self, event: Any) -> Any:
        handed_out = Items(event.start_mark.line + 1)
        if type(event) is not yaml.SequenceStartEvent:
            return self._node(event, 1)
        # One behind: where the text breaks right after an item, the item itself may be cut short.
        last: tuple[Any, int] | None = None
        item: Any
        while type(item := self._next()) is not yaml.SequenceEndEvent:
            if last is not None:
                self._on_item(*last)
            last = (self._node(item, 2), item.start_mark.line + 1)
        if last is not None:
            self._on_item(*last)
        return handed_out

    def _merge(self, block: Block, value: Any, line: int) -> None:
        """``<<:`` of YAML 1.1: the keys of a mapping, or of several of which the first wins; own keys win over all."""
        for source in value if isinstance(value, Items) else [value]:
            if not isinstance(source, Block):
                self._problems.add(line, "<< takes a mapping, as in `<<: *base`")
                continue
            for key, inner in source.items():
                if key not in block:
                    block[key] = inner
                    block.lines[key] = source.lines[key]


def _yaml_words(error: yaml.MarkedYAMLError) -> str:
    problem = error.problem or error.context or "unreadable"
    column = f", column {error.problem_mark.column + 1}" if error.problem_mark else ""
    advice = next((advice for words, advice in _ADVICE.items() if problem.startswith(words)), "")
    return f"is not YAML{column}: {problem}" + (f" ({advice})" if advice else "")
