"""Trainings of the worker have a process of their own and a bound on its memory; what exceeds it changes nothing."""

from __future__ import annotations

import dataclasses
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from recsys_cli.artifacts import Artifacts, SpoolWriter, Version, worker_state
from recsys_cli.errors import MemoryExceeded, NotEnoughData, RecsysError
from recsys_cli.publishing.train import Recipe
from recsys_cli.settings import Settings, UpdateSettings
from recsys_cli.settings_sources import as_values, from_values, load
from recsys_cli.status import status
from recsys_cli.store import Store
from recsys_cli.typed_values import bytes_of
from recsys_cli.updates import recorded_pass
from recsys_cli.updates.training_process import _error, _Most, own_bytes, train_apart

from .conftest import T0

Train = Callable[[], Version]
Line = Callable[..., bytes]


def with_update(values: Settings, **changes: object) -> Settings:
    return replace(values, update=replace(UpdateSettings(), **changes))  # type: ignore[arg-type]


def test_settings_come_through_json_as_they_were(values: Settings, tmp_path: Path) -> None:
    (tmp_path / "recsys.toml").write_text(
        '[ingest]\ncancelled = ["X*"]\n[events.weights]\nview = 0.5\n[serve]\nimages = "pictures"\n'
        '[[rules.campaigns]]\naction = "pin"\nitem = "p1"\nposition = 1\n'
    )
    for settings in (values, load(config=tmp_path / "recsys.toml", environ={})):
        again = from_values(json.loads(json.dumps(as_values(settings), default=str)))
        assert dataclasses.asdict(again) == dataclasses.asdict(settings)


@pytest.mark.parametrize(
    ("size", "count"), [("1500MB", 1_500_000_000), ("2 GiB", 2 << 30), ("1.5kb", 1500), ("1TB", 10**12)]
)
def test_sizes(size: str, count: int) -> None:
    assert bytes_of(size) == count


def test_a_training_that_takes_too_much_is_ended_and_not_tried_again(
    shop: Store, artifacts: Artifacts, values: Settings, train: Train, writer: SpoolWriter, line: Line
) -> None:
    train()
    small = with_update(values, memory="20MB", retrain_share=0.01)
    writer.append([line(user_id=f"a-user{n}", item_id="a1", ts=T0 + n) for n in range(20)])
    with pytest.raises(MemoryExceeded, match=r"over 20MB of memory.*stays\. Raise update\.memory"):
        recorded_pass(shop, artifacts, small)
    # What was received is in, folded in and served; of the training nothing is left.
    assert artifacts.current().name == "v000002"
    assert artifacts.names() == ["v000001", "v000002"]
    assert artifacts.current().manifest["kind"] == "update"
    state = worker_state.read(artifacts.root)
    assert (state.outcome, state.failures) == ("failed", 1)
    assert "used over 20MB" in status(shop, artifacts).as_dict()["worker"]["last_training"]
    # Neither the next pass nor one with an event more tries it again from the same data.
    writer.append([line(user_id="a-user1", item_id="a2", ts=T0 + 60)])
    assert recorded_pass(shop, artifacts, small).training is None
    assert not list(artifacts.versions_dir.glob(".d*"))
    # With room for it, and reason to, it is done.
    writer.append([line(user_id=f"b-user{n}", item_id="b1", ts=T0 + n) for n in range(20)])
    done = recorded_pass(shop, artifacts, with_update(values, retrain_share=0.01))
    assert done.training is not None
    assert done.training.version in artifacts.names()


def test_the_first_training_is_not_tried_again_and_again(
    shop: Store, artifacts: Artifacts, values: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("recsys_cli.updates.one_pass.FIRST_EVENTS", 10)
    small = with_update(values, memory="20MB")
    with pytest.raises(MemoryExceeded):
        recorded_pass(shop, artifacts, small)
    assert recorded_pass(shop, artifacts, small).outcome == "drained"
    assert artifacts.names() == []


@pytest.mark.parametrize(("limit", "ended"), [(150_000_000, True), (600_000_000, False)])
def test_memory_is_watched_while_it_is_taken(limit: int, ended: bool) -> None:
    # It keeps the memory until it was looked at, which may take a while on a machine that does other things.
    code = "import sys; x = bytearray(b'x') * 300_000_000; sys.stdin.read(); print('done')"
    command = [sys.executable, "-c", code]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        most = _Most(process, limit)
        deadline = time.monotonic() + 60
        while not most.exceeded and most.seen <= 300_000_000 and time.monotonic() < deadline:
            time.sleep(0.02)
        said, _ = process.communicate()
        most.join()
    assert (most.exceeded, said) == ((True, "") if ended else (False, "done\n"))
    assert most.seen > min(limit, 300_000_000)


def test_what_is_only_reserved_or_mapped_does_not_count(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"x" * 50_000_000)
    code = (
        "import mmap, sys, time; r = mmap.mmap(-1, 1 << 33, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS);"
        "f = open(sys.argv[1], 'rb'); m = mmap.mmap(f.fileno(), 0, prot=mmap.PROT_READ); sum(m[::4096]);"
        "print('ready', flush=True); time.sleep(300)"
    )
    command = [sys.executable, "-c", code, str(tmp_path / "file")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        process.stdout.readline()
        time.sleep(0.1)
        found = own_bytes(process.pid)
        process.kill()
    assert 0 < found < 70_000_000


def test_errors_come_back_as_what_they_are(store: Store, artifacts: Artifacts, values: Settings) -> None:
    with store.writing():
        pass
    notes: list[str] = []
    from recsys_cli.progress import Progress

    class Noting(Progress):
        def note(self, text: str) -> None:
            notes.append(text)

    with pytest.raises(NotEnoughData):
        train_apart(values, Recipe.of("als", {}), "a test", artifacts, Noting())
    assert type(_error({"kind": "Nothing we know", "message": "m", "hint": "h"})) is RecsysError


def test_it_ends_with_the_worker(shop: Store, artifacts: Artifacts, values: Settings, tmp_path: Path) -> None:
    """Nobody would watch its memory any more, nor hear of what it published."""
    if sys.platform != "linux":
        pytest.skip("only Linux tells a process that its parent has gone")
    code = (
        "import subprocess, sys, os, signal; from recsys_cli.processes import own_command;"
        "p = subprocess.Popen(own_command('recsys_cli.updates.training_process'), stdin=subprocess.PIPE);"
        "print(p.pid, flush=True); sys.stdin.read(1); os.kill(os.getpid(), signal.SIGKILL)"
    )
    env = os.environ | {"PYTHONPATH": str(Path(__file__).resolve().parents[2])}
    with subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=env
    ) as parent:
        assert parent.stdout is not None
        child = int(parent.stdout.readline())
        deadline = time.monotonic() + 120
        while "SigIgn:\t0000000000000000" in Path(f"/proc/{child}/status").read_text() or not _waits(child):
            assert time.monotonic() < deadline
            time.sleep(0.05)
        assert parent.stdin is not None
        parent.stdin.write("x")
        parent.stdin.close()
    deadline = time.monotonic() + 60
    while _state(child) not in ("", "Z"):
        assert time.monotonic() < deadline
        time.sleep(0.05)


def _waits(pid: int) -> bool:
    """Whether it ignores SIGTERM already, which it does right after it has asked to end with its parent."""
    line = next(ln for ln in Path(f"/proc/{pid}/status").read_text().splitlines() if ln.startswith("SigIgn"))
    return bool(int(line.split()[1], 16) >> 14 & 1)


def _state(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return ""
