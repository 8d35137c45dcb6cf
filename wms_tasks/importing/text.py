"""A converted sites file as YAML, with a comment above what is not as it was. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import yaml

from wms_tasks.importing.sites import Converted, Section
from wms_tasks.sites.durations import format_duration

MAX_COMMENT_CHARACTERS = 400


def sites_yaml(converted: Converted, *, sources: Iterable[str]) -> str:
    """The whole file."""
    return "\n".join(_lines(converted, sources)) + "\n"


def _lines(converted: Converted, sources: Iterable[str]) -> Iterator[str]:
    yield from _comments([f"Made by `wms sites import` from {', '.join(sources)}."], "")
    yield "# For sites of your own, `robots: ignore` under defaults: asks for no robots.txt. Sites whose names lead to"
    yield "# addresses inside your network need allow_networks:."
    yield from _comments(converted.left_out, "")
    yield "defaults:"
    yield f"  interval: {format_duration(converted.interval_ms)}"
    if converted.groups:
        yield "groups:"
        for name, section in converted.groups.items():
            yield from _comments(section.notes, "  ")
            yield from _indented(_dumped({name: dict(section.keys)}), "  ")
    if converted.hosts:
        yield "# As often as these were asked before."
        yield from _dumped({"hosts": {host: {"spacing": f"{ms}ms"} for host, ms in converted.hosts.items()}})
    yield "sites:"
    for site in converted.sites:
        yield from _site(site)


def _site(site: Section) -> Iterator[str]:
    yield from _comments(site.notes, "  ")
    first, *rest = _dumped(site.keys)
    yield f"  - {first}"
    yield from _indented(rest, "    ")


def _comments(texts: Iterable[str], indent: str) -> Iterator[str]:
    for text in texts:
        line = text if text.isprintable() else text.encode("unicode_escape").decode("ascii")
        yield f"{indent}# {line[:MAX_COMMENT_CHARACTERS]}"


def _dumped(value: Mapping[str, Any]) -> list[str]:
    text: str = yaml.safe_dump(dict(value), sort_keys=False, allow_unicode=True, width=10**6, default_flow_style=None)
    return text.splitlines()


def _indented(lines: Iterable[str], indent: str) -> Iterator[str]:
    return (f"{indent}{line}" if line else "" for line in lines)
