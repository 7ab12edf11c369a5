"""Gradient boosted trees: grown by LightGBM, kept as its text, asked through its C interface on one thread."""

from __future__ import annotations

import ctypes
import importlib.util
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import CorruptArtifact, MissingLibrary
from ..models.support import openmp
from ..schema import Float32

INSTALL = "Install it with: pip install lightgbm"
_FLOAT32, _INT32 = 0, 2  # types of arrays
_RAW, _CONTRIBUTIONS = 1, 3  # what is asked for
_ONE_THREAD = b"num_threads=1"


def available() -> bool:
    """Whether LightGBM is installed."""
    return importlib.util.find_spec("lightgbm") is not None


@cache
def _library() -> ctypes.CDLL:
    """LightGBM's shared library, without its Python package: that would load pandas and scikit-learn where they are.

    Raises
    ------
    MissingLibrary
    """
    found = importlib.util.find_spec("lightgbm")
    if found is None or not found.origin:
        raise MissingLibrary("The ranker needs LightGBM, which is not installed.", INSTALL)
    openmp.provide()
    for folder in ("lib", ".", "bin"):
        path = Path(found.origin).parent / folder / "lib_lightgbm.so"
        if path.is_file():
            try:
                library = ctypes.CDLL(str(path))
            except OSError as e:
                raise MissingLibrary(f"LightGBM cannot be loaded: {e}.", INSTALL) from None
            library.LGBM_GetLastError.restype = ctypes.c_char_p
            return library
    raise MissingLibrary("LightGBM is installed without its library lib_lightgbm.so.", INSTALL)


class Trees:
    """Trees to ask. Not for several threads at a time.

    Parameters
    ----------
    text
        As LightGBM writes a model.

    Raises
    ------
    MissingLibrary
    CorruptArtifact
        The text is not a model.
    """

    def __init__(self, text: str) -> None:
        self.text = text
        self._library = _library()
        self._handle = ctypes.c_void_p()
        number = ctypes.c_int()
        # LightGBM aborts the process over some texts that are cut short; the end is written last.
        if not text.startswith("tree\n") or "\nend of trees\n" not in text:
            raise CorruptArtifact("The ranker's trees are damaged.", "Run recsys train --ranker.")
        code = self._library.LGBM_BoosterLoadModelFromString(
            text.encode(), ctypes.byref(number), ctypes.byref(self._handle)
        )
        if code:
            raise CorruptArtifact(f"The ranker's trees are damaged: {self._error()}.", "Run recsys train --ranker.")
        width = ctypes.c_int()
        self._library.LGBM_BoosterGetNumFeature(self._handle, ctypes.byref(width))
        self.width = int(width.value)

    def __del__(self) -> None:
        handle = getattr(self, "_handle", None)
        if handle is not None and handle.value:
            self._library.LGBM_BoosterFree(handle)

    def _error(self) -> str:
        return str((self._library.LGBM_GetLastError() or b"").decode(errors="replace"))

    def predict(self, values: Float32) -> NDArray[np.float64]:
        """Raw scores, shape (rows,), of float32 features of shape (rows, width), NaN where not known."""
        return self._ask(values, _RAW, 1)[:, 0]

    def contributions(self, values: Float32) -> NDArray[np.float64]:
        """What each feature adds to each row's score (TreeSHAP; Lundberg et al. 2018); the last column is the rest.

        Shape (rows, width + 1); rows sum to `predict`.
        """
        return self._ask(values, _CONTRIBUTIONS, self.width + 1)

    def _ask(self, values: Float32, what: int, columns: int) -> NDArray[np.float64]:
        rows, width = values.shape
        if width != self.width:
            raise ValueError(f"the trees know {self.width} features, not {width}")
        out = np.empty((rows, columns), dtype=np.float64)
        if not rows:
            return out
        values = np.ascontiguousarray(values, dtype=np.float32)
        length = ctypes.c_int64()
        code = self._library.LGBM_BoosterPredictForMat(
            self._handle,
            values.ctypes.data_as(ctypes.c_void_p),
            ctypes.c_int(_FLOAT32),
            ctypes.c_int32(rows),
            ctypes.c_int32(width),
            ctypes.c_int(1),
            ctypes.c_int(what),
            ctypes.c_int(0),
            ctypes.c_int(-1),
            ctypes.c_char_p(_ONE_THREAD),
            ctypes.byref(length),
            out.ctypes.data_as(ctypes.POINTER(ctypes.c_double)),
        )
        _check(code)
        return out


def grow(
    values: Float32,
    labels: NDArray[np.floating],
    params: Mapping[str, Any],
    *,
    rounds: int,
    groups: NDArray[np.integer] | None = None,
    weights: NDArray[np.floating] | None = None,
) -> str:
    """Trees fitted to labels, as LightGBM's text.

    Parameters
    ----------
    values
        float32, shape (rows, features), NaN where not known.
    params
        LightGBM's, by their names.
    groups
        Rows of each customer, for objectives that compare within one.
    weights
        Of rows.

    Raises
    ------
    MissingLibrary
    """
    library = _library()
    said = " ".join(f"{name}={value}" for name, value in {"verbosity": -1, **params}.items()).encode()
    table, booster = ctypes.c_void_p(), ctypes.c_void_p()
    values = np.ascontiguousarray(values, dtype=np.float32)
    fields: dict[bytes, tuple[NDArray[Any], Any, int]] = {b"label": (labels, np.float32, _FLOAT32)}
    fields |= {} if weights is None else {b"weight": (weights, np.float32, _FLOAT32)}
    fields |= {} if groups is None else {b"group": (groups, np.int32, _INT32)}
    try:
        _check(
            library.LGBM_DatasetCreateFromMat(
                values.ctypes.data_as(ctypes.c_void_p),
                ctypes.c_int(_FLOAT32),
                ctypes.c_int32(values.shape[0]),
                ctypes.c_int32(values.shape[1]),
                ctypes.c_int(1),
                ctypes.c_char_p(said),
                None,
                ctypes.byref(table),
            )
        )
        for name, (column, kind, code) in fields.items():
            held = np.ascontiguousarray(column, dtype=kind)
            address, length = held.ctypes.data_as(ctypes.c_void_p), ctypes.c_int(len(held))
            _check(library.LGBM_DatasetSetField(table, ctypes.c_char_p(name), address, length, ctypes.c_int(code)))
        _check(library.LGBM_BoosterCreate(table, ctypes.c_char_p(said), ctypes.byref(booster)))
        finished = ctypes.c_int()
        for _ in range(rounds):
            _check(library.LGBM_BoosterUpdateOneIter(booster, ctypes.byref(finished)))
            if finished.value:
                break
        return _text_of(booster)
    finally:
        if booster.value:
            library.LGBM_BoosterFree(booster)
        if table.value:
            library.LGBM_DatasetFree(table)


def _text_of(booster: ctypes.c_void_p) -> str:
    """The model as text, without the parameters it was grown with."""
    library, size = _library(), 1 << 20
    while True:
        buffer, needed = ctypes.create_string_buffer(size), ctypes.c_int64()
        none, every = ctypes.c_int(0), ctypes.c_int(-1)
        _check(
            library.LGBM_BoosterSaveModelToString(
                booster, none, every, none, ctypes.c_int64(size), ctypes.byref(needed), buffer
            )
        )
        if needed.value <= size:
            return buffer.value.decode().split("\nparameters:\n")[0] + "\n"
        size = int(needed.value)


def _check(code: int) -> None:
    if code:
        raise RuntimeError(f"LightGBM: {(_library().LGBM_GetLastError() or b'').decode(errors='replace')}")


def importance(text: str) -> dict[int, float]:
    """Gain of each feature by its number, as the text tells it, largest first; shares of the whole."""
    gain: dict[int, float] = {}
    for line in text.splitlines():
        if line.startswith("split_feature="):
            features = [int(word) for word in line.partition("=")[2].split()]
        elif line.startswith("split_gain="):
            for feature, value in zip(features, line.partition("=")[2].split(), strict=True):
                gain[feature] = gain.get(feature, 0.0) + float(value)
    whole = sum(gain.values()) or 1.0
    return {feature: value / whole for feature, value in sorted(gain.items(), key=lambda pair: -pair[1])}
