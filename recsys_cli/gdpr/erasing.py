"""Erase people: rows, spool lines, every version, the bytes of the files, and then prove it by looking.

The order makes every interruption safe. The journal is written first and goes last, every step can be taken again, and
what servers and trainings still hold is dropped by the epoch of the spool, the new `current` and the suppression list.
"""

from __future__ import annotations

import fcntl
import os
import secrets
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..artifacts import Artifacts, Spool
from ..artifacts.bundle import read_bundle
from ..errors import CorruptArtifact, ErasureIncomplete
from ..identity import UserKeys, find_key, load_secret
from ..progress import SILENT, Progress
from ..settings import Settings
from ..store import Store
from ..store.merge import transaction
from ..store.people import count_rows, delete_rows, known_names, sessions_of
from ..store.rewriting import rewrite
from . import journal, suppression
from .forgetting import forget
from .journal import Journal
from .matching import Matcher
from .needles import Needle, needles_for
from .people import Person
from .scanning import Scan, scan, state_roots
from .spooled import blank_lines, find_lines

_DRAFT_SECONDS = 120.0


@dataclass(frozen=True)
class Erasure:
    """What an erasure did.

    Parameters
    ----------
    request
        Random id of the request.
    unknown
        Those of the asked-for of whom nothing was held.
    erased
        How many people were erased.
    removed
        Counts by kind.
    scanned
        The proof: files and bytes looked through.
    resumed
        Whether this was an interrupted erasure that is finished now.
    """

    request: str
    unknown: tuple[str, ...]
    erased: int
    removed: dict[str, int]
    scanned: Scan
    seconds: float
    resumed: bool


def erase(
    store: Store, artifacts: Artifacts, settings: Settings, asked: Sequence[str], progress: Progress = SILENT
) -> Erasure:
    """Erase these people; whoever is not known is reported, and looked for all the same.

    Raises
    ------
    ErasureIncomplete
        Something is left. The journal stays, and the next run goes on.
    StoreMissing, StoreBusy, StoreError, ArtifactError
    """
    plan = Journal(secrets.token_hex(8), tuple(dict.fromkeys(asked)), int(time.time()))
    with journal.alone(settings.db, settings.store.lock_timeout):
        finished = _finish(store, artifacts, settings, progress)
        if finished is not None and set(plan.asked) <= set(finished[0].asked):
            return finished[1]
        return _Work(store, artifacts, settings, progress).run(plan)


def resume(store: Store, artifacts: Artifacts, settings: Settings, progress: Progress = SILENT) -> Erasure | None:
    """Finish an erasure that was interrupted; None when there was none."""
    if journal.pending(settings.db) is None:
        return None
    with journal.alone(settings.db, settings.store.lock_timeout):
        finished = _finish(store, artifacts, settings, progress)
    return finished[1] if finished else None


def _finish(
    store: Store, artifacts: Artifacts, settings: Settings, progress: Progress
) -> tuple[Journal, Erasure] | None:
    unfinished = journal.pending(settings.db)
    if unfinished is None:
        return None
    progress.note("Finishing an erasure that was interrupted.")
    return unfinished, _Work(store, artifacts, settings, progress).run(unfinished)


class _Work:
    """One erasure: who, and the steps."""

    def __init__(self, store: Store, artifacts: Artifacts, settings: Settings, progress: Progress) -> None:
        self.store, self.artifacts, self.settings, self.progress = store, artifacts, settings, progress
        self.spool = Spool(artifacts.spool_dir)
        self.secret = load_secret(settings.db, create=not artifacts.names())

    def run(self, plan: Journal) -> Erasure:
        started = time.monotonic()
        people = [Person.of(one, self.secret) for one in plan.asked]
        with self.progress.stage("Looking for everything held"):
            known = self._known(people)
        begun = journal.pending(self.settings.db) is not None
        if begun:  # what the killed run removed is not there to be known any more
            known = [True] * len(people)
        if any(known):
            plan = self._erase(plan, people)
        scanned = self._look(people)
        if scanned.findings and not any(known):
            plan = self._erase(plan, people)  # of nobody's rows, but in the bytes of a file
            scanned = self._look(people)
        self._prove(scanned, people)
        journal.drop(self.settings.db)
        unknown = tuple(one for one, is_known in zip(plan.asked, known, strict=True) if not is_known)
        seconds = round(time.monotonic() - started, 3)
        return Erasure(plan.request, unknown, sum(known), plan.removed, scanned, seconds, begun)

    def _known(self, people: Sequence[Person]) -> list[bool]:
        ids, names = _ids(people), _names(people)
        with self.store.reading() as con:
            found = known_names(con, ids, names)
        lines, _ = find_lines(self.spool, names)
        found |= {str(line.get("user_id")) for line in lines}
        in_versions = self._keys_in_versions(_keys(people))
        return [bool(found & set(p.names)) or bool(in_versions & set(p.keys)) for p in people]

    def _keys_in_versions(self, keys: UserKeys) -> set[tuple[int, int]]:
        found: set[tuple[int, int]] = set()
        for name in self.artifacts.names():
            try:
                held = read_bundle(self.artifacts.versions_dir / name).keys
            except CorruptArtifact:
                continue  # `forget` removes it
            found |= {(int(a), int(b)) for a, b in keys if find_key(held, (int(a), int(b))) >= 0}
        return found

    def _erase(self, plan: Journal, people: Sequence[Person]) -> Journal:
        journal.keep(self.settings.db, plan)
        plan = self._remove_rows(plan, people)
        with self.progress.stage("Writing the database anew"):
            rewrite(self.store)
        with self.progress.stage("Rewriting the versions"):
            rows = plan.removed.get("events", 0)
            counts = forget(self.artifacts, _keys(people), store_events=rows, progress=self.progress)
        # Once more: a server may have received lines since, and must drop what it remembers.
        counts["spool_lines"] = plan.removed.get("spool_lines", 0) + blank_lines(self.spool, _names(people))
        self.spool.new_epoch()
        plan = plan.with_removed(counts)
        journal.keep(self.settings.db, plan)
        return plan

    def _remove_rows(self, plan: Journal, people: Sequence[Person]) -> Journal:
        ids, names = _ids(people), _names(people)
        with self.progress.stage("Deleting rows and received events"), self.store.writing() as con:
            counts = count_rows(con, ids, names)
            counts["spool_lines"] = blank_lines(self.spool, names, sessions_of(con, ids))
            plan = plan.with_removed(counts)
            journal.keep(self.settings.db, plan)
            rules = self.settings.gdpr
            keys = [key for p in people for key in p.keys]
            suppression.add(
                self.settings.db, self.secret, keys, days=rules.suppress_days, keeps_out=rules.suppress
            )
            with transaction(con):
                delete_rows(con, ids, names)
        return plan

    def _look(self, people: Sequence[Person]) -> Scan:
        needles = needles_for([p.names for p in people], [p.keys for p in people])
        with self.progress.stage("Searching every file"):
            scanned = self._scan(needles)
            if self._raw_names(people):
                # By chance two neighbours in a dictionary spell the id. Packed differently they do not, and whoever
                # checks with a plain search of bytes is not misled.
                rewrite(self.store, compression="zstd")
                scanned = self._scan(needles)
        return scanned

    def _scan(self, needles: Sequence[Needle]) -> Scan:
        roots = state_roots(self.settings.db, self.settings.artifacts)
        skip = [journal.state_dir(self.settings.db) / journal.FILE]
        with self.store.lock(shared=True):
            scanned = scan(roots, needles, skip=skip)
        deadline = time.monotonic() + _DRAFT_SECONDS
        while (drafts := [f for f in scanned.findings if _being_written(Path(f.path))]) and time.monotonic() < deadline:
            # A training that had read the person before is about to publish; it takes them out first.
            time.sleep(0.2)
            again = scan(sorted({Path(f.path) for f in drafts}), needles)
            scanned.findings = [f for f in scanned.findings if f not in drafts] + again.findings
        return scanned

    def _raw_names(self, people: Sequence[Person]) -> bool:
        """Whether a name stands anywhere in the bytes of the database, be it as part of another word."""
        names = [Needle(name.encode(), "plain", who) for who, p in enumerate(people) for name in p.names]
        return next(Matcher(names).find(self.settings.db.read_bytes()), None) is not None

    def _prove(self, scanned: Scan, people: Sequence[Person]) -> None:
        if scanned.clean:
            return
        if not scanned.findings:
            raise ErasureIncomplete(
                f"{scanned.unread[0]} is packed and cannot be opened, so it cannot be shown to be free of them.",
                "Remove that file and run recsys gdpr delete again; until then the erasure is unfinished.",
            )
        places = "; ".join(dict.fromkeys(str(f) for f in scanned.findings[:5]))
        raise ErasureIncomplete(
            f"Traces are left in {len(scanned.findings)} places: {places}.",
            "Remove them, or the files, and run recsys gdpr delete again; until then the erasure is unfinished.",
        )


def _being_written(path: Path) -> bool:
    """Whether a file was in the draft of a process that lives, which takes the erased out before it publishes."""
    draft = next((p for p in path.parents if p.name.startswith(".draft-")), None)
    if draft is None:
        return False
    try:
        handle = os.open(draft, os.O_RDONLY | os.O_DIRECTORY)
    except FileNotFoundError:
        return True  # published or gone since: look again
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return False
    except BlockingIOError:
        return True
    finally:
        os.close(handle)


def _ids(people: Sequence[Person]) -> list[str]:
    return [i for p in people for i in p.ids]


def _names(people: Sequence[Person]) -> list[str]:
    return [n for p in people for n in p.names]


def _keys(people: Sequence[Person]) -> UserKeys:
    return np.array([key for p in people for key in p.keys], dtype=np.uint64).reshape(-1, 2)
