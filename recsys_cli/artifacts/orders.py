"""Requests about people that servers received and the worker carries out: one private file each, gone when answered."""

from __future__ import annotations

import secrets
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from ..errors import DamagedState
from ..state_file import StateFile

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
    _file(root / FOLDER / f"{asked.id}.json").write(asked)
    return asked


def waiting(root: Path) -> list[Asked]:
    """Requests that were not answered yet, oldest first; without those that are `damaged`."""
    return _look(root)[0]


def damaged(root: Path) -> list[DamagedState]:
    """What is wrong with requests that cannot be read; they keep no other request from being answered."""
    return _look(root)[1]


def _look(root: Path) -> tuple[list[Asked], list[DamagedState]]:
    held, wrong = [], []
    for path in sorted((root / FOLDER).glob("*.json")):
        try:
            asked = _file(path).read()
        except DamagedState as e:
            wrong.append(e)
        else:
            held += [asked] if asked is not None else []  # else it was answered since it was listed
    return sorted(held, key=lambda a: (a.received_at, a.id)), wrong


def _file(path: Path) -> StateFile[Asked | None]:
    lost = "It is a customer's request: the shop's platform knows whose, and can send it again."
    return StateFile(path, Asked, lambda: None, lost)


def drop(root: Path, asked: Asked) -> None:
    """Forget an answered request."""
    (root / FOLDER / f"{asked.id}.json").unlink(missing_ok=True)
    for draft in (root / FOLDER).glob(".*.tmp"):
        with suppress(FileNotFoundError):  # a server's, which has it in place by now
            if time.time() - draft.stat().st_mtime > 60:  # a killed server's
                draft.unlink()
