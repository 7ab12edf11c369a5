"""Commands that a server starts in the background: one at a time, with their progress and outcome kept on disk.

    jobs/
      lock              held by the job that runs, for as long as it lives
      ID.json           what it is, who asked, and what became of it
      ID.log            its progress, a line each

The server never opens the database, so the work is the command line's own, in a process that outlives the server. The
lock is taken by the server and handed on to the process: two servers cannot start two jobs, and one that was killed is
known by a lock that nobody holds.
"""

from __future__ import annotations

import fcntl
import json
import os
import re
import secrets
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from ..durable_files import open_private, private_dir
from ..errors import NotFound, RecsysError
from ..processes import ASKED_BY, own_command, own_environment
from ..state_file import StateFile

FOLDER = "jobs"
RUNNING, DONE, FAILED, LOST = "running", "done", "failed", "lost"
_KEPT = 20
_TRIES = 10  # for the lock, 20 ms apart
_LINES = 50  # of progress that are told
_ID = re.compile(r"[0-9a-f]{16}")


class JobRunning(RecsysError):
    """Another job is under way."""

    code, http_status = "job_running", 409


@dataclass(frozen=True)
class Job:
    """One job.

    Parameters
    ----------
    kind
        update or train.
    by
        Who asked for it, as in the audit log.
    started_at, ended_at
        Epoch seconds; `ended_at` 0 while it runs.
    exit_code
        Of the command; None while it runs, and when it was killed.
    result
        What the command printed as JSON; its error if it failed.
    """

    id: str
    kind: str
    by: dict[str, Any] = field(default_factory=dict)
    started_at: float = 0.0
    ended_at: float = 0.0
    exit_code: int | None = None
    result: dict[str, Any] = field(default_factory=dict)


class Jobs:
    """The jobs of one artifacts directory."""

    def __init__(self, root: Path) -> None:
        self.path = root / FOLDER

    def start(self, kind: str, command: Sequence[str], by: Mapping[str, Any]) -> Job:
        """Start a command in the background; returns at once.

        Parameters
        ----------
        command
            Arguments of `recsys`.

        Raises
        ------
        JobRunning
        StoreError
            The job cannot be noted.
        """
        private_dir(private_dir(self.path.parent) / FOLDER)
        lock = open_private(self.path / "lock", os.O_RDWR | os.O_CREAT)
        try:
            if not _taken(lock):
                raise JobRunning("Another job is under way.", "Wait for it: GET /operations/jobs.")
            self._sweep()
            job = Job(secrets.token_hex(8), kind, dict(by), time.time())
            self.note(job)
            log = open_private(self._log(job.id), os.O_WRONLY | os.O_CREAT | os.O_APPEND)
            try:
                subprocess.Popen(
                    own_command(__name__, str(self.path.parent.absolute()), job.id, *command),
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.DEVNULL,
                    stderr=log,
                    pass_fds=[lock],
                    start_new_session=True,  # a server that is stopped does not take it along
                    env=own_environment(**{ASKED_BY: f"key {by.get('key', '')}"}),
                )
            finally:
                os.close(log)
            return job
        finally:
            os.close(lock)  # the process holds it from here on

    def note(self, job: Job) -> None:
        """Write down how a job stands."""
        self._file(job.id).write(job)

    def all(self) -> list[dict[str, Any]]:
        """All jobs, newest first, without their progress."""
        found = [self._file(path.stem).read_or_empty() for path in self.path.glob("*.json")]
        held = sorted((job for job in found if job is not None), key=lambda job: -job.started_at)
        return [self._told(job) for job in held]

    def one(self, name: str) -> dict[str, Any]:
        """One job with the last lines of its progress.

        Raises
        ------
        NotFound
        """
        job = self._file(name).read_or_empty() if _ID.fullmatch(name) else None
        if job is None:
            raise NotFound(f"There is no job '{name}'.", "GET /operations/jobs lists the last ones.")
        try:
            text = self._log(name).read_text(encoding="utf-8", errors="replace")
        except FileNotFoundError:
            text = ""
        return self._told(job) | {"progress": text.splitlines()[-_LINES:]}

    def _told(self, job: Job) -> dict[str, Any]:
        state = RUNNING if not job.ended_at else DONE if job.exit_code == 0 else FAILED
        if state == RUNNING and not self._held():
            ended = self._file(job.id).read_or_empty() or job  # between our two looks, perhaps
            if not ended.ended_at:
                state = LOST
            else:
                job, state = ended, DONE if ended.exit_code == 0 else FAILED
        told = {"job": job.id, "kind": job.kind, "state": state, "by": job.by, "started_at": job.started_at}
        return told | {"ended_at": job.ended_at or None, "exit_code": job.exit_code, "result": job.result}

    def _held(self) -> bool:
        """Whether a job lives."""
        try:
            fd = os.open(self.path / "lock", os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            return False
        try:
            fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        finally:
            os.close(fd)
        return False

    def _sweep(self) -> None:
        """Remove all but the last jobs."""
        for old in self.all()[_KEPT - 1 :]:
            self._file(old["job"]).path.unlink(missing_ok=True)
            self._log(old["job"]).unlink(missing_ok=True)

    def _file(self, name: str) -> StateFile[Job | None]:
        return StateFile(self.path / f"{name}.json", Job, lambda: None)

    def _log(self, name: str) -> Path:
        return self.path / f"{name}.log"

    def run(self, name: str, command: Sequence[str]) -> None:
        """Carry a job out in this process's child, and note what became of it."""
        done = subprocess.run(
            own_command("recsys_cli.cli.main", *command), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, check=False
        )
        job = self._file(name).read_or_empty()
        if job is None:
            return  # the directory was emptied meanwhile
        result = last_object(done.stdout)
        if done.returncode and not result:
            result = last_object(self._log(name).read_bytes())
        self.note(replace(job, ended_at=time.time(), exit_code=done.returncode, result=result))


def _taken(lock: int) -> bool:
    """Whether the lock is ours now; who only looks whether a job lives holds it for an instant, too."""
    for _ in range(_TRIES):
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return True
        except BlockingIOError:
            time.sleep(0.02)
    return False


def last_object(said: bytes) -> dict[str, Any]:
    """The JSON object that a command printed: its whole output, or its last line; empty if neither is one."""
    for text in (said, said.strip().rpartition(b"\n")[2]):
        try:
            found = json.loads(text)
        except ValueError:
            continue
        if isinstance(found, dict):
            return found
    return {}


def main() -> None:
    """Run the job named in the arguments: artifacts directory, id, and the command."""
    os.umask(0o077)
    root, name, *command = sys.argv[1:]
    Jobs(Path(root)).run(name, command)
