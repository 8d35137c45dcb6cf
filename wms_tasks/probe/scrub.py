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

from wms_tasks.net.redact import one_line
from wms_tasks.result import Result

SCRUBBED = "[secret]"
# Of a text that was cut, so long a beginning of a secret at its end is taken for one.
MIN_BEGINNING = 4
_CUT = "…"
# Most keys: nobody writes them in another way, but base64.
_SAME_EVERYWHERE = re.compile("[A-Za-z0-9_.-]+")
_PERCENT = re.compile("%[0-9A-F]{2}")
_FOR_HTML = str.maketrans({character: f"\\u{ord(character):04x}" for character in "<>&"})


def forms_of(values: Iterable[str]) -> tuple[str, ...]:
    """
    The values and what becomes of them on the way: in a url, JSON, HTML, base64, Latin-1, on one line. Longest first.
    """
    forms = {form for value in values for form in _forms_of(value)}
    forms |= {_PERCENT.sub(lambda found: found[0].lower(), form) for form in forms}  # as .NET has it
    # Of a url within a url's query, as a login asks where to go back to.
    forms |= {quote(form, safe="") for form in forms if "%" in form or "+" in form}
    # Of what one line leaves of a secret, three characters would be found in every text.
    kept = (form for form in forms if len(form) >= MIN_BEGINNING)
    return tuple(sorted(kept, key=lambda form: (-len(form), form)))


def _forms_of(value: str) -> Iterator[str]:
    yield value
    yield base64.b64encode(value.encode()).decode()
    if _SAME_EVERYWHERE.fullmatch(value):
        return
    yield _on_one_line(value)
    latin_1 = value.encode().decode("latin-1")  # a header in UTF-8, as clients read headers
    yield from (latin_1, _on_one_line(latin_1))
    yield from (quote(value), quote(value, safe=""), quote_plus(value))
    yield quote(value, safe="!'()*")  # JavaScript's encodeURIComponent
    yield quote_plus(value, safe="*").replace("~", "%7E")  # forms, as browsers and Java write them
    yield from _in_json(value)
    for_html = html.escape(value)
    yield from (for_html, html.escape(value, quote=False))
    yield for_html.replace("&#x27;", "&#39;").replace("&quot;", "&#34;")


def _on_one_line(value: str) -> str:
    """As texts are before they are kept: of some letters in Latin-1 a space is left."""
    return " ".join(value.split()) if value.isprintable() else one_line(value, limit=len(value))


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
