"""
The hops of one fetch, one `Visit` each, and what the last one brought: an `Answer`. Used by fetch.py only.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType

from urllib3.response import BaseHTTPResponse

from wms_tasks.net.adapter import send
from wms_tasks.net.answer import Answer, Cancelled
from wms_tasks.net.connection import Way, close_quietly
from wms_tasks.net.guard import Guard
from wms_tasks.net.hop import Hop, total_ms
from wms_tasks.net.progress import Progress
from wms_tasks.net.reasons import CLIENT_ERRORS, Failure, failure_of, timed_out
from wms_tasks.net.redact import one_line
from wms_tasks.net.redirect import REDIRECTS, BadRedirect, Request, next_request
from wms_tasks.net.watch import Watch
from wms_tasks.result import Reason

_HTTP_VERSIONS = {10: "1.0", 11: "1.1"}


# Of a body, at a time. In one go, http.client keeps an object for each chunk, however small, and urllib3 copies all
# that is left for each member of a gzip.
_PIECE_BYTES = 64 * 1024


def _read(response: BaseHTTPResponse, most_bytes: int) -> bytes:
    """The decoded body, at most that much of it."""
    pieces: list[bytes] = []
    while most_bytes > 0:
        asked = min(most_bytes, _PIECE_BYTES)
        pieces.append(response.read(asked, decode_content=True))
        if len(pieces[-1]) < asked:
            break  # the end
        most_bytes -= asked
    return b"".join(pieces)


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What a fetch may take and reach; ``is_final`` says of a redirect's status code that it is the answer."""

    deadline_seconds: float
    max_body_bytes: int
    max_redirects: int
    is_final: Callable[[int], bool]
    guard: Guard


class Visit:
    """One request, and what came of it."""

    def __init__(self, request: Request, limits: Limits, watch: Watch, progress: Progress) -> None:
        self.request = request
        self._limits = limits
        self._watch = watch
        self._progress = progress
        self._http_version: str | None = None
        self.status_code: int | None = None
        self.headers: Mapping[str, str] = {}
        self.body: bytes | None = None
        self.truncated = False
        self.wire_bytes: int | None = None
        self.failure: Failure | None = None

    def make(self, way: Callable[[], Way]) -> Request | None:
        """
        Ask, and read what comes; the next request, where it is a redirect to follow.

        Raises:
            Cancelled: the watch was ended because the process stops.
        """
        try:
            response = send(self.request, way())
            try:
                return self._take(response)
            finally:
                self._progress.stop()
                close_quietly(response)
        except (BadRedirect, *CLIENT_ERRORS) as error:
            self._progress.stop()
            self.failure = self._why(error)
            return None

    def hop(self) -> Hop:
        """The notes of the way there."""
        return self._progress.hop(
            self.request.bare_url(), status_code=self.status_code, http_version=self._http_version
        )

    def _take(self, response: BaseHTTPResponse) -> Request | None:
        self.status_code = response.status
        self._http_version = _HTTP_VERSIONS.get(response.version)
        # Lines of the same name are one list (RFC 9110, 5.3).
        self.headers = MappingProxyType({name.lower(): value for name, value in response.headers.itermerged()})
        if self.status_code in REDIRECTS and "location" in self.headers and not self._is_final(self.status_code):
            self._progress.all_read()
            return next_request(self.request, self.status_code, self._location(response))
        self._progress.head_read()
        body = _read(response, self._limits.max_body_bytes + 1)  # one byte too many tells that there is more
        self._progress.all_read()
        self.truncated = len(body) > self._limits.max_body_bytes
        self.body = body[: self._limits.max_body_bytes] if self.truncated else body
        self.wire_bytes = response.tell()
        return None

    def _is_final(self, status_code: int) -> bool:
        return self._limits.max_redirects == 0 or self._limits.is_final(status_code)

    def _location(self, response: BaseHTTPResponse) -> str:
        found = set(response.headers.getlist("location"))
        if len(found) > 1:
            raise BadRedirect("several Locations")
        return found.pop()

    def _why(self, error: BaseException) -> Failure:
        if self._watch.cancelled:
            raise Cancelled from error
        if isinstance(error, BadRedirect):
            return Failure(reason=Reason.PROTOCOL, detail=str(error))
        if self._watch.expired:
            return timed_out(self._progress.phase, self._limits.deadline_seconds)
        return failure_of(error, self._progress.phase, deadline_seconds=self._limits.deadline_seconds)


class Journey:
    """From one request to its answer, by way of the redirects between."""

    def __init__(self, limits: Limits, watch: Watch, way: Callable[[Request, Progress], Way]) -> None:
        self._limits = limits
        self._watch = watch
        self._way = way
        self._hops: list[Hop] = []

    def go(self, request: Request) -> Answer:
        """
        Make `request` and follow where it leads.

        Raises:
            Cancelled: the process stops.
        """
        following: Request | None = request
        while following is not None:
            visit, following = self._visit(following)
            if following is not None and len(self._hops) > self._limits.max_redirects:
                return self._too_many(visit, following)
        return self._answer(visit)

    def _visit(self, request: Request) -> tuple[Visit, Request | None]:
        progress = Progress()
        visit = Visit(request, self._limits, self._watch, progress)
        following = visit.make(lambda: self._way(request, progress))
        self._hops.append(visit.hop())
        return visit, following

    def _answer(self, visit: Visit) -> Answer:
        elapsed_ms = None if visit.failure else total_ms(self._hops)
        return Answer(
            url=visit.request.url,
            redirects=len(self._hops) - 1,
            status_code=visit.status_code,
            headers=visit.headers,
            body=visit.body,
            truncated=visit.truncated,
            elapsed_ms=elapsed_ms,
            failure=self._told(visit),
            hops=tuple(self._hops),
            wire_bytes=visit.wire_bytes,
        )

    def _told(self, visit: Visit) -> Failure | None:
        """Its failure; after a redirect, with where it was."""
        failure = visit.failure
        if failure is None or len(self._hops) == 1:
            return failure
        words = f"{failure.detail} (redirected to {visit.request.bare_url()})"
        return replace(failure, detail=one_line(words))

    def _too_many(self, visit: Visit, following: Request) -> Answer:
        detail = f"more than {self._limits.max_redirects}, the last to {following.bare_url()}"
        failure = Failure(reason=Reason.TOO_MANY_REDIRECTS, detail=detail)
        return replace(self._answer(visit), elapsed_ms=None, failure=failure)
