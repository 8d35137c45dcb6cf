"""References to secrets as they are written: what is read, what is refused, what is left alone."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from wms_tasks.sites.record import Auth, Site, TlsOptions, site_id_for
from wms_tasks.sites.references import (
    Reference,
    check_is_reference,
    check_references,
    filled,
    has_reference,
    parts,
    references,
    references_of,
)
from wms_tasks.sites.secret_hosts import hosts_hold, read_hosts

TOKEN = Reference("variable", "WMS_SECRET_TOKEN")
FILE = Reference("file", "shop/..data/to-ken.txt")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", ()),
        ("plain $5 $$ $} }", ("plain $5 $$ $} }",)),
        ("${WMS_SECRET_TOKEN}", (TOKEN,)),
        ("Bearer ${WMS_SECRET_TOKEN}.", ("Bearer ", TOKEN, ".")),
        ("${file:shop/..data/to-ken.txt}${WMS_SECRET_TOKEN}", (FILE, TOKEN)),
        ("$${WMS_SECRET_TOKEN}", ("${", "WMS_SECRET_TOKEN}")),
        ("$$${WMS_SECRET_TOKEN}", ("$", "${", "WMS_SECRET_TOKEN}")),
        ("$$${x} ${WMS_SECRET_TOKEN}", ("$", "${", "x} ", TOKEN)),
    ],
)
def test_text_is_read_from_left_to_right(text: str, expected: tuple[str | Reference, ...]) -> None:
    """Only `${` is special, and `$${` is a plain one."""
    assert parts(text) == expected
    assert has_reference(text) is any(isinstance(part, Reference) for part in expected)


@pytest.mark.parametrize(
    "inner",
    [
        "",
        "HOME",
        "WMS_DATABASE_URL",
        "WMS_SECRET_",
        "WMS_SECRET_a",
        "WMS_SECRET_A ",
        "WMS_SECRETS_DIR",
        "WMS_SECRET_A_HOSTS",
        "WMS_SECRET_A:-b",
        "file:",
        "file:/etc/shadow",
        "file:..",
        "file:a/../../b",
        "file:./a",
        "file:a//b",
        "file:a/",
        "file:a\\b",
        "file:a\nb",
        "file:a.hosts",
        "file:" + "a" * 256,
        "FILE:a",
    ],
)
def test_nothing_else_is_a_reference(inner: str) -> None:
    """Whatever else a variable or a path may be, it is refused, and the text around it is not repeated."""
    with pytest.raises(ValueError, match=r"\(.+\)$") as refused:
        check_references(f"hunter2${{{inner}}}hunter2")
    assert "hunter2" not in str(refused.value)
    assert str(refused.value).isprintable()


def test_a_variable_of_another_name_gets_a_name_that_would_do() -> None:
    """The one to write is spelt out."""
    with pytest.raises(ValueError, match=r"name it WMS_SECRET_SHOP_TOKEN and write \$\{WMS_SECRET_SHOP_TOKEN\}"):
        check_references("${shop_token}")


def test_a_password_is_a_reference_and_nothing_else() -> None:
    """Text beside it, or a second one, is no reference."""
    assert check_is_reference("${WMS_SECRET_TOKEN}") == "${WMS_SECRET_TOKEN}"
    for text in ("hunter2", "hunter2${WMS_SECRET_TOKEN}", "${WMS_SECRET_TOKEN}${WMS_SECRET_TOKEN}", "$${x}", ""):
        with pytest.raises(ValueError, match="must be a reference and nothing else") as refused:
            check_is_reference(text)
        assert "hunter2" not in str(refused.value)


@given(st.lists(st.tuples(st.text().filter(lambda text: not text.endswith("$")), st.sampled_from([TOKEN, FILE]))))
def test_what_was_escaped_and_referred_to_comes_back(pieces: list[tuple[str, Reference]]) -> None:
    """Any text, escaped, is itself; a value is put in as it is, whatever it holds."""
    value = "${WMS_SECRET_OTHER} $${"
    written = "".join(f"{text.replace('${', '$${')}{reference}" for text, reference in pieces)
    assert filled(written, lambda _: value) == "".join(f"{text}{value}" for text, _ in pieces)


def test_every_text_of_a_site_is_looked_at() -> None:
    """Each key in which references are resolved; the url where it holds one."""
    reference = str(TOKEN)
    site = Site(
        site_id=site_id_for("a"),
        name="a",
        url="https://a.example/",
        headers={"X-Token": f"a {reference}", "X-Plain": "b"},
        body=f"{{{reference}}}",
        auth=Auth(username="u", password=reference),
        tls=TlsOptions(ca=str(FILE), certificate=str(FILE), key=str(FILE)),
    )
    found = [
        ("headers.X-Token", TOKEN),
        ("auth.password", TOKEN),
        ("tls.ca", FILE),
        ("tls.certificate", FILE),
        ("tls.key", FILE),
        ("body", TOKEN),
    ]
    assert list(references_of(site)) == found
    with_query = msgspec.structs.replace(site, url=f"https://a.example/?key={FILE}")
    assert list(references_of(with_query)) == [("url", FILE), *found]
    assert references(None) == ()


@pytest.mark.parametrize(
    ("text", "host", "allowed"),
    [
        ("api.example.com", "api.example.com", True),
        ("API.Example.com.", "api.example.com", True),
        ("api.example.com", "evil-api.example.com", False),
        ("api.example.com", "api.example.com.evil.example", False),
        ("*.example.org", "a.example.org", True),
        ("*.example.org", "a.b.example.org", True),
        ("*.example.org", "example.org", False),
        ("*.example.org", "evilexample.org", False),
        ("a.example,\n *.b.example\n", "x.b.example", True),
        ("bücher.example", "xn--bcher-kva.example", True),
        ("127.0.0.1 [::1]", "::1", True),
    ],
)
def test_hosts_of_a_secret(text: str, host: str, allowed: bool) -> None:
    """One name is that name; `*.` is every name below."""
    assert hosts_hold(read_hosts(text), host) is allowed


@pytest.mark.parametrize("text", ["", " , ", "*", "*.*.example", "https://a.example", "a.example:443", "*.127.0.0.1"])
def test_a_list_of_hosts_that_is_none_allows_nothing(text: str) -> None:
    """It is an error, never an open door."""
    with pytest.raises(ValueError, match=r"."):
        read_hosts(text)
