"""
What a site's references stand for: read here, in the worker, at the moment it asks, and handed to the request alone.

A value may be nowhere else: not in a message, row, log line or error. So it lives in `Revealed`, which no library can
print or write down, and whatever is kept of an answer goes through `Revealed.scrub`, since servers repeat what they
are sent. Called by http.py.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import NoReturn
from urllib.parse import quote

from wms_tasks.errors import SecretError
from wms_tasks.probe.scrub import forms_of, scrub
from wms_tasks.sites.record import Site
from wms_tasks.sites.references import (
    HOSTS_FILE_SUFFIX,
    HOSTS_SUFFIX,
    URL,
    Reference,
    filled,
    references,
    references_of,
    texts_of,
)
from wms_tasks.sites.secret_hosts import hosts_hold, read_hosts
from wms_tasks.sites.url import MAX_URL_CHARACTERS, check_url, host_of

MAX_FILE_BYTES = 64 * 1024
# What is shorter stands in every page: it could not be kept out of what is stored of an answer.
MIN_CHARACTERS = 4
CACHED_FILES = 4096
_NOT_IN_A_HEADER = frozenset("\r\n\0")
_IN_A_HEADER = ("headers.", "auth.")
_TLS = "tls."

_Signature = tuple[int, int, int, int]


class Revealed:
    """
    A site's texts with their secrets in them, by the key they stand under (`references.texts_of`). True: there are any.

    It has no repr, cannot be pickled, and is no record that msgspec or json would write.
    """

    __slots__ = ("_in_url", "_texts", "_values")

    def __init__(self, texts: Mapping[str, str], values: tuple[str, ...], in_url: tuple[str, ...] = ()) -> None:
        self._texts = dict(texts)
        self._values = values
        self._in_url = in_url

    def text(self, key: str) -> str | None:
        """What stands under `key`, as in ``headers.X-Token``; None where nothing does."""
        return self._texts.get(key)

    @property
    def in_url(self) -> tuple[str, ...]:
        """The forms of those secrets that the url holds (`scrub.forms_of`)."""
        return self._in_url

    def scrub(self, text: str) -> str:
        """`text` without any of the secrets, in whatever common form."""
        return scrub(text, self._values)

    def __bool__(self) -> bool:
        return bool(self._values)

    def __reduce__(self) -> NoReturn:
        raise TypeError("secrets are not written down")


NOTHING_REVEALED = Revealed({}, ())


@dataclass(frozen=True, slots=True)
class _Kept:
    signature: _Signature
    text: str

    def __repr__(self) -> str:
        return "_Kept(…)"


class Secrets:
    """
    Reads secrets; thread-safe, one serves a process.

    A file is read again once it has changed, so that a secret can be rotated without a restart.

    Args:
        environment: where ``WMS_SECRET_*`` are looked up, at each call.
        folder: WMS_SECRETS_DIR; None: no file may be read.
    """

    def __init__(self, environment: Mapping[str, str], folder: Path | None) -> None:
        self._environment = environment
        self._folder = folder
        self._kept: dict[Path, _Kept] = {}

    def reveal(self, site: Site) -> Revealed:
        """
        All of the site's texts.

        Raises:
            SecretError: a reference cannot be resolved, or its secret may not be sent to the site's host. Names the
                reference and what to do, never a value.
        """
        texts = dict(texts_of(site))
        if not any("${" in text for text in texts.values()):
            return Revealed(texts, ()) if texts else NOTHING_REVEALED
        self.check_hosts(site)
        values: dict[Reference, str] = {}
        full = {key: filled(text, partial(self._value, values=values, key=key)) for key, text in texts.items()}
        if len(full.get(URL, "")) > MAX_URL_CHARACTERS:
            raise SecretError(f"the url is longer than {MAX_URL_CHARACTERS} characters with its secrets in it")
        # What speaks TLS is not told to the server, so it cannot come back; and it is long.
        told = {reference for key, reference in references_of(site) if not key.startswith(_TLS)}
        pair = [f"{site.auth.username}:{full['auth.password']}"] if site.auth and site.auth.password else []
        in_url = [values[reference] for reference in references(texts.get(URL))]
        return Revealed(full, forms_of([*(values[reference] for reference in told), *pair]), forms_of(in_url))

    def check_hosts(self, site: Site) -> None:
        """
        Whether each of the site's secrets that is known here, and names hosts, may be sent to the site's host.

        Raises:
            SecretError: one may not; or a reference is none.
        """
        try:
            found = [reference for _, reference in references_of(site)]
            # Checked again: of a url that the file would not take, we and the client might read another host.
            host = host_of(check_url(site.url)) if found else ""
        except ValueError as error:
            raise SecretError(str(error)) from None
        for reference in found:
            self._allow(reference, host)

    def _value(self, reference: Reference, *, values: dict[Reference, str], key: str) -> str:
        if reference not in values:
            values[reference] = _usable(self._read(reference), reference)
        value = values[reference]
        if key.startswith(_IN_A_HEADER) and not _NOT_IN_A_HEADER.isdisjoint(value):
            raise SecretError(f"{reference} holds a line end or NUL, which a header cannot carry")
        # Nothing that has a meaning in a url is left, so that it stays one value of the query.
        return quote(value, safe="") if key == URL else value

    def _read(self, reference: Reference) -> str:
        if reference.kind == "file":
            return self._file(reference, reference.name)
        value = self._environment.get(reference.name)
        if value is None:
            raise SecretError(f"{reference} is not set (set {reference.name} in the worker's environment)")
        return value

    def _allow(self, reference: Reference, host: str) -> None:
        written = self._hosts_of(reference)
        if written is None:
            return
        name, text = written
        try:
            patterns = read_hosts(text)
        except ValueError as error:
            raise SecretError(f"{reference} is sent nowhere: {name} {error}") from None
        if not hosts_hold(patterns, host):
            raise SecretError(f"{reference} may not be sent to {host} (add it to {name}, if it may)")

    def _hosts_of(self, reference: Reference) -> tuple[str, str] | None:
        """The name and text of what lists the secret's hosts; None where nothing does."""
        if reference.kind == "variable":
            name = reference.name + HOSTS_SUFFIX
            text = self._environment.get(name)
            return None if text is None else (name, text)
        path = reference.name + HOSTS_FILE_SUFFIX
        if self._folder is None or not os.path.lexists(self._folder / path):
            return None
        return path, self._file(reference, path)

    def _file(self, reference: Reference, relative: str) -> str:
        """
        The text of a file below the folder, without one newline at its end.

        Raises:
            SecretError: there is none, it leads out of the folder, or is too large or no text.
        """
        if self._folder is None:
            raise SecretError(f"{reference} cannot be read: WMS_SECRETS_DIR is not set in the worker")
        try:
            folder = Path(os.path.realpath(self._folder, strict=True))
            path = Path(os.path.realpath(folder / relative, strict=True))
            if not path.is_relative_to(folder):
                raise SecretError(f"{reference} leads out of WMS_SECRETS_DIR (links may lead only to files in it)")
            return self._text(reference, path)
        except FileNotFoundError:
            raise SecretError(f"{reference} is not there (put the file below the worker's WMS_SECRETS_DIR)") from None
        except OSError as error:
            raise SecretError(f"{reference} cannot be read: {error.strerror}") from None

    def _text(self, reference: Reference, path: Path) -> str:
        # NONBLOCK: opening a FIFO must not hold the thread. NOFOLLOW: the last part was no link a moment ago.
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC)
        with os.fdopen(descriptor, "rb") as file:
            found = os.fstat(descriptor)
            if not stat.S_ISREG(found.st_mode):
                raise SecretError(f"{reference} is not a file")
            signature = found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns
            kept = self._kept.get(path)
            if kept is not None and kept.signature == signature:
                return kept.text
            text = _decoded(reference, file.read(MAX_FILE_BYTES + 1))
        if len(self._kept) >= CACHED_FILES:
            self._kept.clear()
        self._kept[path] = _Kept(signature, text)
        return text


def _decoded(reference: Reference, data: bytes) -> str:
    if len(data) > MAX_FILE_BYTES:
        raise SecretError(f"{reference} is larger than {MAX_FILE_BYTES // 1024} KiB")
    try:
        return data.decode("utf-8").removesuffix("\n").removesuffix("\r")
    except UnicodeDecodeError:
        raise SecretError(f"{reference} is not UTF-8") from None


def _usable(value: str, reference: Reference) -> str:
    if len(value) < MIN_CHARACTERS:
        what = "is empty" if not value else f"is shorter than {MIN_CHARACTERS} characters"
        raise SecretError(f"{reference} {what}, too short for a secret")
    try:
        value.encode()
    except UnicodeEncodeError:  # of a variable's bytes that are no text
        raise SecretError(f"{reference} is not UTF-8") from None
    return value


# For what may use none, as a check of a url.
NO_SECRETS = Secrets({}, None)
