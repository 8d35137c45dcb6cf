"""What a Markdown page links to, its anchors, and the commands it shows; pure, used by the tests of the docs."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from itertools import takewhile

_FENCE = re.compile(r"^ {0,3}(`{3,}|~{3,})\s*(\w*)")
_HEADING = re.compile(r"^ {0,3}#{1,6}\s+(.*?)\s*#*$")
_CODE_SPAN = re.compile(r"(?<!`)(`+)(?!`)(.+?)(?<!`)\1(?!`)", re.DOTALL)
_LINK_TEXT = re.compile(r"!?\[([^\]]*)\]\([^)]*\)")
# [text](target "title"), the definition of a [reference], and HTML's own.
_INLINE_LINK = re.compile(r"\]\(\s*<?([^\s)>]+)>?(?:\s+[\"'][^)]*)?\)")
_DEFINITION = re.compile(r"^ {0,3}\[[^\]^]+\]:\s*<?([^\s>]+)", re.MULTILINE)
_HTML_LINK = re.compile(r"<[^>]+\s(?:href|src)=[\"']([^\"']+)")
_HTML_ANCHOR = re.compile(r"<[^>]+\s(?:id|name)=[\"']([^\"']+)")
_ELSEWHERE = re.compile(r"[a-z][a-z0-9+.-]*:", re.IGNORECASE)
_ASSIGNMENT = re.compile(r"[A-Za-z_]\w*=")
_SHELL = {"sh", "shell", "bash", "console"}


def split(text: str) -> tuple[str, list[tuple[str, str]]]:
    """The text without its fenced blocks, and these: language and content."""
    prose, blocks = [], []
    lines = iter(text.splitlines())
    for line in lines:
        fence = _FENCE.match(line)
        if fence is None:
            prose.append(line)
            continue
        end = re.compile(rf"^ {{0,3}}{fence[1][0]}{{{len(fence[1])},}}\s*$")
        blocks.append((fence[2], "\n".join(takewhile(lambda one, end=end: not end.match(one), lines))))  # type: ignore[misc]
    return "\n".join(prose), blocks


def slug(heading: str) -> str:
    """GitHub's anchor of a heading: of its text, letters, digits, `_`, `-` and spaces as `-`; all in lower case."""
    text = _LINK_TEXT.sub(r"\1", heading).strip().lower()
    return re.sub(r"[^\w\- ]", "", text).replace(" ", "-")


def anchors(text: str) -> set[str]:
    """All of a page's: a heading that is there again has `-1`, `-2` and so on behind it."""
    prose, _ = split(text)
    found = set(_HTML_ANCHOR.findall(prose))
    seen: dict[str, int] = {}
    for line in prose.splitlines():
        if heading := _HEADING.match(line):
            name = slug(heading[1])
            seen[name] = seen.get(name, -1) + 1
            found.add(f"{name}-{seen[name]}" if seen[name] else name)
    return found


def links(text: str) -> list[str]:
    """The targets in this repository, `path`, `path#anchor` or `#anchor`; what stands in code is none."""
    prose = _CODE_SPAN.sub("", split(text)[0])
    found = (target for pattern in (_INLINE_LINK, _DEFINITION, _HTML_LINK) for target in pattern.findall(prose))
    return [target for target in found if not _ELSEWHERE.match(target)]


def shell_commands(text: str) -> Iterator[list[str]]:
    """Each command of the page's shell blocks, as words, without variables set before it and without redirections."""
    for language, block in split(text)[1]:
        if language in _SHELL:
            for line in block.replace("\\\n", " ").splitlines():
                yield from _commands(line)


def _commands(line: str) -> Iterator[list[str]]:
    lexer = shlex.shlex(line, posix=True, punctuation_chars=";|&()")
    lexer.whitespace_split = True
    words: list[str] = []
    for token in [*lexer, ";"]:
        if not token.strip(";|&()"):
            if words:
                yield words
            words = []
        elif words or not _ASSIGNMENT.match(token):
            words.append(token)
