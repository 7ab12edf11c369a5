"""Keys of customers and the secret they hang on."""

from __future__ import annotations

import hashlib
import stat
import threading
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from recsys_cli.errors import StoreError
from recsys_cli.identity import find_key, load_secret, secret_path, user_key, user_keys

SECRET = "ab" * 32


@given(st.lists(st.text(max_size=20), unique=True, max_size=30), st.text(max_size=20))
def test_everyone_is_found_and_nobody_else(users: list[str], stranger: str) -> None:
    keys = user_keys(SECRET, users)
    assert keys.shape == (len(users), 2)
    assert keys.dtype == np.uint64
    keys = keys[np.lexsort((keys[:, 1], keys[:, 0]))]
    rows = {find_key(keys, user_key(SECRET, u)) for u in users}
    assert rows == set(range(len(users)))
    assert (find_key(keys, user_key(SECRET, stranger)) >= 0) == (stranger in users)


def test_same_first_half_is_told_apart() -> None:
    keys = np.array([[1, 5], [7, 2], [7, 4], [2**64 - 1, 2**64 - 1]], dtype=np.uint64)
    assert [find_key(keys, k) for k in [(1, 5), (7, 2), (7, 4), (7, 3), (0, 0)]] == [0, 1, 2, -1, -1]
    assert find_key(keys, (2**64 - 1, 2**64 - 1)) == 3
    assert find_key(keys, (2**64 - 1, 0)) == -1
    assert find_key(np.zeros((0, 2), dtype=np.uint64), (1, 1)) == -1


def test_the_key_is_the_start_of_the_keyed_hash() -> None:
    digest = hashlib.sha256((SECRET + "kåre").encode()).hexdigest()
    assert user_key(SECRET, "kåre") == (int(digest[:16], 16), int(digest[16:32], 16))


def test_another_secret_names_nobody() -> None:
    assert user_key(SECRET, "u") != user_key("cd" * 32, "u")


def test_text_in_a_broken_encoding_has_a_key() -> None:
    assert user_key(SECRET, "\udcff") != user_key(SECRET, "\udcfe")


class TestSecret:
    def test_made_once_private_and_kept(self, tmp_path: Path) -> None:
        db = tmp_path / "state" / "shop.duckdb"
        secret = load_secret(db, create=True)
        assert len(bytes.fromhex(secret)) == 32
        assert load_secret(db) == load_secret(db, create=True) == secret
        assert stat.S_IMODE(secret_path(db).stat().st_mode) == 0o600
        assert stat.S_IMODE(db.parent.stat().st_mode) == 0o700
        assert [p.name for p in db.parent.iterdir()] == ["shop.duckdb.key"], "no draft is left behind"

    def test_two_shops_have_two_secrets(self, tmp_path: Path) -> None:
        assert load_secret(tmp_path / "a.duckdb", create=True) != load_secret(tmp_path / "b.duckdb", create=True)

    def test_all_who_race_read_the_same(self, tmp_path: Path) -> None:
        found: list[str] = []
        start = threading.Barrier(8)

        def run() -> None:
            start.wait()
            found.append(load_secret(tmp_path / "shop.duckdb", create=True))

        threads = [threading.Thread(target=run) for _ in range(8)]
        for t in threads:
            t.start()
        for t in threads:
            t.join()
        assert len(found) == 8
        assert len(set(found)) == 1

    def test_missing(self, tmp_path: Path) -> None:
        db = tmp_path / "shop.duckdb"
        with pytest.raises(StoreError, match=r"There is no database .*shop.duckdb, nor its key file"):
            load_secret(db)
        assert [p.name for p in tmp_path.iterdir()] == []
        db.touch()
        with pytest.raises(StoreError, match=r"key file .*shop.duckdb.key is missing"):
            load_secret(db)
        assert [p.name for p in tmp_path.iterdir()] == ["shop.duckdb"]

    @pytest.mark.parametrize("content", [b"", b"abc", b"\xff" * 64, b"z" * 64, b"ab" * 33])
    def test_damaged(self, tmp_path: Path, content: bytes) -> None:
        """Never fixed by making a new one: the people in the artifacts would be lost to erasure."""
        db = tmp_path / "shop.duckdb"
        secret_path(db).write_bytes(content)
        for create in (False, True):
            with pytest.raises(StoreError, match="is damaged"):
                load_secret(db, create=create)
        assert secret_path(db).read_bytes() == content

    def test_a_directory_in_its_place(self, tmp_path: Path) -> None:
        secret_path(tmp_path / "shop.duckdb").mkdir()
        with pytest.raises(StoreError, match="cannot be used"):
            load_secret(tmp_path / "shop.duckdb", create=True)
