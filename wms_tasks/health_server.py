"""
``/healthz``: 200 while every role's thread of this process has worked lately, else 503; the ages as JSON either way.
``/readyz``: 200 while every role can take work, else 503, and what they wait for.
``/metrics``: what this process's roles count, for Prometheus. `also` adds pages that a role has.

One daemon thread, started by the roles where ``WMS_METRICS_PORT`` is set. Asks no service: see health.py and ready.py.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import msgspec
import structlog

from wms_tasks import metrics
from wms_tasks.errors import WmsError
from wms_tasks.health import HEALTH, Health
from wms_tasks.ready import READY, Readiness
from wms_tasks.settings import Settings, old_names

log = structlog.get_logger()

JSON = "application/json"

# Content type and body.
Page = Callable[[], tuple[str, bytes]]

_more: dict[str, Page] = {}


def also(path: str, page: Page) -> None:
    """Answer that path with that page from now on; `page` is called in the request's own thread, and never raises."""
    _more[path] = page


def answer(health: Health) -> tuple[int, bytes]:
    """Status code and JSON body; no thread at all is not healthy: nothing works yet, or no longer."""
    pulses = health.pulses()
    healthy = bool(pulses) and all(pulse.healthy for pulse in pulses)
    body = {
        "healthy": healthy,
        "threads": {
            pulse.name: {
                "healthy": pulse.healthy,
                "age_seconds": round(pulse.age_seconds, 3),
                "allowed_seconds": pulse.allowed_seconds,
            }
            for pulse in pulses
        },
    }
    return (200 if healthy else 503), msgspec.json.encode(body)


def readiness(health: Health, ready: Readiness) -> tuple[int, bytes]:
    """Status code and JSON body; a role whose thread hangs is not ready, whatever it said last."""
    hang = {pulse.name: "its thread, which hangs" for pulse in health.pulses() if not pulse.healthy}
    waits_for = ready.ask() | hang
    body = {
        "ready": bool(waits_for) and not any(waits_for.values()),
        "roles": {name: {"ready": why is None, "waits_for": why} for name, why in sorted(waits_for.items())},
    }
    return (200 if body["ready"] else 503), msgspec.json.encode(body)


def metrics_page(health: Health, accept: str) -> tuple[int, str, bytes]:
    """Status code, content type and body of /metrics."""
    metrics.THREAD_IDLE.replace(_idle(health))
    try:
        return 200, *metrics.BOARD.page(accept)
    except Exception:
        # A pool's child may be writing its first values; the next scrape has them. A fault of ours is seen as a gap.
        log.exception("metrics.page_failed")
        return 503, JSON, b"{}"


def _idle(health: Health) -> dict[tuple[str, ...], float]:
    """By role: of persist's loops, one for each version of the topic (``persist.v2``), the one that is longest idle."""
    ages: dict[tuple[str, ...], float] = {}
    for pulse in health.pulses():
        role = (pulse.name.partition(".")[0],)
        ages[role] = max(pulse.age_seconds, ages.get(role, 0.0))
    return ages


class _Handler(BaseHTTPRequestHandler):
    """GET and HEAD of /healthz, /readyz, /metrics and what was added."""

    timeout = 5
    server_version = "wms"
    sys_version = ""

    def do_GET(self) -> None:
        """Answer."""
        status_code, content_type, body = self._answer(self.path.partition("?")[0])
        self.send_response(status_code)
        self.send_header("Content-Type", content_type)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    do_HEAD = do_GET  # noqa: N815 - http.server's name

    def _answer(self, path: str) -> tuple[int, str, bytes]:
        if path == "/healthz":
            status_code, body = answer(HEALTH)
            return status_code, JSON, body
        if path == "/readyz":
            status_code, body = readiness(HEALTH, READY)
            return status_code, JSON, body
        if path == "/metrics":
            return metrics_page(HEALTH, self.headers.get("Accept", ""))
        if (page := _more.get(path)) is not None:
            return 200, *page()
        return 404, JSON, b"{}"

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - http.server's name
        """Nothing: a line for each probe of ours would drown the log."""


def serve_health(settings: Settings) -> int | None:
    """
    Serve until the process ends; returns the port, None where none is set.

    Raises:
        WmsError: the port cannot be had.
    """
    for new, old in old_names():
        log.warning("settings.old_name", variable=old, use=new, hint=f"{old} still counts where {new} is not set")
    if settings.metrics_port is None:
        return None
    try:
        server = ThreadingHTTPServer((settings.metrics_host, settings.metrics_port), _Handler)
    except OSError as error:
        place = f"{settings.metrics_host}:{settings.metrics_port}"
        raise WmsError(
            f"/healthz, /readyz and /metrics cannot listen on {place}: {error.strerror}", hint="set WMS_METRICS_PORT"
        ) from error
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, name="healthz", daemon=True).start()
    port = int(server.server_address[1])
    log.info("health.listening", host=settings.metrics_host, port=port)
    return port
