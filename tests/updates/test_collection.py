"""What servers on other machines received is taken in exactly once, whatever breaks in between."""

from __future__ import annotations

import asyncio
import json
import os
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from recsys_cli.artifacts import Artifacts, Spool, SpoolWriter, Version
from recsys_cli.artifacts.shop_id import claim, expect_same_shop, is_satellite
from recsys_cli.errors import StoreMissing
from recsys_cli.gdpr.rights.erase import erase
from recsys_cli.identity import load_secret
from recsys_cli.serving.reloader import Live
from recsys_cli.settings import Settings
from recsys_cli.store import Store
from recsys_cli.store.reading import spool_position
from recsys_cli.updates.collection import collect, collected
from recsys_cli.updates.drain import drain, remove_old_segments

NOW = int(time.time())


class Elsewhere:
    """A server on another machine: its artifacts directory, and what it receives."""

    def __init__(self, root: Path) -> None:
        self.root = root
        (root / "versions").mkdir(parents=True)
        self.writer = SpoolWriter(root / "spool")

    def receives(self, *orders: int) -> None:
        self.writer.append(
            [json.dumps({"t": "event", "user_id": f"c{n}", "item_id": "lamp", "ts": NOW}).encode() for n in orders]
        )


@pytest.fixture
def near(artifacts: Artifacts) -> Artifacts:
    artifacts.root.mkdir()
    return artifacts


@pytest.fixture
def far(tmp_path: Path) -> Elsewhere:
    return Elsewhere(tmp_path / "far")


def taken(store: Store, near: Artifacts, *servers: Path) -> list[str]:
    """Collect and drain as a pass does; the customers of all events in the store."""
    assert collect(near, servers, store.path) == []
    drain(store, Spool(near.spool_dir), keep=collected(near))
    with store.reading() as con:
        return sorted(row[0] or "" for row in con.execute("SELECT user_id FROM events").fetchall())


def test_one_worker_takes_in_all_spools_once(store: Store, near: Artifacts, far: Elsewhere, tmp_path: Path) -> None:
    other = Elsewhere(tmp_path / "third")
    SpoolWriter(near.spool_dir).append([b'{"t": "event", "user_id": "c0", "item_id": "lamp", "ts": 1}'])
    far.receives(1, 2)
    other.receives(3)
    assert taken(store, near, far.root, other.root) == ["c0", "c1", "c2", "c3"]
    far.receives(4)
    for _ in range(2):
        assert taken(store, near, far.root, other.root) == ["c0", "c1", "c2", "c3", "c4"]


def test_a_copy_that_was_killed_half_way_goes_on(store: Store, near: Artifacts, far: Elsewhere) -> None:
    far.receives(1, 2, 3)
    collect(near, [far.root], store.path)
    [name] = Spool(near.spool_dir).segments()
    os.truncate(near.spool_dir / name, 70)  # in the middle of a line
    (near.root / "collected.json").unlink()
    assert taken(store, near, far.root) == ["c1", "c2", "c3"]
    assert (near.spool_dir / name).read_bytes() == (far.root / "spool" / name).read_bytes()


def test_a_server_that_cannot_be_reached_keeps_nothing_else_back(
    store: Store, near: Artifacts, far: Elsewhere, tmp_path: Path
) -> None:
    other = Elsewhere(tmp_path / "third")
    far.receives(1)
    assert taken(store, near, far.root, other.root) == ["c1"]
    far.root.rename(tmp_path / "away")  # the mount is gone, the server goes on
    other.receives(3)
    [told] = collect(near, [far.root, other.root], store.path)
    assert str(far.root) in told.message
    drain(store, Spool(near.spool_dir), keep=collected(near))
    (tmp_path / "away").rename(far.root)
    far.receives(4)
    assert taken(store, near, far.root, other.root) == ["c1", "c3", "c4"]


def test_what_was_taken_in_long_ago_is_not_copied_again(store: Store, near: Artifacts, far: Elsewhere) -> None:
    far.receives(1)
    assert taken(store, near, far.root) == ["c1"]
    [name] = Spool(near.spool_dir).segments()
    for place in (near.spool_dir, far.root / "spool"):
        os.utime(place / name, (NOW - 90_000, NOW - 90_000))
    with store.reading() as con:
        position = spool_position(con)
    assert remove_old_segments(Spool(near.spool_dir), position, 24) == [name]
    assert taken(store, near, far.root) == ["c1"]
    assert not Spool(near.spool_dir).segments()
    far.writer.close()
    # The server deletes it by what the next version says; then nobody remembers it.
    with store.reading() as con:
        assert Spool(far.root / "spool").remove_drained(spool_position(con), NOW) == [name]
    taken(store, near, far.root)
    assert collected(near) == []
    far.receives(2)
    assert taken(store, near, far.root) == ["c1", "c2"]
    with store.reading() as con:
        assert name not in spool_position(con)


def test_lines_of_the_erased_arrive_blanked(
    store: Store, near: Artifacts, far: Elsewhere, values: Settings, line: Callable[..., bytes]
) -> None:
    before = [
        line(user_id="c1", item_id="lamp", ts=NOW, session_id="theirs"),
        line(session_id="theirs", item_id="lamp", ts=NOW - 9),
        line(user_id="Anna@Example.org", item_id="lamp", ts=NOW),
        line(user_id="c2", item_id="lamp", ts=NOW, session_id="lamp of c1"),
    ]
    far.writer.append(before)
    assert len(taken(store, near, far.root)) == 4
    assert erase(store, near, values, ["c1"]).erased == 1
    assert erase(store, near, values, ["anna@example.org"]).erased == 1
    [name] = Spool(near.spool_dir).segments()
    (near.spool_dir / name).unlink()  # as a day after it was taken in
    after = [
        line(user_id="c1", item_id="book", ts=NOW),  # was under way
        line(user_id="c1", item_id="book", ts=int(time.time()) + 999),  # they are back
        b'{"t": "merge", "session_id": "s", "user_id": "c1", "ts": 1}',
        b'{"t": "item", "item_id": "c1"}',
        b"no JSON",
    ]
    far.writer.append(after)
    with (far.root / "spool" / name).open("ab") as file:
        file.write(b'{"t": "event", "user_id": "c1"')  # its server is at it
    for _ in range(2):
        assert taken(store, near, far.root) == ["c1", "c2"]
    kept = {before[3], *after[1:2], *after[3:]}
    wanted = [one if one in kept else b" " * len(one) for one in before + after]
    assert (near.spool_dir / name).read_bytes() == b"".join(one + b"\n" for one in wanted)


def test_a_machine_with_the_key_alone_serves_and_one_without_is_refused(
    store: Store, near: Artifacts, values: Settings, tmp_path: Path
) -> None:
    with store.writing():
        pass
    claim(store.path, near.root)
    settings = replace(values, db=tmp_path / "elsewhere" / "recsys.duckdb")
    assert not is_satellite(settings.db, near.root)
    with pytest.raises(StoreMissing):
        expect_same_shop(settings.db, near.root)
    settings.db.parent.mkdir()
    settings.db.with_name("recsys.duckdb.key").write_bytes(store.path.with_name("shop.duckdb.key").read_bytes())
    assert is_satellite(settings.db, near.root)
    settings.db.with_name("recsys.duckdb.key").write_bytes(b"0" * 64)
    assert not is_satellite(settings.db, near.root)


def test_a_version_that_is_still_arriving_is_waited_for(
    train: Callable[[], Version], artifacts: Artifacts, values: Settings, tmp_path: Path
) -> None:
    """What keeps the folders in step brings files in any order, and the pointer perhaps first."""
    older, newer = train(), train()
    file = newer.file(max(newer.manifest["files"]))
    file.rename(tmp_path / "on-its-way")
    said: list[str] = []
    live = Live(artifacts, load_secret(values.db), 1.0, lambda event, **_: said.append(event), satellite=True)
    live.start(older.name, older, [])
    asyncio.run(live.look())
    assert live.ready().version == older.name
    (tmp_path / "on-its-way").rename(file)
    asyncio.run(live.look())
    assert live.ready().version == newer.name
    assert said == ["version_served"] * 2


def test_a_satellite_deletes_what_was_taken_in_a_day_ago(
    train: Callable[[], Version], artifacts: Artifacts, values: Settings, store: Store, writer: SpoolWriter
) -> None:
    for n in range(2):
        writer.append([json.dumps({"t": "event", "user_id": f"c{n}", "item_id": "a1", "ts": NOW}).encode()])
        writer.close()
        if not n:
            drain(store, Spool(artifacts.spool_dir))
    old, waiting = Spool(artifacts.spool_dir).segments()
    for name in (old, waiting):
        os.utime(artifacts.spool_dir / name, (NOW - 90_000, NOW - 90_000))
    version = train()
    for satellite, left in ((False, [old, waiting]), (True, [waiting])):
        live = Live(artifacts, load_secret(values.db), 1.0, lambda *_, **__: None, satellite=satellite)
        live.start(version.name, version, [])
        assert [*Spool(artifacts.spool_dir).segments()] == left
