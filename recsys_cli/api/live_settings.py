"""Rules and placements as recsys.toml has them now: followed while the server runs, refused where they are wrong."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..artifacts import Artifacts
from ..artifacts.bundle import read_bundle
from ..errors import RecsysError, SettingError, UsageError
from ..serving.attributes import Attributes
from ..serving.customer_lists import regular_price
from ..serving.filter_masks import Masks
from ..serving.filter_tree import FilterError, parse
from ..serving.list_kinds import KINDS
from ..serving.placements import Placements, read_placements
from ..serving.rules import Rules
from ..settings import Settings
from ..settings_sources import as_values, line_of, load

_AT_ONCE = ("rules.", "placements")  # what counts without a restart

Stamp = tuple[int, int, int] | None


@dataclass(frozen=True)
class Source:
    """Where the settings come from, besides the environment.

    Parameters
    ----------
    path
        The settings file; there need not be any.
    flags
        What was given on the command line, by setting name.
    """

    path: Path
    flags: Mapping[str, Any]

    def read(self) -> Settings:
        """All settings as they are now.

        Raises
        ------
        UsageError
            Its message begins with the file and, where it is known, the line.
        """
        config = self.path if self.path.exists() else None
        environ = {name: value for name, value in os.environ.items() if name != "RECSYS_CONFIG"}
        try:
            settings = load(dict(self.flags), config=config, environ=environ)
        except SettingError as e:
            raise UsageError(f"{located(self.path, e.path)}: {e.message}", e.hint) from None
        check(settings, self.path)
        return settings


def check(settings: Settings, path: Path) -> tuple[Rules, Placements]:
    """The rules and placements of settings that were read from a file.

    Raises
    ------
    UsageError
        Its message begins with the file and, where it is known, the line.
    """
    try:
        return Rules.of(settings.rules), read_placements(settings.placements)
    except SettingError as e:
        raise UsageError(f"{located(path, e.path)}: {e.message}", e.hint) from None


def located(path: Path, place: tuple[str | int, ...]) -> str:
    """A place in a settings file, for people: `recsys.toml, line 12`."""
    try:
        line = line_of(path.read_text(encoding="utf-8-sig"), place)
    except (OSError, UnicodeDecodeError):
        line = None
    return path.name if line is None else f"{path.name}, line {line}"


class LiveSettings:
    """Follows a settings file.

    Parameters
    ----------
    source
        None follows nothing.
    settings
        As the server was started with.
    log
        Told what was taken up or refused.

    Attributes
    ----------
    placements
        The last good ones.
    error
        Why the file as it is now is refused; empty when all is well.
    """

    def __init__(self, source: Source | None, placements: Mapping[str, Any], log: Callable[..., None]) -> None:
        self.placements: Placements = read_placements(placements)
        self.error = ""
        self.source = source
        self._log = log
        self._seen = self._stamp()
        self._before = self._waiting_at_start()

    def look(self) -> Rules | None:
        """Read the file if it has changed (one `stat` otherwise); the rules, if they were accepted. Never raises."""
        seen = self._stamp()
        if seen == self._seen or seen is None or self.source is None:
            return None  # while an editor replaces the file there is none, for a moment
        self._seen = seen
        try:
            settings = self.source.read()
            rules, self.placements = check(settings, self.source.path)
        except RecsysError as e:
            self.error = str(e)
            self._log("settings_refused", error=str(e))
            return None
        self.error = ""
        self._log("settings_taken", placements=sorted(self.placements), campaigns=len(rules.campaigns))
        self._tell_what_waits(settings)
        return rules

    def _waiting_at_start(self) -> dict[str, Any] | None:
        try:
            return None if self.source is None else _waiting(self.source.read())
        except RecsysError:  # changed since the server read it: the next look tells
            return None

    def _tell_what_waits(self, settings: Settings) -> None:
        now = _waiting(settings)
        if self._before is not None and now != self._before:
            changed = sorted(name for name in now if now[name] != self._before.get(name))
            self._log("settings_wait_for_a_restart", settings=changed)
        self._before = now

    def _stamp(self) -> Stamp:
        if self.source is None:
            return None
        try:
            found = self.source.path.stat()
        except OSError:
            return None
        return found.st_ino, found.st_mtime_ns, found.st_size


def _waiting(settings: Settings) -> dict[str, Any]:
    """The settings that wait for a restart, by name."""
    return {name: value for name, value in as_values(settings).items() if not name.startswith(_AT_ONCE)}


def misfits(settings: Settings, path: Path) -> list[RecsysError]:
    """What is written well and does not fit what there is: a filter's attribute that no item has, a version.

    Raises
    ------
    NoModel
    """
    artifacts = Artifacts(settings.artifacts)
    table = read_bundle(artifacts.current(verify=False).path).catalogue
    masks, found = Masks(Attributes(table), table.num_rows), list[RecsysError]()
    rules, placements = check(settings, path)
    texts: list[tuple[tuple[str | int, ...], str, str]] = [
        (("rules", "campaigns", n), f"Campaign {n} in [[rules.campaigns]]", c.value)
        for n, c in enumerate(rules.campaigns, 1)
        if c.target == "filter"
    ]
    for name, placement in placements.items():
        if placement.filter:
            texts.append((("placements", name, "filter"), f"Placement '{name}'", placement.filter))
        if placement.kind is KINDS["on-sale"] and regular_price(masks.attributes) is None:
            at = located(path, ("placements", name, "kind"))
            sentence = f"{at}: Placement '{name}' shows items on sale, and no item has a regular price."
            found.append(UsageError(sentence, "Ingest a catalogue with a column regular_price or compare_at_price."))
        if placement.version and placement.version not in artifacts.names():
            at = located(path, ("placements", name, "version"))
            sentence = f"{at}: Placement '{name}' names the version '{placement.version}', which is not there."
            found.append(UsageError(sentence, "recsys models list shows them."))
    for place, what, text in texts:
        try:
            masks.of(parse(text), _Anything())
        except FilterError as e:
            found.append(UsageError(f"{located(path, place)}: {what}: {e.message}", e.hint))
    return found


class _Anything(dict[str, str]):
    """Stands for what requests will say of the customer: everything that is asked for, as a number."""

    def __contains__(self, name: object) -> bool:
        return True

    def get(self, name: str, default: Any = None) -> str:
        return "0"
