"""Everything that can go wrong for a reason we know: one tree, one sentence each.

A message says what happened and where; the hint says what to do next. The command line prints both and exits
with `exit_code`; the server answers `{"error": {"code", "message", "hint"}}` with `http_status`.
"""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar


class RecsysError(Exception):
    """Base of all errors that are shown to people.

    Parameters
    ----------
    message
        One sentence: what happened, and where.
    hint
        One sentence: what to do next. May be empty when the message says it.
    """

    code: ClassVar[str] = "error"
    exit_code: ClassVar[int] = 1
    http_status: ClassVar[int] = 500

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.message} {self.hint}".strip()

    def body(self) -> dict[str, dict[str, str]]:
        """The one shape of errors over HTTP and in `--json`."""
        return {"error": {"code": self.code, "message": self.message, "hint": self.hint}}


class UsageError(RecsysError):
    """A flag, argument or setting that cannot be used as given."""

    code, exit_code, http_status = "usage", 2, 400


class SettingError(UsageError):
    """Something in a settings file that cannot be used as it is written there.

    Parameters
    ----------
    path
        Where it stands: names of tables, and of the key; the number of an entry, from 1, in a list of tables.
    """

    def __init__(self, path: tuple[str | int, ...], message: str, hint: str = "") -> None:
        super().__init__(message, hint)
        self.path = path


class InputError(RecsysError):
    """A file, or something in it, that cannot be taken."""

    code, exit_code, http_status = "bad_input", 3, 400


class StoreError(RecsysError):
    """The DuckDB file, or another that is to be written, cannot be used."""

    code, exit_code = "store", 4


class StoreMissing(StoreError):
    """There is no DuckDB file yet."""

    code = "store_missing"


class StoreBusy(StoreError):
    """Another process holds the database longer than we were told to wait."""

    code, exit_code, http_status = "store_busy", 5, 503


class DamagedState(StoreError):
    """A small file of ours is not what was written.

    Parameters
    ----------
    path
        The file.
    without
        One sentence: what is lost by removing it.
    """

    code = "damaged_state"

    def __init__(self, path: Path, without: str = "") -> None:
        super().__init__(f"{path} is damaged: restore it from a backup, or remove it.", without)
        self.path = path


class ArtifactError(RecsysError):
    """The artifacts directory, or a version in it, cannot be used."""

    code, exit_code, http_status = "artifacts", 6, 503


class NoModel(ArtifactError):
    """Nothing has been published yet."""

    code = "no_model"


class CorruptArtifact(ArtifactError):
    """A version's files are not what its manifest says."""

    code = "corrupt_artifact"


class NewerVersion(CorruptArtifact):
    """A version that a newer recsys wrote: nothing is wrong with it, and it cannot be used here."""

    code = "newer_version"


class NotReady(ArtifactError):
    """A server that answers, but no longer keeps up: a loop of it has failed again and again."""

    code = "not_ready"


class Superseded(ArtifactError):
    """Another version was published while this one was being made from the one before."""

    code, http_status = "superseded", 409


class NotEnoughData(RecsysError):
    """The store holds too little to do what was asked."""

    code, exit_code, http_status = "not_enough_data", 7, 409


class NotFound(RecsysError):
    """A user, item, version or session that is not known."""

    code, exit_code, http_status = "not_found", 8, 404


class MissingDependency(RecsysError):
    """An optional library is not installed."""

    code, exit_code, http_status = "missing_dependency", 9, 501

    def __init__(self, library: str, extra: str, what: str) -> None:
        super().__init__(f"{what} needs {library}, which is not installed.", f"Run: pip install 'recsys-cli[{extra}]'")


class MissingLibrary(RecsysError):
    """A library of the system that a package needs is not installed."""

    code, exit_code, http_status = "missing_library", 9, 501


class ErasureIncomplete(RecsysError):
    """Traces of a person were found after they should have been gone."""

    code, exit_code = "erasure_incomplete", 10


class Refused(RecsysError):
    """The request is understood and not allowed: key, scope, limit or size."""

    code, exit_code, http_status = "refused", 11, 403


class MemoryExceeded(RecsysError):
    """A training took more memory than it may, and was ended."""

    code, exit_code = "memory", 12


class Unreachable(RecsysError):
    """A service of the shop's own that does not answer, or not as it should."""

    code, exit_code, http_status = "unreachable", 13, 503
