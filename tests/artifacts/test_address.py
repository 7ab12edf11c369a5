"""The link that commands print is that of the server which runs, and of none that has ended."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from recsys_cli.artifacts.address import announce, running_at
from recsys_cli.artifacts.keys import make_owner_key

Recsys = Callable[..., "subprocess.CompletedProcess[str]"]
HOLD = (
    "import sys; from pathlib import Path; from recsys_cli.artifacts.address import announce\n"
    "announce(Path(sys.argv[1]), 'http://127.0.0.1:4711'); print('there', flush=True); sys.stdin.read()"
)


@pytest.fixture
def server(tmp_path: Path) -> Any:
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, tmp_path],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        cwd=Path(__file__).parents[2],
    )
    assert process.stdout is not None
    assert process.stdout.readline() == b"there\n"
    yield process
    process.kill()
    process.communicate()


def test_only_a_running_server_is_named(server: Any, tmp_path: Path, recsys: Recsys) -> None:
    assert running_at(tmp_path) == "http://127.0.0.1:4711"
    announce(tmp_path, "http://127.0.0.1:1")  # another of the same directory
    assert running_at(tmp_path) == "http://127.0.0.1:4711"
    key = make_owner_key(tmp_path)
    said = recsys("keys", "owner", "--artifacts", str(tmp_path))
    assert f"http://127.0.0.1:4711/#key={key}" in said.stderr
    server.kill()
    server.wait()
    assert running_at(tmp_path) == ""
    said = recsys("keys", "owner", "--artifacts", str(tmp_path), RECSYS_SERVE_PORT="4712")
    assert f"http://127.0.0.1:4712/#key={key}" in said.stderr


def test_where_nothing_can_be_written_nothing_happens(tmp_path: Path) -> None:
    announce(tmp_path / "missing", "http://127.0.0.1:1")
    assert running_at(tmp_path / "missing") == ""
