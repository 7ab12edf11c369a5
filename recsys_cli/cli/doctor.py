"""`recsys doctor`."""

from __future__ import annotations

import typer
from rich.console import Console
from rich.text import Text

from ..errors import SettingError
from .common import ArtifactsOption, ConfigOption, DbOption, JsonOption, start

_STYLE = {"broken": ("✗", "bold red"), "warning": ("!", "yellow"), "hint": ("·", "dim")}


def doctor(
    db: DbOption = None,
    artifacts: ArtifactsOption = None,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """List what is wrong with the shop's data and set-up, worst first, and how to fix it."""
    refused: list[SettingError] = []
    run = start(db, artifacts, config, as_json, same_shop=False, refused=refused)
    from ..doctor.diagnosis import diagnose

    found = diagnose(run.settings, refused)

    def render(out: Console) -> None:
        for finding in found.findings:
            sign, style = _STYLE[finding.severity]
            out.print(Text.assemble((f"{sign} ", style), finding.sentence))
            if finding.advice:
                out.print(Text(f"    {finding.advice}", style="dim"))
        if found.standing is not None and not found.standing.below:
            out.print(Text(found.standing.sentence, style="dim"))
        if found.ranker:
            out.print(Text(found.ranker, style="dim"))
        if not found.findings:
            out.print("All is well.")
        elif not found.broken:
            out.print("No errors.")

    run.emit(found.as_dict(), render)
    if found.broken:
        raise typer.Exit(1)
