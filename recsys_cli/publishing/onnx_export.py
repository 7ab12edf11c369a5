"""A version's model as ONNX graphs for other programs, checked against ours by onnxruntime.

match.onnx      vectors of histories -> scores of all items
read.onnx       of models that read in order: item codes and lengths -> vectors of histories
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
from ..errors import CorruptArtifact, MissingDependency, UsageError
from ..models import registry
from ..models.support.gradients import Elsewhere
from ..models.support.sequence_model import SequenceModel, whole
from ..models.support.vectors import VectorModel
from ..schema import Float32

FORMAT = 1
OPSET, IR = 17, 10  # what onnxruntime reads since 2024
EQUAL = 1e-5  # of the largest value, by which the runtime's answers may differ from ours
_CHECKED = 64  # rows


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
        The model has no vectors, or `folder` holds something.
    MissingDependency
        onnx or onnxruntime is not installed.
    CorruptArtifact
        The runtime's answers are not ours.
    """
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise UsageError(f"{folder} is not empty.", "Name a directory that does not exist yet.")
    bundle = read_bundle(version.path)
    model = registry.load(bundle)
    if not isinstance(model, VectorModel):
        able = ", ".join(name for name, cls in registry.MODELS.items() if issubclass(cls, VectorModel))
        raise UsageError(f"The model {model.name} of {version.name} has no vectors to export.", f"These have: {able}.")
    _onnx()
    with tempfile.TemporaryDirectory(prefix="recsys-") as held:
        made = _write(Path(held), version, bundle, model)
        folder.mkdir(parents=True, exist_ok=True)
        for file in sorted(Path(held).iterdir()):
            shutil.copyfile(file, folder / file.name)
    return Exported(folder, made.manifest, made.apart)


def _write(folder: Path, version: Version, bundle: Bundle, model: VectorModel) -> Exported:
    graphs = {"match": _match(model)} | ({"read": _read(model)} if isinstance(model, SequenceModel) else {})
    apart = {}
    for name, (graph, told) in graphs.items():
        path = folder / f"{name}.onnx"
        path.write_bytes(graph.model().SerializeToString())
        apart[name] = _difference(path, told["given"], told["ours"])
        if not apart[name] <= EQUAL:
            raise CorruptArtifact(f"{path.name} differs from {version.name} by {apart[name]:.1e}.", "Report this.")
    (folder / "items.json").write_text(json.dumps(bundle.items().ids.to_pylist()), encoding="utf-8")
    files = {p.name: {"bytes": p.stat().st_size, "sha256": sha256_of(p)} for p in sorted(folder.iterdir())}
    manifest = {
        "format": FORMAT,
        "version": version.name,
        "model": {"name": model.name, "config": model.config.as_dict()},
        "items": model.n_items,
        "graphs": {name: graph.described() for name, (graph, _) in graphs.items()},
        "files": files,
    }
    (folder / "manifest.json").write_text(json.dumps(manifest, indent=1, sort_keys=True), encoding="utf-8")
    return Exported(folder, manifest, apart)


class _Graph:
    """Nodes in the making."""

    def __init__(self, says: dict[str, str]) -> None:
        self.nodes: list[Any] = []
        self.constants: dict[str, Any] = {}
        self.inputs: dict[str, tuple[str, list[Any]]] = {}
        self.outputs: dict[str, tuple[str, list[Any]]] = {}
        self.says = says

    def constant(self, array: Any) -> str:
        name = f"c{len(self.constants)}"
        self.constants[name] = np.asarray(array)
        return name

    def add(self, kind: str, *inputs: Any, outputs: int = 1, **attributes: Any) -> str:
        """One node; arrays among its inputs are constants."""
        names = [one if isinstance(one, str) else self.constant(one) for one in inputs]
        made = [f"n{len(self.nodes)}_{n}" for n in range(outputs)]
        self.nodes.append(_onnx().helper.make_node(kind, names, made, **attributes))
        return made[0]

    def given(self, name: str, kind: str, shape: list[Any]) -> str:
        self.inputs[name] = kind, shape
        return name

    def gives(self, name: str, made: str, shape: list[Any]) -> None:
        self.nodes.append(_onnx().helper.make_node("Identity", [made], [name]))
        self.outputs[name] = "float32", shape

    def model(self) -> Any:
        helper, kinds = _onnx().helper, {"float32": _onnx().TensorProto.FLOAT, "int64": _onnx().TensorProto.INT64}
        ends = [
            [helper.make_tensor_value_info(name, kinds[kind], shape) for name, (kind, shape) in side.items()]
            for side in (self.inputs, self.outputs)
        ]
        held = [_onnx().numpy_helper.from_array(np.ascontiguousarray(a), name) for name, a in self.constants.items()]
        graph = helper.make_graph(self.nodes, "recsys", *ends, initializer=held)
        made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], producer_name="recsys")
        made.ir_version = IR
        _onnx().checker.check_model(made)
        return made

    def described(self) -> dict[str, Any]:
        return {
            side: [
                {"name": name, "type": kind, "shape": shape, "is": self.says[name]}
                for name, (kind, shape) in of.items()
            ]
            for side, of in (("inputs", self.inputs), ("outputs", self.outputs))
        }


class _Traced(Elsewhere):
    """An array of a graph in the making; the first axis of its shape is open."""

    __array_ufunc__ = None

    def __init__(self, graph: _Graph, name: str, shape: tuple[int, ...]) -> None:
        self.graph, self.name, self.shape = graph, name, shape

    def _made(self, kind: str, *inputs: Any, shape: tuple[int, ...] | None = None, **attributes: Any) -> _Traced:
        names = [one.name if isinstance(one, _Traced) else one for one in inputs]
        name = self.graph.add(kind, self.name, *names, **attributes)
        return _Traced(self.graph, name, self.shape if shape is None else shape)

    def __add__(self, other: Any) -> _Traced:
        return self._made("Add", other)

    __radd__ = __add__

    def __mul__(self, other: Any) -> _Traced:
        return self._made("Mul", other)

    __rmul__ = __mul__

    def __matmul__(self, other: Any) -> _Traced:
        return self._made("MatMul", other, shape=(*self.shape[:-1], other.shape[-1]))

    def reshape(self, *shape: int) -> _Traced:
        return self._made("Reshape", np.array(shape, np.int64), shape=shape)

    def swapaxes(self, one: int, other: int) -> _Traced:
        order = list(range(len(self.shape)))
        order[one], order[other] = order[other], order[one]
        return self._made("Transpose", shape=tuple(self.shape[axis] for axis in order), perm=order)

    def call(self, function: str, *arrays: Any) -> Any:
        if function == "normalised":
            return self._made("LayerNormalization", *arrays, axis=-1, epsilon=1e-6)
        if function == "recurrent":
            return self._recurrent(*arrays)
        if function == "unit":
            return self._made("LpNormalization", axis=-1, p=2)
        if function == "softmax":
            return self._made("Softmax", axis=-1)
        return self._made({"relu": "Relu", "sigmoid": "Sigmoid"}[function])

    def _recurrent(self, state: Float32) -> _Traced:
        """ONNX's GRU has the gates in our order, and takes time as the first axis."""
        length, d = self.shape[1], len(state)
        taken = np.eye(3 * d, dtype=np.float32)[None]
        steps = self.graph.add("Transpose", self.name, perm=[1, 0, 2])
        made = self.graph.add(
            "GRU", steps, taken, np.ascontiguousarray(state.T)[None], hidden_size=d, linear_before_reset=1
        )
        flat = self.graph.add("Squeeze", made, np.array([1], np.int64))
        return _Traced(self.graph, self.graph.add("Transpose", flat, perm=[1, 0, 2]), (-1, length, d))


Told = dict[str, Any]  # what a graph is checked with: {"given", "ours"}


def _match(model: VectorModel) -> tuple[_Graph, Told]:
    vectors = model.item_vectors()
    d = vectors.shape[1]
    graph = _Graph(
        {
            "vector": "What the model makes of each history.",
            "scores": "Of each item, in the order of items.json; exactly 0 says that the model has no opinion.",
        }
    )
    made = graph.add("MatMul", graph.given("vector", "float32", ["rows", d]), np.ascontiguousarray(vectors.T))
    graph.gives("scores", made, ["rows", model.n_items])
    asked = np.random.default_rng(0).standard_normal((_CHECKED, d)).astype(np.float32)
    return graph, {"given": {"vector": asked}, "ours": asked @ vectors.T}


def _read(model: SequenceModel) -> tuple[_Graph, Told]:
    longest, d = model.config.longest, model.item_factors.shape[1]
    graph = _Graph(
        {
            "items": "Codes of what was wanted, each item once, at its last time, oldest first; no more than the last "
            "ones that have room, only items that the model knows, then anything.",
            "length": "How many items each row has, at least 1.",
            "vector": "What match.onnx takes.",
        }
    )
    items = graph.given("items", "int64", ["rows", longest])
    length = graph.given("length", "int64", ["rows"])
    read = _Traced(graph, graph.add("Gather", model.item_factors, items), (-1, longest, d))
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


def _difference(path: Path, given: dict[str, Any], ours: Float32) -> float:
    """The largest difference between the runtime's answer and ours, as a share of our largest value."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    theirs = session.run(None, given)[0]
    return float(np.abs(theirs - ours).max() / max(float(np.abs(ours).max()), 1e-12))


def _onnx() -> Any:
    try:
        import onnx
        import onnxruntime  # noqa: F401 - what is written is checked
    except ImportError:
        raise MissingDependency("onnx and onnxruntime", "onnx", "recsys models export") from None
    return onnx
