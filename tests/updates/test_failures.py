"""Every failure of a pass is recorded and told, and one bad thing does not keep the rest from being done."""

from __future__ import annotations

import errno
import os
import resource
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path

import duckdb
import numpy as np
import pytest

from recsys_cli.artifacts import Artifacts, SpoolWriter, Version, orders, worker_state
from recsys_cli.artifacts.manifest import MANIFEST, dump_manifest
from recsys_cli.doctor.diagnosis import diagnose
from recsys_cli.errors import NewerVersion, NoModel, RecsysError, StoreError
from recsys_cli.progress import SILENT
from recsys_cli.settings import Settings
from recsys_cli.status import status
from recsys_cli.store import Store
from recsys_cli.updates import alone, lineage, recorded_pass, run_once, run_pass
from recsys_cli.updates.failures import tell_owner

Train = Callable[[], Version]
Line = Callable[..., bytes]
T0 = 1_700_000_000

UNFORESEEN = [
    duckdb.Error("TransactionContext Error: Current transaction is aborted"), MemoryError(), KeyError("t"),
    np.linalg.LinAlgError("Singular matrix"), OSError(errno.ENOSPC, "No space left on device", "x.duckdb"),
    ValueError("[]"), RecursionError(), UnicodeEncodeError("utf-8", "M\udce4rz", 1, 2, "surrogates not allowed"),
]  # fmt: skip


def with_command(values: Settings, command: str) -> Settings:
    return replace(values, update=replace(values.update, on_failure=command))


@pytest.mark.parametrize("error", UNFORESEEN, ids=lambda e: type(e).__name__)
def test_an_unforeseen_error_is_a_recorded_failure(
    shop: Store, artifacts: Artifacts, values: Settings, error: Exception, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    def fail(*args: object, **more: object) -> None:
        raise error

    told = tmp_path / "told"
    artifacts.root.mkdir()
    settings = with_command(values, f'echo "$RECSYS_FAILURES: $RECSYS_FAILURE" >> "{told}"')
    with monkeypatch.context() as broken:
        broken.setattr("recsys_cli.updates.one_pass.carry_out.run", fail)
        with pytest.raises(RecsysError) as raised:
            recorded_pass(shop, artifacts, settings)
    failed = worker_state.read(artifacts.root)
    assert (failed.outcome, failed.failures, failed.message) == ("failed", 1, str(raised.value))
    assert told.read_text().startswith("1: ")
    recorded_pass(shop, artifacts, settings)
    assert told.read_text().splitlines()[-1] == "1: "
    assert worker_state.read(artifacts.root).failures == 0


def test_the_owner_is_told_at_growing_intervals_and_when_all_is_well(tmp_path: Path) -> None:
    told = tmp_path / "told"
    for count in range(1, 20):
        tell_owner(f'cat >> "{told}"', SILENT, failure=f"failure {count}", failures=count)
    tell_owner(f'cat >> "{told}"', SILENT, failure="", failures=19)
    tell_owner(f'cat >> "{told}"', SILENT, failure="", failures=0)
    assert told.read_text().splitlines() == [
        *(f"failure {n}" for n in (1, 2, 4, 8, 16)),
        "The update worker recovered after 19 failed passes.",
    ]


def test_a_missing_folder_fails_at_the_end_and_everything_else_is_done(
    shop: Store, artifacts: Artifacts, values: Settings, train: Train, writer: SpoolWriter, line: Line, tmp_path: Path
) -> None:
    train()
    writer.append([line(user_id="u", item_id="a1", ts=T0)])
    away = replace(values, ingest=replace(values.ingest, folder=str(tmp_path / "unmounted")))
    with pytest.raises(RecsysError, match="no folder"):
        recorded_pass(shop, artifacts, away)
    failed = worker_state.read(artifacts.root)
    assert (failed.outcome, failed.failures, failed.version) == ("failed", 1, "v000002")


def test_a_link_in_the_folder_is_reported_by_status_and_doctor(
    shop: Store, artifacts: Artifacts, values: Settings, train: Train, tmp_path: Path
) -> None:
    train()
    folder = tmp_path / "in"
    folder.mkdir()
    (folder / "orders.csv").symlink_to(tmp_path / "elsewhere.csv")
    watched = replace(values, ingest=replace(values.ingest, folder=str(folder)))
    recorded_pass(shop, artifacts, watched)
    assert status(shop, artifacts).as_dict()["worker"]["links_not_followed"] == "orders.csv"
    (told,) = [f for f in diagnose(watched).findings if f.name == "links_not_followed"]
    assert told.sentence == f"Links in {folder} are not followed: orders.csv."
    (folder / "orders.csv").unlink()
    recorded_pass(shop, artifacts, watched)
    assert "links_not_followed" not in status(shop, artifacts).as_dict()["worker"]


def test_a_damaged_request_is_told_and_keeps_nothing_from_being_done(
    shop: Store, artifacts: Artifacts, values: Settings, train: Train, writer: SpoolWriter, line: Line
) -> None:
    train()
    orders.put(artifacts.root, orders.EXPORT, ["a-user1"], "shopify")
    (artifacts.root / orders.FOLDER / "torn.json").write_text('{"kind": "era')
    writer.append([line(user_id="u", item_id="a1", ts=T0)])
    with pytest.raises(StoreError, match=r"torn\.json is damaged"):
        run_pass(shop, artifacts, values)
    assert (artifacts.current_name(), orders.waiting(artifacts.root)) == ("v000002", [])


def test_a_place_that_cannot_be_had_is_told_as_well(
    shop: Store, artifacts: Artifacts, values: Settings, tmp_path: Path
) -> None:
    artifacts.root.mkdir()
    (artifacts.root / ".worker.lock").mkdir()
    told = tmp_path / "told"
    with pytest.raises(StoreError):
        run_once(shop, artifacts, with_command(values, f'cat > "{told}"'))
    assert ".worker.lock" in told.read_text()


class TestPointer:
    @pytest.mark.parametrize("spoil", ["missing", "damaged"])
    def test_a_lost_pointer_is_written_again(
        self, shop: Store, artifacts: Artifacts, values: Settings, train: Train, spoil: str
    ) -> None:
        train()
        pointer = artifacts.root / "current"
        whole = pointer.read_bytes()
        pointer.unlink() if spoil == "missing" else pointer.write_bytes(b"v0000")
        assert artifacts.current().name == "v000001"  # what a server that starts now takes
        assert run_pass(shop, artifacts, values).version == "v000001"
        assert pointer.read_bytes() == whole

    def test_without_a_whole_version_the_pass_fails_or_trains(
        self, shop: Store, artifacts: Artifacts, values: Settings, train: Train, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        train()
        (artifacts.versions_dir / "v000001" / "model.json").write_text("{")
        with pytest.raises(NoModel, match="is intact"):
            run_pass(shop, artifacts, values)
        monkeypatch.setattr("recsys_cli.updates.one_pass.FIRST_EVENTS", 100)
        healing = replace(values, update=replace(values.update, retrain=True), train=replace(values.train, model="als"))
        done = run_pass(shop, artifacts, healing)
        assert done.version == "v000002"
        assert artifacts.current().name == "v000002"


def test_a_version_of_a_newer_recsys_is_passed_over_by_all(
    shop: Store, artifacts: Artifacts, values: Settings, train: Train, tmp_path: Path
) -> None:
    manifest = train().manifest
    shutil.copytree(artifacts.versions_dir / "v000001", artifacts.versions_dir / "v000002")
    newer = dump_manifest(manifest | {"name": "v000002", "format": 99})
    (artifacts.versions_dir / "v000002" / MANIFEST).write_bytes(newer)
    artifacts.point_to("v000002")
    told: list[str] = []
    assert artifacts.current(damaged=lambda e: told.append(e.code)).name == "v000001"
    assert told == ["newer_version"]
    with pytest.raises(NewerVersion, match="newer recsys"):
        artifacts.open("v000002")
    kinds = {e.name: e.kind for e in lineage.entries(artifacts)}
    assert kinds.keys() == {"v000001", "v000002"}
    assert kinds["v000002"] == "of a newer recsys"
    with artifacts.exclusive():
        artifacts.prune(1)
    assert artifacts.names() == ["v000001", "v000002"]
    assert lineage.rollback(artifacts)[1].name == "v000001"
    assert run_pass(shop, artifacts, values).outcome == "nothing new"


@contextmanager
def no_descriptors() -> Iterator[None]:
    """No file more can be opened."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    taken: list[int] = []
    resource.setrlimit(resource.RLIMIT_NOFILE, (256, hard))
    try:
        with suppress(OSError):
            while True:
                taken.append(os.open(os.devnull, os.O_RDONLY))
        yield
    finally:
        for fd in taken:
            os.close(fd)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_descriptors_used_up_are_no_damage(artifacts: Artifacts, shop: Store, train: Train) -> None:
    train()
    with no_descriptors():
        with pytest.raises(StoreError, match="Too many open files"):
            artifacts.open("v000001")
        with pytest.raises(StoreError, match="Too many open files"):
            artifacts.current()
    assert artifacts.current().name == "v000001"


def test_the_good_version_from_before_a_collapse_is_not_pruned(artifacts: Artifacts) -> None:
    for events in (8000, 8100, 40, 41, 42, 43):
        with artifacts.draft() as draft, artifacts.exclusive():
            (draft.path / "x").write_text("x")
            artifacts.publish(draft, {"data": {"events": events}})
    with artifacts.exclusive():
        artifacts.prune(2)
    assert artifacts.names() == ["v000002", "v000005", "v000006"]
    before = artifacts.before_collapse(artifacts.current())
    assert before is not None
    assert before.name == "v000002"


@pytest.mark.parametrize(("jump", "left"), [(1000, ["v000001", "v000002", "v000003", "v000004"]), (0, ["v000004"])])
def test_a_jumped_clock_makes_no_version_old(
    artifacts: Artifacts, monkeypatch: pytest.MonkeyPatch, jump: int, left: list[str]
) -> None:
    now = T0
    monkeypatch.setattr("recsys_cli.artifacts.versions.time.time", lambda: now)
    for days in (0, 1, 2, 2 + (jump or 40) if jump else 41):
        now = T0 + days * 86_400
        with artifacts.draft() as draft, artifacts.exclusive():
            (draft.path / "x").write_text("x")
            artifacts.publish(draft, {"data": {"events": 1}})
    if not jump:  # a fortnight later it is true that they are old
        now += 15 * 86_400
    with artifacts.exclusive():
        artifacts.prune(5, days=30)
    assert artifacts.names() == left


def test_status_waits_for_nobody(shop: Store, artifacts: Artifacts, train: Train) -> None:
    train()
    patient = Store(shop.path, replace(shop.settings, lock_timeout=600))
    with shop.lock():
        found = status(patient, artifacts)
    assert found.version is not None
    assert "in use by" in found.busy
    assert status(patient, artifacts).busy == ""


def test_a_server_stops_acknowledging_when_its_folder_is_moved_away(artifacts: Artifacts, writer: SpoolWriter) -> None:
    writer.append([b"{}"])
    artifacts.root.rename(artifacts.root.with_name("moved"))
    with pytest.raises(StoreError, match="is gone"):
        writer.append([b"{}"])
    assert not artifacts.root.exists()
    artifacts.root.with_name("moved").rename(artifacts.root)
    writer.append([b"{}"])
    assert sum(1 for path in artifacts.spool_dir.glob("*.jsonl") for _ in path.read_bytes().splitlines()) == 2


def test_a_refused_flush_leaves_no_empty_segment(artifacts: Artifacts, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(fd: int, data: bytes) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    writer = SpoolWriter(artifacts.spool_dir)
    with monkeypatch.context() as disk:
        disk.setattr("recsys_cli.artifacts.spool.write_all", full)
        for _ in range(3):
            with pytest.raises(StoreError, match="No space left"):
                writer.append([b"{}"])
    assert list(artifacts.spool_dir.iterdir()) == []
    writer.append([b"{}"])


@pytest.mark.parametrize("apart", [False, True])
def test_equal_order_lines_count_the_same_with_and_without_a_pass_between(
    shop: Store, artifacts: Artifacts, values: Settings, writer: SpoolWriter, line: Line, apart: bool
) -> None:
    for _ in range(2):
        writer.append([line(user_id="u", item_id="a1", ts=T0, order_id="o1", event_type="purchase", event_id=None)])
        if apart:
            run_pass(shop, artifacts, values)
    run_pass(shop, artifacts, values)
    with shop.reading() as con:
        assert con.execute("SELECT count(*) FROM events WHERE order_id = 'o1'").fetchall() == [(1,)]


def test_what_a_killed_restore_left_goes_with_the_next_pass(
    shop: Store, artifacts: Artifacts, values: Settings, writer: SpoolWriter, line: Line
) -> None:
    writer.append([line(user_id="u", item_id="a1", ts=T0)])
    left = [
        shop.path.with_name(f".{shop.path.name}.restoring"),
        artifacts.spool_dir / ".0-1-a.jsonl.tmp",
        shop.path.parent / f".{shop.path.name}.gdpr.restoring-1",
    ]
    for path in left[:2]:
        path.write_text("somebody")
    left[2].mkdir()
    run_pass(shop, artifacts, values)
    assert [path for path in left if path.exists()] == []


def test_root_goes_on_as_the_owner_of_the_state(shop: Store, tmp_path: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root can become somebody else")
    code = (
        "import os, sys; from pathlib import Path; from recsys_cli.processes import become_owner\n"
        "print(become_owner(Path(sys.argv[1])) != '', os.geteuid(), os.getegid(), os.getgroups())"
    )
    os.chown(shop.path, 65534, 65533)
    run = subprocess.run(
        [sys.executable, "-c", code, str(shop.path)],
        capture_output=True, text=True, check=True, cwd=Path(__file__).parents[2],
    )  # fmt: skip
    assert run.stdout.startswith("True 65534 65533 ")


def test_two_workers_and_a_restore_take_turns(artifacts: Artifacts) -> None:
    waited: list[str] = []
    with alone(artifacts), pytest.raises(RecsysError), alone(artifacts, timeout=0.1, waiting=waited.append):
        pass
    assert len(waited) == 1
