"""Erase people: rows, spool lines, every version, the bytes of the files, and then prove it by looking.

The order makes every interruption safe. The journal is written first and goes last, every step can be taken again, and
what servers and trainings still hold is dropped by the epoch of the spool, the new `current` and the suppression list.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..artifacts import Artifacts, Spool
from ..artifacts.bundle import read_bundle
from ..errors import CorruptArtifact, StoreMissing
from ..identity import UserKeys, find_key, load_secret, user_key
from ..progress import SILENT, Progress
from ..schema import guest_id
from ..settings import Settings
from ..store import Store
from ..store.merge import transaction
from ..store.people import count_rows, delete_rows, known_names, sessions_of
from ..store.rewriting import rewrite
from . import exports, journal, receipts, requests, suppression
from .deciding import erased, tell
from .forgetting import forget
from .journal import Journal
from .people import Person
from .proving import demand, needles_of, search, spelled_in
from .scanning import Scan, scan
from .spooled import blank_lines, find_lines

AGAIN = "run recsys gdpr delete again; until then the erasure is unfinished"


@dataclass(frozen=True)
class Erasure:
    """What an erasure did.

    Parameters
    ----------
    request
        Random id of the request, in the log and on the receipt.
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
    receipt
        The receipt's JSON file; a text beside it says the same.
    originals
        Files of the watched folder that still name them: the shop's own exports, which are not ours to change.
    """

    request: str
    unknown: tuple[str, ...]
    erased: int
    removed: dict[str, int]
    scanned: Scan
    seconds: float
    resumed: bool
    receipt: Path
    originals: tuple[str, ...] = ()


def erase(
    store: Store,
    artifacts: Artifacts,
    settings: Settings,
    asked: Sequence[str],
    progress: Progress = SILENT,
    *,
    begun: Callable[[], None] = lambda: None,
) -> Erasure:
    """Erase these people; whoever is not known is reported, and looked for all the same.

    Parameters
    ----------
    asked
        Customer ids and e-mails.
    begun
        Called once the journal remembers the request: whatever else names the people may go.

    Raises
    ------
    ErasureIncomplete
        Something is left. The journal stays, and the next run goes on.
    StoreMissing, StoreBusy, StoreError, ArtifactError
    """
    if not store.exists() and not artifacts.names():
        raise StoreMissing(f"There is no database {store.path} yet.", "Name it with --db; nobody was erased.")
    with journal.alone(settings.db, settings.store.lock_timeout):
        asked = tuple(dict.fromkeys(asked))
        finished = _finish(store, artifacts, settings, progress)
        if finished is not None and set(asked) <= set(finished[0].asked):
            return finished[1]
        request = requests.open_request(settings.db, "erasure", len(asked))
        plan = Journal(request, asked, int(time.time()))
        journal.keep(settings.db, plan)
        begun()
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
        started, begun = time.monotonic(), plan.begun
        people = [Person.of(one, self.secret) for one in plan.asked]
        if not begun:
            with self.progress.stage("Looking for everything held"):
                plan = plan.with_unknown(self._unknown(people))
        if begun or len(plan.unknown) < len(people):
            plan = self._erase(plan, people)
        scanned = self._look(plan, people)
        if scanned.findings and not plan.begun:
            plan = self._erase(plan, people)  # nobody's rows, but in the bytes of a file
            scanned = self._look(plan, people)
        demand(scanned, AGAIN)
        originals = self._originals(plan, people) if plan.begun else []
        receipt = receipts.write(self.settings, self.artifacts, plan, scanned, len(originals))
        requests.close_request(self.settings.db, plan.request, "done")
        journal.drop(self.settings.db)
        unknown = tuple(plan.asked[i] for i in plan.unknown)
        seconds = round(time.monotonic() - started, 3)
        erased = len(people) - len(unknown)
        return Erasure(plan.request, unknown, erased, plan.removed, scanned, seconds, begun, receipt, tuple(originals))

    def _unknown(self, people: Sequence[Person]) -> list[int]:
        """Which of them nothing is held of, in rows, received lines or versions."""
        ids, names = _ids(people), _names(people)
        found: set[str] = set()
        if self.store.exists():
            with self.store.reading() as con:
                found = known_names(con, ids, names)
        lines, _ = find_lines(self.spool, names)
        found |= {str(line.get("user_id")) for line in lines}
        in_versions = self._keys_in_versions([key for p in people for key in p.keys])
        return [i for i, p in enumerate(people) if not (found & set(p.names) or in_versions & set(p.keys))]

    def _keys_in_versions(self, keys: Sequence[tuple[int, int]]) -> set[tuple[int, int]]:
        found: set[tuple[int, int]] = set()
        for name in self.artifacts.names():
            try:
                held = read_bundle(self.artifacts.versions_dir / name).keys
            except CorruptArtifact:
                continue  # `forget` removes it
            found |= {key for key in keys if find_key(held, key) >= 0}
        return found

    def _erase(self, plan: Journal, people: Sequence[Person]) -> Journal:
        plan = plan.with_begun()
        journal.keep(self.settings.db, plan)
        # First of all: from now on no server personalises for them, and what is under way from them is refused.
        keys = [key for p in people for key in p.keys]
        tell(self.artifacts, self.secret, keys, erased(self.settings.gdpr))
        hashes = [suppression.hash_of(self.secret, key) for key in keys]
        plan = plan.with_removed({"exports": exports.delete_about(self.settings.db, hashes)})
        if self.store.exists():
            plan = self._remove_rows(plan, people)
            with self.progress.stage("Writing the database anew"):
                rewrite(self.store)
        with self.progress.stage("Rewriting the versions"):
            rows = plan.removed.get("events", 0)
            keys = self._keys(plan, people)
            counts = forget(self.artifacts, _array(keys), store_events=rows, progress=self.progress)
        # Once more: a server may have received lines since, and must drop what it remembers.
        blanked = blank_lines(self.spool, _names(people), plan.sessions)
        counts["spool_lines"] = plan.removed.get("spool_lines", 0) + blanked
        for draft in self.spool.path.glob(".epoch.*.tmp"):  # of a killed run; only erasures write epochs
            draft.unlink(missing_ok=True)
        self.spool.new_epoch()
        plan = plan.with_removed(counts)
        journal.keep(self.settings.db, plan)
        return plan

    def _remove_rows(self, plan: Journal, people: Sequence[Person]) -> Journal:
        ids, names = _ids(people), _names(people)
        with self.progress.stage("Deleting rows and received events"), self.store.writing() as con:
            _, sessions = find_lines(self.spool, names, sessions_of(con, ids))
            plan = plan.with_sessions(sessions)
            plan = plan.with_removed(count_rows(con, ids, names, plan.sessions))
            journal.keep(self.settings.db, plan)
            plan = plan.with_removed({"spool_lines": blank_lines(self.spool, names, plan.sessions)})
            rules, keys = self.settings.gdpr, self._keys(plan, people)
            suppression.add(self.settings.db, self.secret, keys, days=rules.suppress_days, keeps_out=rules.suppress)
            with transaction(con):
                delete_rows(con, ids, names, plan.sessions)
        return plan

    def _look(self, plan: Journal, people: Sequence[Person]) -> Scan:
        needles = needles_of(people, plan.sessions, self._guests(plan))
        with self.progress.stage("Searching every file"):
            scanned = search(self.store, self.settings, needles)
            if plan.begun and spelled_in(self.settings.db, people):
                # By chance two neighbours in a dictionary spell the id. Packed differently they do not, and whoever
                # checks with a plain search of bytes is not misled.
                rewrite(self.store, compression="zstd")
                scanned = search(self.store, self.settings, needles)
        return scanned

    def _originals(self, plan: Journal, people: Sequence[Person]) -> list[str]:
        if not self.settings.ingest.folder:
            return []
        with self.progress.stage("Searching the watched folder"):
            found = scan([Path(self.settings.ingest.folder)], needles_of(people, plan.sessions))
        return sorted({f.path for f in found.findings})

    def _keys(self, plan: Journal, people: Sequence[Person]) -> list[tuple[int, int]]:
        return [key for p in people for key in p.keys] + self._guests(plan)

    def _guests(self, plan: Journal) -> list[tuple[int, int]]:
        return [user_key(self.secret, guest_id(s)) for s in plan.sessions]


def _ids(people: Sequence[Person]) -> list[str]:
    return [i for p in people for i in p.ids]


def _names(people: Sequence[Person]) -> list[str]:
    return [n for p in people for n in p.names]


def _array(keys: Sequence[tuple[int, int]]) -> UserKeys:
    return np.array(keys, dtype=np.uint64).reshape(-1, 2)
