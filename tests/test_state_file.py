"""Small JSON documents: whole, typed, and one sentence when they are not what was written."""

from __future__ import annotations

import json
import os
import random
import resource
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from recsys_cli.artifacts import choices, keys, orders, worker_state
from recsys_cli.durable_files import append_lines, draft_dir, sweep_drafts
from recsys_cli.errors import DamagedState, StoreError
from recsys_cli.state_file import StateFile, Watched
from recsys_cli.tuning import load_choice
from recsys_cli.tuning.choice import Choice, save_choice


@dataclass(frozen=True)
class Thing:
    name: str
    counts: dict[str, int] = field(default_factory=dict)
    pair: tuple[str, ...] = ()
    at: float = 0.0


def file_at(path: Path) -> StateFile[Thing | None]:
    return StateFile(path, Thing, lambda: None, "Without it there is no thing.")


def test_what_was_written_is_read(tmp_path: Path) -> None:
    file = file_at(tmp_path / "deep" / "thing.json")
    assert file.read() is None
    thing = Thing("a \ud800 b", {"x": 1}, ("p", "q"), 3.5)
    file.write(thing)
    assert file.read() == thing
    assert (file.path.stat().st_mode & 0o777, file.path.parent.stat().st_mode & 0o777) == (0o600, 0o700)


def test_documents_of_the_time_before_and_of_other_versions(tmp_path: Path) -> None:
    file = file_at(tmp_path / "thing.json")
    file.path.write_text('{"name": "old", "no longer known": 1}')
    assert file.read() == Thing("old")
    file.path.write_text(json.dumps({"version": 2, "sha256": "", "data": {}}))
    with pytest.raises(StoreError, match="newer recsys") as told:
        file.read()
    assert not isinstance(told.value, DamagedState)


def outcome(file: StateFile[Thing | None]) -> object:
    try:
        return file.read()
    except StoreError as e:
        return e.message


def test_every_flipped_bit_and_every_cut_is_found(tmp_path: Path) -> None:
    file, rng = file_at(tmp_path / "thing.json"), random.Random(1)
    thing = Thing("abc", {"x": 1, "y": 22}, ("p",), 7.25)
    file.write(thing)
    whole = file.path.read_bytes()
    for _ in range(400):
        at = rng.randrange(len(whole))
        flipped = whole[:at] + bytes([whole[at] ^ 1 << rng.randrange(8)]) + whole[at + 1 :]
        file.path.write_bytes(rng.choice([flipped, flipped, whole[:at]]))
        told = outcome(file)
        # The bit may be in a blank between two values, or make the version a higher one.
        damaged = f"{file.path} is damaged: restore it from a backup, or remove it."
        assert told in (thing, damaged) or "newer" in str(told)


@pytest.mark.parametrize("content", ["", "{", '{"at": 17', "[]", "5", "null", "[" * 100_000, "\xff\xfe", '{"name": 5}'])
def test_every_small_file_says_the_same_when_it_is_damaged(tmp_path: Path, content: str) -> None:
    (tmp_path / "tuning").mkdir()
    (tmp_path / "requests").mkdir()
    for name in ("choices.json", "keys.json", "worker.json", "tuning/choice.json", "requests/1.json"):
        (tmp_path / name).write_bytes(content.encode("latin-1"))
    for read in (choices.read, keys.read_keys, load_choice):
        if read is keys.read_keys and content == "[]":
            assert read(tmp_path) == []  # which is what a list of no keys was
            continue
        with pytest.raises(DamagedState, match=r"is damaged: restore it from a backup, or remove it\."):
            read(tmp_path)
    assert worker_state.read(tmp_path) == worker_state.Health()  # written again by the next pass
    good = orders.put(tmp_path, orders.EXPORT, ["anna"], "shopify")
    assert orders.waiting(tmp_path) == [good]
    assert [e.path.name for e in orders.damaged(tmp_path)] == ["1.json"]


def test_what_cannot_be_read_for_another_reason_is_no_damage(tmp_path: Path) -> None:
    (tmp_path / "thing.json").mkdir()
    with pytest.raises(StoreError, match="Is a directory") as told:
        file_at(tmp_path / "thing.json").read()
    assert not isinstance(told.value, DamagedState)


def test_a_choice_of_tuning_comes_back(tmp_path: Path) -> None:
    choice = Choice("als", {"factors": 8}, "ndcg@10", 0.25, {"als": {"value": 0.2}}, 3, 1.5, {"factors": 1.0}, 17)
    save_choice(tmp_path, choice)
    assert load_choice(tmp_path) == choice


class TestWatched:
    def test_the_last_good_content_holds_while_the_file_is_damaged(self, tmp_path: Path) -> None:
        file = file_at(tmp_path / "thing.json")
        file.write(Thing("first"))
        watched = Watched(file)
        assert not watched.refresh()
        file.path.write_text("{")
        assert not watched.refresh()
        assert (watched.value, type(watched.error)) == (Thing("first"), DamagedState)
        file.write(Thing("second"))
        assert watched.refresh()
        assert (watched.value, watched.error) == (Thing("second"), None)
        file.path.unlink()
        assert watched.refresh()
        assert watched.value is None

    def test_without_any_good_content_there_is_no_beginning(self, tmp_path: Path) -> None:
        (tmp_path / "thing.json").write_text("[]")
        with pytest.raises(DamagedState):
            Watched(file_at(tmp_path / "thing.json"))

    def test_a_change_is_seen_when_all_descriptors_are_used_up(self, tmp_path: Path) -> None:
        file = file_at(tmp_path / "thing.json")
        file.write(Thing("first"))
        watched, taken = Watched(file), []
        file.write(Thing("second"))
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (256, hard))
        try:
            with suppress(OSError):
                while True:
                    taken.append(os.open(os.devnull, os.O_RDONLY))
            assert watched.refresh()
        finally:
            for fd in taken:
                os.close(fd)
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        assert watched.value == Thing("second")

    @pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
    def test_a_file_that_may_not_be_read_is_tried_again(self, tmp_path: Path) -> None:
        file = file_at(tmp_path / "thing.json")
        watched = Watched(file)
        file.write(Thing("first"))
        file.path.chmod(0)
        assert not watched.refresh()
        file.path.chmod(0o600)
        assert watched.refresh()
        assert watched.value == Thing("first")

    def test_keys_hold_and_the_door_stays_shut_while_their_file_is_damaged(self, tmp_path: Path) -> None:
        key, _ = keys.add_key(tmp_path, "page", ["serve"])
        ring = keys.KeyRing(tmp_path)
        (tmp_path / keys.FILE).write_text('[{"name"')
        ring.refresh()
        assert (ring.exists, ring.find(key) is not None, ring.error is not None) == (True, True, True)


def test_a_log_goes_on_after_half_a_line(tmp_path: Path) -> None:
    log = tmp_path / "log"
    append_lines(log, [b"one", b"two"])
    with log.open("ab") as f:
        f.write(b"torn by a ki")
    append_lines(log, [b"three"])
    assert log.read_bytes() == b"one\ntwo\nthree\n"


def test_drafts_of_the_dead_go_and_those_of_the_living_stay(tmp_path: Path) -> None:
    (tmp_path / ".draft-of-the-dead").mkdir()
    with draft_dir(tmp_path, ".draft-") as draft:
        sweep_drafts(tmp_path, ".draft-")
        assert list(tmp_path.iterdir()) == [draft]
    assert list(tmp_path.iterdir()) == []


def test_where_no_folder_can_be_made_a_draft_is_refused() -> None:
    """It was tried again and again: /proc says of a folder in it that it is not there."""
    if not Path("/proc/self").exists():
        pytest.skip("/proc is Linux's")
    with pytest.raises(StoreError, match="cannot be used"), draft_dir(Path("/proc"), ".draft-"):
        pass
