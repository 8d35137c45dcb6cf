"""
A small website on loopback for `wms up`: one page that is well and one that fails now and then, so that up, down and
recovery are seen at once, offline too. Used by commands/up.py.
"""

from __future__ import annotations

import itertools
import sys
import threading
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import structlog

from wms_tasks import clock
from wms_tasks.errors import EmbeddedError

FLAKY_PERIOD_SECONDS = 120.0
FLAKY_DOWN_SECONDS = 20.0
# Up long enough first for some rows, and down soon enough for a first look.
FLAKY_DOWN_AFTER_SECONDS = 20.0
# Answers take between these two, so that response times are worth a look; in steps that repeat only after a while.
LATENCY_MS = (8, 45)
LATENCY_STEP_MS = 17

ROBOTS = "User-agent: *\nAllow: /\n"
INDEX = """<!doctype html><title>The demo site of wms up</title>
<h1>The demo site of <code>wms up</code></h1>
<ul><li><a href="/healthy">/healthy</a> is always well
<li><a href="/flaky">/flaky</a> answers 503 for 20 seconds every two minutes</ul>
"""

log = structlog.get_logger()


def flaky_is_down(elapsed_seconds: float) -> bool:
    """Whether `/flaky` fails, this long after the site's start: 20 s in every 120, the first time after 20."""
    return 0 <= elapsed_seconds % FLAKY_PERIOD_SECONDS - FLAKY_DOWN_AFTER_SECONDS < FLAKY_DOWN_SECONDS


def page(path: str, elapsed_seconds: float) -> tuple[HTTPStatus, str, str]:
    """Status, content type and text of `path`."""
    match path.partition("?")[0]:
        case "/":
            return HTTPStatus.OK, "text/html", INDEX
        case "/healthy":
            return HTTPStatus.OK, "text/plain", "status: healthy\n"
        case "/flaky" if flaky_is_down(elapsed_seconds):
            return HTTPStatus.SERVICE_UNAVAILABLE, "text/plain", "status: failing, on purpose\n"
        case "/flaky":
            return HTTPStatus.OK, "text/plain", "status: healthy\n"
        case "/robots.txt":
            return HTTPStatus.OK, "text/plain", ROBOTS
    return HTTPStatus.NOT_FOUND, "text/plain", "no such page\n"


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False

    def __init__(self, address: tuple[str, int]) -> None:
        super().__init__(address, _Handler)
        self.started = clock.monotonic()
        self.closing = threading.Event()
        low, high = LATENCY_MS
        self.latencies_ms = (low + n * LATENCY_STEP_MS % (high - low) for n in itertools.count())
        self.latency_lock = threading.Lock()

    def pause(self) -> None:
        """As long as this answer takes; cut short by the stop."""
        with self.latency_lock:
            latency_ms = next(self.latencies_ms)
        self.closing.wait(latency_ms / 1000)

    def handle_error(self, request: object, client_address: object) -> None:  # noqa: ARG002 - socketserver's signature
        """A client that went away is no news; anything else is logged."""
        error = sys.exc_info()[1]
        if not isinstance(error, ConnectionError):
            log.error("demo_site.request_failed", exc_info=error)


class _Handler(BaseHTTPRequestHandler):
    server: _Server
    server_version = "wms-demo"
    sys_version = ""

    def do_GET(self) -> None:
        status, content_type, text = page(self.path, clock.monotonic() - self.server.started)
        self.server.pause()
        body = text.encode("utf-8")
        self.send_response(status)
        self.send_header("Content-Type", f"{content_type}; charset=utf-8")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    do_HEAD = do_GET  # noqa: N815 - http.server finds it by this name

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - http.server's signature
        """Nothing: each probe of ours would be a line."""


class DemoSite:
    """The site on 127.0.0.1:`port`; 0 takes a free port, `port` tells which."""

    def __init__(self, *, port: int) -> None:
        self.port = port
        self._server: _Server | None = None

    def start(self) -> None:
        """
        Serve from a thread of its own.

        Raises:
            EmbeddedError: the port cannot be had.
        """
        try:
            self._server = _Server(("127.0.0.1", self.port))
        except OSError as error:
            raise EmbeddedError(
                f"the demo site cannot listen on 127.0.0.1:{self.port}: {error.strerror}",
                hint="WMS_UP_DEMO_PORT changes the port",
            ) from error
        self.port = self._server.server_address[1]
        threading.Thread(target=self._server.serve_forever, args=(0.1,), name="demo-site", daemon=True).start()

    def stop(self) -> None:
        """Stop listening; answers under way are cut short."""
        if self._server is not None:
            self._server.closing.set()
            self._server.shutdown()
            self._server.server_close()
            self._server = None
