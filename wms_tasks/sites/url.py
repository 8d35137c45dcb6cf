"""
What a site's url may be, and which host it asks. `host_of` is politeness' key: one name, however it was written.

Only text is looked at, nothing is resolved; whether an address may be connected to is decided where we connect. A query
may hold references to secrets, which the worker reveals.
"""

from __future__ import annotations

import re
import socket
from functools import lru_cache
from ipaddress import AddressValueError, IPv4Address, IPv6Address
from urllib.parse import SplitResult, urlsplit

import idna

from wms_tasks.sites.references import parts
from wms_tasks.sites.wording import shown, suggestion

SCHEMES = ("http", "https")
MAX_URL_CHARACTERS = 4096
_LABEL = re.compile(r"[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?")
_UNSAFE = re.compile(r"[\x00-\x20\x7f-\xa0\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff\\]")
_BAD_ESCAPE = re.compile("%(?![0-9A-Fa-f]{2})")
# Nearly every url: a host that is in its normal form already (its last label no number), no port, nothing odd after it.
_PLAIN = re.compile(
    r"https?://((?:[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?\.)+[a-z]{2,63})(?:/[A-Za-z0-9/._~?&=%+,;:@!*()-]*)?"
)
PLAIN_CHARACTERS = 250  # so short that the host cannot be longer than DNS allows


@lru_cache(maxsize=4096)
def host_of(url: str) -> str:
    """
    The url's host: lower case, IDNA (punycode), no port, no trailing dot; addresses in their shortest form.

    Raises:
        ValueError: the url has no host, or not one that could exist.
    """
    plain = _plain_host(url)
    return _normal_host(urlsplit(url).hostname or "") if plain is None else plain


def check_url(url: str) -> str:
    """
    The url itself, if it may be probed.

    Raises:
        ValueError: what is wrong with it. A url with a password in it is never repeated.
    """
    if _plain_host(url) is not None:
        return url
    if len(url) > MAX_URL_CHARACTERS:
        raise ValueError(f"is {len(url)} characters long (at most {MAX_URL_CHARACTERS})")
    if "${" in url:
        _check_references(url)
    _check_parts(url, _split(url))
    return url


@lru_cache(maxsize=4096)
def normal_host(host: str) -> str:
    """
    A host as written in ``hosts:``, in `host_of`'s form.

    Raises:
        ValueError: not a host alone; the text says what to write.
    """
    if "://" in host or "/" in host:
        raise ValueError(f"{shown(host)} is not a host (write the host alone, as in example.com)")
    bare = host.removeprefix("[").removesuffix("]")
    if host == bare and host.count(":") == 1:
        alone = host.partition(":")[0]
        raise ValueError(f"{shown(host)} has a port (spacing is kept for a host, whatever the port: write {alone})")
    return _normal_host(bare)


def _plain_host(url: str) -> str | None:
    match = _PLAIN.fullmatch(url) if len(url) <= PLAIN_CHARACTERS else None
    return match[1] if match else None


def _check_references(url: str) -> None:
    address, _, fragment = url.partition("#")
    before, _, query = address.partition("?")
    if "${" in before or "${" in fragment:
        raise ValueError(
            "holds ${…} outside its query, which shows in queues, rows and logs "
            "(a secret may be in the query, headers:, auth: or body:)"
        )
    # Clients mend a query with a bare % by escaping each % in it, the secret's too; and %4 before a secret would make a
    # character with its beginning.
    if any(isinstance(part, str) and _BAD_ESCAPE.search(part) for part in parts(query)):
        raise ValueError("holds a % in its query that begins no escape such as %20 (write %25)")


def _split(url: str) -> SplitResult:
    unsafe = _UNSAFE.search(url)
    if unsafe:  # before urlsplit, which drops tabs and line ends without a word
        what = {" ": "a space (write %20)", "\\": "a backslash (write /)"}.get(unsafe[0])
        raise ValueError(f"holds {what or f'the character U+{ord(unsafe[0]):04X}'} at position {unsafe.start() + 1}")
    try:
        return urlsplit(url)
    except ValueError:  # its text may hold the password
        raise ValueError("is not a url (write it like https://example.com/)") from None


def _check_parts(url: str, parts: SplitResult) -> None:
    if "@" in re.split("[/?#]", url.partition("://")[2] or url, maxsplit=1)[0]:
        raise ValueError("holds a user or password (take it out: it would show in queues, rows and logs)")
    if parts.scheme not in SCHEMES or "://" not in url:
        raise ValueError(_scheme_problem(url, parts.scheme))
    if not parts.hostname:
        raise ValueError(f"{_public(url)} has no host (write it like https://example.com/)")
    try:
        port = parts.port
    except ValueError:
        port = 0
    if port == 0:
        raise ValueError(f"{_public(url)} has a port that cannot be (1 to 65535)")
    _normal_host(parts.hostname)


def _public(url: str) -> str:
    # Without what may be secret: a query, and anything that may be a password in the wrong place.
    return "the url" if "@" in url else shown(re.split("[?#]", url, maxsplit=1)[0])


def _scheme_problem(url: str, scheme: str) -> str:
    if "://" not in url:
        hint = "begin with https://" if "@" in url else f"did you mean {shown('https://' + url.lstrip('/'))}?"
        return f"{_public(url)} has no scheme ({hint})"
    return f"scheme {shown(scheme)} is not http or https ({suggestion(scheme, SCHEMES)})"


@lru_cache(maxsize=4096)
def _normal_host(host: str) -> str:
    if ":" in host:
        return _normal_ipv6(host)
    name = _ascii_name(host).lower().removesuffix(".")
    labels = name.split(".")
    if len(name) > 253 or not all(map(_LABEL.fullmatch, labels)):
        raise ValueError(f"host {shown(host)} is not a host name")
    return _normal_ipv4(name) if labels[-1].isdigit() or labels[-1].startswith("0x") else name


def _ascii_name(host: str) -> str:
    if host.isascii():
        return host
    try:
        return idna.encode(host, uts46=True).decode("ascii")
    except (idna.IDNAError, UnicodeError) as error:
        raise ValueError(f"host {shown(host)} is not a host name: {error}") from error


def _normal_ipv6(host: str) -> str:
    try:
        if "%" in host:
            raise AddressValueError("no zone ids")
        return IPv6Address(host).compressed
    except AddressValueError as error:
        raise ValueError(f"host {shown(host)} is not an IPv6 address ({error})") from error


def _normal_ipv4(name: str) -> str:
    try:
        return str(IPv4Address(name))
    except AddressValueError:
        pass
    try:  # 127.1, 0x7f000001 and 2130706433 are 127.0.0.1 to the resolver, and another host to every reader
        meant = socket.inet_ntoa(socket.inet_aton(name))
    except OSError:
        raise ValueError(f"host {shown(name)} is not an address") from None
    raise ValueError(f"host {shown(name)} is an address in disguise (write {meant})")
