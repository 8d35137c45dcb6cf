"""Where each setting of a check came from: the command line, a line of the file, a WMS_* variable, or us. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple

import msgspec

from wms_tasks.commands.check.options import option_at
from wms_tasks.commands.check.target import Target
from wms_tasks.net.redact import header_value
from wms_tasks.settings import PREFIX, Settings
from wms_tasks.sites.durations import format_duration
from wms_tasks.sites.record import Auth, Expect, HeaderRule, Site
from wms_tasks.sites.references import has_reference
from wms_tasks.sites.sizes import format_size
from wms_tasks.sites.stack import Part

OURS = "our default"
NOT_SHOWN = "(not shown)"
_MAX_TEXT_CHARACTERS = 200
# Settings of the program that bear on one check.
_USED_SETTINGS = ("allow_networks", "allow_ports", "user_agent_contact", "secrets_dir")
# What concerns the schedule alone; said only of a site in a file.
_OF_THE_SCHEDULE = frozenset({"interval", "jitter", "retries", "spacing", "tags"})

Path = tuple[str, ...]


class Setting(NamedTuple):
    """
    ``setting``: the key of the sites file, or a variable. ``layer``: who says so: ``command line``, ``site``,
    ``group x``, ``defaults``, ``hosts``, ``environment`` or ``our default``. ``where``: an option, ``file:line``, or a
    variable; empty for our own.
    """

    setting: str
    value: str
    layer: str
    where: str


def settings_of(target: Target, settings: Settings, environment: Mapping[str, str]) -> tuple[Setting, ...]:
    """Each setting that holds, without those that ask for nothing. References are shown, never secrets."""
    in_file = target.enabled is not None
    of_site = [
        _setting(path, value, target)
        for path, value in _values(target.site)
        if in_file or path[0] not in _OF_THE_SCHEDULE
    ]
    return (*of_site, *_of_program(settings, environment))


def _setting(path: Path, value: str, target: Target) -> Setting:
    part = target.stack.origin(path)
    name = ".".join(path)
    if part is None:
        return Setting(name, value, OURS, "")
    return Setting(name, value, part.words, part.where(_written(path, part)) or _on_command_line(path, part))


def _written(path: Path, part: Part) -> Path:
    """Redirects are limited by either of two keys."""
    return ("follow_redirects",) if path == ("max_redirects",) and not part.writes(path) else path


def _on_command_line(path: Path, part: Part) -> str:
    option = option_at(_written(path, part))
    return option.name if option else path[0].upper()


def _of_program(settings: Settings, environment: Mapping[str, str]) -> Iterator[Setting]:
    for name in _USED_SETTINGS:
        value, variable = getattr(settings, name), f"{PREFIX}{name.upper()}"
        if value is None or value == "":
            continue
        where = next((found for found in (variable, f"{variable}_FILE") if environment.get(found)), None)
        yield Setting(variable, str(value), "environment" if where else OURS, where or "")


def _values(site: Site) -> Iterator[tuple[Path, str]]:
    yield ("url",), site.url
    yield ("method",), site.method
    for name, value in site.headers.items():
        yield ("headers", name), _header(name, value)
    if site.body is not None:
        yield ("body",), f"{len(site.body.encode()):,} bytes"
    if site.auth is not None:
        yield ("auth",), _auth(site.auth)
    yield from _tls(site)
    yield ("compression",), ", ".join(site.compression) or "none"
    yield ("max_redirects",), str(site.max_redirects)
    yield ("ip",), site.ip
    yield ("max_body",), format_size(site.max_body_bytes)
    yield ("evidence",), site.evidence
    yield ("interval",), _duration(site.interval_seconds)
    yield ("jitter",), _duration(site.jitter_seconds)
    yield ("timeout",), _duration(site.timeout_seconds)
    yield ("retries",), str(site.retries)
    yield ("robots",), site.robots
    yield ("spacing",), _duration(site.spacing_seconds)
    yield from _lists(("tags", site.tags), ("allow_networks", site.allow_networks), ("allow_ports", site.allow_ports))
    yield from ((("expect", *path), value) for path, value in _expected(site.expect))


def _header(name: str, value: str) -> str:
    """As written where the key to the site is a reference; else without what may be one."""
    return value if has_reference(value) else header_value(name, value) or NOT_SHOWN


def _auth(auth: Auth) -> str:
    return f"bearer {auth.bearer}" if auth.bearer is not None else f"basic {auth.username}:{auth.password}"


def _tls(site: Site) -> Iterator[tuple[Path, str]]:
    for name, value in msgspec.structs.asdict(site.tls).items():
        if name == "verify":
            yield ("tls", name), str(value).lower()
        elif value is not None:
            is_pem = name == "ca" and not has_reference(value)
            yield ("tls", name), f"PEM text, {len(value):,} characters" if is_pem else value


def _expected(expect: Expect) -> Iterator[tuple[Path, str]]:
    patterns = expect.body_regexps if expect.body_regexp is None else (expect.body_regexp, *expect.body_regexps)
    yield from _lists(("status", expect.status), ("http_version", expect.http_versions))
    if expect.tls is not None:
        yield ("tls",), expect.tls
    yield from _lists(("body_regexp", patterns), ("body_not_regexp", expect.body_not_regexps))
    yield from _lists(("headers", _rules(expect.headers)), ("not_headers", _rules(expect.not_headers)))
    yield from _lists(("json", expect.json))
    if expect.certificate_days is not None:
        yield ("certificate_days",), str(expect.certificate_days)
    if expect.slow_seconds is not None:
        yield ("slow",), _duration(expect.slow_seconds)


def _rules(rules: Iterable[HeaderRule]) -> tuple[str, ...]:
    return tuple(f"{rule.name}: {rule.regexp}{' (may lack)' if rule.may_lack else ''}" for rule in rules)


def _lists(*lists: tuple[str, tuple[str, ...]]) -> Iterator[tuple[Path, str]]:
    for name, values in lists:
        if values:
            text = ", ".join(values)
            shown = text if len(text) <= _MAX_TEXT_CHARACTERS else text[: _MAX_TEXT_CHARACTERS - 1] + "…"
            yield (name,), shown


def _duration(seconds: float) -> str:
    return format_duration(round(1000 * seconds))
