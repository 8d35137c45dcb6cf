"""What a probe saw, in `Result`'s words: a pure function of `Seen`. Called by the probe task."""

from __future__ import annotations

import msgspec

from wms_tasks.net.hop import Hop, sum_of
from wms_tasks.probe.evidence import LEFT_OUT, Keep, evidence_of, line_of
from wms_tasks.probe.seen import Seen
from wms_tasks.result import Certificate, Evidence, Phases

MAX_NAMES = 100
MAX_NAME_CHARACTERS = 255
# Of all names as JSON: a message is below 64 KiB, also if each secret in it is scrubbed, which may double its texts.
MAX_NAMES_BYTES = 8 * 1024
MAX_SUBJECT_CHARACTERS = 500
MAX_WORD_CHARACTERS = 100
MAX_CONTENT_TYPE_CHARACTERS = 200


class Observed(msgspec.Struct, frozen=True, kw_only=True):
    """The fields of `Result` that say what was met, under the same names; None where it was not."""

    address: str | None = None
    http_version: str | None = None
    tls_version: str | None = None
    tls_cipher: str | None = None
    redirects: int | None = None
    wire_bytes: int | None = None
    body_bytes: int | None = None
    content_type: str | None = None
    phases: Phases | None = None
    certificate: Certificate | None = None
    evidence: Evidence | None = None


NOTHING_OBSERVED = Observed()


def observed(seen: Seen, *, keep: Keep = "none") -> Observed:
    """
    What the last hop was, the time of all of them, and the evidence that `keep` asks for.

    Texts are one printable line each. Longer than any use of them, they end in ``…``; of more than 100 names of a
    certificate, or 8 KiB of them, the last one says how many more there are.
    """
    if not seen.hops and seen.status_code is None:
        return NOTHING_OBSERVED
    last = seen.hops[-1] if seen.hops else Hop(url=seen.url, phases=Phases())
    return Observed(
        address=_word(last.address),
        http_version=_word(last.http_version),
        tls_version=_word(last.tls_version),
        tls_cipher=_word(last.tls_cipher),
        redirects=seen.redirects,
        wire_bytes=seen.wire_bytes,
        body_bytes=None if seen.body is None else len(seen.body),
        content_type=_word(seen.headers.get("content-type"), limit=MAX_CONTENT_TYPE_CHARACTERS),
        phases=sum_of(seen.hops) if seen.hops else None,
        certificate=None if last.certificate is None else _certificate(last.certificate),
        evidence=evidence_of(seen, keep),
    )


def _word(text: str | None, *, limit: int = MAX_WORD_CHARACTERS) -> str | None:
    return None if text is None else line_of(text, limit=limit)


def _certificate(found: Certificate) -> Certificate:
    names: list[str] = []
    left_bytes = MAX_NAMES_BYTES
    for position, name in enumerate(found.names):
        line = line_of(name, limit=MAX_NAME_CHARACTERS)
        left_bytes -= len(msgspec.json.encode(line))
        if position == MAX_NAMES or left_bytes < 0:
            names.append(f"{LEFT_OUT} {len(found.names) - position} more")
            break
        names.append(line)
    return msgspec.structs.replace(
        found,
        subject=line_of(found.subject, limit=MAX_SUBJECT_CHARACTERS),
        issuer=line_of(found.issuer, limit=MAX_SUBJECT_CHARACTERS),
        names=tuple(names),
    )
