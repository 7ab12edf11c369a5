"""A shop from which people were erased with a new training, and its twin that never knew them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from recsys_cli.artifacts import Artifacts
from recsys_cli.artifacts.bundle import Bundle, read_bundle
from recsys_cli.gdpr import erase
from recsys_cli.identity import load_secret, secret_path
from recsys_cli.publishing import train
from recsys_cli.store import Store

from .conftest import Shop

TABLES = ("events", "users", "items")


def check_twin(shop: Shop, people: Sequence[str], where: Path, model: str) -> None:
    """Erase with --retrain, and compare with a store and a version made without the people from the start."""
    settings = replace(
        shop.settings,
        db=where / "shop.duckdb",
        artifacts=where / "models",
        train=replace(shop.settings.train, threads=1),
        store=replace(shop.settings.store, threads=1),
    )
    twin = Shop(Store(settings.db, settings.store), Artifacts(settings.artifacts), settings)
    where.mkdir()
    load_secret(shop.settings.db, create=True)
    secret_path(settings.db).write_bytes(secret_path(shop.settings.db).read_bytes())
    with shop.store.reading() as con:
        tables = {t: con.sql(f"SELECT * FROM {t} ORDER BY rowid").to_arrow_table() for t in TABLES}
    with twin.store.writing() as con:
        for name, table in tables.items():
            con.register("offered", table)
            never = f"WHERE user_id NOT IN ({', '.join(repr(p) for p in people)})" if name != "items" else ""
            con.execute(f"INSERT INTO {name} SELECT * FROM offered {never}")
            con.unregister("offered")

    shop.publish(model)
    erase(shop.store, shop.artifacts, shop.settings, people)
    train.retrain(shop.store, shop.artifacts, shop.settings)
    twin.publish(model)

    _same_store(shop, twin)
    mine, theirs = (read_bundle(s.artifacts.current().path) for s in (shop, twin))
    assert shop.artifacts.names() == [shop.artifacts.current_name()]
    _same_bundle(mine, theirs)


def _same_store(mine: Shop, theirs: Shop) -> None:
    for table in TABLES:
        rows = []
        for shop in (mine, theirs):
            with shop.store.reading() as con:
                rows.append(con.sql(f"SELECT * FROM {table} ORDER BY rowid").to_arrow_table())
        assert rows[0].equals(rows[1]), table


def _same_bundle(mine: Bundle, theirs: Bundle) -> None:
    assert mine.model_config == theirs.model_config
    assert mine.model_meta == theirs.model_meta, (mine.model_meta, theirs.model_meta)
    assert mine.now == theirs.now, (mine.now, theirs.now)
    for name in theirs.catalogue.column_names:
        assert mine.catalogue[name].equals(theirs.catalogue[name]), name
    assert mine.catalogue.equals(theirs.catalogue)
    for part in ("model_arrays", "shelves"):
        a, b = getattr(mine, part), getattr(theirs, part)
        assert a.keys() == b.keys()
        for name in a:
            assert np.array_equal(a[name], b[name]), (part, name)
    for name in ("keys",):
        assert np.array_equal(getattr(mine, name), getattr(theirs, name)), name
    for name in ("indptr", "item", "ts", "kind", "qty"):
        assert np.array_equal(getattr(mine.histories, name), getattr(theirs.histories, name)), name
