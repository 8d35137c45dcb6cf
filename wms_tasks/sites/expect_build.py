"""
From what is written under ``expect:``, for a site and in the defaults, to the `Expect` that is judged by. Pure.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Any

from wms_tasks.sites.expect_spec import ExpectSpec, HeaderRuleSpec
from wms_tasks.sites.record import Expect, HeaderRule

_KEYS = tuple(ExpectSpec.model_fields)
_NOTHING: tuple[Any, ...] = (None,) * len(_KEYS)


def build_expect(own: ExpectSpec | None, default: ExpectSpec | None) -> Expect:
    """Each key the site's own, else the default's, else ours."""
    mine = _values(own) if own else _NOTHING
    if default is not None:
        mine = tuple(d if m is None else m for m, d in zip(mine, _values(default), strict=True))
    return _shared(mine)


def _values(spec: ExpectSpec) -> tuple[Any, ...]:
    # In the order of the fields. Mappings are no keys of a cache; pairs are.
    values = tuple(spec.__dict__.values())
    if spec.headers is None and spec.not_headers is None:
        return values
    return tuple(tuple(value.items()) if type(value) is dict else value for value in values)


@lru_cache(maxsize=4096)
def _shared(values: tuple[Any, ...]) -> Expect:
    # Most sites expect the same: one frozen record for all of them.
    fields: dict[str, Any] = {}
    for key, value in zip(_KEYS, values, strict=True):
        if value is not None:
            fields.update(_FIELDS[key](value))
    return Expect(**fields)


def _patterns(values: tuple[str, ...]) -> dict[str, Any]:
    # A lone one stands in the field that every release knows.
    return {"body_regexp": values[0]} if len(values) == 1 else {"body_regexps": values}


def _header_rules(rules: tuple[tuple[str, HeaderRuleSpec], ...]) -> dict[str, Any]:
    made = (HeaderRule(name=name.lower(), regexp=rule.regexp, may_lack=rule.may_lack) for name, rule in rules)
    return {"headers": tuple(made)}


def _not_headers(rules: tuple[tuple[str, str], ...]) -> dict[str, Any]:
    return {"not_headers": tuple(HeaderRule(name=name.lower(), regexp=regexp) for name, regexp in rules)}


_FIELDS: dict[str, Callable[[Any], dict[str, Any]]] = {
    "status": lambda value: {"status": value},
    "http_version": lambda value: {"http_versions": value},
    "tls": lambda value: {"tls": value},
    "body_regexp": _patterns,
    "body_not_regexp": lambda value: {"body_not_regexps": value},
    "headers": _header_rules,
    "not_headers": _not_headers,
    "json_": lambda value: {"json": value},
    "certificate_days": lambda value: {"certificate_days": value or None},  # 0 takes back the default's
    "slow": lambda value: {"slow_seconds": value / 1000},
}
