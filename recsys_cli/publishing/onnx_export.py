"""A version's model as ONNX graphs for other programs, checked against ours by onnxruntime.

match.onnx      vectors of histories -> scores of all items
read.onnx       of models that read in order: item codes and lengths -> vectors of histories
rank.onnx       of a version with a ranker: features of candidates -> scores to order them by
ARRAY.npy       the model's arrays, which with the two below `models import` takes; see `model_bundle`
items.json      item ids in the order of their codes
manifest.json   what each graph takes and gives, the model, and a checksum of every file
"""

from __future__ import annotations

import json
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..artifacts import Version
from ..artifacts.bundle import Bundle, read_bundle
from ..durable_files import sha256_of
from ..errors import CorruptArtifact, UsageError
from ..evaluation.bench import fitted
from ..models import registry
from ..models.base import Model, State
from ..models.support.sequence_model import SequenceModel, whole
from ..models.support.vectors import VectorModel
from ..ranking.outcome import RANKER
from ..ranking.ranker import Ranker
from .model_bundle import FORMAT, ITEMS, MANIFEST
from .onnx_graph import Graph, Traced, onnx
from .onnx_ranker import ranker_graph

EQUAL = 1e-5  # of the largest value, by which the runtime's answers may differ from ours
_CHECKED = 64  # rows
Told = dict[str, Any]  # what a graph is checked with: {"given", "ours"}


@dataclass(frozen=True)
class Exported:
    """Where the files are, and how far the runtime's answers are from ours: graph -> share of the largest value."""

    folder: Path
    manifest: dict[str, Any]
    apart: dict[str, float]


def export_onnx(version: Version, folder: Path) -> Exported:
    """Write a version's model to `folder`, which must not exist or be empty; nothing is left of it on an error.

    Raises
    ------
    UsageError
        The version has neither vectors nor a ranker, or `folder` holds something.
    MissingDependency
        onnx or onnxruntime is not installed.
    CorruptArtifact
        The runtime's answers are not ours.
    """
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise UsageError(f"{folder} is not empty.", "Name a directory that does not exist yet.")
    bundle = read_bundle(version.path)
    model = registry.load(bundle)
    ranker = _ranker(version)
    if ranker is None and not isinstance(model, VectorModel):
        able = ", ".join(name for name, cls in registry.MODELS.items() if issubclass(cls, VectorModel))
        text = f"The model {model.name} of {version.name} has no vectors to export, and there is no ranker."
        raise UsageError(text, f"These models have vectors: {able}.")
    onnx()
    with tempfile.TemporaryDirectory(prefix="recsys-") as held:
        made = _write(Path(held), version, bundle, model, ranker)
        folder.mkdir(parents=True, exist_ok=True)
        for file in sorted(Path(held).iterdir()):
            shutil.copyfile(file, folder / file.name)
    return Exported(folder, made.manifest, made.apart)


def _ranker(version: Version) -> Ranker | None:
    """The second stage, where the version has one."""
    there = any(name.startswith(f"{RANKER}/") for name in version.manifest["files"])
    return Ranker.load(version.file(RANKER)) if there else None


def _graphs(model: Model, ranker: Ranker | None) -> dict[str, tuple[Graph, Told]]:
    graphs = {"match": _match(model)} if isinstance(model, VectorModel) else {}
    graphs |= {"read": _read(model)} if isinstance(model, SequenceModel) else {}
    return graphs | ({} if ranker is None else {"rank": ranker_graph(ranker)})


def _write(folder: Path, version: Version, bundle: Bundle, model: Model, ranker: Ranker | None) -> Exported:
    graphs = _graphs(model, ranker)
    apart = {}
    for name, (graph, told) in graphs.items():
        path = folder / f"{name}.onnx"
        path.write_bytes(graph.model().SerializeToString())
        apart[name] = _difference(path, told["given"], told["ours"])
        if not apart[name] <= EQUAL:
            raise CorruptArtifact(f"{path.name} differs from {version.name} by {apart[name]:.1e}.", "Report this.")
    (folder / ITEMS).write_text(json.dumps(bundle.items().ids.to_pylist()), encoding="utf-8")
    state = model.state() if isinstance(model, VectorModel) else State({})
    for name, array in state.arrays.items():
        np.save(folder / f"{name}.npy", np.ascontiguousarray(array), allow_pickle=False)
    files = {p.name: {"bytes": p.stat().st_size, "sha256": sha256_of(p)} for p in sorted(folder.iterdir())}
    manifest = {
        "format": FORMAT,
        "version": version.name,
        "model": {"name": model.name, "config": model.config.as_dict(), "meta": state.meta},
        "items": model.n_items,
        "until": int(fitted(version)["data"]["last_ts"]),
        "graphs": {name: graph.described() for name, (graph, _) in graphs.items()},
        "files": files,
    }
    (folder / MANIFEST).write_text(json.dumps(manifest, indent=1, sort_keys=True), encoding="utf-8")
    return Exported(folder, manifest, apart)


def _match(model: VectorModel) -> tuple[Graph, Told]:
    vectors = model.item_vectors()
    d = vectors.shape[1]
    graph = Graph(
        {
            "vector": "What the model makes of each history.",
            "scores": "Of each item, in the order of items.json; exactly 0 says that the model has no opinion.",
        }
    )
    made = graph.add("MatMul", graph.given("vector", "float32", ["rows", d]), np.ascontiguousarray(vectors.T))
    graph.gives("scores", made, ["rows", model.n_items])
    asked = np.random.default_rng(0).standard_normal((_CHECKED, d)).astype(np.float32)
    return graph, {"given": {"vector": asked}, "ours": asked @ vectors.T}


def _read(model: SequenceModel) -> tuple[Graph, Told]:
    longest, d = model.config.longest, model.item_factors.shape[1]
    graph = Graph(
        {
            "items": "Codes of what was wanted, each item once, at its last time, oldest first; no more than the last "
            "ones that have room, only items that the model knows, then anything.",
            "length": "How many items each row has, at least 1.",
            "vector": "What match.onnx takes.",
        }
    )
    items = graph.given("items", "int64", ["rows", longest])
    length = graph.given("length", "int64", ["rows"])
    read = Traced(graph, graph.add("Gather", model.item_factors, items), (-1, longest, d))
    hidden = model.encode(model.network, read, model.config, whole)
    last = graph.add("Sub", graph.add("Unsqueeze", length, np.array([1], np.int64)), np.array(1, np.int64))
    here = graph.add("Cast", graph.add("Equal", np.arange(longest, dtype=np.int64)[None], last), to=1)
    own = graph.add("Mul", hidden.name, graph.add("Unsqueeze", here, np.array([2], np.int64)))
    graph.gives("vector", graph.add("ReduceSum", own, np.array([1], np.int64), keepdims=0), ["rows", d])
    rng = np.random.default_rng(0)
    known = np.flatnonzero(model.item_factors.any(axis=1))
    asked = rng.choice(known, (_CHECKED, longest)).astype(np.int64)
    lengths = rng.integers(1, longest + 1, _CHECKED)
    ours = model.read(asked.astype(np.int32), lengths)
    return graph, {"given": {"items": asked, "length": lengths.astype(np.int64)}, "ours": ours}


def _difference(path: Path, given: dict[str, Any], ours: Any) -> float:
    """The largest difference between the runtime's answer and ours, as a share of our largest value."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    theirs = session.run(None, given)[0]
    return float(np.abs(theirs - ours).max() / max(float(np.abs(ours).max()), 1e-12))
