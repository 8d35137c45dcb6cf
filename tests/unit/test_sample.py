"""The sample that the package carries is the one at the top of the checkout."""

from __future__ import annotations

from importlib import resources
from pathlib import Path

TOP = Path(__file__).parents[2]


def test_the_packaged_sample_is_the_one_people_see() -> None:
    """`wms up` outside a checkout writes it; both must teach the same."""
    packaged = resources.files("wms_tasks.embedded").joinpath("sites.yaml").read_bytes()
    assert packaged == TOP.joinpath("sites.yaml").read_bytes()
