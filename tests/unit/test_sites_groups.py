"""Groups: what their sites share, between a site's own keys and the file's defaults."""

from __future__ import annotations

from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from wms_tasks.sites.file import load_file
from wms_tasks.sites.layers import layered
from wms_tasks.sites.record import Site
from wms_tasks.sites.spec import DefaultsSpec


def sites_of(folder: Path, text: str) -> dict[str, Site]:
    """The sites of a file with this text, by name."""
    path = folder / "sites.yaml"
    path.write_text(text, encoding="utf-8")
    return {site.name: site for site in load_file(path).sites}


def test_a_site_before_its_group_before_the_defaults(tmp_path: Path) -> None:
    """Key by key; headers, tls and expect inside too; a list as a whole."""
    sites = sites_of(
        tmp_path,
        """
defaults:
  interval: 5m
  timeout: 9s
  tags: [all]
  headers: {Accept: text/html, X-Who: defaults}
  expect: {status: [200], body_regexp: defaults, slow: 2s}
groups:
  shop:
    interval: 30s
    tags: [shop]
    headers: {x-who: group}
    tls: {server_name: shop.example}
    expect: {body_regexp: group}
  empty:
sites:
  - {name: in, url: 'https://a.example/', group: shop, timeout: 8s, tls: {min_version: "1.3"}, expect: {slow: 1s}}
  - {name: out, url: 'https://b.example/'}
  - {name: first, url: 'https://c.example/', group: shop, tags: [own]}
  - {name: bare, url: 'https://d.example/', group: empty}
""",
    )
    one = sites["in"]
    assert (one.interval_seconds, one.timeout_seconds, one.tags) == (30, 8, ("shop",))
    assert one.headers == {"Accept": "text/html", "x-who": "group"}
    assert (one.tls.server_name, one.tls.min_version) == ("shop.example", "1.3")
    assert (one.expect.status, one.expect.body_regexp, one.expect.slow_seconds) == (("200",), "group", 1)
    assert (sites["out"].interval_seconds, sites["out"].tags, sites["out"].expect.body_regexp) == (
        300,
        ("all",),
        "defaults",
    )
    assert sites["first"].tags == ("own",)


def test_redirects_are_one_thing_written_in_two_ways(tmp_path: Path) -> None:
    """What a group says of them goes before what the defaults say, whichever key each uses."""
    sites = sites_of(
        tmp_path,
        """
defaults: {follow_redirects: false}
groups: {follows: {max_redirects: 3}, plain: {retries: 2}}
sites:
  - {name: a, url: 'https://a.example/', group: follows}
  - {name: b, url: 'https://b.example/', group: plain}
""",
    )
    assert (sites["a"].max_redirects, sites["b"].max_redirects) == (3, 0)


SPECS = st.fixed_dictionaries(
    {},
    optional={
        "interval": st.sampled_from(["10s", "1m"]),
        "retries": st.sampled_from(["0", "3"]),
        "tags": st.sampled_from([[], ["a"], ["b"]]),
        "headers": st.dictionaries(st.sampled_from(["X-A", "x-b"]), st.sampled_from(["1", "2"])),
        "expect": st.fixed_dictionaries({}, optional={"status": st.just(["200"]), "slow": st.just("1s")}),
    },
).map(DefaultsSpec.model_validate)


@given(SPECS, SPECS, SPECS)
def test_layers_can_be_laid_in_any_order(a: DefaultsSpec, b: DefaultsSpec, c: DefaultsSpec) -> None:
    """A site over (its group over the defaults) is (the site over its group) over the defaults."""
    assert layered(layered(a, b), c) == layered(a, layered(b, c))
    assert layered(a, DefaultsSpec()) == a == layered(DefaultsSpec(), a)
    assert layered(a, a) == a
