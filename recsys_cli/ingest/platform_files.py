"""What a preset knows of one kind of file of one platform.

Which columns give it away, where each field stands (several columns: the first that is filled), and its habits, such as
telling the order's date on its first line only.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

Columns = Mapping[str, tuple[str, ...]]


@dataclass(frozen=True)
class Preset:
    """One kind of file of one platform.

    Parameters
    ----------
    platform, kind
        woocommerce, …; events or items.
    telling
        Columns (any spelling of case and punctuation) that together give the file away.
    columns
        Field to columns, the first one filled counts. Those that the file lacks are passed over.
    needed
        Fields without which the file is of no use.
    ask
        A field that is asked for though the columns are known, since shops differ.
    fill_down
        Fields that stand on the first line of a group only, and the field that groups the lines.
    """

    platform: str
    kind: str
    telling: tuple[str, ...]
    columns: Columns
    needed: tuple[str, ...]
    fill_down: tuple[str, ...] = ()
    group: str = ""
    notes: tuple[str, ...] = field(default=())
    ask: str = ""
