"""
Takes secrets out of what is kept of an answer: servers repeat what they were sent, in headers, bodies and redirects.
Pure.
"""

from __future__ import annotations

import base64
import html
import json
import re
from collections.abc import Callable, Iterable, Iterator
from typing import Any
from urllib.parse import quote, quote_plus

import msgspec

from wms_tasks.result import Result

SCRUBBED = "[secret]"
# Of a text that was cut, so long a beginning of a secret at its end is taken for one.
MIN_BEGINNING = 4
_CUT = "…"
_PERCENT = re.compile("%[0-9A-F]{2}")
_FOR_HTML = str.maketrans({character: f"\\u{ord(character):04x}" for character in "<>&"})


def forms_of(values: Iterable[str]) -> tuple[str, ...]:
    """
    The values and what becomes of them on the way: in a url, JSON, HTML, base64, Latin-1, on one line. Longest first.
    """
    forms: set[str] = set()
    for value in values:
        forms |= {
            value,
            " ".join(value.split()),
            quote(value),
            quote(value, safe=""),
            quote_plus(value),
            *_in_json(value),
            html.escape(value),
            html.escape(value, quote=False),
            html.escape(value).replace("&#x27;", "&#39;").replace("&quot;", "&#34;"),
            value.encode().decode("latin-1"),  # a header in UTF-8, as clients read headers
            base64.b64encode(value.encode()).decode(),
        }
    forms |= {_PERCENT.sub(lambda found: found[0].lower(), form) for form in forms}  # as .NET has it
    return tuple(sorted(filter(None, forms), key=lambda form: (-len(form), form)))


def _in_json(value: str) -> Iterator[str]:
    """As most write it, as PHP does (``\\/``), and as Go does, so that it may stand in HTML."""
    for text in (json.dumps(value)[1:-1], json.dumps(value, ensure_ascii=False)[1:-1]):
        yield text
        yield text.replace("/", "\\/")
        yield text.translate(_FOR_HTML)


def scrub(text: str, forms: tuple[str, ...]) -> str:
    """
    `text` with ``[secret]`` for each of `forms` (`forms_of`), also where the text was cut within one, at its end or
    before a ``…`` there.
    """
    for form in forms:
        text = text.replace(form, SCRUBBED)
    for form in forms:
        text = _without_beginning(text, form)
    return text


def scrubbed(result: Result, scrub_text: Callable[[str], str]) -> Result:
    """`result` with everything in it that a server may have written put through `scrub_text`."""
    written = ("detail", "content_type", "certificate", "evidence")
    return msgspec.structs.replace(
        result, **{name: scrubbed_parts(getattr(result, name), scrub_text) for name in written}
    )


def scrubbed_parts(value: Any, scrub_text: Callable[[str], str]) -> Any:
    """`value` with every text in it put through `scrub_text`: of mappings, tuples and msgspec's records."""
    match value:
        case str():
            return scrub_text(value)
        case dict():
            return {scrub_text(name): scrubbed_parts(inner, scrub_text) for name, inner in value.items()}
        case tuple():
            return tuple(scrubbed_parts(inner, scrub_text) for inner in value)
        case msgspec.Struct():
            fields = {name: scrubbed_parts(getattr(value, name), scrub_text) for name in value.__struct_fields__}
            return msgspec.structs.replace(value, **fields)
    return value


def _without_beginning(text: str, form: str) -> str:
    """`text` without the part of `form` that it ends in, where that is a beginning long enough to be one."""
    whole = text.removesuffix(_CUT)
    beginning = form[:MIN_BEGINNING]
    at = whole.find(beginning, max(0, len(whole) - len(form)))
    while at >= 0:
        if form.startswith(whole[at:]):
            return whole[:at] + SCRUBBED + text[len(whole) :]
        at = whole.find(beginning, at + 1)
    return text
