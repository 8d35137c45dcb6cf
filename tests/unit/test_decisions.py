"""The confirmations of docs/decisions/ that a look at the files can give."""

from __future__ import annotations

import ast
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
MODULES = sorted((ROOT / "wms_tasks").rglob("*.py"))
TESTS = sorted((ROOT / "tests").rglob("*.py"))
EVENT = re.compile(r"[a-z_]+\.[a-z_]+")
LOG_METHODS = {"debug", "info", "warning", "error", "critical", "exception"}


def imports(path: Path) -> set[str]:
    """The top-level names of what a module imports."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    found = {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    found |= {node.module or "" for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) and not node.level}
    return {name.partition(".")[0] for name in found}


@pytest.mark.parametrize("refused", ["asyncio", "asyncpg", "aiohttp"])
def test_nothing_is_asyncio(refused: str) -> None:
    """0001 and 0002: the roles are Celery's, and Postgres is spoken to by psycopg."""
    assert [str(path.relative_to(ROOT)) for path in MODULES if refused in imports(path)] == []


def test_migrations_come_in_pairs_of_yoyos_form() -> None:
    """0003: each NNNN.name.sql has its NNNN.name.rollback.sql, and the numbers have no gap."""
    names = {path.name for path in (ROOT / "migrations").glob("*.sql")}
    updates = sorted(name for name in names if not name.endswith(".rollback.sql"))

    assert [int(name[:4]) for name in updates] == list(range(1, len(updates) + 1))
    assert all(re.fullmatch(r"\d{4}\.[a-z0-9-]+\.sql", name) for name in updates)
    assert names == {*updates, *(name.removesuffix(".sql") + ".rollback.sql" for name in updates)}


def test_no_migration_makes_an_enum() -> None:
    """0011: an enum's value cannot be dropped, so a migration that adds one has no rollback."""
    enum = re.compile(r"\bAS\s+ENUM\b|\bALTER\s+TYPE\b", re.IGNORECASE)

    assert [p.name for p in (ROOT / "migrations").glob("*.sql") if enum.search(p.read_text(encoding="utf-8"))] == []


def test_metadata_is_in_setup_cfg() -> None:
    """0015: pyproject.toml says how to build and what ruff does, nothing else."""
    document = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))

    assert set(document) == {"build-system", "tool"}
    assert set(document["tool"]) == {"ruff"}


def test_no_mock_cluster() -> None:
    """0016: librdkafka's mock drops acknowledged data."""
    mock = re.compile(r"(?<!unit)test\." + "mock")
    refuse_it = {"wms_tasks/kafka_properties.py", "tests/unit/test_tls_settings.py"}

    found = {str(p.relative_to(ROOT)) for p in [*MODULES, *TESTS] if mock.search(p.read_text(encoding="utf-8"))}
    assert found == refuse_it


def event_names(path: Path) -> Iterator[tuple[str, ast.expr]]:
    """Where a module logs, and the event that it names there."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if (
            isinstance(node, ast.Call)
            and isinstance(node.func, ast.Attribute)
            and node.func.attr in LOG_METHODS
            and isinstance(node.func.value, ast.Name)
            and node.func.value.id in {"log", "logger", "LOG", "_log", "_LOG"}
        ):
            yield f"{path.relative_to(ROOT)}:{node.lineno}", node.args[0]


def test_event_names_are_constant() -> None:
    """0019: an event is a ``noun.verb`` that can be counted; what varies is in its fields."""
    named = [one for path in MODULES for one in event_names(path)]
    # What is handed on by a name is a constant where it was handed over: see `test_handed_on_events_are_constant`.
    texts = [(where, node) for where, node in named if not isinstance(node, ast.Name)]
    wrong = [
        where
        for where, node in texts
        if not (isinstance(node, ast.Constant) and isinstance(node.value, str) and EVENT.fullmatch(node.value))
    ]

    assert len(texts) > 80
    assert wrong == []


def values_of(node: ast.expr, module: ast.Module) -> list[ast.expr]:
    """What an event may be: of a name, all that the module gives it; of a choice, both."""
    if isinstance(node, ast.IfExp):
        return [*values_of(node.body, module), *values_of(node.orelse, module)]
    if not isinstance(node, ast.Name):
        return [node]
    given = []
    for one in ast.walk(module):
        for to in one.targets if isinstance(one, ast.Assign) else ():
            both = isinstance(to, ast.Tuple) and isinstance(one.value, ast.Tuple)
            pairs = zip(to.elts, one.value.elts, strict=True) if both else [(to, one.value)]
            given += [value for name, value in pairs if isinstance(name, ast.Name) and name.id == node.id]
    assert given, node.id
    return [value for one in given for value in values_of(one, module)]


def test_handed_on_events_are_constant() -> None:
    """0019: of the two places that log under a variable's name, each value is a text where it comes from."""
    named = {path: [node for _, node in event_names(path) if isinstance(node, ast.Name)] for path in MODULES}
    handed_on = {str(path.relative_to(ROOT)): nodes for path, nodes in named.items() if nodes}
    assert set(handed_on) == {"wms_tasks/persist/topic_watch.py", "wms_tasks/store/patience.py"}
    found = []
    for path in MODULES:
        module = ast.parse(path.read_text(encoding="utf-8"))
        # Patience logs what it is told.
        told = [
            one.args[1]
            for one in ast.walk(module)
            if isinstance(one, ast.Call) and ast.unparse(one.func).endswith("patience.pause")
        ]
        own = [] if path.name == "patience.py" else named[path]
        found += [value for node in (*own, *told) for value in values_of(node, module)]
    assert len(found) >= 6
    wrong = [
        ast.unparse(one) for one in found if not (isinstance(one, ast.Constant) and EVENT.fullmatch(str(one.value)))
    ]
    assert wrong == []


def test_one_way_out() -> None:
    """0027: nobody but net/ holds an HTTP client, so that each connection to a site passes the guard."""
    clients = {"requests", "urllib3", "httpx", "aiohttp"}
    outside = [path.relative_to(ROOT / "wms_tasks") for path in MODULES]

    found = {str(path) for path in outside if imports(ROOT / "wms_tasks" / path) & clients and path.parts[0] != "net"}
    # Kafka's jars, from a fixed host; and the errors of aiven-client's client, which asks the operator's url.
    assert found == {"embedded/jars.py", "aiven/api.py"}
    source = (ROOT / "wms_tasks" / "net" / "connection.py").read_text(encoding="utf-8")
    assert source.count("guard.admit(") == source.count(".resolve(") == 1
