"""Erase people: rows, received events, every version, the bytes of the files; and then prove it by looking.

The order makes every interruption safe. The journals are written first and go last, every step can be taken again, and
what servers and trainings still hold is dropped by the epoch of the spool, the new `current` and the suppression list.
Each person has a journal and a receipt of their own, and the database is rewritten once for all who are asked for.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from ...artifacts import Artifacts, suppressed
from ...artifacts.audit_log import forget_people
from ...artifacts.orders import ERASE, Asked, drop, waiting
from ...durable_files import scratch, scratch_elsewhere, sweep_drafts, sweep_writes, write_many
from ...errors import ErasureIncomplete, StoreMissing, UsageError
from ...identity import user_key
from ...progress import SILENT, Progress
from ...publishing.lake import Behind, update_lakes
from ...settings import Settings
from ...store import Store
from ...store.merge import transaction
from ...store.personal_data import cell, count_rows, delete_rows, rejected_of
from ...store.rewrite import rewrite
from ..person import People, Person, ids_for
from ..proof.originals import Original, in_watched_folder
from ..proof.scan import Scan, search
from ..received import blank_lines
from ..records import journal, receipts, written_exports
from ..records.journal import Journal
from ..records.request_log import Handling, close_requests, open_requests
from .consent import end_choices, erased, leave_out, tell

Clock = Callable[[], float]
GUEST = "guest"


@dataclass(frozen=True)
class Done:
    """One person who is gone."""

    request: str  # id of the request, in the log and on the receipt
    person: Person  # who it was
    known: bool  # whether anything was held of them
    removed: dict[str, int]  # counts by kind
    receipt: Path  # the receipt's JSON file; a text beside it says the same


@dataclass(frozen=True)
class Erasure:
    """What an erasure did."""

    done: tuple[Done, ...] = ()  # who is gone
    failed: tuple[ErasureIncomplete, ...] = ()  # why others cannot be shown to be
    scanned: Scan = field(default_factory=Scan)
    resumed: bool = False  # whether one of them was an interrupted erasure
    originals: tuple[Original, ...] = ()  # files of the watched folder that still name them, the shop's own
    lists: tuple[Path, ...] = ()  # the last lists of many people that are still there: they are not searched
    lakes: tuple[Path, ...] = ()  # not where they were exported to; they may hold them still
    seconds: float = 0.0

    @property
    def erased(self) -> int:
        return sum(one.known for one in self.done)

    @property
    def unknown(self) -> tuple[str, ...]:
        return tuple(one.person.asked[0] for one in self.done if not one.known)

    @property
    def removed(self) -> dict[str, int]:
        """Counts of all of them."""
        kinds = dict.fromkeys(kind for one in self.done for kind in one.removed)
        return {kind: sum(one.removed.get(kind, 0) for one in self.done) for kind in kinds}


def erase(
    store: Store,
    artifacts: Artifacts,
    settings: Settings,
    asks: Sequence[Asked | str],
    progress: Progress = SILENT,
    *,
    handling: Handling | None = None,
    clock: Clock = time.time,
) -> Erasure:
    """Erase these people; who is not known is reported, and looked for all the same.

    Orders of servers that wait and name one of them are carried out with them.

    Parameters
    ----------
    asks
        Customer ids, e-mails, sessions; or orders, each about one person, whose id the request gets. One whose source
        is `GUEST` means the session, though a customer may be called the same.
    clock
        Gives the epoch seconds by which failed erasures are tried again; see `journal.PAUSES`.

    Raises
    ------
    UsageError
        Somebody has no name; nobody was erased.
    StoreMissing, StoreBusy, StoreError, ArtifactError
    """
    if not store.exists() and not artifacts.names():
        raise StoreMissing(f"There is no database {store.path} yet.", "Name it with --db; nobody was erased.")
    with journal.alone(settings.db, settings.store.lock_timeout):
        work = _Work(store, artifacts, settings, progress, clock)
        plans = work.begin([Asked(ERASE, [one], "letter") if isinstance(one, str) else one for one in asks], handling)
        return replace(work.run(plans), resumed=any(plan.begun for plan in plans))


def resume(
    store: Store,
    artifacts: Artifacts,
    settings: Settings,
    progress: Progress = SILENT,
    *,
    patient: bool = False,
    clock: Clock = time.time,
) -> Erasure:
    """Finish erasures that were interrupted or have failed; if `patient`, not those whose pause is not over."""

    def due() -> list[Journal]:
        return [plan for plan in journal.unfinished(settings.db) if not patient or plan.next_at <= clock()]

    if not due():
        return Erasure()
    with journal.alone(settings.db, settings.store.lock_timeout):
        progress.note("Finishing erasures that were interrupted.")
        work = _Work(store, artifacts, settings, progress, clock)
        return replace(work.run(due()), resumed=True)


@dataclass
class _Case:
    """One person on the way: the journal, and who it is."""

    plan: Journal
    person: Person

    def remove(self, counts: dict[str, int]) -> None:
        self.plan = self.plan.with_removed(counts)


class _Work:
    """An erasure of some people together: the steps."""

    def __init__(
        self, store: Store, artifacts: Artifacts, settings: Settings, progress: Progress, clock: Clock
    ) -> None:
        self.store, self.artifacts, self.settings, self.progress = (store, artifacts, settings, progress)
        self.clock, self.who = clock, People(store, artifacts, settings)
        self.lakes = Behind()
        self.secret, self.spool = self.who.secret, self.who.spool

    def begin(self, asks: Sequence[Asked], handling: Handling | None) -> list[Journal]:
        """The journals of these people, on disk; those whose erasure is unfinished have one."""
        db, asks = self.settings.db, [*asks, *self._waiting(asks)]
        unfinished = journal.unfinished(db)
        held = [
            next((p for p in unfinished if {*ask.people} <= {*p.asked} and p.guest == (ask.source == GUEST)), None)
            for ask in asks
        ]
        new = [ask for ask, plan in zip(asks, held, strict=True) if plan is None]
        open_requests(db, "erasure", new, handling)
        fresh = [Journal(ask.id, tuple(ask.people), int(time.time()), guest=ask.source == GUEST) for ask in new]
        journal.keep(db, fresh)
        for ask in asks:  # the journals remember
            drop(self.artifacts.root, ask)
        return [*{plan.request: plan for plan in held if plan is not None}.values(), *fresh]

    def _waiting(self, asks: Sequence[Asked]) -> list[Asked]:
        """The erasures of the same people that wait; exports of them are dropped: they would name them for a while."""
        names = {one for ask in asks for one in ids_for(ask.people, self.secret)}
        found = []
        for order in waiting(self.artifacts.root):
            theirs = [one for one in order.people if one.strip()]
            if order.id in {ask.id for ask in asks} or not names & {*ids_for(theirs, self.secret)}:
                continue
            if order.kind == ERASE:
                found.append(replace(order, people=theirs))
            else:
                open_requests(self.settings.db, "export", [order])
                close_requests(self.settings.db, {order.id: "erased meanwhile"})
                drop(self.artifacts.root, order)
        return found

    def run(self, plans: Sequence[Journal]) -> Erasure:
        started, db = time.monotonic(), self.settings.db
        with self.progress.stage("Looking for everything held"):
            cases = self._cases(plans)
        people, lists = [case.person for case in cases], tuple(written_exports.lists_left(db))
        for place in (scratch(db), scratch_elsewhere()):  # of killed imports
            sweep_drafts(*place)
        written_exports.forget_lists(db, [name for p in people for name in p.names])
        self._erase([case for case in cases if case.plan.begun or case.person.known])
        end_choices(self.artifacts, self.settings, self.secret, people)
        scanned = self._look(people)
        # Of nobody's rows, but in the bytes of a file.
        if late := [case for n, case in enumerate(cases) if not case.plan.begun and scanned.of(n)]:
            self._erase(late)
            scanned = self._look(people)
        originals = tuple(in_watched_folder(self.settings, people, self.progress))
        done, failed = self._close(cases, scanned, originals)
        seconds = round(time.monotonic() - started, 3)
        return Erasure(tuple(done), tuple(failed), scanned, False, originals, lists, self.lakes.missing, seconds)

    def _cases(self, plans: Sequence[Journal]) -> list[_Case]:
        """Who is meant; the journals remember it for when the rows are gone."""
        cases = []
        for plan, person in zip(plans, self.who.find([plan.asked for plan in plans]), strict=True):
            if plan.guest:
                person = replace(person, ids=(), sessions=plan.asked, known=True)
            now = person.sessions if person.known or not plan.begun else ()
            sessions = tuple(dict.fromkeys((*(plan.sessions if plan.begun else ()), *now)))
            ids = tuple(dict.fromkeys((*plan.ids, *person.ids)))
            known = person.known or plan.known
            plan = replace(plan, ids=ids, sessions=sessions, known=known)
            cases.append(_Case(plan, replace(person, ids=ids, sessions=sessions, known=known)))
        return cases

    def _erase(self, cases: Sequence[_Case]) -> None:
        if not cases:
            return
        for case in cases:
            case.plan = replace(case.plan, begun=True)
        journal.keep(self.settings.db, [case.plan for case in cases])
        # First of all: from now on no server personalises for them or notes them, and their events are refused.
        keys = [key for case in cases for key in case.person.keys(self.secret)]
        tell(self.artifacts, self.secret, dict.fromkeys(keys, erased(self.settings.gdpr)))
        self._exports(cases)
        typed = [one for case in cases for one in ids_for((*case.person.asked, *case.person.names), self.secret)]
        audited = [suppressed.hash_of(self.secret, k) for k in (*keys, *(user_key(self.secret, t) for t in typed))]
        forget_people(self.artifacts.root, audited)
        if self.store.exists():
            self._rows(cases, keys)
            with self.progress.stage("Rewriting the database"):
                rewrite(self.store)
        with self.progress.stage("Rewriting the versions"):
            self._versions(cases, keys)
        # Once more: a server may have received lines since, and must drop what it remembers.
        self._lines(cases)
        forget_people(self.artifacts.root, audited)
        sweep_writes(self.spool.path, "epoch.*")  # of a killed run; only erasures write epochs
        self.spool.new_epoch()
        # Last, because a disk that is away or full must keep nothing else from being done.
        self.lakes = update_lakes(self.store, self.settings, self.progress)

    def _exports(self, cases: Sequence[_Case]) -> None:
        hashes = [{suppressed.hash_of(self.secret, key) for key in c.person.keys(self.secret)} for c in cases]
        gone = written_exports.delete(self.settings.db, about={h for some in hashes for h in some})
        for case, mine in zip(cases, hashes, strict=True):
            case.remove({"exports": sum(bool(mine & {*one.about}) for one in gone)})

    def _rows(self, cases: Sequence[_Case], keys: Sequence[tuple[int, int]]) -> None:
        rules, people = self.settings.gdpr, [case.person for case in cases]
        ids, sessions = ([i for p in people for i in p.ids], [s for p in people for s in p.sessions])
        with self.progress.stage("Deleting rows and received events"), self.store.writing() as con:
            rejected = rejected_of(con, ids, sessions)
            counts = count_rows(con, ids, sessions)
            for case in cases:
                names = {*case.person.names}
                cells = {cell(name) for name in names}
                found = {kind: sum(n for name, n in held.items() if name in names) for kind, held in counts.items()}
                case.remove(found | {"rejected": sum(who in cells for who in rejected.values())})
            journal.keep(self.settings.db, [case.plan for case in cases])
            self._lines(cases)
            suppressed.add(self.settings.db, self.secret, keys, days=rules.suppress_days, keeps_out=rules.suppress)
            with transaction(con):
                delete_rows(con, ids, sessions, list(rejected))

    def _lines(self, cases: Sequence[_Case]) -> None:
        for case, n in zip(cases, blank_lines(self.spool, [case.person for case in cases]), strict=True):
            case.remove({"spool_lines": case.plan.removed.get("spool_lines", 0) + n})

    def _versions(self, cases: Sequence[_Case], keys: Sequence[tuple[int, int]]) -> None:
        for case in cases:
            case.remove({"version_rows": self.who.histories_of(case.person)})
        lost = sum(case.plan.removed.get("events", 0) for case in cases)
        counts = leave_out(self.store, self.artifacts, self.settings, keys, self.progress, store_events=lost)
        for case in cases:
            case.remove({"damaged_versions": counts.get("damaged_versions", 0)})

    def _look(self, people: Sequence[Person]) -> Scan:
        with self.progress.stage("Searching every file"):
            scanned = search(self.store, self.settings, people, self.secret)
            db = str(self.settings.db)
            if any(f.path == db and not f.inside for f in scanned.findings):
                # By chance two neighbours in a dictionary spell the id. Packed differently they do not.
                rewrite(self.store, compression="zstd")
                scanned = search(self.store, self.settings, people, self.secret)
        return scanned

    def _close(
        self, cases: Sequence[_Case], scanned: Scan, originals: Sequence[Original]
    ) -> tuple[list[Done], list[ErasureIncomplete]]:
        """Write the receipts, and only then forget whom they are about; who is still there keeps their journal."""
        done, failed, stuck, papers = [], [], [], dict[Path, bytes]()
        for n, case in enumerate(cases):
            plan, behind = case.plan, self.lakes.failed if case.plan.begun else ()
            traces = list(dict.fromkeys((*map(str, scanned.of(n)), *behind)))
            if traces:
                failed.append(incomplete(plan.request, traces))
                stuck.append(plan.with_failure(self.clock(), traces[:20]))
                continue
            folder = Path(self.settings.ingest.folder or "")
            mine = [original.shown(folder, [case.person]) for original in originals if n in original.who]
            papers |= (made := receipts.made(self.settings, self.artifacts, plan, scanned, mine, self.lakes.missing))
            done.append(Done(plan.request, case.person, plan.known, plan.removed, next(iter(made))))
        write_many(papers)
        close_requests(self.settings.db, {one.request: "done" if one.known else "nothing held" for one in done})
        journal.keep(self.settings.db, stuck, [case.plan for case in cases])
        return done, failed


def accept(artifacts: Artifacts, settings: Settings, request: str, note: str, by: str = "") -> Path:
    """Close an erasure that cannot be finished, after a person has looked at what is left; returns the receipt.

    Raises
    ------
    UsageError
        No such unfinished erasure, no note, or a note that names the person.
    """
    with journal.alone(settings.db, settings.store.lock_timeout):
        plan = next((p for p in journal.unfinished(settings.db) if p.request == request), None)
        if plan is None:
            raise UsageError(f"There is no unfinished erasure {request}.", "See recsys gdpr log.")
        if not plan.failures:
            raise UsageError(f"Erasure {request} was interrupted, not looked at.", "Run recsys gdpr resume.")
        if not note.strip():
            raise UsageError("The note is empty.", "Say with --note what was found, without the person's name.")
        if any(name.lower() in note.lower() for name in (*plan.asked, *plan.ids, *plan.sessions)):
            raise UsageError("The note names the person.", "Receipts name nobody; say it without the name.")
        accepted = {"note": note.strip()} | ({"by": by} if by else {})
        files = receipts.made(settings, artifacts, plan, Scan(), accepted=accepted)
        write_many(files)
        close_requests(settings.db, {request: "accepted"}, note.strip())
        journal.keep(settings.db, [], [plan])
        return next(iter(files))


def incomplete(request: str, places: Sequence[str]) -> ErasureIncomplete:
    """Says where somebody still is; never who."""
    shown = "; ".join(dict.fromkeys(places[:5]))
    many = f"{len(places)} places" if len(places) != 1 else "1 place"
    return ErasureIncomplete(
        f"Erasure {request} is unfinished, traces are left in {many}: {shown}.",
        f"Remove them and run recsys gdpr resume; or look at them and run recsys gdpr accept {request} --note TEXT.",
    )


def together(failed: Sequence[ErasureIncomplete]) -> ErasureIncomplete:
    """Several failures as one that tells them all."""
    if len(failed) == 1:
        return failed[0]
    text = " ".join(dict.fromkeys(e.message for e in failed))
    return ErasureIncomplete(f"{len(failed)} erasures are unfinished. {text}", failed[0].hint)
