"""What a robots.txt means for us: RFC 9309's own rules, and files made to hurt."""

from __future__ import annotations

import time
import tracemalloc

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wms_tasks.polite.robots import MAX_ROBOTS_BYTES, robots_url
from wms_tasks.polite.rules import MAX_CRAWL_DELAY_SECONDS, Said, relevant, said

SITE = "https://example.org"


def allows(text: str, url: str, token: str) -> bool:
    """Only whether."""
    return said(text, url, token).allowed


@pytest.mark.parametrize(
    ("text", "path", "allowed"),
    [
        ("", "/", True),
        ("User-agent: *\nDisallow: /", "/", False),
        ("User-agent: *\nDisallow:", "/x", True),
        ("User-agent: *\nDisallow: /a\nAllow: /a/b", "/a/b/c", True),
        ("User-agent: *\nAllow: /a\nDisallow: /a", "/a", True),
        ("User-agent: *\nDisallow: /*.php$", "/x.php", False),
        ("User-agent: *\nDisallow: /*.php$", "/x.php5", True),
        ("User-agent: other\nDisallow: /", "/", True),
        ("User-agent: *\nDisallow: /\n\nUser-agent: wms\nAllow: /", "/", True),
        ("User-agent: *\nAllow: /\n\nUser-Agent: WMS/0.1\nDisallow: /", "/", False),
        ("User-agent: other\nUser-agent: wms\nDisallow: /x", "/x", False),
        ("User-agent: wms\nUser-agent: other\n\nDisallow: /x", "/x", False),
        ("User-agent: wms\nDisallow: /a\n\nUser-agent: x\nDisallow: /b\n\nUser-agent: wms\nDisallow: /c", "/c", False),
        ("User-agent: wms\nDisallow: /a\n\nUser-agent: x\nDisallow: /b\n\nUser-agent: wms\nDisallow: /c", "/b", True),
        ("User-agent: w\nDisallow: /", "/", True),
        ("User-agent: wmsbot\nDisallow: /", "/", True),
        ("User-agent: *\nSitemap: https://x/\nDisallow: /x", "/x", False),
        ("User-agent: * # all\nDisallow: /x # not this", "/x", False),
        ("user-agent:*\r\nDISALLOW:/x\r\n", "/x", False),
        ("<html>no robots here</html>", "/", True),
        ("User-agent: *\nDisallow: /caf%C3%A9", "/café", False),
        ("User-agent: *\nDisallow: /\n", "/robots.txt", True),
        ("User-agent: *\nDisallow: /x?y=1", "/x?y=1&z=2", False),
    ],
)
def test_rules(text: str, path: str, allowed: bool) -> None:
    """Longest match, Allow on ties, wildcards, groups merged, the token alone decides."""
    assert allows(text, SITE + path, "wms") is allowed


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("User-agent: *\nCrawl-delay: 10\nDisallow: /x", 10.0),
        ("User-agent: *\nDisallow: /x\ncrawl-delay:2.5", 2.5),
        ("User-agent: *\nCrawl-delay: 86400", MAX_CRAWL_DELAY_SECONDS),
        ("User-agent: *\nCrawl-delay: 1e300", MAX_CRAWL_DELAY_SECONDS),
        ("User-agent: *\nCrawl-delay: 10\n\nUser-agent: wms\nCrawl-delay: 3", 3.0),
        ("User-agent: *\nCrawl-delay: 10\n\nUser-agent: wms\nAllow: /", 0.0),
        ("User-agent: other\nCrawl-delay: 10", 0.0),
        ("User-agent: *\nCrawl-delay: -5", 0.0),
        ("User-agent: *\nCrawl-delay: nan", 0.0),
        ("User-agent: *\nCrawl-delay: soon", 0.0),
        ("Crawl-delay: 10", 0.0),
    ],
)
def test_crawl_delay(text: str, seconds: float) -> None:
    """Ours, else everyone's, at most an hour; what is no number of seconds is none."""
    assert said(text, SITE + "/", "wms") == Said(allowed=True, crawl_delay_seconds=seconds)


MANY = MAX_ROBOTS_BYTES // 2
HURTFUL = {
    "agents times rules": "".join(f"User-agent: a{n}\n" for n in range(MANY // 17)) + "Disallow: /x\n" * (MANY // 13),
    "us among many": "User-agent: wms\n" * (MANY // 16) + "".join(f"Disallow: /{n}$\n" for n in range(MANY // 17)),
    "stars": "User-agent: *\nDisallow: /" + "*a" * (MANY // 2) + "$\n",
    "many stars": "User-agent: *\n" + ("Disallow: /*" + "*x" * 40 + "\n") * (MANY // 92),
    "one line": "User-agent: *\nDisallow: /" + "%" * MANY,
    "groups": "User-agent: *\nDisallow: /a\n" * (MANY // 27),
}


@pytest.mark.parametrize("kind", HURTFUL)
def test_a_file_made_to_hurt(kind: str) -> None:
    """500 KiB of anything is read in bounded time and memory."""
    started = time.monotonic()
    allows(HURTFUL[kind], f"{SITE}/{'a' * 2000}", "wms")
    assert time.monotonic() - started < 3
    tracemalloc.start()
    relevant(HURTFUL[kind], "wms")
    _, peak_bytes = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak_bytes < 40 * MAX_ROBOTS_BYTES


@given(
    st.lists(
        st.sampled_from(
            [
                "User-agent: *",
                "User-agent: wms",
                "User-agent: x",
                "Disallow: /a",
                "Allow: /a/b",
                "",
                "Foo: 1",
                "Host: y",
                "Disallow: /",
            ]
        )
    ),
    st.sampled_from(["/", "/a", "/a/b"]),
)
def test_cutting_down_changes_no_verdict(lines: list[str], path: str) -> None:
    """The part that concerns us says the same as the whole, and is itself again."""
    text = "\n".join(lines)
    cut = relevant(text, "wms")
    assert allows(cut, SITE + path, "wms") == allows(text, SITE + path, "wms")
    assert relevant(cut, "wms") == cut


@given(st.text(max_size=500))
def test_any_text_is_a_file(text: str) -> None:
    """Nothing a stranger writes raises."""
    assert allows(text, SITE + "/a", "wms") in {True, False}


def test_where_the_rules_are() -> None:
    """At the origin's root, without credentials and query."""
    assert robots_url("https://u:p@example.org:8443/a/b?c#d") == "https://example.org:8443/robots.txt"
    assert robots_url("http://[::1]:80/x") == "http://[::1]:80/robots.txt"
