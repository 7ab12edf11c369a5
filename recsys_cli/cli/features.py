"""`recsys features`."""

from __future__ import annotations

from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from .common import ArtifactsOption, ConfigOption, DbOption, JsonOption, start

features = typer.Typer(name="features", help="Features of customers, items and pairs.", no_args_is_help=True)


@features.command("list")
def show_all(
    db: DbOption = None,
    artifacts: ArtifactsOption = None,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """List every feature: what it is a value of, over which time, and as of when."""
    run = start(db, artifacts, config, as_json)
    from ..features import FEATURES
    from ..features.own_attributes import described, features_of

    rows = [feature.as_dict() for feature in FEATURES.values()]
    ranking = run.settings.ranking
    rows += [described(name) for name in features_of(ranking.attributes, ranking.customer_attributes)]

    def render(out: Console) -> None:
        table = _table("feature", "of", "kind", "window", "as of", "what it is")
        for row in rows:
            table.add_row(*(row[name] for name in ("name", "group", "kind", "window", "as_of", "help")))
        out.print(table)

    run.emit({"features": rows}, render)


@features.command("show")
def show(
    user: Annotated[str, typer.Argument(help="Customer id.", show_default=False)],
    item: Annotated[str, typer.Argument(help="Item id.", show_default=False)],
    db: DbOption = None,
    artifacts: ArtifactsOption = None,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show the features of a customer, an item, and of the two together."""
    run = start(db, artifacts, config, as_json)
    from .recommend import open_engine

    engine = open_engine(run)
    store = engine.features
    found: dict[str, dict[str, Any]] = {
        "customer": store.get_user_features(user),
        "item": store.get_item_features(item),
        "pair": store.compute_interaction(user, item),
    }

    def render(out: Console) -> None:
        table = _table("of", "feature", "value")
        for group, values in found.items():
            for name, value in values.items():
                table.add_row(group, name, "unknown" if value is None else f"{value:g}")
        out.print(table)

    run.emit({"user_id": user, "item_id": item, "version": engine.version, **found}, render)


def _table(*columns: str) -> Table:
    table = Table(header_style="dim", box=None)
    for name in columns:
        table.add_column(Text(name), overflow="fold")
    return table
