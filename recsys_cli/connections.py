"""What the shop may let us connect to, and nothing else: settings that name it. All of it is off until it is named."""

from __future__ import annotations

import ssl
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import SplitResult, unquote, urlsplit

from .durable_files import explain_os
from .errors import UsageError
from .typed_values import setting as _s

QUEUES = ("views", "searches", "interactions", "comparisons")
"""What the shop's programs tell of, each in a queue of its own."""


@dataclass(frozen=True)
class QueueSettings:
    """The shop's RabbitMQ broker, for recsys consume."""

    url: str = _s(
        "",
        "Broker of the shop's events, as amqps://recsys@mq.shop.example/vhost; empty for none. Never written to logs.",
    )
    password_file: Path | None = _s(None, "File that holds the password for queue.url, so that the URL need not.")
    ca_file: Path | None = _s(None, "Certificates (PEM) to trust with amqps; when not set, those of the system.")
    exchange: str = _s("shop.events", "Topic exchange that the shop's programs publish to.")
    names: dict[str, str] = _s(
        {kind: f"recsys.{kind}" for kind in QUEUES}, "Names of the durable queues; an empty name leaves a queue out."
    )
    bindings: dict[str, str] = _s(
        {kind: f"{kind}.#" for kind in QUEUES}, "Routing keys that each queue takes, separated by blanks."
    )
    dead_letters: str = _s("recsys.dead", "Exchange and queue for messages that cannot be taken, with the reason.")
    prefetch: int = _s(500, "Messages taken at a time, before they are on disk.", low=1, high=65_535)

    def queues(self) -> dict[str, str]:
        """Names of the queues to take from, by their kind.

        Raises
        ------
        UsageError
        """
        for setting, table in (("names", self.names), ("bindings", self.bindings)):
            for kind in table.keys() - set(QUEUES):
                raise UsageError(f"'{kind}' in queue.{setting} is not a queue.", f"Known: {', '.join(QUEUES)}.")
        named = {kind: name for kind in QUEUES if (name := self.names.get(kind, ""))}
        if not named:
            raise UsageError("queue.names leaves out every queue.", "Name at least one.")
        return named

    def place(self) -> SplitResult:
        """The parts of `url`.

        Raises
        ------
        UsageError
            There is none, or it cannot be a broker's. The message holds no password.
        """
        if not self.url:
            hint = 'Set it in recsys.toml ([queue] url = "amqps://recsys@mq.shop.example/"), or as RECSYS_QUEUE_URL.'
            raise UsageError("queue.url names no broker.", hint)
        try:
            parts = urlsplit(self.url)
            usable = parts.scheme in ("amqp", "amqps") and parts.hostname and (parts.port or 1)
        except ValueError:
            usable = False
        if not usable or parts.query or parts.fragment:
            raise UsageError("queue.url is not the address of a broker.", "Write it like amqps://user@host:5671/vhost.")
        return parts

    def shown(self) -> str:
        """The broker's address without user and password."""
        parts = self.place()
        host = f"[{parts.hostname}]" if ":" in (parts.hostname or "") else parts.hostname
        return f"{parts.scheme}://{host}{f':{parts.port}' if parts.port else ''}{parts.path}"

    def credentials(self) -> tuple[str, str]:
        """User and password; RabbitMQ's own "guest", which it takes from its own machine alone, where none is given.

        Raises
        ------
        UsageError, StoreError
        """
        parts = self.place()
        user, password = unquote(parts.username or "guest"), unquote(parts.password or "")
        if self.password_file is not None:
            password = _secret(self.password_file)
        return user, password or "guest"

    def trust(self) -> ssl.SSLContext:
        """Whose certificates count.

        Raises
        ------
        UsageError
        """
        return _trusting(self.ca_file, "queue.ca_file")


@dataclass(frozen=True)
class DetailsSettings:
    """The shop's own product service, for details of items that change faster than the catalogue is ingested."""

    url: str = _s("", "Address of the shop's product service, as https://api.shop.example/items; empty for none.")
    token_file: Path | None = _s(None, "File with a token that is sent to details.url as Authorization: Bearer.")
    ca_file: Path | None = _s(None, "Certificates (PEM) to trust with https; when not set, those of the system.")
    budget_ms: float = _s(30.0, "Milliseconds that an answer waits for details at most.", high=10_000)
    timeout: float = _s(1.0, "Seconds after which a request to details.url has failed.", low=0.01, high=60)
    ttl: float = _s(60.0, "Seconds for which details are fresh, and not asked for again.")
    stale: float = _s(86_400.0, "Seconds for which old details are shown while details.url fails or is slow.")
    remembered: int = _s(50_000, "Items whose details each server process remembers.", low=1)
    patience: int = _s(5, "Failures in a row after which details.url is left alone for a while.", low=1)
    rest: float = _s(30.0, "Seconds of that while; then one request tries again.", low=0.1)

    def place(self) -> SplitResult:
        """The parts of `url`.

        Raises
        ------
        UsageError
        """
        try:
            parts = urlsplit(self.url)
            usable = parts.scheme in ("http", "https") and parts.hostname and (parts.port or 1)
        except ValueError:
            usable = False
        if not usable or parts.fragment or parts.username is not None or not self.url.isprintable():
            hint = "Write it like https://api.shop.example/items; a token goes into details.token_file."
            raise UsageError("details.url is not the address of a product service.", hint)
        return parts

    def token(self) -> str:
        """What is sent with every request; empty for nothing.

        Raises
        ------
        UsageError, StoreError
        """
        token = _secret(self.token_file) if self.token_file is not None else ""
        if not token.isascii() or (token and not token.isprintable()):
            raise UsageError(f"The token in {self.token_file} holds more than one line of ASCII.", "Write it again.")
        return token

    def trust(self) -> ssl.SSLContext:
        """Whose certificates count.

        Raises
        ------
        UsageError
        """
        return _trusting(self.ca_file, "details.ca_file")


@dataclass(frozen=True)
class McpSettings:
    """Tools for assistants, recsys mcp."""

    url: str = _s("", "A running server that recsys mcp asks; empty for the versions of this machine.")
    key_file: Path | None = _s(None, "File with the key whose scopes decide what recsys mcp may see; without, no key.")

    def key(self) -> str:
        """The key in the file: alone, or as the header in which `owner.key` has it; empty without a file.

        Raises
        ------
        UsageError, StoreError
        """
        if self.key_file is None:
            return ""
        key = _secret(self.key_file).removeprefix("X-API-Key:").strip()
        if len(key.split()) != 1 or not key.isascii():
            raise UsageError(f"{self.key_file} does not hold a key.", "Write what recsys keys add printed into it.")
        return key


def _secret(path: Path) -> str:
    """What a file holds, without the end of its line."""
    try:
        return path.read_text(encoding="utf-8").strip()
    except OSError as e:
        raise explain_os(e, path) from None
    except UnicodeDecodeError:
        raise UsageError(f"The secret in {path} is not UTF-8.", "Write it again.") from None


def _trusting(ca_file: Path | None, setting: str) -> ssl.SSLContext:
    try:
        return ssl.create_default_context(cafile=ca_file)
    except (OSError, ssl.SSLError) as e:
        raise UsageError(f"The certificates in {setting} ({ca_file}) cannot be read: {e}.", "Fix the file.") from None
