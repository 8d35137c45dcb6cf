"""
Takes this process's own secrets out of text before it is logged or reported: passwords in urls, keys, sites' secrets.

The last net, not the first: nobody should write a secret into a message. What others raise may hold one all the same.
Used by log.py and sentry.py.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any
from urllib.parse import quote, unquote, urlsplit

from wms_tasks.kafka_properties import secret_values
from wms_tasks.settings import Settings

MASKED = "[secret]"
# Shorter ones are no secrets, and would be found within words.
LEAST_CHARACTERS = 4
_SITES_SECRET = "WMS_SECRET_"
_NOT_A_VALUE = "_HOSTS"
# Of other programs' settings, those that hold `name=value,…` with keys to a service.
_HEADERS = ("OTEL_EXPORTER_OTLP_HEADERS", "OTEL_EXPORTER_OTLP_TRACES_HEADERS")
_IN_A_URL = re.compile(r"(\w://[^\s/?#:@\[\]]*:)[^\s/?#@]+(?=@)")
_IN_A_CONNINFO = re.compile(r"\bpassword\s*=\s*('(?:[^'\\]|\\.)*'|[^\s&]+)", re.IGNORECASE)

Mask = Callable[[str], str]


def mask_for(settings: Settings, environ: Mapping[str, str] | None = None) -> Mask:
    """
    A function that gives a text with ``[secret]`` for each secret of these settings and of the sites' that the
    environment holds; and for the password of any url.
    """
    values = set(_secrets(settings)) | set(_around(os.environ if environ is None else environ))
    forms = {form for value in values for form in (value, quote(value, safe=""))}
    long_first = sorted((form for form in forms if len(form) >= LEAST_CHARACTERS), key=len, reverse=True)
    if not long_first:
        return _without_passwords
    known = re.compile("|".join(map(re.escape, long_first)))
    return lambda text: _without_passwords(known.sub(MASKED, text))


def masked(value: Any, mask: Mask) -> Any:
    """``value`` with every text in it put through ``mask``: of mappings and sequences too. Others as their ``str``."""
    match value:
        case str():
            return mask(value)
        case None | bool() | int() | float():
            return value
        case Mapping():
            return {mask(str(name)): masked(inner, mask) for name, inner in value.items()}
        case list() | tuple() | set() | frozenset():
            return [masked(inner, mask) for inner in value]
    return mask(str(value))


def _without_passwords(text: str) -> str:
    return _IN_A_URL.sub(rf"\1{MASKED}", text) if "@" in text else text


def _secrets(settings: Settings) -> Iterator[str]:
    """Of the settings that are kept out of ``repr``, what is secret in them."""
    for name, field in type(settings).model_fields.items():
        value = getattr(settings, name)
        if not field.repr and isinstance(value, str):
            yield from _secret_parts(name, value)


def _secret_parts(name: str, value: str) -> Iterator[str]:
    if name == "schema_registry_auth":  # user:password, which looks like a url
        yield from (value, value.partition(":")[2])
        return
    if name == "aiven_token":  # it may end in an equals sign
        yield value
        return
    if name == "kafka_properties":
        yield from secret_values(value)
        return
    try:
        parts = urlsplit(value)
        password = parts.password
    except ValueError:
        yield value
        return
    if not parts.scheme:
        yield from (found[1].strip("'") for found in _IN_A_CONNINFO.finditer(value))
        if "=" not in value:
            yield value
        return
    if password:
        yield from (password, unquote(password))
    yield from (found[1] for found in _IN_A_CONNINFO.finditer(parts.query))
    if name == "heartbeat_url" and (path := value.partition(parts.netloc)[2].strip("/")):
        yield path
    if name == "sentry_dsn" and parts.username:
        yield parts.username


def _around(environ: Mapping[str, str]) -> Iterator[str]:
    """What the environment holds beside our settings."""
    for name, value in environ.items():
        if name.startswith(_SITES_SECRET) and not name.endswith(_NOT_A_VALUE):
            yield value
    for name in _HEADERS:
        for pair in environ.get(name, "").split(","):
            value = pair.partition("=")[2].strip()
            yield from (value, unquote(value))
