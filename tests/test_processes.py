"""We start ourselves without whatever lies in the directory that we are run from."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from recsys_cli.processes import own_command, own_environment

Recsys = Callable[..., "subprocess.CompletedProcess[str]"]
TRAPS = ("secrets", "duckdb", "json", "typing", "signal", "recsys_cli", "numpy", "subprocess", "importlib")


def set_traps(folder: Path) -> None:
    for name in TRAPS:
        trap = f"open({str(folder / 'ran')!r}, 'a').write({name!r})\nraise SystemExit(99)\n"
        (folder / f"{name}.py").write_text(trap)


def test_a_module_of_ours_runs_without_those_of_the_working_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    set_traps(tmp_path)
    monkeypatch.setenv("PYTHONPATH", f".:{tmp_path / 'nothing'}:")
    done = subprocess.run(
        own_command("recsys_cli.database_copy", "no.duckdb", "no.fresh", "spill", "1GB", "1", "", "0"),
        cwd=tmp_path,
        env=own_environment(EXTRA="1"),
        capture_output=True,
        text=True,
        check=False,
    )
    assert not (tmp_path / "ran").exists()
    assert done.returncode == 0 or "no.fresh" in done.stderr, done.stderr
    assert own_environment()["PYTHONPATH"] == str(tmp_path / "nothing")


def test_commands_that_start_processes_are_not_misled(tmp_path: Path, recsys: Recsys) -> None:
    rows = [f"{u},{i},{1_700_000_000 + n}" for n, (u, i) in enumerate((u, i) for u in "abcdefgh" for i in "pqrs")]
    (tmp_path / "orders.csv").write_text("\n".join(["user_id,item_id,ts", *rows]))
    env = {"RECSYS_DB": "shop.duckdb", "RECSYS_ARTIFACTS": "made", "PYTHONSAFEPATH": "1"}
    assert recsys("ingest", "orders.csv", **env).returncode == 0
    set_traps(tmp_path)
    done = recsys("gdpr", "delete", "a", "--yes", **env)
    assert not (tmp_path / "ran").exists()
    assert done.returncode == 0, done.stderr


def test_slow_queries_draw_no_bars_into_the_output() -> None:
    ask = "import duckdb; print(duckdb.execute(\"SELECT current_setting('enable_progress_bar')\").fetchall())"
    command = own_command("recsys_cli.database_copy")
    start = command[command.index("-c") + 1].partition(";")[0]
    assert start == "__file__ = ''"
    done = subprocess.run([sys.executable, "-c", f"{start}; {ask}"], capture_output=True, text=True, check=True)
    assert done.stdout == "[(False,)]\n"
