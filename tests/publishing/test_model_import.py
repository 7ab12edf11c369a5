"""A bundle comes back as the model that it was; one that is not what it should be changes nothing."""

from __future__ import annotations

import hashlib
import importlib.util
import json
import os
import shutil
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from known import checkerboard

from recsys_cli.artifacts import Artifacts
from recsys_cli.artifacts.bundle import read_bundle
from recsys_cli.errors import InputError
from recsys_cli.evaluation.bench import Served
from recsys_cli.models import registry
from recsys_cli.models.content import Content
from recsys_cli.models.support.vectors import VectorModel
from recsys_cli.publishing.model_bundle import read_model_bundle
from recsys_cli.publishing.model_import import Imported, import_model
from recsys_cli.publishing.train import Recipe, train
from recsys_cli.schema import Histories
from recsys_cli.settings import Settings
from recsys_cli.settings_sources import load
from recsys_cli.store import Store

DAY, START = 86_400, 1_700_000_000
ITEMS = [f"i{n:02d}" for n in range(24)]
VECTOR_MODELS = [
    name
    for name, cls in registry.MODELS.items()
    if issubclass(cls, VectorModel) and cls is not Content and (not cls.needs or importlib.util.find_spec(cls.needs))
]


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two crowds that buy from two halves of the shelf, over two hundred days."""
    path = tmp_path_factory.mktemp("filled") / "shop.duckdb"
    with Store(path, Settings().store).writing() as con:
        con.execute(
            """INSERT INTO events (user_id, item_id, ts, qty, event_type, order_id)
               SELECT format('u{:03d}', u), format('i{:02d}', ((u % 2) * 12 + hash(u * 1000 + n) % 12)::INTEGER),
                      $start + (n * 200 / 12 + u % 7)::BIGINT * $day + n, 1, 'purchase', format('o{}-{}', u, n // 2)
               FROM range(60) AS a(u), range(12) AS b(n)""",
            {"start": START, "day": DAY},
        )
    return path


@pytest.fixture
def shop(filled: Path, tmp_path: Path) -> Settings:
    for file in filled.parent.iterdir():
        (shutil.copytree if file.is_dir() else shutil.copy)(file, tmp_path / file.name)
    settings = load({"db": tmp_path / filled.name, "artifacts": tmp_path / "model_artifacts"}, environ={})
    return replace(settings, train=replace(settings.train, threads=1, ranker=False))


def crowds() -> np.ndarray:
    """Vectors of another tool: one direction for each half of the shelf."""
    vectors = np.random.default_rng(0).normal(0, 0.05, (24, 4)).astype(np.float32)
    vectors[:12, 0] += 1
    vectors[12:, 1] += 1
    return vectors


def write(folder: Path, arrays: dict[str, Any], **changed: Any) -> Path:
    """A bundle, as another tool would write it."""
    folder.mkdir(exist_ok=True)
    for name, array in arrays.items():
        np.save(folder / f"{name}.npy", array)
    if not (folder / "items.json").exists():
        (folder / "items.json").write_text(json.dumps(ITEMS))
    manifest = {
        "format": 1,
        "model": {"name": "als", "config": {"alpha": 4, "regularization": 1}},
        "items": 24,
        "until": START,
        **changed,
    }
    return seal(folder, manifest)


def seal(folder: Path, manifest: dict[str, Any]) -> Path:
    files = {
        p.name: {"bytes": p.stat().st_size, "sha256": hashlib.sha256(p.read_bytes()).hexdigest()}
        for p in folder.iterdir()
        if p.name != "manifest.json"
    }
    (folder / "manifest.json").write_text(json.dumps({**manifest, "files": files}))
    return folder


def imported(shop: Settings, folder: Path, *, force: bool = False) -> Imported:
    return import_model(Store(shop.db, shop.store), Artifacts(shop.artifacts), shop, folder, force=force)


def trained(shop: Settings, name: str, **config: Any) -> None:
    train(Store(shop.db, shop.store), Artifacts(shop.artifacts), shop, Recipe.of(name, config))


class TestOfAnotherTool:
    def test_is_judged_by_what_came_after_its_training_and_served(self, shop: Settings, tmp_path: Path) -> None:
        trained(shop, "popular")
        done = imported(shop, write(tmp_path / "dir", {"item_factors": crowds()}))
        assert done.decision.promote
        assert done.report is not None
        assert done.report.metrics["als"]["ndcg@10"].value > done.report.metrics["served"]["ndcg@10"].value
        assert Artifacts(shop.artifacts).current() == done.version
        bundle = read_bundle(done.version.path)
        model = registry.load(bundle)
        items, _ = model.recommend(Histories.of([[bundle.items().codes(["i03"])[0]]]), 8, START)
        assert {bundle.items().ids[int(i)].as_py() for i in items[0]} <= set(ITEMS[:12])
        # The next training compares itself with it as it is, since it has not seen the newest days.
        served = Served.of(Artifacts(shop.artifacts))
        assert served is not None
        assert served.until == START
        assert done.version.manifest["kind"] == "import"

    def test_worse_than_what_is_served_it_is_kept_back(self, shop: Settings, tmp_path: Path) -> None:
        trained(shop, "als", factors=4, iterations=5)
        wrong = np.ascontiguousarray(crowds()[np.random.default_rng(1).permutation(24)])
        folder = write(tmp_path / "dir", {"item_factors": wrong})
        done = imported(shop, folder)
        assert not done.decision.promote
        assert "below" in done.decision.reason
        assert Artifacts(shop.artifacts).current_name() == "v000001"
        assert imported(shop, folder, force=True).version.manifest["gate"]["forced"]
        assert Artifacts(shop.artifacts).current_name() == "v000003"

    def test_nothing_is_left_to_judge_one_by_that_has_seen_it_all(self, shop: Settings, tmp_path: Path) -> None:
        folder = write(tmp_path / "dir", {"item_factors": crowds()}, until=START + 400 * DAY)
        assert imported(shop, folder).decision.reason == "Nothing was served before."
        done = imported(shop, folder)
        assert not done.decision.promote
        assert "Its training saw events until" in done.decision.reason

    def test_items_beyond_the_bundle_get_vectors_from_their_buyers(self, shop: Settings, tmp_path: Path) -> None:
        (tmp_path / "dir").mkdir()
        (tmp_path / "dir" / "items.json").write_text(json.dumps(ITEMS[1:]))
        done = imported(shop, write(tmp_path / "dir", {"item_factors": crowds()[1:]}, items=23))
        bundle = read_bundle(done.version.path)
        vector = bundle.model_arrays["item_factors"][bundle.items().codes(["i00"])[0]]
        assert vector[0] > abs(vector[1])


@pytest.mark.parametrize("name", VECTOR_MODELS)
def test_every_vector_model_says_what_it_is_made_of(name: str) -> None:
    """What is imported is compared with `layout`, so that it must be what `state` has."""
    data, cls = checkerboard(users=40), registry.get(name)
    assert issubclass(cls, VectorModel)
    small = {"factors": 8, "work": 1e-6, "longest": 6, "epochs": 1, "iterations": 1}
    config = cls.Config.from_values({k: v for k, v in small.items() if k in cls.Config().as_dict()})
    model = cls.fit(data, config, seed=1, threads=1)
    assert isinstance(model, VectorModel)
    state = model.state()
    layout = cls.layout(model.config, model.n_items, model.item_vectors().shape[1])
    made = {label: (array.dtype, array.shape) for label, array in state.arrays.items()}
    assert made == {label: (np.dtype(kind), shape) for label, (kind, shape) in layout.items()}
    assert set(state.meta) == set(cls.numbers)


@pytest.mark.skipif(importlib.util.find_spec("onnxruntime") is None, reason="onnxruntime is not installed")
@pytest.mark.parametrize("name", ["als", "bpr", "item2vec", "sasrec"])
def test_what_was_exported_answers_alike(shop: Settings, tmp_path: Path, name: str) -> None:
    from recsys_cli.publishing.onnx_export import export_onnx

    small = {"factors": 8, "iterations": 2, "work": 1e-6, "longest": 6, "epochs": 2}
    trained(shop, name, **{k: v for k, v in small.items() if k in registry.get(name).Config().as_dict()})
    artifacts = Artifacts(shop.artifacts)
    export_onnx(artifacts.current(), tmp_path / "dir")
    done = imported(shop, tmp_path / "dir", force=True)
    before, after = (registry.load(read_bundle(v.path)) for v in (artifacts.open("v000001"), done.version))
    history = Histories.of([[3, 5, 1], [20]], ts=START)
    np.testing.assert_array_equal(after.score(history, START), before.score(history, START))


def rewritten(**changed: Any) -> Callable[[Path], None]:
    """A manifest in which something is changed."""

    def change(folder: Path) -> None:
        manifest = json.loads((folder / "manifest.json").read_text())
        (folder / "manifest.json").write_text(json.dumps(manifest | changed))

    return change


def array(made: Any, name: str = "item_factors") -> Callable[[Path], None]:
    """An array, or any bytes, under a name, and listed."""

    def change(folder: Path) -> None:
        if isinstance(made, bytes):
            (folder / f"{name}.npy").write_bytes(made)
        else:
            np.save(folder / f"{name}.npy", made, allow_pickle=True)
        seal(folder, json.loads((folder / "manifest.json").read_text()))

    return change


def text(name: str, content: str, *, listed: bool = True) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        (folder / name).write_text(content)
        if listed:
            seal(folder, json.loads((folder / "manifest.json").read_text()))

    return change


def header(shape: str, kind: str = "<f4") -> bytes:
    told = f"{{'descr': '{kind}', 'fortran_order': False, 'shape': {shape}}}".ljust(117) + "\n"
    return b"\x93NUMPY\x01\x00" + len(told).to_bytes(2, "little") + told.encode()


def link(folder: Path) -> None:
    target = folder.with_name("elsewhere.npy")
    (folder / "item_factors.npy").rename(target)
    (folder / "item_factors.npy").symlink_to(target)


def pipe(folder: Path) -> None:
    (folder / "items.json").unlink()
    os.mkfifo(folder / "items.json")


def nothing(folder: Path) -> None:
    (folder / "manifest.json").unlink()


def spoiled(folder: Path) -> None:
    with (folder / "item_factors.npy").open("r+b") as file:
        file.seek(-2, 2)
        file.write(b"!")


def model(name: str, **config: Any) -> Callable[[Path], None]:
    return rewritten(model={"name": name, "config": config})


ONE = {"bytes": 1, "sha256": "0"}
NAN = np.full((24, 4), np.nan, np.float32)
HOSTILE = {
    "no manifest": (nothing, r"manifest\.json"),
    "a link": (link, r"item_factors\.npy is a link"),
    "a pipe": (pipe, r"items\.json is not a regular file"),
    "another checksum": (spoiled, r"item_factors\.npy is not the file that manifest\.json lists"),
    "a path upwards": (rewritten(files={"../../etc/passwd": ONE}), r'"\.\./\.\./etc/passwd" cannot be the name'),
    "a path from the root": (rewritten(files={"/etc/passwd": ONE}), r"cannot be the name"),
    "the manifest in the list": (rewritten(files={"manifest.json": ONE}), r"cannot be the name"),
    "a negative size": (rewritten(files={"items.json": {"bytes": -1, "sha256": ""}}), r"has -1 bytes"),
    "a huge size": (rewritten(files={"items.json": {"bytes": 10**15, "sha256": ""}}), r"1,000,000\.0 GB; at most"),
    "no list of items": (rewritten(files={}), r"does not list items\.json"),
    "a file that is not listed": (text("run.py", "", listed=False), r'"run\.py" is not listed'),
    "a file that is not there": (
        lambda folder: (folder / "item_factors.npy").unlink(), r'"item_factors\.npy" is listed .* not there',
    ),
    "code": (text("run.py", "import os"), r'"run\.py" cannot be the name'),
    "a pickle": (array(np.array([{"a": 1}] * 24, dtype=object)), r"must hold float32, not \"object\""),
    "a pickle by name": (array(b"\x80\x04cos\nsystem\n."), r"is not an array as numpy\.save writes it"),
    "a zip": (array(b"PK\x03\x04" + bytes(60)), r"is not an array"),
    "a header of brackets": (array(header("(" * 80)), r"is not an array"),
    "a newer header": (array(b"\x93NUMPY\x03\x00" + bytes(200)), r"is not an array"),
    "a header of terabytes": (array(header("(24, 1000000000000)")), r"are too long|does not hold"),
    "too few numbers": (array(header("(24, 4)") + bytes(100)), r"does not hold the 96 numbers"),
    "too many numbers": (array(header("(24, 4)") + bytes(500)), r"does not hold the 96 numbers"),
    "twice the precision": (array(np.ones((24, 4))), r"must hold float32, not \"float64\""),
    "the other byte order": (array(np.ones((24, 4), ">f4")), r"must hold float32"),
    "another number of items": (array(np.ones((23, 4), np.float32)), r"must be 24 x any, not 23 x 4"),
    "no vectors": (array(np.ones(24, np.float32)), r"must be 24 x any, not 24"),
    "nan": (array(NAN), r"not finite numbers"),
    "infinity": (array(np.full((24, 4), np.inf, np.float32)), r"not finite numbers"),
    "huge numbers": (array(np.full((24, 4), 1e30, np.float32)), r"not finite numbers"),
    "zeros": (array(np.zeros((24, 4), np.float32)), r"are zero"),
    "customers": (array(np.ones((60, 4), np.float32), "user_factors"), r"user_factors\.npy is not part of the model"),
    "neither true nor false": (array(header("(24,)", "|b1") + bytes([7]) * 24, "trained"), r"neither true nor false"),
    "an unknown name": (rewritten(run="import os"), r"unknown field `run`"),
    "an unknown name inside": (rewritten(model={"name": "als", "hook": "x"}), r"unknown field `hook`"),
    "a wrong type": (rewritten(items="24"), r"Expected `int`, got `str`"),
    "a newer format": (rewritten(format=2), r"has format 2; this recsys reads 1"),
    "no items": (rewritten(items=0), r"at least 1 item"),
    "no time": (rewritten(until=0), r"until as epoch seconds, from 1 to now, got 0"),
    "a time to come": (rewritten(until=int(time.time()) + 2 * DAY), r"until as epoch seconds, from 1 to now"),
    "milliseconds": (rewritten(until=START * 1000), r"until as epoch seconds, not milliseconds"),
    "a time beyond the calendar": (rewritten(until=2**62), r"until as epoch seconds, from 1 to now"),
    "a time beyond all numbers": (rewritten(until=10**400), r"until as epoch seconds, from 1 to now"),
    "an unknown model": (model("gpt"), r'model "gpt" cannot be imported'),
    "a model that reads files": (model("content", vectors="/etc/passwd"), r'"content" cannot be imported'),
    "an unknown hyperparameter": (model("als", depth=3), r"no setting 'depth'"),
    "a hyperparameter out of bounds": (model("als", alpha=-1), r"alpha must be at least 0"),
    "hyperparameters that divide by zero": (model("als", alpha=4, qty_power="x"), r"qty_power"),
    "hours for an answer": (model("sasrec", factors=1024, longest=1000, blocks=8), r"multiplications, more than"),
    "the arrays of another model": (model("sasrec", factors=4), r"lacks network\."),
    "numbers of another model": (model("bpr"), r'meta of bpr must have "scale", not nothing'),
    "a name twice": (text("manifest.json", '{"format": 1, "format": 1}', listed=False), r'has the name "format" twice'),
    "a constant": (text("manifest.json", '{"format": NaN}', listed=False), r"has NaN, which is not a number"),
    "nesting": (text("manifest.json", "[" * 100_000, listed=False), r"is not JSON"),
    "a huge manifest": (text("manifest.json", " " * (1 << 21), listed=False), r"2,097,152 bytes, more than"),
    "ids that are no list": (text("items.json", '{"a": 1}'), r"must be a list of item ids"),
    "ids that are no text": (text("items.json", json.dumps(list(range(24)))), r"must be a list of item ids"),
    "too few ids": (text("items.json", '["i00"]'), r"has 1 ids, and manifest\.json says 24"),
    "an id twice": (text("items.json", json.dumps(["i00", *ITEMS[:23]])), r'has "i00" twice'),
    "an item of another shop": (
        text("items.json", json.dumps([*ITEMS[:23], "x\x1b[31m"])),
        r"1 of 24 items of the bundle are not in this shop: 'x\\x1b",
    ),
}  # fmt: skip


@pytest.fixture(scope="module")
def untouched(filled: Path, tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """A shop with a version, for bundles that are refused."""
    folder = tmp_path_factory.mktemp("untouched")
    for file in filled.parent.iterdir():
        (shutil.copytree if file.is_dir() else shutil.copy)(file, folder / file.name)
    settings = load({"db": folder / filled.name, "artifacts": folder / "model_artifacts"}, environ={})
    trained(settings, "popular")
    return settings


@pytest.mark.parametrize("what", HOSTILE)
def test_a_hostile_bundle_is_refused_in_a_sentence(untouched: Settings, tmp_path: Path, what: str) -> None:
    change, sentence = HOSTILE[what]
    folder = write(tmp_path / "dir", {"item_factors": crowds()})
    change(folder)
    with pytest.raises(InputError, match=sentence) as refused:
        imported(untouched, folder)
    assert refused.value.message.endswith(".")
    assert "\n" not in refused.value.message
    assert Artifacts(untouched.artifacts).names() == ["v000001"]


def test_answers_that_say_nothing_are_refused(untouched: Settings, tmp_path: Path) -> None:
    """As a weight of 0 gives, for which a training would have chosen another."""
    folder = write(tmp_path / "dir", {"item_factors": crowds()}, model={"name": "als", "config": {"regularization": 1}})
    with pytest.raises(InputError, match="answers are all zero, or not finite"):
        imported(untouched, folder)


def test_vectors_by_column_are_read_as_they_are(tmp_path: Path) -> None:
    folder = write(tmp_path / "dir", {"item_factors": np.asfortranarray(crowds())})
    np.testing.assert_array_equal(read_model_bundle(folder).state.arrays["item_factors"], crowds())
