"""ONNX graphs in the making: nodes by name, and networks written for NumPy traced into them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ..errors import MissingDependency
from ..models.support.gradients import Elsewhere
from ..schema import Float32

OPSET, TREES, IR = 17, 3, 10  # what onnxruntime reads since 2024


class Graph:
    """Nodes in the making.

    Parameters
    ----------
    says
        What each input and output is.
    columns
        Names of the columns of those that have some.
    """

    def __init__(self, says: dict[str, str], columns: Mapping[str, Sequence[str]] | None = None) -> None:
        self.nodes: list[Any] = []
        self.constants: dict[str, Any] = {}
        self.inputs: dict[str, tuple[str, list[Any]]] = {}
        self.outputs: dict[str, tuple[str, list[Any]]] = {}
        self.says = says
        self.columns = {name: list(of) for name, of in (columns or {}).items()}

    def constant(self, array: Any) -> str:
        name = f"c{len(self.constants)}"
        self.constants[name] = np.asarray(array)
        return name

    def add(self, kind: str, *inputs: Any, **attributes: Any) -> str:
        """One node; arrays among its inputs are constants."""
        names = [one if isinstance(one, str) else self.constant(one) for one in inputs]
        made = f"n{len(self.nodes)}"
        self.nodes.append(onnx().helper.make_node(kind, names, [made], **attributes))
        return made

    def given(self, name: str, kind: str, shape: list[Any]) -> str:
        self.inputs[name] = kind, shape
        return name

    def gives(self, name: str, made: str, shape: list[Any]) -> None:
        self.nodes.append(onnx().helper.make_node("Identity", [made], [name]))
        self.outputs[name] = "float32", shape

    def model(self) -> Any:
        helper, kinds = onnx().helper, {"float32": onnx().TensorProto.FLOAT, "int64": onnx().TensorProto.INT64}
        ends = [
            [helper.make_tensor_value_info(name, kinds[kind], shape) for name, (kind, shape) in side.items()]
            for side in (self.inputs, self.outputs)
        ]
        held = [onnx().numpy_helper.from_array(np.asarray(a, order="C"), name) for name, a in self.constants.items()]
        graph = helper.make_graph(self.nodes, "recsys", *ends, initializer=held)
        sets = [helper.make_opsetid("", OPSET), helper.make_opsetid("ai.onnx.ml", TREES)]
        made = helper.make_model(graph, opset_imports=sets, producer_name="recsys")
        made.ir_version = IR
        onnx().checker.check_model(made)
        return made

    def described(self) -> dict[str, Any]:
        return {
            side: [
                {"name": name, "type": kind, "shape": shape, "is": self.says[name]}
                | ({"columns": self.columns[name]} if name in self.columns else {})
                for name, (kind, shape) in of.items()
            ]
            for side, of in (("inputs", self.inputs), ("outputs", self.outputs))
        }


class Traced(Elsewhere):
    """An array of a graph in the making; the first axis of its shape is open."""

    __array_ufunc__ = None

    def __init__(self, graph: Graph, name: str, shape: tuple[int, ...]) -> None:
        self.graph, self.name, self.shape = graph, name, shape

    def _made(self, kind: str, *inputs: Any, shape: tuple[int, ...] | None = None, **attributes: Any) -> Traced:
        names = [one.name if isinstance(one, Traced) else one for one in inputs]
        name = self.graph.add(kind, self.name, *names, **attributes)
        return Traced(self.graph, name, self.shape if shape is None else shape)

    def __add__(self, other: Any) -> Traced:
        return self._made("Add", other)

    __radd__ = __add__

    def __mul__(self, other: Any) -> Traced:
        return self._made("Mul", other)

    __rmul__ = __mul__

    def __matmul__(self, other: Any) -> Traced:
        return self._made("MatMul", other, shape=(*self.shape[:-1], other.shape[-1]))

    def reshape(self, *shape: int) -> Traced:
        return self._made("Reshape", np.array(shape, np.int64), shape=shape)

    def swapaxes(self, one: int, other: int) -> Traced:
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

    def _recurrent(self, state: Float32) -> Traced:
        """ONNX's GRU has the gates in our order, and takes time as the first axis."""
        length, d = self.shape[1], len(state)
        taken = np.eye(3 * d, dtype=np.float32)[None]
        steps = self.graph.add("Transpose", self.name, perm=[1, 0, 2])
        made = self.graph.add(
            "GRU", steps, taken, np.ascontiguousarray(state.T)[None], hidden_size=d, linear_before_reset=1
        )
        flat = self.graph.add("Squeeze", made, np.array([1], np.int64))
        return Traced(self.graph, self.graph.add("Transpose", flat, perm=[1, 0, 2]), (-1, length, d))


def onnx() -> Any:
    try:
        import onnx
        import onnxruntime  # noqa: F401 - what is written is checked
    except ImportError:
        raise MissingDependency("onnx and onnxruntime", "onnx", "recsys models export") from None
    return onnx
