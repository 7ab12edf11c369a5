"""Lines that are not ours: server and worker set the same ones aside, and go on with the rest."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path

import orjson

from recsys_cli.artifacts import Artifacts, Spool, SpoolWriter
from recsys_cli.artifacts.spool import read_lines
from recsys_cli.identity import load_secret
from recsys_cli.serving.live_events import Overlay
from recsys_cli.store import Store
from recsys_cli.updates.drain import drain

Line = Callable[..., bytes]
T0 = 1_700_000_000
EVENT = {"t": "event", "user_id": "u", "item_id": "a1", "ts": T0, "event_type": "view"}
ITEM = {"t": "item", "item_id": "a1", "price": 3.5, "availability": True, "ts": T0}
MERGE = {"t": "merge", "user_id": "u", "session_id": "s", "ts": T0}

STRANGE = [
    b"[]", b"5", b"null", b'"event"', b"{", b"{}", b"not JSON", b"\xff\xfe\x00", b'{"t": "event"}', b'{"t": 5}',
    b"[" * 60_000, b'{"a":' * 3000 + b"1" + b"}" * 3000, b'{"t": "of a newer recsys", "item_id": "a"}', b"\0" * 500,
    *(orjson.dumps(EVENT | change) for change in (
        {"item_id": 5}, {"item_id": ""}, {"item_id": None}, {"ts": "today"}, {"ts": 1.5}, {"ts": True}, {"ts": None},
        {"user_id": 7}, {"user_id": None}, {"user_id": ["u"]}, {"session_id": {}}, {"t": "Event"},
    )),
    b'{"t":"event","user_id":"u","item_id":"a1","ts":99999999999999999999}',
    b'{"t":"event","user_id":"u","item_id":"\\ud800","ts":1}',
    *(orjson.dumps(ITEM | change) for change in ({"item_id": ""}, {"item_id": None}, {"item_id": 3})),
    *(orjson.dumps(MERGE | change) for change in ({"user_id": ""}, {"session_id": None}, {"ts": None}, {"ts": "x"})),
]  # fmt: skip


def broken_names(rng: random.Random) -> list[bytes]:
    """Lines with one bit flipped in the name of a field that they need."""
    found = []
    for needed in (b"item_id", b"ts", b"user_id", b"t"):
        whole = orjson.dumps(EVENT)
        at = whole.index(b'"' + needed + b'":') + 1 + rng.randrange(len(needed))
        found.append(whole[:at] + bytes([whole[at] ^ 2]) + whole[at + 1 :])
    return found


def test_server_and_worker_set_the_same_lines_aside(
    shop: Store, artifacts: Artifacts, writer: SpoolWriter, line: Line
) -> None:
    strange = STRANGE + broken_names(random.Random(1))
    good = [line(user_id=f"u{n}", item_id="a1", ts=T0 + n) for n in range(len(strange))]
    for one, other in zip(strange, good, strict=True):
        writer.append([one])
        writer.append([other])
    writer.append([orjson.dumps(ITEM), orjson.dumps(MERGE), orjson.dumps(EVENT)])
    said = [read for one in strange for _, read in read_lines(one + b"\n")]
    assert said == [None] * len(strange)
    overlay = Overlay(Spool(artifacts.spool_dir), {}, load_secret(shop.path))
    changes = [change for lines in overlay.read() for change in lines]
    assert (overlay.events, overlay.set_aside) == (len(good) + 1, len(strange))
    assert [change.item_id for change in changes] == ["a1"]
    taken = drain(shop, Spool(artifacts.spool_dir))
    assert (taken.events, taken.rejected) == (len(good) + 1, len(strange))
    with shop.reading() as con:
        reasons = dict(con.execute("SELECT reason, count(*) FROM rejected GROUP BY reason").fetchall())
    assert reasons.keys() == {"not an event or item", "field missing or of the wrong type"}


def test_a_flipped_bit_anywhere_stops_neither(
    shop: Store, artifacts: Artifacts, writer: SpoolWriter, tmp_path: Path
) -> None:
    rng = random.Random(2)
    whole = [orjson.dumps(rng.choice([EVENT, ITEM, MERGE])) for _ in range(300)]
    for one in whole:
        at = rng.randrange(len(one))
        flipped = one[:at] + bytes([one[at] ^ 1 << rng.randrange(8)]) + one[at + 1 :]
        writer.append([flipped.replace(b"\n", b"?")])
    overlay = Overlay(Spool(artifacts.spool_dir), {}, load_secret(shop.path))
    read = sum(len(lines) for lines in overlay.read())
    taken = drain(shop, Spool(artifacts.spool_dir))
    assert read
    assert taken.rejected > 50
    assert overlay.set_aside > 50
