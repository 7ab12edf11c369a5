"""Requests about people that servers received and the worker carries out: one private file each, gone when answered."""

from __future__ import annotations

import json
import secrets
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path

from ..durable_files import private_dir, write_atomic

FOLDER = "requests"

EXPORT, ERASE, ERASE_SHOP = "export", "erase", "erase_shop"


@dataclass(frozen=True)
class Asked:
    """One request.

    Parameters
    ----------
    kind
        export, erase or erase_shop.
    people
        Customer ids and e-mails of one person.
    source
        Who passed it on: shopify, wordpress.
    received_at
        Epoch seconds.
    id
        Random.
    """

    kind: str
    people: list[str]
    source: str
    received_at: int = field(default_factory=lambda: int(time.time()))
    id: str = field(default_factory=lambda: secrets.token_hex(8))


def put(root: Path, kind: str, people: Sequence[str], source: str) -> Asked:
    """Note a request, on disk."""
    asked = Asked(kind, list(people), source)
    write_atomic(private_dir(root / FOLDER) / f"{asked.id}.json", json.dumps(asdict(asked)).encode())
    return asked


def waiting(root: Path) -> list[Asked]:
    """Requests that were not answered yet, oldest first."""
    folder = root / FOLDER
    if not folder.is_dir():
        return []
    held = []
    for path in folder.glob("*.json"):
        with suppress(FileNotFoundError):  # answered since it was listed
            held.append(Asked(**json.loads(path.read_bytes())))
    return sorted(held, key=lambda a: (a.received_at, a.id))


def drop(root: Path, asked: Asked) -> None:
    """Forget an answered request."""
    (root / FOLDER / f"{asked.id}.json").unlink(missing_ok=True)
    for draft in (root / FOLDER).glob(".*.tmp"):
        with suppress(FileNotFoundError):  # a server's, which has it in place by now
            if time.time() - draft.stat().st_mtime > 60:  # a killed server's
                draft.unlink()
