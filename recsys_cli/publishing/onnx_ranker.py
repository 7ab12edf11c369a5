"""A version's ranker as an ONNX graph: all trees of all heads in one node, or a network; added up as they are mixed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from ..ranking.dlrm import CLIPPED, CODES, Inputs, Mix, pairs
from ..ranking.forest import DEFAULT_LEFT, MISSING_NAN, trees_of
from ..ranking.ranker import Ranker
from ..ranking.trees import Trees
from ..schema import Float32
from .onnx_graph import Graph

_CHECKED = 512  # rows
_UNKNOWN = 0.1  # share of the values in them that are not known
_SAYS = {
    "features": "What is known of each candidate, in the order of `columns`, not a number where it is not known.",
    "scores": "Higher is better; comparable within one list.",
}


def ranker_graph(ranker: Ranker) -> tuple[Graph, dict[str, Any]]:
    """The graph, and what it is checked with: features, and our scores of them."""
    graph = Graph(_SAYS, columns={"features": ranker.names})
    features = graph.given("features", "float32", ["rows", len(ranker.names)])
    if isinstance(ranker.forest, Mix):
        scores, asked = _network(graph, features, ranker.forest), _usual(ranker.forest.network.inputs)
    else:
        held, thresholds = _ensemble(ranker)
        scores = graph.add("TreeEnsembleRegressor", features, **held)
        asked = _around(thresholds, len(ranker.names))
    graph.gives("scores", scores, ["rows", 1])
    return graph, {"given": {"features": asked}, "ours": ranker.scores(asked)[:, None]}


def _network(graph: Graph, features: str, mix: Mix) -> str:
    """As `dlrm.forward`, and what comes before and after it."""
    weights, inputs = mix.network.weights, mix.network.inputs

    def layer(given: str, name: str) -> str:
        return graph.add("MatMul", given, weights[name])

    def ends(given: str, name: str) -> str:
        return graph.add("Relu", graph.add("Add", given, weights[f"{name} bias"]))

    hidden = ends(layer(_numbers(graph, features, inputs), "in"), "in")
    whole = ends(layer(hidden, "bottom"), "bottom")
    words = _words(graph, features, inputs)
    vectors = [whole, *(graph.add("Gather", weights[f"vectors {kind}"], row) for kind, row in sorted(words.items()))]
    products = [
        graph.add("ReduceSum", graph.add("Mul", vectors[i], vectors[j]), np.array([1], np.int64), keepdims=1)
        for i, j in zip(*pairs(len(vectors)), strict=True)
    ]
    agreed = graph.add("Concat", whole, *products, axis=1)
    top = ends(graph.add("Add", layer(hidden, "wide"), layer(agreed, "top")), "top")
    heads = graph.add("Add", layer(top, "out"), weights["out bias"])
    return graph.add("MatMul", heads, mix.weights[:, None].astype(np.float32))


def _numbers(graph: Graph, features: str, inputs: Inputs) -> str:
    """As `Inputs.numbers`."""
    held = graph.add("Sub", graph.add("Gather", features, inputs.dense, axis=1), inputs.centre)
    held = graph.add("Div", held, inputs.scale)
    missing = graph.add("IsNaN", held)
    known = graph.add("Where", missing, np.float32(0), graph.add("Clip", held, -CLIPPED, CLIPPED))
    unknown = graph.add("Cast", graph.add("Gather", missing, inputs.unknown, axis=1), to=1)
    return graph.add("Concat", known, unknown, axis=1)


def _words(graph: Graph, features: str, inputs: Inputs) -> dict[str, str]:
    """As `Inputs.words`."""
    found: dict[str, str] = {}
    for kind, table in inputs.tables.items():
        at = next(inputs.names.index(name) for name in CODES if kind.endswith(name))
        code = graph.add("Gather", features, np.array(at, np.int64), axis=1)
        inside = graph.add("Less", code, np.float32(len(table)))
        there = graph.add("And", graph.add("GreaterOrEqual", code, np.float32(0)), inside)  # of NaN neither is true
        number = graph.add("Cast", graph.add("Where", there, code, np.float32(0)), to=7)
        row = graph.add("Gather", table.astype(np.int64), number)
        found[kind] = graph.add("Where", there, row, np.array(0, np.int64))
    return found


def _usual(inputs: Inputs) -> Float32:
    """Features as they were learned from, and codes of items, also of such as the network does not know."""
    rng = np.random.default_rng(0)
    asked = np.full((_CHECKED, len(inputs.names)), np.nan, np.float32)
    asked[:, inputs.dense] = rng.standard_normal((_CHECKED, len(inputs.dense))) * inputs.scale + inputs.centre
    most = max((len(table) for table in inputs.tables.values()), default=1)
    for name in set(CODES) & set(inputs.names):
        asked[:, inputs.names.index(name)] = rng.integers(-1, most + 2, _CHECKED)
    asked[rng.random(asked.shape) < _UNKNOWN] = np.nan
    return asked


def _ensemble(ranker: Ranker) -> tuple[dict[str, Any], dict[int, list[float]]]:
    """Attributes of the node; and by feature its thresholds."""
    held: dict[str, Any] = {
        f"nodes_{name}": []
        for name in (
            "treeids", "nodeids", "featureids", "values", "modes", "truenodeids", "falsenodeids",
            "missing_value_tracks_true",
        )
    } | {f"target_{name}": [] for name in ("treeids", "nodeids", "ids", "weights")}  # fmt: skip
    thresholds: dict[int, list[float]] = {}
    number = 0
    for head in ranker.heads.values():
        for tree in trees_of(head.trees.text) if isinstance(head.trees, Trees) else ():
            _add(held, tree, number, head.weight / head.spread, thresholds)
            number += 1
    return held | {"domain": "ai.onnx.ml", "n_targets": 1, "aggregate_function": "SUM"}, thresholds


def _add(
    held: dict[str, Any], tree: Mapping[str, str], number: int, weight: float, thresholds: dict[int, list[float]]
) -> None:
    """One tree: its tests are numbered as in the text, its leaves follow."""
    leaves = [float(word) * weight for word in tree["leaf_value"].split()]
    tests = len(leaves) - 1

    def node(at: int, feature: int, value: float, mode: str, where: tuple[int, int], missing: int) -> None:
        row = (number, at, feature, value, mode, *where, missing)
        for name, one in zip(list(held)[:8], row, strict=True):
            held[name].append(one)

    if tests:
        words = ("split_feature", "decision_type", "left_child", "right_child")
        columns = [[int(word) for word in tree[name].split()] for name in words]
        limits = [_float32_below(float(word)) for word in tree["threshold"].split()]
        for at, (feature, decision, left, right) in enumerate(zip(*columns, strict=True)):
            thresholds.setdefault(feature, []).append(limits[at])
            # Trees that were grown without missing values take one for 0.
            missing = bool(decision & DEFAULT_LEFT) if decision & MISSING_NAN else limits[at] >= 0
            # A child below zero is a leaf, counted from -1 on downwards.
            first, second = (child if child >= 0 else tests + ~child for child in (left, right))
            node(at, feature, limits[at], "BRANCH_LEQ", (first, second), int(missing))
    for at, value in enumerate(leaves, tests):
        node(at, 0, 0.0, "LEAF", (0, 0), 0)
        for name, one in zip(("treeids", "nodeids", "ids", "weights"), (number, at, 0, value), strict=True):
            held[f"target_{name}"].append(one)


def _float32_below(threshold: float) -> float:
    """The largest float32 that is not above: what is compared with it is float32 as well, so no answer changes."""
    near = np.float32(threshold)
    return float(near if float(near) <= threshold else np.nextafter(near, np.float32(-np.inf)))


def _around(thresholds: Mapping[int, list[float]], width: int) -> Float32:
    """Features at, and to both sides of, what the trees compare them with; some are not known."""
    rng = np.random.default_rng(0)
    asked = rng.standard_normal((_CHECKED, width)).astype(np.float32)
    for feature, limits in thresholds.items():
        drawn = rng.choice(np.array(limits, np.float32), _CHECKED)
        side = rng.integers(-1, 2, _CHECKED)
        asked[:, feature] = np.where(side == 0, drawn, np.nextafter(drawn, (side * 1e30).astype(np.float32)))
    asked[rng.random(asked.shape) < _UNKNOWN] = np.nan
    return asked
