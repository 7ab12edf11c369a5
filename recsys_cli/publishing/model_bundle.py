"""A model as files of numbers, written by `models export` or by another program: read and checked, never executed.

manifest.json   what is below, see `Manifest`; a SHA-256 of every other file
items.json      item ids, each once, in the order of the arrays' rows
ARRAY.npy       each array of the model's `layout`; `trained` may be left out
*.onnx          what `models export` writes for other programs; compared with its checksum, and not read
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import re
import stat
import time
import tokenize
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from ..durable_files import explain_os
from ..errors import InputError, UsageError
from ..models import registry
from ..models.base import ModelConfig, State
from ..models.content import Content
from ..models.support.sequence_model import SequenceModel
from ..models.support.vectors import VectorModel
from ..schema import DAY

FORMAT = 1
MANIFEST, ITEMS = "manifest.json", "items.json"
_NAME = re.compile(r"[a-z0-9_]+(\.[a-z0-9_]+)*\.(npy|json|onnx)")
_MOST_BYTES, _MOST_MANIFEST = 2 << 30, 1 << 20
_WIDEST = 1_025  # numbers in an item's vector
_MOST_WORK = 2e8  # multiplications that reading one history may take: about 10 ms
_LARGEST = 1e9  # number in an array; products of larger ones leave float32
_FIX = "Write the bundle again, as the README's chapter on other programs says."


class File(msgspec.Struct, forbid_unknown_fields=True):
    """Size and hex SHA-256 of a file."""

    bytes: int
    sha256: str


class Named(msgspec.Struct, forbid_unknown_fields=True):
    """A registered model, its hyperparameters, and the numbers that its state has beside its arrays."""

    name: str
    config: dict[str, Any] = {}
    meta: dict[str, float] = {}


class Manifest(msgspec.Struct, forbid_unknown_fields=True):
    """What a bundle is.

    Parameters
    ----------
    format
        `FORMAT`.
    model
        What the arrays are of.
    items
        How many there are.
    until
        Epoch seconds of the newest event that the training saw: the model is judged on what came later.
    files
        Every file but the manifest.
    version, graphs
        Of the version that was exported, for people and other programs.
    """

    format: int
    model: Named
    items: int
    until: int
    files: dict[str, File]
    version: str = ""
    graphs: dict[str, Any] = {}


@dataclass(frozen=True)
class ModelBundle:
    """A checked bundle.

    Parameters
    ----------
    model, config
        The class, and its hyperparameters.
    items
        Item ids in the order of the codes.
    state
        Arrays over these items, finite; and numbers.
    until
        See `Manifest`.
    """

    model: type[VectorModel]
    config: ModelConfig
    items: list[str]
    state: State
    until: int


def read_model_bundle(folder: Path) -> ModelBundle:
    """The bundle in a directory.

    Raises
    ------
    InputError
        Anything is not as the module says, in one sentence.
    """
    manifest = _manifest(folder)
    cls, config = _model(manifest.model)
    _files(folder, manifest)
    items = _items(_content(folder, ITEMS, manifest.files[ITEMS]), manifest.items)
    arrays = _arrays(folder, manifest, cls, config)
    return ModelBundle(cls, config, items, State(arrays, dict(manifest.model.meta)), manifest.until)


def _manifest(folder: Path) -> Manifest:
    if not folder.is_dir():
        raise InputError(f"{folder} is not a directory.", "Name the directory of a bundle.")
    raw = _read(folder, MANIFEST, _MOST_MANIFEST)
    try:
        found = msgspec.convert(_json(raw, MANIFEST), Manifest)
    except (msgspec.ValidationError, RecursionError) as e:
        raise InputError(f"manifest.json is not the manifest of a bundle: {e}.", _FIX) from None
    if found.format != FORMAT:
        raise InputError(f"The bundle has format {found.format}; this recsys reads {FORMAT}.", "Upgrade recsys.")
    if not 0 < found.items <= _MOST_BYTES:
        raise InputError(f"A bundle must have at least 1 item, and manifest.json says {found.items}.", _FIX)
    latest = time.time() + DAY
    if not 0 < found.until <= latest:
        milliseconds = ", not milliseconds" if latest * 100 < found.until <= latest * 1000 else ""
        text = f"manifest.json must have until as epoch seconds{milliseconds}, from 1 to now, got {found.until}."
        raise InputError(text, _FIX)
    return found


def _model(named: Named) -> tuple[type[VectorModel], ModelConfig]:
    """The class and config; only of models that are their arrays, and that answer in time."""
    able = {n: c for n, c in registry.MODELS.items() if issubclass(c, VectorModel) and c is not Content}
    cls = able.get(named.name)
    if cls is None:
        raise InputError(f"The model {_shown(named.name)} cannot be imported.", f"These can: {', '.join(able)}.")
    try:
        config = cls.Config.from_values(named.config)
    except UsageError as e:
        raise InputError(f"manifest.json has a wrong hyperparameter: {e.message}", e.hint) from None
    if issubclass(cls, SequenceModel):
        longest = int(getattr(config, "longest"))  # noqa: B009
        work = cls.multiplications(config, longest) * longest
        if work > _MOST_WORK:
            text = f"To read a history would take {work:.0e} multiplications, more than {_MOST_WORK:.0e}."
            raise InputError(text, "Train a model with fewer factors or blocks, or a smaller longest.")
    if set(named.meta) != set(cls.numbers):
        raise InputError(f"The meta of {cls.name} must have {_listed(cls.numbers)}, not {_listed(named.meta)}.", _FIX)
    if not all(0 < number <= _LARGEST for number in named.meta.values()):
        raise InputError(f"The meta of {cls.name} must be above 0, got {named.meta}.", _FIX)
    return cls, config


def _files(folder: Path, manifest: Manifest) -> None:
    """Every file of the directory is listed, and the other way round; names, kinds and sizes are harmless."""
    for name, file in manifest.files.items():
        if not _NAME.fullmatch(name) or name == MANIFEST:
            raise InputError(f"{_shown(name)} cannot be the name of a file of a bundle.", _FIX)
        if file.bytes < 0:
            raise InputError(f"manifest.json says that {name} has {file.bytes} bytes.", _FIX)
    if ITEMS not in manifest.files:
        raise InputError("manifest.json does not list items.json.", _FIX)
    if (total := sum(file.bytes for file in manifest.files.values())) > _MOST_BYTES:
        raise InputError(f"The bundle has {total / 1e9:,.1f} GB; at most {_MOST_BYTES / 1e9:.1f} GB are taken.")
    try:
        there = {path.name for path in folder.iterdir()} - {MANIFEST}
    except OSError as e:
        raise InputError(explain_os(e, folder).message) from None
    for name in sorted(there ^ set(manifest.files)):
        where = "is not listed in manifest.json" if name in there else "is listed in manifest.json and is not there"
        raise InputError(f"{_shown(name)} {where}.", _FIX)
    for name, file in manifest.files.items():
        if name.endswith(".onnx"):
            _content(folder, name, file)


def _items(raw: bytes, expected: int) -> list[str]:
    found = _json(raw, ITEMS)
    if not isinstance(found, list) or not all(isinstance(one, str) for one in found):
        raise InputError("items.json must be a list of item ids, each a text.", _FIX)
    if len(found) != expected:
        raise InputError(f"items.json has {len(found):,} ids, and manifest.json says {expected:,} items.", _FIX)
    if len(set(found)) < len(found):
        twice = Counter(found).most_common(1)[0][0]
        raise InputError(f"items.json has {_shown(twice)} twice.", _FIX)
    return found


def _arrays(folder: Path, manifest: Manifest, cls: type[VectorModel], config: ModelConfig) -> dict[str, NDArray[Any]]:
    """The arrays of the model's layout, and no others: none of people."""
    given = {name.removesuffix(".npy") for name in manifest.files if name.endswith(".npy")}
    factors = "item_factors"
    if factors not in given:
        raise InputError(f"The bundle lacks {factors}.npy, the items' vectors.", _FIX)
    vectors = _array(folder, manifest, factors, np.float32, (manifest.items, None))
    layout = cls.layout(config, manifest.items, vectors.shape[1])
    if unknown := sorted(given - set(layout)):
        text = f"{unknown[0]}.npy is not part of the model {cls.name}, which has {', '.join(layout)}."
        raise InputError(text, "A model holds nothing of single customers: leave it out.")
    if missing := sorted(set(layout) - given - {"trained"}):
        raise InputError(f"The bundle lacks {missing[0]}.npy, which the model {cls.name} has.", _FIX)
    _fits(factors, vectors.shape, layout[factors][1])
    arrays = {factors: vectors}
    for name in sorted(given - {factors}):
        arrays[name] = _array(folder, manifest, name, *layout[name])
    if not vectors.any():
        raise InputError("All vectors in item_factors.npy are zero.", _FIX)
    return {"trained": vectors.any(axis=1), **arrays}


def _array(folder: Path, manifest: Manifest, name: str, dtype: type[np.generic], shape: tuple[Any, ...]) -> Any:
    """One array, its header read before its numbers: a header may claim any size, and any kind of object."""
    raw = _content(folder, f"{name}.npy", manifest.files[f"{name}.npy"])
    file = io.BytesIO(raw)
    try:
        version = np.lib.format.read_magic(file)
        read = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}[version]
        found, fortran, kind = read(file)
    except (ValueError, KeyError, TypeError, SyntaxError, EOFError, RecursionError, MemoryError, tokenize.TokenError):
        raise InputError(f"{name}.npy is not an array as numpy.save writes it.", _FIX) from None
    wanted = np.dtype(dtype)
    if kind != wanted or kind.hasobject:
        raise InputError(f"{name}.npy must hold {wanted}, not {_shown(str(kind))}.", _FIX)
    _fits(name, found, shape)
    if found and found[-1] > _WIDEST and shape[-1] is None:
        raise InputError(f"Vectors of {found[-1]:,} numbers are too long: at most {_WIDEST:,} are taken.")
    count = int(np.prod(found, dtype=object))
    if len(raw) - file.tell() != count * wanted.itemsize:
        raise InputError(f"{name}.npy does not hold the {count:,} numbers that its header says.", _FIX)
    flat = np.frombuffer(raw, kind, count, file.tell())
    whole = flat.reshape(found, order="F" if fortran else "C")
    if dtype is np.float32 and not (np.isfinite(flat).all() and np.abs(flat).max(initial=0) <= _LARGEST):
        raise InputError(f"{name}.npy has values that are not finite numbers of at most {_LARGEST:.0e}.", _FIX)
    if dtype is np.bool_ and flat.view(np.uint8).max(initial=0) > 1:
        raise InputError(f"{name}.npy has values that are neither true nor false.", _FIX)
    return np.ascontiguousarray(whole)


def _fits(name: str, found: tuple[int, ...], wanted: tuple[Any, ...]) -> None:
    if len(found) != len(wanted) or any(w not in (None, f) for f, w in zip(found, wanted, strict=True)):
        told = " x ".join("any" if n is None else f"{n:,}" for n in wanted)
        raise InputError(f"{name}.npy must be {told}, not {' x '.join(f'{n:,}' for n in found) or 'one number'}.", _FIX)


def _content(folder: Path, name: str, told: File) -> bytes:
    """A file's bytes, compared with what the manifest says of them."""
    raw = _read(folder, name, told.bytes)
    if len(raw) != told.bytes or hashlib.sha256(raw).hexdigest() != told.sha256:
        raise InputError(f"{name} is not the file that manifest.json lists: size or SHA-256 differs.", _FIX)
    return raw


def _read(folder: Path, name: str, most: int) -> bytes:
    """A regular file's bytes, no more than one above `most`: no link, device or pipe is followed."""
    try:
        fd = os.open(folder / name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        with os.fdopen(fd, "rb") as file:
            kind = os.fstat(fd)
            if not stat.S_ISREG(kind.st_mode):
                raise InputError(f"{name} is not a regular file.", _FIX)
            if kind.st_size > most:
                raise InputError(f"{name} has {kind.st_size:,} bytes, more than the {most:,} that are taken.", _FIX)
            return file.read(most + 1)
    except OSError as e:
        if (folder / name).is_symlink():
            raise InputError(f"{name} is a link; a bundle has only regular files.", _FIX) from None
        raise InputError(explain_os(e, folder / name).message, _FIX) from None


def _json(raw: bytes, name: str) -> Any:
    """The document, in which no name may occur twice and all numbers are finite."""

    def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        held: dict[str, Any] = {}
        for key, value in pairs:
            if key in held:
                raise InputError(f"{name} has the name {_shown(key)} twice.", _FIX)
            held[key] = value
        return held

    def refuse(constant: str) -> Any:
        raise InputError(f"{name} has {constant}, which is not a number.", _FIX)

    try:
        return json.loads(raw, object_pairs_hook=once, parse_constant=refuse)
    except (ValueError, RecursionError) as e:
        raise InputError(f"{name} is not JSON: {e}.", _FIX) from None


def _shown(text: str) -> str:
    """A text from outside, short and without control characters."""
    return json.dumps(text if len(text) <= 60 else f"{text[:60]}…", ensure_ascii=True)


def _listed(names: Mapping[str, Any] | tuple[str, ...]) -> str:
    return ", ".join(_shown(name) for name in names) or "nothing"
