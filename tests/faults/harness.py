"""A running shop, a server that must answer throughout, commands that are killed, and a ledger outside of it all."""

from __future__ import annotations

import http.client
import json
import os
import random
import re
import signal
import subprocess
import sys
import threading
import time
from collections import Counter, deque
from dataclasses import dataclass, field
from pathlib import Path

import duckdb

from recsys_cli.artifacts.keys import owner_key
from tests import commands

ROOT = Path(__file__).resolve().parents[2]
T0, DAY = 1_700_000_000, 86_400


def environment() -> dict[str, str]:
    clean = {k: v for k, v in os.environ.items() if not k.startswith("RECSYS_")}
    # Two fits a kill, and all of it on a machine that does other things: small and on one thread.
    return clean | {"PYTHONPATH": str(ROOT), "RECSYS_TRAIN_THREADS": "1", "OMP_NUM_THREADS": "1", "COLUMNS": "200"}


@dataclass
class Ledger:
    """What was acknowledged, kept where no fault reaches it.

    Parameters
    ----------
    posted
        Event ids sent to the server; each was acknowledged or not.
    acknowledged
        Those it said yes to.
    ingested
        Event ids of files whose ingest said yes.
    offered
        Event ids of all files.
    erased
        Event ids of people whose erasure was asked for.
    answers
        HTTP statuses of the server's answers, by count; "lost" where there was none, "down" where the server had been
        killed.
    complaints
        The first answers that were no good, whole.
    """

    posted: set[str] = field(default_factory=set)
    acknowledged: set[str] = field(default_factory=set)
    ingested: set[str] = field(default_factory=set)
    offered: set[str] = field(default_factory=set)
    erased: set[str] = field(default_factory=set)
    answers: Counter[str] = field(default_factory=Counter)
    complaints: list[str] = field(default_factory=list)


@dataclass
class Shop:
    """The state directories, the ledger, and the server."""

    root: Path
    rng: random.Random
    ledger: Ledger = field(default_factory=Ledger)
    port: int = 0
    key: str = ""
    said: deque[str] = field(default_factory=lambda: deque(maxlen=20))  # by the server, last
    _server: subprocess.Popen[str] | None = None
    _stop: threading.Event = field(default_factory=threading.Event)
    _customers: list[threading.Thread] = field(default_factory=list)
    _listener: threading.Thread | None = None
    _files: int = 0
    _downs: int = 0  # odd while the server is down

    @property
    def db(self) -> Path:
        return self.root / "shop.duckdb"

    @property
    def artifacts(self) -> Path:
        return self.root / "model_artifacts"

    def start(self, *args: str, crash_at: int | None = None) -> subprocess.Popen[str]:
        """A command in a process group of its own, which with `crash_at` ends there; see `crash_at`."""
        crashing = [str(Path(__file__).with_name("crash_at.py")), str(crash_at), str(self.root)]
        return subprocess.Popen(
            [sys.executable, *(["-m", "recsys_cli"] if crash_at is None else crashing), *args],
            cwd=self.root,
            env=self._environment(),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )

    def run(self, *args: str) -> str:
        """A command that must succeed, and that nobody kills: a fork does; its output."""
        done = commands.run(args, cwd=self.root, env=self._environment(), timeout=300)
        out = done.stdout + done.stderr
        assert done.returncode == 0, f"recsys {' '.join(args)} ended with {done.returncode}:\n{out}"
        return out

    def _environment(self) -> dict[str, str]:
        watched = self.root / "watched"
        folder = {"RECSYS_INGEST_FOLDER": str(watched), "RECSYS_INGEST_QUIET_SECONDS": "0"} if watched.is_dir() else {}
        return environment() | {"RECSYS_DB": str(self.db), "RECSYS_ARTIFACTS": str(self.artifacts)} | folder

    # -- the shop ---------------------------------------------------------------------------------------------------

    def new_file(self, rows: int = 50) -> Path:
        """An export with events that no other has; known to the ledger as offered."""
        self._files += 1
        path = self.root / "exports" / f"orders-{self._files}.csv"
        path.parent.mkdir(exist_ok=True)
        lines = ["user_id,item_id,ts,event_id"]
        for n in range(rows):
            kind, day = self.rng.choice("ab"), self.rng.randrange(120)
            event = f"file{self._files}-{n}"
            self.ledger.offered.add(event)
            user, item = f"{kind}{self.rng.randrange(100)}", f"{kind}-item{self.rng.randrange(20)}"
            lines.append(f"{user},{item},{T0 + DAY * day + n},{event}")
        path.write_text("\n".join(lines) + "\n")
        return path

    def into_watched(self) -> Path:
        """A new export, moved into the watched folder."""
        folder = self.root / "watched"
        folder.mkdir(exist_ok=True)
        path = self.new_file()
        return path.rename(folder / path.name)

    def somebody_to_forget(self) -> str:
        """A new customer with events in the store, whose id the ledger knows as erased from now on."""
        self._files += 1
        user = f"gone-customer-{self._files}"
        path = self.root / f"{user}.csv"
        events = [f"gone{self._files}-{n}" for n in range(5)]
        rows = [f"{user},a-item{n},{T0 + DAY * n},{event}" for n, event in enumerate(events)]
        path.write_text("\n".join(["user_id,item_id,ts,event_id", *rows]) + "\n")
        self.run("ingest", str(path))
        path.unlink()  # or it would be somebody's original
        self.ledger.erased |= set(events)
        return user

    def ingest(self, path: Path) -> None:
        """Ingest a file to its end and note it in the ledger."""
        self.run("ingest", str(path))
        self.ledger.ingested |= self.events_of(path)

    def events_of(self, path: Path) -> set[str]:
        """The event ids of a file that `new_file` made."""
        number = path.stem.split("-")[1]
        return {e for e in self.ledger.offered if e.startswith(f"file{number}-")}

    def found(self) -> Counter[str]:
        """Event ids in the store, by how often they are there; what is waiting in the spool counts as well."""
        with duckdb.connect(str(self.db), read_only=True) as con:
            return Counter(row[0] for row in con.execute("SELECT event_id FROM events").fetchall())

    def waiting(self) -> set[str]:
        """Event ids of customers' clicks in the spool, taken into the store or not."""
        lines = b"".join(path.read_bytes() for path in (self.artifacts / "spool").glob("*.jsonl"))
        return {found.decode() for found in re.findall(rb'"event_id": ?"(click-\d+)"', lines)}

    def litter(self) -> list[str]:
        """Files that no part of the program would ever look at again."""
        known = re.compile(r"\.(lock|worker\.lock)$|\.duckdb\.lock$")
        drafts = [str(p.relative_to(self.root)) for p in (self.root / "backups").glob(".*")]
        return drafts + sorted(
            str(p.relative_to(self.root))
            for p in self.root.rglob("*")
            if (p.name.startswith(".") or ".tmp" in p.name or p.suffix in (".wal", ".restoring", ".fresh"))
            and not known.search(p.name)
            and not p.is_relative_to(self.root / "backups")  # whole ones; drafts are beside them
        )

    # -- the server -------------------------------------------------------------------------------------------------

    def serve(self, workers: int = 1) -> None:
        """Start the server, and customers who ask and click without pause."""
        self.serve_alone(workers)
        self.ledger.answers.clear()
        self.ledger.complaints.clear()
        for target in (self._click, self._look):
            thread = threading.Thread(target=target, daemon=True)
            thread.start()
            self._customers.append(thread)

    def serve_alone(self, workers: int = 1) -> None:
        """Start the server."""
        self._start_server(0, workers)
        self.key = owner_key(self.artifacts)

    @property
    def group(self) -> int:
        """Process group of the server."""
        assert self._server is not None
        return self._server.pid

    def kill_server(self) -> None:
        """Kill the server -9 while customers are at it, and start it again in its place."""
        assert self._server is not None
        assert self._server.poll() is None, f"the server ended with {self._server.returncode}: {list(self.said)}"
        self._downs += 1
        os.killpg(self._server.pid, signal.SIGKILL)
        self._server.wait(timeout=120)
        self._hang_up()
        self._start_server(self.port, 1)
        self._downs += 1

    def _start_server(self, port: int, workers: int) -> None:
        self._server = self.start("serve", "--port", str(port), "--workers", str(workers))
        assert self._server.stdout is not None
        for line in self._server.stdout:
            found = re.search(r"http://[^:]+:(\d+)", line)
            if found:
                self.port = int(found[1])
                break
        # Its log must not fill the pipe, or it would stand still.
        self._listener = threading.Thread(target=self.said.extend, args=(self._server.stdout,), daemon=True)
        self._listener.start()
        deadline = time.monotonic() + 120
        while self._ask("GET", "/ready") != "200":
            assert time.monotonic() < deadline, "the server does not become ready"
            time.sleep(0.1)

    def stop(self) -> None:
        """End customers and server."""
        self._stop.set()
        # First the customers, however long their requests under way take: a server that has ended answers nobody.
        for thread in self._customers:
            thread.join(timeout=120)
            assert not thread.is_alive()
        if self._server is not None:
            assert self._server.poll() is None, f"the server ended with {self._server.returncode}: {list(self.said)}"
            self._server.terminate()
            self._server.wait(timeout=120)
            self._hang_up()

    def _hang_up(self) -> None:
        """Close the output of a server that has ended."""
        assert self._server is not None
        assert self._server.stdout is not None
        assert self._listener is not None
        self._listener.join(timeout=120)
        self._server.stdout.close()

    def resume(self) -> None:
        """Start the server again after `stop`; what customers were answered before is forgotten."""
        self._stop.clear()
        self._customers.clear()
        self.serve()

    def ask(self, path: str) -> tuple[int, bytes]:
        """Status and body of an answer."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        try:
            connection.request("GET", path)
            answer = connection.getresponse()
            return answer.status, answer.read()
        finally:
            connection.close()

    def _ask(self, method: str, path: str, body: object = None) -> str:
        downs = self._downs
        try:
            connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
            data = None if body is None else json.dumps(body)
            connection.request(method, path, data, {"Content-Type": "application/json", "X-API-Key": self.key})
            answer = connection.getresponse()
            text = answer.read()
            connection.close()
            if answer.status >= 300 and len(self.ledger.complaints) < 5:
                self.ledger.complaints.append(f"{method} {path}: {answer.status} {text[:500]!r}")
            return str(answer.status)
        except (OSError, http.client.HTTPException) as e:
            if downs % 2 or downs != self._downs:
                return "down"
            if len(self.ledger.complaints) < 5:
                self.ledger.complaints.append(f"{method} {path}: {e!r}")
            return "lost"

    def _click(self) -> None:
        number = 0
        while not self._stop.is_set():
            event, number = f"click-{number}", number + 1
            kind = "ab"[number % 2]
            body = {"user_id": f"{kind}{number % 100}", "item_id": f"{kind}-item{number % 20}", "event_id": event}
            self.ledger.posted.add(event)
            status = self._ask("POST", "/events", body | {"event_type": "view"})
            self.ledger.answers[status] += 1
            if status.startswith("2"):
                self.ledger.acknowledged.add(event)
            time.sleep(0.02)

    def _look(self) -> None:
        number = 0
        while not self._stop.is_set():
            number += 1
            path = "/health" if number % 10 == 0 else f"/recommend?user_id={'ab'[number % 2]}{number % 120}&k=5"
            self.ledger.answers[self._ask("GET", path)] += 1
            time.sleep(0.02)

    # -- faults -----------------------------------------------------------------------------------------------------

    def kill_during(self, seconds: float, *args: str) -> tuple[int, str]:
        """Start a command and kill its process group -9 after so long; its exit code and output."""
        process = self.start(*args)
        try:
            out, _ = process.communicate(timeout=seconds)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            out, _ = process.communicate()
        return process.returncode, out

    def crash(self, point: int, *args: str) -> tuple[int, str]:
        """A command that is killed -9 at its n-th operation on files, or with 0 counts them; exit code and output."""
        process = self.start(*args, crash_at=point)
        out, _ = process.communicate(timeout=300)
        return process.returncode, out
