"""What is exported answers as the version does, and says what it takes."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path

import numpy as np
import pytest
from known import checkerboard

from recsys_cli.artifacts import Version
from recsys_cli.artifacts.bundle import Bundle, write_bundle
from recsys_cli.durable_files import sha256_of
from recsys_cli.errors import MissingDependency, UsageError
from recsys_cli.models import registry
from recsys_cli.models.base import Model
from recsys_cli.models.support.sequence_model import SequenceModel
from recsys_cli.publishing import onnx_export
from recsys_cli.publishing.onnx_export import export_onnx
from recsys_cli.ranking.heads import Lessons, grow
from recsys_cli.ranking.outcome import RANKER
from recsys_cli.ranking.past import Lesson
from recsys_cli.ranking.ranker import Ranker
from recsys_cli.schema import Histories

DATA = checkerboard()
needs_onnx = pytest.mark.skipif(
    importlib.util.find_spec("onnx") is None or importlib.util.find_spec("onnxruntime") is None,
    reason="onnx and onnxruntime are not installed",
)


def fitted(name: str, **config: float) -> Model:
    cls = registry.get(name)
    return cls.fit(DATA, cls.Config.from_values(config), seed=1, threads=1)


def version_of(model: Model, folder: Path, ranker: Ranker | None = None) -> Version:
    state = model.state()
    made = folder / "v000001"
    made.mkdir()
    nobody = np.zeros((0, 2), np.uint64), Histories.of([])
    config = model.config.as_dict()
    write_bundle(made, Bundle(model.name, config, state.arrays, state.meta, DATA.catalogue, *nobody, now=0))
    files: dict[str, dict[str, int]] = {}
    if ranker is not None:
        ranker.save(made / RANKER)
        files = {f"{RANKER}/{file.name}": {} for file in (made / RANKER).iterdir()}
    return Version(made, {"files": files, "trained": {"data": {"last_ts": 7}}})


@needs_onnx
@pytest.mark.parametrize("name", ["als", "sasrec", "gru4rec", "two-tower"])
def test_answers_as_the_version_does(name: str, tmp_path: Path) -> None:
    import onnxruntime

    small = {"work": 1e-5, "longest": 6} if issubclass(registry.get(name), SequenceModel) else {}
    model = fitted(name, factors=8, **small)
    made = export_onnx(version_of(model, tmp_path), tmp_path / "out")
    assert max(made.apart.values()) <= 1e-5
    manifest = json.loads((tmp_path / "out" / "manifest.json").read_bytes())
    assert {n: f["sha256"] for n, f in manifest["files"].items()} == {
        p.name: sha256_of(p) for p in (tmp_path / "out").iterdir() if p.name != "manifest.json"
    }
    assert json.loads((tmp_path / "out" / "items.json").read_bytes())[:2] == ["i0", "i1"]
    history = Histories.of([[3, 5, 1]], ts=7)
    if isinstance(model, SequenceModel):
        read = onnxruntime.InferenceSession(str(tmp_path / "out" / "read.onnx"))
        vector = read.run(None, {"items": np.array([[1, 3, 5, 0, 0, 0]]), "length": np.array([3])})[0]
    else:
        vector = model.user_vectors(history, 7)
    match = onnxruntime.InferenceSession(str(tmp_path / "out" / "match.onnx"))
    scores = match.run(None, {"vector": vector})[0]
    ours = model.score(history, 7)
    np.testing.assert_allclose(scores, ours, atol=2e-5 * float(np.abs(ours).max()))


@needs_onnx
@pytest.mark.parametrize("unknown", [0.0, 0.3])
def test_a_ranker_scores_as_the_version_does(tmp_path: Path, unknown: float) -> None:
    """With trees that were grown with missing values, and with such as were not and meet one all the same."""
    pytest.importorskip("lightgbm")
    import onnxruntime

    rng = np.random.default_rng(0)
    values = rng.standard_normal((6000, 5)).astype(np.float32)
    label = (values[:, 0] + values[:, 1] * values[:, 2] > 0.5).astype(np.float32)
    values[rng.random(values.shape) < unknown] = np.nan
    lessons = Lessons(("price", "orders", "sold_3d", "sold_7d", "sold_14d"), Lesson(values, label, np.full(300, 20)))
    ranker = grow(lessons, {"order": 1.0, "purchase": 0.5}, seed=1)
    made = export_onnx(version_of(fitted("item-knn"), tmp_path, ranker), tmp_path / "out")
    assert made.apart.keys() == {"rank"}
    assert made.manifest["graphs"]["rank"]["inputs"][0]["columns"] == list(ranker.names)
    asked = rng.standard_normal((500, 5)).astype(np.float32)
    asked[rng.random(asked.shape) < 0.3] = np.nan
    scores = onnxruntime.InferenceSession(str(tmp_path / "out" / "rank.onnx")).run(None, {"features": asked})[0]
    ours = ranker.scores(asked)
    np.testing.assert_allclose(scores[:, 0], ours, atol=1e-5 * float(np.abs(ours).max()))


@needs_onnx
def test_a_model_without_vectors_is_refused_by_name(tmp_path: Path) -> None:
    version = version_of(fitted("item-knn"), tmp_path)
    with pytest.raises(UsageError, match=r"item-knn of v000001 has no vectors to export.*als.*sasrec"):
        export_onnx(version, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_nothing_is_written_over(tmp_path: Path) -> None:
    version = version_of(fitted("item-knn"), tmp_path)
    with pytest.raises(UsageError, match="is not empty"):
        export_onnx(version, tmp_path)


def test_what_is_missing_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    version = version_of(fitted("als", factors=4, iterations=1), tmp_path)
    monkeypatch.setitem(__import__("sys").modules, "onnx", None)
    with pytest.raises(MissingDependency, match=r"pip install 'recsys-cli\[onnx\]'"):
        export_onnx(version, tmp_path / "out")
    assert onnx_export.EQUAL == 1e-5
