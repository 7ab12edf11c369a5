"""What `recsys gdpr` prints of an erasure, and of the log of requests."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.table import Table

from .common import Run

if TYPE_CHECKING:
    from ..gdpr.person import Person
    from ..gdpr.records.request_log import Request
    from ..gdpr.rights.erase import Erasure

_NAMED = 10  # people whom a question shows one by one


def counted(counts: Mapping[str, int]) -> str:
    """Counts by kind in words: 1 event, 2 profiles."""
    from ..gdpr.records.receipts import in_words

    return ", ".join(in_words(kind, n) for kind, n in counts.items() if n)


def erasure_question(run: Run, asked: Sequence[str], held: Sequence[tuple[Person, Mapping[str, int]]]) -> str:
    """Say whom an erasure is about and what is held of them, and return the question."""
    for person, counts in held[:_NAMED]:
        name = person.asked[0]
        run.waiting(f"{name}: {counted(counts) or 'nothing is held under this name'}.")
        for user, attribute in person.resolved:
            run.waiting(f"{name} is customer {user}, by the attribute {attribute} of the profile.")
    if len(held) > _NAMED:
        events = sum(counts.get("events", 0) for _, counts in held)
        run.waiting(f"And {len(held) - _NAMED} more; of all {len(held)} together {counted({'events': events})}.")
    return f"Erase {asked[0]} for good?" if len(asked) == 1 else f"Erase these {len(asked)} people for good?"


def say_log(console: Console, held: Sequence[Request]) -> None:
    """The log of requests as a table that 80 columns hold, ids whole."""
    from ..gdpr.records.receipts import iso

    table = Table("request", "kind", "people", "received", "due", "outcome", box=None)
    for column in table.columns[:5]:
        column.no_wrap = True
    for r in held:
        handled = (r.outcome or "open", r.reference, f"by {r.by}" * bool(r.by), r.identity, r.note)
        dates = iso(r.received_at)[:10], iso(r.due_at)[:10]
        table.add_row(r.id, r.kind, str(r.people), *dates, "; ".join(part for part in handled if part))
    console.print(table if held else "No request yet.")


def erasure_result(done: Erasure) -> dict[str, Any]:
    """As `--json` has it."""
    from ..gdpr.records.receipts import words

    return {
        "requests": [
            {
                "request": one.request,
                "asked": list(one.person.asked),
                "known": one.known,
                "meant": list(one.person.meant),
                "spelled": list(one.person.spelled),
                "resolved": dict(one.person.resolved),
                "also": list(one.person.also),
                "removed": one.removed,
                "receipt": str(one.receipt),
            }
            for one in done.done
        ],
        "unfinished": [failure.message for failure in done.failed],
        "erased": done.erased,
        "unknown": len(done.unknown),
        "removed": done.removed,
        "scanned": {"files": done.scanned.files, "bytes": done.scanned.bytes, "findings": len(done.scanned.findings)},
        "mentions": dict(done.scanned.mentions),
        "resumed": done.resumed,
        "originals": [{"path": str(o.path), "columns": dict(o.columns)} for o in done.originals],
        "not_searched": words("receipt")["outside"],
        "lists": [str(path) for path in done.lists],
        "lakes": [str(path) for path in done.lakes],
        "seconds": done.seconds,
    }


def say_erased(console: Console, done: Erasure, retrained: str | None) -> None:
    """For everybody asked about what is known, and then what was removed, searched and left."""
    from ..gdpr.records.receipts import in_words, words

    say = partial(console.print, highlight=False, markup=False)
    for one in done.done:
        name = one.person.asked[0]
        if not one.known:
            meant = f" Did you mean {', '.join(one.person.meant)}? Ids are exact." if one.person.meant else ""
            say(f"Nothing is held about {name}.{meant}")
        for user, attribute in one.person.resolved:
            say(f"{name} is customer {user}, by the attribute {attribute} of the profile.")
        for spelled in one.person.spelled:
            say(f"{spelled} is {name} written differently, and was erased as well.")
        say_also(console, name, one.person.also)
    if done.erased or done.removed:
        who = "1 person" if done.erased == 1 else f"{done.erased:,} people"
        say(f"Erased {who}: {counted(done.removed) or 'nothing was left'}.")
    traces = len(done.scanned.findings)
    verdict = "no trace" if not traces else f"{traces} trace{'s' * (traces > 1)}"
    searched = f"{in_words('files', done.scanned.files)}, {done.scanned.bytes / 1e6:.1f} MB"
    say(f"Searched {searched}: {verdict}. {done.seconds:.1f} s.")
    say_mentions(console, done.scanned.mentions)
    for original in done.originals:
        say(f"The shop's own file {original} names them: remove those rows, or delete it.")
    if done.erased:
        say(f"Not searched: {words('receipt')['outside']}.")
        for path in done.lists:
            say(f"The list {path} was written before: write it again, or delete it.")
    if retrained:
        say(f"Trained again: {retrained}.")
    for one in done.done[:5]:
        say(f"Receipt: {one.receipt.with_suffix('.txt')}")
    if len(done.done) > 5:
        say(f"And {len(done.done) - 5} more in {done.done[0].receipt.parent}.")


def say_also(console: Console, name: str, also: Sequence[str]) -> None:
    """Profiles that may be the same person's."""
    if also:
        text = f"The profile of {', '.join(also)} has the same address: if it is the same person, name that as well."
        console.print(f"{name} is a customer. {text}", highlight=False, markup=False)


def say_mentions(console: Console, mentions: Mapping[str, int]) -> None:
    """Where the same characters are something else."""
    if mentions:
        shown = [f"{place} ({n})" for place, n in list(mentions.items())[:6]]
        more = f" and {len(mentions) - 6} more places" if len(mentions) > 6 else ""
        text = f"The same characters are something else's in {'; '.join(shown)}{more}. Those stay."
        console.print(text, highlight=False, markup=False)
