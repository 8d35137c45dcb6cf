"""What a site keeps: known by its bytes, within bounds."""

from __future__ import annotations

from datetime import UTC, datetime
from uuid import UUID

import pytest

from wms_tasks.errors import CodecError
from wms_tasks.persist import kept
from wms_tasks.persist.fits import Unstorable
from wms_tasks.persist.kept import Kept, Known, Workers, kept_columns
from wms_tasks.result import Certificate

ONE = Kept(
    schema_version=1,
    site_id=UUID(int=7),
    site_name="shop",
    location="local",
    spec_digest="0123",
    address=None,
    http_version=None,
    tls_version=None,
    tls_cipher=None,
    content_type=None,
    certificate=None,
)


class Decoder:
    """Makes one of any bytes but ``no``, and counts."""

    def __init__(self) -> None:
        self.asked: list[bytes] = []

    def __call__(self, came: bytes) -> Kept:
        """As a codec does."""
        self.asked.append(came)
        if came == b"no":
            raise CodecError("none")
        return Kept(**{name: getattr(ONE, name) for name in ONE.__struct_fields__} | {"site_name": came.decode()})


def columns(name: str) -> bytes:
    """Of the one of this name."""
    return kept_columns(Decoder()(name.encode()))


def test_it_is_decoded_once() -> None:
    """And each has its own."""
    decoder = Decoder()
    known = Known(decoder)
    assert [known[name] for name in (b"a", b"b", b"a")] == [columns("a"), columns("b"), columns("a")]
    assert decoder.asked == [b"a", b"b"]


def test_what_is_none_is_never_known() -> None:
    """It is looked at each time."""
    known = Known(Decoder())
    for _ in range(2):
        with pytest.raises(CodecError):
            known[b"no"]
    with pytest.raises(Unstorable):
        known[b"a\x00b"]
    assert not known


def test_what_is_known_stays_where_more_come_than_there_is_room_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """A third of the sites, then, is met again in each round; after many rounds others have their turn."""
    monkeypatch.setattr(kept, "SITES_MOST", 10)
    monkeypatch.setattr(kept, "REFUSED_MOST", 100)
    decoder = Decoder()
    known = Known(decoder)
    names = [f"site {n}".encode() for n in range(30)]
    asked = []
    for _ in range(8):
        before = len(decoder.asked)
        assert [known[name] for name in names] == [columns(name.decode()) for name in names]
        asked.append(len(decoder.asked) - before)
        assert len(known) <= 10
    assert asked[:5] == [30, 20, 20, 20, 20]
    assert set(known) != set(names[:10])


def test_what_is_long_is_made_each_time() -> None:
    """A certificate of a hundred names, of twenty thousand sites, would be more than a process has."""
    decoder = Decoder()
    known = Known(decoder)
    names = [b"n" * kept.CAME_MOST_BYTES, b"n" * (kept.CAME_MOST_BYTES + 1)]
    for name in (*names, *names):
        assert known[name] == columns(name.decode())
    assert decoder.asked == [*names, names[1]]
    assert list(known) == names[:1]


def test_workers_are_known_by_text_and_by_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Within bounds; what is no text is refused."""
    monkeypatch.setattr(kept, "WORKERS_MOST", 3)
    workers = Workers()
    for n in range(10):
        assert workers[f"probe-{n}"] == workers[f"probe-{n}".encode()] == b"\x00\x00\x00\x07probe-%d" % n
        assert len(workers) <= 3
    with pytest.raises(UnicodeDecodeError):
        workers[b"\xff"]
    with pytest.raises(Unstorable):
        workers["a\x00"]


@pytest.mark.parametrize(
    "changes",
    [
        {"schema_version": 2},
        {"location": ""},
        {"location": "l" * 256},
        {
            "certificate": Certificate(
                subject="",
                issuer="",
                names=(),
                expires_at=datetime(2027, 1, 1),  # noqa: DTZ001 - of no zone
                chain_expires_at=datetime(2027, 1, 1, tzinfo=UTC),
            )
        },
    ],
)
def test_what_a_whole_result_would_be_refused_for_is_refused(changes: dict[str, object]) -> None:
    """Also where only this part of it is looked at."""
    fields = {name: getattr(ONE, name) for name in ONE.__struct_fields__} | changes
    known = Known(lambda _: Kept(**fields))
    with pytest.raises((CodecError, Unstorable)):
        known[b"a"]
