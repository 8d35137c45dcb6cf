"""
What a site falls back on: its file's defaults, and over them its group. Pure; used by whole.py.
"""

from __future__ import annotations

from typing import Any, NamedTuple, TypeVar

from pydantic import BaseModel

from wms_tasks.sites.expect_spec import ExpectSpec
from wms_tasks.sites.request_spec import TlsSpec
from wms_tasks.sites.spec import DefaultsSpec

Model = TypeVar("Model", bound=BaseModel)
# Merged key by key; whatever else one layer writes takes the place of what is below it.
_MERGED = (ExpectSpec, TlsSpec)


class Layer(NamedTuple):
    """
    Keys that sites share. ``broken``: those that are wrong, and so not in ``spec``; ``words``: where they are written,
    as a problem says it.
    """

    spec: DefaultsSpec
    broken: frozenset[str]
    words: str


NO_LAYER = Layer(DefaultsSpec(), frozenset(), "")


def layered(over: DefaultsSpec, under: DefaultsSpec) -> DefaultsSpec:
    """Each key as `over` has it, else as `under` has; ``headers``, ``tls`` and ``expect`` are merged key by key."""
    values = _values(over, under)
    if over.max_redirects is not None and over.follow_redirects is None:
        values.pop("follow_redirects", None)  # two keys about one thing: the upper layer has spoken
    if over.headers is not None and under.headers is not None:
        written = {name.lower() for name in over.headers}
        values["headers"] = {n: v for n, v in under.headers.items() if n.lower() not in written} | over.headers
    return DefaultsSpec.model_construct(set(values), **values)


def is_broken(key: str, layers: tuple[Layer, ...]) -> bool:
    """Whether the value that `layers`, uppermost first, give `key` is one that was wrong."""
    for layer in layers:
        if key in layer.broken:
            return True
        if getattr(layer.spec, key, None) is not None:
            return False
    return False


def _values(over: BaseModel, under: BaseModel) -> dict[str, Any]:
    values: dict[str, Any] = {}
    for key in type(over).model_fields:
        upper, lower = getattr(over, key), getattr(under, key)
        if isinstance(upper, _MERGED) and isinstance(lower, _MERGED):
            values[key] = _merged(upper, lower)
        elif upper is not None or lower is not None:
            values[key] = lower if upper is None else upper
    return values


def _merged(over: BaseModel, under: BaseModel) -> BaseModel:
    values = {key: value for spec in (under, over) for key, value in spec if value is not None}
    return under.model_copy(update=values)
