"""A check for people: outcome, waterfall, certificate, expectations, evidence. Pure; no secret comes here."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from rich.console import Console, ConsoleOptions, Group, RenderableType, RenderResult
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from wms_tasks.commands.check.hint import hint_for
from wms_tasks.commands.check.report import days_left, robots_word
from wms_tasks.commands.check.run import Checked
from wms_tasks.commands.check.sources import Setting
from wms_tasks.commands.check.waterfall import figure, waterfall
from wms_tasks.commands.columns import instant, printable
from wms_tasks.probe.expectations import Checked as Expectation
from wms_tasks.result import Certificate, Evidence, Outcome, Reason

MAX_WIDTH = 120
STYLES = {Outcome.UP: "green", Outcome.DOWN: "red", Outcome.SKIPPED: "yellow"}
# On a terminal, in plain ASCII, and its style.
_MARKS = {True: ("✓", "ok", "green"), False: ("✗", "NO", "bold red"), None: ("?", "?", "yellow")}
_SOON_DAYS = 30
_NAMES_SHOWN = 8


class _Mark:
    """Whether an expectation passed."""

    def __init__(self, passed: bool | None) -> None:
        self._passed = passed

    def __rich_console__(self, _: Console, options: ConsoleOptions) -> RenderResult:
        mark, ascii_mark, style = _MARKS[self._passed]
        yield Text(ascii_mark if options.ascii_only else mark, style=style)


def picture(checked: Checked, settings: Iterable[Setting] | None = None) -> RenderableType:
    """
    All of it, for up to `MAX_WIDTH` columns.

    Args:
        settings: where each came from, for a table before the outcome.
    """
    parts: list[RenderableType] = []
    if settings is not None:
        parts += [_heading("settings"), _settings(settings), Text()]
    parts += [_outcome(checked), _facts(_about(checked))]
    if hops := checked.hops or (checked.robots_hops if checked.verdict.outcome == Outcome.DOWN else ()):
        parts += [Text(), waterfall(hops, failed=_ended_in_a_phase(checked))]
    if hops and (certificate := checked.certificate) is not None:
        parts += [Text(), _heading("certificate"), _facts(_certificate(certificate, checked))]
    if checked.verdict.expectations:
        parts += [Text(), _heading("expectations"), _expectations(checked.verdict.expectations)]
    if checked.observed.evidence is not None:
        parts += [Text(), _heading("answer"), *_evidence(checked.observed.evidence)]
    return Group(*parts)


def _ended_in_a_phase(checked: Checked) -> bool:
    """Rather than between two hops, or with a whole answer."""
    return checked.verdict.response_time_ms is None and checked.verdict.reason != Reason.TOO_MANY_REDIRECTS


def as_text(console: Console, renderable: RenderableType) -> str:
    """As `console` would show it, in `MAX_WIDTH` columns at most, without blanks at the ends of lines."""
    with console.capture() as captured:
        console.print(renderable, width=min(console.width, MAX_WIDTH))
    return "\n".join(line.rstrip() for line in captured.get().splitlines())


def _heading(name: str) -> Text:
    return Text(name, style="bold")


def _outcome(checked: Checked) -> Text:
    outcome, site = checked.verdict.outcome, checked.site
    name = site.url if checked.enabled is None else site.name
    line = Text(printable(f"{name} is {outcome}"), style=f"bold {STYLES.get(outcome, 'white')}")
    if checked.enabled is False:
        line.append("  (disabled in the file: it is not scheduled)", style="yellow")
    return line


def _facts(facts: Iterable[tuple[str, str | Text]]) -> Padding:
    table = Table.grid(padding=(0, 2, 0, 0))
    table.add_column(style="dim", no_wrap=True)
    table.add_column(overflow="fold")
    for name, value in facts:
        if value:
            table.add_row(name, Text(printable(value)) if isinstance(value, str) else value)
    return Padding(table, (0, 0, 0, 2))


def _about(checked: Checked) -> Iterator[tuple[str, str | Text]]:
    verdict, met = checked.verdict, checked.observed
    if checked.enabled is not None:
        yield "url", checked.site.url
    if verdict.outcome != Outcome.UP or verdict.detail:
        yield "reason", verdict.reason
        yield "detail", verdict.detail or ""
        yield "hint", hint_for(checked) or ""
    yield "status", str(verdict.status_code or "")
    yield "time", "" if verdict.response_time_ms is None else figure(verdict.response_time_ms)
    if met.redirects:
        yield "redirects", f"{met.redirects}, to {checked.final_url}"
    yield "body", _body(checked)
    yield "robots", _robots(checked)


def _body(checked: Checked) -> str:
    met = checked.observed
    if met.body_bytes is None:
        return ""
    wire = "" if met.wire_bytes in {None, met.body_bytes} else f" ({met.wire_bytes:,} on the wire)"
    kind = f", {met.content_type}" if met.content_type else ""
    return f"{met.body_bytes:,} bytes{' read, and it goes on' if checked.truncated else ''}{wire}{kind}"


def _robots(checked: Checked) -> str:
    robots = checked.robots
    if robots is not None and robots.reason == Reason.BLOCKED_ADDRESS:
        return "not asked: its address is blocked"
    if robots is None:
        return "not asked, as the site says" if checked.site.robots == "ignore" else "not asked"
    took = "" if checked.robots_ms is None else f", asked in {figure(checked.robots_ms)}"
    return (robots.detail if robots.outcome is None else robots_word(robots)) + took


def _certificate(certificate: Certificate, checked: Checked) -> Iterator[tuple[str, str | Text]]:
    yield "subject", certificate.subject
    yield "issuer", certificate.issuer
    more = len(certificate.names) - _NAMES_SHOWN
    yield "names", ", ".join(certificate.names[:_NAMES_SHOWN]) + (f" and {more} more" if more > 0 else "")
    ends = [("ends", certificate.expires_at)]
    if certificate.chain_expires_at != certificate.expires_at:
        ends.append(("chain ends", certificate.chain_expires_at))
    for name, until in ends:
        days = days_left(until, checked.checked_at)
        style = "" if days >= _SOON_DAYS else "yellow" if days >= 0 else "bold red"
        words = f"{_days(days)} left" if days >= 0 else f"over for {_days(days_left(checked.checked_at, until))}"
        yield name, Text(f"{instant(until)}, {words}", style=style)


def _days(count: int) -> str:
    return f"{count:,} day{'' if count == 1 else 's'}"


def _expectations(expectations: Iterable[Expectation]) -> Padding:
    table = Table.grid(padding=(0, 2, 0, 0))
    table.add_column(width=2, no_wrap=True)
    for _ in range(3):
        table.add_column(overflow="fold")
    table.add_row("", *(Text(word, style="dim") for word in ("", "expected", "found")))
    for one in expectations:
        cells = (Text(printable(cell)) for cell in (one.name, one.expected, one.found))
        table.add_row(_Mark(one.passed), *cells)
    return Padding(table, (0, 0, 0, 2))


def _evidence(evidence: Evidence) -> Iterator[RenderableType]:
    yield _facts(evidence.headers.items())
    if evidence.body:
        lines = Text("\n".join(map(printable, evidence.body.splitlines())), style="dim")
        yield Padding(lines, (1, 0, 0, 2))


def _settings(settings: Iterable[Setting]) -> Padding:
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim")
    table.add_column("setting", overflow="fold")
    table.add_column("value", overflow="fold")
    table.add_column("from", overflow="fold")
    for one in settings:
        origin = f"{one.layer}: {one.where}" if one.where else one.layer
        cells = (Text(printable(cell)) for cell in (one.setting, one.value, origin))
        table.add_row(*cells)
    return Padding(table, (0, 0, 0, 2))
