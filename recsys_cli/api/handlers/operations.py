"""Handlers that operate the shop: updates and trainings in the background, and which version is served.

Each runs the command of that name in a process of its own, so that both ways do the same, and the server opens no
database.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

from ...artifacts.jobs import Jobs, last_object
from ...errors import RecsysError, Refused
from ...processes import ASKED_BY, own_command, own_environment
from ..call import Call, Reply
from ..service import Service

_PATIENCE = 120.0  # seconds for a command that needs few
_turn = asyncio.Semaphore(2)


class CommandFailed(RecsysError):
    """A command that the server ran did not do what was asked."""

    code, http_status = "command_failed", 409


async def refresh(service: Service, call: Call) -> Reply:
    """Start one pass of the update worker, or a training, and answer at once; one at a time. A training is judged as
    ever, and served where it is not worse."""
    body = call.body
    if body.kind == "update":
        command = ["update-worker", "--once"]
    else:
        command = ["train", *(["--model", body.model] if body.model else []), *(["--force"] if body.force else [])]
    jobs, by = Jobs(service.live.artifacts.root), call.caller.described
    job = await asyncio.to_thread(jobs.start, body.kind, _whole(service, command), by)
    return Reply.of({"job": job.id, "kind": job.kind, "state": "running", "request_id": call.request_id}, 202)


async def show_jobs(service: Service, call: Call) -> Reply:
    """The last jobs, newest first."""
    return Reply.of({"jobs": await asyncio.to_thread(Jobs(service.live.artifacts.root).all)})


async def show_job(service: Service, call: Call) -> Reply:
    """A job, with its progress: running, done, failed, or lost when it was killed."""
    return Reply.of(await asyncio.to_thread(Jobs(service.live.artifacts.root).one, call.path["job_id"]))


async def promote(service: Service, call: Call) -> Reply:
    """Serve a version from now on, as recsys models promote does; servers change over within a second."""
    return Reply.of(await _run(service, call, ["models", "promote", "--", call.body.version]))


async def rollback(service: Service, call: Call) -> Reply:
    """Serve the version before the served one, as recsys models rollback does."""
    return Reply.of(await _run(service, call, ["models", "rollback", *(["--model"] if call.body.model else [])]))


def _whole(service: Service, command: Sequence[str]) -> list[str]:
    """The command with the state that this server was started with."""
    source = service.settings_now.source
    if source is None:
        raise Refused("This server was started without settings to operate by.", "Start it with recsys serve.")
    flags = [word for name, value in source.flags.items() for word in (f"--{name}", str(value))]
    config = ["--config", str(source.path)] if source.path.exists() else []
    at = command.index("--") if "--" in command else len(command)
    return [*command[:at], "--json", *flags, *config, *command[at:]]


async def _run(service: Service, call: Call, command: Sequence[str]) -> Mapping[str, Any]:
    """What the command prints.

    Raises
    ------
    CommandFailed
        With the command's own words.
    """
    environment = own_environment(**{ASKED_BY: f"key {call.caller.described['key']}"})
    async with _turn:
        process = await asyncio.create_subprocess_exec(
            *own_command("recsys_cli.cli.main", *_whole(service, command)),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            env=environment,
        )
        try:
            out, err = await asyncio.wait_for(process.communicate(), _PATIENCE)
        except TimeoutError:
            process.kill()
            await process.wait()
            raise CommandFailed("The command took too long and was stopped.", "Run it on the machine itself.") from None
    if process.returncode == 0:
        return last_object(out)
    told = last_object(err).get("error", {})
    raise CommandFailed(told.get("message", "The command failed."), told.get("hint", "The server's log says more."))
