"""The settings as the doctor sees them: what commands would refuse, by their own checks, and what does nothing."""

from __future__ import annotations

import difflib
import re
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from ..api.access import read_origins, read_proxies
from ..api.live_settings import misfits
from ..artifacts.keys import read_keys
from ..errors import NoModel, RecsysError, UsageError
from ..ingest.columns import AIDS, EVENTS, FIELDS, ITEMS, USERS
from ..ingest.watch import Folder
from ..ingest.zones import check_zone
from ..models import registry
from ..publishing.train import choose
from ..serving.campaigns import Campaign
from ..serving.placements import Placement
from ..settings import Settings
from ..settings_sources import settings_file
from ..store.figures import TargetFigures
from ..tuning.auto import AUTO
from .findings import BROKEN, HINT, WARNING, Finding

_LOCAL = re.compile(r"http://(localhost|127\.|\[::1\])")
Target = tuple[str, str]  # what a campaign is about and the value, as category and Tea


def refused(settings: Settings) -> list[Finding]:
    """Settings under which serve, recommend, ingest, train or the update worker stop with an error."""
    found = [
        *_refused("rules.campaigns", *(lambda t=t, n=n: Campaign.of(t, n) for n, t in _numbered(settings))),
        *_refused("", *(lambda n=n, p=p: Placement.of(n, p) for n, p in settings.placements.items())),
        *_refused("serve.cors_origins", *(lambda o=o: read_origins([o]) for o in settings.serve.cors_origins)),
        *_refused("serve.trusted_proxies", lambda: read_proxies(settings.serve.trusted_proxies)),
        *_refused("ingest.timezone", lambda: check_zone(settings.ingest.timezone)),
    ]
    if settings.ingest.folder:
        found += _refused("ingest.folder", lambda: Folder(Path(settings.ingest.folder)).ready(0))
    models = _refused("train.model", lambda: choose(settings, None, {}))
    if not models and settings.train.model != AUTO:
        # Not in use while there is what tuning chose.
        models = _refused("train.model", lambda: registry.get(settings.train.model), severity=WARNING)
    return [*found, *models, *_refused("", lambda: read_keys(settings.artifacts))]


def _numbered(settings: Settings) -> Iterator[tuple[int, Any]]:
    return enumerate(settings.rules.campaigns, 1)


def _refused(setting: str, *checks: Callable[[], Any], severity: str = BROKEN) -> list[Finding]:
    found = []
    for check in checks:
        try:
            check()
        except RecsysError as e:
            where = f"Fix {setting} in recsys.toml, or where it is set." if setting else ""
            found.append(Finding("settings", severity, e.message, f"{where} {e.hint}".strip()))
    return found


def targets(settings: Settings) -> list[Target]:
    """What the campaigns that are not over yet are about; filters aside, which only a version can answer."""
    about = ((c.target, c.value) for _, c in _campaigns(settings, time.time()) if c.target != "filter")
    return list(dict.fromkeys(about))


def _campaigns(settings: Settings, now: float) -> list[tuple[int, Campaign]]:
    """Those that can be read and that run or will run, with their numbers."""
    read = []
    for number, table in _numbered(settings):
        try:
            campaign = Campaign.of(table, number)
        except RecsysError:
            continue
        if campaign.end > now or campaign.start >= campaign.end:
            read.append((number, campaign))
    return read


def idle(settings: Settings, now: float, known: Mapping[Target, TargetFigures]) -> list[Finding]:
    """Settings that are taken and do nothing.

    Parameters
    ----------
    known
        What the database has of `targets`; empty where there is none.
    """
    found = [_idle_campaign(number, c, known, settings) for number, c in _campaigns(settings, now)]
    return [*(f for f in found if f is not None), *_misfits(settings), *_unknown_fields(settings)]


def _misfits(settings: Settings) -> list[Finding]:
    """Filters that fit no item as it is now: their placements are refused, their campaigns do nothing."""
    if not settings.placements and not settings.rules.campaigns:
        return []
    try:
        wrong = misfits(settings, settings_file(None, settings.db))
    except (NoModel, UsageError):  # there is nothing to fit yet; what cannot be read is told above
        return []
    return [Finding("filter", WARNING, e.message, e.hint) for e in wrong]


def exposed(settings: Settings) -> list[Finding]:
    """How the server is reached from outside: without TLS, or through a proxy that it does not know."""
    serve, found = settings.serve, []
    if serve.host not in ("127.0.0.1", "::1", "localhost"):
        sentence = f"The server listens on {serve.host} and uses plain HTTP: keys and ids travel unencrypted."
        todo = "Set serve.host to 127.0.0.1 and put a proxy with TLS in front, or keep the network private."
        found.append(Finding("no_tls", WARNING, sentence, todo))
    plain = [o for o in serve.cors_origins if o.startswith("http://") and not _LOCAL.match(o)]
    if plain:
        sentence = f"Pages of {plain[0]} have no TLS: the key in them and what visitors look at can be read in transit."
        found.append(Finding("no_tls", WARNING, sentence, "Serve the shop over https and name that in cors_origins."))
    if not serve.trusted_proxies and any(o.startswith("https://") for o in serve.cors_origins):
        sentence = "Pages on https reach the server through a proxy, but serve.trusted_proxies is empty."
        todo = "Set serve.trusted_proxies to its address; until then all visitors share one rate limit."
        found.append(Finding("unknown_proxy", WARNING, sentence, todo))
    return found


def _idle_campaign(
    number: int, campaign: Campaign, known: Mapping[Target, TargetFigures], settings: Settings
) -> Finding | None:
    which = f"Campaign {number} in [[rules.campaigns]]"
    if campaign.start >= campaign.end:
        return Finding("campaign", HINT, f"{which} never runs: its until is before its from.", "Fix one of the days.")
    figures = known.get((campaign.target, campaign.value))
    what = f"{which} ({campaign.action} {campaign.target} {campaign.value!r})"
    if figures is None:
        return None
    if not figures.items:
        near = f"Did you mean {figures.near!r}?" if figures.near else "Fix it, or ingest the catalogue as it is."
        return Finding("campaign", HINT, f"{what} does nothing: no item matches it.", near)
    if figures.retired == figures.items:
        return Finding("campaign", HINT, f"{what} does nothing: the item has left the catalogue.", "Take it out.")
    if campaign.action == "pin" and settings.rules.in_stock_only and figures.sold_out:
        return Finding("campaign", HINT, f"{what} shows nothing: the item is sold out.", "Pin another one until then.")
    return None


def _unknown_fields(settings: Settings) -> list[Finding]:
    found = []
    for kind in (EVENTS, ITEMS, USERS):
        fields = [f.name for f in (*FIELDS[kind], *AIDS)]
        for name in getattr(settings.ingest, f"map_{kind}"):
            if name not in fields:
                near = difflib.get_close_matches(name, fields, n=1)
                hint = f"Did you mean {near[0]}?" if near else f"Fields: {', '.join(f.name for f in FIELDS[kind])}."
                sentence = (
                    f"'{name}' in [ingest.map_{kind}] is not a field of {kind}: files with that column are refused."
                )
                found.append(Finding("mapping", HINT, sentence, hint))
    return found
