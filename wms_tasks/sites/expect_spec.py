"""
The file's shape below ``expect:``: what an answer must be for the site to be up. None means "not written".

An empty list or mapping is written: it takes back what the defaults expect. What needs more than one key is looked at
by pairs.py.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AfterValidator, BeforeValidator, Field

from wms_tasks.sites import text_rules
from wms_tasks.sites.fields import ONE_OR_MORE, WRITTEN, Strict, distinct, duration, one_spelling, text, written
from wms_tasks.sites.json_rules import check_expression

MAX_STATUSES = 50
MAX_PATTERNS = 20
MAX_HEADER_RULES = 20
MAX_CERTIFICATE_DAYS = 3650
SLOW_MS = (1, 30_000)


def _some(values: tuple[str, ...]) -> tuple[str, ...]:
    if not values:
        raise ValueError(f"is empty ({text_rules.STATUS_FORMS})")
    return distinct(values)


def _as_rule(value: object) -> object:
    return {"regexp": value} if type(value) is str else written(value)


Status = Annotated[str, text(text_rules.check_status)]
Statuses = Annotated[tuple[Status, ...], Field(max_length=MAX_STATUSES), AfterValidator(_some)]
Version = Literal["1.0", "1.1"]
Pattern = Annotated[str, text(text_rules.check_pattern)]
Patterns = Annotated[tuple[Pattern, ...], Field(max_length=MAX_PATTERNS), AfterValidator(distinct)]
Expression = Annotated[str, text(check_expression)]
Expressions = Annotated[tuple[Expression, ...], Field(max_length=MAX_PATTERNS), AfterValidator(distinct)]
AnswerHeader = Annotated[str, text(text_rules.check_header_token)]
CertificateDays = Annotated[int, Field(ge=0, le=MAX_CERTIFICATE_DAYS)]


class HeaderRuleSpec(Strict):
    """One of ``expect.headers:`` in its long form."""

    regexp: Pattern
    may_lack: bool = False


HeaderRules = Annotated[
    dict[AnswerHeader, Annotated[HeaderRuleSpec, BeforeValidator(_as_rule)]],
    Field(max_length=MAX_HEADER_RULES),
    AfterValidator(one_spelling),
]
NotHeaders = Annotated[dict[AnswerHeader, Pattern], Field(max_length=MAX_HEADER_RULES), AfterValidator(one_spelling)]


class ExpectSpec(Strict):
    """``expect:``."""

    status: Annotated[Statuses | None, ONE_OR_MORE] = None
    http_version: Annotated[tuple[Version, ...] | None, ONE_OR_MORE] = None
    tls: Annotated[Literal["required", "forbidden"] | None, WRITTEN] = None
    body_regexp: Annotated[Patterns | None, ONE_OR_MORE] = None
    body_not_regexp: Annotated[Patterns | None, ONE_OR_MORE] = None
    headers: HeaderRules | None = None
    not_headers: NotHeaders | None = None
    json_: Annotated[Expressions | None, ONE_OR_MORE, Field(alias="json")] = None
    certificate_days: Annotated[CertificateDays | None, WRITTEN] = None
    slow: Annotated[int | None, duration(SLOW_MS)] = None
