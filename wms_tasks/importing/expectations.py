"""
What blackbox_exporter's http prober fails a probe for, as ``expect:`` of a sites file. Pure; used by blackbox.py.

It says when a probe fails, we say what must be.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from wms_tasks.importing.notes import Notes
from wms_tasks.importing.shapes import items, mappings
from wms_tasks.sites.text_rules import check_pattern, check_status
from wms_tasks.sites.wording import shown


class Expectations:
    """Fed key by key through `READERS`; ``keys`` are those of ``expect:``."""

    def __init__(self, notes: Notes) -> None:
        self.keys: dict[str, Any] = {}
        self._notes = notes

    def status(self, value: Any) -> None:
        codes = [code for code in map(str, items(value)) if self._is_right("valid_status_codes", code, check_status)]
        if codes:
            self.keys["status"] = codes

    def versions(self, value: Any) -> None:
        spoken = [version for version in ("1.0", "1.1") if f"HTTP/{version}" in items(value)]
        if len(spoken) == 1:
            self.keys["http_version"] = spoken
        elif not spoken:
            self._notes.lost("valid_http_versions", "HTTP/1.1 is spoken, and none of these")

    def no_tls(self, value: Any) -> None:
        if value is True:
            self.keys["tls"] = "forbidden"

    def only_tls(self, value: Any) -> None:
        if value is True:
            self.keys["tls"] = "required"

    def body_must_not(self, value: Any) -> None:
        self._patterns("body_not_regexp", "fail_if_body_matches_regexp", value)

    def body_must(self, value: Any) -> None:
        self._patterns("body_regexp", "fail_if_body_not_matches_regexp", value)

    def _patterns(self, ours: str, theirs: str, value: Any) -> None:
        patterns = [pattern for pattern in map(str, items(value)) if self._is_right(theirs, pattern, check_pattern)]
        if patterns:
            self.keys[ours] = patterns

    def _is_right(self, key: str, text: str, check: Callable[[str], Any]) -> bool:
        try:
            check(text)
        except ValueError as error:
            self._notes.lost(f"{key} {shown(text)}", its(error))
            return False
        return True

    def header_must_not(self, value: Any) -> None:
        key, rules = "fail_if_header_matches", self.keys.setdefault("not_headers", {})
        for name, pattern, rule in self._header_rules(key, value):
            # One rule a header here: either of them.
            rules[name] = f"(?:{rules[name]})|(?:{pattern})" if name in rules else pattern
            if not rule.get("allow_missing"):
                self._notes.say(f"{key} {name}: there, a missing header fails too; here it does not")

    def header_must(self, value: Any) -> None:
        key, rules = "fail_if_header_not_matches", self.keys.setdefault("headers", {})
        for name, pattern, rule in self._header_rules(key, value):
            if name in rules:
                self._notes.lost(f"{key} {name}", "a header has one pattern")
            else:
                rules[name] = {"regexp": pattern, "may_lack": True} if rule.get("allow_missing") else pattern

    def _header_rules(self, key: str, value: Any) -> list[tuple[str, str, Mapping[str, Any]]]:
        rules = [(str(rule.get("header")), str(rule.get("regexp")), rule) for rule in mappings(value)]
        return [rule for rule in rules if self._is_right(f"{key} {rule[0]}", rule[1], check_pattern)]


def its(error: ValueError) -> str:
    """What a check says of a value, as part of a sentence; some begin with the value, some do not."""
    return str(error) if str(error).startswith("'") else f"it {error}"


READERS: dict[str, Callable[[Expectations, Any], None]] = {
    "valid_status_codes": Expectations.status,
    "valid_http_versions": Expectations.versions,
    "fail_if_ssl": Expectations.no_tls,
    "fail_if_not_ssl": Expectations.only_tls,
    "fail_if_body_matches_regexp": Expectations.body_must_not,
    "fail_if_body_not_matches_regexp": Expectations.body_must,
    "fail_if_header_matches": Expectations.header_must_not,
    "fail_if_header_not_matches": Expectations.header_must,
}
