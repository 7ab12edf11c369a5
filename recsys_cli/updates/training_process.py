"""A training in a process of its own, which is ended when it takes more memory than it may.

What it took goes back to the system whole, and a shop that has outgrown its machine keeps its server: without a bound
the kernel ends whichever process it likes, and the one that answers customers is as good to it as any. Memory is
measured, not forbidden: limits of address space also count what is only mapped or reserved, threads' stacks first.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import IO, Any

from ..artifacts import Artifacts, Version
from ..errors import MemoryExceeded, RecsysError
from ..evaluation.bench import Recipe
from ..processes import die_with_parent, own_command, own_environment
from ..progress import Progress
from ..settings import Settings
from ..settings_sources import as_values, from_values
from ..store import Store
from ..typed_values import bytes_of

_LOOK_SECONDS = 0.05


def train_apart(
    settings: Settings,
    recipe: Recipe | None,
    reason: str,
    artifacts: Artifacts,
    progress: Progress,
    *,
    forgetting: bool = False,
) -> Version:
    """Train and publish; the gate decides whether it is served. Returns the version, served or not.

    Parameters
    ----------
    recipe
        None learns only the order of candidates, for the served model.
    forgetting
        Train away what was learned from erased people, see `publishing.train.retrain`.

    Raises
    ------
    MemoryExceeded
        It was ended, and everything is as it was.
    StoreMissing, NotEnoughData
    """
    limit = bytes_of(settings.update.memory)
    asked = recipe and recipe.as_dict()
    plan = {"settings": as_values(settings), "recipe": asked, "reason": reason, "forgetting": forgetting}
    with subprocess.Popen(
        own_command(__name__),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env=own_environment(),
        text=True,
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        most = _Most(process, limit)
        try:
            with suppress(BrokenPipeError):  # it has ended already; how, is told below
                process.stdin.write(json.dumps(plan, default=str))
                process.stdin.close()
            said = _listen(process.stdout, progress)
            process.wait()
        finally:
            process.kill()
            most.join()
    if "version" in said:
        return artifacts.open(said["version"], verify=False)
    if "error" in said:
        raise _error(said["error"])
    if most.exceeded:
        raise MemoryExceeded(
            f"The training used over {settings.update.memory} of memory and was stopped; the served version stays.",
            "Raise update.memory, or choose a model that needs less: recsys train --model NAME.",
        )
    raise MemoryExceeded(
        f"The training was killed by the system ({_ended(process.returncode)}) at {most.seen / 1e6:,.0f} MB; "
        "the served version stays.",
        "If memory is short, lower update.memory or choose a model that needs less.",
    )


def _listen(lines: IO[str], progress: Progress) -> dict[str, Any]:
    """Pass on what the process tells of its progress; its last word."""
    said: dict[str, Any] = {}
    for line in lines:
        try:
            word = json.loads(line)
        except ValueError:
            continue  # a library's own word, or half a line of a process that was ended
        said = word if isinstance(word, dict) else said
        if "note" in said:
            progress.note(said["note"])
    return said


class _Most:
    """Watches the memory of a process that is its own: neither files that are mapped nor what is only reserved."""

    def __init__(self, process: subprocess.Popen[str], limit: int) -> None:
        self.seen, self.exceeded = 0, False
        self._process, self._limit = process, limit
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()

    def join(self) -> None:
        self._thread.join()

    def _watch(self) -> None:
        while self._process.poll() is None:
            self.seen = max(self.seen, own_bytes(self._process.pid))
            if self.seen > self._limit:
                self.exceeded = True
                self._process.kill()
                return
            time.sleep(_LOOK_SECONDS)


def own_bytes(pid: int) -> int:
    """Bytes of memory, swapped out or not, that only this process has; 0 where the system does not tell."""
    try:
        status = Path(f"/proc/{pid}/status").read_text(encoding="ascii", errors="replace")
    except OSError:
        return 0
    fields = dict(line.split(":", 1) for line in status.splitlines() if ":" in line)
    return sum(int(fields.get(name, "0 kB").split()[0]) * 1024 for name in ("RssAnon", "RssShmem", "VmSwap"))


def _ended(code: int) -> str:
    return signal.Signals(-code).name if code < 0 else f"exit code {code}"


def _error(told: dict[str, str]) -> RecsysError:
    """The error that the process told of, as its own kind."""
    kinds, left = {}, [RecsysError]
    while left:
        kind = left.pop()
        kinds[kind.__name__] = kind
        left += kind.__subclasses__()
    kind = kinds.get(told["kind"], RecsysError)
    error = kind.__new__(kind)
    RecsysError.__init__(error, told["message"], told["hint"])
    return error


class _Told(Progress):
    """Progress for the process that started this one."""

    @contextmanager
    def stage(self, text: str, total: int | None = None) -> Iterator[Callable[[int], None]]:
        started = time.monotonic()
        yield lambda done: None
        self.note(f"{text}: {time.monotonic() - started:.1f} s")

    def note(self, text: str) -> None:
        _tell({"note": text})


def _tell(word: dict[str, Any]) -> None:
    sys.stdout.write(json.dumps(word) + "\n")
    sys.stdout.flush()


def _train(plan: dict[str, Any]) -> None:
    from ..publishing.ranker_training import train_ranker
    from ..publishing.train import choose, retrain, train
    from ..tuning.auto import AUTO

    settings = from_values(plan["settings"])
    # DuckDB spills to disk before the bound is reached, instead of being ended by it.
    half = min(bytes_of(settings.store.memory_limit), bytes_of(settings.update.memory) // 2)
    settings = replace(settings, store=replace(settings.store, memory_limit=f"{max(half // 1_000_000, 1)}MB"))
    progress = _Told()
    store = Store(settings.db, settings.store, waiting=progress.note)
    artifacts = Artifacts(settings.artifacts, lock_timeout=settings.store.lock_timeout)
    if plan["forgetting"]:
        _tell({"version": retrain(store, artifacts, settings, progress).name})
        return
    if plan["recipe"] is None:
        _tell({"version": train_ranker(store, artifacts, settings, progress).version.name})
        return
    name, config = plan["recipe"]["name"], plan["recipe"]["config"]
    recipe = choose(settings, AUTO, {}) if name == AUTO else Recipe.of(name, config)
    done = train(store, artifacts, settings, recipe, progress, notes={"reason": plan["reason"]})
    _tell({"version": done.version.name})


def main() -> None:
    """Train by the plan on standard input, and tell of it on standard output."""
    os.umask(0o077)
    die_with_parent(signal.SIGKILL)  # nobody would watch it any more
    # Meant for the worker, which lets a pass under way come to its end.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    try:
        _train(json.loads(sys.stdin.read()))
    except RecsysError as e:
        _tell({"error": {"kind": type(e).__name__, "message": e.message, "hint": e.hint}})
