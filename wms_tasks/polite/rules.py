"""
What a robots.txt says about a url (RFC 9309). Pure; protego decides what the rules mean.

A stranger's file is cut down first to the groups that concern us: protego keeps a rule once for every agent above it,
so that 250 KiB of agents followed by 250 KiB of rules would fill the memory, and it takes ``User-agent: w`` for us.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from protego import Protego

# A longer one is meant for crawlers of whole sites, or a mistake: a page is looked at this often all the same.
MAX_CRAWL_DELAY_SECONDS = 3600.0
_AGENT = re.compile(r"\s*user[- ]?agent\s*(?::|\s)(.*)", re.IGNORECASE)
_SITE_WIDE = re.compile(r"\s*(?:site-?maps?|host)\s*:", re.IGNORECASE)
# RFC 9309, 2.2.1: a product token is letters, "-" and "_"; what follows (a version, as in ExampleBot/1.2) is not it.
_TOKEN = re.compile(r"\s*([a-z_-]+|\*)", re.IGNORECASE)


def _without_comment(line: str) -> str:
    return line.partition("#")[0].rstrip()


def relevant(text: str, product_token: str) -> str:
    """The groups for `product_token` and for everyone, each with one ``user-agent`` line per kind."""
    kept: list[str] = []
    agents: set[str] = set()
    in_heading = False
    for line in map(_without_comment, text.splitlines()):
        agent = _AGENT.match(line)
        if agent is not None:
            agents = agents if in_heading else set()
            in_heading = True
            named = _TOKEN.match(agent[1])
            token = named[1].lower() if named else ""
            if token in {"*", product_token.lower()} and token not in agents:
                agents.add(token)
                kept.append(f"user-agent: {token}")
        elif line.strip() and not _SITE_WIDE.match(line):
            in_heading = False
            if agents:
                kept.append(line)
    return "\n".join(kept)


@dataclass(frozen=True, slots=True, kw_only=True)
class Said:
    """``allowed``: it may be asked for. ``crawl_delay_seconds``: the least time between two requests; 0.0: none."""

    allowed: bool
    crawl_delay_seconds: float = 0.0


def said(text: str, url: str, product_token: str) -> Said:
    """
    What a robots.txt of this `text` tells `product_token` about `url`.

    Crawl-delay is no part of the RFC but widely meant; our own group's counts, else that of everyone, up to an hour.
    """
    rules = Protego.parse(relevant(text, product_token))
    delay_seconds = rules.crawl_delay(product_token) or 0.0
    if not delay_seconds > 0:  # so that NaN is none
        delay_seconds = 0.0
    return Said(
        allowed=bool(rules.can_fetch(url, product_token)),
        crawl_delay_seconds=float(min(delay_seconds, MAX_CRAWL_DELAY_SECONDS)),
    )
