"""
Messages that must not become rows: every kind of bad input, each with the reason that `wms.rejects` gives it.

The words of the wire are spelled out here, not taken from the product's encoder, which refuses most of this.
"""

from __future__ import annotations

import json
import struct
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import NAMESPACE_URL, UUID, uuid5

UNDECODABLE, UNSTORABLE, NO_PARTITION = "undecodable", "unstorable", "no_partition"
KIB, MIB = 1024, 1024 * 1024
# Above what a broker takes by default; see `largest`.
SIZES = (64 * KIB, MIB, 11 * MIB)

Headers = list[tuple[str, bytes | None]]
_TEXTS = ("site_name", "location", "outcome", "reason", "detail", "worker", "spec_digest")
_INSTANTS = ("scheduled_at", "due_at", "started_at")
_WHOLE_NUMBERS = ("attempt", "status_code")
_NULLABLE = frozenset({"started_at", "detail", "status_code", "response_time_ms", "matched"})
_HERE = "\x01here\x01"


@dataclass(frozen=True, slots=True, kw_only=True)
class BadMessage:
    """As Kafka is given it. ``name`` is unique; ``reason`` is the word in ``wms.rejects``."""

    name: str
    value: bytes | None
    reason: str
    key: bytes | None
    headers: Headers


@dataclass(slots=True, eq=False)
class _Maker:
    """Gives each message a site and so an identity of its own; all in one slot."""

    salt: str
    slot: datetime
    made: list[BadMessage] = field(default_factory=list)

    def site_id(self) -> UUID:
        """Of the message that is made next."""
        return uuid5(NAMESPACE_URL, f"bad/{self.salt}/{len(self.made)}")

    def fields(self, **changes: Any) -> dict[str, Any]:
        """A good result's, with some changed; a field set to ``...`` is left out."""
        good = good_fields(self.site_id(), "bad", self.slot)
        return {name: value for name, value in {**good, **changes}.items() if value is not ...}

    def add(self, name: str, value: bytes | None, reason: str = UNDECODABLE, **changes: Any) -> None:
        """A message; ``changes``: another key or other headers."""
        usual: Headers = [
            ("content-type", b"application/json"),
            ("schema-version", b"1"),
            ("scheduled_at", self.slot.isoformat().encode()),
        ]
        whose = {"key": str(self.site_id()).encode(), "headers": usual} | changes
        self.made.append(BadMessage(name=name, value=value, reason=reason, **whose))

    def add_fields(self, name: str, reason: str = UNDECODABLE, /, **changes: Any) -> None:
        """A message whose JSON is right."""
        self.add(name, json.dumps(self.fields(**changes)).encode(), reason)

    def add_raw(self, name: str, where: str, raw: bytes, reason: str = UNDECODABLE) -> None:
        """A message with these bytes in place of one field's value."""
        value = json.dumps(self.fields(**{where: _HERE})).encode()
        self.add(name, value.replace(json.dumps(_HERE).encode(), raw), reason)


def good_fields(site_id: UUID, site_name: str, slot: datetime, /, **changes: Any) -> dict[str, Any]:
    """The fields of a result that can be stored, as JSON has them."""
    return {
        "schema_version": 1,
        "site_id": str(site_id),
        "site_name": site_name,
        "location": "local",
        "scheduled_at": slot.isoformat(),
        "due_at": slot.isoformat(),
        "started_at": slot.isoformat(),
        "attempt": 1,
        "outcome": "down",
        "reason": "timeout",
        "detail": "made by a test",
        "status_code": 200,
        "response_time_ms": 12.5,
        "matched": True,
        "worker": "test",
        "spec_digest": "0123456789abcdef",
    } | changes


def bad_messages(salt: str, slot: datetime, *, largest: int = SIZES[-1]) -> list[BadMessage]:
    """
    All of them, 200 and more, no two alike.

    Args:
        salt: another one makes others.
        slot: of a day that has a partition.
        largest: leave out values that are longer.
    """
    maker = _Maker(salt, slot)
    for add in (_no_results, _missing, _wrong_types, _texts, _numbers, _instants, _twice, _avro, _envelopes):
        add(maker)
    _sizes(maker, largest)
    return maker.made


def _no_results(maker: _Maker) -> None:
    """Nothing, no JSON, JSON that is no object, and JSON that is cut or goes on."""
    maker.add("tombstone", None)
    for text in ("", " ", "null", "true", "0", "-1e5", '""', "[]", "{}", "[{}]", "nul", "'a'", "<html/>", "{", "}{"):
        maker.add(f"value {text!r}", text.encode())
    whole = json.dumps(maker.fields()).encode()
    for share in range(1, 20):
        maker.add(f"cut at {share}/20", whole[: len(whole) * share // 20])
    for name, tail in (("a byte", b"x"), ("itself", whole), ("NUL", b"\0"), ("a comma", b",")):
        maker.add(f"followed by {name}", whole + tail)
    for encoding in ("utf-16", "utf-32", "utf-8-sig", "utf-7"):
        maker.add(f"in {encoding}", json.dumps(maker.fields()).encode(encoding))
    maker.add("bytes of no text", bytes(range(256)))
    maker.add("nested too deep", b'{"detail":' + b"[" * 5_000)


def _missing(maker: _Maker) -> None:
    for name in maker.fields():
        if name != "schema_version":  # has a default, since it came after the first release
            maker.add_fields(f"no {name}", **{name: ...})


def _wrong_types(maker: _Maker) -> None:
    for name, value in maker.fields().items():
        wrong: list[Any] = [[], {}, [value]]
        wrong += [5, True] if isinstance(value, str) else ["1", "true"]
        wrong += [] if name in _NULLABLE else [None]
        if isinstance(value, int) and not isinstance(value, bool):
            wrong += [value + 0.5, True]
        for one in wrong:
            maker.add_fields(f"{name} {json.dumps(one)}", **{name: one})
    for text in ("", "no-uuid", "9f0e2f60-3f5e-5c0b-9f0e", "{9f0e2f60}"):
        maker.add_fields(f"site_id {text!r}", site_id=text)


def _texts(maker: _Maker) -> None:
    """NUL, lone surrogates, bytes that are not UTF-8, and words that no column takes."""
    for name in _TEXTS:
        maker.add_fields(f"NUL in {name}", UNSTORABLE, **{name: "a\0b"})
        for hexadecimal in ("d800", "dfff"):
            maker.add_raw(f"surrogate {hexadecimal} in {name}", name, b'"a\\u%s"' % hexadecimal.encode())
        for raw in (b"\xff", b"\xc0\x80", b"\xed\xa0\x80", b"\xf4\x90\x80\x80", b"\xe2\x82"):
            maker.add_raw(f"bytes {raw.hex()} in {name}", name, b'"a%s"' % raw)
        maker.add_raw(f"a tab in {name}", name, b'"a\tb"')
    for word in ("degraded", "UP", "", "up ", "u" * 300):
        maker.add_fields(f"outcome {word[:9]!r}", UNSTORABLE, outcome=word)
    for word in ("", "Not a word", "x" * 64, "ok\n", "1st"):
        maker.add_fields(f"reason {word[:9]!r}", UNSTORABLE, reason=word)
    for location in ("", "x" * 256):
        maker.add_fields(f"location of {len(location)}", UNSTORABLE, location=location)


def _numbers(maker: _Maker) -> None:
    """What JSON has no word for, and what is too large for a column, or for any integer."""
    for name in ("response_time_ms", *_WHOLE_NUMBERS):
        for word in (b"NaN", b"Infinity", b"-Infinity", b"1e999", b"-1e999", b"0x10", b"1_000", b"01", b"+1", b"1."):
            maker.add_raw(f"{name} {word.decode()}", name, word)
    for name in _WHOLE_NUMBERS:
        for number in (-1, 2**31, 2**32 + 1, 2**63, 10**30, -(2**31) - 1):
            maker.add_fields(f"{name} {number}", UNSTORABLE, **{name: number})
    for version in (0, 2, -1, 2**31, 2**64):
        maker.add_fields(f"schema version {version}", schema_version=version)


def _instants(maker: _Maker) -> None:
    """Years that no calendar has, instants that are none, and slots of days that are not kept."""
    years = ("0000-01-01T00:00:00Z", "10000-01-01T00:00:00Z", "-0001-01-01T00:00:00Z", "+12026-01-01T00:00:00Z")
    broken = ("", "soon", "2026-02-30T00:00:00Z", "2026-01-01T25:00:00Z", "2026-01-01", "1764000000")
    foreign = ("2026-01-01T00:00:00", "2026-01-01T02:00:00+02:00")
    for name in _INSTANTS:
        for text in (*years, *broken, *foreign):
            maker.add_fields(f"{name} {text!r}", **{name: text})
    for slot in ("0001-01-01T00:00:00Z", "1970-01-01T00:00:00Z", "9999-12-31T23:59:59Z"):
        maker.add_fields(f"slot {slot}", NO_PARTITION, scheduled_at=slot)
    for days in (-400, -60, 60, 400):
        at = maker.slot + timedelta(days=days)
        maker.add_fields(f"slot {days:+d} days", NO_PARTITION, scheduled_at=at.astimezone(UTC).isoformat())


def _twice(maker: _Maker) -> None:
    """A key that comes twice: one wrong value is enough, the first or the last."""
    for name, wrong in (("attempt", b'"1"'), ("site_id", b"7"), ("scheduled_at", b'"soon"'), ("outcome", b"null")):
        pair = b'"%s":%s' % (name.encode(), wrong)
        maker.add(f"{name} twice, the last wrong", json.dumps(maker.fields()).encode()[:-1] + b"," + pair + b"}")
        maker.add(f"{name} twice, the first wrong", b"{" + pair + b"," + json.dumps(maker.fields()).encode()[1:])


def _avro(maker: _Maker) -> None:
    """Of other codecs: said so in the header, or not; cut, or of a schema that nobody knows."""
    body = b"\x02\x48" + b"9f0e2f60-3f5e-5c0b-9f0e-77656273697a" + b"\x0e" + b"example"
    for content_type in (b"avro/binary", b"application/x-protobuf", b"text/plain", b"", b"\xff", None):
        value = json.dumps(maker.fields()).encode()[:-1]
        maker.add(f"content type {content_type!r}", value, headers=[("content-type", content_type)])
    for schema_id in (0, 1, 2**31 - 1, 2**32 - 1):
        framed = b"\x00" + struct.pack(">I", schema_id) + body
        maker.add(f"schema id {schema_id}", framed, headers=[])
        for length in (1, 4, 5, 9, len(framed) - 1):
            maker.add(f"schema id {schema_id}, {length} bytes", framed[:length] + b"\xfe" * (schema_id % 5), headers=[])


def _envelopes(maker: _Maker) -> None:
    """Keys and headers that tell nothing, around a value that is none."""
    for n, key in enumerate((None, b"", b"\xff\xfe", b"example", b"k" * 64 * KIB, b"\0" * 16)):
        maker.add(f"key {n}", b"no result, key %d" % n, key=key)
    instants = (None, b"", b"\xff", b"soon", b"2026-11-23T07:00:00", b"0001-01-01T00:00:00+14:00")
    for at in instants:
        maker.add(f"header {at!r}", b"no result", headers=[("scheduled_at", at)])
    maker.add("many headers", b"no result", headers=[(f"h{n}", bytes([n])) for n in range(100)])
    maker.add("header twice", b"no result", headers=[("scheduled_at", b"soon"), ("scheduled_at", b"later")])
    maker.add("a large header", b"no result", headers=[("h", b"\0" * 64 * KIB)])


def _sizes(maker: _Maker, largest: int) -> None:
    for size in (size for size in SIZES if size <= largest):
        maker.add(f"{size} bytes of nothing", b"\xa5" * size)
        maker.add(f"{size} brackets", b"[" * size)
        maker.add(f"a text of {size} that never ends", b'{"detail":"' + b"x" * size)
        maker.add_fields(f"a location of {size}", UNSTORABLE, location="x" * size)
