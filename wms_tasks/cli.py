"""
The ``wms`` command. Commands load when they are called, so that ``wms --help`` is quick and needs no setting.

Every error a person can mend is one line on stderr; exit 0 fine, 1 it did not work or the site is down, 2 wrong usage.
"""

from __future__ import annotations

import gc
import importlib
import logging
import sys
import traceback

import click

from wms_tasks.errors import WmsError
from wms_tasks.refuse import refuse

# name → (module, attribute, one line for --help); in the order a newcomer meets them.
COMMANDS = {
    "up": ("wms_tasks.commands.up", "up", "Everything on this machine: real services, sample sites, a live table."),
    "run": (
        "wms_tasks.commands.run",
        "run",
        "Beat, probe and persist worker in one process, on your services.",
    ),
    "check": ("wms_tasks.commands.check", "check", "Probe one url or site once, with no broker or database."),
    "sites": ("wms_tasks.commands.sites", "sites", "Sites files: validate, diff, schema, import."),
    "status": ("wms_tasks.commands.status", "status", "What each site is, and since when; worst first."),
    "results": ("wms_tasks.commands.results", "results", "Stored results, newest first."),
    "ledger": ("wms_tasks.commands.ledger", "ledger", "Is every expected slot accounted for; exit 1 if not."),
    "rejects": (
        "wms_tasks.commands.rejects",
        "rejects",
        "What could not be stored: list, show, replay, drop.",
    ),
    "schema": ("wms_tasks.commands.schema", "schema", "The messages' schema: show, register, check."),
    "migrate": ("wms_tasks.commands.migrate", "migrate", "The database schema: up, down, status."),
    "fetch-kafka": (
        "wms_tasks.commands.fetch_kafka",
        "fetch_kafka",
        "Download the jars of Kafka for `wms up` and the tests.",
    ),
}

# These log nothing, and whoever asks should not wait for what formats logs: it takes some 50 ms to load.
WITHOUT_LOG = frozenset({"status", "results", "ledger"})


class LazyGroup(click.Group):
    """A group that imports a command's module only to run it or to show its own help."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's signature
        """The names, in the order of `COMMANDS`."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002 - click's signature
        """The command, imported now."""
        if cmd_name not in COMMANDS:
            return None
        module, attribute, _ = COMMANDS[cmd_name]
        # What is loaded stays: while that is done nobody looks for cycles in it, nor later, nor when Python ends.
        gc.disable()
        command: click.Command = getattr(importlib.import_module(module), attribute)
        gc.freeze()
        gc.enable()
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002
        """The list of commands, without importing any."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, line) for name, (_, _, line) in COMMANDS.items()])


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.option("-v", "--verbose", is_flag=True, help="Show the traceback of an error.")
@click.version_option(package_name="wms-tasks", prog_name="wms")
@click.pass_context
def wms(ctx: click.Context, verbose: bool) -> None:
    """Watch websites; every (site, slot) ends as exactly one row in Postgres."""
    ctx.obj = verbose


def _log_to_stderr(level: int) -> None:
    """Until a role sets up logging for good, a command's own output is stdout, and only trouble is logged."""
    import structlog

    structlog.configure(
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        wrapper_class=structlog.make_filtering_bound_logger(level),
    )


def main() -> None:
    """The console script."""
    verbose = any(argument in {"-v", "--verbose"} for argument in sys.argv[1:])
    command = next((argument for argument in sys.argv[1:] if not argument.startswith("-")), "")
    if command not in WITHOUT_LOG:
        _log_to_stderr(logging.INFO if verbose else logging.WARNING)
    try:
        wms(prog_name="wms")
    except WmsError as error:
        if verbose:
            traceback.print_exc()
        refuse(error)
    except Exception as error:
        if verbose:
            raise
        click.echo(f"wms: unexpected {type(error).__name__}: {error} (wms -v … shows the traceback)", err=True)
        sys.exit(1)


if __name__ == "__main__":
    main()
