"""`recsys placements`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from ..errors import NotFound, StoreError, StoreMissing
from ..settings_sources import settings_file
from .common import ArtifactsOption, ConfigOption, DbOption, JsonOption, OfUserOption, Run, key_values, start

if TYPE_CHECKING:
    from ..doctor.findings import Finding
    from ..serving.placements import Placement
    from ..serving.request import Request

placements = typer.Typer(name="placements", help="Named places for lists on the shop's pages.", no_args_is_help=True)


@placements.command("list")
def show_all(
    db: DbOption = None,
    artifacts: ArtifactsOption = None,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """List the placements in recsys.toml."""
    run = start(db, artifacts, config, as_json)
    from ..api.live_settings import check

    _, found = check(run.settings, settings_file(config, db))
    rows = [placement.as_dict() for placement in found.values()]

    def render(out: Console) -> None:
        if not rows:
            out.print("There are no placements: recsys.toml has no [placements.NAME].", highlight=False, markup=False)
            return
        out.print(_table(rows))

    run.emit({"placements": rows}, render)


@placements.command("check")
def check_all(
    db: DbOption = None,
    artifacts: ArtifactsOption = None,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Check rules and placements, and try their filters on the catalogue that is served."""
    run = start(db, artifacts, config, as_json)
    from ..api.live_settings import check, misfits

    path = settings_file(config, db)
    _, found = check(run.settings, path)
    wrong = misfits(run.settings, path)
    for error in wrong[1:]:
        run.waiting(str(error))
    if wrong:
        raise wrong[0]

    idle = _without_effect(run)

    def render(out: Console) -> None:
        names = ", ".join(found) or "none"
        out.print(f"Rules and placements are valid. Placements: {names}.", highlight=False, markup=False)
        for finding in idle:
            out.print(f"{finding.sentence} {finding.advice}".strip(), highlight=False, markup=False)

    run.emit({"placements": list(found), "ok": True, "warnings": [f.sentence for f in idle]}, render)


def _without_effect(run: Run) -> list[Finding]:
    """Campaigns that are taken and do nothing."""
    import time

    from ..doctor.settings_checks import idle, targets
    from ..store import Store
    from ..store.figures import target_figures

    known = {}
    try:
        with Store(run.settings.db, run.settings.store).impatient().reading() as con:
            known = {target: target_figures(con, *target) for target in targets(run.settings)}
    except StoreMissing:
        pass
    except StoreError as e:
        run.waiting(f"What campaigns match was not looked up: {e.message}")
    return idle(run.settings, time.time(), known)


@placements.command("preview")
def preview(
    name: Annotated[str, typer.Argument(help="The placement's name.", show_default=False)],
    user: Annotated[
        str | None, typer.Argument(help="Customer id; leave out for a new visitor.", show_default=False)
    ] = None,
    item: Annotated[str | None, typer.Option("--item", help="The product of the page.", show_default=False)] = None,
    basket: Annotated[
        list[str] | None, typer.Option("--basket", help="An item in the basket; repeat for more.", show_default=False)
    ] = None,
    of_user: OfUserOption = None,
    db: DbOption = None,
    artifacts: ArtifactsOption = None,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show the list that a placement gives a customer."""
    run = start(db, artifacts, config, as_json)
    from ..api.live_settings import check

    _, found = check(run.settings, settings_file(config, db))
    if name not in found:
        known = ", ".join(found) or "none"
        raise NotFound(f"There is no placement '{name}'.", f"recsys.toml has: {known}.")
    from ..serving.request import Request

    asked = Request(user_id=user, k=found[name].k, items=tuple(basket or ()), item_id=item, explain=True)
    _preview(run, found[name], asked, key_values(of_user or []))


def _preview(run: Run, placement: Placement, asked: Request, of_user: dict[str, str]) -> None:
    from ..serving.placements import fill
    from .recommend import open_engine
    from .tables import item_table

    engine = open_engine(run, version=placement.version)
    request = placement.request(asked, of_user)
    answer = fill(engine, placement, request)
    rows = engine.describe(answer)
    title = placement.title or answer.title

    def render(out: Console) -> None:
        if rows:
            out.print(item_table(title or placement.name, rows))
        else:
            out.print(f"{placement.name} shows no items here.", highlight=False, markup=False)

    run.emit({"placement": placement.name, "title": title, "version": engine.version, "items": rows}, render)


def _table(rows: list[dict[str, Any]]) -> Table:
    table = Table(header_style="dim", box=None)
    names = ("name", "kind", "fallback", "filter", "k", "title")
    for name in names:
        table.add_column(Text(name), overflow="fold")
    for row in rows:
        cells = {**row, "fallback": ", ".join(row["fallback"])}
        table.add_row(*(Text(str(cells[name])) for name in names))
    return table
