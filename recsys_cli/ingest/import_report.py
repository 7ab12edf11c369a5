"""What became of a file, as values; the command line draws it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Example:
    """One row that offends."""

    row: int
    value: str | None


@dataclass(frozen=True)
class Reason:
    """One rule, and the rows that offended it."""

    name: str
    sentence: str
    severity: str
    rows: int
    examples: tuple[Example, ...]


@dataclass(frozen=True)
class FileReport:
    """One file.

    Parameters
    ----------
    kind, format, preset
        What it was read as.
    understood
        Field to the columns it is read from.
    unused
        Columns that nothing was read from. Those of items and users are kept as attributes.
    read, new, known, rejected
        Rows; read = new + known + rejected, always.
    changed, retired
        Of new items and users those that changed an existing one; items a full catalogue no longer has.
    reasons
        Of the rejected rows, most frequent first.
    notes
        How values were read, and what is worth knowing.
    already
        The file was taken before, the same bytes in the same way; nothing was read again.
    attributes
        The columns in `unused` have no name of ours and are kept as attributes of the items or users.
    stored
        What was read is in the database (not so after a dry run, or when strictness refused it).
    """

    file: str
    kind: str
    format: str
    preset: str | None
    understood: dict[str, str]
    unused: tuple[str, ...]
    read: int
    new: int
    known: int
    rejected: int
    seconds: float
    changed: int = 0
    retired: int = 0
    reasons: tuple[Reason, ...] = ()
    notes: tuple[str, ...] = ()
    already: bool = False
    stored: bool = True
    attributes: bool = False

    @property
    def wrong(self) -> int:
        """Rejected rows with something wrong; the others were left out by design."""
        return sum(r.rows for r in self.reasons if r.severity == "rejected")

    @property
    def nothing(self) -> bool:
        """Whether there were rows and none was taken, for something wrong with them; before, if `already`."""
        return bool(self.read) and not self.new and not self.known and bool(self.wrong or self.already)

    def sentence(self) -> str:
        """The counts in one line."""
        rows = "row" if self.read == 1 else "rows"
        return (
            f"{self.file}: {self.read:,} {rows} read, {self.new:,} new {self.kind}, {self.known:,} known, "
            f"{self.rejected:,} rejected."
        )

    def as_dict(self) -> dict[str, Any]:
        """For `--json`."""
        plain = {name: getattr(self, name) for name in self.__dataclass_fields__}
        plain["reasons"] = [
            {**{n: getattr(r, n) for n in ("name", "sentence", "severity", "rows")},
             "examples": [{"row": e.row, "value": e.value} for e in r.examples]}
            for r in self.reasons
        ]  # fmt: skip
        return plain


@dataclass(frozen=True)
class Report:
    """All files of one command."""

    files: tuple[FileReport, ...] = field(default=())

    def total(self, name: str) -> int:
        """Sum of a count over the files."""
        return sum(int(getattr(f, name)) for f in self.files)

    def as_dict(self) -> dict[str, Any]:
        """For `--json`."""
        counts = ("read", "new", "known", "rejected")
        return {"files": [f.as_dict() for f in self.files], "total": {n: self.total(n) for n in counts}}


def reasons_from(rows: Sequence[tuple[str, str, str, int, Sequence[tuple[int, str | None]]]]) -> tuple[Reason, ...]:
    """Reasons from (name, sentence, severity, rows, examples), those that say the same joined."""
    joined: dict[tuple[str, str, str], Reason] = {}
    for name, sentence, severity, count, examples in rows:
        before = joined.get((name, sentence, severity))
        shown = tuple(Example(row, value) for row, value in examples)
        joined[name, sentence, severity] = (
            Reason(name, sentence, severity, count, shown)
            if before is None
            else Reason(name, before.sentence, severity, before.rows + count, (before.examples + shown)[:3])
        )
    return tuple(sorted(joined.values(), key=lambda r: (-r.rows, r.name, r.sentence)))
