"""
One site of a sites file with every place that says something about it. For ``wms check``, which tells them apart.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from wms_tasks.errors import UsageError
from wms_tasks.sites.file import SitesFile, load_file, read_bytes
from wms_tasks.sites.folder import files_of
from wms_tasks.sites.problems import Problems
from wms_tasks.sites.record import Site, site_id_for
from wms_tasks.sites.stack import Part
from wms_tasks.sites.text_rules import check_name
from wms_tasks.sites.url import host_of, normal_host
from wms_tasks.sites.wording import listed, nearest, shown
from wms_tasks.sites.yaml_reader import Block, YamlReader

LISTED_NAMES = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """``own`` is what stands under ``sites:``; the others are None where nothing of that kind concerns the site."""

    site: Site
    enabled: bool
    own: Part
    group: Part | None
    defaults: Part | None
    host: Part | None


def find_site(path: Path, wanted: str) -> Found:
    """
    The site of that name; else the one of that id.

    Args:
        path: a sites file, or a folder of them.

    Raises:
        SitesFileError: as `load_file`.
        UsageError: there is no such site; names the nearest.
    """
    whole = load_file(path)
    site = _named(path, whole, wanted)
    search = _Search(site)
    for file in files_of(path):
        search.read(file)
    if search.own is None:
        raise UsageError(f"{path}: is being written to (try again when that is done)")
    return Found(
        site=site,
        enabled=site in whole.sites,
        own=search.own,
        group=search.groups.get(check_name(search.own.block["group"])) if "group" in search.own.block else None,
        defaults=search.defaults,
        host=search.host,
    )


def _named(path: Path, whole: SitesFile, wanted: str) -> Site:
    sites = (*whole.sites, *whole.disabled)
    name, site_id = " ".join(wanted.split()), site_id_for(wanted)
    found = next((site for site in sites if site.name == name), None)
    found = found or next((site for site in sites if site.site_id == site_id), None)
    if found is None:
        raise UsageError(f"{path}: there is no site {shown(wanted)} ({_others(wanted, [site.name for site in sites])})")
    return found


def _others(wanted: str, names: Iterable[str]) -> str:
    names = tuple(names)
    near = nearest(wanted, names)
    return f"did you mean {shown(near)}?" if near else f"there are {listed(map(shown, names), at_most=LISTED_NAMES)}"


@dataclass(slots=True)
class _Search:
    """Collects from file after file; all of them have been checked."""

    site: Site
    own: Part | None = None
    defaults: Part | None = None
    host: Part | None = None
    groups: dict[str, Part] = field(default_factory=dict)

    def read(self, file: Path) -> None:
        """One more file."""
        before = self.own

        def keep(item: object, _: int) -> None:
            if isinstance(item, Block) and check_name(item["name"]) == self.site.name:
                self.own = Part("site", str(file), item)

        root = YamlReader(read_bytes(file), Problems(), stream_key="sites", on_item=keep).read()
        for item in root.get("sites") or ():  # only through an alias; the others came already
            keep(item, 0)
        if self.own is not before and isinstance(section := root.get("defaults"), Block):
            self.defaults = Part("defaults", str(file), section)
        self._keep_shared(file, root)

    def _keep_shared(self, file: Path, root: Block) -> None:
        for name, section in (root.get("groups") or {}).items():
            if isinstance(section, Block):
                self.groups[check_name(name)] = Part(f"group {check_name(name)}", str(file), section)
        host = host_of(self.site.url)
        for name, section in (root.get("hosts") or {}).items():
            if normal_host(name) == host:
                self.host = Part("hosts", str(file), section)
