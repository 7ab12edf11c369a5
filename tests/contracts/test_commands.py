"""Every command of the program enrols by being registered."""

from __future__ import annotations

import hashlib
import inspect
import json
import os
import re
import shutil
import subprocess
import sys
import typing
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import typer.main

from recsys_cli.artifacts.audit_log import AuditLog
from recsys_cli.cli.main import app, main
from recsys_cli.cli.recording import UNRECORDED
from tests import commands

HEAVY = (
    "faiss",
    "implicit",
    "gensim",
    "lightgbm",
    "optuna",
    "sklearn",
    "pandas",
    "torch",
    "scipy",
    "duckdb",
    "starlette",
    "numpy",
    "pyarrow",
)

# What is given for an argument or option of this name, where "x" would not do.
GIVEN = {"user": "u3", "users": "u3", "item": "i3", "version": "v000001", "first": "v000001", "second": "v000001"}
QUICK = {"--trials": "1", "--timeout": "1", "--models": "popular", "--model": "popular"}
SERVERS = {"serve", "mcp"}  # run until they are stopped; tested under tests/serving and tests/api
LISTING = {"doctor"}  # lists what is wrong with settings among all else that is
NO_STATE = {"demo", "widget"}  # brings its own; needs none


@dataclass(frozen=True)
class Command:
    """One command: the words that call it, and typer's description of it."""

    words: tuple[str, ...]
    described: Any

    @property
    def name(self) -> str:
        return " ".join(self.words)

    @property
    def options(self) -> list[Any]:
        return [p for p in self.described.params if p.param_type_name == "option"]

    def has(self, flag: str) -> bool:
        return any(flag in p.opts for p in self.options)

    def numbers(self) -> list[tuple[str, type]]:
        """Options that take a number."""
        hints = typing.get_type_hints(inspect.unwrap(self.described.callback))
        found = [(p.opts[0], hints.get(p.name)) for p in self.options]
        return [(flag, kind) for flag, hint in found for kind in (int, float) if hint in (kind, kind | None)]

    def call(self, *more: str, given: dict[str, str] | None = None) -> list[str]:
        """A call with something for every argument, that ends by itself."""
        words = list(self.words)
        for p in self.described.params:
            if p.param_type_name == "argument":
                words.append((given or {}).get(p.name, "x"))
            elif p.required:
                words += [p.opts[0], "x"]
        words += [flag for flag in ("--once", "--yes") if self.has(flag)]
        return [*words, *more]


def walk(described: Any, words: tuple[str, ...] = ()) -> Iterator[Command]:
    if hasattr(described, "commands"):
        for name, child in described.commands.items():
            yield from walk(child, (*words, name))
    else:
        yield Command(words, described)


COMMANDS = sorted(walk(typer.main.get_command(app)), key=lambda c: c.name)
ENDING = [c for c in COMMANDS if c.name not in SERVERS]
STATEFUL = [c for c in ENDING if c.name not in NO_STATE]


@dataclass(frozen=True)
class Outcome:
    """How a command ended."""

    call: str
    code: int
    out: str
    err: str

    @property
    def sentence(self) -> str:
        """What it said when it failed: one line for people, after which there is nothing."""
        assert self.code != 0, f"{self.call} succeeded: {self.out}"
        last = self.err.splitlines()[-1] if self.err else ""
        assert last.startswith("recsys: "), f"{self.call} said {self.err!r}"
        assert last[-1] in ".?)", last
        return last.removeprefix("recsys: ")

    @property
    def told(self) -> str:
        """A report (which doctor and verify give and yet end with a code) or a sentence."""
        return self.out or (self.sentence if self.code else self.err)


Run = Callable[..., Outcome]


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Run:
    """Run a command as the shell would, in an empty directory; an error that nobody foresaw fails the test."""
    (tmp_path / "cwd").mkdir()
    monkeypatch.chdir(tmp_path / "cwd")
    # A worker that gives way would leave all later tests of this process last in the queue.
    monkeypatch.setenv("RECSYS_UPDATE_NICE", "0")

    def go(words: list[str]) -> Outcome:
        monkeypatch.setattr(sys, "argv", ["recsys", *words])
        capfd.readouterr()
        try:
            main()
            code: Any = 0
        except SystemExit as e:
            code = e.code
        out, err = capfd.readouterr()
        assert isinstance(code, int)
        assert "Traceback" not in out + err
        return Outcome(" ".join(words), code, out, err)

    return go


def tree() -> dict[str, str]:
    """Every file below the working directory with a hash of its content."""
    return {str(p): hashlib.sha256(p.read_bytes()).hexdigest() if p.is_file() else "" for p in Path().rglob("*")}


def ids(found: Any) -> Any:
    return found.name if isinstance(found, Command) else None


# -- help ---------------------------------------------------------------------------------------------------------

ALL_HELP = """
import contextlib, io, json, sys
from recsys_cli.cli.main import main
helps = {}
for words in json.loads(sys.argv[1]):
    sys.argv, out = ["recsys", *words, "--help"], io.StringIO()
    with contextlib.redirect_stdout(out):
        try:
            main()
        except SystemExit as e:
            helps[" ".join(words)] = [e.code, out.getvalue()]
print(json.dumps([helps, sorted(sys.modules)]))
"""


@pytest.fixture(scope="module")
def helps() -> tuple[dict[str, tuple[int, str]], set[str]]:
    """What every command says to --help, and all that a process has loaded that was asked for all of it."""
    words = json.dumps([[], *(c.words for c in COMMANDS)])
    done = subprocess.run([sys.executable, "-c", ALL_HELP, words], capture_output=True, text=True, check=True)
    said, modules = json.loads(done.stdout)
    return said, set(modules)


def test_help_is_quick(helps: tuple[dict[str, tuple[int, str]], set[str]]) -> None:
    assert [name for name in HEAVY if name in helps[1]] == []


@pytest.mark.parametrize(
    "words", [["-h"], ["train", "-h"], ["help", "train"], ["help"], ["help", "models", "list"], ["gdpr", "help", "log"]]
)
def test_help_can_be_had_in_the_usual_ways(words: list[str], run: Run) -> None:
    done = run(words)
    assert done.code == 0
    named = [w for w in words if w not in ("-h", "help")]
    assert f"Usage: {' '.join(['recsys', *named])}" in done.out


@pytest.mark.parametrize("command", COMMANDS, ids=ids)
class TestHelp:
    def test_is_there(self, command: Command, helps: tuple[dict[str, tuple[int, str]], set[str]]) -> None:
        code, text = helps[0][command.name]
        assert code == 0
        assert command.described.help, "its docstring is its help"
        assert command.described.help.split()[0] in text
        assert "<bool>" not in text

    def test_defaults_are_shown(self, command: Command, helps: tuple[dict[str, tuple[int, str]], set[str]]) -> None:
        text = " ".join(helps[0][command.name][1].replace("│", " ").split())
        named = {d for p in command.options for d in re.findall(r"\[default: [^\]]*\]", p.help or "")}
        assert {d for d in named if d not in text} == set()

    def test_every_option_says_what_it_is_for(self, command: Command) -> None:
        lacking = [p.opts[0] for p in command.options if not p.help and p.name != "help"]
        assert lacking == []

    def test_state_can_be_named(self, command: Command) -> None:
        if command.name not in NO_STATE:
            assert [f for f in ("--db", "--artifacts", "--config") if not command.has(f)] == []

    def test_results_can_be_had_as_json(self, command: Command) -> None:
        if command.name not in SERVERS:
            assert command.has("--json")


# -- what goes wrong ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("command", STATEFUL, ids=ids)
class TestInAnEmptyDirectory:
    def test_it_says_so_and_makes_nothing(self, command: Command, run: Run) -> None:
        done = run(command.call())
        assert done.told
        assert tree() == {}

    def test_as_json_as_well(self, command: Command, run: Run) -> None:
        done = run(command.call("--json"))
        assert tree() == {}
        if done.code and not done.out:
            assert set(json.loads(done.err.splitlines()[-1])["error"]) == {"code", "message", "hint"}
        else:
            json.loads(done.out)


@pytest.mark.parametrize("command", COMMANDS, ids=ids)
class TestBadValues:
    def test_unknown_option(self, command: Command, run: Run) -> None:
        done = run(command.call("--no-such-option"))
        assert done.code == 2
        assert "--no-such-option" in done.sentence
        assert f"Run recsys {command.name} --help." in done.sentence
        assert tree() == {}

    def test_numbers_that_are_none(self, command: Command, run: Run) -> None:
        for flag, _ in command.numbers():
            done = run(command.call(flag, "x"))
            assert done.code == 2
            assert flag in done.sentence
        assert tree() == {}

    def test_settings_that_are_wrong(self, command: Command, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
        if not command.has("--config"):
            return
        assert "There is no settings file none.toml" in run(command.call("--config", "none.toml")).sentence
        monkeypatch.setenv("RECSYS_STORE_THREADS", "many")

        def said() -> str:
            done = run(command.call())
            assert done.code == (1 if command.name in LISTING else 2)
            return " ".join(done.out.split()) if command.name in LISTING else done.sentence

        assert "environment variable RECSYS_STORE_THREADS" in said()
        assert tree() == {}
        Path("recsys.toml").write_text("train.sede = 1\n")
        assert "Did you mean 'train.seed'?" in said()
        assert list(tree()) == ["recsys.toml"]

    def test_state_that_is_none(self, command: Command, run: Run) -> None:
        if command.name not in {c.name for c in STATEFUL}:
            return
        Path("notes.txt").write_text("not a database")
        Path("folder").mkdir()
        before = tree()
        for flag in ("--db", "--artifacts"):
            for value in ("notes.txt", "folder", "", "n" * 300, "notes.txt/below"):
                done = run(command.call(flag, value))
                assert done.told
                if flag == "--db" or value not in ("folder", ""):  # which can be used, the second for this directory
                    made = {name for name in tree() if not name.endswith(".lock")} - set(before)
                    assert {name for name in made if not name.startswith("folder")} == set(), f"{flag} {value}"
        assert tree()["notes.txt"] == before["notes.txt"]

    def test_text_in_a_broken_encoding(self, command: Command, run: Run) -> None:
        if command.name in SERVERS or command.name in NO_STATE:
            return
        words = ["\udcff" if word == "x" else word for word in command.call()]
        done = run(words)
        assert done.told
        assert tree() == {}


# -- in a shop ----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small shop with a model, made by the commands themselves."""
    folder = tmp_path_factory.mktemp("trained")
    lines = [f"u{n % 40},i{(n * 7 + n // 40) % 25},{1_700_000_000 + n * 50_000},{1 + n % 2}" for n in range(800)]
    (folder / "events.csv").write_text("\n".join(["user_id,item_id,ts,qty", *lines]) + "\n")
    lines = [f"i{n},c{n % 4},b{n % 3},{n + 0.5}" for n in range(25)]
    (folder / "items.csv").write_text("\n".join(["item_id,category,brand,price", *lines]) + "\n")
    for call in (["ingest", "events.csv", "items.csv"], ["train", "--model", "popular"]):
        done = commands.run(tuple(call), cwd=folder, env=dict(os.environ), timeout=300)
        assert done.returncode == 0, done.stderr
    return folder


@pytest.fixture
def shop(trained: Path, run: Run) -> Run:
    """The same, with a copy of that shop in the working directory."""
    shutil.copytree(trained, Path(), dirs_exist_ok=True)
    return run


@pytest.mark.parametrize("command", STATEFUL, ids=ids)
class TestInAShop:
    def test_its_result_is_json(self, command: Command, shop: Run) -> None:
        quick = [word for flag, value in QUICK.items() if takes(command, flag) for word in (flag, value)]
        done = shop(command.call("--json", *quick, given=GIVEN | {"files": "events.csv"}))
        if done.code and not done.out:
            assert json.loads(done.err.splitlines()[-1])["error"]["message"]
        else:
            assert isinstance(json.loads(done.out), dict), "a result is one object, to which more can be added later"
        held = [e["action"] for e in AuditLog(Path("model_artifacts")).entries()][2:]  # after ingest and train
        known = command.name not in UNRECORDED
        assert held == [command.name] * known, "what changes anything, or shows whole people, is in the audit log"

    def test_odd_numbers_are_no_accident(self, command: Command, shop: Run) -> None:
        for flag, kind in command.numbers():
            for value in ("-1", "99999999999999999999") if kind is int else ("-1", "nan"):
                if flag in ("--trials", "--timeout") and value != "-1":
                    continue  # as long as one lets it
                done = shop(command.call(flag, value, given=GIVEN | {"files": "events.csv"}))
                assert done.told


def takes(command: Command, flag: str) -> bool:
    """Whether it has this option, and a value goes with it."""
    return any(flag in p.opts and not p.is_flag for p in command.options)
