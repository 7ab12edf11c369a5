"""`recsys keys`."""

from __future__ import annotations

import time
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from ..errors import NotFound, UsageError
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
            help="page (lists in a public page), serve (all lists), ingest (events), catalogue (items), view (report, "
            "status, metrics), merchandise (rules, placements), operate (updates, versions), people (profiles) or "
            "admin (the last four); may be repeated. [default: serve]",
        ),
    ] = None,
    role: Annotated[
        str,
        typer.Option("--role", help="The scopes of viewer, merchandiser, operator, privacy-officer or admin."),
    ] = "",
    db: DbOption = None,
    artifacts: ArtifactsOption = None,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Make a key and show it, once. From then on the server answers nobody without a key."""
    run = start(db, artifacts, config, as_json)
    from ..artifacts import Artifacts
    from ..artifacts.keys import ROLES, add_key, check_place

    store = Artifacts(run.settings.artifacts)
    check_place(store.root)
    scopes = scope or ([] if role else ["serve"])
    with store.exclusive(waiting=run.waiting):
        key, signing = add_key(store.root, name, scopes, role)
    scopes = [*ROLES.get(role, ()), *scopes]

    def render(out: Console) -> None:
        out.print(Text(key))
        run.waiting("Keep it: it is not shown again. Send it as the header X-API-Key.")
        if signing:
            out.print(Text(signing))
            run.waiting("The second line is the signing secret, for your shop's server only: it signs customers' ids.")

    given = {"name": name, "scopes": list(dict.fromkeys(scopes)), "role": role}
    run.emit(given | {"key": key, **({"signing_secret": signing} if signing else {})}, render)


@keys.command("sign")
def sign_user(
    user: Annotated[str, typer.Argument(help="Id of the customer, as the page names it.", show_default=False)],
    key: Annotated[
        str | None, typer.Option("--key", help="Name of the page's key. [default: the only one with the scope page]")
    ] = None,
    seconds: Annotated[int, typer.Option("--seconds", min=1, max=31_536_000, help="How long it is valid.")] = 3600,
    db: DbOption = None,
    artifacts: ArtifactsOption = None,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Make a user_token, with which a page's key may ask for this customer for a while."""
    run = start(db, artifacts, config, as_json)
    from ..artifacts.keys import read_keys, sign

    held = [k for k in read_keys(run.settings.artifacts) if k.signing and key in (None, k.name)]
    if not held:
        which = f"No key with the scope page is named '{key}'." if key else "There is no key with the scope page."
        raise NotFound(which, "Make one: recsys keys add NAME --scope page.")
    if len(held) > 1:
        names = ", ".join(k.name for k in held)
        raise UsageError(f"Several keys have the scope page: {names}.", "Name one with --key.")
    until = int(time.time()) + seconds
    token = sign(held[0].signing, user, until)
    result = {"user_id": user, "user_token": token, "key": held[0].name, "expires_at": until}
    run.emit(result, lambda out: out.print(Text(token)))


@keys.command("owner")
def owner(
    renew: Annotated[bool, typer.Option("--renew", help="Replace it; the old one no longer counts.")] = False,
    db: DbOption = None,
    artifacts: ArtifactsOption = None,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Print your own key and the link that opens storefront and dashboard with it; it has every scope."""
    run = start(db, artifacts, config, as_json)
    from ..artifacts.address import running_at
    from ..artifacts.keys import OWNER_FILE, check_place, make_owner_key

    root = run.settings.artifacts
    if not root.is_dir():
        raise NotFound(f"There is no artifacts directory {root} yet.", "Run recsys train, or name it with --artifacts.")
    check_place(root)
    if renew:
        (root / OWNER_FILE).unlink(missing_ok=True)
    text = make_owner_key(root)
    serve = run.settings.serve
    usual = f"http://{'127.0.0.1' if serve.host in ('0.0.0.0', '::') else serve.host}:{serve.port}"
    link = f"{running_at(root) or usual}/#key={text}"
    result = {"key": text, "file": str(root / OWNER_FILE), "link": link}

    def render(out: Console) -> None:
        out.print(Text(text))
        run.waiting(f"Storefront and dashboard: {link}")

    run.emit(result, render)


@keys.command("list")
def show(
    db: DbOption = None,
    artifacts: ArtifactsOption = None,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """List the keys by name, without the keys themselves."""
    run = start(db, artifacts, config, as_json)
    from ..artifacts.keys import keys_wanted, read_keys

    held = read_keys(run.settings.artifacts)
    open_here = "No keys: the server answers lists without a customer on this machine; your own key opens the rest."
    shut = "No keys: all are revoked, and the server answers nobody but you until recsys keys add NAME."
    none = shut if keys_wanted(run.settings.artifacts) else open_here
    rows = [{"name": k.name, "role": k.role, "scopes": list(k.scopes), "created_at": k.created_at} for k in held]

    def render(out: Console) -> None:
        table = Table("name", "role", "scopes", "made", header_style="dim", box=None)
        for key in held:
            day = time.strftime("%Y-%m-%d", time.gmtime(key.created_at))
            table.add_row(Text(key.name), key.role or "-", ", ".join(key.scopes), day)
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
        raise NotFound(f"No key is named '{name}'.", "Run recsys keys list.")
    with store.exclusive(waiting=run.waiting):
        revoke_key(store.root, name)
        last = not read_keys(store.root)

    def render(out: Console) -> None:
        out.print(Text(f"'{name}' is no longer a key."))
        if last:
            run.waiting("It was the last one: the server answers nobody but you until recsys keys add NAME.")

    run.emit({"revoked": name}, render)
