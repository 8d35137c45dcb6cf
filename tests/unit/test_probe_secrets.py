"""Secrets are resolved when a site is asked, sent to it, and kept nowhere: not in errors, rows or what is printed."""

from __future__ import annotations

import base64
import json
import os
import pickle
import ssl
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
import pytest
import trustme
from hypothesis import given
from hypothesis import strategies as st

from tests.guards import ON_LOOPBACK
from tests.results import a_result
from tests.servers import LocalServer, Peer, answer, redirect
from wms_tasks.errors import SecretError
from wms_tasks.net.fetch import Fetcher
from wms_tasks.probe.http import probe, request_for
from wms_tasks.probe.judge import judge
from wms_tasks.probe.observed import observed
from wms_tasks.probe.scrub import SCRUBBED, forms_of, scrub, scrubbed
from wms_tasks.probe.secrets import MAX_FILE_BYTES, NO_SECRETS, Revealed, Secrets
from wms_tasks.probe.seen import Seen
from wms_tasks.result import Certificate, Evidence, Outcome, Reason
from wms_tasks.sites.record import Auth, Expect, HeaderRule, Site, TlsOptions, site_id_for

AGENT = "wms/0.1.0 (+https://example.org/)"
CANARY = 'can"ary/4 & bird'
TOKEN = "${WMS_SECRET_TOKEN}"


def echo(peer: Peer) -> None:
    """What came, back in a header and in the body."""
    sent = peer.request.headers.get("x-token", "") + peer.request.headers.get("authorization", "")
    answer(f"you sent {sent}".encode(), status_code=500, headers={"X-You-Sent": sent})(peer)


@pytest.fixture(scope="module")
def server() -> Iterator[LocalServer]:
    """One that repeats what it is sent, one that sends us on."""
    with LocalServer({"/": echo}) as other, LocalServer({"/": echo, "/away": redirect(other.url("/"))}) as local:
        local.other = other  # type: ignore[attr-defined]
        yield local


def a_site(url: str = "https://shop.example/", **fields: Any) -> Site:
    """A site at `url`."""
    return Site(site_id=site_id_for(url), name="a", url=url, **fields)


def seen_of(site: Site, secrets: Secrets) -> Seen:
    """One probe."""
    return probe(site, deadline_seconds=5, user_agent=AGENT, guard=ON_LOOPBACK, secrets=secrets, fetcher=Fetcher())


def test_a_secret_is_sent(server: LocalServer) -> None:
    """In a header, and as the password or token of a login."""
    secrets = Secrets({"WMS_SECRET_TOKEN": CANARY}, None)
    seen_of(a_site(server.url("/"), headers={"X-Token": f"a {TOKEN} $${{b}}"}, auth=Auth(bearer=TOKEN)), secrets)
    assert server.seen[-1].headers["x-token"] == f"a {CANARY} ${{b}}"
    assert server.seen[-1].headers["authorization"] == f"Bearer {CANARY}"

    seen_of(a_site(server.url("/"), auth=Auth(username="me", password=TOKEN)), secrets)
    scheme, _, pair = server.seen[-1].headers["authorization"].partition(" ")
    assert (scheme, base64.b64decode(pair).decode()) == ("Basic", f"me:{CANARY}")


def test_a_redirect_to_another_origin_gets_none(server: LocalServer) -> None:
    """Neither the header nor the login."""
    secrets = Secrets({"WMS_SECRET_TOKEN": CANARY}, None)
    seen_of(a_site(server.url("/away"), headers={"X-Token": TOKEN}, auth=Auth(bearer=TOKEN)), secrets)
    other: LocalServer = server.other  # type: ignore[attr-defined]
    assert not {"x-token", "authorization"} & set(other.seen[-1].headers)


def test_not_even_in_a_header_that_strangers_get(server: LocalServer) -> None:
    """A User-Agent that opens a door is a key too; a plain one goes everywhere."""
    secrets = Secrets({"WMS_SECRET_TOKEN": CANARY}, None)
    other: LocalServer = server.other  # type: ignore[attr-defined]
    for user_agent, is_sent_on in (("a plain one", True), (f"door {TOKEN}", False)):
        seen_of(a_site(server.url("/away"), headers={"User-Agent": user_agent}), secrets)
        assert (other.seen[-1].headers["user-agent"] == "a plain one") is is_sent_on
        assert CANARY not in str(other.seen[-1].headers)
    assert server.seen[-1].headers["user-agent"] == f"door {CANARY}"


def test_tls_from_files(tmp_path: Path) -> None:
    """Authority, client certificate and key, each a file; the server knows who came."""
    authority, clients = trustme.CA(), trustme.CA()
    me = clients.issue_cert("me@example.org")
    for name, blobs in {
        "ca.pem": [authority.cert_pem],
        "me.pem": me.cert_chain_pems,
        "me.key": [me.private_key_pem],
    }.items():
        (tmp_path / name).write_bytes(b"".join(blob.bytes() for blob in blobs))
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.verify_mode = ssl.CERT_REQUIRED
    authority.issue_cert("127.0.0.1").configure_cert(context)
    clients.configure_trust(context)
    tls = TlsOptions(ca="${file:ca.pem}", certificate="${file:me.pem}", key="${file:me.key}")
    with LocalServer({"/": answer()}, tls=context) as local:
        for options, status_code in ((tls, 200), (TlsOptions(ca="${file:ca.pem}"), None)):
            seen = seen_of(a_site(local.url("/"), tls=options), Secrets({}, tmp_path))
            assert seen.status_code == status_code, seen.failure


def test_what_cannot_be_had_skips_the_slot(server: LocalServer) -> None:
    """Nothing is sent; the reason is `secret`, and the detail says what to do."""
    before = server.count("/")
    site = a_site(server.url("/"), headers={"X-Token": TOKEN})
    verdict = judge(site, seen_of(site, Secrets({}, None)))
    assert (verdict.outcome, verdict.reason, verdict.transient) == (Outcome.SKIPPED, Reason.SECRET, False)
    assert verdict.detail == f"{TOKEN} is not set (set WMS_SECRET_TOKEN in the worker's environment)"
    assert server.count("/") == before


@pytest.mark.parametrize(
    ("environment", "text", "words"),
    [
        ({}, TOKEN, "is not set"),
        ({"WMS_SECRET_TOKEN": ""}, TOKEN, "is empty"),
        ({"WMS_SECRET_TOKEN": "abc"}, TOKEN, "is shorter than 4"),
        ({"WMS_SECRET_TOKEN": "hunter2\r\nX-Evil: 1"}, TOKEN, "line end or NUL"),
        ({"WMS_SECRET_TOKEN": "hunter2\0"}, TOKEN, "line end or NUL"),
        ({"HOME": "hunter2"}, "${HOME}", "only variables that begin with WMS_SECRET_"),
        (
            {"WMS_SECRET_TOKEN": "hunter2", "WMS_SECRET_TOKEN_HOSTS": "a.example"},
            TOKEN,
            "may not be sent to shop.exampl",
        ),
        ({"WMS_SECRET_TOKEN": "hunter2", "WMS_SECRET_TOKEN_HOSTS": ""}, TOKEN, "WMS_SECRET_TOKEN_HOSTS names no host"),
        ({"WMS_SECRET_TOKEN": "hunter2", "WMS_SECRET_TOKEN_HOSTS": "a:b:c/"}, TOKEN, "is sent nowhere"),
        ({}, "${file:token}", "WMS_SECRETS_DIR is not set"),
        ({}, "${file:/etc/passwd}", "absolute path"),
        ({}, "${file:../passwd}", "with a path with .."),
    ],
)
def test_refusals(environment: dict[str, str], text: str, words: str) -> None:
    """Each names what is wrong and never the value; checked here whatever the file's check said before."""
    with pytest.raises(SecretError, match=words) as refused:
        Secrets(environment, None).reveal(a_site(headers={"X-Token": text}))
    assert "hunter2" not in str(refused.value)
    assert refused.value.__cause__ is None


def test_a_message_with_a_url_that_two_readers_read_differently_gets_no_secret() -> None:
    """A url the file would refuse may come by Redis: to us it is a's, to the client b's."""
    secrets = Secrets({"WMS_SECRET_TOKEN": "hunter2", "WMS_SECRET_TOKEN_HOSTS": "a.example"}, None)
    for url in ("http://b.example\\@a.example/", "http://b.example@a.example/", "http://a.example@b.example/"):
        with pytest.raises(SecretError):
            secrets.reveal(a_site(url, headers={"X-Token": TOKEN}))
    assert secrets.reveal(a_site("http://A.example:8080/", headers={"X-Token": TOKEN}))


class TestFiles:
    """`${file:…}`, below one folder."""

    @pytest.fixture
    def folder(self, tmp_path: Path) -> Path:
        """The folder, with a secret beside it."""
        (tmp_path / "outside").write_text("hunter2")
        folder = tmp_path / "secrets"
        (folder / "shop").mkdir(parents=True)
        return folder

    def value(self, folder: Path, path: str = "token") -> str | None:
        """What a header with the file in it becomes."""
        return Secrets({}, folder).reveal(a_site(headers={"X-Token": f"${{file:{path}}}"})).text("headers.X-Token")

    @pytest.mark.parametrize(
        ("data", "value"),
        [(b"hunter2", "hunter2"), (b"hunter2\n", "hunter2"), (b"hunter2\r\n", "hunter2"), (b" h\xc3\xbc2 ", " hü2 ")],
    )
    def test_the_text_without_its_last_newline(self, folder: Path, data: bytes, value: str) -> None:
        """What editors add is dropped, once; nothing else is."""
        (folder / "shop" / "token").write_bytes(data)
        assert self.value(folder, "shop/token") == value

    def test_a_link_within_the_folder_is_followed(self, folder: Path) -> None:
        """Kubernetes mounts secrets so: token -> ..data/token, ..data -> a folder with a time in its name."""
        (folder / "..2026").mkdir()
        (folder / "..2026" / "token").write_text("hunter2")
        (folder / "..data").symlink_to("..2026")
        (folder / "token").symlink_to("..data/token")
        assert self.value(folder) == "hunter2"

    @pytest.mark.parametrize("target", ["../outside", "/etc/passwd", "shop/../../outside"])
    def test_a_link_out_of_it_is_not(self, folder: Path, target: str) -> None:
        """Whichever way it is written."""
        (folder / "token").symlink_to(target)
        with pytest.raises(SecretError, match="leads out of WMS_SECRETS_DIR"):
            self.value(folder)

    def test_a_folder_that_leads_out_is_not(self, folder: Path) -> None:
        """Nor one in the middle of the path."""
        (folder / "up").symlink_to("..")
        with pytest.raises(SecretError, match="leads out of WMS_SECRETS_DIR"):
            self.value(folder, "up/outside")

    def test_what_is_no_secret_in_a_file(self, folder: Path) -> None:
        """Nothing, a folder, a pipe, a circle, too much, and bytes that are no text."""
        (folder / "large").write_bytes(b"x" * (MAX_FILE_BYTES + 1))
        (folder / "binary").write_bytes(b"\xff\xfe")
        (folder / "circle").symlink_to("circle")
        os.mkfifo(folder / "pipe")
        for path, words in {
            "none": "is not there",
            "shop": "is not a file|Is a directory",
            "pipe": "is not a file",
            "circle": "cannot be read",
            "large": "larger than 64 KiB",
            "binary": "is not UTF-8",
        }.items():
            with pytest.raises(SecretError, match=words):
                self.value(folder, path)

    def test_a_new_value_is_taken_without_a_restart(self, folder: Path) -> None:
        """The file changed, so it is read again; also where the new one came by a rename."""
        secrets, site = Secrets({}, folder), a_site(headers={"X-Token": "${file:token}"})
        for number in range(3):
            (folder / "new").write_text(f"hunter{number}")
            (folder / "new").rename(folder / "token")
            assert secrets.reveal(site).text("headers.X-Token") == f"hunter{number}"

    def test_hosts_stand_beside_it(self, folder: Path) -> None:
        """In `path.hosts`; one that leads out, or is broken, allows nothing."""
        (folder / "token").write_text("hunter2")
        (folder / "token.hosts").write_text("shop.example\n")
        assert self.value(folder) == "hunter2"
        (folder / "token.hosts").write_text("a.example\n")
        with pytest.raises(SecretError, match=r"may not be sent to shop.example \(add it to token.hosts"):
            self.value(folder)
        (folder / "token.hosts").unlink()
        (folder / "token.hosts").symlink_to("nowhere")
        with pytest.raises(SecretError, match="is not there"):
            self.value(folder)


def test_a_body_may_have_line_ends() -> None:
    """Only a header may not."""
    secrets = Secrets({"WMS_SECRET_TOKEN": "a\nb\nc"}, None)
    site = a_site(method="POST", body=f"key=ü {TOKEN}")
    assert request_for(site, AGENT, secrets.reveal(site)).body == "key=ü a\nb\nc".encode()
    assert request_for(a_site(body="plain"), AGENT).body == b"plain"


def test_nothing_writes_a_secret_down() -> None:
    """Not repr, pickle, JSON or msgspec; nor does what holds it."""
    secrets = Secrets({"WMS_SECRET_TOKEN": "hunter2"}, None)
    revealed = secrets.reveal(a_site(headers={"X-Token": TOKEN}))
    for text in (repr(revealed), str(revealed), repr(Seen(revealed=revealed)), repr(secrets)):
        assert "hunter2" not in text
    for write in (pickle.dumps, json.dumps, msgspec.json.encode, msgspec.to_builtins):
        with pytest.raises(TypeError):
            write(revealed)


def test_what_a_server_repeats_is_not_kept(server: LocalServer) -> None:
    """Neither of a header nor of a login, in a header or in the body."""
    secrets = Secrets({"WMS_SECRET_TOKEN": CANARY}, None)
    logins = [Auth(bearer=TOKEN), Auth(username="me", password=TOKEN)]
    for login in logins:
        seen = seen_of(a_site(server.url("/"), headers={"X-Token": TOKEN}, auth=login), secrets)
        evidence = Evidence(headers=dict(seen.headers), body=(seen.body or b"").decode())
        repeated = seen.headers["x-you-sent"].removeprefix(CANARY).split(" ", 1)[1]
        kept = scrubbed(a_result(evidence=evidence, detail=f"said {repeated}"), seen.revealed.scrub)
        written = msgspec.json.encode(kept).decode() + repr(kept)
        assert CANARY in (seen.body or b"").decode()
        assert SCRUBBED in written
        assert CANARY not in written
        assert repeated not in written


def test_everything_a_server_wrote_is_scrubbed() -> None:
    """Names of headers and of certificates too; the site's own words are left alone."""
    at = datetime(2027, 1, 1, tzinfo=UTC)
    certificate = Certificate(
        subject="a hunter2", issuer="hunter2", names=("hunter2",), expires_at=at, chain_expires_at=at
    )
    result = a_result(
        site_name="hunter2", content_type="hunter2", certificate=certificate, evidence=Evidence(headers={"hunter2": ""})
    )
    kept = scrubbed(result, lambda text: scrub(text, ("hunter2",)))
    assert kept.site_name == "hunter2"
    assert "hunter2" not in repr(msgspec.structs.replace(kept, site_name=""))
    assert kept.certificate is not None
    assert (kept.certificate.names, kept.certificate.expires_at) == ((SCRUBBED,), at)


@given(st.text(min_size=4), st.text(), st.text(), st.integers(4))
def test_a_secret_cut_anywhere_is_scrubbed(value: str, before: str, after: str, length: int) -> None:
    """Whole in the middle, and its beginning where the text was cut."""
    forms = forms_of([value])
    assert value not in scrub(before + value + after, forms).replace(SCRUBBED, "")
    cut = value[: min(length, len(value))]
    assert cut not in scrub(before + cut + "…", forms)[len(before) :].replace(SCRUBBED, "")


@pytest.mark.parametrize("form", [json.dumps, lambda v: base64.b64encode(v.encode()).decode()])
def test_forms_a_secret_takes_on_its_way(form: Any) -> None:
    """A JSON API quotes it, a login encodes it."""
    assert scrub(form("grün" + CANARY), forms_of(["grün" + CANARY])).strip('"') == SCRUBBED


@pytest.mark.parametrize(
    "written",
    [
        "a%2fb%2bc%3d%26%3c%27",  # .NET's HttpUtility.UrlEncode
        r"a\/b+c=&<'",  # PHP's json_encode
        r"a/b+c=\u0026\u003c'",  # Go's encoding/json
        "a/b+c=&amp;&lt;&#39;",  # Go's html/template, Jinja, Django
    ],
)
def test_forms_of_other_languages(written: str) -> None:
    """Not Python's alone."""
    assert scrub(f"got {written}!", forms_of(["a/b+c=&<'"])) == f"got {SCRUBBED}!"


@pytest.mark.parametrize(
    "written", ["a%2Fb!c'%20d", "a%2Fb%21c%27+d", "a%252Fb%2521c%2527%2520d", "a%252fb%2521c%2527%2520d"]
)
def test_forms_that_urls_have(written: str) -> None:
    """JavaScript's and Java's, and those of a url within a url."""
    assert scrub(f"?t={written}&", forms_of(["a/b!c' d"])) == f"?t={SCRUBBED}&"


@pytest.mark.parametrize("value", ["can?ary/4 bird", "can#ary;bird", "canàary", "can\u0080ary", "can\0ary bird"])
def test_what_is_left_out_of_a_header_or_body_leaves_no_part_of_a_secret(value: str) -> None:
    """A url loses its query, a line what cannot be printed; a secret that this would cut is known before."""
    in_header = f"https://x.example/{value}?a=b, {json.dumps(value)}".encode().decode("latin-1")
    rule = HeaderRule(name="x-said", regexp="^nothing")
    revealed = Revealed({}, forms_of([value]))
    seen = Seen(
        status_code=200,
        headers={"x-said": in_header, "content-type": f"text/{in_header}"},
        body=f"said {value}, and {value}".encode(),
        revealed=revealed,
    )
    site = a_site(expect=Expect(headers=(rule,)))
    verdict = judge(site, seen)
    result = a_result(detail=verdict.detail, **msgspec.structs.asdict(observed(seen, keep="body")))
    kept = f"{scrubbed(result, revealed.scrub)}{verdict.expectations}"
    assert verdict.reason == Reason.HEADER
    assert kept.count(SCRUBBED) >= 6
    assert [part for part in ("can", "ary", "bird") if part in kept.replace(site.name, "")] == []


def test_a_variable_that_is_no_text() -> None:
    """Of bytes that are no UTF-8."""
    secrets = Secrets({"WMS_SECRET_TOKEN": "hunter2\udc80"}, None)
    with pytest.raises(SecretError, match="is not UTF-8") as refused:
        secrets.reveal(a_site(headers={"X-Token": TOKEN}))
    assert "hunter2" not in str(refused.value)


def test_a_site_without_secrets_is_not_touched() -> None:
    """No environment is looked into, nothing is scrubbed."""
    revealed = NO_SECRETS.reveal(a_site(headers={"X-Plain": "a $${b} $5"}))
    assert revealed.text("headers.X-Plain") == "a ${b} $5"
    assert not revealed
    assert not NO_SECRETS.reveal(a_site())
