"""
Modules and targets, put together as sites that `wms sites validate` takes. Pure.

A module becomes a group, so that what it says stands once. Hosts get a spacing that bears their sites.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from wms_tasks.importing.blackbox import Module
from wms_tasks.importing.checked import problem_of, without_problems
from wms_tasks.importing.notes import Notes
from wms_tasks.importing.prometheus import Target
from wms_tasks.net.guard import CLOSED
from wms_tasks.net.special import SPECIAL_PORTS
from wms_tasks.sites.durations import format_duration
from wms_tasks.sites.spec import INTERVAL_MS, MAX_TAGS, TIMEOUT_MS
from wms_tasks.sites.text_rules import METHODS
from wms_tasks.sites.together import SPACING_MS_DEFAULT
from wms_tasks.sites.url import check_url, host_of
from wms_tasks.sites.wording import shown

MAX_NAME_CHARACTERS = 180
MAX_TAG_CHARACTERS = 64
DEFAULT_PORTS = {"http": 80, "https": 443}
_SECRET_IN_QUERY = re.compile(r"[?&][^=&]*(token|key|secret|passw|auth|sig)[^=&]*=", re.IGNORECASE)
_USER = re.compile(r"^(https?://)([^/?#@]*)@")
_LOCAL = re.compile(r"(.+\.)?localhost")


@dataclass(frozen=True, slots=True, kw_only=True)
class Section:
    """One group or site: its keys as they stand in the file, and what is said above it."""

    keys: Mapping[str, Any]
    notes: Sequence[str] = ()


@dataclass(slots=True, kw_only=True)
class Converted:
    """A sites file in parts. ``left_out``: what no site could be made of."""

    interval_ms: int
    groups: dict[str, Section] = field(default_factory=dict)
    hosts: dict[str, int] = field(default_factory=dict)
    sites: list[Section] = field(default_factory=list)
    left_out: list[str] = field(default_factory=list)


def convert(modules: Mapping[str, Module], targets: Iterable[Target]) -> Converted:
    """All targets, in their order; each module that one of them asks for is a group."""
    targets = list(targets)
    intervals = Counter(target.interval_ms for target in targets)
    converted = Converted(interval_ms=_fitting(intervals.most_common(1)[0][0]) if intervals else 60_000)
    maker = _Maker(modules, converted)
    for target in targets:
        maker.add(target)
    maker.space_hosts()
    return converted


def _fitting(interval_ms: int) -> int:
    return min(max(interval_ms, INTERVAL_MS[0]), INTERVAL_MS[1])


class _Maker:
    """Makes site after site."""

    def __init__(self, modules: Mapping[str, Module], converted: Converted) -> None:
        self._modules = modules
        self._converted = converted
        self._names: set[str] = set()
        self._seen: set[tuple[str, str]] = set()
        self._loads: dict[str, float] = {}

    def add(self, target: Target) -> None:
        """One more site, or a line of why there is none."""
        notes = Notes(f"target {_bare(target.address)}")
        module = self._modules.get(target.module)
        url = target.address if "://" in target.address else f"http://{target.address}"
        if module is None:
            self._leave_out(notes, f"there is no module {shown(target.module)}")
        elif module.keys is None:
            self._leave_out(notes, f"module {shown(target.module)} is not for http")
        elif (method := module.keys.get("method", "GET")) not in METHODS:
            self._leave_out(notes, f"method {shown(method)} of module {shown(target.module)} is not supported")
        elif (url, target.module) in self._seen:
            self._leave_out(notes, f"is there twice with module {shown(target.module)}")
        else:
            self._seen.add((url, target.module))
            self._make(url, module, target, notes)

    def _leave_out(self, notes: Notes, why: str) -> None:
        self._converted.left_out.append(f"{notes.where}: {why}: left out")

    def _make(self, url: str, module: Module, target: Target, notes: Notes) -> None:
        keys: dict[str, Any] = {}
        if user := _USER.match(url):
            url = url.replace(user[0], user[1], 1)
            username = user[2].partition(":")[0] or "user"
            keys["auth"] = {"basic": {"username": username, "password": notes.secret("password")}}
        url = url.replace("${", "$${")  # to the exporter it is text
        try:
            host = host_of(check_url(url))
        except ValueError as error:
            self._leave_out(notes, f"url {error}")
            return
        if _SECRET_IN_QUERY.search(url):
            notes.say("the url may hold a secret, which shows in queues: write ${WMS_SECRET_…} in its place")
        self._use_group(module)
        interval_ms = self._interval_ms(target, notes)
        site = {"name": self._name(url, module), "url": url, "group": module.name, **keys}
        if interval_ms != self._converted.interval_ms:
            site["interval"] = format_duration(interval_ms)
        site |= self._timeout(module, target, interval_ms, notes) | _opened(url, host) | _tags(target)
        if problem := problem_of(site, self._converted.groups[module.name].keys, self._converted.interval_ms):
            self._leave_out(notes, problem)
            return
        self._loads[host] = self._loads.get(host, 0.0) + 1 / interval_ms
        self._converted.sites.append(Section(keys=site, notes=tuple(notes)))

    def _use_group(self, module: Module) -> None:
        if module.name not in self._converted.groups:
            keys = dict(module.keys or {})
            if module.timeout_ms is not None:
                keys["timeout"] = _timeout_text(module.timeout_ms, module.notes)
            keys = without_problems(keys, module.notes)
            self._converted.groups[module.name] = Section(keys=keys, notes=tuple(module.notes))

    def _interval_ms(self, target: Target, notes: Notes) -> int:
        interval_ms = _fitting(target.interval_ms)
        if interval_ms != target.interval_ms:
            notes.say(f"interval {format_duration(target.interval_ms)} became {format_duration(interval_ms)}")
        return interval_ms

    def _timeout(self, module: Module, target: Target, interval_ms: int, notes: Notes) -> dict[str, str]:
        """The lesser of the module's and the scrape's, as in blackbox_exporter, where it is not the group's."""
        known = [ms for ms in (module.timeout_ms, target.timeout_ms) if ms is not None]
        if not known:
            return {}
        timeout_ms = min(known)
        if timeout_ms > interval_ms:
            timeout_ms = interval_ms * 8 // 10
            notes.say(f"the timeout is longer than the interval: {format_duration(timeout_ms)} leaves room for jitter")
        text = _timeout_text(timeout_ms, notes)
        return {} if text == self._converted.groups[module.name].keys.get("timeout") else {"timeout": text}

    def _name(self, url: str, module: Module) -> str:
        name = url.partition("://")[2].partition("?")[0].rstrip("/")[:MAX_NAME_CHARACTERS]
        candidates = [name, f"{name} ({module.name})", *(f"{name} ({module.name} {n})" for n in range(2, 10_000))]
        name = next(one for one in candidates if one.casefold() not in self._names)
        self._names.add(name.casefold())
        return name

    def space_hosts(self) -> None:
        """A spacing for each host that would be asked more often than the default lets."""
        for host, per_ms in self._loads.items():
            if per_ms * SPACING_MS_DEFAULT > 1 + 1e-9:
                self._converted.hosts[host] = max(1, math.floor(1 / per_ms * (1 + 1e-9)))


def _timeout_text(timeout_ms: int, notes: Notes) -> str:
    low, high = TIMEOUT_MS
    fitting_ms = min(max(timeout_ms, low), high)
    if fitting_ms != timeout_ms:
        notes.say(f"timeout {format_duration(timeout_ms)} became {format_duration(fitting_ms)}")
    return format_duration(fitting_ms)


def _bare(address: str) -> str:
    """Without what may be secret."""
    scheme, mark, rest = address.rpartition("://")
    return shown(scheme + mark + re.split("[?#]", rest, maxsplit=1)[0].rpartition("@")[2])[1:-1]


def _opened(url: str, host: str) -> dict[str, Any]:
    """What the guard must open for a url that says itself that it is inside."""
    parts = urlsplit(url)
    port = parts.port or DEFAULT_PORTS[parts.scheme]
    opened: dict[str, Any] = {}
    if _LOCAL.fullmatch(host):
        opened["allow_networks"] = ["127.0.0.0/8", "::1/128"]
    elif re.fullmatch(r"[0-9.]+|.*:.*", host) and CLOSED.refusal(host, 443):
        opened["allow_networks"] = [host]
    if port in SPECIAL_PORTS:
        opened["allow_ports"] = [str(port)]
    return opened


def _tags(target: Target) -> dict[str, list[str]]:
    tags = [
        f"{name}={value}"[:MAX_TAG_CHARACTERS].strip() for name, value in target.labels.items() if value.isprintable()
    ]
    return {"tags": tags[:MAX_TAGS]} if tags else {}
