"""How a check is shown: bars on one scale, in any width, plain where it is no terminal, and nothing that steers one."""

from __future__ import annotations

import io
import itertools
import re
from dataclasses import replace
from datetime import timedelta

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from msgspec import structs
from rich.console import Console

from tests.checks import CERTIFICATE, MOVED, NOW, PAGE, ROBOTS, SEEN, SITE, checked
from wms_tasks.commands.check.hint import hint_for
from wms_tasks.commands.check.picture import as_text, picture
from wms_tasks.commands.check.run import Checked, checked_of
from wms_tasks.commands.check.waterfall import Line, Span, spans_of
from wms_tasks.net.hop import Hop, sum_of
from wms_tasks.net.reasons import Failure
from wms_tasks.probe.secrets import Secrets
from wms_tasks.result import Phases, Reason
from wms_tasks.sites.record import Auth

TIMES = st.one_of(st.none(), st.floats(0, 60_000))
PHASES = st.builds(Phases, resolve_ms=TIMES, connect_ms=TIMES, tls_ms=TIMES, processing_ms=TIMES, transfer_ms=TIMES)


def shown(what: Checked, width: int = 80, *, encoding: str = "utf-8") -> str:
    """As where stdout is a file."""
    file = io.TextIOWrapper(io.BytesIO(), encoding=encoding)
    return as_text(Console(file=file, width=width, highlight=False), picture(what))


def bars(text: str) -> list[str]:
    """The part of each line of a phase that may hold a bar."""
    return [line[30:] for line in text.splitlines() if re.match(r" {4}(resolve|connect|tls|processing|transfer)", line)]


@given(st.lists(PHASES, min_size=1, max_size=11).map(tuple), st.booleans())
def test_phases_follow_one_another(all_phases: tuple[Phases, ...], failed: bool) -> None:
    """Each begins where the one before ended; together they are the sum; one at most has failed, the last."""
    hops = tuple(Hop(url="http://x/", phases=phases) for phases in all_phases)
    by_hop = list(spans_of(hops, failed=failed))
    spans = [span for spans in by_hop for span in spans]
    assert len(by_hop) == len(hops)
    assert all(after.begin_ms == before.end_ms for before, after in itertools.pairwise(spans))
    total = sum_of(hops)
    times = [value for name in Phases.__struct_fields__ if (value := getattr(total, name)) is not None]
    assert (spans[-1].end_ms if spans else 0) == pytest.approx(sum(times))
    assert [span.failed for span in spans] == [failed and bool(by_hop[-1]) and span is spans[-1] for span in spans]


@given(
    st.floats(0.05, 60_000), st.floats(0, 1), st.floats(0, 1), st.integers(10, 200), st.sampled_from(["utf-8", "ascii"])
)
@example(total_ms=1.0, a=1.0, b=1.0, width=10, encoding="ascii")
def test_a_bar_is_seen_and_stays_in_its_room(total_ms: float, a: float, b: float, width: int, encoding: str) -> None:
    """However short the phase or narrow the terminal."""
    span = Span(name="tls", begin_ms=total_ms * min(a, b), end_ms=total_ms * max(a, b))
    file = io.TextIOWrapper(io.BytesIO(), encoding=encoding)
    line = as_text(Console(file=file, width=width), Line(span, total_ms))
    assert 1 <= len(line) <= min(width, 120)
    assert line.strip()
    assert line.startswith(" " * max(0, int(min(width, 120) * min(a, b)) - 1))


@pytest.mark.parametrize("width", [40, 80, 120, 300])
def test_it_fits(width: int) -> None:
    """In any width, without colour where it is no terminal; the bars are on one scale."""
    text = shown(checked(), width)
    lines = text.splitlines()
    assert max(map(len, lines)) <= min(width, 120)
    assert "\x1b" not in text
    assert not [line for line in lines if line != line.rstrip()]
    found = bars(text)
    assert len(found) == 8
    begins = [len(bar) - len(bar.lstrip()) for bar in found]
    assert begins == sorted(begins)
    assert begins[0] == 0


def test_all_is_there() -> None:
    """Outcome and why, each hop, certificate, robots.txt, each expectation with what was found, and evidence."""
    words = " ".join(shown(checked(), 120).split())
    for part in (
        "http://shop.example/ is down",
        "reason regexp",
        "body_regexp 'Add to basket' not in the 18,421 bytes of body",
        "298.4 ms",
        "1, to https://shop.example/",
        "18,421 bytes (5,212 on the wire), text/html",
        "robots.txt allows it (status 200), asked in 68.2 ms",
        "1 301 http://shop.example/",
        "2 200 https://shop.example/ 192.0.2.10 HTTP/1.1 TLSv1.3 TLS_AES_256_GCM_SHA384",
        "182.7 ms",
        "CN=R11,O=Let's Encrypt,C=US",
        "shop.example, www.shop.example",
        "71 days left",
        "✓ status 2xx 200",
        "✗ body_regexp found: 'Add to basket' not in the 18,421 bytes of body",
        "✓ slow at most 500 ms 298 ms",
        "server nginx",
    ):
        assert part in words


def test_where_a_probe_ended() -> None:
    """The phase that failed is marked; nothing after it was reached, and nothing that was expected was looked at."""
    failure = Failure(reason=Reason.TIMEOUT, detail="still waiting for the TLS handshake after 0.5 s")
    hop = Hop(url="https://shop.example/", address="192.0.2.10", phases=Phases(connect_ms=12.0, tls_ms=488.0))
    text = shown(
        checked(seen=replace(SEEN, status_code=None, response_time_ms=None, failure=failure, hops=(hop,), body=None))
    )
    assert re.search(r"tls ! +488\.0 ms", text)
    assert "processing" not in text
    assert text.count("not known") == 5
    assert "--timeout TIME" in text


def test_a_chain_that_ends_before_its_certificate() -> None:
    """Both are told, and what is over is said to be."""
    chain = replace_certificate(expires=timedelta(days=9), chain=timedelta(days=-1, hours=-1))
    words = " ".join(shown(checked(seen=replace(SEEN, hops=(MOVED, chain)))).split())
    assert "9 days left" in words
    assert "chain ends 2026-03-01T07:30:00Z, over for 1 day" in words


def replace_certificate(*, expires: timedelta, chain: timedelta) -> Hop:
    """The page with another certificate."""
    fields = {"expires_at": NOW + expires, "chain_expires_at": NOW + chain}
    return replace(PAGE, certificate=structs.replace(CERTIFICATE, **fields))


def test_strangers_do_not_steer_the_terminal() -> None:
    """What a server wrote is made printable, wherever it is shown."""
    evil = "\x1b[31mred\x07\u202e"
    certificate = structs.replace(
        CERTIFICATE, subject=evil, issuer=evil, names=(evil,), expires_at=NOW, chain_expires_at=NOW
    )
    hop = replace(PAGE, url=f"http://x/{evil}", address=evil, tls_version=evil, certificate=certificate)
    site = structs.replace(SITE, name=evil, evidence="body")
    seen = replace(
        SEEN, url=evil, status_code=500, hops=(hop,), headers={"x-a": evil, "content-type": evil}, body=evil.encode()
    )
    text = shown(replace(checked(site, seen), robots=replace(ROBOTS, detail=evil), enabled=True))
    assert all(character.isprintable() for character in text.replace("\n", ""))
    assert "red" in text


def test_in_plain_ascii() -> None:
    """Where stdout can show no more."""
    text = shown(checked(), encoding="ascii")
    assert text.isascii()
    assert "#" in bars(text)[0]
    assert "NO" in text


def test_no_secret_is_shown() -> None:
    """Not where the server repeats it: in headers, certificate or what was found."""
    site = structs.replace(SITE, auth=Auth(bearer="${WMS_SECRET_A}"), evidence="body")
    revealed = Secrets({"WMS_SECRET_A": "hush-hush"}, None).reveal(site)
    certificate = structs.replace(
        CERTIFICATE, subject="CN=hush-hush", issuer="x", names=("hush-hush",), expires_at=NOW, chain_expires_at=NOW
    )
    seen = replace(
        SEEN,
        body=b"you said hush-hush",
        headers={"content-type": "hush-hush", "x-echo": "Bearer hush-hush"},
        hops=(replace(PAGE, certificate=certificate),),
        revealed=revealed,
    )
    found = checked_of(site, seen)
    assert "hush" not in shown(found) + repr(found)
    assert "[secret]" in shown(found)


@pytest.mark.parametrize(
    ("reason", "detail", "enabled", "words"),
    [
        (Reason.BLOCKED_ADDRESS, "10.0.0.1 is private; WMS_ALLOW_NETWORKS, …", None, "--allow-network CIDR"),
        (Reason.BLOCKED_ADDRESS, "port 25 …; WMS_ALLOW_PORTS, …", True, "allow_ports: of the site for good"),
        (Reason.TLS_UNTRUSTED, "unknown authority", True, "--ca FILE for this check, tls.ca: of the site"),
        (Reason.STATUS, "status 500", None, None),
    ],
)
def test_hints(reason: Reason, detail: str, enabled: bool | None, words: str | None) -> None:
    """Which option helps, and which key of a site in a file."""
    one = checked()
    hint = hint_for(replace(one, enabled=enabled, verdict=replace(one.verdict, reason=reason, detail=detail)))
    assert hint == words if words is None else words in (hint or "")
