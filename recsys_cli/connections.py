"""What the shop may let us connect to, and nothing else: settings that name it. All of it is off until it is named."""

from __future__ import annotations

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
            try:
                password = self.password_file.read_text(encoding="utf-8").strip()
            except OSError as e:
                raise explain_os(e, self.password_file) from None
            except UnicodeDecodeError:
                raise UsageError(f"The password in {self.password_file} is not UTF-8.", "Write it again.") from None
        return user, password or "guest"
