"""
The file's shape: what belongs to the request itself, ``headers:``, ``auth:``, ``tls:`` and their like. None means "not
written". What needs more than one key is looked at by pairs.py.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from pydantic import (
    AfterValidator,
    Field,
    ValidationError,
    ValidatorFunctionWrapHandler,
    WrapValidator,
    model_validator,
)
from pydantic_core import InitErrorDetails

from wms_tasks.ranges import network_text, ports_text
from wms_tasks.sites import request_rules, text_rules
from wms_tasks.sites.fields import WRITTEN, Strict, distinct, one_spelling, text
from wms_tasks.sites.references import check_is_reference

MAX_HEADERS = 50
MAX_ALLOWED = 50
MAX_REDIRECTS = 10


def _no_keys(value: object, read: ValidatorFunctionWrapHandler) -> Any:
    """Beside what else is wrong with the headers, those that may not be written as they are; each with its own line."""
    headers: Any = None
    wrong: list[InitErrorDetails] = []
    try:
        headers = read(value)
    except ValidationError as error:
        wrong.extend(
            {"type": e["type"], "loc": e["loc"], "input": e["input"], "ctx": e.get("ctx", {})}
            for e in error.errors(include_url=False)
        )
    for name, header in value.items() if isinstance(value, dict) else ():
        if name.lower() not in text_rules.SECRET_HEADERS:  # looked at here too, for the sake of 100,000 sites
            continue
        try:
            text_rules.check_header(name, header)
        except ValueError as error:
            wrong.append({"type": "value_error", "loc": (name,), "input": None, "ctx": {"error": error}})
    if wrong:
        raise ValidationError.from_exception_data("headers", wrong)
    return headers


HeaderName = Annotated[str, text(text_rules.check_header_name)]
HeaderValue = Annotated[str, text(text_rules.check_header_value)]
Headers = Annotated[
    dict[HeaderName, HeaderValue],
    Field(max_length=MAX_HEADERS),
    AfterValidator(one_spelling),
    WrapValidator(_no_keys),
]
Network = Annotated[str, text(network_text)]
Networks = Annotated[tuple[Network, ...], Field(max_length=MAX_ALLOWED), AfterValidator(distinct)]
Ports = Annotated[str, text(ports_text)]
PortRanges = Annotated[tuple[Ports, ...], Field(max_length=MAX_ALLOWED), AfterValidator(distinct)]
Encodings = Annotated[tuple[Literal["gzip", "br", "deflate"], ...], AfterValidator(distinct)]
Family = Literal["any", "4", "6", "prefer_4", "prefer_6"]
TlsVersion = Literal["1.0", "1.1", "1.2", "1.3"]
Redirects = Annotated[int, Field(ge=0, le=MAX_REDIRECTS)]


class BasicSpec(Strict):
    """``auth.basic:``"""

    username: Annotated[str, text(request_rules.check_username)]
    password: Annotated[str, text(check_is_reference)]


class AuthSpec(Strict):
    """``auth:``; one way or the other."""

    basic: BasicSpec | None = None
    bearer: Annotated[str | None, text(check_is_reference)] = None

    @model_validator(mode="after")
    def _one_way(self) -> Self:
        if (self.basic is None) == (self.bearer is None):
            raise ValueError("is either basic or bearer (write it like `auth: {bearer: '${WMS_SECRET_TOKEN}'}`)")
        return self


class TlsSpec(Strict):
    """``tls:``; merged with the defaults key by key, so what needs two of them is looked at by pairs.py."""

    ca: Annotated[str | None, text(request_rules.check_ca)] = None
    certificate: Annotated[str | None, text(check_is_reference)] = None
    key: Annotated[str | None, text(check_is_reference)] = None
    server_name: Annotated[str | None, text(request_rules.check_server_name)] = None
    min_version: Annotated[TlsVersion | None, WRITTEN] = None
    max_version: Annotated[TlsVersion | None, WRITTEN] = None
    verify: Annotated[bool | None, WRITTEN] = None
