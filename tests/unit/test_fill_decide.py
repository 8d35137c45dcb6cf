"""The decisions of a slot: one end, nothing begun too late, waits in steps, retries with what was seen in hand."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from wms_tasks.fill import decide
from wms_tasks.fill.decide import Again, End, Go, Here, TooLate
from wms_tasks.order import ProbeOrder
from wms_tasks.polite.rate import Turn
from wms_tasks.probe.judge import Verdict
from wms_tasks.result import Outcome, Reason, Result
from wms_tasks.sites.record import Site, site_id_for

HERE = Here(location="local", worker="w1")
START = datetime(2026, 11, 1, tzinfo=UTC)


def order(*, seconds: float = 60.0, retries: int = 1, spacing_seconds: float = 1.0) -> ProbeOrder:
    """A slot due at START that expires ``seconds`` later."""
    site = Site(
        site_id=site_id_for("a"),
        name="a",
        url="http://a.example/",
        interval_seconds=seconds,
        retries=retries,
        spacing_seconds=spacing_seconds,
    )
    return ProbeOrder(site=site, scheduled_at=START, due_at=START, expires_at=START + timedelta(seconds=seconds))


def result(of: ProbeOrder, outcome: Outcome = Outcome.DOWN, reason: Reason = Reason.TIMEOUT) -> Result:
    """What an attempt of this order saw."""
    return decide.result_of(of, HERE, Verdict(outcome=outcome, reason=reason), started_at=START)


@dataclass
class World:
    """What a slot meets, drawn by hypothesis; plays the part of work.py and carry.py without I/O."""

    draw: Callable[[st.SearchStrategy[float | bool | None]], float | bool | None]
    now: datetime = START
    messages: int = 0
    probes: int = 0
    longest_countdown: float = 0.0

    def passes(self, at_most_seconds: float) -> None:
        """Time goes on."""
        self.now += timedelta(seconds=self.draw(st.floats(min_value=0.001, max_value=at_most_seconds)))

    def step(self, one: ProbeOrder) -> Again | End | TooLate:
        """One run of the task."""
        begun = decide.begin(one, self.now)
        if begun is not None:
            return begun
        if self.draw(st.integers(0, 9)) == 0:
            return decide.politeness_away(one, self.now)
        turn = decide.turn_in_hand(one, self.now)
        if turn is None:
            latest = decide.latest_turn_seconds(one, self.now)
            wanted = self.draw(st.one_of(st.just(0.0), st.floats(min_value=0, max_value=200)))
            patience = self.draw(st.sampled_from([0.0, 0.5, 120.0]))
            given_turn = Turn(wait_seconds=wanted if wanted <= latest else None, patience_seconds=patience)
            turn = decide.turn_given(one, self.now, given_turn, HERE, crawl_delay_seconds=patience / 2)
        if not isinstance(turn, Go):
            return turn
        assert self.now < one.expires_at, "probed after the slot had ended"
        self.probes += 1
        self.passes(10)
        return decide.after_attempt(one, result(one), self.now, transient=bool(self.draw(st.booleans())))

    def publish(self, one: ProbeOrder, end: End, retries: int) -> Again | str:
        """Kafka takes it, or not."""
        if self.draw(st.booleans()):
            return "published"
        self.passes(8)
        return decide.after_unpublished(one, end.result, self.now, retries=retries) or "failed"


@given(
    st.data(),
    st.floats(min_value=1.0, max_value=300.0),
    st.integers(min_value=0, max_value=5),
)
def test_a_slot_ends_exactly_once_and_nothing_is_begun_too_late(
    data: st.DataObject, seconds: float, retries: int
) -> None:
    """Whatever politeness, the site and Kafka do: one end; no message for an instant past the slot; steps capped."""
    world = World(draw=data.draw)
    current, ends, task_retries = order(seconds=seconds, retries=retries), [], 0
    while not ends:
        step: Again | End | TooLate | str = world.step(current)
        if isinstance(step, End):
            step = world.publish(current, step, task_retries)
        if not isinstance(step, Again):
            ends.append(step)
            break
        assert world.now + timedelta(seconds=step.countdown_seconds) < current.expires_at
        assert 0 <= step.countdown_seconds <= decide.HOP_SECONDS
        task_retries += step.is_retry
        world.messages += 1
        assert world.messages < 5000
        current = ProbeOrder.from_message(msgspec.json.decode(msgspec.json.encode(step.order.to_message())))
        world.now += timedelta(seconds=step.countdown_seconds)
        world.passes(0.2)
    assert len(ends) == 1
    assert world.probes <= retries + 1


def test_a_turn_that_is_now_goes() -> None:
    """No wait, no message."""
    assert decide.turn_given(order(), START, Turn(wait_seconds=0.0), HERE) == Go()


def test_a_later_turn_is_carried_in_the_message_and_is_no_retry() -> None:
    """The message is sent for that instant, with the turn in it."""
    step = decide.turn_given(order(), START, Turn(wait_seconds=3.0), HERE)
    assert isinstance(step, Again)
    assert (step.countdown_seconds, step.is_retry) == (3.0, False)
    assert step.order.turn_at == START + timedelta(seconds=3)


def test_a_long_wait_hops_and_keeps_its_turn() -> None:
    """Half a minute: ten seconds at a time, for the same instant."""
    one = order()
    step = decide.turn_given(one, START, Turn(wait_seconds=30.0), HERE)
    assert isinstance(step, Again)
    assert step.countdown_seconds == decide.HOP_SECONDS
    second = decide.turn_in_hand(step.order, START + timedelta(seconds=10))
    assert isinstance(second, Again)
    assert second.order.turn_at == START + timedelta(seconds=30)
    assert decide.turn_in_hand(step.order, START + timedelta(seconds=29.99)) == Go()


def test_a_turn_that_was_missed_has_lapsed() -> None:
    """Used late it would come close to the next one: another is taken. A tenth of the spacing is no miss."""
    step = decide.turn_given(order(spacing_seconds=2.0), START, Turn(wait_seconds=3.0), HERE)
    assert isinstance(step, Again)
    assert decide.turn_in_hand(step.order, START + timedelta(seconds=3.15)) == Go()
    assert decide.turn_in_hand(step.order, START + timedelta(seconds=3.25)) is None
    assert decide.lapsed_seconds(step.order, START + timedelta(seconds=3.25)) == pytest.approx(0.25)
    assert [decide.lapsed_seconds(one, START + timedelta(seconds=3.15)) for one in (step.order, order())] == [0.0, 0.0]


def test_a_turn_beyond_the_slot_ends_it_as_rate_limited() -> None:
    """Skipped, and the spacing that did it is named."""
    step = decide.turn_given(order(spacing_seconds=2.5), START, Turn(wait_seconds=None), HERE)
    assert isinstance(step, End)
    assert (step.result.outcome, step.result.reason) == (Outcome.SKIPPED, Reason.RATE_LIMITED)
    assert "2.5 s" in (step.result.detail or "")
    assert step.result.started_at is None


@pytest.mark.parametrize(
    ("patience_seconds", "crawl_delay_seconds", "cause", "words"),
    [
        (0.0, 0.0, "spacing", "its spacing is 2.5 s"),
        (0.0, 2.0, "spacing", "its spacing is 2.5 s"),
        (0.0, 90.0, "crawl_delay", "robots.txt's crawl-delay is 90 s"),
        (130.0, 90.0, "retry_after", "asked for patience until 2026-11-01T00:02:10Z (Retry-After)"),
    ],
)
def test_a_turn_beyond_the_slot_says_what_held_the_host_back(
    patience_seconds: float, crawl_delay_seconds: float, cause: str, words: str
) -> None:
    """Its spacing, robots.txt's crawl-delay where that is longer, or its own wish to be left alone."""
    one, turn = order(spacing_seconds=2.5), Turn(wait_seconds=None, patience_seconds=patience_seconds)
    step = decide.turn_given(one, START, turn, HERE, crawl_delay_seconds=crawl_delay_seconds)
    assert isinstance(step, End)
    assert step.result.reason == Reason.RATE_LIMITED
    assert words in (step.result.detail or "")
    assert decide.held_back_by(one, turn, crawl_delay_seconds) == cause
    assert decide.spacing_seconds(one, crawl_delay_seconds) == max(2.5, crawl_delay_seconds)


def test_a_transient_failure_is_retried_with_what_was_seen() -> None:
    """The retry carries the failed attempt, which counts the next one."""
    one = order()
    step = decide.after_attempt(one, result(one), START, transient=True)
    assert isinstance(step, Again)
    assert step.is_retry
    assert decide.attempt_of(step.order) == 2


def test_the_last_retry_ends_the_slot() -> None:
    """As many attempts as the site's retries and one."""
    one = msgspec.structs.replace(order(), last=result(order()))
    step = decide.after_attempt(one, result(one), START, transient=True)
    assert isinstance(step, End)
    assert step.result.attempt == 2


def test_a_retry_that_could_not_begin_is_not_sent() -> None:
    """One second before the end, the retry would be dropped as expired: the result in hand counts."""
    one = order()
    step = decide.after_attempt(one, result(one), START + timedelta(seconds=59), transient=True)
    assert step == End(result=result(one))


@pytest.mark.parametrize("outcome", [Outcome.UP, Outcome.DOWN])
def test_a_final_answer_is_not_retried(outcome: Outcome) -> None:
    """Up, or down for good."""
    one = order(retries=3)
    assert isinstance(decide.after_attempt(one, result(one, outcome), START, transient=False), End)


def test_no_turn_for_the_retry_ends_with_the_attempt_before() -> None:
    """What was seen is worth more than rate_limited."""
    one = msgspec.structs.replace(order(), last=result(order()))
    step = decide.turn_given(one, START, Turn(wait_seconds=None), HERE)
    assert step == End(result=result(order()))


def test_a_retry_for_kafkas_sake_carries_the_result_and_nothing_else() -> None:
    """The next run only publishes."""
    one = order()
    step = decide.after_unpublished(one, result(one), START, retries=0)
    assert isinstance(step, Again)
    assert step.is_retry
    assert decide.begin(step.order, START) == End(result=result(one))


def test_a_slot_that_is_over_is_not_begun() -> None:
    """Nothing was seen: too late. Something was: that is its end."""
    one = order()
    assert decide.begin(one, one.expires_at) == TooLate()
    seen = msgspec.structs.replace(one, last=result(one))
    assert decide.begin(seen, one.expires_at) == End(result=result(one))


def test_an_order_shows_neither_headers_nor_url() -> None:
    """What Flower and logs see of the arguments."""
    one = order()
    secret = msgspec.structs.replace(one, site=msgspec.structs.replace(one.site, headers={"X-Key": "secret"}))
    assert secret.shown() == "('a', '2026-11-01T00:00:00+00:00')"


def test_a_slot_without_a_place_waits_and_ends_once() -> None:
    """It keeps its order while it can still be begun; then what was seen before is its end, else it is missed."""
    waiting = order(seconds=10.0)
    step = decide.no_place(waiting, START)
    assert isinstance(step, Again)
    assert step.order is waiting
    assert not step.is_retry
    assert 1.0 <= step.countdown_seconds <= 5.0
    late = START + timedelta(seconds=9)
    assert decide.no_place(waiting, late) == TooLate(reason=Reason.EXPIRED)
    seen = result(waiting)
    assert decide.no_place(msgspec.structs.replace(waiting, last=seen), late) == End(result=seen)
