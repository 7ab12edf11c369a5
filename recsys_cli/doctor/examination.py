"""What the doctor looks at, counted before anything is found; nothing is changed here, and nobody is waited for."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from ..artifacts import Artifacts, Spool, Version, choices, consumer_state, orders, worker_state
from ..artifacts.shop_id import refuse_missing_half, refuse_other_shop
from ..errors import NoModel, RecsysError, StoreBusy, StoreMissing
from ..settings import Settings
from ..store import Store
from ..store.figures import Figures, TargetFigures, figures, target_figures
from ..store.reading import spool_position
from ..tuning import load_choice
from . import settings_checks


@dataclass(frozen=True)
class Patient:
    """Everything the findings are made from; None where there is none.

    Parameters
    ----------
    trouble
        Why the database or the artifacts could not be looked at.
    busy
        Who has the database, when somebody is writing it; its figures are then missing.
    spool_bytes
        Received by the server and not yet in the database.
    before_collapse
        The newest version that knows more than twice the events of the served one, if there is one.
    targets
        What the database has of what campaigns are about.
    """

    settings: Settings
    now: float
    figures: Figures | None
    version: Version | None
    trouble: tuple[RecsysError, ...]
    busy: str
    spool_bytes: int
    worker: worker_state.Health
    before_collapse: Version | None
    targets: Mapping[settings_checks.Target, TargetFigures]
    consumer: consumer_state.Consumption = consumer_state.Consumption()


def examine(settings: Settings) -> Patient:
    """Look at the database, the artifacts and the machine."""
    trouble: list[RecsysError] = []
    artifacts = Artifacts(settings.artifacts)
    now = time.time()
    counted, position, busy = None, {}, ""
    targets: dict[settings_checks.Target, TargetFigures] = {}
    try:
        with Store(settings.db, settings.store).impatient().reading() as con:
            counted, position = figures(con, int(now)), spool_position(con)
            targets = {target: target_figures(con, *target) for target in settings_checks.targets(settings)}
    except StoreMissing:
        pass
    except StoreBusy as e:
        busy = e.message
    except RecsysError as e:
        trouble.append(e)
    version = None
    try:
        version = artifacts.current(damaged=trouble.append)
        position = position or dict(version.manifest["spool"])  # while the database cannot be asked
    except NoModel:
        pass
    except RecsysError as e:
        trouble.append(e)
    worker = worker_state.Health()
    try:
        worker = worker_state.read(settings.artifacts)
    except RecsysError as e:
        trouble.append(e)
    trouble += _state_trouble(settings)
    collapsed = artifacts.before_collapse(version) if version else None
    waiting_bytes = Spool(artifacts.spool_dir).backlog(position)
    consumer = consumer_state.file(settings.artifacts).read_or_empty()
    return Patient(
        settings, now, counted, version, tuple(trouble), busy, waiting_bytes, worker, collapsed, targets, consumer
    )


def _state_trouble(settings: Settings) -> list[RecsysError]:
    """What is wrong with small files, and with the pair of database and versions."""
    root = settings.artifacts
    looks: tuple[Callable[[], object], ...] = (
        lambda: choices.read(root),
        lambda: load_choice(root),
        lambda: refuse_other_shop(settings.db, root),
        lambda: refuse_missing_half(settings.db, root),
    )
    found: list[RecsysError] = list(orders.damaged(root))
    for look in looks:
        try:
            look()
        except RecsysError as e:
            found.append(e)
    return found
