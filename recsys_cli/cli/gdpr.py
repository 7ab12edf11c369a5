"""`recsys gdpr`: what is held about a person, and its erasure."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Any

import orjson
import typer
from rich.console import Console

from ..artifacts import Artifacts
from ..errors import NoModel, Refused
from ..files import write_atomic
from ..settings import Settings
from ..store import Store
from .common import ArtifactsOption, ConfigOption, DbOption, JsonOption, Run, start

gdpr = typer.Typer(
    name="gdpr", help="The rights of the people whose data this is: export and erasure, with proof.",
    no_args_is_help=True,
)
UserArgument = Annotated[str, typer.Argument(metavar="USER", help="Customer id, or the e-mail it stands for.")]


@gdpr.command("export")
def export(
    user: UserArgument,
    out: Annotated[Path | None, typer.Option("--out", help="File to write. [default: print]")] = None,
    also: Annotated[list[str] | None, typer.Option("--also", help="Another id of the same person; repeatable.")] = None,
    db: DbOption = None,
    artifacts: ArtifactsOption = None,
    config: ConfigOption = None,
) -> None:
    """Everything held about a person, as JSON (GDPR articles 15 and 20)."""
    from ..gdpr import export as export_person

    run = start(db, artifacts, config)
    store, versions = _state(run)
    document = export_person(store, versions, run.settings, [user, *(also or [])], _recommender(versions, run.settings))
    data = orjson.dumps(document, option=orjson.OPT_INDENT_2 | orjson.OPT_SERIALIZE_NUMPY, default=str) + b"\n"
    if out is None:
        sys.stdout.buffer.write(data)
        return
    write_atomic(out, data)
    counts = ", ".join(f"{name.replace('_', ' ')} {n}" for name, n in document["counts"].items())
    run.out.print(f"Wrote {out} ({counts}).", highlight=False, markup=False)


@gdpr.command("delete")
def delete(
    users: Annotated[list[str], typer.Argument(metavar="USER…", help="Customer ids, or the e-mails they stand for.")],
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    db: DbOption = None,
    artifacts: ArtifactsOption = None,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Erase people from the store, the spool, every version and the bytes of the files, and prove it (article 17)."""
    from ..gdpr import erase

    run = start(db, artifacts, config, as_json)
    store, versions = _state(run)
    if not yes:
        _ask(f"Erase {len(users)} {'person' if len(users) == 1 else 'people'} for good?")
    done = erase(store, versions, run.settings, users, run.progress)
    result: dict[str, Any] = {
        "request": done.request,
        "erased": done.erased,
        "unknown": len(done.unknown),
        "removed": done.removed,
        "scanned": {"files": done.scanned.files, "bytes": done.scanned.bytes, "findings": 0},
        "coincidences": len(done.scanned.coincidences),
        "seconds": done.seconds,
    }

    def render(console: Console) -> None:
        for one in done.unknown:
            console.print(f"Nothing is held about {one}.", highlight=False, markup=False)
        if done.removed:
            removed = ", ".join(f"{n} {kind.replace('_', ' ')}" for kind, n in done.removed.items() if n)
            console.print(f"Erased {done.erased}: {removed or 'nothing was left'}.", highlight=False, markup=False)
        searched = f"{done.scanned.files} files, {done.scanned.bytes / 1e6:.1f} MB unpacked"
        console.print(f"Searched {searched}: no trace. {done.seconds:.1f} s.", highlight=False, markup=False)

    run.emit(result, render)


def _state(run: Run) -> tuple[Store, Artifacts]:
    settings = run.settings
    store = Store(settings.db, settings.store, waiting=run.waiting)
    return store, Artifacts(settings.artifacts, lock_timeout=settings.store.lock_timeout)


def _ask(question: str) -> None:
    if not sys.stdin.isatty():
        raise Refused("Nothing was erased: there is no terminal to confirm on.", "Add --yes to erase without asking.")
    typer.confirm(question, abort=True)


def _recommender(artifacts: Artifacts, settings: Settings) -> Any:
    """What the served version recommends to a customer, or None when nothing is served."""
    from ..identity import load_secret
    from ..serving import Engine
    from ..serving.request import Request

    try:
        engine = Engine.open(artifacts.current(), load_secret(settings.db))
    except NoModel:
        return None

    def recommend(user_id: str) -> list[dict[str, Any]]:
        answer = engine.recommend(Request(user_id=user_id, k=20))
        return [
            {"item_id": line.item_id, "score": line.score, "source": line.source, "fallback": line.fallback}
            for line in answer.items
        ]

    return recommend
