"""
One site as a stack of what is written about it: a command line over the file's site, its group and the defaults. Pure.

The same rules as for a whole file (layers.py, build.py, pairs.py), with the place of each setting kept. For
``wms check``.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

from wms_tasks.sites.build import build_site, site_times, what_is_asked
from wms_tasks.sites.layers import layered
from wms_tasks.sites.pairs import impossible_pairs
from wms_tasks.sites.record import Site
from wms_tasks.sites.spec import DefaultsSpec, HostSpec, SiteSpec
from wms_tasks.sites.times import Times
from wms_tasks.sites.together import SPACING_MS_DEFAULT
from wms_tasks.sites.yaml_reader import Block

# Merged key by key; anything else that is written in an upper part hides all of it in a lower one.
MERGED_KEYS = frozenset({"headers", "tls", "expect"})
_NO = frozenset({"false", "no", "off", "n", "f", "0"})  # as pydantic reads a text


class Part(NamedTuple):
    """
    What is written in one place. ``words`` name it: ``site``, ``group shop``, ``defaults``, ``hosts``. ``file`` is None
    for a command line, which has no lines.
    """

    words: str
    file: str | None
    block: Block

    def where(self, path: tuple[str, ...]) -> str | None:
        """``file:line`` of the key that `path` leads to."""
        block, line = self.block, self.block.line
        for key in path:
            written = next((name for name in block.lines if name.lower() == key.lower()), None)
            if written is None:
                break
            line = block.lines[written]
            if not isinstance(block[written], Block):
                break
            block = block[written]
        return None if self.file is None else f"{self.file}:{line}"

    def writes(self, path: tuple[str, ...]) -> bool:
        """Whether there is anything under the key that `path` leads to; header names in any letter case."""
        value: Any = self.block
        for key in path:
            if not isinstance(value, dict):
                return False
            written = next((name for name in value if name.lower() == key.lower()), None)
            if written is None:
                return False
            value = value[written]
        return value is not None


class Stack(NamedTuple):
    """``command`` and ``own`` are the uppermost; ``own`` has name and url."""

    command: Part
    own: Part
    group: Part | None = None
    defaults: Part | None = None
    host: Part | None = None

    @property
    def parts(self) -> tuple[Part, ...]:
        """Those that may hold any key of a site, uppermost first."""
        return tuple(part for part in (self.command, self.own, self.group, self.defaults) if part is not None)

    def origin(self, path: tuple[str, ...]) -> Part | None:
        """The part that the setting under `path` comes from; None: it is our own default."""
        if path == ("spacing",):
            return self.host
        if path == ("max_redirects",):
            return self._origin_of_redirects()
        path = path if path[0] in MERGED_KEYS else path[:1]
        return next((part for part in self.parts if part.writes(path)), None)

    def _origin_of_redirects(self) -> Part | None:
        """Two keys about one thing: ``follow_redirects: true`` leaves the number to what is below it."""
        upper: Part | None = None
        for part in self.parts:
            if part.writes(("max_redirects",)) or _says_no(part.block.get("follow_redirects")):
                return part
            if upper is None and part.writes(("follow_redirects",)):
                upper = part
        return upper


def stacked(stack: Stack) -> Site:
    """
    The site with every gap filled. The command line's timeout need not fit in the interval: nothing is scheduled.

    Raises:
        pydantic.ValidationError: a value on the command line is wrong; those of a file have been checked.
        ValueError: settings that cannot stand together, a line for each.
    """
    command = DefaultsSpec.model_validate(stack.command.block)
    own = SiteSpec.model_validate(stack.own.block)
    below = layered(_defaults(stack.group), _defaults(stack.defaults))
    spec = _under(command, own)
    times = site_times(own, below)
    if command.timeout is not None:
        times = Times(interval_ms=times.interval_ms, jitter_ms=times.jitter_ms, timeout_ms=command.timeout)
    asked = what_is_asked(spec, below)
    pairs = impossible_pairs(spec, asked, url=own.url, timeout_ms=times.timeout_ms, unsure=frozenset())
    if texts := [pair.text for pair in pairs]:
        raise ValueError("\n".join(texts))
    return build_site(spec, below, asked, times, spacing_ms=_spacing_ms(stack.host))


def _says_no(value: object) -> bool:
    return isinstance(value, str) and value.lower() in _NO


def _defaults(part: Part | None) -> DefaultsSpec:
    return DefaultsSpec() if part is None else DefaultsSpec.model_validate(part.block)


def _under(command: DefaultsSpec, own: SiteSpec) -> SiteSpec:
    over = layered(command, own)
    values = {key: getattr(over, key) for key in over.model_fields_set} | dict(_identity(own))
    return SiteSpec.model_construct(set(values), **values)


def _identity(own: SiteSpec) -> Iterator[tuple[str, Any]]:
    for key in SiteSpec.model_fields.keys() - DefaultsSpec.model_fields.keys():
        yield key, getattr(own, key)


def _spacing_ms(host: Part | None) -> int:
    return SPACING_MS_DEFAULT if host is None else HostSpec.model_validate(host.block).spacing
