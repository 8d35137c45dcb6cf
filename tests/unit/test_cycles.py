"""How often Python looks for cycles in a process that asked for less."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Iterator

import pytest

from wms_tasks.roles.memory import look_less_for_cycles


class Node:
    """An object that can be in a cycle."""

    me: Node


@pytest.fixture(autouse=True)
def collector() -> Iterator[None]:
    """As Python has it, and as it was: a loop of another test may have run in this process."""
    before = gc.get_threshold()
    gc.set_threshold(700, 10, 10)
    yield
    gc.set_threshold(*before)
    gc.unfreeze()


def test_cycles_are_looked_for_less_often_and_still_found() -> None:
    """By the time that as many objects more were made."""
    look_less_for_cycles(20_000)
    assert gc.get_threshold()[0] == 20_000
    assert gc.get_freeze_count() > 0
    node = Node()
    node.me = node
    gone = weakref.ref(node)
    del node
    kept = [[n] for n in range(2 * gc.get_threshold()[0])]
    assert gone() is None
    assert kept


def test_of_two_roles_in_a_process_the_one_counts_that_makes_more() -> None:
    """Whichever asks last."""
    look_less_for_cycles(20_000)
    look_less_for_cycles(10_000)
    assert gc.get_threshold()[0] == 20_000
