"""Handlers that change what the shop's people decide: placements and rules, in the settings file itself.

A change is read as the server would read it, and tried on the catalogue that is served, before the file is replaced.
Servers take it up within a second, and those who edit the file by hand find it there.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

from ...durable_files import draft_dir, explain_os, locked, sweep_drafts, write_atomic
from ...errors import NotFound, RecsysError, Refused, SettingError, StoreBusy, UsageError
from ...serving.filter_tree import FilterError
from ...serving.list_kinds import KINDS
from ...serving.placements import Placement, fill
from ...serving.request import Request
from ...settings import RuleSettings
from ...settings_editing import read_text, with_keys, with_table
from ..access import SERVE
from ..call import Call, Reply
from ..live_settings import Source, check, misfits
from ..service import Service

_DRAFT = ".settings-"
_RULES = tuple(f.name for f in fields(RuleSettings) if f.name != "campaigns")


async def show_placements(service: Service, call: Call) -> Reply:
    """The placements in force, and why the settings file as it is now is refused, if it is."""
    now = service.settings_now
    kinds = [{"name": kind.name, "help": kind.help, "needs": list(kind.needs)} for kind in KINDS.values()]
    placed = [p.as_dict() for p in now.placements.values()]
    return Reply.of({"placements": placed, "refused": now.error or None, "kinds": kinds})


def preview_placement(service: Service, call: Call) -> Reply:
    """The list that a placement would show, without writing it anywhere; what is wrong with it is told with its key."""
    body, engine = call.body, service.live.ready()
    if body.user_id is not None:
        call.caller.check(SERVE)
    wrong, items, title = None, [], ""
    try:
        placement = Placement.of("preview", body.placement)
        if placement.version and placement.version not in service.live.artifacts.names():
            raise SettingError(
                ("placements", "preview", "version"),
                f"There is no version '{placement.version}'.",
                "recsys models list shows them.",
            )
        engine = service.live.other(placement.version) or engine
        asked = Request(body.user_id, items=body.items, item_id=body.item_id, k=placement.k, explain=True)
        answer = fill(engine, placement, placement.request(asked, body.user))
        items, title = engine.describe(answer), placement.title or answer.title
    except SettingError as e:
        wrong = {"field": str((*e.path, "", "")[2]), "message": e.message, "hint": e.hint}
    except FilterError as e:
        wrong = {"field": "filter", "message": e.message, "hint": e.hint}
    except (NotFound, UsageError) as e:
        wrong = {"field": "item_id", "message": e.message, "hint": e.hint}
    return Reply.of({"items": items, "title": title, "wrong": wrong, "request_id": call.request_id})


async def put_placement(service: Service, call: Call) -> Reply:
    """Add a placement, or put another in its place: the keys of [placements.NAME] in recsys.toml."""
    return await _placement(service, call, call.body)


async def delete_placement(service: Service, call: Call) -> Reply:
    """Take a placement out of recsys.toml."""
    if call.path["name"] not in service.settings_now.placements:
        raise NotFound(f"There is no placement '{call.path['name']}'.", "GET /placements lists them.")
    return await _placement(service, call, None)


async def _placement(service: Service, call: Call, values: Mapping[str, Any] | None) -> Reply:
    name = call.path["name"]
    before = await _change(service, lambda text: with_table(text, ("placements", name), values))
    held = before.placements.get(name)
    return Reply.of({"placement": name, "now": values, "before": held, "request_id": call.request_id})


async def patch_rules(service: Service, call: Call) -> Reply:
    """Change rules in recsys.toml; null takes one out, so that its default counts. Campaigns stay as they are."""
    wrong = [name for name in call.body if name not in _RULES]
    if wrong or not call.body:
        told = f"There is no rule '{wrong[0]}' to change here." if wrong else "No rule is given."
        raise UsageError(told, f"Rules: {', '.join(_RULES)}.")
    before = await _change(service, lambda text: with_keys(text, ("rules",), call.body))
    held = {name: getattr(before.rules, name) for name in call.body}
    return Reply.of({"now": call.body, "before": held, "request_id": call.request_id})


async def _change(service: Service, edit: Callable[[str], str]) -> Any:
    """Change the settings file; returns the settings before.

    Raises
    ------
    UsageError
        The file would not be what the server takes.
    Refused
        There is no file to change.
    """
    source = service.settings_now.source
    if source is None:
        raise Refused("This server was started without a settings file.", "Start it with recsys serve.")
    return await asyncio.to_thread(_rewrite, source, service.live.artifacts.root, edit)


def _read(draft: Source) -> Any:
    """The settings of a draft, of which nobody knows the lines.

    Raises
    ------
    UsageError
    """
    try:
        return draft.read()
    except UsageError as e:
        raise _without_line(e) from None


def _without_line(error: RecsysError) -> RecsysError:
    return UsageError(re.sub(r"^[^:]*, line \d+: |^[^:/ ]+\.toml: ", "", error.message), error.hint)


def _rewrite(source: Source, root: Path, edit: Callable[[str], str]) -> Any:
    def busy(who: str) -> RecsysError:
        return StoreBusy(f"The settings file is being changed by {who}.", "Try again.")

    path = source.path.resolve()
    with locked(root / f"{_DRAFT}lock", timeout=10.0, busy=busy):
        try:
            text = read_text(path)
            mode = path.stat().st_mode & 0o777 if path.exists() else 0o600
        except OSError as e:
            raise explain_os(e, path) from None
        except UnicodeDecodeError:
            raise UsageError(f"{path.name} is not UTF-8 text.", "Save it as UTF-8.") from None
        sweep_drafts(root, _DRAFT)
        before = source.read()  # what is wrong now must be put right by who wrote it
        changed = edit(text)
        with draft_dir(root, _DRAFT) as folder:
            draft = Source(folder / path.name, source.flags)
            write_atomic(draft.path, changed.encode())
            after = _read(draft)
            known = {e.message for e in misfits(before, path)}
            for error in misfits(after, draft.path):
                if error.message not in known:
                    raise _without_line(error)
        check(after, path)
        if read_text(path) != text:  # what somebody saved meanwhile must not be lost
            raise StoreBusy(f"{path.name} was changed by somebody else meanwhile.", "Look at it, and try again.")
        write_atomic(path, changed.encode())
        path.chmod(mode)
    return before
