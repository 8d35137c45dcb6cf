"""WMS_CANARIES: what may be written, and one line where it is wrong."""

from __future__ import annotations

import pytest

from wms_tasks.canaries import Canary, parse_canaries
from wms_tasks.errors import SettingsError
from wms_tasks.settings import load_settings


@pytest.mark.parametrize(
    ("text", "canaries"),
    [
        ("", ()),
        ("  ", ()),
        ("off", ()),
        ("https://a.example, http://b.example/x", (Canary("a.example", 443), Canary("b.example", 80))),
        ("192.0.2.1:53,[2001:db8::1]:443,", (Canary("192.0.2.1", 53), Canary("2001:db8::1", 443))),
        ("https://A.example:8443,a.example:8443,b.example:1", (Canary("a.example", 8443), Canary("b.example", 1))),
    ],
)
def test_what_may_be_written(text: str, canaries: tuple[Canary, ...]) -> None:
    """Urls and host:port; the same one twice is one."""
    assert parse_canaries(text) == canaries


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("https://a.example", "at least 2 different hosts"),
        ("a.example:1,a.example:2", "at least 2 different hosts"),
        ("off,a.example:1", "'off' is neither a url nor host:port"),
        ("a.example,b.example:1", "'a.example' is neither"),
        ("a.example:0,b.example:1", "'a.example:0' is neither"),
        ("a.example:99999,b.example:1", "'a.example:99999' is neither"),
        ("ftp://a.example,b.example:1", "'ftp://a.example' is neither"),
        ("http://[::1,b.example:1", "'http://[::1' is neither"),
        ("https://me:hush@a.example,b.example:1", "holds a user or password"),
        (",".join(f"{n}.example:1" for n in range(11)), "11 canaries, at most 10"),
    ],
)
def test_what_may_not(text: str, words: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Said at the start of the process, under the variable's name, in one line without a password."""
    monkeypatch.setenv("WMS_CANARIES", text)
    with pytest.raises(SettingsError) as caught:
        load_settings()
    line = str(caught.value)
    assert line.startswith("WMS_CANARIES: ")
    assert words in line
    assert "hush" not in line
    assert "\n" not in line
