"""What goes wrong in a pass: every error as one of our sentences, several as one, and the owner told at intervals."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from ..durable_files import explain_os
from ..errors import ErasureIncomplete, MemoryExceeded, RecsysError, StoreBusy
from ..gdpr.rights.erase import together
from ..progress import Progress
from ..supervisor import said_by
from .retrain_triggers import Attempt

_COMMAND_SECONDS = 60


class PassFailed(RecsysError):
    """A pass, or more than one part of it, failed; `exit_code` is that of the first failure."""

    code = "pass_failed"

    def __init__(self, message: str, hint: str = "", exit_code: int = 1) -> None:
        super().__init__(message, hint)
        self.exit_code = exit_code  # type: ignore[misc]


class TooLarge(MemoryExceeded):
    """A training took more memory than it may.

    Parameters
    ----------
    attempt
        Kept, so that the next pass does not try the same again from the same data.
    """

    def __init__(self, why: MemoryExceeded, attempt: Attempt) -> None:
        super().__init__(why.message, why.hint)
        self.attempt = attempt


def explained(error: Exception) -> RecsysError:
    """Any error as one of ours, so that it is recorded, told and never a traceback in somebody's mail."""
    if isinstance(error, RecsysError):
        return error
    if isinstance(error, OSError) and error.errno:
        return explain_os(error, Path(error.filename or "."))
    hint = "Nothing was lost and the next pass tries again; if it stays, report this sentence as a bug."
    return PassFailed(f"A pass of the update worker failed unexpectedly: {said_by(error)}.", hint)


class Failures(list[RecsysError]):
    """Collects what goes wrong in the parts of a pass, so that one part never keeps the others from their work."""

    @contextmanager
    def kept(self) -> Iterator[None]:
        """One part of the pass: its error is kept for the end. Only waiting in vain for the database ends the pass."""
        try:
            yield
        except StoreBusy:
            raise
        except Exception as e:  # noqa: BLE001 - it is raised at the end of the pass
            self.append(explained(e))

    def combined(self) -> RecsysError:
        """All of them as one error."""
        first, distinct = self[0], list({e.message: e for e in self}.values())
        erasures = [e for e in distinct if isinstance(e, ErasureIncomplete)]
        if len(distinct) == 1:
            return first
        if len(erasures) == len(distinct):
            return together(erasures)
        return PassFailed(" ".join(e.message for e in distinct), first.hint, first.exit_code)


def attempt_of(failures: Sequence[RecsysError]) -> Attempt | None:
    """The training that was ended because it took too much memory, if one was."""
    return next((e.attempt for e in failures if isinstance(e, TooLarge)), None)


def tell_owner(command: str, progress: Progress, *, failure: str, failures: int) -> None:
    """Run the owner's command at the 1st, 2nd, 4th, 8th … failure in a row, and once when a pass has succeeded again.

    The command finds the sentence on its standard input and in RECSYS_FAILURE, which is empty after a recovery,
    and the number of failures in a row in RECSYS_FAILURES.

    Parameters
    ----------
    command
        A shell command line; empty for none.
    failure
        Why the pass failed; empty when it went well.
    failures
        Passes that failed in a row, this one included; when it went well, those before it.
    """
    if not command or not failures or (failure and failures & (failures - 1)):
        return
    times = f"{failures} failed pass{'es' if failures > 1 else ''}"
    told = failure or f"The update worker recovered after {times}."
    run_owner_command(command, told, progress, RECSYS_FAILURE=failure, RECSYS_FAILURES=str(failures))


def run_owner_command(command: str, text: str, progress: Progress, **variables: str) -> None:
    """Run the owner's command with a sentence on its standard input and more in its environment."""
    if not command:
        return
    try:
        done = subprocess.run(
            command,
            shell=True,  # it is the owner's own command line, from the owner's own settings
            input=text + "\n",
            text=True,
            errors="backslashreplace",
            timeout=_COMMAND_SECONDS,
            env=os.environ | {name: value.replace("\0", " ") for name, value in variables.items()},
            check=False,
        )
    except subprocess.TimeoutExpired:
        progress.note(f"The --on-failure command took more than {_COMMAND_SECONDS} s and was stopped: {command}")
    except OSError as e:
        progress.note(f"The --on-failure command could not be started ({e.strerror}): {command}")
    else:
        if done.returncode:
            progress.note(f"The --on-failure command ended with exit code {done.returncode}: {command}")
