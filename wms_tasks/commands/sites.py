"""
``wms sites``: look at a sites file before beat does. `validate` needs no setting, no service and no network.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import click

from wms_tasks.commands.local_secrets import local_secrets
from wms_tasks.commands.sites_diff import diff
from wms_tasks.commands.sites_import import import_
from wms_tasks.commands.sites_schema import schema
from wms_tasks.errors import SecretError
from wms_tasks.sites.file import SitesFile, examine
from wms_tasks.sites.problems import Problem
from wms_tasks.sites.wording import shown


@click.group()
def sites() -> None:
    """Sites files: validate, diff, schema, import."""


sites.add_command(diff)
sites.add_command(schema)
sites.add_command(import_)


@sites.command(short_help="Check a sites file: every problem at once.")
@click.argument("file", type=click.Path(path_type=Path), envvar="WMS_SITES", default="sites.yaml")
@click.option("--json", "as_json", is_flag=True, help="One JSON object on stdout, problems included.")
@click.option("--secrets", "with_secrets", is_flag=True, help="Each secret must be here, as on a worker.")
@click.pass_context
def validate(ctx: click.Context, file: Path, as_json: bool, with_secrets: bool) -> None:
    """
    Check FILE (a sites file, or a folder of them; else WMS_SITES or sites.yaml): every problem at once, each as
    file:line: what is wrong (what to do).

    Exit 0: beat would take it. Exit 2: it would keep the old schedule; or a secret may not be sent to its site, as far
    as the secrets are here.
    """
    found, problems = examine(file)
    if found is not None:
        problems = tuple(_secret_problems(found, must_be_here=with_secrets))
        found = None if problems else found
    if as_json:
        click.echo(json.dumps(_report(file, found, problems), ensure_ascii=False))
    elif found is not None:
        click.echo(f"{file}: {_summary(found)}")
    else:
        for problem in problems:
            click.echo(problem.at(file), err=True)
        click.echo(f"{file}: {_count(len(problems), 'problem')}", err=True)
    if found is None:
        ctx.exit(2)


def _secret_problems(found: SitesFile, *, must_be_here: bool) -> Iterator[Problem]:
    """Where secrets are is the worker's affair: unless asked to, only those that are here are looked at."""
    secrets = local_secrets()
    for site in found.sites:
        try:
            (secrets.reveal if must_be_here else secrets.check_hosts)(site)
        except SecretError as error:
            yield Problem(line=0, text=f"site {shown(site.name)}: {error.message}")


def _summary(found: SitesFile) -> str:
    parts = [_count(len(found.sites), "site"), _count(found.hosts, "host"), f"{_rate(found)} probes/s"]
    if found.disabled:
        parts.append(f"{len(found.disabled)} disabled")
    return ", ".join(parts)


def _rate(found: SitesFile) -> str:
    rate = found.probes_per_second
    return f"{rate:.1f}" if rate >= 0.1 or rate == 0 else f"{rate:.2g}"


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def _report(file: Path, found: SitesFile | None, problems: tuple[Problem, ...]) -> dict[str, object]:
    report: dict[str, object] = {"file": str(file), "valid": found is not None}
    if found is not None:
        report |= {
            "sites": len(found.sites),
            "disabled": len(found.disabled),
            "hosts": found.hosts,
            "probes_per_second": round(found.probes_per_second, 6),
        }
    return report | {"problems": [_problem(problem) for problem in problems]}


def _problem(problem: Problem) -> dict[str, object]:
    """Of a file in a folder, with its path."""
    file = {} if problem.path is None else {"file": str(problem.path)}
    return file | {"line": problem.line or None, "problem": problem.text}
