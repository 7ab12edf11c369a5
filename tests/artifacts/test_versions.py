"""Versions: published whole, never changed, found again whatever breaks."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    consumes,
    initialize,
    invariant,
    multiple,
    precondition,
    rule,
)

from recsys_cli.artifacts import Artifacts, Version
from recsys_cli.artifacts.manifest import FORMAT, dump_manifest, format_of
from recsys_cli.errors import ArtifactError, CorruptArtifact, NewerVersion, NoModel, NotFound, RecsysError, StoreBusy


def publish(artifacts: Artifacts, content: bytes, *, promote: bool = True, **manifest: Any) -> Version:
    with artifacts.draft() as draft:
        (draft.path / "sub").mkdir()
        (draft.path / "sub" / "a.bin").write_bytes(content)
        (draft.path / "b.bin").write_bytes(content[::-1])
        with artifacts.exclusive():
            return artifacts.publish(draft, manifest, promote=promote)


def replace(artifacts: Artifacts, old: str, content: bytes, **manifest: Any) -> Version:
    with artifacts.exclusive(), artifacts.draft() as draft:
        (draft.path / "b.bin").write_bytes(content[::-1])
        return artifacts.replace(old, draft, manifest)


def content(version: Version) -> bytes:
    return version.file("b.bin").read_bytes()[::-1]


def hidden(artifacts: Artifacts) -> list[str]:
    return [p.name for p in artifacts.versions_dir.iterdir() if p.name.startswith(".")]


def spoil(path: Path, how: str) -> None:
    """Break a file in one of the ways that disks and people do."""
    if how == "flip":
        data = bytearray(path.read_bytes())
        data[len(data) // 2] ^= 4
        path.write_bytes(data)
    elif how == "cut":
        path.write_bytes(path.read_bytes()[:-1])
    elif how == "empty":
        path.write_bytes(b"")
    elif how == "directory":
        path.unlink()
        path.mkdir()
    else:
        path.unlink()


HOW = ("flip", "cut", "empty", "directory", "delete")


class TestPublish:
    def test_what_was_written_is_found_again(self, artifacts: Artifacts) -> None:
        made = publish(artifacts, b"hello", kind="train", metrics={"hr@10": 0.5})
        found = artifacts.current()
        assert found == made
        assert content(found) == b"hello"
        assert found.name == "v000001"
        assert found.manifest["kind"] == "train"
        assert found.manifest["metrics"] == {"hr@10": 0.5}
        assert set(found.manifest["files"]) == {"b.bin", "sub/a.bin"}
        assert abs(found.manifest["created_at"] - time.time()) < 60
        assert hidden(artifacts) == []

    def test_everything_is_private(self, artifacts: Artifacts) -> None:
        publish(artifacts, b"hello")
        modes = {p: stat.S_IMODE(p.stat().st_mode) for p in [artifacts.root, *artifacts.root.rglob("*")]}
        assert {p.name: oct(m) for p, m in modes.items() if m != (0o700 if p.is_dir() else 0o600)} == {}

    def test_not_promoted(self, artifacts: Artifacts) -> None:
        publish(artifacts, b"one")
        assert publish(artifacts, b"two", promote=False).name == "v000002"
        assert content(artifacts.current()) == b"one"
        with artifacts.exclusive():
            artifacts.point_to("v000002")
        assert content(artifacts.current()) == b"two"

    def test_a_draft_given_up_leaves_nothing(self, artifacts: Artifacts) -> None:
        with artifacts.draft() as draft:
            (draft.path / "x").write_bytes(b"x")
        assert hidden(artifacts) == artifacts.names() == []

    def test_a_draft_of_another_living_writer_is_left_alone(self, artifacts: Artifacts) -> None:
        """Told by a lock and not by the process number, which means nothing in the container next door."""
        with artifacts.draft() as slow:
            renamed = slow.path.with_name(".draft-999999999-abc")
            slow.path.rename(renamed)
            publish(artifacts, b"quick")
            assert renamed.is_dir()
        publish(artifacts, b"later")
        assert hidden(artifacts) == []

    def test_a_draft_that_is_swept_before_it_is_locked_is_made_again(
        self, artifacts: Artifacts, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        publish(artifacts, b"one")
        left, chmod, opened = {"chmod": 1, "lock": 1}, Path.chmod, os.open

        def sweep(step: str, path: object) -> None:
            if ".draft" in str(path) and left.get(step):
                del left[step]
                before = left.copy()
                left.clear()  # the sweep itself looks at drafts
                with artifacts.exclusive():
                    pass
                left.update(before)

        monkeypatch.setattr(Path, "chmod", lambda self, mode: (sweep("chmod", self), chmod(self, mode))[1])
        monkeypatch.setattr(os, "open", lambda path, *how, **more: (sweep("lock", path), opened(path, *how, **more))[1])
        with artifacts.draft() as draft:
            assert draft.path.is_dir()
        assert left == {}

    def test_one_at_a_time(self, artifacts: Artifacts) -> None:
        publish(artifacts, b"one")
        second, told = Artifacts(artifacts.root, lock_timeout=0.2), []
        with (
            artifacts.exclusive(),
            pytest.raises(StoreBusy, match=f"is in use by process {os.getpid()}"),
            second.exclusive(waiting=told.append),
        ):
            pass
        assert len(told) == 1

    def test_a_full_disk_changes_nothing(self, artifacts: Artifacts) -> None:
        before = publish(artifacts, b"one")
        code = (
            "import resource, signal, sys; from pathlib import Path; from recsys_cli.artifacts import Artifacts\n"
            "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
            "a = Artifacts(Path(sys.argv[1]))\n"
            "resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))\n"
            "with a.draft() as d, a.exclusive():\n"
            "    (d.path / 'x').write_bytes(b'x' * 999)\n"
            "    a.publish(d, {'notes': 'y' * 2000})\n"
        )
        run = subprocess.run([sys.executable, "-c", code, str(artifacts.root)], capture_output=True, text=True)
        assert "cannot be used: File too large" in run.stderr
        assert artifacts.current() == before
        assert artifacts.names() == ["v000001"]
        assert hidden(artifacts) == []


class TestReading:
    def test_nothing_yet(self, artifacts: Artifacts) -> None:
        with pytest.raises(NoModel, match="No model has been trained yet"):
            artifacts.current()
        assert artifacts.names() == []
        with pytest.raises(NoModel), artifacts.exclusive():
            pass
        assert not artifacts.root.exists(), "looking makes nothing"

    @pytest.mark.parametrize("name", ["v000002", "", "..", "v1", "../v000001", "v000001/", ".draft-1-2"])
    def test_no_such_version(self, artifacts: Artifacts, name: str) -> None:
        publish(artifacts, b"one")
        with pytest.raises(NotFound, match="There is no version"):
            artifacts.open(name)
        with artifacts.exclusive(), pytest.raises(NotFound):
            artifacts.point_to(name)

    @pytest.mark.parametrize("how", HOW)
    @pytest.mark.parametrize("file", ["b.bin", "sub/a.bin", "manifest.json"])
    def test_a_damaged_version_is_passed_over(self, artifacts: Artifacts, file: str, how: str) -> None:
        publish(artifacts, b"one")
        spoil(publish(artifacts, b"two").path / file, how)
        told: list[CorruptArtifact] = []
        assert content(artifacts.current(damaged=told.append)) == b"one"
        assert [("v000002" in str(e)) for e in told] == [True]
        with pytest.raises(CorruptArtifact):
            artifacts.open("v000002")
        assert content(publish(artifacts, b"three")) == b"three", "training goes on"

    @pytest.mark.parametrize("pointer", [b"", b"v000001", b"v000001 0000000000000000", b"\xff", b"v000009 x", b"../x"])
    def test_a_damaged_pointer(self, artifacts: Artifacts, pointer: bytes) -> None:
        publish(artifacts, b"one")
        publish(artifacts, b"two")
        (artifacts.root / "current").write_bytes(pointer)
        told: list[CorruptArtifact] = []
        assert content(artifacts.current(damaged=told.append)) == b"two"
        assert "current is damaged" in str(told[0])

    def test_a_version_deleted_by_hand_is_told(self, artifacts: Artifacts) -> None:
        publish(artifacts, b"one")
        shutil.rmtree(publish(artifacts, b"two").path)
        told: list[CorruptArtifact] = []
        assert content(artifacts.current(damaged=told.append)) == b"one"
        assert "There is no version 'v000002'" in str(told[0])

    def test_nothing_whole_is_left(self, artifacts: Artifacts) -> None:
        spoil(publish(artifacts, b"one").path / "b.bin", "cut")
        with pytest.raises(NoModel, match="is intact"):
            artifacts.current()

    def test_a_newer_format_is_refused_and_not_called_damaged(self, artifacts: Artifacts) -> None:
        publish(artifacts, b"one")
        with artifacts.draft() as draft, artifacts.exclusive():
            artifacts.replace("v000001", draft, {"format": 99})
        with pytest.raises(ArtifactError, match="written by a newer recsys") as e:
            artifacts.current()
        assert isinstance(e.value, NewerVersion)

    def test_readers_never_miss_a_version_that_is_being_replaced(self, artifacts: Artifacts) -> None:
        """A reader that has read the pointer, and then finds that version gone, reads the pointer again."""
        publish(artifacts, b"0")
        stop, wrong = threading.Event(), []

        def read() -> None:
            reader = Artifacts(artifacts.root)
            while not stop.is_set():
                try:
                    reader.current(damaged=wrong.append)
                except RecsysError as e:
                    wrong.append(e)

        threads = [threading.Thread(target=read) for _ in range(3)]
        for t in threads:
            t.start()
        for n in range(40):
            if n % 2:
                replace(artifacts, artifacts.current().name, b"%d" % n, format=1)
            else:
                publish(artifacts, b"%d" % n)
            with artifacts.exclusive():
                artifacts.prune(1)
        stop.set()
        for t in threads:
            t.join()
        assert wrong == []


class TestRemoving:
    def test_the_current_one_and_its_parent_stay(self, artifacts: Artifacts) -> None:
        publish(artifacts, b"1")
        publish(artifacts, b"2", parent="v000001")
        for n in range(3, 6):
            publish(artifacts, b"%d" % n, promote=False)
        with artifacts.exclusive():
            assert artifacts.prune(1) == ["v000003", "v000004"]
        assert artifacts.names() == ["v000001", "v000002", "v000005"]

    def test_the_parent_stays_under_its_new_name(self, artifacts: Artifacts) -> None:
        publish(artifacts, b"1")
        publish(artifacts, b"2", parent="v000001")
        publish(artifacts, b"3", promote=False)
        replace(artifacts, "v000001", b"1 without somebody")
        with artifacts.exclusive():
            assert artifacts.prune(1) == []
        assert artifacts.names() == ["v000001-r1", "v000002", "v000003"]

    def test_pruning_goes_on_when_the_current_one_is_damaged(self, artifacts: Artifacts) -> None:
        for n in range(4):
            publish(artifacts, b"%d" % n)
        spoil(artifacts.versions_dir / "v000004" / "manifest.json", "cut")
        with artifacts.exclusive():
            assert artifacts.prune(2) == ["v000001", "v000002"]

    def test_the_served_one_cannot_be_removed(self, artifacts: Artifacts) -> None:
        publish(artifacts, b"1")
        with artifacts.exclusive(), pytest.raises(ArtifactError, match="is being served"):
            artifacts.remove("v000001")

    def test_a_name_is_never_given_twice(self, artifacts: Artifacts) -> None:
        publish(artifacts, b"1")
        publish(artifacts, b"2", promote=False)
        with artifacts.exclusive():
            artifacts.remove("v000002")
        assert publish(artifacts, b"3").name == "v000003"

    def test_forgetting_that_was_killed_half_way_is_finished(self, artifacts: Artifacts) -> None:
        """Both names stand there: the old one, with the person in it, must not be what the next run goes on with."""
        publish(artifacts, b"with")
        old = artifacts.versions_dir / "v000001"
        shutil.copytree(old, old.with_name("kept"))
        replace(artifacts, "v000001", b"without", format=1)
        with artifacts.exclusive():  # put things as they are between the rename and the pointer
            old.with_name("kept").rename(old)
            artifacts.point_to("v000001")
        with artifacts.exclusive():
            assert artifacts.names() == ["v000001-r1"]
        assert content(artifacts.current()) == b"without"


def rewrite(version: Version, **changes: Any) -> None:
    """Change what the manifest says, as years that pass or a newer recsys do."""
    (version.path / "manifest.json").write_bytes(dump_manifest(version.manifest | changes))


class TestWhatPruningSpares:
    def pruned(self, artifacts: Artifacts, keep: int = 1, days: float = 0.0) -> list[str]:
        with artifacts.exclusive():
            return artifacts.prune(keep, days=days)

    def test_no_number_is_less_than_one(self, artifacts: Artifacts) -> None:
        for n in range(3):
            publish(artifacts, b"%d" % n)
        assert self.pruned(artifacts, keep=0) == ["v000001", "v000002"]

    def test_the_newest_version_of_each_of_the_last_two_trainings(self, artifacts: Artifacts) -> None:
        trained: dict[int, str] = {}
        for n, training in enumerate([1, 1, 3, 3, 3, 6, 6], start=1):
            kind = "update" if training in trained else "train"
            trained.setdefault(training, f"v{n:06d}")
            publish(artifacts, b"%d" % n, kind=kind, trained={"version": trained[training]})
        assert self.pruned(artifacts) == ["v000001", "v000002", "v000003", "v000004", "v000006"]

    @pytest.mark.parametrize(
        ("gate", "counts"),
        [({"promote": True}, True), ({"promote": False}, False), ({"promote": False, "forced": True}, True)],
    )
    def test_a_training_counts_that_passed_the_gate(
        self, artifacts: Artifacts, gate: dict[str, bool], counts: bool
    ) -> None:
        publish(artifacts, b"1", kind="train")
        publish(artifacts, b"2", kind="train", gate=gate, promote=False)
        for n in (3, 4):
            publish(artifacts, b"%d" % n, kind="update", trained={"version": "v000001"})
        assert self.pruned(artifacts) == ["v000001", *([] if counts else ["v000002"]), "v000003"]

    def test_what_a_newer_recsys_wrote(self, artifacts: Artifacts) -> None:
        rewrite(publish(artifacts, b"1"), format=FORMAT + 1)
        publish(artifacts, b"2")
        publish(artifacts, b"3")
        assert self.pruned(artifacts) == ["v000002"]

    def test_what_is_damaged_goes_like_others(self, artifacts: Artifacts) -> None:
        spoil(publish(artifacts, b"1").path / "manifest.json", "cut")
        publish(artifacts, b"2")
        publish(artifacts, b"3")
        assert self.pruned(artifacts) == ["v000001", "v000002"]

    def test_the_last_one_from_before_the_data_collapsed(self, artifacts: Artifacts) -> None:
        for n, events in enumerate([900, 1000, 400, 201, 200, 100]):
            publish(artifacts, b"%d" % n, data={"events": events})
        assert self.pruned(artifacts) == ["v000001", "v000002", "v000003", "v000005"], "200 are not more than twice 100"
        before = artifacts.before_collapse(artifacts.current())
        assert before is not None
        assert (before.name, before.manifest["data"]["events"]) == ("v000004", 201)
        assert content(before) == b"3"

    @pytest.mark.parametrize("events", [[100, 100], [200, 100], [100, None]])
    def test_nothing_collapsed(self, artifacts: Artifacts, events: list[int | None]) -> None:
        for n, held in enumerate(events):
            publish(artifacts, b"%d" % n, **({} if held is None else {"data": {"events": held}}))
        assert artifacts.before_collapse(artifacts.current()) is None

    def test_age_ends_what_the_number_would_keep(self, artifacts: Artifacts) -> None:
        now = int(time.time())
        for n, days_ago in enumerate([50, 35, 29, 10, 0]):
            rewrite(publish(artifacts, b"%d" % n), created_at=now - days_ago * 86_400)
        assert self.pruned(artifacts, keep=5) == [], "without days, whatever their age"
        assert self.pruned(artifacts, keep=4, days=30) == ["v000001", "v000002"]

    def test_nothing_goes_for_its_age_when_the_clock_has_jumped(self, artifacts: Artifacts) -> None:
        now = int(time.time())
        for n, days_ago in enumerate([400, 399, 0]):
            rewrite(publish(artifacts, b"%d" % n), created_at=now - days_ago * 86_400)
        assert self.pruned(artifacts, keep=3, days=30) == []
        assert self.pruned(artifacts, keep=2, days=30) == ["v000001"], "those that are too many go"


def test_whether_a_folder_is_as_published(artifacts: Artifacts) -> None:
    version = publish(artifacts, b"hello")
    assert version.intact("sub")
    assert not version.intact("su"), "a folder, not the start of a name"
    assert not version.intact("ranker"), "nothing is not whole"
    spoil(version.path / "b.bin", "flip")
    assert version.intact("sub")
    spoil(version.path / "sub" / "a.bin", "flip")
    assert not version.intact("sub")


def test_a_ranker_that_is_damaged_keeps_no_version_from_being_served(artifacts: Artifacts) -> None:
    """Lists are then in the first stage's order, which is better than those of an older version."""
    with artifacts.draft() as draft:
        (draft.path / "ranker").mkdir()
        for name in ("ranker/trees.txt", "model.json"):
            (draft.path / name).write_bytes(b"content")
        with artifacts.exclusive():
            version = artifacts.publish(draft, {})
    spoil(version.path / "ranker" / "trees.txt", "cut")
    version.verify()
    assert artifacts.current() == version
    assert not version.intact("ranker")
    spoil(version.path / "model.json", "cut")
    with pytest.raises(CorruptArtifact, match=r"model\.json is not what version v000001 was published with"):
        version.verify()


@pytest.mark.parametrize("newer", ["v000001", "v000002", "v000003"])
def test_what_can_be_served_by_upgrading_is_said_before_that_nothing_can(artifacts: Artifacts, newer: str) -> None:
    for n in range(3):
        publish(artifacts, b"%d" % n)
    for name in artifacts.names():
        version = artifacts.open(name)
        rewrite(version, format=FORMAT + 1) if name == newer else spoil(version.path / "b.bin", "flip")
    told: list[CorruptArtifact] = []
    with pytest.raises(NewerVersion, match="written by a newer recsys"):
        artifacts.current(damaged=told.append)
    assert len(told) == 3
    spoil(artifacts.versions_dir / newer / "manifest.json", "flip")
    with pytest.raises(NoModel, match="is intact"):
        artifacts.current()


def test_files_are_read_only_where_that_is_asked_for(artifacts: Artifacts) -> None:
    """The list of versions must not take as long as to read them all."""
    publish(artifacts, b"1")
    shutil.rmtree(publish(artifacts, b"2").path)
    spoil(artifacts.versions_dir / "v000001" / "b.bin", "flip")
    assert artifacts.current(verify=False).name == "v000001"
    with pytest.raises(NoModel):
        artifacts.current()


def test_whether_anything_was_ever_served(artifacts: Artifacts) -> None:
    assert not artifacts.was_served()
    publish(artifacts, b"1", promote=False)
    assert not artifacts.was_served()
    spoil(publish(artifacts, b"2", promote=False).path / "manifest.json", "cut")
    assert artifacts.was_served(), "as far as a damaged one can tell"


def test_a_pointer_that_was_lost_does_not_hide_that_there_was_one(artifacts: Artifacts) -> None:
    publish(artifacts, b"1")
    (artifacts.root / "current").unlink()
    assert artifacts.was_served()
    told: list[CorruptArtifact] = []
    assert content(artifacts.current(damaged=told.append)) == b"1"
    assert "current is missing" in str(told[0])


def test_the_number_of_a_removed_version_is_not_given_out_again_either_after_a_revision(artifacts: Artifacts) -> None:
    publish(artifacts, b"1")
    publish(artifacts, b"2", promote=False)
    publish(artifacts, b"3", promote=False)
    replace(artifacts, "v000003", b"3 without somebody")
    with artifacts.exclusive():
        artifacts.remove("v000003-r1")
        artifacts.remove("v000002")
    assert publish(artifacts, b"4").name == "v000004"


@pytest.mark.parametrize("promoted", [True, False])
def test_a_version_without_a_person_is_held_back_as_it_was(artifacts: Artifacts, promoted: bool) -> None:
    publish(artifacts, b"1")
    publish(artifacts, b"2", promote=promoted)
    version = replace(artifacts, "v000002", b"2 without somebody", kind="forget")
    assert version.name == version.manifest["name"] == "v000002-r1"
    assert version.manifest["promoted"] is promoted
    assert version.manifest["kind"] == "forget"
    assert artifacts.current_name() == ("v000002-r1" if promoted else "v000001")
    assert replace(artifacts, "v000002-r1", b"2 without two", kind="forget").name == "v000002-r2"


def test_what_killed_writers_left_is_swept(artifacts: Artifacts) -> None:
    publish(artifacts, b"1")
    litter = [
        artifacts.versions_dir / ".doomed-v000009-ab",
        *(artifacts.root / f".{name}.abcdefgh.tmp" for name in ("current", "keys.json", "choices.json")),
        artifacts.versions_dir / ".last-removed.abcdefgh.tmp",
    ]
    kept = artifacts.root / ".other.abcdefgh.tmp"
    for path in (*litter, kept):
        path.mkdir() if "doomed" in path.name else path.write_bytes(b"x")
    with artifacts.exclusive():
        pass
    assert [path.name for path in litter if path.exists()] == []
    assert kept.exists(), "another's, which may be at it"


KILLED = """
import sys
from pathlib import Path
from recsys_cli.artifacts import Artifacts
a = Artifacts(Path(sys.argv[1]))
print("go", flush=True)
n = 0
while True:
    n += 1
    with a.draft() as d:
        for f in range(5):
            (d.path / f"{f}.bin").write_bytes(bytes([n % 256]) * 50_000)
        with a.exclusive():
            if n % 3 == 0 and (name := a.current_name()):
                a.replace(name, d, {"format": 1, "n": n % 256})
            else:
                a.publish(d, {"n": n % 256, "parent": a.current_name()})
            a.prune(2)
"""


def test_kill_9_while_publishing(artifacts: Artifacts) -> None:
    """Killed at any moment the current version is whole, and the next one sweeps up."""
    for attempt in range(10):
        writer = subprocess.Popen([sys.executable, "-c", KILLED, str(artifacts.root)], stdout=subprocess.PIPE)
        assert writer.stdout is not None
        writer.stdout.readline()
        time.sleep(0.01 + 0.013 * attempt)
        writer.send_signal(signal.SIGKILL)
        writer.wait()
        writer.stdout.close()
        if artifacts.current_name() is None:
            continue
        told: list[CorruptArtifact] = []
        version = artifacts.current(damaged=told.append)
        assert told == []
        expected = bytes([version.manifest["n"]]) * 50_000
        assert all(version.file(f"{f}.bin").read_bytes() == expected for f in range(5))
    last = publish(artifacts, b"end")
    assert artifacts.current() == last
    assert [n for n in hidden(artifacts) if re.match(r"\.(draft|doomed)", n)] == []
    assert len({n.split("-")[0] for n in artifacts.names()}) == len(artifacts.names()), "one revision of each"


class Life(RuleBasedStateMachine):
    """Everything that can happen to the versions, beside a dictionary that says what must be there."""

    names = Bundle("names")

    @initialize()
    def begin(self) -> None:
        self.folder = tempfile.TemporaryDirectory()
        self.artifacts = Artifacts(Path(self.folder.name) / "a")
        self.there: dict[str, bytes] = {}
        self.ever: set[str] = set()
        self.whole: set[str] = set()
        self.held_back: set[str] = set()
        self.told: set[str] = set()
        self.pointed: str | None = None
        self.parents: dict[str, str | None] = {}

    def teardown(self) -> None:
        self.folder.cleanup()

    def _added(self, version: Version, data: bytes) -> str:
        assert version.name not in self.ever
        self.ever.add(version.name)
        self.there[version.name] = data
        self.whole.add(version.name)
        self.told.add(version.name)
        return version.name

    @rule(target=names, data=st.binary(min_size=1, max_size=9), promote=st.booleans())
    def publish(self, data: bytes, promote: bool) -> str:
        parent = self.pointed or None
        name = self._added(publish(self.artifacts, data, promote=promote, parent=parent), data)
        self.parents[name] = parent
        if promote:
            self.pointed = name
        else:
            self.held_back.add(name)
        return name

    @rule(target=names, old=consumes(names), data=st.binary(min_size=1, max_size=9))
    def replace(self, old: str, data: bytes) -> Any:
        if old not in self.there:
            return multiple()
        name = self._added(replace(self.artifacts, old, data, format=1, parent=self.parents[old]), data)
        self.parents[name] = self.parents[old]
        if old in self.held_back or (self.pointed is None and old not in self.told):
            self.held_back.add(name)
        del self.there[old]
        if self.pointed == old:
            self.pointed = name
        return name

    @rule(name=names)
    def point_to(self, name: str) -> None:
        if (self.artifacts.versions_dir / name / "manifest.json").is_file():
            with self.artifacts.exclusive():
                self.artifacts.point_to(name)
            self.pointed = name

    @rule(name=names)
    def remove(self, name: str) -> None:
        if name in self.there and name != self.pointed:
            with self.artifacts.exclusive():
                self.artifacts.remove(name)
            del self.there[name]

    @rule(keep=st.integers(1, 3))
    @precondition(lambda self: self.ever)
    def prune(self, keep: int) -> None:
        with self.artifacts.exclusive():
            gone = self.artifacts.prune(keep)
        newest = self._ordered()[-keep:]
        parent = self.parents.get(self.pointed or "")
        assert not set(gone) & {*newest, self.pointed}
        for name in gone:
            assert parent is None or name.split("-")[0] != parent.split("-")[0] or self.pointed not in self.whole
            del self.there[name]
        assert len(self.there) <= keep + 2

    @rule(name=names, file=st.sampled_from(["b.bin", "manifest.json"]), how=st.sampled_from(HOW))
    def damage(self, name: str, file: str, how: str) -> None:
        path = self.artifacts.versions_dir / name / file
        # Once each: the same bit flipped twice is whole again.
        if name in self.there and name in self.whole and path.is_file() and path.stat().st_size:
            spoil(path, how)
            self.whole.discard(name)
            if file == "manifest.json":  # which says whether it was held back
                self.told.discard(name)
                self.held_back.discard(name)

    @rule(data=st.binary(max_size=30))
    def damage_the_pointer(self, data: bytes) -> None:
        if self.pointed:
            (self.artifacts.root / "current").write_bytes(data)
            self.pointed = ""

    @rule(kind=st.sampled_from([".draft-1-ab", ".doomed-v000001-ab"]))
    def litter(self, kind: str) -> None:
        if self.artifacts.versions_dir.is_dir():
            (self.artifacts.versions_dir / kind).mkdir(exist_ok=True)

    def _ordered(self) -> list[str]:
        def order(name: str) -> tuple[int, int]:
            number, _, revision = name[1:].partition("-r")
            return int(number), int(revision or 0)

        return sorted(self.there, key=order)

    @invariant()
    def all_and_only_what_is_there(self) -> None:
        assert self.artifacts.names() == self._ordered()

    @invariant()
    def the_current_one_is_whole(self) -> None:
        names = self._ordered()
        if self.pointed:
            names = names[: names.index(self.pointed) + 1]
        usable = [n for n in names if n in self.whole]
        if self.pointed is None or not usable:
            with pytest.raises(NoModel):
                self.artifacts.current()
            return
        version = self.artifacts.current()
        if usable[-1] != self.pointed:
            usable = [n for n in usable if n not in self.held_back] or usable
        assert version.name == usable[-1]
        assert content(version) == self.there[version.name]
        assert json.loads((version.path / "manifest.json").read_text())["name"] == version.name


Life.TestCase.settings = settings(max_examples=40, stateful_step_count=25)
TestLife = Life.TestCase


def test_what_the_gate_held_back_is_not_served_because_the_current_one_is_damaged(tmp_path: Path) -> None:
    artifacts = Artifacts(tmp_path / "a")
    for promote in (True, False, True):
        with artifacts.draft() as draft:
            (draft.path / "x.bin").write_bytes(b"content")
            with artifacts.exclusive():
                artifacts.publish(draft, {}, promote=promote)
    (artifacts.versions_dir / "v000003" / "x.bin").write_bytes(b"damaged")
    assert artifacts.current().name == "v000001"


def test_a_version_claims_the_lowest_format_that_can_read_it() -> None:
    """Readers of format 1 take the file of variants for damage; others they read as before."""
    assert format_of(["model.json", "histories/item.npy"]) == 1
    assert format_of(["model.json", "histories/variant.npy"]) == FORMAT == 2
