"""Which site is checked: that of a url, or one of the sites file; with the command line's options over it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from pydantic import ValidationError

from wms_tasks.commands.check.command_line import usage_error
from wms_tasks.errors import SettingsError, UsageError
from wms_tasks.settings import load_usable_settings
from wms_tasks.sites.find import find_site
from wms_tasks.sites.record import Site
from wms_tasks.sites.stack import Part, Stack, stacked
from wms_tasks.sites.url import check_url, host_of
from wms_tasks.sites.yaml_reader import Block


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """``enabled`` is None for a url, which is in no file."""

    site: Site
    stack: Stack
    enabled: bool | None = None


def target_of(options: Block, *, url: str | None, name: str | None, file: Path | None) -> Target:
    """
    What to check.

    Args:
        file: the sites file or folder; None: WMS_SITES.

    Raises:
        UsageError: neither a url nor a name, or both; there is no such site; settings that are wrong, a line for each.
        SitesFileError: the file has problems.
    """
    if (url is None) == (name is None):
        raise UsageError("write a url or --site NAME" + ("" if url is None else ", not both"))
    if name is not None:
        return _from_file(options, name, file or _sites_setting())
    if file is not None:
        raise UsageError("--sites is of no use without --site NAME")
    return _from_url(options, url or "")


def _sites_setting() -> Path:
    settings, wrong = load_usable_settings()
    if "sites" in wrong:
        raise SettingsError(wrong["sites"])
    return settings.sites


def _from_url(options: Block, url: str) -> Target:
    try:
        host = host_of(check_url(url))
    except ValueError as error:
        raise UsageError(f"URL {error}") from error
    own = Block(0)
    own.update({"name": host, "url": url})
    return _target(Stack(Part("command line", None, options), Part("command line", None, own)), options)


def _from_file(options: Block, name: str, file: Path) -> Target:
    found = find_site(file, name)
    command = Part("command line", None, options)
    stack = Stack(command, found.own, found.group, found.defaults, found.host)
    return _target(stack, options, enabled=found.enabled)


def _target(stack: Stack, options: Block, *, enabled: bool | None = None) -> Target:
    try:
        return Target(site=stacked(stack), stack=stack, enabled=enabled)
    except ValidationError as error:
        raise usage_error(error, options) from error
    except ValueError as error:
        raise UsageError(str(error)) from error
