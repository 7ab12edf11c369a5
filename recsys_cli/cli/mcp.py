"""`recsys mcp`."""

from __future__ import annotations

from typing import Annotated

import typer

from ..settings_sources import settings_file
from .common import ArtifactsOption, ConfigOption, DbOption, start


def mcp(
    url: Annotated[
        str | None, typer.Option("--url", help="A running server to ask. [default: the versions in --artifacts]")
    ] = None,
    db: DbOption = None,
    artifacts: ArtifactsOption = None,
    config: ConfigOption = None,
) -> None:
    """Give an assistant read-only tools (Model Context Protocol, stdio): recommend, similar, explain, report, doctor.

    Started by the assistant's program. The scopes of the key in mcp.key_file decide what it may see. Needs
    recsys-cli\\[mcp] (pip).
    """
    run = start(db, artifacts, config, mcp__url=url)
    from ..assistant.ways import OverArtifacts, OverServer, Way

    settings = run.settings
    key = settings.mcp.key()
    way: Way
    if settings.mcp.url:
        way = OverServer(settings.mcp.url, key)
    else:
        from ..artifacts import Artifacts
        from ..identity import load_secret

        Artifacts(settings.artifacts).current(verify=False)  # what is missing is said here, and not to an assistant
        way = OverArtifacts(settings, load_secret(settings.db), settings_file(config, db).absolute(), key)
    from ..assistant.tools import server  # takes seconds: what is wrong above is said at once

    server(way, settings).run("stdio")
