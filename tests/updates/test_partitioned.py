"""Two machines, each in a network namespace of its own: the wire between them breaks, and both are killed meanwhile.

The second machine serves without the database and receives events; its directory is copied over the wire. Whatever it
said yes to is in the database of the first once, and nothing is twice.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from recsys_cli.artifacts import Artifacts, Version
from recsys_cli.artifacts.keys import owner_key
from recsys_cli.settings import Settings
from recsys_cli.store import Store
from recsys_cli.updates.one_pass import run_pass
from tests.faults.harness import environment

ADDRESS = "10.77.0.2"
GIVES = f"""
import socketserver, sys, tarfile
class Give(socketserver.StreamRequestHandler):
    def handle(self):
        with tarfile.open(fileobj=self.wfile, mode="w|") as tar:
            tar.add(sys.argv[1] + "/versions", "versions", recursive=False)
            tar.add(sys.argv[1] + "/spool", "spool")
socketserver.TCPServer.allow_reuse_address = True
socketserver.TCPServer(("{ADDRESS}", 9000), Give).serve_forever()
"""
TAKES = f"""
import socket, sys, tarfile
with socket.create_connection(("{ADDRESS}", 9000), 2) as wire:
    tarfile.open(fileobj=wire.makefile("rb"), mode="r|").extractall(sys.argv[1], filter="data")
"""
POSTS = """
import json, sys, urllib.request
for n in range(int(sys.argv[2]), int(sys.argv[3])):
    event = {"user_id": f"n{n}", "item_id": "lamp", "event_type": "view"}
    headers = {"content-type": "application/json", "x-api-key": sys.argv[1]}
    ask = urllib.request.Request("http://127.0.0.1:8000/events", json.dumps(event).encode(), headers)
    try:
        if urllib.request.urlopen(ask, timeout=10).status == 202:
            print(f"n{n}", flush=True)
    except OSError:
        pass
"""


def run(*words: str) -> None:
    subprocess.run(words, check=True, capture_output=True, text=True)


@dataclass
class Machine:
    """A namespace, with a folder."""

    root: Path
    holder: subprocess.Popen[bytes]

    def start(self, *words: str, **more: object) -> subprocess.Popen[str]:
        enter = ["nsenter", f"--net=/proc/{self.holder.pid}/ns/net", "--"]
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT} | more
        return subprocess.Popen([*enter, *words], cwd=self.root, env=environment(), text=True, **pipes)  # type: ignore[call-overload,no-any-return]

    def python(self, script: str, *args: str) -> tuple[int, list[str]]:
        process = self.start(sys.executable, "-c", script, *args)
        out, _ = process.communicate(timeout=120)
        return process.returncode, out.splitlines()

    def wire(self, state: str) -> None:
        run("nsenter", f"--net=/proc/{self.holder.pid}/ns/net", "--", "ip", "link", "set", "wire", state)


@pytest.fixture
def machines(tmp_path: Path) -> Iterator[tuple[Machine, Machine]]:
    """Near and far, with a wire between them."""
    made: list[Machine] = []
    if not all(map(shutil.which, ("unshare", "nsenter", "ip"))):
        pytest.skip("needs unshare, nsenter and ip (Debian: util-linux, iproute2)")
    try:
        for name in ("near", "far"):
            (tmp_path / name).mkdir()
            held = subprocess.Popen(["unshare", "--net", "sh", "-c", "echo; exec sleep 600"], stdout=subprocess.PIPE)
            made.append(Machine(tmp_path / name, held))
            if not held.stdout or not held.stdout.readline():
                pytest.skip("network namespaces are not allowed here")
        near, far = made
        ends = [f"near{near.holder.pid}", f"far{far.holder.pid}"]
        try:
            run("ip", "link", "add", ends[0], "type", "veth", "peer", "name", ends[1])
        except subprocess.CalledProcessError as e:
            pytest.skip(f"no wire between namespaces: {e.stderr.strip()}")
        for machine, end, address in zip(made, ends, ("10.77.0.1", ADDRESS), strict=True):
            run("ip", "link", "set", end, "netns", str(machine.holder.pid), "name", "wire")
            enter = ("nsenter", f"--net=/proc/{machine.holder.pid}/ns/net", "--", "ip")
            run(*enter, "address", "add", f"{address}/24", "dev", "wire")
            run(*enter, "link", "set", "wire", "up")
            run(*enter, "link", "set", "lo", "up")
        yield near, far
    finally:
        for machine in made:
            machine.holder.kill()
            machine.holder.communicate()


def serving(far: Machine) -> subprocess.Popen[str]:
    """The second machine's server, once it answers."""
    with (far.root / "log").open("w") as log:
        server = far.start(sys.executable, "-m", "recsys_cli", "serve", stdout=log)
    ready = "import urllib.request; urllib.request.urlopen('http://127.0.0.1:8000/ready', timeout=5)"
    deadline = time.monotonic() + 240
    while far.python(ready)[0]:
        assert server.poll() is None, (far.root / "log").read_text()
        assert time.monotonic() < deadline, (far.root / "log").read_text()
    return server


def test_one_worker_takes_in_what_another_machine_received_exactly_once(
    machines: tuple[Machine, Machine],
    train: Callable[[], Version],
    store: Store,
    artifacts: Artifacts,
    values: Settings,
) -> None:
    near, far = machines
    mirror, there = near.root / "mirror", far.root / "model_artifacts"
    train()
    settings = replace(values, update=replace(values.update, servers=(str(mirror),)))
    shutil.copytree(artifacts.root, there)
    (there / "spool").mkdir(exist_ok=True)
    shutil.copy(values.db.with_name(values.db.name + ".key"), far.root / "recsys.duckdb.key")
    running = [far.start(sys.executable, "-c", GIVES, str(there))]
    said_yes: list[str] = []
    try:
        running.append(server := serving(far))
        key = owner_key(there)

        def post(first: int, last: int) -> None:
            said_yes.extend(far.python(POSTS, key, str(first), str(last))[1])

        post(0, 10)
        assert near.python(TAKES, str(mirror))[0] == 0
        run_pass(store, artifacts, settings)
        far.wire("down")
        post(10, 20)  # it goes on alone
        assert len(said_yes) == 20
        assert near.python(TAKES, str(mirror))[0] != 0
        run_pass(store, artifacts, settings)
        clicks = far.start(sys.executable, "-c", POSTS, key, "20", "400")
        assert clicks.stdout is not None
        said_yes += [clicks.stdout.readline().strip() for _ in range(5)]
        server.kill()
        said_yes += clicks.communicate(timeout=120)[0].split()
        running.append(serving(far))
        post(400, 410)
        far.wire("up")
        assert near.python(TAKES, str(mirror))[0] == 0
        state = ["--db", str(values.db), "--artifacts", str(artifacts.root)]
        (values.db.parent / "recsys.toml").write_text(f'[update]\nretrain = false\nservers = ["{mirror}"]\n')
        worker = near.start(sys.executable, "-m", "recsys_cli", "update-worker", "--once", *state)
        copies = [artifacts.spool_dir / path.name for path in (mirror / "spool").glob("*.jsonl")]
        while worker.poll() is None and not all(path.exists() for path in copies):
            time.sleep(0.002)
        worker.kill()  # it copies, or has begun to take in
        worker.communicate()
        for _ in range(2):
            run_pass(store, artifacts, settings)
    finally:
        for process in running:
            process.kill()
            process.communicate()
    with store.reading() as con:
        rows = con.execute("SELECT user_id FROM events WHERE event_type = 'view'").fetchall()
    found = Counter(row[0] for row in rows)
    assert {*said_yes} - {*found} == set()
    assert max(found.values()) == 1
    assert len(said_yes) >= 35
