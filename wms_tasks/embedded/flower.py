"""
Flower of ``wms up``, run as a program: what ``celery -A wms_tasks flower`` shows, without what Celery's command and our
app bring along for workers.

It looks at Redis and asks the workers; it runs no task, so that a Celery app with nothing but where Redis is will do.
That is 20 MB less. Called by commands/up.py, which writes the configuration, in the process before.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping
from typing import Any

CONFIGURATION = "WMS_UP_FLOWER_CELERY"

# How Redis is reached, by Celery's names. kombu's own transport is enough for who acknowledges nothing.
_TAKEN = ("broker_", "result_", "redis_", "accept_content", "timezone", "enable_utc")
_NOT_TAKEN = frozenset({"broker_transport"})


def environ_for(configuration: Mapping[str, Any]) -> dict[str, str]:
    """The variables that this program needs beside Flower's own, from Celery's configuration on our settings."""
    taken = {name: value for name, value in configuration.items() if name.startswith(_TAKEN) and name not in _NOT_TAKEN}
    return {CONFIGURATION: json.dumps(taken)}


def main() -> None:
    """Run Flower with the command line's options, until a signal."""
    import click
    from celery import Celery
    from celery.bin.base import CLIContext
    from flower.command import flower

    app = Celery("wms")
    app.conf.update(json.loads(os.environ[CONFIGURATION]))
    # Flower looks at the options of the command above it for those that were meant for Celery.
    above = click.Group("celery", commands={"flower": flower})
    above.main(["flower", *sys.argv[1:]], obj=CLIContext(app=app, no_color=True, workdir=None))


if __name__ == "__main__":
    main()
