"""How a body's bytes become text: by the charset a stranger named, as far as that is one of the harmless. Pure."""

from __future__ import annotations

import codecs
import encodings
import pkgutil
import re
from encodings.aliases import aliases

# Charsets that decode in one quick pass. Python knows others ("idna" takes quadratic time) that a stranger may name.
_PLAIN = re.compile(r"(iso8859|cp|windows|latin|koi8|mac|shift_jis|euc|gb|big5|utf_16|utf_32|iso2022)[a-z0-9_-]*")
# Python's own list of them. A name that is not in it is not looked up: Python keeps each name that it did not find, for
# ever, and a stranger may think of a new one for every answer.
_KNOWN = frozenset(module.name for module in pkgutil.iter_modules(encodings.__path__) if _PLAIN.fullmatch(module.name))
_PARAMETER = re.compile(r";\s*charset\s*=\s*[\"']?([a-z0-9_.:+-]+)", re.IGNORECASE)
# Of a Content-Type. The standard library's parser takes seconds for one of 60 KiB.
_MAX_CHARACTERS = 1000


def charset_of(content_type: str) -> str | None:
    """The charset that a Content-Type names, in lower case; None where it names none."""
    found = _PARAMETER.search(content_type[:_MAX_CHARACTERS])
    return found[1].lower() if found else None


def plain_charset(charset: str | None) -> str | None:
    """Python's name of `charset`; None where it is UTF-8, unknown, or none that we decode: then UTF-8 is assumed."""
    if charset is None or not charset.isascii():
        return None
    written = encodings.normalize_encoding(charset).lower()
    name = aliases.get(written) or aliases.get(written.replace(".", "_")) or written
    return codecs.lookup(name).name.replace("-", "_") if name in _KNOWN else None


def beginning_of(body: bytes, charset: str | None, *, max_bytes: int) -> str:
    """The text of the first `max_bytes`; what is no text becomes U+FFFD, a character cut in two is left out."""
    # Not by an incremental decoder: Python's for UTF-16 refuses a body without a byte order mark.
    text = body[:max_bytes].decode(plain_charset(charset) or "utf-8", "replace")
    return text.removesuffix("\ufffd") if len(body) > max_bytes else text
