"""Who would buy an item: known in a shop where every customer keeps to one taste."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow.csv as pacsv
import pytest

from recsys_cli.artifacts import choices
from recsys_cli.artifacts.choices import Choice, Choices, hash_of
from recsys_cli.audience import Audience, audience, of_category, of_item
from recsys_cli.errors import NotFound, UsageError
from recsys_cli.identity import user_key
from recsys_cli.serving import Engine
from recsys_cli.store import Store


def find(shop: Any, targets: Any = "c5", n: int = 500, **more: Any) -> Audience:
    engine = Engine.open(shop.version, shop.secret)
    codes = of_item(engine, targets) if isinstance(targets, str) else targets(engine)
    store = Store(shop.settings.db, shop.settings.store)
    return audience(store, engine, Choices(shop.artifacts.root, shop.secret), shop.secret, codes, n, **more)


def ids(found: Audience) -> list[str]:
    names: list[str] = found.table["user_id"].to_pylist()
    return names


def bought(item: str) -> set[str]:
    number = int(item[1:])
    return {f"{item[0]}{user}" for user in range(30) if (user + 3 * number) % 10 < 6 - number // 2}


def test_an_item_finds_those_of_its_taste_who_lack_it(one_shop: Any) -> None:
    found = find(one_shop)
    coffee = {f"c{user}" for user in range(30)}
    first = ids(found)[: len(coffee - bought("c5"))]
    assert set(first) == coffee - bought("c5")
    assert not bought("c5") & set(ids(found))
    assert found.table["place"].to_pylist() == sorted(found.table["place"].to_pylist())
    assert set(found.table["item_id"].to_pylist()) == {"c5"}
    again = find(one_shop, repeat=True)
    assert bought("c5") <= set(ids(again))
    assert ids(find(one_shop, n=3)) == first[:3]
    best = [row for row in again.table.to_pylist() if (row["place"], row["share"]) == (1, 1)]
    users = [int(row["user_id"][1:]) for row in best]
    last = [max(-(200 - 6 * ((u + n) % 30)) for n in range(10) if f"c{u}" in bought(f"c{n}")) for u in users]
    assert last == sorted(last, reverse=True)  # of those who want it alike, the last to come first


def test_a_category_finds_its_best_item_for_each(one_shop: Any) -> None:
    found = find(one_shop, lambda engine: of_category(engine, "dogs"), n=20)
    assert {user[0] for user in ids(found)} == {"d"}
    assert all(item.startswith("d") for item in found.table["item_id"].to_pylist())
    with pytest.raises(NotFound, match="There is no category 'Dog'"):
        find(one_shop, lambda engine: of_category(engine, "Dog"))


def test_consent_objection_and_restriction_are_obeyed(shop: Any) -> None:
    first = ids(find(shop))[:4]
    modes = (choices.NONE, choices.OBJECTED, choices.RESTRICTED)
    new = {}
    for user, mode in zip(first, modes, strict=False):
        key = user_key(shop.secret, user)
        new[hash_of(shop.secret, key)] = Choice(mode)
    with shop.artifacts.exclusive():
        choices.change(shop.artifacts.root, new)
    found = find(shop)
    assert ids(found)[0] == first[3]
    assert not set(first[:3]) & set(ids(found))
    assert found.barred == 3


def test_a_spreadsheet_runs_nothing_of_the_file(one_shop: Any, tmp_path: Path) -> None:
    found = find(one_shop)
    risky = found.table.set_column(0, "user_id", [["=cmd()", *ids(found)[1:]]])
    out = tmp_path / "a.csv"
    Audience(risky, 1, 0).write(out)
    assert pacsv.read_csv(out)["user_id"][0].as_py() == "'=cmd()"
    with pytest.raises(UsageError, match="neither Parquet nor CSV"):
        found.write(tmp_path / "a.xlsx")
