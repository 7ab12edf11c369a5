"""Versions: listed with what they are worth, gone back to in a moment, pruned without losing the way back."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from recsys_cli.artifacts import Artifacts, SpoolWriter, Version, versions
from recsys_cli.artifacts.manifest import canonical, digest
from recsys_cli.errors import ArtifactError, CorruptArtifact, NotFound
from recsys_cli.settings import Settings
from recsys_cli.store import Store
from recsys_cli.updates import lineage, run_pass

Train = Callable[[], Version]
Line = Callable[..., bytes]
Recsys = Callable[..., "subprocess.CompletedProcess[str]"]
T0, DAY = 1_700_000_000, 86_400


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the first test that asks for four versions leaves a copy for the others."""
    return tmp_path_factory.mktemp("four") / "copy"


@pytest.fixture
def four(
    shop: Store, artifacts: Artifacts, values: Settings, train: Train, writer: SpoolWriter, line: Line, made: Path
) -> Artifacts:
    """Trained, updated, trained, updated."""
    if made.exists():
        for folder in (artifacts.root, values.db.parent):
            shutil.rmtree(folder, ignore_errors=True)
            shutil.copytree(made / folder.name, folder, symlinks=True)
        return artifacts
    for n in range(2):
        train()
        writer.append([line(user_id=f"new{n}", item_id=f"extra{n}", ts=T0 + 36 * DAY)])
        run_pass(shop, artifacts, values)
    for folder in (artifacts.root, values.db.parent):
        shutil.copytree(folder, made / folder.name, symlinks=True)
    return artifacts


def age(artifacts: Artifacts, name: str, days: float) -> None:
    """Make a version look older."""
    path = artifacts.versions_dir / name / "manifest.json"
    manifest = json.loads(path.read_bytes())
    manifest.pop("checksum")
    manifest["created_at"] -= int(days * DAY)
    path.write_text(json.dumps(manifest | {"checksum": digest(canonical(manifest))}))


def test_the_list_says_where_each_comes_from(four: Artifacts) -> None:
    found = lineage.entries(four)
    assert [(e.name, e.kind, e.trained, e.parent, e.current) for e in found] == [
        ("v000004", "update", "v000003", "v000003", True),
        ("v000003", "train", "v000003", "v000002", False),
        ("v000002", "update", "v000001", "v000001", False),
        ("v000001", "train", "v000001", None, False),
    ]
    assert [(e.events, e.items) for e in found] == [(242, 22), (241, 21), (241, 21), (240, 20)]
    assert all(e.bytes > 1000 and e.model == "als" and not e.damaged for e in found)


def test_back_one_version_or_one_model_and_forth_again(
    four: Artifacts, shop: Store, values: Settings, writer: SpoolWriter, line: Line
) -> None:
    assert lineage.rollback(four)[1].name == "v000003"
    lineage.promote(four, "4")
    before, found = lineage.rollback(four, model=True)
    assert (before, found.name, four.current_name()) == ("v000004", "v000002", "v000002")
    # The next pass brings the older model up to date; it does not bring the newer one back.
    assert run_pass(shop, four, values).new_events == 1
    assert lineage.entries(four)[0].trained == "v000001"
    assert lineage.rollback(four)[1].name == "v000002"
    assert lineage.rollback(four)[1].name == "v000001"
    with pytest.raises(ArtifactError, match="no intact version older than v000001"):
        lineage.rollback(four)


def test_back_over_a_damaged_version(four: Artifacts) -> None:
    (four.versions_dir / "v000003" / "model.json").write_text("{}")
    assert lineage.rollback(four)[1].name == "v000002"
    with pytest.raises(CorruptArtifact):
        lineage.promote(four, "v000003")
    assert four.current_name() == "v000002"
    (four.versions_dir / "v000003" / "manifest.json").write_text("{}")
    assert [e.damaged for e in lineage.entries(four)] == [False, True, False, False]


def test_pruned_by_count_but_never_the_way_back(four: Artifacts) -> None:
    assert lineage.prune(four, 1, 0) == ["v000001"]
    # The served one, its parent, and the newest of the training before.
    assert four.names() == ["v000002", "v000003", "v000004"]


def test_pruned_by_age_but_never_the_way_back(four: Artifacts) -> None:
    for name in four.names():
        age(four, name, 40)
    assert lineage.prune(four, 5, 60) == []
    assert lineage.prune(four, 5, 30) == ["v000001"]
    assert four.current_name() == "v000004"


def test_what_differs(four: Artifacts) -> None:
    found = lineage.diff(four, "1", "current")
    assert (found.first, found.second, found.customers) == ("v000001", "v000004", 2)
    assert (found.added, found.removed) == (["extra0", "extra1"], [])
    assert found.config["trained"] == ("v000001", "v000003")
    assert found.data["events"] == (240, 242)
    with pytest.raises(NotFound, match="no version '9'"):
        lineage.diff(four, "1", "9")


def test_the_commands(four: Artifacts, recsys: Recsys) -> None:
    state = ("--artifacts", str(four.root))
    listed = json.loads(recsys("models", "list", "--json", *state).stdout)["versions"]
    assert [e["version"] for e in listed if e["current"]] == ["v000004"]
    assert recsys("models", "list", *state).stdout.splitlines()[1].startswith("* v000004 update")
    narrow = recsys("models", "list", *state, COLUMNS="50").stdout
    assert "…" not in "".join(re.findall(r"v0000\S*", narrow))
    assert all(f" {entry['events']:,} " in narrow for entry in listed)
    back = json.loads(recsys("models", "rollback", "--json", *state).stdout)
    assert back == {"version": "v000003", "before": "v000004"}
    assert "v000004 is served from now on" in recsys("models", "promote", "4", *state).stdout
    shown = recsys("models", "show", *state).stdout
    assert "v000004" in shown
    assert "all as published" in shown
    assert "Added 2 items: extra0, extra1" in recsys("models", "diff", "1", *state).stdout
    assert "Removed v000001." in recsys("models", "prune", "--keep", "1", *state).stdout
    beside = recsys("models", "export", "current", "--onnx", str(four.root / "out"), *state)
    assert (beside.returncode, "which is to be backed up" in beside.stderr) == (2, True)
    missing = recsys("models", "promote", "77", *state)
    assert (missing.returncode, "There is no version '77'" in missing.stderr) == (8, True)


def test_the_list_marks_a_version_with_a_damaged_file(four: Artifacts, recsys: Recsys) -> None:
    file = next((four.versions_dir / "v000004" / "histories").iterdir())
    whole = file.read_bytes()
    state = ("--artifacts", str(four.root))
    for flags, content in (((), whole[:-1]), ((), None), (("--verify",), b"x" + whole[1:])):
        file.unlink() if content is None else file.write_bytes(content)
        listed = json.loads(recsys("models", "list", "--json", *flags, *state).stdout)["versions"]
        assert [e["damaged"] for e in listed] == [True, False, False, False]
        assert (listed[0]["current"], listed[0]["model"]) == (True, "als")
        shown = recsys("models", "list", *flags, *state).stdout
        assert shown.splitlines()[1].startswith("* v000004 damaged")
        assert "v000004 is damaged: v000003 is served" in shown
        file.write_bytes(whole)


def test_a_check_that_finds_damage_says_so_by_its_exit_code(four: Artifacts, recsys: Recsys) -> None:
    state = ("--artifacts", str(four.root))
    assert recsys("models", "list", "--verify", *state).returncode == 0
    for name, instead in (("v000003", None), ("v000004", "v000002"), ("v000001", "v000002"), ("v000002", "")):
        file = next((four.versions_dir / name / "histories").iterdir())
        file.write_bytes(b"x" + file.read_bytes()[1:])
        for flags in ((), ("--json",)):
            done = recsys("models", "list", "--verify", *flags, *state)
            assert done.returncode == 6
            said = done.stderr if flags else done.stdout
            assert name in done.stdout
            if instead:
                assert f"v000004 is damaged: {instead} is served" in said
            else:
                assert ("v000004 is damaged, and no other version is intact" in said) is (instead == "")


def test_the_list_reads_no_more_than_the_manifests(four: Artifacts, monkeypatch: pytest.MonkeyPatch) -> None:
    """Versions of a large shop have hundreds of megabytes each."""
    read: list[str] = []
    sha256_of = versions.sha256_of
    monkeypatch.setattr(versions, "sha256_of", lambda path: read.append(path.name) or sha256_of(path))
    assert not any(e.damaged for e in lineage.entries(four))
    assert read == []
    assert not any(e.damaged for e in lineage.checked(four))
    assert len(read) == sum(len(four.open(name, verify=False).manifest["files"]) for name in four.names())


def test_the_commands_say_where_there_is_nothing_to_show(recsys: Recsys, train: Train, artifacts: Artifacts) -> None:
    assert recsys("models", "list", "--artifacts", "nowhere").stdout == "There are no versions yet. Run recsys train.\n"
    train()
    done = recsys("models", "diff", "v000001", "--artifacts", str(artifacts.root))
    assert done.returncode == 2
    assert "v000001 is the served version" in done.stderr


def test_a_difference_in_time_is_shown_as_one(recsys: Recsys, shop: Store, artifacts: Artifacts, train: Train) -> None:
    train()
    with shop.writing() as con:
        con.execute("UPDATE events SET ts = 1735689600 WHERE ts = (SELECT max(ts) FROM events)")
    train()
    shown = recsys("models", "diff", "1", "2", "--artifacts", str(artifacts.root)).stdout
    assert re.search(r"last_ts .* 2025-01-01 00:00\b", shown)
