"""Where settings come from: in this order flag, environment (`RECSYS_…`), `recsys.toml`, default; or written values."""

from __future__ import annotations

import dataclasses
import difflib
import os
import re
import tomllib
import typing
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from .errors import SettingError, UsageError
from .settings import Settings
from .settings_table import SettingRow, hints_of, table, table_default
from .typed_values import converted, typed

_HEAD = re.compile(r"\s*\[(?P<list>\[)?\s*(?P<table>[^\[\]]+?)\s*\]")
_KEY = re.compile(r"\s*(?P<key>(?:[\w-]+|\"[^\"]*\"|'[^']*')(?:\s*\.\s*(?:[\w-]+|\"[^\"]*\"|'[^']*'))*)\s*=")


def load(
    flags: Mapping[str, Any] | None = None,
    *,
    config: Path | None = None,
    environ: Mapping[str, str] | None = None,
    refused: list[SettingError] | None = None,
) -> Settings:
    """Read the settings of one run.

    Parameters
    ----------
    flags
        Dotted setting name to value; None values were not given on the command line.
    config
        The TOML file; see `settings_file`.
    environ
        Default is the process's environment.
    refused
        Takes what is no setting or not its value, which is then left out; otherwise the first of it is raised.

    Raises
    ------
    UsageError
        For an unreadable file, an unknown setting, or a value of the wrong type.
    """
    environ = os.environ if environ is None else environ
    rows = {row.name: row for row in table()}
    values: dict[str, Any] = {}
    given = (flags or {}).get("db")

    def take(name: str, value: Any, where: str) -> None:
        try:
            _put(values, _row(rows, name, where), value, where)
        except SettingError as e:
            if refused is None:
                raise
            refused.append(e)

    for name, value in _from_toml(config, environ, given).items():
        take(name, value, "recsys.toml")
    for row in rows.values():
        if environ.get(row.env):  # an empty variable is what a compose file makes of one that is not set
            take(row.name, environ[row.env], f"environment variable {row.env}")
    for name, value in (flags or {}).items():
        if value is not None:
            _put(values, _row(rows, name, "flags"), value)
    if "rules.timezone" not in values and "ingest.timezone" in values:
        values["rules.timezone"] = values["ingest.timezone"]
    if given is not None and "artifacts" not in values:
        values["artifacts"] = Path(given).parent / table_default("artifacts")
    for name in ("db", "artifacts"):
        path = values.get(name, table_default(name))
        # What belongs to a database stands beside it, and not beside a link to it; so does the proof of an erasure.
        if path.is_symlink():
            values[name] = path.resolve()
    return typing.cast(Settings, _build(Settings, values, ""))


def settings_file(config: Path | None, db: Path | None = None, environ: Mapping[str, str] | None = None) -> Path:
    """Where the settings are read from: `config`, else `$RECSYS_CONFIG`, else `recsys.toml` beside the database that
    was named on the command line, else `recsys.toml` in the working directory."""
    environ = os.environ if environ is None else environ
    named = config or (Path(environ["RECSYS_CONFIG"]) if environ.get("RECSYS_CONFIG") else None)
    return named or (Path(db).parent if db is not None else Path()) / "recsys.toml"


def line_of(text: str, path: Sequence[str | int]) -> int | None:
    """The line of a settings file, from 1, where something stands; that of its table where it cannot be told better.

    Parameters
    ----------
    path
        As in `errors.SettingError`.
    """
    here: tuple[str | int, ...] = ()
    counts: dict[tuple[str | int, ...], int] = {}
    best, reached = None, 0
    for number, line in enumerate(text.split("\n"), 1):
        if head := _HEAD.match(line):
            here = found = _key_parts(head["table"])
            if head["list"]:
                counts[here] = counts.get(here, 0) + 1
                here = found = (*here, counts[here])
        elif key := _KEY.match(line):
            found = (*here, *_key_parts(key["key"]))
        else:
            continue
        if found == tuple(path[: len(found)]) and len(found) > reached:
            best, reached = number, len(found)
    return best


def table_at(line: str) -> tuple[str, ...] | None:
    """The table whose header a line is; of a list of tables, with "[]" after its name; None for any other line."""
    head = _HEAD.match(line)
    if head is None:
        return None
    names = tuple(str(part) for part in _key_parts(head["table"]))
    return (*names, "[]") if head["list"] else names


def key_at(line: str) -> tuple[str, ...]:
    """The parts of the key that a line sets; empty when it sets none."""
    key = _KEY.match(line)
    return tuple(str(part) for part in _key_parts(key["key"])) if key else ()


def _key_parts(text: str) -> tuple[str | int, ...]:
    return tuple(part.strip("\"'") for part in re.findall(r"\"[^\"]*\"|'[^']*'|[\w-]+", text))


def as_values(settings: Settings) -> dict[str, Any]:
    """Dotted names and values, fit for JSON but for paths; see `from_values`."""

    def flat(part: Any, prefix: str) -> dict[str, Any]:
        values: dict[str, Any] = {}
        for f in dataclasses.fields(part):
            value = getattr(part, f.name)
            inner = dataclasses.is_dataclass(value)
            values |= flat(value, f"{prefix}{f.name}.") if inner else {f"{prefix}{f.name}": value}
        return values

    return flat(settings, "")


def from_values(values: Mapping[str, Any]) -> Settings:
    """The settings that `as_values` has written, after a way through JSON."""
    kinds = {row.name: row.type for row in table()}
    return typing.cast(Settings, _build(Settings, {n: converted(kinds[n], v) for n, v in values.items()}, ""))


def misspelt(environ: Mapping[str, str] | None = None) -> list[str]:
    """A sentence for each variable of the environment that is nearly a setting's, and so is not read.

    Others that begin like ours are left in peace: a cluster sets RECSYS_PORT for a service that is called recsys.
    """
    environ = os.environ if environ is None else environ
    known = ["RECSYS_CONFIG", *(row.env for row in table())]
    said = []
    for name in sorted(n for n in environ if n.startswith("RECSYS_") and n not in known):
        near = difflib.get_close_matches(name, known, n=1, cutoff=0.85)
        said += [f"The environment variable {name} is not a setting. Did you mean {near[0]}?"] if near else []
    return said


def _row(rows: Mapping[str, SettingRow], name: str, where: str) -> SettingRow:
    if name in rows:
        return rows[name]
    near = difflib.get_close_matches(name, rows, n=1)
    hint = f"Did you mean '{near[0]}'?" if near else "The README lists all settings."
    raise SettingError(tuple(name.split(".")), f"'{name}' in {where} is not a setting.", hint)


def _from_toml(config: Path | None, environ: Mapping[str, str], db: Path | None) -> dict[str, Any]:
    named = config is not None or bool(environ.get("RECSYS_CONFIG"))
    path = settings_file(config, db, environ)
    try:
        tree = tomllib.loads(path.read_text(encoding="utf-8-sig"))
    except FileNotFoundError:
        if not named:
            return {}
        raise UsageError(f"There is no settings file {path}.", "Name one that exists with --config.") from None
    except OSError as e:
        why = os.strerror(e.errno) if e.errno else str(e)
        raise UsageError(f"The settings file {path} cannot be read: {why}.", "Fix it, or move it away.") from None
    except (UnicodeDecodeError, tomllib.TOMLDecodeError) as e:
        raise UsageError(f"The settings file {path} cannot be read: {e}.", "Fix it, or move it away.") from None
    return _flatten(tree, {row.name for row in table()})


def _flatten(tree: Mapping[str, Any], names: set[str], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in tree.items():
        name = f"{prefix}{key}"
        if isinstance(value, dict) and name not in names:
            flat |= _flatten(value, names, f"{name}.")
        else:
            flat[name] = value
    return flat


def _build(cls: type, values: Mapping[str, Any], prefix: str) -> Any:
    hints = hints_of(cls)
    given: dict[str, Any] = {}
    for f in dataclasses.fields(cls):
        kind, name = hints[f.name], f"{prefix}{f.name}"
        if dataclasses.is_dataclass(kind) and isinstance(kind, type):
            given[f.name] = _build(kind, values, f"{name}.")
        elif name in values:
            given[f.name] = values[name]
    return cls(**given)


def _put(values: dict[str, Any], row: SettingRow, value: Any, where: str = "") -> None:
    """Take over the value as the setting's type; strings come from the environment and from flags."""
    try:
        coerced = typed(row.type, value, row.bounds)
    except ValueError as e:
        path = tuple(row.name.split("."))
        named = f"{row.name} ({where})" if where else row.name
        raise SettingError(path, f"{named} {e}.", f"{row.help} Default: {row.default}.") from None
    # A table is amended, not replaced: setting one weight must not silently drop the others.
    amends = isinstance(row.default, dict)
    values[row.name] = {**values.get(row.name, row.default), **coerced} if amends else coerced
