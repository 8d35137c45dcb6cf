"""
Reads one mapping of the file into its model. What pydantic has against it becomes a line a person can act on: where in
the file, which key, what is wrong, what to do.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, TypeVar, get_args

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from wms_tasks.sites.expect_spec import MAX_CERTIFICATE_DAYS
from wms_tasks.sites.hints import ELSEWHERE, EXAMPLES, HOMES, MEANT
from wms_tasks.sites.problems import Problems
from wms_tasks.sites.request_spec import MAX_REDIRECTS
from wms_tasks.sites.spec import MAX_RETRIES, DefaultsSpec, HostSpec, SiteSpec
from wms_tasks.sites.wording import nearest, shown, suggestion
from wms_tasks.sites.yaml_reader import Block, Items

Model = TypeVar("Model", bound=BaseModel)
NO_KEYS: frozenset[str] = frozenset()

_SITE_KEYS = ("name", "id", "enabled", "url", "group", *DefaultsSpec.model_fields)
_SHAPES = {
    "dict_type": "a mapping",
    "model_type": "a mapping",
    "tuple_type": "a list",
    "list_type": "a list",
}
_QUOTED = re.compile("'([^']*)'")
# Of whole numbers, by key.
_RANGES = {
    "retries": f"0 to {MAX_RETRIES}",
    "max_redirects": f"0 to {MAX_REDIRECTS}",
    "certificate_days": f"0 to {MAX_CERTIFICATE_DAYS}",
}


def read_block(block: Block, model: type[Model], problems: Problems) -> tuple[Model | None, frozenset[str]]:
    """
    The model of what is right in `block`, and the keys that are not; None where a key that must be there is wrong.
    """
    try:
        return model.model_validate(block), NO_KEYS
    except ValidationError as error:
        for line, text in explain(error, block, model):
            problems.add(line, text)
        broken = frozenset(str(detail["loc"][0]) for detail in error.errors(include_url=False, include_input=False))
    return read_rest(block, model, broken), broken


def read_rest(block: Block, model: type[Model], broken: frozenset[str]) -> Model | None:
    """The model of `block` without its `broken` keys and those that are not the model's; None where it needs one."""
    good = {key: value for key, value in block.items() if key in model.model_fields and key not in broken}
    try:
        return model.model_validate(good)
    except ValidationError:
        return None


def explain(error: ValidationError, block: Block, model: type[BaseModel]) -> Iterator[tuple[int, str]]:
    """The line and the words of each thing that is wrong with `block`, which was read as a `model`."""
    for detail in error.errors(include_url=False, include_context=True):
        location = detail["loc"]
        at_key = location[-1] == "[key]"
        line = line_of(block, location[:-1] if at_key else location)
        yield line, _words(detail, location[:-2] if at_key else location, model)


def line_of(block: Block, location: tuple[int | str, ...]) -> int:
    """The line of the deepest part of `location` that is in the file."""
    line, at = block.line, block
    for part in location:
        here: Any = at
        if isinstance(here, Block) and part in here.lines:
            line, at = here.lines[str(part)], here[str(part)]
        elif isinstance(here, Items) and isinstance(part, int) and part < len(here.lines):
            line, at = here.lines[part], here[part]
        else:
            break
    return line


def _words(detail: ErrorDetails, location: tuple[int | str, ...], model: type[BaseModel]) -> str:
    kind, last = detail["type"], str(location[-1])
    if kind == "extra_forbidden":
        return _unknown_key(last, _model_at(model, location))
    if kind == "missing":
        return _missing(last, location[:-1], model)
    return f"{_dotted(location)}: {_what(detail, location)}"


def _dotted(location: tuple[int | str, ...]) -> str:
    # A key that is wrong in itself may stand here, and hold anything.
    names = (
        part if part.isascii() and part.isprintable() else shown(part) for part in location if isinstance(part, str)
    )
    return ".".join(names)


def _model_at(model: type[BaseModel], location: tuple[int | str, ...]) -> type[BaseModel]:
    """Of the mapping that holds the last key of `location`."""
    for part in location[:-1]:
        field = model.model_fields.get(str(part))
        model = (field and _model_in(field.annotation)) or model
    return model


def _model_in(annotation: object) -> type[BaseModel] | None:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    return next((found for inner in get_args(annotation) if (found := _model_in(inner))), None)


def _what(detail: ErrorDetails, location: tuple[int | str, ...]) -> str:
    kind, value, context = detail["type"], detail["input"], detail.get("ctx", {})
    if kind == "value_error":
        return str(context["error"])
    if kind in _SHAPES:
        example = EXAMPLES.get(".".join(map(str, location))) or EXAMPLES.get(str(location[-1]))
        return f"must be {_SHAPES[kind]}" + (f" (write it like `{example}`)" if example else "")
    if kind == "too_long":
        return f"has more than {context['max_length']} entries"
    return _bad_scalar(kind, value, context, next(part for part in reversed(location) if isinstance(part, str)))


def _bad_scalar(kind: str, value: object, context: dict[str, Any], key: str) -> str:
    if value is None:
        return "has no value"
    if not isinstance(value, str):
        return "must be one value, not a list or a mapping"
    if kind == "literal_error":
        return _not_one_of(value, tuple(_QUOTED.findall(context["expected"])), key)
    if kind.startswith("bool"):
        return f"{shown(value)} is not true or false"
    if "ge" in context or "le" in context:
        return f"{shown(value)} is out of range ({_RANGES[key]})"
    return f"{shown(value)} is not a whole number"


def _not_one_of(value: str, known: tuple[str, ...], key: str) -> str:
    meant = MEANT.get(key, {}).get(value.lower())
    hint = f"did you mean {meant}?" if meant else suggestion(value, known)
    all_known = f"{', '.join(known[:-1])} or {known[-1]}"
    return f"{shown(value)} is not {all_known}" + (f" ({hint})" if not hint.startswith("known") else "")


def _missing(key: str, parent: tuple[int | str, ...], model: type[BaseModel]) -> str:
    if parent:
        return f"{_dotted(parent)}: has no {key}"
    if model is HostSpec:
        return "spacing is missing (write it like `spacing: 2s`)"
    return f"this site has no {key} (each needs a name and a url)"


def _keys(model: type[BaseModel]) -> tuple[str, ...]:
    return tuple(field.alias or name for name, field in model.model_fields.items())


def _unknown_key(key: str, model: type[BaseModel]) -> str:
    own = _SITE_KEYS if model is SiteSpec else _keys(model)
    known = ELSEWHERE.get(key.lower(), key)
    if known in own:
        hint = f"did you mean {known}?"
    elif known in HOMES:
        hint = HOMES[known] if known == key else f"did you mean {known}? {HOMES[known].capitalize()}"
    elif (near := nearest(key, (*own, *HOMES))) and near not in own:
        hint = f"did you mean {near}? {HOMES[near].capitalize()}"
    elif known in DefaultsSpec.model_fields:
        hint = "it belongs to the site, one step to the left" if known == key else f"did you mean the site's {known}?"
    else:
        hint = suggestion(key, own)
    return f"unknown key {shown(key)} ({hint})"
