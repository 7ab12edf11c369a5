"""The way to the broker, and the exchange, queues and bindings that must be there; only this module connects to it."""

from __future__ import annotations

import functools
import logging
import struct
from typing import Any
from urllib.parse import unquote

from ..connections import QueueSettings
from ..errors import MissingDependency, Unreachable

_DEAD_SECONDS = 30 * 86_400  # that a dead letter is kept: it may name people, and no erasure reaches the broker
_HEARTBEAT = 30
_NOT_FOUND = 404
_MOST_HEADERS = 60_000  # bytes; they travel in one frame, and the broker hangs up on one of more than 131,072
_SIZES = {b"T": 8, b"f": 4, b"d": 8}


def library() -> Any:
    """pika.

    Raises
    ------
    MissingDependency
    """
    try:
        import pika
    except ImportError:
        raise MissingDependency("pika", "queue", "recsys consume") from None
    logging.getLogger("pika").setLevel(logging.CRITICAL)  # it logs pages about what we say in a sentence
    if not hasattr(pika.data.decode_value, "__wrapped__"):
        pika.data.decode_value = _forgiving(pika.data.decode_value)
    return pika


def _forgiving(decode: Any) -> Any:
    """Reads headers with None for a time after the year 9999 (milliseconds, where seconds are meant) and for NaN: pika
    would hang up over them, and the broker deliver the message again, for ever."""

    @functools.wraps(decode)
    def decode_value(encoded: bytes, offset: int) -> tuple[Any, int]:
        try:
            value: tuple[Any, int] = decode(encoded, offset)
        except (ValueError, OverflowError, OSError):
            kind = encoded[offset : offset + 1]
            if kind not in _SIZES:
                raise
            return None, offset + 1 + _SIZES[kind]
        return value

    return decode_value


def fits(headers: dict[str, Any]) -> bool:
    """Whether a message with these headers can be sent."""
    pika = library()
    try:
        return bool(pika.data.encode_table([], headers) <= _MOST_HEADERS)
    except (pika.exceptions.AMQPError, struct.error, ValueError, TypeError):
        return False


def connect(settings: QueueSettings) -> Any:
    """A connection to the broker that the settings name.

    Raises
    ------
    UsageError, StoreError
        The settings cannot be used.
    Unreachable
        The broker is away, or refuses us.
    """
    pika = library()
    place = settings.place()
    secure = place.scheme == "amqps"
    parameters = pika.ConnectionParameters(
        host=place.hostname,
        port=place.port or (5671 if secure else 5672),
        virtual_host=unquote(place.path[1:]) or "/",
        credentials=pika.PlainCredentials(*settings.credentials()),
        ssl_options=pika.SSLOptions(settings.trust(), place.hostname) if secure else None,
        heartbeat=_HEARTBEAT,
        socket_timeout=5,
        stack_timeout=10,
        blocked_connection_timeout=_HEARTBEAT,
        client_properties={"connection_name": "recsys consume"},
    )
    try:
        return pika.BlockingConnection(parameters)
    except (pika.exceptions.ProbableAuthenticationError, pika.exceptions.AuthenticationError):
        raise Unreachable(f"{settings.shown()} refuses the user or password.", "See queue.url.") from None
    except pika.exceptions.ProbableAccessDeniedError:
        hint = "Check the virtual host at the end of queue.url, and the user's permissions."
        raise Unreachable(f"{settings.shown()} refuses the virtual host.", hint) from None
    except (pika.exceptions.AMQPError, OSError) as e:
        hint = "See queue.ca_file." if "CERTIFICATE" in told(e) else "Is the broker running?"
        raise Unreachable(f"{settings.shown()} does not answer: {told(e)}.", hint) from None


def told(error: BaseException) -> str:
    """An error of the library in one line, without its own error inside."""
    inner = error.args[0] if error.args and isinstance(error.args[0], BaseException) else error
    inner = getattr(inner, "exception", getattr(inner, "error", inner))  # pika wraps them
    text = getattr(inner, "reply_text", None) or str(inner)
    return " ".join(text.split())[:200].rstrip(".") or type(error).__name__


def declare(connection: Any, settings: QueueSettings) -> None:
    """Make what is missing. What the shop has declared itself is used as it is, whatever its arguments.

    Raises
    ------
    Unreachable
        The user may not declare what is missing.
    """
    pika = library()
    named, dead = settings.queues(), settings.dead_letters
    ttl = {"x-message-ttl": _DEAD_SECONDS * 1000}
    wanted: list[tuple[str, dict[str, str], dict[str, Any]]] = [
        ("exchange_declare", {"exchange": settings.exchange}, {"exchange_type": "topic", "durable": True}),
        ("exchange_declare", {"exchange": dead}, {"exchange_type": "fanout", "durable": True}),
        ("queue_declare", {"queue": dead}, {"durable": True, "arguments": ttl}),
        *(("queue_declare", {"queue": name}, {"durable": True}) for name in named.values()),
    ]
    try:
        for method, name, how in wanted:
            if not _is_there(connection, method, name):
                _once(connection, method, name | how)
        for kind, queue in named.items():
            for key in settings.bindings.get(kind, "").split():
                _once(connection, "queue_bind", {"queue": queue, "exchange": settings.exchange, "routing_key": key})
        _once(connection, "queue_bind", {"queue": dead, "exchange": dead})
    except pika.exceptions.ChannelClosedByBroker as e:
        hint = "Let somebody who may declare exchanges, queues and bindings, or grant the user configure rights."
        raise Unreachable(f"{settings.shown()} refuses a declaration: {told(e)}.", hint) from None


def _is_there(connection: Any, method: str, name: dict[str, str]) -> bool:
    pika = library()
    try:
        _once(connection, method, {**name, "passive": True})
    except pika.exceptions.ChannelClosedByBroker as e:
        if e.reply_code != _NOT_FOUND:
            raise
        return False
    return True


def _once(connection: Any, method: str, arguments: dict[str, Any]) -> None:
    """In a channel of its own: the broker closes one in which something is refused."""
    channel = connection.channel()
    getattr(channel, method)(**arguments)
    channel.close()
