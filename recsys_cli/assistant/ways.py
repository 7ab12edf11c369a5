"""Two ways to the same routes: a running server, or the artifacts of this machine. Either asks for the same key.

On the artifacts, the server's own application answers in this process, so that scopes, limits and what people chose
hold as they do over HTTP.
"""

from __future__ import annotations

import asyncio
import http.client
import json
import ssl
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol
from urllib.parse import SplitResult, urlencode, urlsplit

from ..artifacts import Artifacts, SpoolWriter
from ..artifacts.served_log import ServedLog
from ..errors import RecsysError, Unreachable, UsageError
from ..settings import Settings

if TYPE_CHECKING:
    from ..api.service import Service

_PATIENCE = 20.0  # seconds for an answer
_MOST_BYTES = 10_000_000
_HERE = ("127.0.0.1", 0)


class Way(Protocol):
    """Asks a route."""

    async def start(self) -> None:
        """Get ready."""

    async def get(self, path: str, query: Mapping[str, Any]) -> dict[str, Any]:
        """The answer of a route; values that are None are left out, lists are given one by one.

        Raises
        ------
        RecsysError
            As the server says it.
        """

    async def stop(self) -> None:
        """Let go."""


def _raw(query: Mapping[str, Any]) -> str:
    pairs = [(name, one) for name, value in query.items() for one in (value if isinstance(value, list) else [value])]
    texts = {True: "true", False: "false"}
    return urlencode([(name, texts[v] if isinstance(v, bool) else v) for name, v in pairs if v is not None])


def _answer(status: int, body: bytes) -> dict[str, Any]:
    try:
        found = json.loads(body)
    except ValueError:
        found = None
    if status == 200 and isinstance(found, dict):
        return found
    told = found.get("error") if isinstance(found, dict) else None
    if not isinstance(told, dict):
        raise Unreachable(f"The server answered {status}, and not as recsys does.", "Check mcp.url.")
    raise RecsysError(str(told.get("message", "")), str(told.get("hint", "")))


@dataclass
class OverServer:
    """Asks a running server.

    Parameters
    ----------
    url
        Its address; nothing else is asked, whatever it answers.
    """

    url: str
    key: str = ""

    def __post_init__(self) -> None:
        self._place = self._read(self.url)

    @staticmethod
    def _read(url: str) -> SplitResult:
        usable = False
        with suppress(ValueError):
            parts = urlsplit(url)
            plain = parts.username is None and not parts.query and not parts.fragment
            usable = parts.scheme in ("http", "https") and bool(parts.hostname) and (parts.port or 1) > 0 and plain
        if not usable:
            raise UsageError("mcp.url is not the address of a server.", "Write it like http://127.0.0.1:8000.")
        return parts

    async def start(self) -> None:
        """Nothing is held open."""

    async def get(self, path: str, query: Mapping[str, Any]) -> dict[str, Any]:
        """See `Way.get`."""
        return await asyncio.to_thread(self._get, f"{self._place.path.rstrip('/')}{path}?{_raw(query)}")

    def _get(self, target: str) -> dict[str, Any]:
        host, port = self._place.hostname or "", self._place.port
        connection: http.client.HTTPConnection
        if self._place.scheme == "https":
            context = ssl.create_default_context()
            connection = http.client.HTTPSConnection(host, port, timeout=_PATIENCE, context=context)
        else:
            connection = http.client.HTTPConnection(host, port, timeout=_PATIENCE)
        try:
            connection.request("GET", target, headers={"X-API-Key": self.key} if self.key else {})
            reply = connection.getresponse()
            return _answer(reply.status, reply.read(_MOST_BYTES))
        except (OSError, http.client.HTTPException) as e:
            why = str(e).rstrip(".") or type(e).__name__
            raise Unreachable(f"{self.url} does not answer: {why}.", "Is recsys serve running?") from None
        finally:
            connection.close()

    async def stop(self) -> None:
        """Nothing is held open."""


class _Unnoted(ServedLog):
    """What an assistant looked at was not shown to a visitor: no report counts it."""

    def note(self, *_: Any, **__: Any) -> None:
        return


@dataclass
class OverArtifacts:
    """Answers from the published version on this machine, kept up with events and new versions like a server.

    Parameters
    ----------
    config
        The settings file, of which placements and rules are followed.
    """

    settings: Settings
    secret: str
    config: Path
    key: str = ""

    async def start(self) -> None:
        """Load the current version.

        Raises
        ------
        NoModel, CorruptArtifact
        """
        from ..api.asgi import application
        from ..api.live_settings import Source
        from ..api.log import log
        from ..api.routes import ROUTES
        from ..api.server import newest_version
        from ..api.service import Service
        from ..serving.rules import Rules

        artifacts = Artifacts(self.settings.artifacts)
        serve = replace(self.settings.serve, audit_predictions=False)
        service = Service.of(serve, Rules.of(self.settings.rules), artifacts, self.secret, None, log)
        service.served = _Unnoted(SpoolWriter(artifacts.served_dir), 0.0)
        service.follow(Source(self.config, {}), self.settings.placements)
        service.live.start(*await asyncio.to_thread(newest_version, artifacts))
        await service.start()
        self._service: Service = service
        self._app = application(service, ROUTES)

    async def get(self, path: str, query: Mapping[str, Any]) -> dict[str, Any]:
        """See `Way.get`."""
        await self._service.live.catch_up()
        scope = {
            "type": "http",
            "method": "GET",
            "path": path,
            "raw_path": path.encode(),
            "query_string": _raw(query).encode(),
            "headers": [(b"x-api-key", self.key.encode())] if self.key else [],
            "client": _HERE,
            "http_version": "1.1",
            "scheme": "http",
            "root_path": "",
        }
        status, parts = 0, []

        async def receive() -> dict[str, Any]:
            return {"type": "http.request", "body": b"", "more_body": False}

        async def send(message: Any) -> None:
            nonlocal status
            status = message.get("status", status)
            parts.append(message.get("body", b""))

        await self._app(scope, receive, send)
        return _answer(status, b"".join(parts))

    async def stop(self) -> None:
        """Stop following what is published."""
        await self._service.stop()
