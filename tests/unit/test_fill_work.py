"""A run at a slot, from the answer to the result: what was met is told, and evidence only where it was not up."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from wms_tasks import clock
from wms_tasks.fill.bulkhead import Bulkhead
from wms_tasks.fill.decide import Again, End, Here
from wms_tasks.fill.work import Parts, fill
from wms_tasks.net.guard import CLOSED
from wms_tasks.net.hop import Hop
from wms_tasks.net.reasons import Failure
from wms_tasks.order import ProbeOrder
from wms_tasks.probe.judge import judge
from wms_tasks.probe.seen import Seen
from wms_tasks.result import Evidence, Outcome, Phases, Reason, Result
from wms_tasks.sites.record import Site, site_id_for

HOP = Hop(url="http://a.example/", phases=Phases(connect_ms=1.0), address="192.0.2.1", http_version="1.1")
HEADERS = {"server": "x", "set-cookie": "id=1", "content-type": "text/plain"}
KEPT = {"server": "x", "content-type": "text/plain"}


class NoHurry:
    """Turns of which the one in hand will do."""

    def patience_seconds(self, host: str) -> float:
        """None is asked for."""
        return 0.0


def step_of(seen: Seen, **fields: Any) -> Any:
    """What one attempt at a site with these fields comes to, where this was seen."""
    now = clock.utcnow()
    fields = {"robots": "ignore", "retries": 0, **fields}
    site = Site(site_id=site_id_for("a"), name="a", url="http://a.example/", **fields)
    order = ProbeOrder(site=site, scheduled_at=now, due_at=now, turn_at=now, expires_at=now + timedelta(seconds=60))
    parts = Parts(
        here=Here(location="local", worker="w1"),
        turns=NoHurry(),  # type: ignore[arg-type]
        robots=None,  # type: ignore[arg-type]
        bulkhead=Bulkhead(1),
        guard=lambda _: CLOSED,
        tls=lambda site: site.tls,
        probe=lambda *_: seen,
        judge=judge,
        longest_run_seconds=30.0,
    )
    return fill(order, parts)


def result_of(seen: Seen, **fields: Any) -> Result:
    """The slot's end."""
    step = step_of(seen, **fields)
    assert isinstance(step, End)
    return step.result


def test_an_answer_that_is_up_has_what_was_met_and_no_evidence() -> None:
    """Whatever the site keeps of others."""
    seen = Seen(status_code=200, body=b"hello", response_time_ms=5.0, hops=(HOP,), headers=HEADERS, wire_bytes=5)
    result = result_of(seen, evidence="body")
    assert result.outcome == Outcome.UP
    assert (result.address, result.http_version, result.redirects) == ("192.0.2.1", "1.1", 0)
    assert (result.wire_bytes, result.body_bytes, result.content_type) == (5, 5, "text/plain")
    assert result.phases == Phases(connect_ms=1.0)
    assert result.evidence is None


@pytest.mark.parametrize(
    ("keep", "evidence"),
    [("none", None), ("headers", Evidence(headers=KEPT)), ("body", Evidence(headers=KEPT, body="Busy"))],
)
def test_one_that_is_not_has_the_evidence_that_the_site_keeps(keep: str, evidence: Evidence | None) -> None:
    """By default the headers."""
    seen = Seen(status_code=500, body=b"Busy", response_time_ms=5.0, hops=(HOP,), headers=HEADERS)
    result = result_of(seen, evidence=keep)
    assert (result.outcome, result.reason) == (Outcome.DOWN, Reason.STATUS)
    assert result.evidence == evidence
    assert result.address == "192.0.2.1"


def test_the_attempt_before_a_retry_keeps_its_evidence() -> None:
    """It ends the slot where no other attempt can begin."""
    step = step_of(Seen(status_code=503, hops=(HOP,), headers=HEADERS), retries=1)
    assert isinstance(step, Again)
    assert step.order.in_hand is not None
    assert step.order.in_hand.evidence == Evidence(headers=KEPT)


def test_where_nothing_was_sent_nothing_is_told_to_have_begun() -> None:
    """The address that is not open to us was asked nothing."""
    failure = Failure(reason=Reason.BLOCKED_ADDRESS, detail="127.0.0.1 is loopback")
    result = result_of(Seen(failure=failure))
    assert (result.outcome, result.reason, result.started_at) == (Outcome.SKIPPED, Reason.BLOCKED_ADDRESS, None)
    assert (result.phases, result.redirects, result.evidence) == (None, None, None)
