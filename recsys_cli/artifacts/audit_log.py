"""The audit log: what was administered, by whom and with what outcome; and, by setting, what was recommended.

    audit/
      actions/       chain.json, 2026-11.jsonl, …       a file a month
      predictions/   chain.json, 2026-11-29.jsonl, …    a file a day

Every line holds an entry, the hash of the entry before it, and its own: SHA-256 over the bytes of the entry, so that a
byte that was changed, a line that was taken out and one that was put in are found where they are. `chain.json` holds
where the chain begins and ends: lines cut off at either end are found, too, but for those that a writer was killed
right after, before it noted the new end. Who can write the directory can write a whole new chain; against both, note
the head (`recsys audit verify`) somewhere else.

People stand beside an entry and never in it: by keyed hash, with a salt, and the entry holds only a hash of that. What
stands beside can be taken away when a person is erased, and the chain still holds.
"""

from __future__ import annotations

import hashlib
import os
import re
import secrets
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import orjson

from ..durable_files import (
    append_lines,
    explain_os,
    fsync_dir,
    last_line,
    locked,
    private_dir,
    sweep_writes,
    write_atomic,
)
from ..errors import DamagedState, RecsysError, StoreBusy
from ..identity import user_key
from ..state_file import StateFile
from . import suppressed

FOLDER = "audit"
ACTIONS, PREDICTIONS = "actions", "predictions"
CHAIN = "chain.json"
_PERIODS = {ACTIONS: "%Y-%m", PREDICTIONS: "%Y-%m-%d"}
_SEGMENT = re.compile(r"\d{4}-\d{2}(-\d{2})?\.jsonl")
_PATIENCE = 30.0  # seconds to wait for another writer, who needs milliseconds
_FORM: Mapping[str, Any] = {
    "seq": int, "prev": str, "ts": int | float, "by": dict, "action": str, "outcome": str, "facts": dict
}  # fmt: skip
_DEEPEST = 20  # levels of an entry's facts


@dataclass(frozen=True)
class Chain:
    """Where the chain begins (after entry `start`, whose hash is `start_hash`) and ends."""

    start: int
    start_hash: str
    end: int
    end_hash: str


@dataclass(frozen=True)
class Entry:
    """One thing that was done.

    Parameters
    ----------
    by
        Who: `{"os": NAME}` on the command line, `{"key": NAME, "scopes": […]}` over HTTP, `{"platform": NAME}` of a
        webhook.
    action
        The command, or the method and path of the route.
    outcome
        done, or why not.
    facts
        What it was about; names nobody.
    people
        Customers it was about, by `hash_of`.
    hidden
        What only people's own data explains, such as the inputs of a prediction: only a salted hash of it is kept.
    at
        Epoch seconds; 0 for when it is written.
    keys
        Keyed hashes of `people`; never written.
    """

    by: Mapping[str, Any]
    action: str
    outcome: str = "done"
    facts: Mapping[str, Any] = field(default_factory=dict)
    people: tuple[str, ...] = ()
    hidden: Mapping[str, Any] | None = None
    at: float = 0.0
    keys: tuple[tuple[int, int], ...] = ()


@dataclass(frozen=True)
class Finding:
    """Something that is wrong: the file, its line (from 1; 0 for the end), the entry that should stand there."""

    file: str
    line: int
    entry: int
    what: str

    def __str__(self) -> str:
        place = f"{self.file}, line {self.line}" if self.line else self.file
        return f"{place}, entry {self.entry}: {self.what}"


@dataclass
class Verdict:
    """What a check of the whole chain found.

    Parameters
    ----------
    entries
        How many there are.
    first
        Number of the oldest.
    head, head_hash
        Of the newest.
    erased
        Entries whose people were erased.
    """

    entries: int = 0
    first: int = 0
    head: int = 0
    head_hash: str = ""
    erased: int = 0
    findings: list[Finding] = field(default_factory=list)


def hash_of(secret: str, owner: str) -> str:
    """What the log holds of a customer, or of a guest's session (`schema.guest_id`): what the list of erased people
    does, so that a backup brings back nobody's."""
    return suppressed.hash_of(secret, user_key(secret, owner))


def forget_people(root: Path, names: Sequence[str]) -> None:
    """Take people, by `hash_of`, out of all chains of an artifacts directory; the entries stay."""
    for chain in _PERIODS:
        AuditLog(root, chain).forget(names)


class AuditLog:
    """One chain of an artifacts directory.

    Parameters
    ----------
    root
        The artifacts directory.
    chain
        ACTIONS or PREDICTIONS.
    """

    def __init__(self, root: Path, chain: str = ACTIONS) -> None:
        self.path = root / FOLDER / chain
        self._period = _PERIODS[chain]
        lost = "Without it lines cut off at the ends of the log are not found."
        self._chain: StateFile[Chain | None] = StateFile(self.path / CHAIN, Chain, lambda: None, lost)

    def exists(self) -> bool:
        """Whether anything was ever written."""
        return self.path.is_dir()

    def append(
        self, entries: Sequence[Entry], now: float | None = None, *, gone: Callable[[Entry], bool] = lambda _: False
    ) -> None:
        """Add entries, on disk when this returns; many at once cost as much as one.

        Parameters
        ----------
        gone
            Whether somebody whom an entry is about is being erased: it then names nobody. Asked while nobody else
            writes, so that an erasure finds in the log, or in the list that this asks, whoever was noted before it.

        Raises
        ------
        StoreError
            They cannot be written.
        """
        if not entries:
            return
        at = time.time() if now is None else now
        private_dir(private_dir(private_dir(self.path.parent.parent) / FOLDER) / self.path.name)
        with self._alone():
            number, previous = self._head()
            lines = []
            for entry in entries:
                number += 1
                entry = replace(entry, people=(), hidden=None) if entry.people and gone(entry) else entry
                line, previous = _line(number, previous, at, entry)
                lines.append(line)
            name = time.strftime(self._period, time.gmtime(at)) + ".jsonl"
            newest = self._segments()[-1:]
            # A clock that went back must not put a later entry before earlier ones.
            path = self.path / max(name, newest[0].name) if newest else self.path / name
            append_lines(path, lines)
            if not newest or path != newest[0]:
                fsync_dir(self.path)
            held = self._chain.read_or_empty() or Chain(0, _genesis(lines[0]), 0, "")
            self._chain.write(replace(held, end=number, end_hash=previous))

    def entries(self) -> Iterator[dict[str, Any]]:
        """Entries, oldest first, as they stand in the log with their `hash` and `people`; lines that cannot be read are
        passed over."""
        for path in self._segments():
            for line in _lines(path):
                if (found := _parse(line)) is not None:
                    about = found["about"] or {}
                    yield found["entry"] | {"hash": found["hash"], "people": about.get("people", [])}

    def verify(self) -> Verdict:
        """Look at every byte of the chain as it is now; nothing is changed, and nobody waits who writes on."""
        verdict = Verdict()
        if not self.exists():
            return verdict
        with ExitStack() as opened:
            with self._alone():
                try:
                    chain = self._chain.read()
                except DamagedState:
                    chain = None
                    verdict.findings.append(Finding(CHAIN, 0, 0, "it is damaged"))
                else:
                    if chain is None and self._segments():
                        verdict.findings.append(Finding(CHAIN, 0, 0, "it is missing"))
                files = [opened.enter_context(path.open("rb")) for path in self._segments()]
                sizes = [os.fstat(file.fileno()).st_size for file in files]
            read = (_whole_lines(file.read(size)) for file, size in zip(files, sizes, strict=True))
            _walk(zip((Path(file.name).name for file in files), read, strict=True), chain, verdict)
        return verdict

    def forget(self, people: Sequence[str]) -> int:
        """Take these people (by `hash_of`) out; returns how many entries named them. The chain still holds."""
        gone, changed = set(people), 0
        if not gone or not self.exists():
            return 0
        words = [name.encode() for name in gone]
        with self._alone():
            sweep_writes(self.path)
            segments = self._segments()
        for path in segments:
            with self._alone():  # one at a time: servers write in between
                try:
                    data = path.read_bytes()
                except FileNotFoundError:
                    continue  # retention was quicker
                if not any(word in data for word in words):
                    continue
                lines = []
                for line in data.split(b"\n"):
                    kept = _without(line, gone) if any(word in line for word in words) else line
                    changed += kept != line
                    lines.append(kept)
                write_atomic(path, b"\n".join(lines))
        return changed

    def drop_before(self, limit: float) -> int:
        """Remove the files whose entries are all older than `limit` (epoch seconds); returns how many."""
        if not self.exists():
            return 0
        with self._alone():
            chain = self._chain.read_or_empty()
            old: list[Path] = []
            for path in self._segments():
                last = _parse(last_line(path))
                if last is None or chain is None or last["entry"]["ts"] >= limit:
                    break
                old.append(path)
                # Killed from here on, the files that are left lie before the beginning, and go the next time.
                chain = replace(chain, start=last["entry"]["seq"], start_hash=last["hash"])
            if old and chain is not None:
                self._chain.write(chain)
                for path in old:
                    path.unlink()
            return len(old)

    def has(self, number: int, digest: str) -> bool:
        """Whether entry `number` is in the log, or was the last one before it begins, with a hash that begins so."""
        chain = self._chain.read_or_empty()
        if chain is not None and chain.start == number and number:
            return chain.start_hash.startswith(digest)
        return any(e["seq"] == number and e["hash"].startswith(digest) for e in self.entries())

    def _segments(self) -> list[Path]:
        return sorted(p for p in self.path.glob("*.jsonl") if _SEGMENT.fullmatch(p.name))

    def _head(self) -> tuple[int, str]:
        """Number and hash of the newest entry: of the log's last line, unless `chain.json` knows of later ones."""
        chain = self._chain.read_or_empty() or Chain(0, "", 0, "")
        segments = self._segments()
        last = _parse(last_line(segments[-1])) if segments else None
        if last is not None and last["entry"]["seq"] >= chain.end:
            return last["entry"]["seq"], last["hash"]
        # A chain of its own for each shop: else a new log could take the place of one that was removed.
        return (chain.end, chain.end_hash) if chain.end else (0, secrets.token_hex(32))

    @contextmanager
    def _alone(self) -> Iterator[None]:
        def busy(who: str) -> RecsysError:
            return StoreBusy(f"The audit log {self.path} is being written by {who}.", "Run this again.")

        with locked(self.path / "lock", timeout=_PATIENCE, busy=busy):
            yield


def _line(number: int, previous: str, at: float, entry: Entry) -> tuple[bytes, str]:
    about: dict[str, Any] | None = None
    if entry.people or entry.hidden is not None:
        about = {"salt": secrets.token_hex(16), "people": list(entry.people)}
    body: dict[str, Any] = {
        "seq": number,
        "prev": previous,
        "ts": round(entry.at or at, 3),
        "by": dict(entry.by),
        "action": entry.action,
        "outcome": entry.outcome,
        "facts": dict(entry.facts),
    }
    if about is not None:
        body["about"] = _digest(orjson.dumps(about))
        if entry.hidden is not None:
            text = orjson.dumps(entry.hidden, option=orjson.OPT_SORT_KEYS, default=str)
            body["inputs"] = _digest(about["salt"].encode() + text)
    try:
        digest = _digest(orjson.dumps(body))
    except TypeError:
        body |= {"by": _plain(body["by"]), "facts": _plain(body["facts"])}
        digest = _digest(orjson.dumps(body))
    return orjson.dumps({"entry": body, "about": about, "hash": digest}), digest


def _plain(value: Any, depth: int = 0) -> Any:
    """What came from outside, as a line can hold it: numbers of 64 bits, valid text, a few levels."""
    if depth > _DEEPEST:
        return "nested too deep"
    if isinstance(value, Mapping):
        return {str(_plain(str(name))): _plain(one, depth + 1) for name, one in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(one, depth + 1) for one in value]
    if isinstance(value, int) and value.bit_length() > 63:
        return hex(value)
    return value.encode("utf-8", "replace").decode() if isinstance(value, str) else value


def _genesis(line: bytes) -> str:
    return str(orjson.loads(line)["entry"]["prev"])


def _digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def _lines(path: Path) -> list[bytes]:
    try:
        return _whole_lines(path.read_bytes())
    except OSError as e:
        raise explain_os(e, path) from None


def _whole_lines(data: bytes) -> list[bytes]:
    """The lines of a file; what a killed writer left of one at the end is not one."""
    return data.split(b"\n")[:-1]


def _parse(line: bytes) -> dict[str, Any] | None:
    """A line as it was written, to the byte; None for any other."""
    try:
        found = orjson.loads(line)
        if orjson.dumps(found) != line or list(found) != ["entry", "about", "hash"]:
            return None
        if not _FORM.keys() <= found["entry"].keys() or not isinstance(found["hash"], str):
            return None
        if not all(isinstance(found["entry"][name], kind) for name, kind in _FORM.items()):
            return None
        if not isinstance(found["about"], dict | None):
            return None
    except (ValueError, TypeError, KeyError, AttributeError):
        return None
    return dict(found)


def _without(line: bytes, gone: set[str]) -> bytes:
    """A line without what it says of these people, and so of the others it is about; damaged lines stay as they are."""
    found = _parse(line)
    if found is None or not found["about"] or not gone & set(found["about"].get("people", ())):
        return line
    return orjson.dumps(found | {"about": None})


def _walk(segments: Iterable[tuple[str, list[bytes]]], chain: Chain | None, verdict: Verdict) -> None:
    """Follow the chain from line to line."""
    number, previous = (chain.start, chain.start_hash) if chain else (0, "")
    begun, name = False, CHAIN
    for name, lines in segments:
        for n, line in enumerate(lines, 1):
            found = _parse(line)
            whole = found is not None and _digest(orjson.dumps(found["entry"])) == found["hash"]
            if whole and found and not begun and (not chain or 0 < found["entry"]["seq"] <= chain.start):
                # Nothing says where the chain begins, or retention was killed before it removed a file from before.
                number, previous = found["entry"]["seq"] - 1, found["entry"]["prev"]
            begun, number = True, number + 1
            if not chain or number > chain.start:
                verdict.first, verdict.entries = verdict.first or number, verdict.entries + 1
            if not whole or found is None:
                verdict.findings.append(Finding(name, n, number, "it was changed"))
                previous = ""  # one wrong line is one finding
                continue
            if wrong := _wrong(found, number, previous, verdict) or _misplaced(found, chain):
                verdict.findings.append(Finding(name, n, number, wrong))
            number, previous = found["entry"]["seq"], found["hash"]
    if chain and number < chain.end:
        told = f"entries {number + 1} to {chain.end} are" if chain.end - number > 1 else f"entry {chain.end} is"
        verdict.findings.append(Finding(name, 0, number + 1, f"{told} missing at the end"))
    verdict.head, verdict.head_hash = number, previous


def _misplaced(found: dict[str, Any], chain: Chain | None) -> str:
    """What is wrong with an entry at which the chain begins or ended when that was noted; empty when nothing is."""
    known = {chain.start: chain.start_hash, chain.end: chain.end_hash} if chain else {}
    number = found["entry"]["seq"]
    return "" if found["hash"] == known.get(number, found["hash"]) else "it is not the one that was written"


def _wrong(found: dict[str, Any], number: int, previous: str, verdict: Verdict) -> str:
    """What is wrong with an entry that is as it was written, or with what stands beside it; empty when nothing is."""
    body, about = found["entry"], found["about"]
    if body["seq"] != number:
        return f"entry {body['seq']} stands in its place"
    if previous and body["prev"] != previous:
        return "it does not follow the entry before it"
    if "about" in body and about is None:
        verdict.erased += 1
    elif _digest(orjson.dumps(about)) != body.get("about", _digest(b"null")):
        return "what stands beside it was changed"
    return ""
