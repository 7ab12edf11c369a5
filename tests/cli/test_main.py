"""The command as the shell runs it: exit codes, sentences, pipes, Ctrl-C, turns and modes."""

from __future__ import annotations

import json
import os
import shlex
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from recsys_cli import __version__
from recsys_cli.cli.common import BarProgress, LineProgress, key_values, start
from recsys_cli.errors import UsageError
from recsys_cli.store import Store

Recsys = Callable[..., "subprocess.CompletedProcess[str]"]
COMMAND = [sys.executable, "-m", "recsys_cli"]


def fill(store: Store, types: tuple[str, ...] = ("purchase",)) -> None:
    with store.writing() as con:
        for n, kind in enumerate(types * 20):
            con.execute(
                "INSERT INTO events (user_id, item_id, ts, qty, event_type) VALUES (?, ?, ?, 1, ?)",
                [f"u{n % 5}", f"i{n % 7}", 1_700_000_000 + n, kind],
            )


class TestCalls:
    def test_nothing_said_shows_the_help(self, recsys: Recsys) -> None:
        done = recsys()
        assert done.returncode == 2
        assert "Usage: recsys" in done.stdout + done.stderr

    def test_version(self, recsys: Recsys) -> None:
        done = recsys("--version")
        assert (done.returncode, done.stdout) == (0, f"recsys {__version__}\n")

    @pytest.mark.parametrize(
        ("call", "says"),
        [
            ("nonsense", "recsys: No such command 'nonsense'. Run recsys --help.\n"),
            ("status --nonsense", "recsys: No such option: --nonsense. Run recsys status --help.\n"),
            ("status --db", "recsys: Option '--db' requires an argument. Run recsys status --help.\n"),
            (
                "experiment start x --ab a",
                "recsys: Option '--ab' requires 2 arguments. Run recsys experiment start --help.",
            ),
            ("similar", "recsys: Missing argument 'item'. Run recsys similar --help.\n"),
            ("recommend ''", "recsys: The customer id is empty."),
            ("evaluate --by x", "recsys: --by must be one of time, "),
            ("similar ''", "recsys: The item id is empty."),
            ("train --master local[2]", "recsys: --master and --lake go with --engine spark."),
            ("train --lake there", "recsys: --master and --lake go with --engine spark."),
            ("train --engine spark --master foo", "recsys: 'foo' is not an address of Spark"),
            ("recommend --all --out x.csv --user country=DE", "recsys: --user goes with one customer."),
            ("recommend u1 --out x.csv", "recsys: --out goes with --all."),
        ],
    )
    def test_a_wrong_call_is_one_sentence(self, recsys: Recsys, call: str, says: str) -> None:
        done = recsys(*shlex.split(call))
        assert done.returncode == 2
        assert done.stdout == ""
        assert done.stderr.startswith(says)
        assert done.stderr.count("\n") == 1

    def test_errors_as_json(self, recsys: Recsys) -> None:
        for call in (["status", "--json"], ["status", "--json", "--nonsense"]):
            done = recsys(*call)
            assert done.stdout == ""
            assert set(json.loads(done.stderr)["error"]) == {"code", "message", "hint"}

    def test_each_kind_of_error_has_its_exit_code(self, recsys: Recsys, tmp_path: Path) -> None:
        (tmp_path / "notes.txt").write_text("no database")
        assert recsys("status", RECSYS_TRAIN_SEED="x").returncode == 2
        assert recsys("status").returncode == 4
        assert recsys("train", "--db", "notes.txt").returncode == 4
        (tmp_path / "orders.csv").write_text("user_id,item_id,ts\nu,i,1700000000\n")
        assert recsys("ingest", "orders.csv", "--db", "notes.txt").returncode == 4
        # A lock is for good, so none is put beside what is no database.
        assert not (tmp_path / "notes.txt.lock").exists()
        assert recsys("similar", "x").returncode == 6


@pytest.mark.parametrize(
    ("call", "says"),
    [
        ("recommend 1", "No model has been trained yet"),
        ("similar 1", "No model has been trained yet"),
        ("keys revoke x", "No key is named 'x'"),
    ],
)
def test_where_there_is_nothing_yet(recsys: Recsys, tmp_path: Path, call: str, says: str) -> None:
    done = recsys(*call.split())
    assert done.returncode > 2
    assert says in done.stderr
    assert list(tmp_path.iterdir()) == []


class TestPipes:
    def test_a_reader_that_leaves_is_no_error_of_ours(self, tmp_path: Path) -> None:
        shell = f"{' '.join(COMMAND)} ingest --help | head -c 1; echo ${{PIPESTATUS[0]}} >&2"
        done = subprocess.run(["bash", "-c", shell], cwd=tmp_path, capture_output=True, text=True, check=True)
        assert "Traceback" not in done.stderr
        assert "Exception" not in done.stderr

    @pytest.mark.parametrize("call", ["status", "status --json", "--version", "ingest --help"])
    def test_output_that_cannot_be_written_is_one_sentence(self, store: Store, call: str) -> None:
        fill(store)
        env = {**os.environ, "RECSYS_DB": str(store.path)}
        with Path("/dev/full").open("wb") as full:
            done = subprocess.run([*COMMAND, *call.split()], env=env, stdout=full, stderr=subprocess.PIPE, text=True)
        assert done.returncode == 1
        says = '{"error"' if "--json" in call else "recsys: The output could not be written: No space left on device."
        assert done.stderr.startswith(says)
        assert done.stderr.count("\n") == 1

    def test_results_and_progress_go_their_own_ways(self, recsys: Recsys, tmp_path: Path, store: Store) -> None:
        fill(store)
        done = recsys("train", "--model", "popular", "--json", "--db", str(store.path))
        assert done.returncode == 0, done.stderr
        assert json.loads(done.stdout)["version"] == "v000001"
        assert "Reading events: " in done.stderr

    @pytest.mark.parametrize("locale", ["C", "POSIX", "en_US.ISO-8859-1"])
    def test_under_crons_locale(self, recsys: Recsys, store: Store, locale: str) -> None:
        fill(store, ("purchase", "Kauf ✓ für später"))
        done = recsys("status", "--db", str(store.path), LC_ALL=locale, LANG=locale)
        assert done.returncode == 0, done.stderr

    def test_data_is_not_markup(self, recsys: Recsys, store: Store) -> None:
        fill(store, ("purchase", "[/red]", "[bold]x"))
        done = recsys("status", "--db", str(store.path))
        assert done.returncode == 0, done.stderr
        assert "[/red] 20" in done.stdout
        assert "[bold]x 20" in done.stdout


class TestTurns:
    def wait(self, store: Store, timeout: str) -> subprocess.Popen[str]:
        env = {**os.environ, "RECSYS_STORE_LOCK_TIMEOUT": timeout}
        command = [*COMMAND, "train", "--model", "popular", "--db", str(store.path)]
        return subprocess.Popen(command, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    def test_it_says_for_whom_it_waits_and_then_goes_on(self, store: Store) -> None:
        fill(store)
        with store.lock():
            waiting = self.wait(store, "300")
            assert waiting.stderr is not None
            said = waiting.stderr.readline()
        assert said == f"Waiting for process {os.getpid()}, which is using {store.path} …\n"
        assert waiting.wait(120) == 0
        waiting.communicate()

    def test_it_gives_up_in_time(self, store: Store) -> None:
        fill(store)
        with store.lock():
            _, said = self.wait(store, "0.2").communicate(timeout=120)
        assert said.splitlines()[-1].startswith(f"recsys: The database {store.path} is in use by process {os.getpid()}")

    def test_ctrl_c_ends_it_with_a_sentence(self, store: Store) -> None:
        fill(store)
        with store.lock():
            waiting = self.wait(store, "300")
            assert waiting.stderr is not None
            waiting.stderr.readline()
            waiting.send_signal(signal.SIGINT)
            _, said = waiting.communicate(timeout=120)
        assert waiting.returncode == 130
        assert said == "recsys: interrupted; nothing half done was kept.\n"


def test_ctrl_c_while_the_command_loads_is_no_traceback() -> None:
    pressing = """
import os, signal, sys
class Press:
    def find_spec(self, name, *_):
        if name == "recsys_cli.cli.main":
            os.kill(os.getpid(), signal.SIGINT)
sys.meta_path.insert(0, Press())
from recsys_cli.__main__ import main
main()
"""
    done = subprocess.run([sys.executable, "-c", pressing], capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (-signal.SIGINT, "", "")


def test_ctrl_c_in_the_middle_of_a_file_is_no_fault_of_the_file(tmp_path: Path) -> None:
    """DuckDB, stopped in a statement, raises errors of its own."""
    rows = [f"u{n % 999},i{n % 77},{1_700_000_000 + n}" for n in range(300_000)]
    (tmp_path / "events.csv").write_text("\n".join(["user_id,item_id,ts", *rows]))
    codes = []
    for wait in (0.0, 0.1, 0.3, 0.5, 0.8):
        command = [*COMMAND, "ingest", "events.csv", "--db", f"{wait}.duckdb"]
        taking = subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        assert taking.stderr is not None
        assert "events, CSV" in taking.stderr.readline()
        time.sleep(wait)
        taking.send_signal(signal.SIGINT)
        _, said = taking.communicate(timeout=120)
        codes.append(taking.returncode)
        if taking.returncode:
            assert said.splitlines()[-1] == "recsys: interrupted; nothing half done was kept."
            assert "Traceback" not in said
    assert set(codes) <= {0, 130}
    assert 130 in codes


@pytest.mark.parametrize(
    ("words", "says"), [(["tune"], "the trials so far are kept"), (["gdpr", "delete", "ann"], "recsys gdpr resume")]
)
def test_ctrl_c_says_what_is_kept(store: Store, words: list[str], says: str) -> None:
    fill(store)
    with store.lock():
        command = [*COMMAND, *words, "--db", str(store.path), *(["--yes"] if "gdpr" in words else [])]
        waiting = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, cwd=store.path.parent)
        assert waiting.stderr is not None
        assert "Waiting for process" in waiting.stderr.readline()
        waiting.send_signal(signal.SIGINT)
        _, said = waiting.communicate(timeout=120)
    assert waiting.returncode == 130
    assert says in said


def test_what_commands_make_is_private(recsys: Recsys, tmp_path: Path) -> None:
    rows = [f"u{n % 9},i{n % 7},{1_700_000_000 + n * 90_000}" for n in range(200)]
    (tmp_path / "events.csv").write_text("\n".join(["user_id,item_id,ts", *rows]))
    assert recsys("ingest", "events.csv", "--db", "state/shop.duckdb").returncode == 0
    trained = recsys("train", "--model", "popular", "--db", "state/shop.duckdb", "--artifacts", "state/models")
    assert trained.returncode == 0, trained.stderr
    made = [tmp_path / "state", *(tmp_path / "state").rglob("*")]
    assert len(made) > 10
    assert [p for p in made if stat.S_IMODE(p.stat().st_mode) & 0o077] == []


class TestKeyValues:
    def test_pairs(self) -> None:
        assert key_values(["a=1", " b = x=y ", "c="]) == {"a": "1", "b": "x=y", "c": ""}

    @pytest.mark.parametrize(
        ("pairs", "says"), [(["a"], "'a' is not KEY=VALUE"), (["=1"], "'=1' is not"), (["a=1", "a=2"], "given twice")]
    )
    def test_no_pairs(self, pairs: list[str], says: str) -> None:
        with pytest.raises(UsageError, match=says):
            key_values(pairs)


class TestOutput:
    def test_json_of_what_results_are_made_of(self, capsys: pytest.CaptureFixture[str]) -> None:
        import numpy as np

        result: dict[str, Any] = {"b": np.float32(0.5), "a": np.array([1, 2]), "p": Path("x"), "n": float("nan")}
        start(None, None, None, True).emit(result, lambda out: out.print("never"))
        assert json.loads(capsys.readouterr().out) == {"a": [1, 2], "b": 0.5, "n": None, "p": "x"}

    def test_rendered_where_no_json_is_asked_for(self, capsys: pytest.CaptureFixture[str]) -> None:
        start(None, None, None).emit({}, lambda out: out.print("drawn"))
        assert capsys.readouterr().out == "drawn\n"

    @pytest.mark.parametrize("kind", [BarProgress, LineProgress])
    def test_progress_survives_data_in_its_texts(self, kind: type, capsys: pytest.CaptureFixture[str]) -> None:
        progress = kind(start(None, None, None).err)
        with progress.stage("Reading [/odd] file", 3) as advance:
            advance(2)
        progress.note("[/note]")
        said = capsys.readouterr().err
        assert "[/odd]" in said
        assert "[/note]" in said

    def test_a_long_stage_tells_now_and_then_how_far_it_is(
        self, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        progress = LineProgress(start(None, None, None).err)

        def says(text: str) -> bool:
            end, said = time.monotonic() + 20, ""
            while text not in said and time.monotonic() < end:
                said += capsys.readouterr().err
                time.sleep(0.01)
            return text in said

        with progress.stage("Fitting", 3) as advance:
            advance(1)
        assert "of 3" not in capsys.readouterr().err  # half a minute is not over
        monkeypatch.setattr(LineProgress, "EVERY", 0.01)
        with progress.stage("Fitting", 3) as advance:
            advance(1)
            assert says("Fitting: 1 of 3, 0 s so far")
        with progress.stage("Reading"):
            assert says("Reading: 0 s so far")


def test_it_starts_quickly(recsys: Recsys) -> None:
    """Twice 0.3 s on an idle box; what is heavy is loaded by the command that needs it.

    Counted in seconds of its own work, of which the machine's other work takes none.
    """
    before = os.times()
    recsys("--version")
    after = os.times()
    assert after.children_user + after.children_system - before.children_user - before.children_system < 5
