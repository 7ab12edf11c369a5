"""Erase people: rows, spool lines, every version, the bytes of the files, and then prove it by looking.

The order makes every interruption safe. The journal is written first and goes last, every step can be taken again, and
what servers and trainings still hold is dropped by the epoch of the spool, the new `current` and the suppression list.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

import duckdb
import numpy as np

from ..artifacts import Artifacts, Spool, orders
from ..artifacts.orders import Asked
from ..durable_files import sha256_of
from ..errors import ErasureIncomplete, RecsysError, StoreMissing
from ..identity import UserKeys, load_secret, user_key
from ..progress import SILENT, Progress
from ..schema import guest_id
from ..settings import Settings
from ..store import Store
from ..store.merge import follow_content, transaction
from ..store.personal_data import count_rows, delete_rows, guests_named, in_other_case, known_names, sessions_of
from ..store.rewrite import rewrite
from . import exports, journal, receipts, requests, suppression
from .cutting import Uncuttable
from .deciding import end_choices, erased, tell
from .forgetting import forget
from .holding import customers_named, keys_in_versions
from .joining import take_waiting
from .journal import Journal
from .needles import is_telling
from .originals import Original, Originals, columns_of
from .people import Person, held_in_any_case, ids_of, names_of
from .proving import demand, needles_of, search, spelled_in
from .scanning import Scan
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
        Files of the watched folder that still name them, the shop's own exports, and why.
    emptied
        Files of the watched folder that were removed, because nothing would have been left in them.
    meant
        For some of `unknown`: customers whose ids differ only in case.
    spelled
        Ids that were erased because they are an asked-for e-mail in another case.
    lists
        The last lists for every customer (`recsys recommend --all`) that are still there: they are not searched.
    """

    request: str
    unknown: tuple[str, ...]
    erased: int
    removed: dict[str, int]
    scanned: Scan
    seconds: float
    resumed: bool
    receipt: Path
    originals: tuple[Original, ...] = ()
    meant: dict[str, list[str]] = field(default_factory=dict)
    emptied: tuple[Path, ...] = ()
    spelled: tuple[str, ...] = ()
    lists: tuple[Path, ...] = ()


@dataclass(frozen=True)
class Resumed:
    """What became of the erasures that were unfinished: those that are finished now, and why the others are not."""

    finished: tuple[Erasure, ...] = ()
    failed: tuple[ErasureIncomplete, ...] = ()


def erase(
    store: Store,
    artifacts: Artifacts,
    settings: Settings,
    asked: Sequence[str],
    progress: Progress = SILENT,
    *,
    order: Asked | None = None,
    sessions: Sequence[str] = (),
    clock: Callable[[], float] = time.time,
) -> Erasure:
    """Erase these people; whoever is not known is reported, and looked for all the same.

    Orders that wait in the inbox and name one of them are carried out with this one. Erasures of other people that were
    left unfinished are tried again afterwards, when it is time to, and what they fail of is only noted.

    Parameters
    ----------
    asked
        Customer ids, e-mails, and sessions of guests.
    order
        The order in the inbox that asks for this.
    sessions
        Sessions whose guests are erased as well, though a customer may be called the same.
    clock
        Gives the epoch seconds by which failed erasures are tried again; see `journal.PAUSES`.

    Raises
    ------
    ErasureIncomplete
        Something is left. The journal stays, and the next run goes on.
    UsageError
        Somebody has no name; nobody was erased.
    StoreMissing, StoreBusy, StoreError, ArtifactError
    """
    if not store.exists() and not artifacts.names():
        raise StoreMissing(f"There is no database {store.path} yet.", "Name it with --db; nobody was erased.")
    with journal.alone(settings.db, settings.store.lock_timeout):
        work, asked = _Work(store, artifacts, settings, progress, clock), tuple(dict.fromkeys(asked))
        others = journal.unfinished(settings.db)
        for plan in others:
            if set(asked) <= set(plan.asked) and set(sessions) <= set(plan.sessions):
                return work.run(plan, order)
        done = work.run(work.begin(asked, order, sessions), order)
        try:
            for e in work.finish([plan for plan in others if plan.next_at <= clock()]).failed:
                progress.note(str(e))
        except RecsysError as e:
            progress.note(f"Another erasure is still unfinished: {e}")  # this one is done all the same
    return done


def resume(
    store: Store,
    artifacts: Artifacts,
    settings: Settings,
    progress: Progress = SILENT,
    *,
    patient: bool = False,
    clock: Callable[[], float] = time.time,
) -> Resumed:
    """Finish erasures that were interrupted or have failed, each by itself.

    Parameters
    ----------
    patient
        Leave those alone that have failed and whose pause is not over; see `journal.PAUSES`.
    clock
        Gives epoch seconds.
    """

    def due() -> list[Journal]:
        return [plan for plan in journal.unfinished(settings.db) if not patient or plan.next_at <= clock()]

    if not due():
        return Resumed()
    with journal.alone(settings.db, settings.store.lock_timeout):
        return _Work(store, artifacts, settings, progress, clock).finish(due())


def together(failed: Sequence[ErasureIncomplete]) -> ErasureIncomplete:
    """Several failures as one that tells them all."""
    if len(failed) == 1:
        return failed[0]
    text = " ".join(dict.fromkeys(e.message for e in failed))
    return ErasureIncomplete(f"{len(failed)} erasures are unfinished. {text}", f"Remove those traces, and {AGAIN}.")


class _Work:
    """One erasure: who, and the steps."""

    def __init__(
        self, store: Store, artifacts: Artifacts, settings: Settings, progress: Progress, clock: Callable[[], float]
    ) -> None:
        self.store, self.artifacts, self.settings, self.progress = store, artifacts, settings, progress
        self.clock = clock
        self.spool = Spool(artifacts.spool_dir)
        self.secret = load_secret(settings.db, create=not artifacts.names())

    def begin(self, asked: Sequence[str], order: Asked | None, sessions: Sequence[str]) -> Journal:
        """The journal of a new erasure, on disk."""
        for one in asked:
            Person.of(one, self.secret)  # a journal that names nobody could never be finished
        received = order.received_at if order else None
        request = requests.open_request(self.settings.db, "erasure", len(asked) + len(sessions), received_at=received)
        plan = Journal(request, tuple(asked), int(time.time()), sessions=tuple(sessions))
        journal.keep(self.settings.db, plan)
        return plan

    def finish(self, plans: Sequence[Journal]) -> Resumed:
        """Go on with these, whatever becomes of the ones before."""
        finished, failed = [], []
        for plan in plans:
            self.progress.note("Finishing an erasure that was interrupted.")
            try:
                finished.append(self.run(plan))
            except ErasureIncomplete as e:
                failed.append(e)
        return Resumed(tuple(finished), tuple(failed))

    def run(self, plan: Journal, order: Asked | None = None) -> Erasure:
        started, begun = time.monotonic(), plan.begun
        plan = take_waiting(self.settings, self.artifacts, self.secret, plan, order)
        with self.progress.stage("Looking for everything held"):
            plan, people = self._people(plan)
            plan = self._survey(plan, people)
        plan, lists = self._leave_out_quotes(plan, people), exports.lists_left(self.settings.db)
        exports.forget_lists(self.settings.db, names_of(people))
        if begun or plan.sessions or len(plan.unknown) < len(people) or self._has_rows_of(plan, people):
            plan = self._erase(plan, people)
        end_choices(self.store, self.artifacts, self.settings, self.secret, people)
        scanned = self._look(plan, people)
        if scanned.findings and not plan.begun:
            plan = self._erase(plan, people)  # nobody's rows, but in the bytes of a file
            scanned = self._look(plan, people)
        try:
            demand(scanned, AGAIN)
        except ErasureIncomplete:
            journal.keep(self.settings.db, plan.with_failure(self.clock()))
            raise
        return replace(self._close(plan, people, scanned, begun, started), lists=tuple(lists))

    def _close(self, plan: Journal, people: Sequence[Person], scanned: Scan, resumed: bool, started: float) -> Erasure:
        """Write the receipt, and only then forget whom it was about."""
        looked = self._originals(plan, people)
        originals = self._still_named(looked, scanned)
        emptied = [Path(path) for path, (_, after, _, _) in plan.originals.items() if not after]
        left = [(looked.shown(original.path), original.why) for original in originals]
        gone = [looked.shown(path) for path in emptied]
        receipt = receipts.write(self.settings, self.artifacts, plan, scanned, left, gone)
        requests.close_request(self.settings.db, plan.request, "done")
        journal.drop(self.settings.db, plan)
        unknown = tuple(plan.asked[i] for i in plan.unknown)
        return Erasure(
            plan.request, unknown, len(people) - len(unknown), plan.removed, scanned,
            round(time.monotonic() - started, 3), resumed, receipt, tuple(originals), self._meant(unknown),
            tuple(emptied), plan.spelled,
        )  # fmt: skip

    def _meant(self, unknown: Sequence[str]) -> dict[str, list[str]]:
        if not unknown or not self.store.exists():
            return {}
        with self.store.reading() as con:
            return in_other_case(con, unknown)

    def _people(self, plan: Journal) -> tuple[Journal, list[Person]]:
        """Who is meant, each under every spelling that is held; the journal remembers those when the rows are gone."""
        people = [Person.of(one, self.secret) for one in plan.asked]
        plan = plan.with_spelled(held_in_any_case(self.store, self.spool, people))
        return plan, [Person.of(one, self.secret, plan.spelled) for one in plan.asked]

    def _survey(self, plan: Journal, people: Sequence[Person]) -> Journal:
        """Note of whom nothing is held in rows, received lines and versions, and who is the guest of a session."""
        names = names_of(people)
        by_key = {user_key(self.secret, guest_id(name)): name for name in names}
        keys = keys_in_versions(self.artifacts, [*by_key, *(key for p in people for key in p.keys)])
        found, guests, sessions = self._in_store(people, keys)
        if plan.begun:  # their rows may be gone: who was known then counts, and only an unmistakable name is a session
            guests = {name for name in guests if is_telling(name)}
            sessions &= guests
        sessions |= {name for key, name in by_key.items() if key in keys and name in guests}
        lines, _ = find_lines(self.spool, names, sorted(guests))
        for line in lines:
            if line.get("user_id"):
                found.add(str(line["user_id"]).strip())
            else:
                sessions |= {str(line.get("session_id"))} & guests
        if plan.begun:
            return plan.with_sessions(sorted(sessions))
        held = found | sessions
        unknown = [i for i, p in enumerate(people) if not (held & set(p.names) or keys & set(p.keys))]
        return plan.with_unknown(unknown).with_sessions(sorted(sessions))

    def _in_store(self, people: Sequence[Person], keys: set[tuple[int, int]]) -> tuple[set[str], set[str], set[str]]:
        """Names that have rows, names that may be sessions of guests, and those of them that have rows as such.

        A short number of a customer may be somebody else's session; whoever is known as a customer is meant as one.
        """
        customers = {i for p in people for i, key in zip(p.ids, p.keys, strict=True) if key in keys}
        if not self.store.exists():
            return set(), {n for n in names_of(people) if is_telling(n) or n not in customers}, set()
        with self.store.reading() as con:
            found = known_names(con, ids_of(people), names_of(people))
            customers |= customers_named(con, people)  # what a rejected row holds may be a session
            guests = {n for n in names_of(people) if is_telling(n) or n not in customers}
            return found, guests, set(guests_named(con, sorted(guests)))

    def _erase(self, plan: Journal, people: Sequence[Person]) -> Journal:
        plan = plan.with_begun()
        journal.keep(self.settings.db, plan)
        # First of all: from now on no server personalises for them, and what is under way from them is refused.
        keys = self._keys(plan, people)
        tell(self.artifacts, self.secret, dict.fromkeys(keys, erased(self.settings.gdpr)))
        hashes = [suppression.hash_of(self.secret, key) for key in keys]
        plan = plan.with_removed({"exports": exports.delete_about(self.settings.db, hashes)})
        plan = self._rewrite_originals(plan, people)
        if self.store.exists():
            plan = self._remove_rows(plan, people)
            with self.progress.stage("Writing the database anew"):
                rewrite(self.store)
        with self.progress.stage("Rewriting the versions"):
            rows = plan.removed.get("events", 0)
            keys = self._keys(plan, people)
            counts = forget(self.artifacts, _array(keys), store_events=rows, progress=self.progress)
        # Once more: a server may have received lines since, and must drop what it remembers.
        blanked = blank_lines(self.spool, names_of(people), plan.sessions)
        counts["spool_lines"] = plan.removed.get("spool_lines", 0) + blanked
        for draft in self.spool.path.glob(".epoch.*.tmp"):  # of a killed run; only erasures write epochs
            draft.unlink(missing_ok=True)
        self.spool.new_epoch()
        plan = plan.with_removed(counts)
        journal.keep(self.settings.db, plan)
        return plan

    def _remove_rows(self, plan: Journal, people: Sequence[Person]) -> Journal:
        ids, names = ids_of(people), names_of(people)
        with self.progress.stage("Deleting rows and received events"), self.store.writing() as con:
            _, sessions = find_lines(self.spool, names, sessions_of(con, ids))
            plan = plan.with_sessions(sessions)
            # What others did in these visits stays, without the number of the visit.
            visits = [*(name for name in names if is_telling(name)), *plan.sessions]
            plan = plan.with_removed(count_rows(con, ids, names, plan.sessions, visits))
            journal.keep(self.settings.db, plan)
            plan = plan.with_removed({"spool_lines": blank_lines(self.spool, names, plan.sessions)})
            rules, keys = self.settings.gdpr, self._keys(plan, people)
            suppression.add(self.settings.db, self.secret, keys, days=rules.suppress_days, keeps_out=rules.suppress)
            with transaction(con):
                delete_rows(con, ids, names, plan.sessions, visits)
        return plan

    def _look(self, plan: Journal, people: Sequence[Person]) -> Scan:
        needles = needles_of(people, plan.sessions, self._guests(plan))
        with self.progress.stage("Searching every file"):
            scanned = search(self.store, self.settings, needles, skip=self._own())
            if plan.begun and spelled_in(self.settings.db, people):
                # By chance two neighbours in a dictionary spell the id. Packed differently they do not, and whoever
                # checks with a plain search of bytes is not misled.
                rewrite(self.store, compression="zstd")
                scanned = search(self.store, self.settings, needles, skip=self._own())
        return scanned

    def _own(self) -> list[Path]:
        """What must name people: journals, and orders of the servers that are still to be carried out."""
        return [*journal.paths(self.settings.db), self.artifacts.root / orders.FOLDER]

    def _rewrites(self) -> bool:
        return bool(self.settings.ingest.folder) and self.settings.gdpr.originals == "rewrite"

    def _originals(self, plan: Journal, people: Sequence[Person]) -> Originals:
        needles = needles_of(people, plan.sessions)
        columns = partial(columns_of, self.store)
        return Originals(Path(self.settings.ingest.folder), people, needles, columns, plan.sessions)

    def _has_rows_of(self, plan: Journal, people: Sequence[Person]) -> bool:
        """Whether there is something to cut out; what is only listed is no reason to write the database anew."""
        return self._rewrites() and any(not original.why for original in self._originals(plan, people).found())

    def _leave_out_quotes(self, plan: Journal, people: Sequence[Person]) -> Journal:
        """Of reports of ours in the watched folder, whatever may be done with the shop's own files there."""
        if not self.settings.ingest.folder:
            return plan
        return plan.with_removed({"quotes_in_reports": self._originals(plan, people).leave_out_quotes()})

    def _rewrite_originals(self, plan: Journal, people: Sequence[Person]) -> Journal:
        """Before the rows go: what is ingested from now on, from whichever file, does not bring them back."""
        if not self._rewrites():
            return plan
        originals = self._originals(plan, people)
        originals.sweep()
        with self.progress.stage("Rewriting the watched folder"):
            self._follow(plan)  # what a killed run rewrote
            for original in originals.found():
                plan = self._rewrite_original(plan, originals, original)
        rows, files = sum(entry[2] for entry in plan.originals.values()), len(plan.originals)
        emptied = sum(not after for _, after, _, _ in plan.originals.values())
        counts = {"rows_of_originals": rows, "originals_rewritten": files - emptied, "originals_removed": emptied}
        return plan.with_removed(counts)

    def _rewrite_original(self, plan: Journal, originals: Originals, original: Original) -> Journal:
        if original.why:
            return plan  # it is listed in the end
        try:
            draft = originals.draft(original)
        except Uncuttable:
            return plan
        try:
            # Nobody may ingest the file between its getting new content and the ledger's knowing that.
            with self.store.writing() if self.store.exists() else nullcontext() as con:
                if draft.unchanged():
                    plan = plan.with_original(str(original.path), draft.before, draft.after, draft.rows, draft.size)
                    journal.keep(self.settings.db, plan)
                    draft.swap()
                    if con is not None:
                        _follow_ledger(con, plan)
        finally:
            draft.drop()
        return plan

    def _follow(self, plan: Journal) -> None:
        if plan.originals and self.store.exists():
            with self.store.writing() as con:
                _follow_ledger(con, plan)

    def _still_named(self, originals: Originals, scanned: Scan) -> list[Original]:
        """Exports that name them all the same; those looked through are part of the proof."""
        if not self.settings.ingest.folder:
            return []
        with self.progress.stage("Searching the watched folder"):
            found = originals.found()
        scanned.coincidences += originals.seen.coincidences
        scanned.files, scanned.bytes = scanned.files + originals.seen.files, scanned.bytes + originals.seen.bytes
        return found

    def _keys(self, plan: Journal, people: Sequence[Person]) -> list[tuple[int, int]]:
        return [key for p in people for key in p.keys] + self._guests(plan)

    def _guests(self, plan: Journal) -> list[tuple[int, int]]:
        return [user_key(self.secret, guest_id(s)) for s in plan.sessions]


def _follow_ledger(con: duckdb.DuckDBPyConnection, plan: Journal) -> None:
    """Tell the ledger of what was ingested the new contents of the files it knows; it may have been told before."""
    with transaction(con):
        for path, (before, after, _, size) in plan.originals.items():
            if after and Path(path).is_file() and sha256_of(Path(path)) == after:
                follow_content(con, before, after, size)


def _array(keys: Sequence[tuple[int, int]]) -> UserKeys:
    return np.array(keys, dtype=np.uint64).reshape(-1, 2)
