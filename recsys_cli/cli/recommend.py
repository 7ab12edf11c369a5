"""`recsys recommend` and `recsys similar`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from ..errors import UsageError
from .common import ArtifactsOption, ConfigOption, DbOption, JsonOption, OfUserOption, Run, key_values, start

if TYPE_CHECKING:
    from ..serving.engine import Engine
    from ..serving.request import Request

CountOption = Annotated[int, typer.Option("-k", min=1, max=1000, help="How many items.")]


def recommend(
    user: Annotated[str | None, typer.Argument(help="Customer id.", show_default=False)] = None,
    k: CountOption = 10,
    every: Annotated[bool, typer.Option("--all", help="Lists for every customer, written to --out.")] = False,
    out: Annotated[
        Path | None,
        typer.Option("--out", help="Parquet or CSV file for --all (user_id, item_id, rank, score, source)."),
    ] = None,
    ids: Annotated[
        str | None,
        typer.Option(
            "--ids",
            metavar="plain",
            help="For --all: plain writes the shop's own ids with each item's title, url, img_url and price, as a "
            "newsletter tool needs them.",
        ),
    ] = None,
    repeat: Annotated[bool, typer.Option("--repeat", help="Include what the customer already bought.")] = False,
    ranked: Annotated[
        bool,
        typer.Option(
            "--ranker/--no-ranker",
            help="Let the ranker order lists where it is on. Without it, --all takes half the time or less.",
        ),
    ] = True,
    of_user: OfUserOption = None,
    db: DbOption = None,
    artifacts: ArtifactsOption = None,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Recommend items to one customer, or to all of them at once."""
    run = start(db, artifacts, config, as_json)
    if user is not None and not user.strip():
        raise UsageError("The customer id is empty.", "Type recsys recommend USER.")
    if user is not None and not every and out is not None:
        raise UsageError("--out goes with --all.", "Leave it out, or name no customer for a file of all.")
    if every and of_user:
        raise UsageError("--user goes with one customer.", "Lists for all are made from what is known of each.")
    if every == (user is not None) or every != (out is not None):
        raise UsageError(
            "Name one customer, or ask for everybody.",
            "Type recsys recommend USER, or recsys recommend --all --out FILE.",
        )
    if ids not in (None, "plain"):
        raise UsageError(f"--ids must be plain, got '{ids}'.", "Leave it out for the columns of a list alone.")
    if ids and out is None:
        raise UsageError("--ids goes with --all.", "Type recsys recommend --all --ids plain --out FILE.")
    from ..serving.request import Request

    if out is not None:
        _everybody(run, out, Request(k=k, repeat=repeat, ranked=ranked), with_items=ids == "plain")
    else:
        assert user is not None
        _one(run, Request(user_id=user, k=k, repeat=repeat, ranked=ranked, user=key_values(of_user or [])))


def _one(run: Run, request: Request) -> None:
    from ..serving.newcomers import SEGMENT
    from ..serving.request import Request
    from .tables import item_table

    engine, user = open_engine(run), str(request.user_id)
    answer = engine.recommend(request)
    rows = engine.describe(answer)
    title = f"For {user}" if answer.known else f"{user} is not known: popular items"
    if SEGMENT in answer.sources:
        title = f"{user} is not known: what sells to customers like them"
    if not engine.people.may_use(user, request.consent)[0]:
        title = f"{user} is not to be profiled: popular items"
    note = ""
    if not rows:
        note = _why_empty(engine, user, request.repeat)
    elif not answer.known and len(engine.people.find(Request(session_id=user)).past):
        title = f"{user} is not a customer: popular items"
        note = f"{user} is the session of a guest, whose list the server has: GET /session/{user}"

    def render(console: Console) -> None:
        if rows:
            console.print(item_table(title, rows))
        if note:
            console.print(note, highlight=False, markup=False)

    run.emit({"user_id": user, "known": answer.known, "version": engine.version, "items": rows}, render)


def _why_empty(engine: Engine, user: str, repeat: bool) -> str:
    from ..serving.request import Request

    if not repeat and engine.recommend(Request(user_id=user, k=1, repeat=True)).codes:
        return f"{user} has bought all there is to show. With --repeat, what was bought is shown too."
    return "No item can be shown: all are sold out, out of the catalogue, or left out by the shop's rules."


def _everybody(run: Run, out: Path, asked: Request, with_items: bool) -> None:
    from ..gdpr.records.written_exports import remember_list
    from ..identity import load_secret
    from ..list_export import recommend_all
    from ..store import Store

    store = Store(run.settings.db, run.settings.store, waiting=run.waiting)
    secret = load_secret(run.settings.db)
    engine = open_engine(run)
    done = recommend_all(store, engine, secret, out, asked, with_items=with_items, progress=run.progress)
    remember_list(run.settings.db, out)  # people erased later stay in it

    def render(console: Console) -> None:
        text = f"{done['rows']:,} rows for {done['users']:,} customers in {out} ({done['seconds']:.1f} s)."
        console.print(text, highlight=False, markup=False)
        if done["agreement"] is not None:
            text = "Only what a model of the blend puts high was blended"
            text = f"{text}: {done['agreement']:.1%} of the places are as when everything is."
            console.print(text, highlight=False, markup=False)
        if with_items and done["hashed_emails"]:
            console.print(hashed_note(done["hashed_emails"]), highlight=False, markup=False)

    run.emit(done, render)


def hashed_note(customers: int) -> str:
    """What is said of a list for a newsletter tool in which addresses are hashed."""
    known = (
        "1 customer is known by the keyed hash of an"
        if customers == 1
        else (f"{customers:,} customers are known by the keyed hash of their")
    )
    return (
        f"{known} e-mail address, which a newsletter tool cannot match. To have addresses: ingest.emails = "
        '"keep" in recsys.toml, and ingest the files again.'
    )


def similar(
    item: Annotated[str, typer.Argument(help="Item id.", show_default=False)],
    k: CountOption = 10,
    db: DbOption = None,
    artifacts: ArtifactsOption = None,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show the items most similar to one."""
    run = start(db, artifacts, config, as_json)
    if not item.strip():
        raise UsageError("The item id is empty.", "Type recsys similar ITEM.")
    from .tables import item_table

    engine = open_engine(run)
    rows = engine.describe(engine.similar(item, k))

    def render(console: Console) -> None:
        if rows:
            console.print(item_table(f"Like {item}", rows))
        else:
            console.print(f"There is no other item to show with {item}.", highlight=False, markup=False)

    run.emit({"item_id": item, "version": engine.version, "items": rows}, render)


def open_engine(run: Run, version: str = "") -> Engine:
    """The engine on the current version, or a named one; a damaged one that was passed over is named."""
    from ..shop import open_engine

    return open_engine(run.settings, damaged=lambda e: run.waiting(str(e)), version=version)
