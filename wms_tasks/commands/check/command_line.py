"""What the command line of ``wms check`` says, in the shape of the sites file; and what is wrong with it. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from pydantic import ValidationError

from wms_tasks.commands.check.options import OPTIONS, Option, block_from, option_at
from wms_tasks.errors import UsageError
from wms_tasks.sites.read import explain
from wms_tasks.sites.spec import DefaultsSpec
from wms_tasks.sites.yaml_reader import Block


def block_of(written: Mapping[str, Any]) -> Block:
    """
    What the command line says, in the shape of the sites file.

    Args:
        written: by ``parameter``: a text, texts, or whether a flag is there.

    Raises:
        UsageError: a text cannot be taken apart. No value is repeated, which may be a secret.
    """
    block = Block(0)
    for option in OPTIONS:
        value = written[option.parameter]
        if value is None or value is False or value == ():
            continue
        try:
            _put(block, option.path, _value(option, value))
        except ValueError as error:
            raise UsageError(f"{option.name} {error}") from error
    return block


def usage_error(error: ValidationError, block: Block) -> UsageError:
    """What is wrong with values of `block`, a line for each, with the option where the file's key would stand."""
    return UsageError("\n".join(_in_options(text) for _, text in explain(error, block, DefaultsSpec)))


def _in_options(text: str) -> str:
    key, _, rest = text.partition(": ")
    path = tuple(key.split("."))
    option = option_at(path)
    if option is None:
        return text
    below = ".".join(path[len(option.path) :]).removesuffix(".regexp")
    return f"{option.name} {below + ': ' if below else ''}{rest}"


def _value(option: Option, value: str | bool | Sequence[str]) -> Any:
    if option.value is not None:
        return option.value
    if isinstance(value, str):
        return option.read(value)
    parts = [option.read(text) for text in value if isinstance(text, str)] if not isinstance(value, bool) else []
    if parts and isinstance(parts[0], tuple):
        return _mapping(parts)
    return list(_flat(parts))


def _mapping(pairs: Sequence[tuple[str, str]]) -> Block:
    if len({name.lower() for name, _ in pairs}) < len(pairs):
        raise ValueError("is given twice for the same header")
    return block_from(dict(pairs))


def _flat(parts: Sequence[str | list[str]]) -> Iterator[str]:
    for part in parts:
        yield from [part] if isinstance(part, str) else part


def _put(block: Block, path: tuple[str, ...], value: Any) -> None:
    *upper, last = path
    for key in upper:
        if not isinstance(block.get(key), Block):
            block[key], block.lines[key] = Block(0), 0
        block = block[key]
    block[last], block.lines[last] = value, 0
