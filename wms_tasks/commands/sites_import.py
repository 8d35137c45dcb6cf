"""
``wms sites import``: a sites file out of blackbox_exporter's modules and Prometheus' targets. Reads files only.
"""

from __future__ import annotations

import glob
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import yaml

from wms_tasks.errors import UsageError
from wms_tasks.importing.blackbox import read_modules
from wms_tasks.importing.prometheus import read_targets
from wms_tasks.importing.sites import Converted, convert
from wms_tasks.importing.text import sites_yaml

MAX_FILE_BYTES = 64 * 1024**2


@click.command(name="import", short_help="A sites file from blackbox_exporter's modules and Prometheus' targets.")
@click.option("--blackbox", type=click.Path(path_type=Path), required=True, help="blackbox_exporter's modules.")
@click.option(
    "--targets",
    type=click.Path(path_type=Path),
    required=True,
    multiple=True,
    help="prometheus.yml, or a file of targets (file_sd, JSON or YAML); may be repeated.",
)
def import_(blackbox: Path, targets: tuple[Path, ...]) -> None:
    """
    Print a sites file made of blackbox_exporter's modules and Prometheus' targets.

    What cannot be carried over is a comment in the file and a line on stderr. Secrets in clear become references;
    stderr names the variables to set, and no value is printed.
    """
    modules = read_modules(_loaded(blackbox), str(blackbox))
    found = [read_targets(_loaded(path), str(path), _discovery(path.parent)) for path in targets]
    converted = convert(modules, [target for one in found for target in one.targets])
    converted.left_out[:0] = [f"{notes.where}: {line}" for one in found for notes in one.notes for line in notes]
    _say(converted)
    click.echo(sites_yaml(converted, sources=[path.name for path in (blackbox, *targets)]), nl=False)
    if not converted.sites:
        raise UsageError("no target is left to make a site of (the lines above say why)")


def _say(converted: Converted) -> None:
    for line in converted.left_out:
        click.echo(line, err=True)
    for name, group in converted.groups.items():
        for line in group.notes:
            click.echo(f"module {name}: {line}", err=True)
    for site in converted.sites:
        for line in site.notes:
            click.echo(f"site {site.keys['name']}: {line}", err=True)


def _discovery(folder: Path) -> Any:
    """The files of a pattern of file_sd_configs, which is relative to prometheus.yml."""

    def files(pattern: str) -> Iterator[tuple[str, Any]]:
        matches = sorted(glob.glob(pattern, root_dir=folder))  # noqa: PTH207 - Path.glob refuses absolute patterns
        if not matches:
            click.echo(f"file_sd_configs: no file is {pattern} (seen from {folder})", err=True)
        for match in matches:
            path = folder / os.fspath(match)
            yield str(path), _loaded(path)

    return files


def _loaded(path: Path) -> Any:
    """
    YAML or JSON.

    Raises:
        UsageError: there is none, or it is none.
    """
    try:
        with path.open("rb") as file:
            data = file.read(MAX_FILE_BYTES)
        return yaml.load(data, Loader=yaml.CSafeLoader)
    except OSError as error:
        raise UsageError(f"{path}: cannot be read: {error.strerror}") from error
    except yaml.MarkedYAMLError as error:
        line = f":{error.problem_mark.line + 1}" if error.problem_mark else ""
        raise UsageError(f"{path}{line}: is neither YAML nor JSON: {error.problem}") from error
    except (yaml.YAMLError, UnicodeDecodeError, ValueError) as error:
        raise UsageError(f"{path}: is neither YAML nor JSON: {str(error).splitlines()[0]}") from error
