"""A good file: what is written, what is filled in, and that 100,000 sites are no burden."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Sized
from functools import partial
from pathlib import Path

import pytest
import yaml

from tests.collector import as_in_a_new_process
from wms_tasks.errors import SitesFileError
from wms_tasks.sites.file import SitesFile, load_file, load_sites
from wms_tasks.sites.record import Auth, Expect, HeaderRule, Site, TlsOptions, site_id_for

ROOT = Path(__file__).resolve().parents[2]
SAMPLE = ROOT / "sites.yaml"
DOCUMENTS = ("README.md", "docs/sites.md")
# 100,000 sites in at most 15 s on one core and 500 MB, as the bench measures. Here a twentieth of them, beside what
# PyYAML's C loader alone takes for the same text (30 s for 100,000): 0.45 times that where this was written.
OF_PYYAML = 0.75


def written(tmp_path: Path, text: str) -> SitesFile:
    """`text` as a file, loaded."""
    path = tmp_path / "sites.yaml"
    path.write_text(text, encoding="utf-8")
    return load_file(path)


def one(tmp_path: Path, text: str) -> Site:
    """The only site of `text`."""
    (site,) = written(tmp_path, text).sites
    return site


def test_defaults_are_kind_to_strangers(tmp_path: Path) -> None:
    """Name and url are enough; the rest is what a stranger's server can bear."""
    site = one(tmp_path, "sites: [{name: Shop, url: https://shop.example/}]")

    assert site == Site(
        site_id=site_id_for("Shop"),
        name="Shop",
        url="https://shop.example/",
        method="GET",
        headers={},
        interval_seconds=60.0,
        jitter_seconds=6.0,
        timeout_seconds=10.0,
        retries=1,
        robots="respect",
        spacing_seconds=1.0,
        tags=(),
        expect=Expect(status=("2xx",), body_regexp=None),
    )


def test_every_key_arrives(tmp_path: Path) -> None:
    """Each key of a site, in each of its forms."""
    site = one(
        tmp_path,
        r"""
hosts: {"Shop.Example.": {spacing: 0.25s}}
sites:
  - name: "  The   shop "
    id: shop
    enabled: yes
    url: https://shop.example:8443/a?b=c#d
    method: OPTIONS
    headers: {Accept: text/html, X-Version: 1.10, X-Answer: no}
    interval: 1m30s
    jitter: 0s
    timeout: 1500ms
    retries: 0
    robots: ignore
    tags: [eu, 2024, eu]
    expect: {status: [200, 3XX], body_regexp: '\bopen\b'}
""",
    )

    assert site == Site(
        site_id=site_id_for("shop"),
        name="The shop",
        url="https://shop.example:8443/a?b=c#d",
        method="OPTIONS",
        headers={"Accept": "text/html", "X-Version": "1.10", "X-Answer": "no"},
        interval_seconds=90.0,
        jitter_seconds=0.0,
        timeout_seconds=1.5,
        retries=0,
        robots="ignore",
        spacing_seconds=0.25,
        tags=("eu", "2024"),
        expect=Expect(status=("200", "3xx"), body_regexp=r"\bopen\b"),
    )


def test_every_key_of_the_request_arrives(tmp_path: Path) -> None:
    """Each key that is rarely written, in each of its forms."""
    shop, till = written(
        tmp_path,
        """
sites:
  - name: Shop
    url: https://shop.example/
    method: POST
    body: |
      {"user": "${file:shop/user}", "price": "$${price}"}
    headers: {Content-Type: application/json, Cookie: 'session=${WMS_SECRET_SESSION}'}
    auth: {basic: {username: me, password: '${WMS_SECRET_SHOP}'}}
    tls:
      ca: ${file:ca.pem}
      certificate: ${file:shop.pem}
      key: ${file:shop.key}
      server_name: Shop.Example.
      min_version: 1.2
      max_version: 1.3
      verify: true
    compression: [br, gzip, deflate]
    max_redirects: 10
    ip: prefer_6
    max_body: 1.5MiB
    evidence: body
  - {name: Till, url: https://till.example/, auth: {bearer: '${file:till/token}'}, tls: {verify: no}, compression: []}
""",
    ).sites

    assert shop.method == "POST"
    assert shop.body == '{"user": "${file:shop/user}", "price": "$${price}"}\n'
    assert shop.headers == {"Content-Type": "application/json", "Cookie": "session=${WMS_SECRET_SESSION}"}
    assert shop.auth == Auth(username="me", password="${WMS_SECRET_SHOP}")
    assert shop.tls == TlsOptions(
        ca="${file:ca.pem}",
        certificate="${file:shop.pem}",
        key="${file:shop.key}",
        server_name="shop.example",
        min_version="1.2",
        max_version="1.3",
    )
    assert (shop.compression, shop.max_redirects, shop.ip) == (("br", "gzip", "deflate"), 10, "prefer_6")
    assert (shop.max_body_bytes, shop.evidence) == (1_572_864, "body")
    assert (till.auth, till.tls, till.compression) == (Auth(bearer="${file:till/token}"), TlsOptions(verify=False), ())


def test_every_expectation_arrives(tmp_path: Path) -> None:
    """One or a list, a header's rule in its short and its long form."""
    shop, till, door = written(
        tmp_path,
        r"""
defaults: {expect: {tls: required, certificate_days: 14, json: ok, headers: {Server: nginx}}}
sites:
  - name: Shop
    url: https://shop.example/
    expect:
      http_version: [1.0, 1.1]
      tls: forbidden
      certificate_days: 0
      body_regexp: [open, '\d+ items']
      body_not_regexp: sold out
      headers: {Content-Type: '^text/html', X-Cache: {regexp: HIT, may_lack: true}}
      not_headers: {Server: Apache}
      json: ["status == 'ok'", length(items) > `3`]
      slow: 1500ms
  - {name: Till, url: https://till.example/, expect: {http_version: 1.1, body_regexp: [open], json: [], headers: {}}}
  - {name: Door, url: https://door.example/}
""",
    ).sites

    assert shop.expect == Expect(
        http_versions=("1.0", "1.1"),
        tls="forbidden",
        body_regexps=("open", r"\d+ items"),
        body_not_regexps=("sold out",),
        headers=(
            HeaderRule(name="content-type", regexp="^text/html"),
            HeaderRule(name="x-cache", regexp="HIT", may_lack=True),
        ),
        not_headers=(HeaderRule(name="server", regexp="Apache"),),
        json=("status == 'ok'", "length(items) > `3`"),
        slow_seconds=1.5,
    )
    assert till.expect == Expect(http_versions=("1.1",), tls="required", body_regexp="open", certificate_days=14)
    server = (HeaderRule(name="server", regexp="nginx"),)
    assert door.expect == Expect(tls="required", json=("ok",), headers=server, certificate_days=14)


@pytest.mark.parametrize(
    ("defaults", "own", "max_redirects"),
    [
        ("", "", 5),
        ("", "follow_redirects: false", 0),
        ("", "follow_redirects: true", 5),
        ("", "max_redirects: 0", 0),
        ("", "follow_redirects: true, max_redirects: 3", 3),
        ("follow_redirects: false", "", 0),
        ("follow_redirects: false", "follow_redirects: true", 5),
        ("follow_redirects: false", "max_redirects: 2", 2),
        ("max_redirects: 7", "follow_redirects: true", 7),
        ("max_redirects: 7", "follow_redirects: false", 0),
        ("max_redirects: 7", "max_redirects: 1", 1),
    ],
)
def test_whether_and_how_far_redirects_are_followed(
    tmp_path: Path, defaults: str, own: str, max_redirects: int
) -> None:
    """Two keys for one number; what a site says wins over the defaults, in either key."""
    site = one(tmp_path, f"defaults: {{{defaults}}}\nsites: [{{name: Shop, url: https://shop.example/, {own}}}]")

    assert site.max_redirects == max_redirects


def test_tls_options_are_merged_key_by_key(tmp_path: Path) -> None:
    """One authority for all, a server name for one."""
    shop = one(
        tmp_path,
        """
defaults: {tls: {ca: '${file:ca.pem}', min_version: 1.2}}
sites: [{name: Shop, url: https://10.0.0.1/, tls: {server_name: shop.example, min_version: 1.3}}]
""",
    )

    assert shop.tls == TlsOptions(ca="${file:ca.pem}", server_name="shop.example", min_version="1.3")


def test_a_sites_own_key_wins_over_the_default(tmp_path: Path) -> None:
    """Headers and expectations are merged key by key (header names in any case), everything else is replaced."""
    site = one(
        tmp_path,
        """
sites:
  - name: Shop
    url: https://shop.example/
    timeout: 2s
    headers: {accept: text/plain, X-Own: a}
    expect: {body_regexp: ok}
    tags: [own]
defaults:
  interval: 5m
  timeout: 20s
  retries: 3
  headers: {Accept: text/html, X-Default: b}
  expect: {status: 404, body_regexp: gone}
  tags: [default]
""",
    )

    assert (site.interval_seconds, site.timeout_seconds, site.retries) == (300.0, 2.0, 3)
    assert site.headers == {"X-Default": "b", "accept": "text/plain", "X-Own": "a"}
    assert site.expect == Expect(status=("404",), body_regexp="ok")
    assert site.tags == ("own",)


def test_networks_and_ports_are_opened_for_a_site(tmp_path: Path) -> None:
    """In their shortest form, one or a list, each once; a site's own list replaces the default."""
    found = written(
        tmp_path,
        """
sites:
  - name: Shop
    url: https://shop.example/
    allow_networks: [10.0.0.0/8, 192.168.1.7, "FD00:0::/8", 10.0.0.0/8]
    allow_ports: [8080, 9000 - 9100]
  - {name: Till, url: https://till.example/}
  - {name: Door, url: https://door.example/, allow_networks: []}
defaults: {allow_networks: 127.0.0.0/8}
""",
    )

    shop, till, door = found.sites
    assert shop.allow_networks == ("10.0.0.0/8", "192.168.1.7/32", "fd00::/8")
    assert shop.allow_ports == ("8080", "9000-9100")
    assert (till.allow_networks, till.allow_ports, door.allow_networks) == (("127.0.0.0/8",), (), ())


@pytest.mark.parametrize(
    ("keys", "jitter_seconds", "timeout_seconds"),
    [
        ("", 6.0, 10.0),
        ("interval: 1s", 0.1, 0.8),
        ("interval: 1d", 8640.0, 10.0),
        ("interval: 10s, timeout: 9500ms", 0.5, 9.5),
        ("interval: 10s, timeout: 10s", 0.0, 10.0),
        ("interval: 10s, jitter: 6s", 6.0, 4.0),
        ("interval: 1.015s", 0.101, 0.812),
    ],
)
def test_a_default_gives_way_to_what_is_written(
    tmp_path: Path, keys: str, jitter_seconds: float, timeout_seconds: float
) -> None:
    """Jitter + timeout fit in the interval without a refusal, as long as only one of them is written."""
    site = one(tmp_path, f"sites: [{{name: Shop, url: https://shop.example/, {keys}}}]")

    assert (site.jitter_seconds, site.timeout_seconds) == (jitter_seconds, timeout_seconds)


def test_disabled_sites_are_kept_apart(tmp_path: Path) -> None:
    """They are checked and known, not probed."""
    found = written(
        tmp_path,
        """
sites:
  - {name: on, url: https://a.example/}
  - {name: off, url: https://b.example/, enabled: false}
""",
    )

    assert [site.name for site in found.sites] == ["on"]
    assert [site.name for site in found.disabled] == ["off"]
    assert load_sites(tmp_path / "sites.yaml") == found.sites
    assert found.hosts == 1


def test_a_rename_keeps_the_id_where_it_is_written(tmp_path: Path) -> None:
    """The id, not the name, makes the rows' key."""
    before = one(tmp_path, "sites: [{name: Old, id: shop, url: https://shop.example/}]")
    after = one(tmp_path, "sites: [{name: New, id: shop, url: https://shop.example/}]")

    assert before.site_id == after.site_id
    assert one(tmp_path, "sites: [{name: shop, url: https://shop.example/}]").site_id == before.site_id


def test_two_spellings_of_one_name_are_one_site(tmp_path: Path) -> None:
    """An editor that writes é as e and an accent does not break a site's history."""
    composed = one(tmp_path, 'sites: [{name: "Caf\\u00e9", url: https://shop.example/}]')
    apart = one(tmp_path, 'sites: [{name: "Cafe\\u0301", url: https://shop.example/}]')

    assert composed.site_id == apart.site_id


def test_anchors_and_merge_keys_work(tmp_path: Path) -> None:
    """Anchors may live under x-…; own keys win, of several mappings the first."""
    found = written(
        tmp_path,
        """
x-base: &base {interval: 5m, retries: 0}
x-tags: &tags [eu]
sites:
  - {<<: *base, name: a, url: https://a.example/, tags: *tags}
  - {<<: [{retries: 2}, *base], name: b, url: https://b.example/, interval: 30s}
""",
    )

    assert [(s.interval_seconds, s.retries, s.tags) for s in found.sites] == [(300.0, 0, ("eu",)), (30.0, 2, ())]


def test_sections_may_stand_empty(tmp_path: Path) -> None:
    """Their last line may have been commented out."""
    found = written(
        tmp_path,
        """
defaults:
hosts:
sites:
  - name: Shop
    url: https://shop.example/
    headers:
    tags:
    auth:
    tls:
    expect:
""",
    )

    assert len(found.sites) == 1


def test_a_host_that_is_exactly_full_is_accepted(tmp_path: Path) -> None:
    """The spacing that is recommended is accepted: 2/1 + 1/12 a second are 480 ms apart, whatever floats make of it."""
    intervals = ["1s", "1s", "12s"]
    sites = [f"  - {{name: s{n}, url: https://shop.example/, interval: {i}}}" for n, i in enumerate(intervals)]
    text = "\n".join(["sites:", *sites, "hosts:", "  shop.example: {spacing: "])

    with pytest.raises(SitesFileError, match="spacing: 480ms"):
        written(tmp_path, text + "481ms}")
    assert len(written(tmp_path, text + "480ms}").sites) == 3


def test_the_sample_file_is_valid() -> None:
    """What `wms up` runs: the two demo pages every 2 s, a few public sites at most once a minute."""
    sites = {site.name: site for site in load_sites(SAMPLE)}

    assert sites["demo healthy"].url == "http://127.0.0.1:18080/healthy"
    assert sites["demo flaky"].url == "http://127.0.0.1:18080/flaky"
    public = [site for site in sites.values() if not site.name.startswith("demo")]
    assert len(public) >= 3
    assert all(site.interval_seconds >= 60 and site.robots == "respect" for site in public)


@pytest.mark.parametrize("name", DOCUMENTS)
def test_the_documents_examples_are_valid(tmp_path: Path, name: str) -> None:
    """Whatever whole file a reader may copy."""
    blocks = re.findall(r"```yaml\n(.*?)```", (ROOT / name).read_text(encoding="utf-8"), re.DOTALL)
    whole = [block for block in blocks if re.search(r"^sites:", block, re.MULTILINE)]

    assert whole
    for block in whole:
        assert written(tmp_path, block).sites


def test_many_sites_are_checked_quickly(tmp_path: Path) -> None:
    """CPU time for each site, every key in use, stays far below what beat can spare."""
    count = 5_000
    path = tmp_path / "sites.yaml"
    path.write_text(
        "sites:\n"
        + "".join(
            f"  - name: Site number {n}\n    url: https://www{n}.example.com/path/{n}?a=1\n    interval: 5m\n"
            f"    headers:\n      Accept: text/html\n    tags: [shop, team-{n % 50}]\n"
            f'    expect:\n      status: [2xx, 301]\n      body_regexp: "order (ok|fine) {n % 200}"\n'
            for n in range(count)
        ),
        encoding="utf-8",
    )

    def seconds(load: Callable[[], Sized]) -> float:
        before = time.process_time()
        assert len(load()) == count
        return time.process_time() - before

    def pyyaml() -> Sized:
        return yaml.load(path.read_text(encoding="utf-8"), yaml.CSafeLoader)["sites"]  # type: ignore[no-any-return]

    # What else the machine does costs CPU time too, by its caches: the best of a few. Half of PyYAML's time is the
    # collector's, which another test may have changed.
    with as_in_a_new_process():
        assert any(seconds(partial(load_sites, path)) <= OF_PYYAML * seconds(pyyaml) for _ in range(4))
