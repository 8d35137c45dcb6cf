"""
The options of ``wms check`` that say what is asked and expected. Each is a key of the sites file and follows its rules.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import click

from wms_tasks.sites.yaml_reader import Block

Command = TypeVar("Command", bound=Callable[..., Any])


@dataclass(frozen=True, slots=True)
class Option:
    """
    ``key``: of the sites file, as ``expect.status``. ``read`` makes its value of a text, a part of a list or a pair of
    a mapping where there may be ``many``. ``value``: what a flag writes.
    """

    name: str
    key: str
    metavar: str
    help: str
    many: bool = False
    value: str | None = None
    read: Callable[[str], Any] = lambda text: text
    short: tuple[str, ...] = ()

    @property
    def path(self) -> tuple[str, ...]:
        """The key in its parts."""
        return tuple(self.key.split("."))

    @property
    def parameter(self) -> str:
        """Python's name of it."""
        return self.name.removeprefix("--").replace("-", "_")


def block_from(values: dict[str, str]) -> Block:
    """`values` as a mapping of the file."""
    block = Block(0)
    block.update(values)
    block.lines.update(dict.fromkeys(values, 0))
    return block


def _pair(text: str) -> tuple[str, str]:
    name, colon, value = text.partition(":")
    if not colon:
        raise ValueError("has no colon (write it like 'Accept: text/html')")
    return name.strip(), value.strip()


def _codes(text: str) -> list[str]:
    return text.split(",")


def _basic(text: str) -> Block:
    name, colon, password = text.partition(":")
    if not colon:
        raise ValueError("has no colon (write it like 'user:${WMS_SECRET_NAME}')")
    return block_from({"username": name, "password": password})


def _ca(text: str) -> str:
    """A reference, or the file's text."""
    if text.startswith("${"):
        return text
    try:
        return Path(text).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ValueError(f"cannot be read: {getattr(error, 'strerror', None) or 'it is no text'}") from error


OPTIONS = (
    Option("--method", "method", "METHOD", "GET, HEAD, OPTIONS, POST, …  [GET]", read=str.upper),
    Option("--header", "headers", "'NAME: VALUE'", "Of the request; references to secrets in it are resolved.", True,
           read=_pair, short=("-H",)),
    Option("--body", "body", "TEXT", "To send; references in it are resolved too."),
    Option("--basic", "auth.basic", "USER:REF", "Log in; the password is a reference.", read=_basic),
    Option("--bearer", "auth.bearer", "REF", "Log in with the token of a reference."),
    Option("--timeout", "timeout", "TIME", "For the whole probe, redirects included.  [10s]"),
    Option("--max-redirects", "max_redirects", "N", "More are a failure.  [5]"),
    Option("--no-follow", "follow_redirects", "", "A redirect is the answer.", value="false"),
    Option("--max-body", "max_body", "SIZE", "How much of the body is read.  [1MiB]"),
    Option("--compression", "compression", "CODING", "gzip, br or deflate.  [gzip]", True),
    Option("--ip", "ip", "FAMILY", "4, 6, prefer_4 or prefer_6.  [any]"),
    Option("--ca", "tls.ca", "FILE", "PEM file of the authorities to trust, or a reference.", read=_ca),
    Option("--certificate", "tls.certificate", "REF", "The certificate that we show."),
    Option("--key", "tls.key", "REF", "Its key."),
    Option("--server-name", "tls.server_name", "HOST", "To ask for (SNI) and to verify."),
    Option("--tls-min", "tls.min_version", "VERSION", "1.0 to 1.3."),
    Option("--tls-max", "tls.max_version", "VERSION", "1.0 to 1.3."),
    Option("--no-verify", "tls.verify", "", "Any certificate will do.", value="false"),
    Option("--ignore-robots", "robots", "", "Do not ask robots.txt: the site is yours.", value="ignore"),
    Option("--allow-network", "allow_networks", "CIDR", "May be connected to, as 10.0.0.0/8.", True),
    Option("--allow-port", "allow_ports", "PORT", "May be connected to, as 9200 or 9000-9010.", True),
    Option("--evidence", "evidence", "WHAT", "Kept of an answer that is not up: none, headers or body.  [headers]"),
    Option("--expect-status", "expect.status", "CODE", "A code or class (200, 2xx).  [2xx]", True, read=_codes),
    Option("--expect-http-version", "expect.http_version", "VERSION", "1.0 or 1.1.", True),
    Option("--expect-tls", "expect.tls", "WORD", "required or forbidden."),
    Option("--body-regexp", "expect.body_regexp", "REGEXP", "The body must match (google-re2's syntax).", True),
    Option("--body-not-regexp", "expect.body_not_regexp", "REGEXP", "The body must not match.", True),
    Option("--expect-header", "expect.headers", "'NAME: REGEXP'", "The answer's must match.", True, read=_pair),
    Option("--expect-not-header", "expect.not_headers", "'NAME: REGEXP'", "The answer's must not.", True, read=_pair),
    Option("--expect-json", "expect.json", "JMESPATH", "Must be true of the body.", True),
    Option("--certificate-days", "expect.certificate_days", "N", "With fewer left: up, with reason tls_expiring."),
    Option("--slow", "expect.slow", "TIME", "With a longer response time: up, with reason slow."),
)  # fmt: skip
_BY_PATH = {option.path: option for option in OPTIONS}


def with_options(command: Command) -> Command:
    """A click command that takes all of them, each under its ``parameter``."""
    for option in reversed(OPTIONS):
        kind: dict[str, Any] = {"metavar": option.metavar, "multiple": option.many}
        kind = {"is_flag": True} if option.value is not None else kind
        text = option.help.replace("  [", " May be repeated.  [") if option.many else option.help
        text += " May be repeated." if option.many and "  [" not in text else ""
        command = click.option(*option.short, option.name, option.parameter, help=text, **kind)(command)
    return command


def option_at(path: tuple[str, ...]) -> Option | None:
    """The option that writes the key that `path` leads to, or one above it."""
    return next((_BY_PATH[path[:n]] for n in range(len(path), 0, -1) if path[:n] in _BY_PATH), None)
