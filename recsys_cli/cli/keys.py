"""`recsys keys`."""

from __future__ import annotations

import time
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from ..errors import NotFound
from .common import ArtifactsOption, ConfigOption, DbOption, JsonOption, start

keys = typer.Typer(name="keys", help="Keys for the server: make, list, revoke.", no_args_is_help=True)

NameArgument = Annotated[str, typer.Argument(help="What the key is called.", show_default=False)]


@keys.command("add")
def add(
    name: NameArgument,
    scope: Annotated[
        list[str] | None,
        typer.Option(
            "--scope",
            help="serve (lists), ingest (events), catalogue (items) or admin; may be repeated. [default: serve]",
        ),
    ] = None,
    db: DbOption = None,
    artifacts: ArtifactsOption = None,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Make a key and show it, once. From then on the server answers nobody without a key."""
    run = start(db, artifacts, config, as_json)
    from ..artifacts import Artifacts
    from ..artifacts.keys import add_key, check_place

    store = Artifacts(run.settings.artifacts)
    check_place(store.root)
    scopes = scope or ["serve"]
    with store.exclusive(waiting=run.waiting):
        key = add_key(store.root, name, scopes)

    def render(out: Console) -> None:
        out.print(Text(key))
        run.waiting("Keep it: it is not shown again. Send it as the header X-API-Key.")

    run.emit({"name": name, "scopes": scopes, "key": key}, render)


@keys.command("list")
def show(
    db: DbOption = None,
    artifacts: ArtifactsOption = None,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """List the keys there are, without the keys themselves."""
    run = start(db, artifacts, config, as_json)
    from ..artifacts.keys import keys_wanted, read_keys

    held = read_keys(run.settings.artifacts)
    open_here = "No keys: the server answers requests made on this machine only."
    shut = "No keys: all are revoked, and the server answers nobody until recsys keys add NAME."
    none = shut if keys_wanted(run.settings.artifacts) else open_here
    rows = [{"name": k.name, "scopes": list(k.scopes), "created_at": k.created_at} for k in held]

    def render(out: Console) -> None:
        table = Table("name", "scopes", "made", header_style="dim", box=None)
        for key in held:
            day = time.strftime("%Y-%m-%d", time.gmtime(key.created_at))
            table.add_row(Text(key.name), ", ".join(key.scopes), day)
        out.print(table if held else none)

    run.emit({"keys": rows}, render)


@keys.command("revoke")
def revoke(
    name: NameArgument,
    db: DbOption = None,
    artifacts: ArtifactsOption = None,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Take a key back; servers refuse it within a second."""
    run = start(db, artifacts, config, as_json)
    from ..artifacts import Artifacts
    from ..artifacts.keys import read_keys, revoke_key

    store = Artifacts(run.settings.artifacts)
    if not any(key.name == name for key in read_keys(store.root)):
        # Before our turn at the directory, which there may not be yet.
        raise NotFound(f"There is no key '{name}'.", "Run recsys keys list.")
    with store.exclusive(waiting=run.waiting):
        revoke_key(store.root, name)
        last = not read_keys(store.root)

    def render(out: Console) -> None:
        out.print(Text(f"'{name}' is no longer a key."))
        if last:
            run.waiting("It was the last one: the server answers nobody until recsys keys add NAME.")

    run.emit({"revoked": name}, render)
