"""Findings about what the shop lets us connect to: its broker and its product service."""

from __future__ import annotations

import asyncio
import ipaddress
import stat
from importlib.util import find_spec
from pathlib import Path

from ..api.product_service import ProductService
from ..connections import DetailsSettings
from ..errors import MissingDependency, RecsysError
from .examination import Patient
from .findings import BROKEN, HINT, WARNING, Finding

_SILENT, _DONE = 300.0, 3600.0  # seconds without a word of a consumer that is running, and between two of cron


def queue(p: Patient) -> list[Finding]:
    """The broker of recsys consume: settings, library, and how the consumer is."""
    settings, found = p.settings.queue, []
    if not settings.url:
        return []
    try:
        place = settings.place()
        settings.queues()
        settings.credentials()
    except RecsysError as e:
        return [Finding("queue", BROKEN, e.message, e.hint)]
    if find_spec("pika") is None:
        missing = MissingDependency("pika", "queue", "recsys consume")
        found.append(Finding("queue", BROKEN, missing.message, missing.hint))
    if place.scheme == "amqp" and not _on_this_machine(place.hostname or ""):
        sentence = f"{settings.shown()} has no TLS: password and events cross the network readable."
        found.append(Finding("queue_no_tls", WARNING, sentence, "Use amqps:// in queue.url."))
    if settings.password_file is not None:
        found += _readable_by_others(settings.password_file)
    state = p.consumer
    if state.error and not state.stopped:
        found.append(Finding("consumer", BROKEN, f"recsys consume does not get on: {state.error}"))
    elif p.now - state.at > (_DONE if state.stopped else _SILENT):
        sentence = "queue.url names a broker, and recsys consume is not running."
        found.append(Finding("consumer", WARNING, sentence, "Run it as a service, or by cron: recsys consume --once"))
    if state.dead:
        count = f"{state.dead:,} message{'s were' if state.dead != 1 else ' was'}"
        sentence = f"{count} moved to {settings.dead_letters} by the consumer, each with its reason in its headers."
        found.append(Finding("dead_letters", HINT, sentence, "Look at them in RabbitMQ; they are kept for 30 days."))
    return found


def details(p: Patient) -> list[Finding]:
    """The product service of details.url: settings, library, and whether it answers."""
    settings, found = p.settings.details, []
    if not settings.url:
        return []
    try:
        place = settings.place()
        settings.token()
        settings.trust()
    except RecsysError as e:
        return [Finding("details", BROKEN, e.message, e.hint)]
    if place.scheme == "http" and not _on_this_machine(place.hostname or ""):
        sentence = f"details.url names {place.hostname} without TLS: prices can be changed on the way."
        found.append(Finding("details_no_tls", WARNING, sentence, "Use https:// in details.url."))
    if settings.token_file is not None:
        found += _readable_by_others(settings.token_file)
    try:
        asyncio.run(_ask(settings))
    except MissingDependency as e:
        found.append(Finding("details", BROKEN, e.message, e.hint))
    except RecsysError as e:
        hint = "Lists show what the catalogue has until it answers."
        found.append(Finding("details", WARNING, e.message, hint))
    return found


def assistant(p: Patient) -> list[Finding]:
    """The key of recsys mcp, where there is one."""
    path = p.settings.mcp.key_file
    if path is None:
        return []
    try:
        p.settings.mcp.key()
    except RecsysError as e:
        return [Finding("mcp", WARNING, e.message, f"{e.hint} See mcp.key_file.".strip())]
    return _readable_by_others(path)


async def _ask(settings: DetailsSettings) -> None:
    service = ProductService(settings)
    try:
        await service.ask(["recsys-doctor"])
    finally:
        await service.close()


def _on_this_machine(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _readable_by_others(path: Path) -> list[Finding]:
    mode = stat.S_IMODE(path.stat().st_mode)
    if not mode & 0o077:
        return []
    sentence = f"{path} holds a secret and can be read by others on this machine (mode {mode:o})."
    return [Finding("open_files", WARNING, sentence, f"Run: chmod 600 {path}")]
