"""Imports point down, and nothing that is read from disk can execute: both read off the source."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections import defaultdict
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest
from sources import PACKAGE, SOURCES, nodes

# From the top down. A module imports from lower layers and, without circles, from its own.
LAYERS: tuple[frozenset[str], ...] = tuple(
    map(
        frozenset,
        (
            {"__main__"},
            {"cli"},
            {"assistant", "audience", "broker", "demo", "list_export", "shop", "status"},
            {"api", "doctor", "backup", "restore"},
            {"updates"},
            {"gdpr", "publishing", "ingest", "experiments"},
            {"serving", "tuning"},
            {"ranking"},
            {"evaluation"},
            {"models"},
            {"features"},
            {"splitting"},
            {"store", "artifacts"},
            {
                "schema",
                "settings",
                "connections",
                "settings_sources",
                "settings_table",
                "settings_editing",
                "identity",
                "durable_files",
                "state_file",
                "processes",
            }
            | {"supervisor", "progress", "view_durations", "errors", "typed_values", "csv_cells"}
            | {"non_products", "event_types", "database_copy", "quoting", "__init__"},
        ),
    )
)
LEVEL = {part: -depth for depth, parts in enumerate(LAYERS) for part in parts}


def module_of(path: Path) -> list[str]:
    parts = path.relative_to(PACKAGE).with_suffix("").parts
    return ["recsys_cli", *parts]


def imports_of(path: Path) -> Iterator[list[str]]:
    """Dotted names of all that a file imports, also inside functions; what is only for type checkers too."""
    package = module_of(path)[:-1]
    for node in nodes(path):
        if isinstance(node, ast.Import):
            yield from (alias.name.split(".") for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            module = base + (node.module.split(".") if node.module else [])
            yield from ([*module, alias.name] for alias in node.names)


def part_of(module: list[str]) -> str:
    """The part of the package that a module belongs to."""
    part = module[1] if len(module) > 1 else "__init__"
    return "__init__" if part.startswith("__") and part != "__main__" else part


@cache
def graph() -> dict[str, dict[str, Path]]:
    """Part -> the parts it imports, each with a file that does."""
    found: dict[str, dict[str, Path]] = defaultdict(dict)
    for path in SOURCES:
        if path == PACKAGE / "__init__.py":
            continue  # the face: it names what lies above it, and loads it when asked
        for name in imports_of(path):
            source, target = part_of(module_of(path)), part_of(name)
            if name[0] == "recsys_cli" and source != target:
                found[source][target] = path
    return found


def reach(start: str) -> set[str]:
    """All parts that `start` pulls in, directly or not."""
    seen: set[str] = set()
    todo = [start]
    while todo:
        for target in graph().get(todo.pop(), {}):
            if target not in seen:
                seen.add(target)
                todo.append(target)
    return seen


def test_every_part_has_its_layer() -> None:
    parts = {part_of(module_of(path)) for path in SOURCES}
    assert parts - set(LEVEL) == set(), "place new parts in LAYERS, and in the README's picture"


def test_imports_point_down() -> None:
    upward = [
        f"{path.relative_to(PACKAGE)} imports {target}"
        for source, targets in graph().items()
        for target, path in targets.items()
        if LEVEL[target] > LEVEL[source]
    ]
    assert upward == []


def test_there_is_no_circle() -> None:
    assert [part for part in graph() if part in reach(part)] == []


@pytest.mark.parametrize("part", ["serving", "api"])
def test_the_server_never_reaches_the_store(part: str) -> None:
    assert "store" not in reach(part)


def test_store_and_artifacts_do_not_know_each_other() -> None:
    assert "artifacts" not in reach("store")
    assert "store" not in reach("artifacts")


def test_the_server_loads_no_database() -> None:
    """Not by a detour either: a process that has DuckDB loaded is one mistake away from holding its lock."""
    code = "import sys, recsys_cli.api.asgi, recsys_cli.serving.engine; print('duckdb' in sys.modules)"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout == "False\n"


def test_status_loads_nothing_that_erases_or_publishes() -> None:
    """It is asked every minute, by cron and by eyes."""
    code = "import sys, recsys_cli.status; print([m for m in sys.modules if 'gdpr' in m or 'updates' in m])"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout == f"{[f'recsys_cli.gdpr{part}' for part in ('', '.records', '.records.journal')]}\n"


def test_copying_a_database_loads_little_else() -> None:
    """Every erasure starts a process for it, which took longer to load the store than to copy."""
    code = "import sys, recsys_cli.database_copy; print({'pyarrow', 'recsys_cli.store'} & {*sys.modules})"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout == "set()\n"


EXECUTES = {"pickle", "cPickle", "_pickle", "joblib", "dill", "cloudpickle", "marshal", "shelve", "jsonpickle"}
PHONES = {"requests", "httpx", "aiohttp", "urllib3", "ftplib", "smtplib", "telnetlib", "pika", "mcp"}
# Where the shop has named what may be connected to; see `connections`.
NAMED = {
    "http.client": ["assistant/ways.py"],
    "httpx": ["api/product_service.py"],
    "mcp": ["assistant/tools.py", "assistant/tools.py"],
    "pika": ["broker/topology.py"],
}


def all_nodes(*kinds: type[ast.AST]) -> Iterator[tuple[str, ast.AST]]:
    """Every node of some kinds in every file, with the place to look at."""
    for path in SOURCES:
        shown = path.relative_to(PACKAGE)
        yield from ((f"{shown}:{getattr(n, 'lineno', 0)}", n) for n in nodes(path) if isinstance(n, kinds))


def test_nothing_that_is_loaded_executes() -> None:
    wrong = [str(path) for path in SOURCES if {name[0] for name in imports_of(path)} & EXECUTES]
    for place, node in all_nodes(ast.keyword, ast.Call):
        if isinstance(node, ast.keyword) and node.arg == "allow_pickle" and ast.unparse(node.value) != "False":
            wrong.append(place)
        if isinstance(node, ast.Call):
            called, given = ast.unparse(node.func), {k.arg for k in node.keywords}
            if called in ("eval", "exec", "torch.load", "pd.read_pickle"):
                wrong.append(place)
            if called in ("np.load", "numpy.load") and "allow_pickle" not in given:
                wrong.append(place)
    assert wrong == []


def test_nobody_is_called() -> None:
    wrong: dict[str, list[str]] = defaultdict(list)
    for path in SOURCES:
        for name in imports_of(path):
            far = ".".join(name[:2]) if name[:2] in (["urllib", "request"], ["http", "client"]) else name[0]
            if (far in PHONES or far != name[0]) and name[0] != PACKAGE.name:
                wrong[far].append(str(path.relative_to(PACKAGE)))
    assert wrong == NAMED


def test_no_error_is_swallowed_whole() -> None:
    wrong = []
    for place, node in all_nodes(ast.ExceptHandler):
        if isinstance(node, ast.ExceptHandler):
            caught = ast.unparse(node.type) if node.type else "everything"
            silent = all(isinstance(s, ast.Pass) for s in node.body)
            if caught == "everything" or (silent and caught in ("Exception", "BaseException")):
                wrong.append(place)
    assert wrong == []
