"""The server's log into the store: every acknowledged line once, whatever is killed when."""

from __future__ import annotations

import time
from collections.abc import Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ..artifacts import Position, Spool, suppressed
from ..artifacts.spool import ROTATE_SECONDS, Chunk
from ..identity import load_secret
from ..ingest.value_parsing import pseudonym
from ..store import Store
from ..store.erased_people import refusal
from ..store.merge import transaction
from ..store.reading import spool_position
from ..store.served_import import forget_served, served_position, take_served
from ..store.spool_import import LINES, Taken, forget_segments, take_lines

# Bytes of the log taken in one transaction: a week's backlog must not need a week's memory.
BATCH_BYTES = 32 << 20
_MERGE = b'"merge"'


def drain(store: Store, spool: Spool, *, hash_emails: bool = True, keep: Sequence[str] = ()) -> Taken:
    """Take everything in the spool, as it is now, that the store has not taken yet.

    The lines and the position after them are written in one transaction, so a drain that is killed has taken a batch
    whole or not at all, and the next one goes on from there.

    Parameters
    ----------
    hash_emails
        Keep customers whose id is an e-mail address under its pseudonym, as ingest does; see `identity.pseudonym`.
    keep
        Segments whose position is remembered though they are gone: another machine still has them.

    Raises
    ------
    StoreBusy, StoreError
    """
    taken = Taken()
    with store.writing() as con:
        user = pseudonym("trim(user_id)", load_secret(store.path)) if hash_emails else "trim(user_id)"
        # Read inside the store's lock: an erasure notes itself there before the rows go.
        listed = suppressed.kept_out(store.path)
        refused = refusal(load_secret(store.path), listed) if listed else ""
        position = spool_position(con)
        # Customers who click faster than a batch is written would keep us here for ever.
        until = spool.segments()
        while chunks := _batch(spool, position, until):
            lines, reached = _table(chunks), {c.segment: c.end for c in chunks}
            with transaction(con):
                taken = taken + take_lines(con, lines, reached, user=user, refused=refused)
            position |= reached
        gone = position.keys() - spool.segments().keys() - {*keep}
        if gone:
            with transaction(con):
                forget_segments(con, [*spool.segments(), *keep])
    return taken


def drain_served(store: Store, log: Spool, *, keep: Sequence[str] = ()) -> int:
    """Take the log of answered lists into the store, and delete what was taken; how many lists. For `keep` see `drain`.

    Raises
    ------
    StoreBusy, StoreError
    """
    if not log.segments():
        return 0
    # A copy has no writer here, while the original may still grow.
    old = time.time() - (2 * ROTATE_SECONDS if keep else 0)
    with store.reading() as con:
        position = served_position(con)
    if not log.backlog(position):
        log.remove_drained(position, old)
        return 0
    taken = 0
    with store.writing() as con:
        until = log.segments()
        while chunks := _batch(log, position, until):
            lines = pa.concat_arrays([_lines(chunk)["line"].combine_chunks() for chunk in chunks])
            reached = {c.segment: c.end for c in chunks}
            with transaction(con):
                taken += take_served(con, lines, reached)[0]
            position |= reached
        log.remove_drained(position, old)  # servers read the spool, and not this
        with transaction(con):
            forget_served(con, [*log.segments(), *keep])
    return taken


def remove_old_segments(spool: Spool, position: Position, keep_hours: float) -> list[str]:
    """Delete segments that were drained long enough ago for every server to have read them; returns their names."""
    return spool.remove_drained(position, time.time() - keep_hours * 3600)


def _batch(spool: Spool, position: Position, until: Position) -> list[Chunk]:
    """What to take next; empty when all up to `until` is taken.

    When it says that a guest has become a customer, everything else that is there by now belongs to it: what the guest
    did before may stand in the segment of another server process, which was looked at a moment too early.
    """
    batch: list[Chunk] = []
    for chunk in spool.read(position, until):
        batch.append(chunk)
        if sum(len(c.data) for c in batch) >= BATCH_BYTES:
            break
    if any(_MERGE in chunk.data for chunk in batch):
        batch += list(spool.read(position | {c.segment: c.end for c in batch}))
    return batch


def _table(chunks: list[Chunk]) -> pa.Table:
    """The chunks' lines as a table of `store.lines.LINES`."""
    return pa.concat_tables([_lines(chunk) for chunk in chunks])


def _lines(chunk: Chunk) -> pa.Table:
    raw = pa.array(chunk.data.split(b"\n")[:-1], pa.binary())
    length = pc.binary_length(raw).to_numpy(zero_copy_only=False).astype(np.int64) + 1
    place = chunk.start + np.concatenate([np.zeros(1, np.int64), np.cumsum(length)[:-1]])
    # What is not UTF-8 was not written by our server; it must end as a rejected line, not stop the drain.
    text = pa.array(chunk.data.decode("utf-8", errors="replace").split("\n")[:-1], pa.string())
    return pa.table([pa.array([chunk.segment] * len(raw), pa.string()), pa.array(place), text], schema=LINES)
