"""What is inside a version comes back as it went in, and executes nothing."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from recsys_cli.artifacts.bundle import Bundle, read_bundle, sort_by_key, write_bundle
from recsys_cli.errors import CorruptArtifact
from recsys_cli.identity import find_key, user_key, user_keys
from recsys_cli.schema import Histories

DTYPES = [np.float32, np.float64, np.int32, np.int64, np.uint8, np.uint64, np.bool_]
named_arrays = st.dictionaries(
    st.from_regex(r"[a-z][a-z0-9_]{0,10}", fullmatch=True),
    st.sampled_from(DTYPES).flatmap(lambda d: arrays(d, array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=4))),
    max_size=4,
)
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=6,
)
odd_ids = st.text(st.characters(exclude_categories=["Cs"]), max_size=9)


def bundle(**changes: Any) -> Bundle:
    users = ["ann", "bob", "eve"]
    keys, histories = sort_by_key(user_keys("s", users), Histories.of([[0, 1], [], [1]], ts=7))
    start: dict[str, Any] = {
        "model_name": "als",
        "model_config": {"factors": 8},
        "model_arrays": {"item_factors": np.ones((2, 8), np.float32)},
        "model_meta": {},
        "catalogue": pa.table({"item_id": ["a", "b"], "price": [1.5, None]}),
        "keys": keys,
        "histories": histories,
        "now": 7,
    }
    return Bundle(**start | changes)


def same(one: np.ndarray, two: np.ndarray) -> bool:
    return one.dtype == two.dtype and one.shape == two.shape and one.tobytes() == two.tobytes()


class TestRoundTrip:
    @given(
        arrays=named_arrays,
        shelves=named_arrays,
        meta=st.dictionaries(st.text(), json_values, max_size=3),
        ids=st.lists(odd_ids, unique=True, max_size=5),
        now=st.integers(-(2**40), 2**40),
    )
    def test_everything(
        self,
        arrays: dict[str, np.ndarray],
        shelves: dict[str, np.ndarray],
        meta: dict[str, Any],
        ids: list[str],
        now: int,
        tmp_path_factory: pytest.TempPathFactory,
    ) -> None:
        catalogue = pa.table(
            {"item_id": pa.array(ids, pa.string()), "price": pa.array([None] * len(ids), pa.float64())}
        )
        b = bundle(model_arrays=arrays, shelves=shelves, model_meta=meta, catalogue=catalogue, now=now)
        path = tmp_path_factory.mktemp("bundle")
        write_bundle(path, b)
        got = read_bundle(path)
        assert (got.model_name, got.model_config, got.model_meta, got.now) == ("als", {"factors": 8}, meta, now)
        for before, after in ((arrays, got.model_arrays), (shelves, got.shelves)):
            assert before.keys() == after.keys()
            assert [n for n in before if not same(before[n], after[n])] == []
        assert got.catalogue.equals(catalogue)
        assert got.items().ids.to_pylist() == ids
        assert same(got.keys, b.keys)
        for name in ("indptr", "item", "ts", "kind", "qty", "kind_weight"):
            assert same(getattr(got.histories, name), getattr(b.histories, name))
        assert got.histories.kinds == b.histories.kinds

    def test_memory_below_nulls_is_not_written(self, tmp_path: Path) -> None:
        """DuckDB leaves there what it worked on last, which may be a piece of an id."""
        stale = np.frombuffer(b"customer" * 4, dtype=np.int64)
        mask = pa.py_buffer(bytes([0b0101]))
        column = pa.Array.from_buffers(pa.int64(), 4, [mask, pa.py_buffer(stale.tobytes())])
        assert column.null_count == 2
        catalogue = pa.table({"item_id": ["a", "b", "c", "d"], "created_at": column})
        expected = catalogue["created_at"].to_pylist()
        write_bundle(tmp_path, bundle(catalogue=catalogue))
        assert read_bundle(tmp_path).catalogue["created_at"].to_pylist() == expected
        assert (tmp_path / "catalogue.arrow").read_bytes().count(b"customer") == 2, "the two that are no nulls"

    def test_people_are_found_by_their_key_alone(self, tmp_path: Path) -> None:
        write_bundle(tmp_path, bundle())
        got = read_bundle(tmp_path)
        rows = {u: find_key(got.keys, user_key("s", u)) for u in ("ann", "bob", "eve", "stranger")}
        assert sorted(rows.values()) == [-1, 0, 1, 2]
        ann = got.histories.rows(np.array([rows["ann"]]))
        assert (ann.item.tolist(), ann.ts.tolist()) == ([0, 1], [7, 7])
        for file in tmp_path.rglob("*"):
            assert not file.is_file() or b"ann" not in file.read_bytes()

    def test_large_arrays_are_mapped_and_cannot_be_written_to(self, tmp_path: Path) -> None:
        write_bundle(tmp_path, bundle(model_arrays={"big": np.zeros((100, 100), np.float32)}))
        big = read_bundle(tmp_path).model_arrays["big"]
        assert isinstance(big.base, np.memmap)
        with pytest.raises(ValueError, match="read-only"):
            big[0, 0] = 1

    def test_people_are_found_by_their_key(self) -> None:
        keys = user_keys("s", [f"u{n}" for n in range(50)])
        ordered, histories = sort_by_key(keys, Histories.of([[n % 2] for n in range(50)], ts=9))
        for n in range(50):
            row = find_key(ordered, user_key("s", f"u{n}"))
            assert histories.rows(np.array([row])).item.tolist() == [n % 2]


class TestDamage:
    @pytest.mark.parametrize(
        "name",
        ["model.json", "catalogue.arrow", "histories/keys.npy", "histories/indptr.npy", "model/item_factors.npy"],
    )
    @pytest.mark.parametrize("how", ["missing", "empty", "cut", "text"])
    def test_is_one_sentence_even_unverified(self, tmp_path: Path, name: str, how: str) -> None:
        write_bundle(tmp_path, bundle())
        path = tmp_path / name
        if how == "missing":
            path.unlink()
            if name.startswith("model/"):
                return  # which arrays a model has is the model's to know
        else:
            path.write_bytes({"empty": b"", "cut": path.read_bytes()[:-9], "text": b"hello, world"}[how])
        with pytest.raises(CorruptArtifact, match="cannot be read"):
            read_bundle(tmp_path)

    def test_a_pickle_is_refused(self, tmp_path: Path) -> None:
        """An array of objects is the one way in which NumPy's format executes."""

        class Evil:
            def __reduce__(self) -> Any:
                return os.mkdir, (str(tmp_path / "executed"),)

        write_bundle(tmp_path, bundle())
        np.save(tmp_path / "model" / "evil.npy", np.array([Evil()], dtype=object), allow_pickle=True)
        with pytest.raises(CorruptArtifact):
            read_bundle(tmp_path)
        assert not (tmp_path / "executed").exists()

    def test_no_objects_are_written(self, tmp_path: Path) -> None:
        with pytest.raises(ValueError, match="Object arrays cannot be saved"):
            write_bundle(tmp_path, bundle(model_arrays={"x": np.array([{}], dtype=object)}))

    @pytest.mark.parametrize("document", ["[]", "3", "null", "{}", '{"name": 1}'])
    def test_a_document_of_another_shape(self, tmp_path: Path, document: str) -> None:
        write_bundle(tmp_path, bundle())
        (tmp_path / "model.json").write_text(document)
        json.loads(document)
        with pytest.raises(CorruptArtifact):
            read_bundle(tmp_path)
