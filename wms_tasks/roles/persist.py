"""
The persist role: schema, partitions, then the loop from Kafka to Postgres. Runs in a worker's thread (steps.py).

Needs no Redis: the loop goes on while the worker around it waits for its broker.
"""

from __future__ import annotations

import threading
from functools import partial

from wms_tasks.health import HEALTH
from wms_tasks.persist.loop import PersistLoop, pulse_of
from wms_tasks.persist.stats import PersistStats, State, together
from wms_tasks.ready import READY
from wms_tasks.roles.memory import look_less_for_cycles
from wms_tasks.roles.site_series import serve_site_series
from wms_tasks.roles.thread import RoleThread
from wms_tasks.settings import Settings
from wms_tasks.store.housekeep import make_partitions
from wms_tasks.store.patience import Patience
from wms_tasks.store.schema import prepare_schema

# One write may take half a minute (ANSWER_SECONDS of the sink), and so may the claim before it.
_PULSE_ALLOWED_SECONDS = 90.0
# The loop ends itself within twice its own STOP_SECONDS.
_END_SECONDS = 4.0


class PersistRole:
    """A loop in a thread of its own for each version of the topic; what ends one by itself ends the process."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._stopping = threading.Event()
        self._loops = {pulse_of(one): PersistLoop(one) for one in settings.read_versions}
        self._threads = [
            RoleThread(name, run=partial(self._work, name, loop), ask_to_end=partial(self._ask_to_end, loop))
            for name, loop in self._loops.items()
        ]

    def start(self) -> None:
        """Begin; waits for Postgres and Kafka in its own thread."""
        serve_site_series(self._settings)
        for (pulse, loop), thread in zip(self._loops.items(), self._threads, strict=True):
            HEALTH.expect(pulse, allowed_seconds=_PULSE_ALLOWED_SECONDS)
            READY.expect(pulse, partial(self._waits_for, loop))
            thread.start()

    def stop(self) -> None:
        """End after the batch in hand; idempotent."""
        for pulse in self._loops:
            HEALTH.forget(pulse)
            READY.forget(pulse)
        ending = [threading.Thread(target=thread.end, args=(_END_SECONDS,)) for thread in self._threads]
        for one in ending:
            one.start()
        for one in ending:
            one.join()

    def stats(self) -> PersistStats:
        """The figures of all loops."""
        return together([loop.stats() for loop in self._loops.values()])

    def _waits_for(self, loop: PersistLoop) -> str | None:
        """None while it has partitions, and Postgres for what they hold."""
        state = loop.stats().state
        if state is State.STOPPED:
            return "its end" if self._stopping.is_set() else "Postgres and its schema"
        return None if state is State.RUNNING else state.removeprefix("waiting_for_")

    def _work(self, pulse: str, loop: PersistLoop) -> None:
        # Each does, since none may begin before it is done; all but the first find nothing to do.
        prepare_schema(self._settings, Patience(stopping=self._stopping, alive=partial(HEALTH.did, pulse)))
        make_partitions(self._settings)
        if not self._stopping.is_set():
            look_less_for_cycles()
            loop.run()

    def _ask_to_end(self, loop: PersistLoop) -> None:
        self._stopping.set()
        loop.stop()
