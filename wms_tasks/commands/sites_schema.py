"""``wms sites schema``: the sites file's JSON Schema, for editors."""

from __future__ import annotations

import json

import click

from wms_tasks.sites.schema import sites_schema


@click.command(short_help="The sites file's JSON Schema, for editors.")
def schema() -> None:
    """
    Print the JSON Schema (draft 2020-12) of the sites file.

    Editors with yaml-language-server take it from the file's first line: # yaml-language-server: $schema=PATH
    """
    click.echo(json.dumps(sites_schema(), indent=2, ensure_ascii=False))
