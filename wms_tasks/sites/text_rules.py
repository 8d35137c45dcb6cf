"""
What the text of each key may be: names, headers, status codes, patterns. Every function returns what to keep, or says
in one line what is wrong and what to write instead. Pure; used by spec.py, which knows the shapes.
"""

from __future__ import annotations

import re
import unicodedata
from functools import lru_cache

import re2

from wms_tasks.sites.references import FORMS, check_references, has_reference
from wms_tasks.sites.wording import CONTROL, nearest, shown

MAX_NAME_CHARACTERS = 200
MAX_TAG_CHARACTERS = 64
MAX_HEADER_BYTES = 8192  # what common servers take for all headers together
MAX_PATTERN_BYTES = 1024

METHODS = ("GET", "HEAD", "OPTIONS", "POST", "PUT", "PATCH", "DELETE")

_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,100}")  # RFC 9110, 5.6.2
_OWN = "the probe sets it itself"
_HOP = "it speaks about our connection, not about the page"
REFUSED_HEADERS = {
    "host": _OWN,
    "content-length": _OWN,
    "accept-encoding": _OWN,
    "expect": _OWN,
    "connection": _HOP,
    "keep-alive": _HOP,
    "proxy-connection": _HOP,
    "te": _HOP,
    "trailer": _HOP,
    "transfer-encoding": _HOP,
    "upgrade": _HOP,
    "proxy-authorization": "it speaks to a proxy, and there is none",
}
# What these carry is a key to the site: as written, it would show in queues, rows and dashboards.
SECRET_HEADERS = frozenset({"authorization", "cookie"})
_STATUS = re.compile(r"[1-5][0-9][0-9]|[1-5]xx")
STATUS_FORMS = "write a code from 100 to 599 or a class from 1xx to 5xx"
_PERL_ONLY = "google-re2 has no look-around and no back-references"


def refuse_control(text: str) -> str:
    """
    `text`, if it holds no control character.

    Raises:
        ValueError: names the character and its place.
    """
    found = CONTROL.search(text)
    if found:
        raise ValueError(f"holds the control character U+{ord(found[0]):04X} at position {found.start() + 1}")
    return text


def check_name(text: str) -> str:
    """
    A name or id with its spaces tidied, in Unicode's composed form, so that two spellings of it are one.

    Raises:
        ValueError: empty, too long, or with control characters.
    """
    refuse_control(text)
    name = " ".join(text.split()) if text.isascii() else " ".join(unicodedata.normalize("NFC", text).split())
    if not name:
        raise ValueError("is empty")
    if len(name) > MAX_NAME_CHARACTERS:
        raise ValueError(f"is {len(name)} characters long (at most {MAX_NAME_CHARACTERS})")
    return name


@lru_cache(maxsize=4096)
def check_tag(text: str) -> str:
    """
    A tag, trimmed.

    Raises:
        ValueError: empty, too long, or with control characters.
    """
    tag = refuse_control(text).strip()
    if not tag or len(tag) > MAX_TAG_CHARACTERS:
        raise ValueError(f"a tag has 1 to {MAX_TAG_CHARACTERS} characters, not {len(tag)}")
    return tag


@lru_cache(maxsize=64)
def check_method(text: str) -> str:
    """
    A method of `METHODS`.

    Raises:
        ValueError: another one; names the nearest.
    """
    if text not in METHODS:
        near = nearest(text, METHODS)
        hint = f" (did you mean {near}?)" if near else ""
        raise ValueError(f"{shown(text)} is not one of {', '.join(METHODS)}{hint}")
    return text


@lru_cache(maxsize=4096)
def check_header_token(text: str) -> str:
    """
    A header's name, of a request or an answer.

    Raises:
        ValueError: not a token of RFC 9110.
    """
    if not _TOKEN.fullmatch(text):
        raise ValueError(f"{shown(text)} is not a header name (letters, digits and -, at most 100)")
    return text


@lru_cache(maxsize=4096)
def check_header_name(text: str) -> str:
    """
    A header's name.

    Raises:
        ValueError: as `check_header_token`, or a header that is not the file's to set.
    """
    why = REFUSED_HEADERS.get(check_header_token(text).lower())
    if why:
        raise ValueError(f"{text} may not be set: {why}")
    return text


@lru_cache(maxsize=4096)
def check_header_value(text: str) -> str:
    """
    A header's value, trimmed. It is never repeated in a problem: it may be a secret all the same.

    Raises:
        ValueError: control characters, a bad reference, too long, or not Latin-1, which is all that HTTP carries.
    """
    value = check_references(refuse_control(text).strip())
    try:
        size = len(value.encode("latin-1"))
    except UnicodeEncodeError as error:
        raise ValueError(f"holds U+{ord(value[error.start]):04X}, which a header cannot carry (Latin-1 only)") from None
    if size > MAX_HEADER_BYTES:
        raise ValueError(f"is {size} bytes long (at most {MAX_HEADER_BYTES})")
    return value


def check_header(name: str, value: object) -> None:
    """
    Whether this value may stand in the file for this header; the value, whose form is checked apart, is not repeated.

    Raises:
        ValueError: it is a key to the site, and no reference to one.
    """
    if name.lower() in SECRET_HEADERS and isinstance(value, str) and not has_reference(value):
        raise ValueError(f"its value would show in queues and dashboards ({FORMS})")


@lru_cache(maxsize=1024)
def check_status(text: str) -> str:
    """
    A status code or class, in lower case: ``200``, ``2xx``.

    Raises:
        ValueError: neither.
    """
    status = text.strip().lower()
    if not _STATUS.fullmatch(status):
        meant = f"{status[0]}xx" if re.match(r"[1-5]([0-9x*]|[0-9][0-9x*]|00 ?-.*)?$", status) else None
        raise ValueError(f"{shown(text)} is no status ({f'did you mean {meant}?' if meant else STATUS_FORMS})")
    return status


def pattern_options() -> re2.Options:
    """How every body pattern is compiled, here and in the probe: silent on stderr, memory as re2 limits it (8 MiB)."""
    options = re2.Options()
    options.log_errors = False
    return options


@lru_cache(maxsize=65_536)
def check_pattern(text: str) -> str:
    """
    A pattern google-re2 can compile. Each distinct one is compiled once and not kept: a program takes kilobytes.

    Raises:
        ValueError: re2's own words, or that it is empty, too long or holds control characters.
    """
    if not text:
        raise ValueError("is empty, which everything matches (leave the key out)")
    size = len(text.encode("utf-8", "surrogatepass"))
    if size > MAX_PATTERN_BYTES:
        raise ValueError(f"is {size} bytes long (at most {MAX_PATTERN_BYTES})")
    if CONTROL.search(text):
        raise ValueError(r"holds a line end or another control character (write \n or \t, in single quotes)")
    try:
        re2.compile(text.encode(), pattern_options())
    except (re2.error, UnicodeEncodeError) as error:
        raise ValueError(f"is not a pattern google-re2 takes: {_re2_words(error)}") from error
    return text


def _re2_words(error: Exception) -> str:
    first = error.args[0] if error.args else ""
    words = first.decode("utf-8", "replace") if isinstance(first, bytes) else str(error)
    perl_only = "perl operator" in words or re.search(r"invalid escape sequence: \\[1-9]", words)
    return f"{words} ({_PERL_ONLY})" if perl_only else words
