"""
One pass over one file's values: each site as it is read, then the rest of the file. Finds every problem.

A site that is wrong in one key is still looked at in the others; what would follow from a wrong key is not told,
because it may not be true once that key is mended. Used by file.py only; what needs all files is whole.py's.
"""

from __future__ import annotations

from typing import Any

from wms_tasks.sites.layers import NO_LAYER, Layer
from wms_tasks.sites.pairs import contradiction
from wms_tasks.sites.problems import Broken, Place, Problems
from wms_tasks.sites.read import read_block, read_rest
from wms_tasks.sites.spec import DefaultsSpec, HostSpec, SiteSpec
from wms_tasks.sites.text_rules import check_name
from wms_tasks.sites.url import normal_host
from wms_tasks.sites.whole import Whole, Written
from wms_tasks.sites.wording import nearest, shown, suggestion
from wms_tasks.sites.yaml_reader import Block, Items

TOP_KEYS = ("sites", "defaults", "groups", "hosts")
# Of a folder, a file may hold only what the sites of the others need.
SHARED_KEYS = ("groups", "hosts")
# A place for anchors: `x-shop: &shop {…}` at the top level is read and otherwise ignored (docker compose's habit).
EXTENSION = "x-"
NO_SPACING_MS = 0  # of a host whose spacing is wrong: nothing is said about its load
A_SITE = "write it like `- name: Shop` and, below the name, `url: https://shop.example/`"


class Check:
    """
    Feed it each site, then `finish`, then `build` once that is done for all files.

    Args:
        may_lack_sites: the file is one of several.
    """

    def __init__(self, problems: Problems, whole: Whole, *, may_lack_sites: bool = False) -> None:
        self._problems = problems
        self._whole = whole
        self._may_lack_sites = may_lack_sites
        self._defaults = NO_LAYER
        self._written: list[Written] = []
        self._seen = 0

    def site(self, value: Any, line: int) -> None:
        """One item of ``sites:``, with the line it begins at."""
        self._seen += 1
        if not isinstance(value, Block):
            self._problems.add(line, f"a site is a mapping ({A_SITE})")
            return
        spec, broken = read_block(value, SiteSpec, self._problems)
        self._identify(value, line)
        rest = spec or read_rest(value, DefaultsSpec, broken)
        if rest is not None:
            place = Place(self._problems, line)
            self._written.append(Written(rest, place, value.lines, broken, _group_of(value, broken)))

    def finish(self, root: Any) -> None:
        """
        The rest of the file.

        Raises:
            Broken: there is nothing to look at.
        """
        if not isinstance(root, Block):
            raise Broken(0 if root is None else 1, _wrong_root(root))
        self._look_at_top_keys(root)
        sites = root.get("sites")
        if isinstance(sites, Items):
            for item, line in zip(sites, sites.lines, strict=True):  # only through an alias; the others came already
                self.site(item, line)
        if self._seen == 0 and not self._may_go_without(root):
            self._problems.add(root.lines.get("sites", 0), _no_sites(root))
            return
        self._read_defaults(root)
        self._read_groups(root)
        self._read_hosts(root)

    def build(self) -> None:
        """The file's sites, after all files were read."""
        self._whole.build(self._written, self._defaults)

    def _may_go_without(self, root: Block) -> bool:
        if not self._may_lack_sites:
            return False
        return isinstance(root.get("sites"), Items) or ("sites" not in root and any(key in root for key in SHARED_KEYS))

    def _look_at_top_keys(self, root: Block) -> None:
        for key, line in root.lines.items():
            if key in TOP_KEYS or key.startswith(EXTENSION):
                continue
            hint = suggestion(key, TOP_KEYS)
            if nearest(key, TOP_KEYS) is None and nearest(key, tuple(SiteSpec.model_fields)):
                hint = "a key of a site? Indent it to stand below the site's name"
            self._problems.add(line, f"unknown key {shown(key)} at the top level ({hint})")

    def _identify(self, value: Block, line: int) -> None:
        # From what is written, not from the model: a site that is wrong elsewhere still takes its name.
        try:
            name = check_name(value["name"])
            own_id = check_name(value["id"]) if "id" in value else None
        except (KeyError, ValueError, TypeError):
            return  # told already, by the model
        for text in self._whole.identities.add(name, own_id, Place(self._problems, line)):
            self._problems.add(line, text)

    def _read_defaults(self, root: Block) -> None:
        section = self._section(root, "defaults")
        if section is not None:
            self._defaults = self._layer(section, "defaults:")

    def _read_groups(self, root: Block) -> None:
        section = self._section(root, "groups") or Block(0)
        for key, line in section.lines.items():
            try:
                name = check_name(key)
            except ValueError as error:
                self._problems.add(line, f"groups: the name {shown(key)} {error}")
                continue
            value = Block(line) if section[key] is None else section[key]  # its last line may be commented out
            if isinstance(value, Block):
                layer = self._layer(value, f"groups.{name}:")
            else:
                layer = Layer(DefaultsSpec(), frozenset(DefaultsSpec.model_fields), "")
                hint = f"write it like `{key}: {{interval: 30s}}`"
                self._problems.add(line, f"groups: {shown(name)} must be a mapping ({hint})")
            self._whole.groups.write(name, layer, Place(self._problems, line))

    def _layer(self, section: Block, words: str) -> Layer:
        spec, broken = read_block(section, DefaultsSpec, self._problems)
        spec = spec or DefaultsSpec()
        if text := contradiction(spec):
            self._problems.add(section.lines["max_redirects"], f"{words} {text}")
        return Layer(spec, broken, words)

    def _read_hosts(self, root: Block) -> None:
        section = self._section(root, "hosts") or Block(0)
        first: dict[str, str] = {}
        for key, line in section.lines.items():
            try:
                host = normal_host(key)
                if first.setdefault(host, key) != key:
                    raise ValueError(f"{shown(key)} is the same host as {shown(first[host])}")
                if there := self._whole.hosts.written(host):
                    raise ValueError(
                        f"{shown(key)} is there already, in {there.seen_from(Place(self._problems, line))}"
                    )
            except ValueError as error:
                self._problems.add(line, f"hosts: {error}")
            else:
                self._whole.hosts.write(host, self._spacing_ms(key, section, line), Place(self._problems, line))

    def _spacing_ms(self, key: str, section: Block, line: int) -> int:
        value = section[key]
        if not isinstance(value, Block):
            self._problems.add(line, f"hosts: {shown(key)} must be a mapping (write it like `{key}: {{spacing: 2s}}`)")
            return NO_SPACING_MS
        spec, _ = read_block(value, HostSpec, self._problems)
        return spec.spacing if spec else NO_SPACING_MS

    def _section(self, root: Block, key: str) -> Block | None:
        value = root.get(key)
        if value is not None and not isinstance(value, Block):
            self._problems.add(root.lines[key], f"{key}: must be a mapping")
        return value if isinstance(value, Block) else None


def _group_of(value: Block, broken: frozenset[str]) -> str | None:
    return check_name(value["group"]) if "group" in value and "group" not in broken else None


def _wrong_root(root: Any) -> str:
    if root is None:
        return f"is empty (begin with `sites:`; {A_SITE})"
    if isinstance(root, Items):
        return "must begin with `sites:`, the list below it"
    return f"is no sites file, only text (begin with `sites:`; {A_SITE})"


def _no_sites(root: Block) -> str:
    if root.get("sites") is not None and not isinstance(root["sites"], Items):
        return f"sites: must be a list ({A_SITE})"
    return f"there are no sites ({A_SITE})"
