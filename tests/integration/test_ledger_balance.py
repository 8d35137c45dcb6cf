"""The balance and `wms ledger`: what is expected is accounted for, or the command says what is not and exits 1."""

from __future__ import annotations

import csv
import io
import json
from datetime import UTC, datetime, timedelta

import psycopg
import pytest
from click.testing import CliRunner, Result

from tests.ledgers import a_site, a_word, announced, entries_at
from wms_tasks import clock
from wms_tasks.cli import wms
from wms_tasks.errors import WmsError
from wms_tasks.ledger.close import close_step, note
from wms_tasks.settings import Settings
from wms_tasks.store.balance import Balance, balance, close_day, total
from wms_tasks.store.connect import session

# Yesterday's noon: a whole day that is over, and partitions are made for.
NOON = datetime.combine(clock.utcnow().date() - timedelta(days=1), datetime.min.time(), UTC) + timedelta(hours=12)
START_US = clock.to_microseconds(NOON)
HOUR = timedelta(hours=1)
A, B = a_site("a", interval_seconds=600.0), a_site("b", interval_seconds=300.0)


@pytest.fixture
def store(database_url: str, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """Two sites since yesterday's noon, closed for an hour: all missed."""
    monkeypatch.setenv("WMS_DATABASE_URL", database_url)
    settings = Settings(env="test", database_url=database_url)
    announced(settings, A, B, at_us=START_US)
    note(settings, a_word(START_US, START_US))
    while close_step(settings, NOON + HOUR, {}) is not None:
        pass
    return settings


def change(settings: Settings, statement: str) -> int:
    """Change the rows by hand."""
    with psycopg.connect(settings.database_url) as connection:
        return connection.execute(statement.encode()).rowcount


def balances(settings: Settings, since: datetime = NOON, until: datetime = NOON + 2 * HOUR) -> dict[str, Balance]:
    """By name of site."""
    with session(settings) as connection:
        return {one.site_name: one for one in balance(connection, since, until)}


def some_of_each(settings: Settings) -> None:
    """Of a's six closed slots two are up, one down, one skipped, one came late; two rows are on no slot."""
    ordered = "SELECT scheduled_at FROM wms.results WHERE site_name = 'a' ORDER BY 1 OFFSET {} LIMIT 1"
    for n, outcome in enumerate(("up", "up", "down", "skipped")):
        late = ", missed_reason = reason" if n == 1 else ", reason = 'robots'" if outcome == "skipped" else ""
        slot = ordered.format(n)
        assert (
            change(settings, f"UPDATE wms.results SET outcome = '{outcome}'{late} WHERE scheduled_at = ({slot})") == 1
        )
    copied = (
        "INSERT INTO wms.results (site_id, location, scheduled_at, site_name, due_at, attempt, outcome, reason, worker,"
        " spec_digest, schema_version) SELECT site_id, {}, scheduled_at + {}, site_name, due_at, 1, 'up', 'ok', worker,"
        " spec_digest, 1 FROM wms.results WHERE site_name = 'a' ORDER BY scheduled_at LIMIT 1"
    )
    change(settings, copied.format("location", "interval '1 microsecond'"))
    change(settings, copied.format("'elsewhere'", "interval '0'"))


def test_every_slot_is_counted_once(store: Settings) -> None:
    """Closed ones by outcome and reason, the rest is open; what is on no slot is extra and never expected."""
    some_of_each(store)
    change(store, f"INSERT INTO wms.redeliveries VALUES ('{NOON.date()}', '{A.site_id}', 'local', 7)")
    with session(store) as connection:
        elsewhere, local = (one for one in balance(connection, NOON, NOON + 2 * HOUR) if one.site_name == "a")
    assert (local.expected, local.up, local.down, local.skipped) == (12, 2, 1, 1)
    assert local.accounted == local.expected
    assert local.open >= 6
    assert set(local.missed) == {"scheduler_down"}
    assert local.skipped_for == {"robots": 1}
    assert (local.extra, local.late_replacements, local.redeliveries) == (1, 1, 7)
    assert (elsewhere.location, elsewhere.expected, elsewhere.extra) == ("elsewhere", 0, 1)


@pytest.mark.parametrize("minutes", [1, 7, 10, 59, 60, 61, 119])
def test_any_window_balances(store: Settings, minutes: int) -> None:
    """By arithmetic and by looking, the same slots."""
    some_of_each(store)
    window = balances(store, NOON + timedelta(minutes=3), NOON + timedelta(minutes=3 + minutes))
    assert all(one.accounted == one.expected for one in window.values())
    slots = entries_at([B], START_US)[0].slots
    since, until = START_US + 180_000_000, START_US + (180 + minutes * 60) * 1_000_000
    begun = range(slots.after(slots.at(since - 1)), until, slots.interval_us)
    assert window.get("b", Balance()).expected == len(begun)


def test_a_slot_that_is_closed_and_has_no_row_does_not_balance(store: Settings) -> None:
    """The sum can fail: somebody deleted a row."""
    first = "SELECT min(scheduled_at) FROM wms.results WHERE site_name = 'b'"
    assert change(store, f"DELETE FROM wms.results WHERE site_name = 'b' AND scheduled_at = ({first})") == 1
    found = balances(store)
    assert found["b"].accounted == found["b"].expected - 1
    assert found["a"].accounted == found["a"].expected


def test_a_days_balance_outlives_its_partition(store: Settings) -> None:
    """Kept once or twice, the same; after the drop the command says what it said before."""
    some_of_each(store)
    day = NOON.date()
    midnight = NOON - timedelta(hours=12)
    # The day is over and closed to its end.
    while close_step(store, midnight + timedelta(days=1, hours=1), {}) is not None:
        pass
    before = of_day(store, midnight)
    with session(store) as connection:
        close_day(connection, day)
        assert close_day(connection, day) == total(before)
    change(store, f"DROP TABLE wms.results_p{day:%Y%m%d}")
    assert of_day(store, midnight) == before
    assert {(one.site_name, one.location) for one in before} == {("a", "elsewhere"), ("a", "local"), ("b", "local")}


def of_day(settings: Settings, midnight: datetime) -> list[Balance]:
    """The day's balances."""
    with session(settings) as connection:
        return balance(connection, midnight, midnight + timedelta(days=1))


def run(*arguments: str) -> Result:
    """`wms ledger` for the two hours."""
    window = ["--from", NOON.isoformat(), "--to", (NOON + 2 * HOUR).isoformat()]
    return CliRunner().invoke(wms, ["ledger", *window, *arguments])


def test_the_command_prints_a_line_for_each_site_and_the_total(store: Settings) -> None:
    """Exit 0 where everything is accounted for."""
    some_of_each(store)
    ran = run()
    assert ran.exit_code == 0, ran.output
    lines = [line.split() for line in ran.stdout.splitlines()]
    assert lines[0][:8] == ["site", "location", "expected", "up", "down", "skipped", "missed", "open"]
    assert [line[0] for line in lines[1:]] == ["a", "a", "b", "total"]
    assert lines[-1][1] == str(12 + 24)
    assert lines[-1][-2:] == ["robots", "1"]


def test_the_command_speaks_json_and_csv_of_one_site(store: Settings) -> None:
    """By name, by id; the same numbers."""
    some_of_each(store)
    told = json.loads(run("--site", "b", "--json").stdout)
    (b,) = told["sites"]
    assert json.loads(run("--json").stdout)["total"]["skipped_for"] == {"robots": 1}
    assert "robots=1" in run("--site", "a", "--csv").stdout
    assert (b["site_name"], b["expected"], told["total"]["expected"]) == ("b", 24, 24)
    (row,) = csv.DictReader(io.StringIO(run("--site", str(B.site_id), "--csv").stdout))
    assert row["expected"] == "24"
    assert row["missed"] == str(sum(b["missed"].values()))


def test_the_command_says_what_does_not_balance(store: Settings) -> None:
    """One line, exit 1."""
    change(store, "DELETE FROM wms.results WHERE site_name = 'b'")
    ran = run()
    assert ran.exit_code == 1
    assert isinstance(ran.exception, WmsError)
    assert "b at local expects 24 slots" in str(ran.exception)


@pytest.mark.parametrize(
    "wrong",
    [
        ["--from", "noon"],
        ["--to", "2026-13-01"],
        ["--from", "2030-01-01", "--to", "2029-01-01"],
        ["--json", "--csv"],
        ["--last", "x"],
        ["--site", "nobody"],
    ],
)
def test_wrong_usage_is_one_line(store: Settings, wrong: list[str]) -> None:
    """Exit 2."""
    ran = CliRunner().invoke(wms, ["ledger", *wrong])
    assert isinstance(ran.exception, WmsError)
    assert ran.exception.exit_code == 2
    assert "\n" not in str(ran.exception)
