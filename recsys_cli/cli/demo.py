"""`recsys demo`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.columns import Columns
from rich.console import Console
from rich.text import Text

from ..errors import UsageError
from .common import JsonOption, start


def demo(
    folder: Annotated[
        str | None,
        typer.Option(
            "--folder", metavar="PATH", help="Where to put the demo's database and model. [default: a temporary one]"
        ),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Run the whole journey on the sample shop: ingest, train, evaluate, recommend."""
    from ..demo import DemoShop, run_demo
    from .leaderboards import leaderboard
    from .tables import item_table

    if folder == "":  # as a path that is the directory the command is run in, and what is there is no demo's
        raise UsageError("--folder is empty.", "Name a folder, or leave --folder out.")
    with DemoShop.at(None if folder is None else Path(folder)) as shop:
        run = start(shop.db, shop.artifacts, None, as_json)
        shown = run_demo(shop, run.settings, run.progress)

        def render(out: Console) -> None:
            out.print(Text(shown.ingested))
            if shown.report:
                out.print(leaderboard(shown.report))
            did = item_table(f"What customer {shown.user_id} did last", shown.history, history=True)
            # Beside each other where the terminal is wide enough, else one below the other.
            out.print(Columns([did, item_table(f"Recommended to {shown.user_id}", shown.recommended)], padding=(0, 4)))
            out.print(item_table(f"Like {shown.item_title}", shown.similar))
            out.print(Text("\n".join(["", "Next:", *shop.next_steps(shown)])), highlight=False)

        run.emit(shown.as_dict(), render)
