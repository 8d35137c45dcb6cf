"""Which site is whose, and how a shard is written."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wms_tasks.errors import SettingsError
from wms_tasks.settings import Settings, load_settings
from wms_tasks.shard import ALL_SITES, Shard
from wms_tasks.sites.record import site_id_for


@given(st.text(), st.integers(1, 40))
def test_each_site_is_in_exactly_one_shard(name: str, count: int) -> None:
    """Whatever their number; where there is one, it has all."""
    site_id = site_id_for(name)
    assert sum(Shard(number, count).has(site_id) for number in range(1, count + 1)) == 1
    assert ALL_SITES.has(site_id)


@pytest.mark.parametrize("count", [2, 3, 4, 10])
def test_shards_are_of_about_one_size(count: int) -> None:
    """Within a tenth, of ten thousand sites."""
    ids = [site_id_for(f"site-{number}") for number in range(10_000)]
    for number in range(1, count + 1):
        assert sum(map(Shard(number, count).has, ids)) == pytest.approx(10_000 / count, rel=0.1)


def test_where_a_site_belongs_never_changes() -> None:
    """A release that counted otherwise would leave sites to nobody while beats are upgraded one by one."""
    found = [next(n for n in range(1, 5) if Shard(n, 4).has(site_id_for(f"site-{i}"))) for i in range(12)]
    assert found == [1, 1, 2, 3, 3, 2, 3, 3, 3, 4, 1, 1]


@pytest.mark.parametrize("text", ["1/1", "2/4", "4/4", "1024/1024", " 2/4 "])
def test_a_shard_is_read_as_it_is_written(text: str) -> None:
    """Counted from 1."""
    assert str(Shard.parse(text)) == text.strip()
    assert Settings(shard=text).shard == text.strip()


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("0/4", "write 2/4 for the second of four"),
        ("2", "write 2/4 for the second of four"),
        ("a/b", "write 2/4 for the second of four"),
        ("-1/4", "write 2/4 for the second of four"),
        ("1/0", "write 2/4 for the second of four"),
        ("1/2/3", "write 2/4 for the second of four"),
        ("5/4", "the last of four is 4/4"),
        ("1/1025", "at most 1024"),
    ],
)
def test_what_is_no_shard_is_one_clear_line(text: str, words: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the variable's name, without its value."""
    monkeypatch.setenv("WMS_SHARD", text)
    with pytest.raises(SettingsError) as refused:
        load_settings()
    (line,) = str(refused.value).splitlines()
    assert line.startswith("WMS_SHARD: ")
    assert words in line


def test_keys_of_one_shard_only_are_as_they_always_were() -> None:
    """Who never heard of shards loses no mark."""
    assert ALL_SITES.key("beat:lease") == "beat:lease"
    assert Shard(2, 4).key("beat:lease") == "beat:lease:2/4"
