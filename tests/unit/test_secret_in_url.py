"""A secret in the query of a site's url: revealed for the request alone, and kept nowhere, whatever the server does."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any
from urllib.parse import parse_qsl, quote, quote_plus, urlsplit

import msgspec
import pytest
from click.testing import CliRunner
from hypothesis import assume, given
from hypothesis import strategies as st

from tests.guards import ON_LOOPBACK
from tests.results import a_result
from tests.servers import LocalServer, Peer, answer, close, head, raw, redirect, refusing_url
from wms_tasks.commands.check import check
from wms_tasks.errors import SecretError
from wms_tasks.net.adapter import _prepare
from wms_tasks.net.answer import Answer
from wms_tasks.net.fetch import Fetcher
from wms_tasks.net.redirect import BadRedirect, Request, next_request
from wms_tasks.polite.robots import Robots
from wms_tasks.polite.rules import said
from wms_tasks.polite.store import MemoryRobotsStore
from wms_tasks.probe.http import probe, request_for
from wms_tasks.probe.judge import judge
from wms_tasks.probe.observed import observed
from wms_tasks.probe.scrub import SCRUBBED, forms_of, scrubbed
from wms_tasks.probe.secrets import MAX_FILE_BYTES, NO_SECRETS, Secrets
from wms_tasks.probe.seen import Seen
from wms_tasks.result import Outcome, Reason
from wms_tasks.schedule.announce import redacted
from wms_tasks.sites.record import Expect, HeaderRule, Site, site_id_for
from wms_tasks.sites.url import MAX_URL_CHARACTERS, check_url, host_of

AGENT = "wms/0.4.0 (+https://example.org/)"
CANARY = "canary/4 & b=?#%41+üà~"
TOKEN = "${WMS_SECRET_TOKEN}"
SECRETS = Secrets({"WMS_SECRET_TOKEN": CANARY}, None)
TEXT = st.text(st.characters(exclude_categories=["Cs"]), min_size=4, max_size=200)


def a_site(url: str, **fields: Any) -> Site:
    """A site at `url`."""
    return Site(site_id=site_id_for(url), name="a", url=url, **fields)


def seen_of(site: Site, secrets: Secrets = SECRETS) -> Seen:
    """One probe."""
    return probe(site, deadline_seconds=5, user_agent=AGENT, guard=ON_LOOPBACK, secrets=secrets, fetcher=Fetcher())


def kept_of(site: Site, seen: Seen) -> str:
    """All that a worker keeps of a probe, as text: the row's, and of what goes to spans and `wms check`."""
    verdict = judge(site, seen)
    said = "".join(f"{one.found} {one.detail}\n" for one in verdict.expectations)
    result = a_result(
        outcome=verdict.outcome,
        reason=verdict.reason,
        detail=verdict.detail,
        **msgspec.structs.asdict(observed(seen, keep="body")),
    )
    row = msgspec.json.encode(scrubbed(result, seen.revealed.scrub)).decode()
    return f"{row}\n{said}{seen.url}\n{seen.hops}\n{seen.failure}\n{seen.revealed!r}"


def echo_in_location(to: str) -> Any:
    """A redirect that takes the query along, as `return 302 …$request_uri` of nginx does."""

    def behave(peer: Peer) -> None:
        redirect(f"{to}?{peer.request.path.partition('?')[2]}")(peer)

    return behave


def echo_everywhere(peer: Peer) -> None:
    """The target, and the value as the server read it, in a header and in the body."""
    query = peer.request.path.partition("?")[2]
    read = dict(parse_qsl(query)).get("token", "")
    text = f"https://x.example/{read} {peer.request.path} {read} {quote(query, safe='')} {json.dumps(read)}"
    headers = {"X-You-Asked": text, "Content-Location": f"/?{query}"}
    answer(text.encode(), headers=headers)(peer)


@pytest.fixture(scope="module")
def other() -> Iterator[LocalServer]:
    """Another origin."""
    with LocalServer({"/": answer()}) as local:
        yield local


@pytest.fixture(scope="module")
def server(other: LocalServer) -> Iterator[LocalServer]:
    """One that repeats what it is asked, sends us on, and fails."""
    routes = {
        "/": answer(),
        "/echo": echo_everywhere,
        "/on": echo_in_location("/echo"),
        "/path": redirect(f"/{quote(CANARY)}"),
        "/raw-path": redirect(f"/{CANARY}"),
        "/loop": echo_in_location("/loop"),
        "/away": echo_in_location(other.url("/")),
        "/login": lambda peer: redirect(other.url("/?back=" + quote(peer.request.path, safe="")))(peer),
        "/elsewhere": redirect(other.url("/")),
        "/close": close,
        "/cut": raw(head(headers={"Content-Length": "100"}) + CANARY.encode()),
        "/not-http": raw(CANARY.encode() + b"\r\n\r\n"),
    }
    with LocalServer(routes) as local:
        yield local


def test_it_is_sent_in_its_place(server: LocalServer) -> None:
    """Percent-encoded, beside what is written; the same one in a header as it is."""
    secrets = Secrets({"WMS_SECRET_TOKEN": "canary/ &#"}, None)
    site = a_site(server.url(f"/?a=1&token=x{TOKEN}y&z=$${{b}}"), headers={"X-Token": TOKEN})
    assert seen_of(site, secrets).status_code == 200
    assert server.seen[-1].path == "/?a=1&token=xcanary%2F%20%26%23y&z=$%7Bb%7D"
    assert server.seen[-1].headers["x-token"] == "canary/ &#"


@given(TEXT)
def test_no_value_breaks_out_of_its_place(value: str) -> None:
    """Whatever a secret holds, the server reads it as one value, and everything else as it was written."""
    site = a_site(f"https://a.example:8443/b%2Fc?first=1%202&token={TOKEN}&last=%C3%BC")
    revealed = Secrets({"WMS_SECRET_TOKEN": value}, None).reveal(site)
    request = request_for(site, AGENT, revealed)
    ready = _prepare(request.method, request.url, (), None)
    target = urlsplit(ready.target)
    assert (ready.host, ready.port, target.path, target.fragment) == ("a.example", 8443, "/b%2Fc", "")
    assert target.query == f"first=1%202&token={quote(value, safe='')}&last=%C3%BC"
    assert parse_qsl(target.query, strict_parsing=True) == [("first", "1 2"), ("token", value), ("last", "ü")]
    assert quote(value, safe="") not in revealed.scrub(request.url).replace(SCRUBBED, "\0")


@given(TEXT, st.sampled_from(["", "?q=1", "?q=1#f", "#f"]), st.integers(0, 60))
def test_outside_the_query_it_is_refused(text: str, end: str, at: int) -> None:
    """Wherever else it stands, in one line that repeats nothing; where it passes, it is in the query."""
    url = "https://a.example:8443/a/b" + end
    written = url[:at] + TOKEN + url[at:]
    before, _, rest = written.partition("?")
    query = rest.partition("#")[0]
    if TOKEN in query and "#" not in before:
        assert check_url(written) == written
        assert host_of(written) == "a.example"
    else:
        with pytest.raises(ValueError, match=r"holds \$\{…\} outside its query") as refused:
            check_url(written + quote(text, safe=""))
        assert str(refused.value).isprintable()
        assert "a.example" not in str(refused.value)


@given(st.text(alphabet="%a4F=&+.", max_size=12), st.text(alphabet="%a4F=&+.", max_size=12))
def test_what_stands_beside_it_cannot_change_it(before: str, after: str) -> None:
    """A client mends a query with a bare %, the secret with it, and `%4` would take its beginning; both are refused."""
    url = f"https://a.example/?{before}{TOKEN}{after}"
    if re.search("%(?![0-9A-Fa-f]{2})", before) or re.search("%(?![0-9A-Fa-f]{2})", after):
        with pytest.raises(ValueError, match="begins no escape"):
            check_url(url)
        return
    site = a_site(url)
    request = request_for(site, AGENT, SECRETS.reveal(site))
    target = _prepare(request.method, request.url, (), None).target
    assert target.count(quote(CANARY, safe="")) == 1


@pytest.mark.parametrize(
    ("environment", "query", "words"),
    [
        ({}, TOKEN, r"\$\{WMS_SECRET_TOKEN\} is not set \(set WMS_SECRET_TOKEN in the worker's environment\)"),
        ({"WMS_SECRET_TOKEN": "abc"}, TOKEN, "is shorter than 4"),
        ({"WMS_SECRET_TOKEN": "hunter2\udc80"}, TOKEN, "is not UTF-8"),
        ({"WMS_SECRET_TOKEN": "hunter2" * MAX_URL_CHARACTERS}, TOKEN, "url is longer than 4096 characters with its se"),
        ({"WMS_SECRET_TOKEN": "/" * 1400}, TOKEN, "url is longer than 4096"),
        ({"WMS_SECRET_TOKEN": "hunter2", "WMS_SECRET_TOKEN_HOSTS": "b.example"}, TOKEN, "may not be sent to a.example"),
        ({"API_TOKEN": "hunter2"}, "${API_TOKEN}", "only variables that begin with WMS_SECRET_"),
        ({}, "${file:token}", "WMS_SECRETS_DIR is not set"),
        ({}, "${file:../token}", "with a path with .."),
        ({"WMS_SECRET_TOKEN": "hunter2"}, f"%{TOKEN}", "begins no escape"),
    ],
)
def test_refusals(environment: dict[str, str], query: str, words: str) -> None:
    """As of a header's; nothing of the value is told, and without it nothing is sent."""
    site = a_site(f"https://a.example/?token={query}")
    with pytest.raises(SecretError, match=words) as refused:
        Secrets(environment, None).reveal(site)
    assert "hunter2" not in str(refused.value)
    seen = seen_of(site, Secrets(environment, None))
    verdict = judge(site, seen)
    assert (verdict.outcome, verdict.reason, seen.url) == (Outcome.SKIPPED, Reason.SECRET, "https://a.example/")
    assert not seen.hops


@pytest.mark.parametrize(
    "url",
    [
        "https://a.example/{}",
        "https://{}.example/",
        "https://a.example:{}/",
        "https://me:{}@a.example/",
        "https://a.example/#{}",
        "https://a.example/#?token={}",
        "https://a.example\\@b.example/?token={}",
    ],
)
def test_a_message_that_the_file_would_refuse_gets_none(url: str) -> None:
    """It may come by Redis: wherever else a reference stands there, it is not revealed."""
    with pytest.raises(SecretError) as refused:
        SECRETS.reveal(a_site(url.format(TOKEN)))
    assert "canary" not in str(refused.value)


@pytest.mark.parametrize(
    "path", ["/echo", "/on", "/path", "/raw-path", "/loop", "/away", "/login", "/close", "/cut", "/not-http"]
)
def test_whatever_the_server_does_it_is_kept_nowhere(server: LocalServer, path: str) -> None:
    """An echo, redirects and failures: no word of the canary in what is kept, and each has been asked with it."""
    expect = Expect(headers=(HeaderRule(name="x-you-asked", regexp="^nothing"),))
    site = a_site(server.url(f"{path}?token={TOKEN}"), expect=expect if path == "/echo" else Expect(), evidence="body")
    before = len(server.seen)
    seen = seen_of(site)
    assert dict(parse_qsl(server.seen[before].path.partition("?")[2])) == {"token": CANARY}
    kept = kept_of(site, seen)
    assert "canary" not in kept
    assert "b=?" not in kept
    assert (SCRUBBED in kept) is (path in {"/echo", "/on", "/path", "/raw-path"})


def test_what_cannot_be_reached_tells_nothing() -> None:
    """Neither of a refused connection nor of a name that is none."""
    for base in (refusing_url(), "http://no-such-host.invalid/"):
        site = a_site(f"{base}?token={TOKEN}")
        seen = seen_of(site)
        assert seen.failure is not None
        assert "canary" not in kept_of(site, seen)


def test_a_redirect_does_not_take_it_to_another_origin(server: LocalServer, other: LocalServer) -> None:
    """Not in the same place, nor within the way back that a login is told; one without it is followed."""
    before = len(other.seen)
    for path in ("/away", "/login"):
        site = a_site(server.url(f"{path}?token={TOKEN}"))
        verdict = judge(site, seen_of(site))
        assert (verdict.outcome, verdict.reason) == (Outcome.DOWN, Reason.PROTOCOL)
        assert verdict.detail == "a redirect that would take a secret of the url to another origin"
    assert len(other.seen) == before
    assert seen_of(a_site(server.url(f"/elsewhere?token={TOKEN}"))).status_code == 200
    assert other.seen[-1].path == "/"
    # What is no secret may be told to whom the server likes.
    assert seen_of(a_site(server.url("/away?token=plain"))).status_code == 200
    assert other.seen[-1].path == "/?token=plain"


@given(
    st.text(st.characters(categories=["L", "N", "P", "S"], exclude_characters="#")),
    st.sampled_from([str, quote, quote_plus, lambda v: quote(quote(v, safe="")), lambda v: quote(v, "!'()*")]),
)
def test_no_way_of_writing_it_passes_for_another_text(text: str, written: Any) -> None:
    """As Location has it: in clear, escaped in part, twice, or as forms are."""
    value = f"in {text}"
    assume(len(value) >= 4)
    secrets = forms_of([value])
    request = Request(method="GET", url="https://a.example/", url_secrets=secrets)
    location = f"b.example/?back={written(value)}".encode().decode("latin-1")  # as our client reads headers
    with pytest.raises(BadRedirect, match="would take a secret of the url"):
        next_request(request, 302, f"https://{location}")
    home = next_request(request, 302, f"/{location}")
    with pytest.raises(BadRedirect, match="would take a secret of the url"):
        next_request(home, 302, f"http://{location}")


def test_the_same_host_over_https_is_no_other_origin() -> None:
    """As for headers."""
    request = Request(method="GET", url="http://a.example/?t=canary", url_secrets=("canary",))
    assert next_request(request, 301, "https://a.example/?t=canary").url_secrets == ("canary",)


def test_nothing_that_holds_it_shows_it() -> None:
    """Not by `repr`, of which tracebacks and logs are made."""
    site = a_site(f"https://a.example/?token={TOKEN}")
    request = request_for(site, AGENT, SECRETS.reveal(site))
    assert quote(CANARY, safe="") in request.url
    ready = _prepare(request.method, request.url, tuple(request.headers.items()), None)
    for holder in (request, ready, Answer(url=request.url, redirects=0)):
        assert "canary" not in repr(holder)
    assert "canary" not in repr(SECRETS.reveal(site))


def test_others_are_told_of_it_as_it_is_written(server: LocalServer) -> None:
    """robots.txt is asked about the reference; the ledger has no query at all; `MAX_FILE_BYTES` fit no url."""
    site = a_site(server.url(f"/?token={TOKEN}"))
    store = MemoryRobotsStore()
    robots = Robots(store, user_agent=AGENT)
    verdict = robots.fetch(site.url, deadline_seconds=5, guard=ON_LOOPBACK)
    assert verdict.outcome is None
    assert server.seen[-1].path == "/robots.txt"
    assert not said("User-agent: *\nDisallow: /*?token=", site.url, "wms").allowed
    assert said("User-agent: *\nDisallow: /*?key=", site.url, "wms").allowed
    assert redacted(site)["url"] == server.url("/")
    assert MAX_URL_CHARACTERS < MAX_FILE_BYTES


def test_a_url_without_one_is_not_touched() -> None:
    """No environment is looked into; `$${` is a plain `${` there too."""
    site = a_site("https://a.example/?a=b%")
    assert request_for(site, AGENT, NO_SECRETS.reveal(site)).url == "https://a.example/?a=b%"
    revealed = NO_SECRETS.reveal(a_site("https://a.example/?a=$${b}"))
    assert revealed.text("url") == "https://a.example/?a=${b}"
    assert not revealed


def test_check_shows_the_reference(server: LocalServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """`wms check` sends it, shows how it is written, and of the answer nothing that holds it."""
    monkeypatch.setenv("WMS_SECRET_TOKEN", CANARY)
    monkeypatch.setenv("WMS_ALLOW_NETWORKS", "127.0.0.0/8")
    monkeypatch.setenv("WMS_ALLOW_PORTS", "1-65535")
    url = server.url(f"/on?token={TOKEN}")
    for options in ((), ("--json",), ("--explain",)):
        before = server.count("/echo")
        result = CliRunner().invoke(check, [url, *options])
        assert server.count("/echo") == before + 1, result.output
        assert TOKEN in result.output
        assert "canary" not in result.output
    outside = CliRunner().invoke(check, [server.url(f"/{TOKEN}")])
    assert "outside its query" in str(outside.exception)
