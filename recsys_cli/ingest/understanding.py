"""What a file was understood to be, and what was asked of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import orjson

from .platform_files import Preset
from .readers import Source


@dataclass(frozen=True)
class Understanding:
    """What a file is, and where each field stands in it.

    Parameters
    ----------
    kind
        events, items or users.
    columns
        Field name to positions of columns; of several, the first that is filled counts.
    preset
        The platform's habits, where one is at work.
    unused
        Positions of columns that nothing is read from.
    notes
        What was decided between columns.
    date_order
        dmy or mdy, where it is known from the file that these rows were in.
    guessed
        Nobody said what kind of file it is, nor did a platform's columns; only the names of columns did.
    date
        The time of every row, epoch seconds, where somebody said it; no column is read for it then.
    event_type
        What every row tells, where somebody said it.
    ratings_from
        The rating from which on a rated product is liked; None where ratings are not read.
    fill_down, group
        Fields that stand on one row of a group only, and the field that groups the rows.
    heads
        Rows without a product are the heads of orders whose lines are rows of their own.
    """

    kind: str
    columns: Mapping[str, tuple[int, ...]]
    preset: Preset | None
    unused: tuple[int, ...]
    notes: tuple[str, ...] = ()
    date_order: str | None = None
    guessed: bool = False
    date: int | None = None
    event_type: str | None = None
    ratings_from: float | None = None
    fill_down: tuple[str, ...] = ()
    group: str = ""
    heads: bool = False

    @property
    def platform(self) -> str:
        """Of the preset at work; empty where none is."""
        return self.preset.platform if self.preset else ""

    def remembered(self, source: Source, date_order: str | None) -> str:
        """As JSON, for `recalled`; with the file's dialect, so that the same bytes are read the same way again."""
        names = source.columns
        columns = {field: [names[i] for i in at] for field, at in self.columns.items()}
        said = {
            "kind": self.kind,
            "preset": self.platform or None,
            "columns": columns,
            # By the header, a line that is not a row tells where its customer would be.
            "header": list(names),
            "date_order": date_order,
            "date": self.date,
            "event_type": self.event_type,
            "ratings_from": self.ratings_from,
            "form": source.form.as_dict(),
        }
        return orjson.dumps(said).decode()

    def described(self, names: Sequence[str]) -> dict[str, str]:
        """Field to column names, for people."""
        return {f: " or ".join(names[i] for i in at) for f, at in self.columns.items()}


@dataclass(frozen=True)
class Asked:
    """What the person said of a file, or of all.

    Parameters
    ----------
    kind
        events, items or users.
    said
        Field to column name, from the command line; `a|b` means a, or b where a is empty.
    preset
        A platform's name, or none to find it out.
    remembered
        Mappings from the settings, by kind; used where the file has the column.
    date
        The time of all rows of a file of events, epoch seconds; columns of times are left alone then.
    event_type
        What all rows of a file of events tell.
    ratings_from
        The rating from which on a rated product is liked.
    """

    kind: str | None = None
    said: Mapping[str, str] = field(default_factory=dict)
    preset: str | None = None
    remembered: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    date: int | None = None
    event_type: str | None = None
    ratings_from: float | None = None

    @property
    def nothing(self) -> bool:
        """Whether the file has to speak for itself."""
        return not self.said and not any(
            v is not None for v in (self.kind, self.preset, self.date, self.event_type, self.ratings_from)
        )
