"""The watched folder may be somebody else's: nothing in it leads us out of it, and no file stops the others."""

from __future__ import annotations

import errno
import json
import os
from pathlib import Path

import pytest

from recsys_cli.errors import InputError, StoreError
from recsys_cli.ingest import watch as watching
from recsys_cli.ingest.watch import ASIDE, Folder, SetAside, take_ready
from recsys_cli.progress import Progress
from recsys_cli.settings import Settings
from recsys_cli.settings_sources import load


class Notes(list[str], Progress):
    """What was told."""

    def note(self, text: str) -> None:
        self.append(text)


GOOD = "user_id,item_id,ts\nu,i,1700000000\n"


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    state = {"db": tmp_path / "state" / "shop.duckdb", "artifacts": tmp_path / "state" / "a"}
    return load(state | {"ingest.quiet_seconds": 0}, environ={})


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    (tmp_path / "in").mkdir()
    return Folder(tmp_path / "in")


def test_links_are_not_followed(settings: Settings, folder: Folder, tmp_path: Path) -> None:
    (tmp_path / "private.csv").write_text(GOOD)
    (folder.path / "a.csv").symlink_to(tmp_path / "private.csv")
    (folder.path / "b.csv").write_text(GOOD)
    notes = Notes()
    assert [report.file for report in take_ready(settings, folder, progress=notes)] == ["b.csv"]
    assert folder.links == ["a.csv"]
    assert [note for note in notes if "a.csv" in note] == [
        f"a.csv in {folder.path} is a link and is not followed. Put the file itself there."
    ]
    assert list(take_ready(settings, folder, progress=(again := Notes()))) == []
    assert again == []  # said once


@pytest.mark.parametrize("kind", ["link", "file"])
def test_what_stands_in_the_place_of_set_aside_leads_nowhere(
    settings: Settings, folder: Folder, tmp_path: Path, kind: str
) -> None:
    (tmp_path / "shop").mkdir()
    if kind == "link":
        (folder.path / ASIDE).symlink_to(tmp_path / "shop")
    else:
        (folder.path / ASIDE).write_text("x")
    (folder.path / "recsys.toml").write_text('[update]\non_failure = "touch /tmp/owned"\n')
    with pytest.raises(StoreError, match="is a link or a file"):
        list(take_ready(settings, folder))
    assert list((tmp_path / "shop").iterdir()) == []
    assert (folder.path / "recsys.toml").exists()


def test_a_name_that_is_no_text_is_set_aside_and_the_rest_is_taken(settings: Settings, folder: Folder) -> None:
    odd = os.fsencode(folder.path) + b"/M\xe4rz\n.csv"
    with open(odd, "wb") as f:  # noqa: PTH123 - a name of bytes
        f.write(GOOD.encode())
    (folder.path / "z.csv").write_text(GOOD)
    aside, taken = list(take_ready(settings, folder))
    assert isinstance(aside, SetAside)
    assert "not UTF-8" in aside.error.message
    assert not isinstance(taken, SetAside)
    names = sorted(p.name for p in (folder.path / ASIDE).iterdir())
    assert names == ["M_xe4rz_.csv", "M_xe4rz_.csv.report.json"]
    assert json.loads((folder.path / ASIDE / names[1]).read_bytes())["error"]["code"] == "bad_input"
    assert list(take_ready(settings, folder)) == []


def test_files_of_another_user_are_only_read(settings: Settings, folder: Folder) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root can give files away")
    (folder.path / "bad.csv").write_text("colour\nred\n")
    os.chown(folder.path / "bad.csv", 65534, 65534)
    (told,) = take_ready(settings, folder)
    assert isinstance(told, SetAside)
    assert told.moved_to == folder.path / "bad.csv"
    assert (folder.path / "bad.csv").exists()
    assert (folder.path / ASIDE / "bad.csv.report.json").exists()
    assert list(take_ready(settings, folder)) == []  # until it changes


def test_a_full_disk_is_not_the_files_fault(
    settings: Settings, folder: Folder, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*args: object, **more: object) -> None:
        try:
            raise OSError(errno.ENOSPC, "No space left on device")
        except OSError as e:
            raise InputError("orders.csv cannot be read.", "Look at it.") from e

    (folder.path / "orders.csv").write_text(GOOD)
    with monkeypatch.context() as disk:
        disk.setattr(watching, "ingest", full)
        with pytest.raises(StoreError, match="for lack of space"):
            list(take_ready(settings, folder))
    assert [p.name for p in folder.path.iterdir()] == ["orders.csv"]
    assert len(list(take_ready(settings, folder))) == 1


def test_a_file_that_trips_us_up_does_not_stop_the_others(
    settings: Settings, folder: Folder, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = watching.ingest

    def trips(found: Settings, files: list[Path], *args: object, **more: object) -> object:
        if files[0].name == "a.csv":
            raise KeyError("nobody thought of that")
        return real(found, files, *args, **more)  # type: ignore[arg-type]

    for name in ("a.csv", "b.csv"):
        (folder.path / name).write_text(GOOD)
    monkeypatch.setattr(watching, "ingest", trips)
    aside, taken = list(take_ready(settings, folder))
    assert isinstance(aside, SetAside)
    assert "KeyError" in aside.error.message
    assert not isinstance(taken, SetAside)
