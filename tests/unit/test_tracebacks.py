"""Celery's copies of tracebacks: the lines are named, the bulk is not copied, another process can read them."""

from __future__ import annotations

import gc
import pickle
import traceback
import tracemalloc
import weakref
from collections.abc import Iterator

import pytest
from billiard import einfo
from celery import Celery
from celery.app import trace
from celery.exceptions import Ignore, Retry

from wms_tasks.roles.tracebacks import thin_out


@pytest.fixture(autouse=True)
def thin() -> Iterator[None]:
    """As in a worker."""
    usual, usual_info = einfo._Frame.Code, trace.ExceptionInfo
    thin_out()
    yield
    einfo._Frame.Code, trace.ExceptionInfo = usual, usual_info


def fail() -> None:
    raise ValueError("what went wrong")


def info_of_a_failure() -> einfo.ExceptionInfo:
    try:
        fail()
    except ValueError:
        return einfo.ExceptionInfo()
    raise AssertionError


def formatted(info: einfo.ExceptionInfo) -> str:
    """As a log shows it."""
    return "".join(traceback.format_tb(info.tb))


def test_every_line_is_named() -> None:
    text = formatted(info_of_a_failure())
    assert "in info_of_a_failure" in text
    assert 'raise ValueError("what went wrong")' in text


def test_another_process_can_read_it() -> None:
    info = info_of_a_failure()
    assert formatted(pickle.loads(pickle.dumps(info))) == formatted(info)


def test_the_bulk_is_not_copied() -> None:
    """billiard's own takes some 100 bytes for each instruction of each function on the way."""
    body = "\n".join(f"    x{n} = {n} + len('')" for n in range(2000))
    names: dict[str, object] = {}
    exec(f"def long():\n    raise ValueError\n{body}\n", names)
    long = names["long"]
    assert callable(long)
    try:
        long()
    except ValueError as error:
        tracemalloc.start()
        einfo.Traceback(error.__traceback__)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    assert peak < 50_000


@pytest.mark.parametrize(
    ("raised", "state", "formatted"), [(Ignore("sent again"), "IGNORED", False), (KeyError("of ours"), "FAILURE", True)]
)
def test_only_what_went_wrong_says_where(raised: Exception, state: str, formatted: bool) -> None:
    """By Celery's own tracer; whoever acknowledges reads the exception in either, in another process too."""
    app = Celery("t", broker="memory://", backend="cache+memory://", set_as_current=False)

    def run() -> None:
        raise raised

    task = app.task(run, name="t.run")
    traced = trace.build_tracer("t.run", task, app=app, eager=True)("an-id", (), {}, {"id": "an-id"})
    assert traced.info.state == state
    info = pickle.loads(pickle.dumps(traced.retval))
    assert isinstance(info, einfo.ExceptionInfo)
    assert type(getattr(info.exception, "exc", info.exception)) is type(raised)
    assert ("in run" in info.traceback) is formatted


@pytest.mark.parametrize("raised", [Ignore("sent again"), Retry("later", exc=ValueError("no answer"), when=1.0)])
def test_nothing_of_a_message_that_goes_back_is_left(raised: Exception) -> None:
    """Celery's tracer has the exception in its frame, and the exception's traceback that frame."""
    app = Celery("t", broker="memory://", backend="cache+memory://", set_as_current=False)

    class Held:
        """What the task has at hand."""

    held: list[weakref.ref[Held]] = []

    def run() -> None:
        mine = Held()
        held.append(weakref.ref(mine))
        raise raised

    tracer = trace.build_tracer("t.run", app.task(run, name="t.run"), app=app)
    gc.disable()
    try:
        traced = tracer("an-id", (), {}, {"id": "an-id", "is_eager": True})
        assert traced.info.state in {"IGNORED", "RETRY"}
        assert held[0]() is None
        assert raised.__traceback__ is None
    finally:
        gc.enable()
