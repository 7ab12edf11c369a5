"""A small shop whose every kind of file holds people: numbers, e-mails, names with umlauts, UUIDs."""

from __future__ import annotations

import base64
import hashlib
import json
import re
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from recsys_cli.artifacts import Artifacts, Spool, SpoolWriter, Version, suppressed
from recsys_cli.publishing import train, version
from recsys_cli.settings import Settings
from recsys_cli.settings_sources import load
from recsys_cli.store import Store
from recsys_cli.store.batches import open_batch
from recsys_cli.store.merge import merge_events, merge_items, merge_users, transaction

NUMBER, LONG, UMLAUT, UUID = "13085", "customer-0000815", "Jörg Müßig/Æ", "0b7f6a52-6ad8-4f0e-9a0c-1c2d3e4f5a6b"
REJECTED = (
    "INSERT INTO rejected (batch_id, file, row_number, reason, detail, raw) "
    "VALUES (?, 'orders.csv', ?, 'no time', '', ?)"
)
PEOPLE = (NUMBER, LONG, UMLAUT, UUID)


@dataclass
class Shop:
    """Everything a request works on."""

    store: Store
    artifacts: Artifacts
    settings: Settings

    @property
    def root(self) -> Path:
        return self.settings.db.parent

    @property
    def spool(self) -> Spool:
        return Spool(self.artifacts.spool_dir)

    def publish(self, model: str = "popular") -> Version:
        """A version of the store as it is now."""
        mark = suppressed.mark(self.settings.db)
        snapshot = train.read_snapshot(self.store, self.settings)
        recipe = train.Recipe.of(model, {})
        fitted = recipe.fit(snapshot.data, self.settings, train.SILENT)
        release = version.Release(snapshot, fitted, kind="train", erasures=mark, notes={"recipe": recipe.as_dict()})
        return version.publish_version(self.artifacts, self.settings, release)

    def receive(self, *lines: dict[str, object]) -> None:
        """Lines in the spool, as a server writes them."""
        writer = SpoolWriter(self.artifacts.spool_dir)
        writer.append([json.dumps({"t": "event", "event_type": "view", **line}).encode() for line in lines])
        writer.close()

    def flags(self) -> list[str]:
        """The state options of a command."""
        return ["--db", str(self.settings.db), "--artifacts", str(self.settings.artifacts)]

    def count(self, table: str, where: str = "true") -> int:
        with self.store.reading() as con:
            return int(con.execute(f"SELECT count(*) FROM {table} WHERE {where}").fetchall()[0][0])


def plain_forms(one: str) -> Iterator[bytes]:
    """What anybody would search the files for, made here without our own encoder."""
    for encoding in ("utf-8", "utf-16-le", "utf-32-le"):
        yield one.encode(encoding)
    raw = one.encode()
    yield from (json.dumps(one)[1:-1].encode(), base64.b64encode(raw).rstrip(b"="), raw.hex().encode())
    yield from (hashlib.new(name, raw).hexdigest().encode() for name in ("md5", "sha1", "sha256"))


# Thousands of digits that are random or the time: checksums, keys, epochs, seconds, and names of parts of the log,
# which have the number of a process as well. In one run of a hundred a short number would stand among them.
BY_CHANCE = re.compile(rb"(?<![0-9a-z])(?:(?:[0-9a-f]{16}){1,4}|1\d{9}(?:\.\d+)?)(?![0-9a-z])")
PART_OF_THE_LOG = re.compile(rb"\d{15}-\d+-[0-9a-f]{8}")


def chosen(path: Path) -> bytes:
    """What stands in a file without what stands there by chance; of files that are not text, nearly all."""
    content = PART_OF_THE_LOG.sub(b"", path.read_bytes())
    return content if path.suffix in (".duckdb", ".npy", ".arrow") else BY_CHANCE.sub(b"", content)


def places(shop: Shop, one: str) -> list[Path]:
    """Files that hold the person, by a plain search that knows nothing of ours: the control of every erasure here."""
    forms = list(plain_forms(one))
    found = []
    for path in (p for p in shop.root.rglob("*") if p.is_file()):
        # Hashes of theirs are no chance, and long enough never to be.
        whole, left = path.read_bytes(), chosen(path) if one.isdigit() else path.read_bytes()
        if any(form in (left if form == one.encode() else whole) for form in forms):
            found.append(path)
    return found


def events(seed: int = 1, users: tuple[str, ...] = ()) -> pa.Table:
    """A few thousand events of 300 customers, the named ones among them, on 60 items."""
    rng = np.random.default_rng(seed)
    names = np.array([*users, *(f"c{20_000 + i}" for i in range(300 - len(users)))], dtype=object)
    n = 6000
    user = names[np.minimum(rng.geometric(0.01, n) - 1, len(names) - 1)]
    return pa.table(
        {
            "user_id": pa.array(user, pa.string()),
            "item_id": pa.array([f"p{i}" for i in rng.integers(0, 60, n)], pa.string()),
            "ts": pa.array(np.sort(rng.integers(1_700_000_000, 1_710_000_000, n))),
            "qty": pa.array(rng.integers(1, 4, n), pa.int32()),
            "order_id": pa.array([f"o{i}" for i in rng.integers(0, 2000, n)], pa.string()),
        }
    )


def fill(shop: Shop, people: tuple[str, ...] = PEOPLE, seed: int = 1) -> None:
    """Events, items, profiles, rejected rows."""
    items = pa.table({"item_id": [f"p{i}" for i in range(60)], "title": [f"Thing {i}" for i in range(60)]})
    with shop.store.writing() as con, transaction(con):
        batch = open_batch(con, "orders.csv", "events", "0" * 64, 1)
        merge_events(con, events(seed, people), batch_id=batch)
        merge_items(con, items)
        if people:
            attributes = [json.dumps({"city": "Köln", "n": i}) for i in range(len(people))]
            merge_users(con, pa.table({"user_id": list(people), "attributes": attributes}))
        for row, one in enumerate(people):
            # As spreadsheets have it, a customer number is a float.
            raw = json.dumps({"Customer ID": f"{one}.0" if one.isdigit() else one, "Quantity": "x"})
            con.execute(REJECTED, [batch, row, raw])
        con.execute(REJECTED, [batch, 99, json.dumps({"Customer ID": "c20099", "Quantity": 7})])


def shop_at(folder: Path) -> Shop:
    """The shop whose state is in this folder."""
    settings = load(
        {"db": folder / "shop.duckdb", "artifacts": folder / "models", "store.threads": 2,
         "store.lock_timeout": 30.0, "train.threads": 1},
        environ={},
    )  # fmt: skip
    return Shop(Store(settings.db, settings.store), Artifacts(settings.artifacts, lock_timeout=30), settings)


@pytest.fixture
def empty(tmp_path: Path) -> Shop:
    """A shop of which nothing exists yet."""
    return shop_at(tmp_path / "state")


@pytest.fixture(scope="session")
def full(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """See `make_full`."""
    return make_full(tmp_path_factory.mktemp("full") / "state")


def make_full(folder: Path) -> Path:
    """The state of a shop with everything: rows, profiles, rejected rows, two versions and a spool."""
    made = shop_at(folder)
    fill(made)
    made.publish()
    made.receive(*({"user_id": one, "item_id": "p1", "ts": 1_710_000_001, "session_id": f"s{i}"}
                    for i, one in enumerate(PEOPLE)))  # fmt: skip
    made.receive({"user_id": "c20099", "item_id": "p1", "ts": 1_710_000_002, "session_id": "s9"})
    made.receive({"item_id": "p2", "ts": 1_710_000_000, "session_id": "s0"})
    made.publish()
    return made.root


@pytest.fixture
def shop(full: Path, tmp_path: Path) -> Shop:
    """A copy of it, for one test."""
    shutil.copytree(full, tmp_path / "state")
    return shop_at(tmp_path / "state")
