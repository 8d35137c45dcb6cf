"""
Celery's copies of tracebacks without the columns of every instruction. ``thin_out`` is called for each worker.

Whenever a task ends by an exception (a turn that is waited for, a retry, a stop), Celery copies its traceback for
another process to read; twice where it is ignored. Each copy lists four numbers for every instruction of every function
on the way, Celery's own included: 0.5 MB, and 1.2 of 1.8 ms of CPU for a message that goes back to wait for its turn.
Bursts of them made a worker's memory grow for good (to 176 MB from 122, with 64 threads; now to 128). Lines are still
named; what is lost are the little arrows below them.

Of a message that was sent again, or that nobody may begin, Celery says ``Ignore``, and formats where that was raised as
well, twice, for nobody: 0.52 of the 0.54 ms of CPU that its tracer takes then. That is left out altogether. Of such a
message and of a retry, the exception stays in the tracer's frame, which the exception's own traceback holds: a circle
with all that the message was, hundreds of objects, for the collector. It is broken here.
"""

from __future__ import annotations

import sys
import types
from collections.abc import Callable, Iterator
from itertools import repeat
from typing import Any

from billiard import einfo
from celery.app import trace
from celery.exceptions import Ignore, Retry

_NOWHERE = (None, None, None, None)


class ThinCode(einfo._Code):  # type: ignore[misc]
    """billiard's copy of a code object, which stands in for one in a traceback; can be pickled."""

    def __init__(self, code: types.CodeType) -> None:
        self.co_filename = code.co_filename
        self.co_name = code.co_name
        self.co_qualname = code.co_qualname
        self.co_firstlineno = code.co_firstlineno
        self.co_argcount = code.co_argcount
        self.co_flags = code.co_flags
        self.co_nlocals = code.co_nlocals
        self.co_stacksize = code.co_stacksize
        self.co_names = code.co_names
        self.co_cellvars = self.co_freevars = self.co_varnames = ()
        self.co_code = self.co_lnotab = b""

    def __reduce__(self) -> tuple[Any, ...]:
        return ThinCode.__new__, (ThinCode,), self.__dict__

    @property
    def co_positions(self) -> Callable[[], Iterator[tuple[None, ...]]]:
        """The traceback module asks for that of one instruction: nobody knows."""
        return lambda: repeat(_NOWHERE)


class OutcomeInfo(einfo.ExceptionInfo):  # type: ignore[misc]
    """billiard's note of an exception; of one that only says what becomes of the message, not where it was raised."""

    def __init__(self, exc_info: Any = None, internal: bool = False) -> None:
        kind, exception, _ = found = exc_info or sys.exc_info()
        if isinstance(exception, Ignore):
            self.type, self.exception, self.internal = kind, exception, internal
            self.tb, self.traceback = None, ""
        else:
            super().__init__(found, internal)
        if isinstance(exception, (Ignore, Retry)):
            # It is read by now. It holds the frame of Celery's tracer, which holds the exception.
            exception.__traceback__ = None


def thin_out() -> None:
    """From now on, in this process and those that it forks."""
    einfo._Frame.Code = ThinCode
    trace.ExceptionInfo = OutcomeInfo
