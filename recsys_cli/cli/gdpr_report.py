"""What `recsys gdpr` prints of an erasure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from rich.console import Console

if TYPE_CHECKING:
    from ..gdpr.rights.erase import Erasure


def erasure_result(done: Erasure) -> dict[str, Any]:
    """As `--json` has it."""
    from ..gdpr.records.receipts import OUTSIDE

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
        "not_searched": OUTSIDE,
        "lists": [str(path) for path in done.lists],
        "seconds": done.seconds,
    }


def say_erased(console: Console, done: Erasure, retrained: str | None) -> None:
    """For everybody asked about what is known, and then what was removed, searched and left."""
    from ..gdpr.records.receipts import OUTSIDE

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
        removed = ", ".join(f"{n} {kind.replace('_', ' ')}" for kind, n in done.removed.items() if n)
        say(f"Erased {done.erased}: {removed or 'nothing was left'}.")
    traces = len(done.scanned.findings)
    verdict = "no trace" if not traces else f"{traces} trace{'s' * (traces > 1)}"
    say(f"Searched {done.scanned.files} files, {done.scanned.bytes / 1e6:.1f} MB: {verdict}. {done.seconds:.1f} s.")
    say_mentions(console, done.scanned.mentions)
    for original in done.originals:
        say(f"The shop's own file {original} names them: remove those rows, or delete it.")
    if done.erased:
        say(f"Not searched: {OUTSIDE}.")
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
