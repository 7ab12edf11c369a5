"""Erasure at size, on a real server: how soon it stops personalising, how long until rewritten and proved.

    python tests/benchmarks/bench_gdpr.py [--events 1000000] [--crowd 500] [--alone 50]

Makes a synthetic shop (../shared/tools/make_scale_shop.py), ingests, trains ALS, serves with two workers, and erases a
busy customer; then one with --retrain; then a crowd in one file and others one by one while events stream in and a
training runs. Checks with searches of its own that nobody is left.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from recsys_cli.artifacts.bundle import read_bundle  # noqa: E402
from recsys_cli.identity import find_key, load_secret, user_key  # noqa: E402
from tests.gdpr.conftest import Shop, shop_at  # noqa: E402
from tests.gdpr.serving import Server, serving  # noqa: E402


def recsys(shop: Shop, *words: str) -> tuple[float, str]:
    started = time.monotonic()
    command = [sys.executable, "-m", "recsys_cli", *words, *shop.flags()]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{' '.join(words[:3])}: {done.returncode} {done.stderr}")
    return time.monotonic() - started, done.stdout


def made(folder: Path, events: int) -> Shop:
    maker = ROOT.parent / "shared" / "tools" / "make_scale_shop.py"
    subprocess.run(
        [sys.executable, str(maker), str(folder / "data"), "--events", str(events), "--users", str(events // 10),
         "--items", "20000"],
        check=True,
    )  # fmt: skip
    shop = shop_at(folder / "state")
    for name in ("events.parquet", "items.csv"):
        print(f"ingest {name}: {recsys(shop, 'ingest', str(folder / 'data' / name))[0]:.1f} s")
    print(f"train: {recsys(shop, 'train', '--model', 'als')[0]:.1f} s")
    return shop


def busy(shop: Shop, n: int) -> list[str]:
    with shop.store.reading() as con:
        rows = con.execute("SELECT user_id FROM events GROUP BY 1 ORDER BY count(*) DESC, 1 LIMIT ?", [n]).fetchall()
    return [row[0] for row in rows]


def left(shop: Shop, people: list[str]) -> list[str]:
    """Who is still in rows, received lines or versions."""
    quoted = ", ".join(f"'{p}'" for p in people)
    with shop.store.reading() as con:
        found = {r[0] for r in con.execute(f"SELECT user_id FROM events WHERE user_id IN ({quoted})").fetchall()}
    spool = b"".join(chunk.data for chunk in shop.spool.read({}))
    found |= {p for p in people if f'"{p}"'.encode() in spool}
    secret = load_secret(shop.settings.db)
    for name in shop.artifacts.names():
        keys = read_bundle(shop.artifacts.open(name, verify=False).path).keys
        found |= {p for p in people if find_key(keys, user_key(secret, p)) >= 0}
    return sorted(found)


def one(shop: Shop, server: Server, person: str, *flags: str) -> None:
    assert server.known(person)
    until: list[float] = []
    started = time.monotonic()

    def watch() -> None:
        server.seconds_until_unknown(person, 300)
        until.append(time.monotonic() - started)

    thread = threading.Thread(target=watch)
    thread.start()
    seconds, out = recsys(shop, "gdpr", "delete", person, "--yes", "--json", *flags)
    thread.join()
    result = json.loads(out)
    print(f"delete {' '.join(flags)}: not personalised after {until[0]:.1f} s (the command's start included), "
          f"proved after {seconds:.1f} s; {result['removed']}; left {left(shop, [person])}")  # fmt: skip


class Streaming(threading.Thread):
    """Posts events of customers who stay, and of those being erased, until stopped."""

    def __init__(self, server: Server, people: list[str]) -> None:
        super().__init__()
        self.server, self.people, self.stop, self.sent, self.failed = server, people, threading.Event(), 0, 0

    def run(self) -> None:
        while not self.stop.wait(0.02):
            who = self.people[self.sent % len(self.people)]
            event = {"user_id": who, "item_id": f"i{self.sent % 500}", "event_type": "view"}
            status, _ = self.server.post("/events", event)
            self.sent, self.failed = self.sent + 1, self.failed + (status != 202)


def crowd(shop: Shop, server: Server, together: list[str], alone: list[str], staying: list[str]) -> None:
    folder = shop.root.parent
    (folder / "people.txt").write_text("\n".join(together) + "\n")
    # Of those to be erased, some still click until a moment before; afterwards only the others do.
    early = Streaming(server, together[:50] + staying)
    early.start()
    time.sleep(2)
    early.stop.set()
    early.join()
    stream = Streaming(server, staying)
    stream.start()
    train = subprocess.Popen(
        [sys.executable, "-m", "recsys_cli", "train", "--model", "als", *shop.flags()], cwd=ROOT,
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        time.sleep(1)
        seconds, _ = recsys(shop, "gdpr", "delete", "--file", str(folder / "people.txt"), "--yes")
        print(f"{len(together)} people in one file, while a training ran and events streamed in: {seconds:.1f} s")
        started = time.monotonic()
        for n, person in enumerate(alone):
            recsys(shop, "gdpr", "delete", person, "--yes")
            if n % 10 == 5:
                recsys(shop, "update-worker", "--once")
        if alone:
            each = (time.monotonic() - started) / len(alone)
            print(f"{len(alone)} people one by one, with a worker's pass in between: {each:.1f} s each")
        print(f"training ended with {train.wait(600)}")
        recsys(shop, "update-worker", "--once")
        print(f"comebacks and residue: {left(shop, together + alone) or 'none'}")
        print(f"server: {stream.sent + early.sent} events posted, {stream.failed + early.failed} failed")
    finally:
        stream.stop.set()
        stream.join()


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--events", type=int, default=1_000_000)
    parser.add_argument("--crowd", type=int, default=500)
    parser.add_argument("--alone", type=int, default=50)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        shop = made(Path(folder), given.events)
        people = busy(shop, given.crowd + given.alone + 100)
        staying, rest = people[:50], people[50:]
        with serving(shop, workers=2) as server:
            one(shop, server, rest[0])
            one(shop, server, rest[1], "--retrain")
            crowd(shop, server, rest[2 : 2 + given.crowd], rest[2 + given.crowd :][: given.alone], staying)


if __name__ == "__main__":
    main()
