"""Systems without GNU OpenMP: implicit is served the copy that came with faiss."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from recsys_cli.errors import MissingLibrary
from recsys_cli.models.support import openmp

# As on a system without the library: the copy is there before implicit asks, and what the loader then takes is seen.
WITHOUT = """
from recsys_cli.models.support import openmp
openmp.load(openmp.bundled())
import numpy as np, scipy.sparse as sp
from implicit.cpu.als import AlternatingLeastSquares
model = AlternatingLeastSquares(factors=4, iterations=2, num_threads=2, random_state=1)
model.fit(sp.random(40, 30, 0.2, format="csr", dtype=np.float32, random_state=1), show_progress=False)
assert np.isfinite(model.item_factors).all()
print(open("/proc/self/maps").read())
"""


def test_implicit_works_with_the_copy_and_asks_for_no_other() -> None:
    done = subprocess.run([sys.executable, "-c", WITHOUT], capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    taken = [line for line in done.stdout.splitlines() if "libgomp" in line]
    assert taken
    assert all("/memfd:libgomp.so.1" in line for line in taken), taken


def test_without_any_copy_the_sentence_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(openmp, "LIBRARY", "libgomp-of-nowhere.so.1")
    monkeypatch.setattr(openmp, "bundled", lambda: tmp_path / "libgomp-0.so.1")
    with pytest.raises(MissingLibrary, match=r"lacks .*No such file.* apt-get install libgomp1"):
        openmp.provide.__wrapped__()


def test_a_copy_that_does_not_say_its_name_is_not_loaded(tmp_path: Path) -> None:
    other = shutil.copy(openmp.bundled(), tmp_path / "libgomp-other.so.1")
    with pytest.raises(ValueError, match="does not say its own name"):
        openmp.load(Path(other))
