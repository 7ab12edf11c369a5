"""The shop's own exports in the watched folder: found when they name an erased person, and by setting rewritten.

A rewritten file takes the old one's place by one rename, with its mode, owner and time, and the ledger of what was
ingested knows its content before anybody else has a turn at the database: it is not taken in again.
"""

from __future__ import annotations

import json
import os
import re
import secrets
import stat
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from ..durable_files import being_written, explain_os, fsync_dir, sha256_of, write_atomic
from ..errors import RecsysError
from ..store import Store
from ..store.merge import readings_of
from .cutting import UNNAMED, Cut, Uncuttable, cut
from .needles import WHOLE_CELL, Needle, is_tiny
from .people import Person
from .quoted import is_report, without_quotes
from .scanning import Finding, Scan, scan
from .whose import Whose, has_letter, words_in

_DRAFT = ".erasing"
_SHOWN = 5  # numbers of rows in a reason
_LARGEST = 2 << 30  # bytes of a file that are rewritten in memory


@dataclass(frozen=True)
class Original:
    """A file that names somebody, and why it still does; empty when it has rows of theirs that can be cut out."""

    path: Path
    why: str = ""


@dataclass
class Draft:
    """A file without their rows, ready to take the place of the old one.

    Parameters
    ----------
    path, made
        The file, and the draft beside it; None when nobody else's row is left and the file goes.
    before, after
        Hex SHA-256 of the content; `after` is empty when the file goes.
    rows
        How many were taken out.
    """

    path: Path
    made: Path | None
    before: str
    after: str
    rows: int
    size: int
    _mark: tuple[int, int, int] = field(default=(0, 0, 0))

    def unchanged(self) -> bool:
        """Whether the old file is still what was read."""
        try:
            return _mark(self.path.lstat()) == self._mark and not being_written(self.path)
        except FileNotFoundError:
            return False

    def swap(self) -> None:
        """Put the draft in the place of the file.

        Raises
        ------
        StoreError
        """
        try:
            if self.made is None:
                self.path.unlink()
            else:
                self.made.replace(self.path)
            fsync_dir(self.path.parent)
        except OSError as e:
            raise explain_os(e, self.path) from None

    def drop(self) -> None:
        """Remove the draft, when it was not put in place."""
        if self.made is not None:
            self.made.unlink(missing_ok=True)


class Originals:
    """The watched folder, searched for some people.

    Parameters
    ----------
    folder
        Looked through with the folders in it; files that could not be taken are in one of them.
    needles
        See `proving.needles_of`; people first.
    columns
        Gives, for the content with this SHA-256, the columns by which ingest understood it to name customers; see
        `columns_of`.
    sessions
        Those in which one of them is the guest.
    """

    def __init__(
        self,
        folder: Path,
        people: Sequence[Person],
        needles: Sequence[Needle],
        columns: Callable[[str], Iterable[str]] = lambda sha256: (),
        sessions: Sequence[str] = (),
    ) -> None:
        self._folder, self._needles, self._columns = folder, needles, columns
        self._whose = Whose.of(needles, people, sessions)
        self._wordy = {who for who, p in enumerate(people) if set(p.names) & self._whose.words}
        self.seen = Scan()

    def sweep(self) -> None:
        """Remove drafts of a killed run."""
        for draft in self._folder.rglob(f".*{_DRAFT}"):
            draft.unlink(missing_ok=True)

    def paths(self) -> Iterator[Path]:
        """All files, those of folders in it as well."""
        for folder, _, names in os.walk(self._folder):
            yield from (Path(folder) / name for name in sorted(names) if not name.endswith(_DRAFT))

    def found(self) -> list[Original]:
        """Files that name them."""
        return [named for path in self.paths() if (named := self.look(path)) is not None]

    def look(self, path: Path) -> Original | None:
        """Whether a file names them, and why their rows cannot be cut out of it.

        A telling identifier counts wherever it stands, and a short one with a letter as a word. Digits are in every
        column of numbers: they count where the file names customers, in files that do not say where that is, and
        elsewhere as a coincidence, one a file.
        """
        seen = scan([path], self._needles)
        self.seen.files, self.seen.bytes = self.seen.files + seen.files, self.seen.bytes + seen.bytes
        surely = [f for f in seen.findings if f.sure or f.who in self._wordy]
        if any(f.offset < 0 for f in surely):
            return Original(path, "has one of them in its name")
        if not (surely or seen.unread or self._whose.short or self._whose.sessions):
            return None  # the search has read it; most files are not theirs
        try:
            original = self._quoting(path) if is_report(path) else self._holding(path)
        except Uncuttable as e:
            # Of what cannot be opened nobody can say that it does not name them.
            original = Original(path, str(e)) if seen.findings or seen.unread or str(e) == UNNAMED else None
        except FileNotFoundError:
            return None
        except OSError as e:
            raise explain_os(e, path) from None
        # A word in a column of products is a product; in any other way of writing it nothing else is meant.
        if original is None and any(f.sure or f.encoding not in ("plain", WHOLE_CELL) for f in surely):
            return Original(path, "names them where no row can be cut out")
        if original is None:
            self.seen.coincidences += [*seen.findings, *seen.coincidences][:1] or self._alike(path)
        return original

    def _holding(self, path: Path) -> Original | None:
        left = self._cut(path)
        if left.rows:
            return Original(path, self._cannot_swap(path))
        if left.mentions:
            return Original(path, _mentioning(left))
        return None

    def _quoting(self, path: Path) -> Original | None:
        if without_quotes(path.read_bytes(), self._whose) is None:
            return None
        return Original(path, "quotes them; recsys gdpr delete leaves that out")

    def _alike(self, path: Path) -> list[Finding]:
        """A tiny id with a letter, c12 say, as a word of a text: too short for the search, and too short to be sure."""
        tiny = [name.encode() for name in self._whose.short if is_tiny(name) and has_letter(name)]
        if not tiny or path.stat().st_size > _LARGEST or b"\0" in (content := path.read_bytes())[:4096]:
            return []
        found = min((at for name in tiny for at in words_in(content, name)), default=None)
        return [] if found is None else [Finding(str(path), "", "plain", 0, found, sure=False)]

    def leave_out_quotes(self) -> int:
        """Take them out of the reports of ours on files that were set aside; returns how many quoted them."""
        changed = 0
        for path in self.paths():
            if not is_report(path):
                continue
            try:
                left = without_quotes(path.read_bytes(), self._whose)
            except (Uncuttable, FileNotFoundError):
                continue  # it is listed in the end, if it names them
            except OSError as e:
                raise explain_os(e, path) from None
            if left is not None:
                write_atomic(path, left)
                changed += 1
        return changed

    def shown(self, path: Path) -> str:
        """The file's name for a receipt, which names nobody and must never stand in the way of another erasure."""
        name = str(path.relative_to(self._folder)) if path.is_relative_to(self._folder) else path.name
        if "@" in name or re.search(r"\d{5}", name) or self._whose.without_names(name) != name:
            return "a file whose name is left out here"
        return name

    def draft(self, original: Original) -> Draft:
        """Write the file anew without them, beside it, and search what was written.

        Raises
        ------
        Uncuttable
        StoreError
            The disk is full, say; the old file stands.
        """
        path, before = original.path, original.path.lstat()
        digest = sha256_of(path)
        left = self._cut(path)
        if left.nothing_left:
            return Draft(path, None, digest, "", left.rows, 0, _mark(before))
        made = path.with_name(f".{secrets.token_hex(8)}{_DRAFT}")
        try:
            _write(made, left.content, before)
            again = self._cut(made, digest)
            named = not again.mentions and any(f.sure for f in scan([made], self._needles).findings)
            if named or again.rows:
                raise Uncuttable("names them in a way that cannot be cut out")
        except OSError as e:
            made.unlink(missing_ok=True)
            raise explain_os(e, path) from None
        except (Uncuttable, RecsysError):
            made.unlink(missing_ok=True)
            raise
        return Draft(path, made, digest, sha256_of(made), left.rows, len(left.content), _mark(before))

    def _cut(self, path: Path, known_as: str = "") -> Cut:
        if path.stat().st_size > _LARGEST:
            raise Uncuttable("is too large to be rewritten")
        return cut(path.read_bytes(), self._whose.knowing(self._columns(known_as or sha256_of(path))))

    def _cannot_swap(self, path: Path) -> str:
        """Why a file must not be replaced, whatever is in it."""
        held = path.lstat()
        if stat.S_ISLNK(held.st_mode):
            return "is a link to a file elsewhere"
        if held.st_nlink > 1:
            return "has a second name elsewhere, under which the old content would stay"
        if not os.access(path.parent, os.W_OK):
            return "is in a folder that cannot be written to"
        return "is still being written" if being_written(path) else ""


def _mentioning(left: Cut) -> str:
    """Where rows mention them; with thousands apart, because a number of a line may also be a customer's."""
    first = ", ".join(f"{n:,}" for n in left.mentions[:_SHOWN])
    more = f" and {len(left.mentions) - _SHOWN:,} more" if len(left.mentions) > _SHOWN else ""
    if len(left.mentions) == 1:
        return f"mentions them in {left.unit} {first}, which is no row of theirs"
    return f"mentions them in {left.unit}s {first}{more}, which are no rows of theirs"


def columns_of(store: Store, content: str) -> list[str]:
    """Columns of a content (hex SHA-256) that ingest understood to name customers, whatever they are called."""
    if not store.exists():
        return []
    with store.reading() as con:
        readings = [json.loads(text)["columns"] for text in readings_of(con, content)]
    return [name for columns in readings for field in ("user_id", "email") for name in columns.get(field, ())]


def _mark(held: os.stat_result) -> tuple[int, int, int]:
    return held.st_size, held.st_mtime_ns, held.st_ino


def _write(made: Path, content: bytes, like: os.stat_result) -> None:
    """On disk, with the old file's mode, owner and time: the watcher takes files in the order of their times."""
    with made.open("xb") as f:
        os.fchmod(f.fileno(), 0o600)
        f.write(content)
        f.flush()
        with suppress(PermissionError):  # only root may give files away; the group may still be ours to set
            os.fchown(f.fileno(), like.st_uid, like.st_gid)
        os.fchmod(f.fileno(), stat.S_IMODE(like.st_mode))
        os.utime(f.fileno(), ns=(like.st_atime_ns, like.st_mtime_ns))
        os.fsync(f.fileno())
