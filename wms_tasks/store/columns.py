"""Which column of wms.results has what of a message; docs/reference/results.md is made of it. Pure."""

from __future__ import annotations

import re

from wms_tasks.store.queries import query

# Of a message's certificate, by the field there; the phases' fields are columns of the same name.
CERTIFICATE = {
    "subject": "certificate_subject",
    "issuer": "certificate_issuer",
    "names": "certificate_names",
    "expires_at": "certificate_expires_at",
    "chain_expires_at": "chain_expires_at",
}
# What a message does not have.
NOT_IN_A_MESSAGE = {
    "stored_at": "When it was stored.",
    "missed_reason": "What the slot had been missed for, where this result came later and took that row's place.",
}


def columns() -> tuple[str, ...]:
    """All, in the order in which they are written, then what Postgres adds."""
    (written,) = re.findall(r"COPY wms\.results \((.+?)\)", query("copy_results").decode(), re.DOTALL)
    return (*re.findall(r"\w+", written), *NOT_IN_A_MESSAGE)
