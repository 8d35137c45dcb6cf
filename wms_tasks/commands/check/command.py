"""
``wms check URL`` and ``wms check --site NAME``: one probe, with robots.txt asked first, and what came of it. No broker,
no database.

Exit 0 up, 1 down or skipped, 2 wrong usage.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import click
from rich.console import Console

from wms_tasks.commands.check.command_line import block_of
from wms_tasks.commands.check.options import with_options
from wms_tasks.commands.check.picture import as_text, picture
from wms_tasks.commands.check.report import as_json
from wms_tasks.commands.check.run import Checked, Means, run_check
from wms_tasks.commands.check.sources import settings_of
from wms_tasks.commands.check.target import target_of
from wms_tasks.net.agent import user_agent
from wms_tasks.net.guard import Guard
from wms_tasks.probe.secrets import Secrets
from wms_tasks.ranges import items
from wms_tasks.result import Outcome, Reason
from wms_tasks.settings import Settings, load_usable_settings
from wms_tasks.sites.record import Site

# Settings that may be why a check ended as it did.
_BEHIND = {
    Reason.BLOCKED_ADDRESS: ("allow_networks", "allow_ports"),
    Reason.SECRET: ("secrets_dir",),
}


@click.command()
@click.argument("url", required=False)
@click.option("--site", "name", metavar="NAME", help="A site of the sites file, by name or id, instead of URL.")
@click.option("--sites", "file", type=click.Path(path_type=Path), help="Its file or folder.  [WMS_SITES]")
@click.option("--json", "json_wanted", is_flag=True, help="One JSON object on stdout.")
@click.option("--explain", is_flag=True, help="Show where each setting came from.")
@with_options
def check(
    *, url: str | None, name: str | None, file: Path | None, json_wanted: bool, explain: bool, **written: Any
) -> None:
    """
    Probe URL, or a site of the file, once: with no broker or database.

    Options go before what the file says. Exit 0 up, 1 down or skipped, 2 wrong usage.
    """
    target = target_of(block_of(written), url=url, name=name, file=file)
    settings, wrong = load_usable_settings()
    checked = run_check(target.site, _means(settings, target.site), enabled=target.enabled)
    for line in _wrong_settings(wrong, checked):
        click.echo(f"wms: {line}", err=True)
    sources = settings_of(target, settings, os.environ) if explain else None
    if json_wanted:
        click.echo(as_json(checked, sources))
    else:
        console = Console(highlight=False)
        click.echo(as_text(console, picture(checked, sources)), color=console.is_terminal)
    if checked.verdict.outcome is not Outcome.UP:
        sys.exit(1)


def _means(settings: Settings, site: Site) -> Means:
    """What a worker with these settings would have for the site."""
    return Means(
        user_agent=user_agent(settings.user_agent_contact),
        guard=Guard(
            items(settings.allow_networks) + site.allow_networks, items(settings.allow_ports) + site.allow_ports
        ),
        secrets=Secrets(os.environ, settings.secrets_dir),
    )


def _wrong_settings(wrong: Mapping[str, str], checked: Checked) -> Iterator[str]:
    """Those that were needed; the others are no matter of a check."""
    for name in ("user_agent_contact", *_BEHIND.get(checked.verdict.reason, ())):
        if name in wrong:
            yield wrong[name]
