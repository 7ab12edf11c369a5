"""The table of settings, read off their dataclasses: what the command line, the environment and the README know."""

from __future__ import annotations

import dataclasses
import typing
from dataclasses import dataclass
from functools import cache
from typing import Any

from .settings import Settings
from .typed_values import Bounds


@dataclass(frozen=True)
class SettingRow:
    """One row of the table of settings."""

    name: str
    default: Any
    env: str
    help: str
    type: Any
    low: float
    high: float
    choices: tuple[str, ...]
    pattern: str

    @property
    def bounds(self) -> Bounds:
        """What a value of the right type may be."""
        return Bounds(self.low, self.high, self.choices, self.pattern, self.default)


@cache
def table(cls: type = Settings, prefix: str = "") -> tuple[SettingRow, ...]:
    """All settings in the order they are written above."""
    hints = hints_of(cls)
    rows: list[SettingRow] = []
    for f in dataclasses.fields(cls):
        kind = hints[f.name]
        if dataclasses.is_dataclass(kind) and isinstance(kind, type):
            rows += table(kind, f"{prefix}{f.name}.")
            continue
        default = f.default_factory() if f.default_factory is not dataclasses.MISSING else f.default
        name = f"{prefix}{f.name}"
        env = "RECSYS_" + name.upper().replace(".", "_")
        rows.append(SettingRow(name, default, env, type=kind, **f.metadata))
    return tuple(rows)


@cache
def hints_of(cls: type) -> dict[str, Any]:
    return typing.get_type_hints(cls)


def table_default(name: str) -> Any:
    """The default of a setting by its dotted name."""
    return next(row.default for row in table() if row.name == name)
