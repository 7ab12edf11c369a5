"""A backup is one consistent whole, and brings back everything but people who were erased."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from recsys_cli.artifacts import Artifacts, Spool, SpoolWriter, Version, keys, suppressed
from recsys_cli.artifacts.bundle import read_bundle
from recsys_cli.backup import backup
from recsys_cli.durable_files import sha256_of
from recsys_cli.errors import InputError, NotFound, UsageError
from recsys_cli.gdpr import erase
from recsys_cli.gdpr.rights.rectify import rectify
from recsys_cli.identity import find_key, load_secret, secret_path, state_dir, user_key
from recsys_cli.restore import check, restore
from recsys_cli.settings import Settings
from recsys_cli.store import Store
from recsys_cli.updates import run_pass

Train = Callable[[], Version]
Line = Callable[..., bytes]
Recsys = Callable[..., "subprocess.CompletedProcess[str]"]
T0 = 1_700_000_000


def events(store: Store) -> list[tuple[object, ...]]:
    with store.reading() as con:
        return con.execute("SELECT user_id, item_id, ts, qty, event_id FROM events ORDER BY ALL").fetchall()


def known(store: Store, artifacts: Artifacts, user: str) -> bool:
    bundle = read_bundle(artifacts.current().path)
    return find_key(bundle.keys, user_key(load_secret(store.path), user)) >= 0


def elsewhere(values: Settings, folder: Path) -> tuple[Settings, Store, Artifacts]:
    moved = replace(values, db=folder / "other.duckdb", artifacts=folder / "other_artifacts")
    return moved, Store(moved.db, moved.store), Artifacts(moved.artifacts)


@pytest.fixture
def running(
    shop: Store, artifacts: Artifacts, values: Settings, train: Train, writer: SpoolWriter, line: Line
) -> SpoolWriter:
    """A shop with two versions, one event taken from the spool and one waiting in it."""
    train()
    writer.append([line(user_id="first", item_id="a1", ts=T0)])
    run_pass(shop, artifacts, values)
    writer.append([line(user_id="waiting", item_id="a2", ts=T0)])
    return writer


def test_a_backup_restored_elsewhere_is_the_same_shop(
    shop: Store, artifacts: Artifacts, values: Settings, running: SpoolWriter, tmp_path: Path
) -> None:
    before = events(shop)
    made = backup(shop, artifacts, tmp_path / "saved")
    assert (tmp_path / "saved").stat().st_mode & 0o777 == 0o700
    settings, store, other = elsewhere(values, tmp_path / "elsewhere")
    restore(store, other, settings, made.path)
    assert events(store) == before
    assert other.names() == artifacts.names()
    assert other.current().name == "v000002"
    assert secret_path(store.path).read_bytes() == secret_path(shop.path).read_bytes()
    # What was waiting in the spool waits there, and is taken once.
    done = run_pass(store, other, settings)
    assert done.taken.events == 1
    assert known(store, other, "waiting")
    assert run_pass(store, other, settings).outcome == "nothing new"


def test_the_owners_key_is_in_no_backup_and_comes_from_none(
    shop: Store, artifacts: Artifacts, values: Settings, running: SpoolWriter, tmp_path: Path
) -> None:
    keys.make_owner_key(artifacts.root)
    made = backup(shop, artifacts, tmp_path / "saved")
    assert [path for path in made.path.rglob("*") if path.name == keys.OWNER_FILE] == []
    # One that was made before this was so.
    there = made.path / "artifacts" / keys.OWNER_FILE
    shutil.copyfile(artifacts.root / keys.OWNER_FILE, there)
    listed = json.loads((made.path / "backup.json").read_bytes())
    listed["files"][f"artifacts/{there.name}"] = {"bytes": there.stat().st_size, "sha256": sha256_of(there)}
    (made.path / "backup.json").write_text(json.dumps(listed))
    settings, store, other = elsewhere(values, tmp_path / "elsewhere")
    restore(store, other, settings, made.path)
    assert not (other.root / keys.OWNER_FILE).exists()


def test_keys_come_back_only_where_there_are_none(
    shop: Store, artifacts: Artifacts, values: Settings, running: SpoolWriter, tmp_path: Path
) -> None:
    keys.add_key(artifacts.root, "shop", ["serve"])
    made = backup(shop, artifacts, tmp_path / "saved")
    settings, store, other = elsewhere(values, tmp_path / "elsewhere")
    restore(store, other, settings, made.path)
    assert [key.name for key in keys.read_keys(other.root)] == ["shop"]
    keys.revoke_key(artifacts.root, "shop")
    restore(shop, artifacts, values, made.path, replace=True)
    assert keys.read_keys(artifacts.root) == []


def test_what_a_backup_does_not_list_is_not_taken(
    shop: Store, artifacts: Artifacts, values: Settings, running: SpoolWriter, tmp_path: Path
) -> None:
    made = backup(shop, artifacts, tmp_path / "saved")
    planted = ("recsys.toml", "artifacts/keys.json", "artifacts/versions/v000009/x", "artifacts/spool/planted.jsonl")
    for name in planted:
        (made.path / name).parent.mkdir(parents=True, exist_ok=True)
        (made.path / name).write_text('[update]\non_failure = "true"\n' if name == "recsys.toml" else "[]")
    settings, store, other = elsewhere(values, tmp_path / "elsewhere")
    file = tmp_path / "elsewhere" / "recsys.toml"
    restore(store, other, settings, made.path, settings_file=file)
    assert not file.exists()
    assert [name for name in planted[1:] if (other.root / name.removeprefix("artifacts/")).exists()] == []


@pytest.mark.parametrize("name", ["artifacts/current", "artifacts/versions"])
def test_a_link_in_a_backup_is_refused(
    shop: Store, artifacts: Artifacts, values: Settings, running: SpoolWriter, tmp_path: Path, name: str
) -> None:
    """A file of the same content, or a whole folder, that is somewhere else."""
    made = backup(shop, artifacts, tmp_path / "saved")
    (made.path / name).rename(tmp_path / "moved")
    (made.path / name).symlink_to(tmp_path / "moved")
    settings, store, other = elsewhere(values, tmp_path / "elsewhere")
    with pytest.raises(InputError, match="is a link"):
        restore(store, other, settings, made.path)
    assert not store.exists()
    assert not other.root.exists()


def test_restoring_over_a_shop_goes_back_but_loses_nothing_that_was_received(
    shop: Store, artifacts: Artifacts, values: Settings, running: SpoolWriter, tmp_path: Path, line: Line
) -> None:
    made = backup(shop, artifacts, tmp_path / "saved")
    before = events(shop)
    running.append([line(user_id="later", item_id="a3", ts=T0)])
    run_pass(shop, artifacts, values)
    assert artifacts.current().name == "v000003"
    with pytest.raises(InputError, match="already exists"):
        restore(shop, artifacts, values, made.path)
    restore(shop, artifacts, values, made.path, replace=True)
    assert events(shop) == before
    assert (artifacts.current().name, artifacts.names()) == ("v000002", ["v000001", "v000002"])
    assert run_pass(shop, artifacts, values).taken.events == 2
    assert known(shop, artifacts, "later")
    assert artifacts.current().name == "v000004"  # a name is never given twice


def test_whoever_was_erased_since_stays_erased(
    shop: Store, artifacts: Artifacts, values: Settings, running: SpoolWriter, tmp_path: Path
) -> None:
    made = backup(shop, artifacts, tmp_path / "saved")
    erase(shop, artifacts, values, ["a-user3", "waiting"])
    done = restore(shop, artifacts, values, made.path, replace=True)
    assert done.kept_out == 1
    assert not [row for row in events(shop) if row[0] == "a-user3"]
    assert not known(shop, artifacts, "a-user3")
    assert known(shop, artifacts, "a-user4")
    run_pass(shop, artifacts, values)
    assert not known(shop, artifacts, "waiting")
    spooled = b"".join(chunk.data for chunk in Spool(artifacts.spool_dir).read({}))
    assert b"waiting" not in spooled


def test_corrections_made_since_are_undone_and_counted(
    shop: Store, artifacts: Artifacts, values: Settings, running: SpoolWriter, tmp_path: Path
) -> None:
    made, before = backup(shop, artifacts, tmp_path / "saved"), events(shop)
    listed = json.loads((made.path / "backup.json").read_bytes())
    with pytest.raises(NotFound, match="no such event"):
        rectify(shop, artifacts, values, "first", {}, ["nothing"])
    rectify(shop, artifacts, values, "first", {}, ["a1"])
    assert events(shop) != before
    listed["created_at"] -= 1  # the log counts in seconds
    (made.path / "backup.json").write_text(json.dumps(listed))
    assert restore(shop, artifacts, values, made.path, replace=True).corrections == 1
    assert events(shop) == before
    listed["created_at"] += 3600
    (made.path / "backup.json").write_text(json.dumps(listed))
    assert restore(shop, artifacts, values, made.path, replace=True).corrections == 0


@pytest.mark.parametrize(
    ("field", "value"), [("created_at", "x"), ("created_at", 1e30), ("format", "x"), ("files", {})]
)
def test_a_list_that_makes_no_sense_is_refused_before_anything_changes(
    shop: Store, artifacts: Artifacts, values: Settings, tmp_path: Path, field: str, value: object
) -> None:
    made = backup(shop, artifacts, tmp_path / "saved")
    listed = json.loads((made.path / "backup.json").read_bytes())
    (made.path / "backup.json").write_text(json.dumps(listed | {field: value}))
    digest = sha256_of(shop.path)
    with pytest.raises(InputError, match="its list is damaged"):
        restore(shop, artifacts, values, made.path, replace=True)
    assert sha256_of(shop.path) == digest


def test_damage_in_a_backup_is_found_before_anything_changes(
    shop: Store, artifacts: Artifacts, values: Settings, running: SpoolWriter, tmp_path: Path
) -> None:
    made = backup(shop, artifacts, tmp_path / "saved")
    files = [made.path / name for name in check(made.path)["files"]]
    for file in files:
        whole = file.read_bytes()
        file.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]) if whole else b"x")
        with pytest.raises(InputError, match="not what was backed up"):
            restore(shop, artifacts, values, made.path, replace=True)
        file.write_bytes(whole)
    (made.path / "backup.json").unlink()
    with pytest.raises(InputError, match="not a recsys backup"):
        restore(shop, artifacts, values, made.path, replace=True)
    assert artifacts.current().name == "v000002"


def test_a_backup_is_not_mixed_into_something_and_not_put_into_another_shop(
    shop: Store, artifacts: Artifacts, values: Settings, running: SpoolWriter, tmp_path: Path
) -> None:
    made = backup(shop, artifacts, tmp_path / "saved")
    with pytest.raises(InputError, match="already exists"):
        backup(shop, artifacts, made.path)
    secret_path(shop.path).write_text("0" * 64)
    digest = sha256_of(shop.path)
    with pytest.raises(InputError, match="another shop"):
        restore(shop, artifacts, values, made.path, replace=True)
    assert sha256_of(shop.path) == digest


def test_a_restore_that_was_killed_is_completed_by_the_next(
    shop: Store,
    artifacts: Artifacts,
    values: Settings,
    running: SpoolWriter,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    import recsys_cli.restore as module

    before = events(shop)
    made = backup(shop, artifacts, tmp_path / "saved")
    shutil.rmtree(artifacts.versions_dir / "v000002")
    for step in ("_restore_spool", "_restore_database", "_restore_pointer"):
        monkeypatch.setattr(module, step, lambda *args: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            restore(shop, artifacts, values, made.path, replace=True)
        monkeypatch.undo()
    restore(shop, artifacts, values, made.path, replace=True)
    assert events(shop) == before
    assert artifacts.current().name == "v000002"
    assert not list(artifacts.versions_dir.glob(".doomed*"))


def test_restoring_where_no_list_of_erased_people_is_says_so_and_how_to_bring_it(
    shop: Store, artifacts: Artifacts, values: Settings, running: SpoolWriter, tmp_path: Path, recsys: Recsys
) -> None:
    made = backup(shop, artifacts, tmp_path / "saved")
    erase(shop, artifacts, values, ["a-user3"])
    settings, store, other = elsewhere(values, tmp_path / "elsewhere")
    command = ("restore", str(made.path), "--db", str(settings.db), "--artifacts", str(settings.artifacts))
    done = recsys(*command)
    listed = state_dir(settings.db) / suppressed.FILE
    assert (done.returncode, f"to {listed}" in done.stdout) == (0, True), done
    assert [row for row in events(store) if row[0] == "a-user3"]
    shutil.copy(state_dir(values.db) / suppressed.FILE, listed)
    done = recsys(*command, "--replace")
    assert (done.returncode, "was not here" in done.stdout) == (0, False), done
    assert "1 person erased since then was erased from it." in done.stdout
    assert not [row for row in events(store) if row[0] == "a-user3"]
    assert not known(store, other, "a-user3")


def test_a_shop_that_was_never_trained_on_is_backed_up(
    shop: Store, artifacts: Artifacts, values: Settings, tmp_path: Path
) -> None:
    backup(shop, artifacts, tmp_path / "b")
    moved, store, versions = elsewhere(values, tmp_path / "new")
    restore(store, versions, moved, tmp_path / "b")
    assert events(store) == events(shop)
    assert versions.names() == []


def test_without_versions_the_backup_says_so_and_makes_no_directory(
    shop: Store, tmp_path: Path, recsys: Recsys
) -> None:
    command = ("--db", str(shop.path), "--artifacts", "nodir")
    done = recsys("backup", "b", *command)
    assert done.returncode == 0, done.stderr
    assert "There is no version to back up in nodir: only the database was." in done.stdout
    assert not (tmp_path / "nodir").exists()
    assert json.loads(recsys("backup", "c", *command, "--json").stdout)["versions"] == 0


def test_a_damaged_version_is_named_when_it_is_copied_and_when_it_is_put_back(
    shop: Store, artifacts: Artifacts, values: Settings, running: SpoolWriter, tmp_path: Path, recsys: Recsys
) -> None:
    state = ("--db", str(shop.path), "--artifacts", str(artifacts.root))
    assert "damaged" not in recsys("backup", "whole", *state).stderr
    folder = artifacts.versions_dir / "v000002"
    file = max((p for p in folder.rglob("*") if p.is_file()), key=lambda p: p.stat().st_size)
    whole = file.read_bytes()
    file.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    done = recsys("backup", "b", *state, "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["damaged"] == ["v000002"]
    assert "Version v000002 is damaged and was copied as it is" in done.stderr
    back = recsys("restore", "b", "--db", "new/shop.duckdb", "--artifacts", "new/artifacts")
    assert back.returncode == 0, back.stderr
    assert "Version v000002 is damaged and was so in the backup" in back.stderr


@pytest.mark.parametrize("inside", ["artifacts", "versions", "gdpr", "named"])
def test_a_backup_does_not_go_into_what_it_copies(
    shop: Store, artifacts: Artifacts, running: SpoolWriter, inside: str
) -> None:
    if inside == "named":
        with pytest.raises(UsageError, match="is named like what belongs to"):
            backup(shop, artifacts, shop.path.with_name(f"{shop.path.name}.bak"))
        return
    root = {
        "artifacts": artifacts.root,
        "versions": artifacts.versions_dir,
        "gdpr": state_dir(shop.path),
    }[inside]
    with pytest.raises(UsageError, match="which is to be backed up"):
        backup(shop, artifacts, root / "b")
    assert not (root / "b").exists()
