"""
What a change to the probe worker gains: the CPU time a probe of several trees of it, in alternated rounds.

    git worktree add ../before HEAD~1
    python -m bench.beside ../before .

All run with this tree's Python and packages, each from a queue of its own; the first is what the others are divided by.
"""

from __future__ import annotations

import argparse
import signal
import sys
import tempfile
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from statistics import median

from bench.delay_server import delay_server
from bench.on_worker import PER_SECOND, SECONDS, worker_settings
from bench.probing import Line, line, sites
from bench.services import services
from tests.acceptance.processes import roles

_SITES = 800


def measured(trees: Sequence[Path], rounds: int, per_second: float, folder: Path) -> list[list[float]]:
    """Of each tree its milliseconds of CPU a probe, by round."""
    found: list[list[float]] = [[] for _ in trees]
    with ExitStack() as stack:
        port = stack.enter_context(delay_server())
        valkey, kafka = stack.enter_context(services(folder))
        started = stack.enter_context(roles({}, folder))
        lines: list[Line] = []
        for database, tree in enumerate(trees):
            settings = worker_settings(valkey, kafka, database=database)
            watched = sites(_SITES, f"http://HOST:{port}/page")
            lines.append(stack.enter_context(line(settings, watched, started, tree=tree)))
            lines[-1].warm_up(per_second / 2)
        for number in range(rounds):
            order = range(len(trees)) if number % 2 == 0 else reversed(range(len(trees)))
            for which in order:
                lines[which].results.new()  # the others' of this round
                found[which].append(lines[which].cpu_ms_per_probe(per_second=per_second, seconds=SECONDS))
            print(f"round {number + 1}: " + ", ".join(f"{one[-1]:.2f} ms" for one in found), flush=True)
    return found


def main() -> int:
    """Print the medians and what they are of the first tree's."""
    parser = argparse.ArgumentParser(prog="python -m bench.beside", description=__doc__.split("\n")[1])
    parser.add_argument("trees", nargs="+", type=Path, metavar="TREE", help="A folder with a checkout of this project.")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--per-second", type=float, default=PER_SECOND)
    arguments = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # so that what was started ends too
    trees = [tree.resolve(strict=True) for tree in arguments.trees]
    with tempfile.TemporaryDirectory(prefix="wms-bench-") as name:
        found = measured(trees, arguments.rounds, arguments.per_second, Path(name))
    medians = [median(one) for one in found]
    for tree, middle in zip(trees, medians, strict=True):
        print(f"{middle:.2f} ms of CPU a probe, {middle / medians[0]:.2f} of the first: {tree}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
