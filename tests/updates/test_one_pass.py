"""One pass: everything new, once, in a new version, without training."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from recsys_cli.artifacts import Artifacts, SpoolWriter, Version, worker_state
from recsys_cli.artifacts.bundle import read_bundle
from recsys_cli.gdpr import erase
from recsys_cli.identity import find_key, load_secret, user_key
from recsys_cli.models import registry
from recsys_cli.settings import Settings, StoreSettings
from recsys_cli.store import Store
from recsys_cli.updates import AnotherWorker, alone, beside_server, recorded_pass, run_pass
from recsys_cli.updates.one_pass import LOCK

Train = Callable[[], Version]
Line = Callable[..., bytes]

T0, DAY = 1_700_000_000, 86_400  # as in conftest


def scores(artifacts: Artifacts, store: Store, user: str) -> dict[str, float]:
    """What the served model thinks of every item for a customer, by item id."""
    bundle = read_bundle(artifacts.current().path)
    row = find_key(bundle.keys, user_key(load_secret(store.path), user))
    assert row >= 0, user
    found = registry.load(bundle).score(bundle.histories.rows(np.array([row])), bundle.now)[0]
    return dict(zip(bundle.items().ids.to_pylist(), map(float, found), strict=True))


def test_a_pass_with_nothing_new_publishes_nothing(
    shop: Store, artifacts: Artifacts, values: Settings, train: Train, monkeypatch: pytest.MonkeyPatch
) -> None:
    train()

    def dear(*args: object, **more: object) -> None:
        raise AssertionError("a pass with nothing new reads the version and the whole store")

    monkeypatch.setattr("recsys_cli.updates.fold_in.fold", dear)
    assert run_pass(shop, artifacts, values).outcome == "nothing new"
    assert artifacts.names() == ["v000001"]


def test_new_events_reach_the_customers_history(
    shop: Store, artifacts: Artifacts, values: Settings, train: Train, writer: SpoolWriter, line: Line
) -> None:
    train()
    writer.append([line(user_id="stranger", item_id=f"a{i}", ts=T0 + 50 * DAY + i) for i in range(3)])
    done = run_pass(shop, artifacts, values)
    assert (done.outcome, done.version, done.new_events, done.taken.events) == ("published", "v000002", 3, 3)
    liked = scores(artifacts, shop, "stranger")
    assert np.mean([liked[f"a{i}"] for i in range(10)]) > np.mean([liked[f"b{i}"] for i in range(10)]) + 0.2
    assert run_pass(shop, artifacts, values).outcome == "nothing new"


def test_late_and_disordered_events_take_their_place_in_the_history(
    shop: Store, artifacts: Artifacts, values: Settings, train: Train, writer: SpoolWriter, line: Line
) -> None:
    train()
    for ts in (T0 + 50 * DAY, T0 + DAY, T0 - 9 * DAY):
        writer.append([line(user_id="late", item_id="a1", ts=ts)])
        run_pass(shop, artifacts, values)
    bundle = read_bundle(artifacts.current().path)
    row = find_key(bundle.keys, user_key(load_secret(shop.path), "late"))
    assert list(bundle.histories.rows(np.array([row])).ts) == [T0 - 9 * DAY, T0 + DAY, T0 + 50 * DAY]


def test_a_new_item_with_one_buyer_is_for_customers_like_that_one(
    shop: Store, artifacts: Artifacts, values: Settings, train: Train, writer: SpoolWriter, line: Line
) -> None:
    train()
    writer.append([line(user_id="a-user3", item_id="brand-new", ts=T0 + 50 * DAY)])
    assert run_pass(shop, artifacts, values).new_items == 1
    assert scores(artifacts, shop, "a-user7")["brand-new"] > 3 * abs(scores(artifacts, shop, "b-user7")["brand-new"])


def test_a_new_item_that_nobody_bought_is_for_those_who_like_its_kind(
    shop: Store, artifacts: Artifacts, values: Settings, train: Train, writer: SpoolWriter, line: Line
) -> None:
    train()
    writer.append([b'{"t":"item","item_id":"x","title":"Apple number 11","category":"fruit","ts":1}'])
    assert run_pass(shop, artifacts, values).new_items == 1
    assert scores(artifacts, shop, "a-user7")["x"] > 3 * abs(scores(artifacts, shop, "b-user7")["x"])


def test_items_keep_their_codes_and_new_ones_come_after(
    shop: Store, artifacts: Artifacts, values: Settings, train: Train, writer: SpoolWriter, line: Line
) -> None:
    before = read_bundle(train().path).items().ids.to_pylist()
    writer.append([line(user_id="u", item_id=item, ts=T0) for item in ("0-first", "zz", "ab")])
    run_pass(shop, artifacts, values)
    assert read_bundle(artifacts.current().path).items().ids.to_pylist() == [*before, "0-first", "ab", "zz"]


def test_what_came_by_ingest_after_training_is_folded_in_too(
    shop: Store, artifacts: Artifacts, values: Settings, train: Train
) -> None:
    train()
    with shop.writing() as con:
        con.execute(
            "INSERT INTO events (user_id, item_id, ts, qty, event_type) VALUES ('n', 'a1', ?, 1, 'purchase')", [T0]
        )
    assert run_pass(shop, artifacts, values).new_events == 1


def test_a_version_published_meanwhile_is_not_replaced_by_older_work(
    shop: Store,
    artifacts: Artifacts,
    values: Settings,
    train: Train,
    writer: SpoolWriter,
    line: Line,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    train()
    writer.append([line(user_id="u", item_id="a1", ts=T0)])
    import recsys_cli.updates.fold_in as worker

    plain, raced = worker.read_bundle, []

    def slow_reader(path: Path) -> object:
        if not raced:
            raced.append(train().name)
        return plain(path)

    monkeypatch.setattr(worker, "read_bundle", slow_reader)
    done = run_pass(shop, artifacts, values)
    assert raced == ["v000002"]
    # The training has taken in everything; the pass notices and has nothing to add.
    assert (done.outcome, artifacts.current_name()) == ("nothing new", "v000002")


def test_a_damaged_current_version_is_replaced_from_the_one_before(
    shop: Store, artifacts: Artifacts, values: Settings, train: Train, writer: SpoolWriter, line: Line
) -> None:
    train()
    writer.append([line(user_id="u", item_id="a1", ts=T0)])
    run_pass(shop, artifacts, values)
    file = next((artifacts.versions_dir / "v000002" / "model").iterdir())
    file.write_bytes(b"x" + file.read_bytes()[1:])
    done = run_pass(shop, artifacts, values)
    assert (done.outcome, done.version) == ("published", "v000003")
    manifest = artifacts.current().manifest
    assert manifest["parent"] == "v000001"
    assert manifest["trained"]["version"] == "v000001"
    assert manifest["data"]["watermark"]["events"] == 241


def test_without_a_model_events_are_taken_and_nothing_is_published(
    shop: Store, artifacts: Artifacts, values: Settings, writer: SpoolWriter, line: Line
) -> None:
    writer.append([line(user_id="u", item_id="a1", ts=T0)])
    done = recorded_pass(shop, artifacts, values)
    assert (done.outcome, done.version, done.taken.events) == ("drained", None, 1)
    assert worker_state.read(artifacts.root).outcome == "drained"


def test_two_workers_the_second_leaves_at_once(artifacts: Artifacts) -> None:
    with alone(artifacts), pytest.raises(AnotherWorker, match="already running"), alone(artifacts):
        pass


def test_the_second_command_says_so_and_ends_well(
    shop: Store, artifacts: Artifacts, values: Settings, recsys: Callable[..., subprocess.CompletedProcess[str]]
) -> None:
    with alone(artifacts):
        done = recsys("update-worker", "--once", "--artifacts", str(artifacts.root), "--db", str(values.db))
    assert (done.returncode, "already running" in done.stdout) == (0, True), done


def test_a_failing_pass_is_recorded_and_the_next_good_one_clears_it(
    shop: Store, artifacts: Artifacts, values: Settings, train: Train, writer: SpoolWriter, line: Line
) -> None:
    train()
    writer.append([line(user_id="u", item_id="a1", ts=T0)])
    key = shop.path.with_name(shop.path.name + ".key")
    hidden = key.rename(key.with_suffix(".away"))
    key.write_text("damaged")
    with pytest.raises(Exception, match="damaged"):
        recorded_pass(shop, artifacts, values)
    failed = worker_state.read(artifacts.root)
    assert (failed.outcome, failed.failures) == ("failed", 1)
    assert "damaged" in failed.message
    hidden.rename(key)
    recorded_pass(shop, artifacts, values)
    well = worker_state.read(artifacts.root)
    assert (well.outcome, well.failures, well.message, well.version) == ("published", 0, "", "v000002")


def test_the_loop_ends_on_sigterm_after_its_pass(artifacts: Artifacts, values: Settings, shop: Store) -> None:
    command = [sys.executable, "-m", "recsys_cli", "update-worker", "--interval", "0.2"]
    state = ["--artifacts", str(artifacts.root), "--db", str(values.db)]
    process = subprocess.Popen(command + state, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 120
    while worker_state.read(artifacts.root).passes < 2 and time.monotonic() < deadline:
        time.sleep(0.05)
    process.terminate()
    assert process.wait(timeout=120) == 0
    assert worker_state.read(artifacts.root).passes >= 2
    assert (artifacts.root / LOCK).exists()


def test_files_in_the_watched_folder_are_taken_once(
    shop: Store, artifacts: Artifacts, values: Settings, train: Train, tmp_path: Path
) -> None:
    train()
    folder = tmp_path / "inbox"
    folder.mkdir()
    (folder / "orders.csv").write_text(f"user_id,item_id,ts,qty\nnew,a1,{T0},1\n")
    (folder / "odd.csv").write_text("colour\nred\n")
    values = replace(values, ingest=replace(values.ingest, folder=str(folder), quiet_seconds=0))
    assert recorded_pass(shop, artifacts, values).new_events == 1
    assert (folder / "set-aside").is_dir()
    again = recorded_pass(shop, artifacts, values)
    assert (again.outcome, sorted(worker_state.read(artifacts.root).seen)) == ("nothing new", ["orders.csv"])


def test_what_killed_processes_left_is_gone_after_an_idle_pass(
    shop: Store, artifacts: Artifacts, values: Settings, train: Train
) -> None:
    train()
    for name in (".draft-1-abc", ".doomed-v000009-abc"):
        (artifacts.versions_dir / name).mkdir()
    (artifacts.root / ".worker.json.0a1b2c3d.tmp").touch()
    assert run_pass(shop, artifacts, values).outcome == "nothing new"
    assert not [p for p in artifacts.root.rglob(".*") if p.name not in (".lock", ".worker.lock")]


def test_an_erasure_that_cannot_be_finished_is_a_failed_pass_that_did_the_rest(
    shop: Store, artifacts: Artifacts, values: Settings, train: Train, writer: SpoolWriter, line: Line, tmp_path: Path,
    recsys: Callable[..., subprocess.CompletedProcess[str]],
) -> None:  # fmt: skip
    train()
    note, told = artifacts.root / "notes.txt", tmp_path / "told"
    note.write_text("customer a-user3-long called")
    writer.append([line(user_id="a-user3-long", item_id="a1", ts=T0)])
    assert erase(shop, artifacts, values, ["a-user3-long"], clock=lambda: 0).failed  # long ago: time to try again
    writer.append([line(user_id="u", item_id="a1", ts=T0)])
    state = ["--artifacts", str(artifacts.root), "--db", str(values.db)]
    done = recsys("update-worker", "--once", "--on-failure", f'cat > "{told}"', *state)
    assert (done.returncode, "notes.txt" in done.stderr, "notes.txt" in told.read_text()) == (10, True, True), done
    failed = worker_state.read(artifacts.root)
    assert (failed.outcome, failed.failures, failed.version, failed.last_success_at) == ("failed", 1, "v000002", None)
    assert "notes.txt" in failed.message
    assert shop_rows(shop, "u") == 1
    note.unlink()
    done = recsys("update-worker", "--once", *state)
    assert done.returncode == 0, done
    well = worker_state.read(artifacts.root)
    assert (well.outcome, well.failures, well.message) == ("nothing new", 0, "")


def shop_rows(store: Store, user: str) -> int:
    with store.reading() as con:
        return int(con.execute("SELECT count(*) FROM events WHERE user_id = ?", [user]).fetchall()[0][0])


def test_a_pass_leaves_memory_to_the_server() -> None:
    assert beside_server(StoreSettings()).memory_limit == "400MB"
    assert beside_server(StoreSettings(memory_limit="64 MiB")).memory_limit == "64 MiB"
