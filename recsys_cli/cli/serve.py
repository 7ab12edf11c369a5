"""`recsys serve`."""

from __future__ import annotations

import ipaddress
import os
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from ..connections import DetailsSettings
from ..settings_sources import settings_file
from .common import ArtifactsOption, ConfigOption, DbOption, start


def serve(
    host: Annotated[str | None, typer.Option("--host", help="Address to listen on. [default: 127.0.0.1]")] = None,
    port: Annotated[int | None, typer.Option("--port", min=0, max=65535, help="Port. [default: 8000]")] = None,
    workers: Annotated[
        int | None, typer.Option("--workers", min=1, max=64, help="Server processes. [default: 1]")
    ] = None,
    db: DbOption = None,
    artifacts: ArtifactsOption = None,
    config: ConfigOption = None,
) -> None:
    """Serve the published version over HTTP, and accept events; see /docs on the server."""
    run = start(db, artifacts, config, serve__host=host, serve__port=port, serve__workers=workers)
    from ..api.access import read_origins, read_proxies
    from ..api.server import ServePlan, listen
    from ..api.server import serve as run_server
    from ..artifacts import Artifacts
    from ..artifacts.address import announce
    from ..artifacts.keys import keys_wanted, make_owner_key, read_keys
    from ..artifacts.shop_id import expect_same_shop, is_satellite
    from ..identity import load_secret

    settings = run.settings.serve
    settings = replace(settings, cors_origins=read_origins(settings.cors_origins))
    read_proxies(settings.trusted_proxies)
    if settings.jwt_keys is not None:
        settings = replace(settings, jwt_keys=settings.jwt_keys.absolute())
        from ..api.tokens import Tokens

        Tokens(settings)
    # What would stop every worker is said here, before anything starts: no model yet, a campaign with a mistake.
    Artifacts(run.settings.artifacts).current(verify=False)
    if run.settings.rules.campaigns or run.settings.placements:
        # Not for a shop without any: it brings the whole engine along, which this process makes no use of.
        from ..api.live_settings import check

        check(run.settings, settings_file(config, db))
    satellite = is_satellite(run.settings.db, run.settings.artifacts)
    if not satellite:
        expect_same_shop(run.settings.db, run.settings.artifacts)
    secret = load_secret(run.settings.db)
    key = make_owner_key(run.settings.artifacts)  # before the address is told: a waiting caller may ask at once
    sock = listen(settings.host, settings.port)
    address, number = sock.getsockname()[:2]
    announce(run.settings.artifacts, _url(_reachable(address), number))
    run.waiting(f"Serving on {_url(address, number)} (documentation: /docs). Stop with Ctrl-C.")
    run.waiting(owner_link(key, address, number))
    if not read_keys(run.settings.artifacts):
        if keys_wanted(run.settings.artifacts):
            run.waiting("All keys are revoked: everybody but the owner gets 401 until recsys keys add NAME.")
        elif not ipaddress.ip_address(address).is_loopback:
            # In a container even the machine it runs on is another one.
            run.waiting("There is no key yet: callers from other machines get 401 until recsys keys add NAME.")
    images = images_folder(settings.images)
    flags = {"db": db, "artifacts": artifacts}
    plan = ServePlan(
        settings,
        run.settings.rules,
        run.settings.artifacts.absolute(),
        secret,
        images,
        run.settings.ranking.swap_share,
        run.settings.ingest.earliest,
        run.settings.ingest.event_types,
        placements=run.settings.placements,
        config=settings_file(config, db).absolute(),
        details=_details(run.settings.details),
        satellite=satellite,
        flags={name: str(value.absolute()) for name, value in flags.items() if value is not None},
    )
    run_server(plan, sock)


def _details(settings: DetailsSettings) -> DetailsSettings:
    """The settings of the product service as a server process can use them.

    Raises
    ------
    UsageError, StoreError, MissingDependency
        It could not.
    """
    if settings.url:
        from ..api.product_service import library

        library()
        settings.place()
        settings.token()
        settings.trust()
    files = {name: path.absolute() for name in ("token_file", "ca_file") if (path := getattr(settings, name))}
    return replace(settings, **files)


def owner_link(key: str, address: str, port: int) -> str:
    """How the owner opens storefront and dashboard; in a journal, which others may read, without the key."""
    if os.environ.get("JOURNAL_STREAM"):
        return "Storefront and dashboard: recsys keys owner prints the link."
    return f"Storefront and dashboard, with your own key: {_url(_reachable(address), port)}/#key={key}"


def _reachable(address: str) -> str:
    """An address to connect to from this machine, for one that is listened on."""
    where = ipaddress.ip_address(address)
    return ("::1" if where.version == 6 else "127.0.0.1") if where.is_unspecified else address


def _url(address: str, port: int) -> str:
    return f"http://[{address}]:{port}" if ":" in address else f"http://{address}:{port}"


def images_folder(named: Path | None) -> Path | None:
    """The folder of images: the named one, else the sample shop's in the package or in a source tree."""
    if named is not None:
        return named.absolute()
    package = Path(__file__).resolve().parents[1]
    for folder in (package / "sample_data" / "images", package.parent / "sample_data" / "images"):
        if folder.is_dir():
            return folder
    return None
