"""`recsys consume`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from .common import ArtifactsOption, ConfigOption, DbOption, JsonOption, start

if TYPE_CHECKING:
    from ..artifacts.consumer_state import Consumption


def consume(
    once: Annotated[bool, typer.Option("--once", help="End when the queues are empty; for cron.")] = False,
    db: DbOption = None,
    artifacts: ArtifactsOption = None,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Take events from the shop's RabbitMQ broker (queue.url), as the server takes them over HTTP.

    Runs until SIGTERM or Ctrl-C. Needs recsys-cli\\[queue] (pip).
    """
    run = start(db, artifacts, config, as_json)
    run.settings.queue.place()
    from ..artifacts import Artifacts
    from ..artifacts.choices import Choices
    from ..artifacts.shop_id import expect_same_shop
    from ..broker.consumer import Consumer
    from ..broker.messages import Door
    from ..broker.topology import library
    from ..identity import load_secret
    from ..processes import stoppable

    library()
    settings = run.settings
    settings.queue.queues()
    secret = load_secret(settings.db)
    expect_same_shop(settings.db, settings.artifacts)
    door = Door(
        settings.serve,
        settings.ingest.earliest,
        Choices(settings.artifacts, secret),
        secret,
        settings.ingest.event_types,
    )
    consumer = Consumer(settings.queue, door, Artifacts(settings.artifacts), run.progress.note)
    with stoppable() as stop:
        done = consumer.run(stop, once=once)
    run.emit(done.as_dict(), lambda out: out.print(sentence(done), highlight=False, markup=False))


def sentence(done: Consumption) -> str:
    """What was taken, in one line."""
    counts = (
        (done.taken, "event", "taken"),
        (done.known, "event", "known already"),
        (done.refused, "event", "refused, as people chose"),
        (done.without_item, "search", "without an item"),
        (done.dead, "message", "moved to the dead letters"),
    )
    plural = {"search": "searches"}
    parts = [f"{n:,} {noun if n == 1 else plural.get(noun, noun + 's')} {rest}" for n, noun, rest in counts if n]
    return f"{', '.join(parts) or 'Nothing was in the queues'}."
