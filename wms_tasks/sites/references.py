"""
References to secrets in a site's values: ``${WMS_SECRET_NAME}`` and ``${file:relative/path}``. Pure: nothing is read.

What they stand for is known to the worker alone, and only while it asks (probe/secrets.py). Used by the checks of the
sites file, and by the worker again, because a message may come from elsewhere.

``$${`` is a plain ``${``; any other ``$`` is itself. Text is read from left to right, and nothing is read twice: a
secret that holds ``${…}`` is sent as it is.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

from wms_tasks.sites.record import Site
from wms_tasks.sites.wording import shown

VARIABLE_PREFIX = "WMS_SECRET_"
# Beside a secret: the hosts that it may be sent to. Names of that form are no secrets themselves.
HOSTS_SUFFIX = "_HOSTS"
HOSTS_FILE_SUFFIX = ".hosts"
FILE_PREFIX = "file:"
MAX_PATH_CHARACTERS = 255
# The key of what is revealed for a url, percent-encoded.
URL = "url"
FORMS = "write ${WMS_SECRET_NAME} or ${file:name}; $${ is a plain ${"

_MARK = re.compile(r"\$\$\{|\$\{")
_VARIABLE = re.compile(r"WMS_SECRET_[A-Z0-9_]{1,200}")
_IDENTIFIER = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,99}")
_SEGMENT = re.compile(r"[A-Za-z0-9._-]{1,255}")


@dataclass(frozen=True, slots=True)
class Reference:
    """One secret, by name: a variable's, or a path below WMS_SECRETS_DIR."""

    kind: Literal["variable", "file"]
    name: str

    def __str__(self) -> str:
        """As it is written."""
        return f"${{{FILE_PREFIX if self.kind == 'file' else ''}{self.name}}}"


@lru_cache(maxsize=4096)
def parts(text: str) -> tuple[str | Reference, ...]:
    """
    `text` as plain text and references, in order, with ``$${`` undone.

    Raises:
        ValueError: what is wrong with a reference and what to write. The text beside it, which may be a secret in the
            wrong place, is never repeated.
    """
    found: list[str | Reference] = []
    at = 0
    while mark := _MARK.search(text, at):
        found.append(text[at : mark.start()])
        at = mark.end()
        if mark[0] == "$${":
            found.append("${")
            continue
        end = text.find("}", at)
        if end < 0:
            raise ValueError(f"holds a ${{ without a }} ({FORMS})")
        found.append(_reference(text[at:end]))
        at = end + 1
    found.append(text[at:])
    return tuple(part for part in found if part)


def references(text: str | None) -> tuple[Reference, ...]:
    """
    The references in `text`; none in None.

    Raises:
        ValueError: as `parts`.
    """
    return tuple(part for part in parts(text) if isinstance(part, Reference)) if text and "${" in text else ()


def has_reference(text: str) -> bool:
    """Whether there is a reference in `text`, right or wrong."""
    return any(mark[0] == "${" for mark in _MARK.finditer(text))


def check_references(text: str) -> str:
    """
    `text` itself, as written.

    Raises:
        ValueError: as `parts`.
    """
    references(text)
    return text


def check_is_reference(text: str) -> str:
    """
    `text` itself, where it is one reference and nothing else: what must never stand in the file as it is.

    Raises:
        ValueError: as `parts`, or it is not; the text is not repeated.
    """
    found = references(text)
    if len(found) != 1 or str(found[0]) != text:
        raise ValueError(f"must be a reference and nothing else, never the secret itself ({FORMS})")
    return text


def filled(text: str, value_of: Callable[[Reference], str]) -> str:
    """
    `text` with each reference replaced by its value.

    Raises:
        ValueError: as `parts`; and what `value_of` raises.
    """
    if "${" not in text:
        return text
    return "".join(value_of(part) if isinstance(part, Reference) else part for part in parts(text))


def texts_of(site: Site) -> Iterator[tuple[str, str]]:
    """
    Every text of `site` in which references are resolved, with the key it stands under. Nothing else is resolved. The
    url is one only where it holds a reference, for which url.py has a place in its query alone.
    """
    if "${" in site.url:
        yield URL, site.url
    for name, value in site.headers.items():
        yield f"headers.{name}", value
    for key in ("password", "bearer"):
        if site.auth is not None and (text := getattr(site.auth, key)) is not None:
            yield f"auth.{key}", text
    for key in ("ca", "certificate", "key"):
        if (text := getattr(site.tls, key)) is not None:
            yield f"tls.{key}", text
    if site.body is not None:
        yield "body", site.body


def references_of(site: Site) -> Iterator[tuple[str, Reference]]:
    """
    The references of `site`, each with the key it stands under.

    Raises:
        ValueError: as `parts`.
    """
    for key, text in texts_of(site):
        for reference in references(text):
            yield key, reference


def _reference(inner: str) -> Reference:
    if inner.startswith(FILE_PREFIX):
        return Reference("file", _path(inner.removeprefix(FILE_PREFIX)))
    if not _VARIABLE.fullmatch(inner):
        raise ValueError(_not_readable(inner))
    if inner.endswith(HOSTS_SUFFIX):
        raise ValueError(
            f"holds ${{{inner}}}, which names hosts and is no secret (write ${{{inner.removesuffix(HOSTS_SUFFIX)}}})"
        )
    return Reference("variable", inner)


def _not_readable(inner: str) -> str:
    if not _IDENTIFIER.fullmatch(inner):
        return f"holds a ${{…}} that is no reference ({FORMS})"
    meant = VARIABLE_PREFIX + inner.upper().removeprefix("WMS_").removeprefix("SECRET_")
    return (
        f"holds ${{{inner}}}, and only variables that begin with {VARIABLE_PREFIX} may be read "
        f"(name it {meant} and write ${{{meant}}})"
    )


def _path(path: str) -> str:
    wrong = None
    if not path:
        wrong = "no path"
    elif path.startswith("/"):
        wrong = "an absolute path"
    elif len(path) > MAX_PATH_CHARACTERS:
        wrong = f"a path of {len(path)} characters"
    elif ".." in path.split("/"):
        wrong = "a path with .. in it"
    elif "." in path.split("/") or not all(map(_SEGMENT.fullmatch, path.split("/"))):
        wrong = f"the path {shown(path)}, which may hold letters, digits and . _ - between single /"
    if wrong:
        raise ValueError(
            f"${{file:…}} with {wrong} (write the file's path below WMS_SECRETS_DIR, as in ${{file:shop/token}})"
        )
    if path.endswith(HOSTS_FILE_SUFFIX):
        raise ValueError(
            f"holds ${{file:{path}}}, which names hosts and is no secret (write the path without {HOSTS_FILE_SUFFIX})"
        )
    return path
