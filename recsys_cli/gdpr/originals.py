"""The shop's own exports in the watched folder: found when they name an erased person, and by setting rewritten.

A rewritten file takes the old one's place by one rename, with its mode, owner and time, and the ledger of what was
ingested knows its content before anybody else has a turn at the database: it is not taken in again.
"""

from __future__ import annotations

import json
import os
import secrets
import stat
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from ..errors import RecsysError
from ..files import being_written, explain_os, fsync_dir, sha256_of
from .cutting import UNNAMED, Cut, Uncuttable, Whose, cut
from .needles import Needle
from .people import Person
from .scanning import Scan, scan

REPORTS = ".report.json"  # what a watched folder says of a file that it set aside
_DRAFT = ".erasing"
_LARGEST = 2 << 30  # bytes of a file that are rewritten in memory


@dataclass(frozen=True)
class Original:
    """A file that names somebody, and why no rows can be cut out of it; empty when they can."""

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
        Gives, for the content with this SHA-256, the columns by which ingest understood it to name customers.
    """

    def __init__(
        self,
        folder: Path,
        people: Sequence[Person],
        needles: Sequence[Needle],
        columns: Callable[[str], Iterable[str]] = lambda sha256: (),
    ) -> None:
        self._folder, self._needles, self._columns = folder, needles, columns
        self._whose = Whose.of(needles, people)
        self._telling = [n for n in needles if n.telling]
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

        A telling identifier counts wherever it stands. A short one is in every column of numbers: it counts where
        the file names customers, and in files that do not say where that is.
        """
        seen = scan([path], self._telling)
        self.seen.files, self.seen.bytes = self.seen.files + seen.files, self.seen.bytes + seen.bytes
        surely = seen.findings
        if any(f.offset < 0 for f in surely):
            return Original(path, "has one of them in its name")
        if not (surely or seen.unread or self._whose.short):
            return None  # the search has read it; most files are not theirs
        try:
            rows = self._cut(path).rows
        except Uncuttable as e:
            # Of what cannot be opened nobody can say that it does not name them.
            doubtful = surely or seen.unread or str(e) == UNNAMED or scan([path], self._needles).findings
            return Original(path, str(e)) if doubtful else None
        except FileNotFoundError:
            return None
        except OSError as e:
            raise explain_os(e, path) from None
        if rows:
            return Original(path, self._cannot_swap(path))
        return Original(path, "names them where no row can be cut out") if surely else None

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
            if scan([made], self._telling).findings or self._cut(made, digest).rows:
                raise Uncuttable("names them in a way that cannot be cut out")
        except OSError as e:
            made.unlink(missing_ok=True)
            raise explain_os(e, path) from None
        except (Uncuttable, RecsysError):
            made.unlink(missing_ok=True)
            raise
        return Draft(path, made, digest, sha256_of(made), left.rows, len(left.content), _mark(before))

    def _cut(self, path: Path, known_as: str = "") -> Cut:
        if path.name.endswith(REPORTS):
            return _without_examples(path) if scan([path], self._needles).findings else Cut()
        if path.stat().st_size > _LARGEST:
            raise Uncuttable("is too large to be rewritten")
        columns = self._columns(known_as or sha256_of(path)) if self._whose.short else ()
        return cut(path.read_bytes(), self._whose.knowing(columns))

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


def _without_examples(path: Path) -> Cut:
    """What a report of ours says without the values it quotes from the file."""
    try:
        said = {key: value for key, value in json.loads(path.read_bytes()).items() if key != "report"}
    except (ValueError, AttributeError):
        raise Uncuttable("is no report that can be read") from None
    return Cut(1, json.dumps(said, indent=2).encode())


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
