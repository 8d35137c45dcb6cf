"""
``wms up``: everything on this machine. Real Postgres, Valkey and Kafka, then all roles in this process, a live table.

Order is what keeps the promise: services first and from the main thread (their parent-death signal hangs on it), roles
next, and at the end the roles stop before the services do, so that nothing acknowledged is lost.
"""

from __future__ import annotations

import contextlib
import importlib
import os
import signal
import sys
from collections.abc import Iterator
from functools import partial
from importlib import resources
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING

import click

from wms_tasks.commands.output import Output, Unread
from wms_tasks.settings import Settings, get_settings, load_settings

if TYPE_CHECKING:
    from wms_tasks.embedded.process import ServiceProcess
    from wms_tasks.embedded.services import EmbeddedServices
    from wms_tasks.roles.persist import PersistRole

# What the roles run on, and what they import only when they start.
_ROLE_MODULES = (
    "wms_tasks.roles.together",
    "wms_tasks.roles.beat",
    "wms_tasks.schedule.scheduler",
    "wms_tasks.fill.carry",
    "wms_tasks.commands.live",
    "wms_tasks.embedded.demo_site",
)
STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Stopped(BaseException):
    """We are to end while the services are starting; unwinds through every ``finally``."""


def _ignore_signals() -> None:
    for signum in STOP_SIGNALS:
        signal.signal(signum, signal.SIG_IGN)


def _raise_stopped(signum: int, frame: FrameType | None) -> None:  # noqa: ARG001 - the handler's signature
    _ignore_signals()
    raise Stopped


@contextlib.contextmanager
def _stoppable() -> Iterator[None]:
    """INT, TERM and HUP unwind the start; once stopping has begun they are ignored: it ends by itself, and soon."""
    for signum in STOP_SIGNALS:
        signal.signal(signum, _raise_stopped)
    try:
        yield
    except Stopped:
        pass
    finally:
        _ignore_signals()


def _say(console: Output, line: str) -> None:
    """While the services start; a reader of stdout who has left is as good as a signal."""
    try:
        console.print(f"wms: {line}", markup=False)
    except Unread:
        _ignore_signals()
        raise Stopped from None


def _sites_path(chosen: Path | None, settings: Settings) -> Path:
    """The file to run: as named, else the settings', else the sample, which is then put there to be edited."""
    path = chosen or settings.sites
    if chosen is None and not path.exists():
        path.write_bytes(resources.files("wms_tasks.embedded").joinpath("sites.yaml").read_bytes())
        click.echo(f"wms: wrote a sample {path}; edit it while this runs", err=True)
    return path


def _point_at(services: EmbeddedServices, settings: Settings, sites_path: Path, *, log_file: Path | None) -> Settings:
    """
    The settings of this process and its children, on the embedded services.

    Through the environment: it is the one place that Celery, Flower and our own code all look at.
    """
    os.environ.update(
        WMS_BROKER_URL=services.broker_url,
        WMS_KAFKA_BOOTSTRAP_SERVERS=services.kafka_bootstrap_servers,
        WMS_DATABASE_URL=services.database_url,
        WMS_KAFKA_PROPERTIES="{}",
        WMS_MIGRATE="auto",
        WMS_SITES=str(sites_path),
        WMS_METRICS_PORT=str(settings.up_metrics_port if settings.metrics_port is None else settings.metrics_port),
    )
    if log_file is not None:
        os.environ.setdefault("WMS_LOG_FILE", str(log_file))
    get_settings.cache_clear()
    return get_settings()


def _flower(settings: Settings) -> ServiceProcess:
    """Flower, on loopback; a process of its own, since it is a whole web server."""
    from wms_tasks.celery_config import configuration
    from wms_tasks.embedded.flower import environ_for
    from wms_tasks.embedded.process import Program, ServiceProcess

    folder = settings.data_dir.resolve() / "flower"
    folder.mkdir(exist_ok=True)
    argv = (
        *(sys.executable, "-m", "wms_tasks.embedded.flower", "--address=127.0.0.1"),
        *(f"--port={settings.up_flower_port}", "--max_tasks=5000", "--purge_offline_workers=60"),
        f"--db={folder / 'flower'}",
    )
    environ = tuple(environ_for(configuration(settings)).items())
    return ServiceProcess(
        Program(name="Flower", folder=folder, argv=argv, stop_signal=signal.SIGTERM, stop_seconds=3.0, environ=environ)
    )


def _check_own_ports(settings: Settings) -> None:
    from wms_tasks.embedded.ports import Port, check_ports

    health_variable = "WMS_UP_METRICS_PORT" if settings.metrics_port == settings.up_metrics_port else "WMS_METRICS_PORT"
    check_ports(
        (
            Port(number=settings.up_demo_port, wanted_by="the demo site", variable="WMS_UP_DEMO_PORT"),
            Port(number=settings.up_flower_port, wanted_by="Flower", variable="WMS_UP_FLOWER_PORT"),
            Port(number=settings.metrics_port or 0, wanted_by="/healthz and /metrics", variable=health_variable),
        )
    )


def _footer(settings: Settings) -> str:
    return (
        f"Ctrl-C stops · flower http://127.0.0.1:{settings.up_flower_port} · "
        f"metrics http://127.0.0.1:{settings.metrics_port}/metrics · log {settings.data_dir / 'wms.log'} · "
        f"elsewhere: . {settings.data_dir / 'env'} && wms status"
    )


def _import_roles() -> None:
    """Most of a second of this process's time, which the services need anyway to start."""
    for module in _ROLE_MODULES:
        importlib.import_module(module)


def _up(settings: Settings, sites_path: Path, names: list[str], console: Output) -> int:
    """Start in order, run until told to stop, stop in the reverse order; the exit code."""
    from wms_tasks.embedded.services import EmbeddedServices
    from wms_tasks.roles.memory import hold_less

    hold_less()
    with contextlib.ExitStack() as stack:
        services = EmbeddedServices(settings)
        stack.callback(services.stop)
        services.start(partial(_say, console), meanwhile=_import_roles)

        from wms_tasks.commands.live import LiveView, SnapshotSource
        from wms_tasks.embedded.demo_site import DemoSite
        from wms_tasks.publish import publisher
        from wms_tasks.roles.stop import end_worker
        from wms_tasks.roles.together import run_together

        # A log line would tear the live table; where there is none, lines are what is wanted.
        log_file = settings.data_dir / "wms.log" if console.is_terminal else None
        settings = _point_at(services, settings, sites_path, log_file=log_file)
        publisher().begin()
        demo = DemoSite(port=settings.up_demo_port)
        flower = _flower(settings)
        flower.end_leftover()
        _check_own_ports(settings)
        stack.callback(demo.stop)
        demo.start()
        stack.callback(flower.stop)
        unread = partial(end_worker, "nobody reads stdout", exit_code=0)
        view = LiveView(console, footer=_footer(settings), on_unread=unread)
        stack.callback(view.stop)

        def ready(persist: PersistRole) -> None:
            view.start(SnapshotSource(settings, names, persist.stats))
            flower.launch()  # not sooner: nothing waits for it, and its start would make the first row late
            services.prepare_next_start()

        return run_together(settings, on_ready=ready)


@click.command()
@click.option(
    "--sites", "sites_path", type=click.Path(path_type=Path), help="The sites file (default: WMS_SITES or sites.yaml)."
)
def up(sites_path: Path | None) -> None:
    """Start everything on this machine and show it live, until INT, TERM or HUP, or until nobody reads it."""
    from wms_tasks.sites.file import load_sites

    settings = load_settings()
    path = _sites_path(sites_path, settings)
    names = [site.name for site in load_sites(path)]
    console = Output(highlight=False)
    code = 0
    with _stoppable():
        code = _up(settings, path, names, console)
    with contextlib.suppress(Unread):
        console.print(f"wms: stopped; the data stays in {settings.data_dir}", markup=False)
    sys.exit(code)
