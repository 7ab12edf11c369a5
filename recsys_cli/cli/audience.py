"""`recsys audience`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.table import Table

from ..errors import UsageError
from .common import ArtifactsOption, ConfigOption, DbOption, JsonOption, start
from .recommend import hashed_note, open_engine

if TYPE_CHECKING:
    from ..audience import Audience

_SHOWN = 10


def audience(
    item: Annotated[str | None, typer.Argument(help="Item id.", show_default=False)] = None,
    category: Annotated[
        str | None, typer.Option("--category", help="A category instead of one item.", show_default=False)
    ] = None,
    n: Annotated[int, typer.Option("-n", min=1, max=1_000_000, help="How many customers at most.")] = 500,
    out: Annotated[
        Path | None,
        typer.Option("--out", help="Parquet or CSV file (user_id, item_id, rank, place, share).", show_default=False),
    ] = None,
    repeat: Annotated[bool, typer.Option("--repeat", help="Keep customers who bought it before.")] = False,
    db: DbOption = None,
    artifacts: ArtifactsOption = None,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """List the customers most likely to buy an item, or from a category, for a newsletter for instance."""
    run = start(db, artifacts, config, as_json)
    if (item is None) == (category is None):
        raise UsageError(
            "Name an item or a category, and not both.", "Type recsys audience ITEM, or --category NAME instead."
        )
    if out is not None and out.suffix.lower() not in (".csv", ".parquet"):
        raise UsageError(f"{out} is neither Parquet nor CSV by its name.", "End it in .parquet or .csv.")
    from ..artifacts.choices import Choices
    from ..audience import audience as make
    from ..audience import of_category, of_item
    from ..gdpr.records.written_exports import remember_list
    from ..identity import load_secret
    from ..store import Store

    store = Store(run.settings.db, run.settings.store, waiting=run.waiting)
    secret = load_secret(run.settings.db)
    engine = open_engine(run)
    targets = of_item(engine, item) if item is not None else of_category(engine, category or "")
    choices = Choices(run.settings.artifacts, secret)
    found = make(store, engine, choices, secret, targets, n, repeat=repeat, progress=run.progress)
    if out is not None:
        found.write(out)
        remember_list(run.settings.db, out)  # people erased later stay in it
    result = {
        "item_id": item,
        "category": category,
        "version": engine.version,
        "customers": len(found.table),
        "considered": found.considered,
        "left_out": found.barred,
        "hashed_emails": found.hashed_emails,
        **({"file": str(out)} if out else {"rows": found.table.to_pylist()}),
    }
    run.emit(result, lambda console: _render(console, found, item or category or "", out))


def _render(console: Console, found: Audience, what: str, out: Path | None) -> None:
    def say(text: str) -> None:
        console.print(text, highlight=False, markup=False)

    count = len(found.table)
    if not count:
        say(f"No customer is likely to buy {what}: {found.considered:,} with a history were looked at.")
    elif out is not None:
        say(f"{count:,} of {found.considered:,} customers for {what} in {out}.")
    else:
        table = Table(header_style="dim", box=None)
        for name in ("rank", "user_id", "item_id", "place", "share"):
            table.add_column(name)
        for row in found.table.slice(0, _SHOWN).to_pylist():
            share = f"{row['share']:.2f}"
            table.add_row(str(row["rank"]), row["user_id"], row["item_id"], str(row["place"]), share)
        console.print(table)
        if count > _SHOWN:
            say(f"The first {_SHOWN} of {count:,}; --out FILE writes all.")
    if found.barred:
        customers = "1 customer was" if found.barred == 1 else f"{found.barred:,} customers were"
        say(f"{customers} left out by consent, objection or restriction.")
    if found.hashed_emails:
        say(hashed_note(found.hashed_emails))
