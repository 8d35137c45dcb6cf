"""The demo site of `wms up`."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import requests
from hypothesis import given
from hypothesis import strategies as st

from wms_tasks.embedded.demo_site import DemoSite, flaky_is_down, page
from wms_tasks.errors import EmbeddedError


@pytest.fixture
def site() -> Iterator[DemoSite]:
    """A running site on a free port."""
    site = DemoSite(port=0)
    site.start()
    yield site
    site.stop()


@pytest.mark.parametrize(
    ("elapsed_seconds", "down"),
    [(0, False), (19.9, False), (20, True), (39.9, True), (40, False), (119.9, False), (139.9, False), (140, True)],
)
def test_flaky_fails_for_20_seconds_of_every_120(elapsed_seconds: float, down: bool) -> None:
    """Up first, down soon, well again."""
    assert flaky_is_down(elapsed_seconds) is down


@given(st.integers(min_value=0, max_value=10_000))
def test_flaky_fails_a_sixth_of_the_time_wherever_one_begins_to_count(start_seconds: int) -> None:
    """Any two minutes hold exactly 20 failing seconds."""
    assert sum(flaky_is_down(start_seconds + n) for n in range(120)) == 20


def test_flaky_says_503_while_it_is_down() -> None:
    """The page follows the function."""
    assert page("/flaky", 25)[0] == 503
    assert page("/flaky?x=1", 45)[0] == 200


def test_pages_over_http(site: DemoSite) -> None:
    """What a probe and a browser see."""
    base = f"http://127.0.0.1:{site.port}"
    with requests.Session() as session:
        healthy = session.get(f"{base}/healthy", timeout=5)
        assert (healthy.status_code, "status: healthy" in healthy.text) == (200, True)
        assert session.get(f"{base}/flaky", timeout=5).status_code == 200
        assert session.get(f"{base}/robots.txt", timeout=5).text == "User-agent: *\nAllow: /\n"
        assert "/healthy" in session.get(base, timeout=5).text
        assert session.get(f"{base}/nothing", timeout=5).status_code == 404
        head = session.head(f"{base}/healthy", timeout=5)
        assert (head.status_code, head.text, head.headers["Content-Length"]) == (200, "", "16")


def test_a_stopped_site_refuses_and_may_start_again(site: DemoSite) -> None:
    """The port is let go of at once."""
    port = site.port
    site.stop()
    with pytest.raises(requests.ConnectionError):
        requests.get(f"http://127.0.0.1:{port}/", timeout=2)
    site.start()
    assert requests.get(f"http://127.0.0.1:{port}/healthy", timeout=5).status_code == 200


def test_a_taken_port_is_one_line_that_names_the_setting(site: DemoSite) -> None:
    """What to do is in the message."""
    with pytest.raises(EmbeddedError, match=rf"^the demo site .*:{site.port}.*WMS_UP_DEMO_PORT"):
        DemoSite(port=site.port).start()
