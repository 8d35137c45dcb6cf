"""
``wms run``: beat, probe worker and persist worker in one process, against the services that WMS_* names.

The step between ``wms up`` and the roles apart: the same code as ``celery -A wms_tasks worker`` and its siblings.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

import click

from wms_tasks.errors import UsageError
from wms_tasks.settings import get_settings


@click.command()
@click.option(
    "--sites", "sites_path", type=click.Path(path_type=Path), help="The sites file (default: WMS_SITES or sites.yaml)."
)
def run(sites_path: Path | None) -> None:
    """Run all three roles until INT, TERM or HUP."""
    from wms_tasks.roles.together import run_together
    from wms_tasks.sites.file import load_sites

    if sites_path is not None:
        # Celery reads the settings where it wants; the environment is the one place that all of them see.
        os.environ["WMS_SITES"] = str(sites_path)
        get_settings.cache_clear()
    settings = get_settings()
    if settings.aiven_project is not None:
        raise UsageError(
            "WMS_AIVEN_PROJECT: at Aiven no one user may both write and read the topic, as wms run would",
            hint="run the roles apart: docs/howto/aiven.md",
        )
    sites = load_sites(settings.sites)
    click.echo(f"wms: {len(sites)} sites from {settings.sites}; Ctrl-C stops", err=True)
    sys.exit(run_together(settings))
