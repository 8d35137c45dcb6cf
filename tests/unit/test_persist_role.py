"""What the persist role sets for its whole process."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Iterator

import pytest

from wms_tasks.roles.persist import look_less_for_cycles


class Node:
    """An object that can be in a cycle."""

    me: Node


@pytest.fixture(autouse=True)
def collector() -> Iterator[None]:
    """As it was."""
    before = gc.get_threshold()
    yield
    gc.set_threshold(*before)
    gc.unfreeze()


def test_cycles_are_looked_for_less_often_and_still_found() -> None:
    """By the time that as many objects more were made."""
    look_less_for_cycles()
    assert gc.get_threshold()[0] > 10_000
    assert gc.get_freeze_count() > 0
    node = Node()
    node.me = node
    gone = weakref.ref(node)
    del node
    kept = [[n] for n in range(2 * gc.get_threshold()[0])]
    assert gone() is None
    assert kept
