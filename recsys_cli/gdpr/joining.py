"""Orders of the servers that wait and name a person who is being erased: they are carried out with that erasure.

Two orders about one person would otherwise each find the other's file, and neither could ever be finished.
"""

from __future__ import annotations

from dataclasses import replace

from ..artifacts import Artifacts
from ..artifacts.orders import ERASE, ERASE_SHOP, Asked, drop, waiting
from ..errors import UsageError
from ..settings import Settings
from . import journal, requests
from .journal import Journal
from .people import Person


def take_waiting(
    settings: Settings, artifacts: Artifacts, secret: str, plan: Journal, own: Asked | None = None
) -> Journal:
    """Join waiting orders about the same people to this erasure, and delete them once its journal is on disk.

    Parameters
    ----------
    own
        The order that this erasure carries out; it is in the log already.

    Returns
    -------
    Journal
        With the names that the orders add: an order by number and e-mail joins one by the e-mail alone.
    """
    keys = {key for one in plan.asked for key in Person.of(one, secret).keys}
    joined: list[Asked] = []
    left = [order for order in waiting(artifacts.root) if order.kind != ERASE_SHOP]
    while found := [order for order in left if keys & _keys(order, secret)]:
        joined += found
        left = [order for order in left if order not in found]
        keys |= {key for order in found if order.kind == ERASE for key in _keys(order, secret)}
    names = [one for order in joined if order.kind == ERASE for one in order.people if one.strip()]
    plan = replace(plan, asked=tuple(dict.fromkeys((*plan.asked, *names))))
    if joined:
        journal.keep(settings.db, plan)
    for order in joined:
        if own is None or order.id != own.id:
            _log(settings, order, plan)
        drop(artifacts.root, order)
    return plan


def _keys(order: Asked, secret: str) -> set[tuple[int, int]]:
    found: set[tuple[int, int]] = set()
    for one in order.people:
        try:
            found |= set(Person.of(one, secret).keys)
        except UsageError:
            continue  # names nobody
    return found


def _log(settings: Settings, order: Asked, plan: Journal) -> None:
    kind, outcome = ("erasure", f"with {plan.request}") if order.kind == ERASE else ("export", "erased meanwhile")
    request = requests.open_request(settings.db, kind, len(order.people), received_at=order.received_at)
    requests.close_request(settings.db, request, outcome)
