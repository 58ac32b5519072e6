"""Claims that are written before they are made: together with what is to be claimed.

Where somebody waits to claim, or comes back at once to claim more, a new prediction will be claimed
as soon as it is on the disk. It is written as claimed, then, and its claim needs no commit of its
own; and yet the disk knows of each attempt before anybody else does. Only the disk: what is shown
is queued until it is claimed.
"""

from collections.abc import Iterable

from zypher.brokers.queue import Entry, ModelQueue, Move
from zypher.prediction import PROCESSING


def foreseeing(move: Move, queue: ModelQueue, now: float) -> Move:
    """What to write for a new prediction, which counts as queued already."""
    if queue.lanes.incomplete or queue.queued > queue.appetite:  # others are claimed before
        return move
    move.entry.foreseen = move.after.claimed(now)
    return Move(move.entry, None, move.entry.foreseen)


def shown(written: Move) -> Move:
    """What everybody may see of a move that was written."""
    entry = written.entry
    return Move(entry, None, entry.record) if written.after is entry.foreseen else written


def was_foreseen(move: Move) -> bool:
    """True for a claim that need not be written; then it is foreseen no more."""
    entry = move.entry
    if entry.foreseen is None or move.after.status is not PROCESSING:
        return False
    entry.foreseen = None
    return True


def following(move: Move) -> Move:
    """What to write for a move of what may have been foreseen to move otherwise."""
    entry = move.entry
    if entry.foreseen is None:
        return move
    foreseen, entry.foreseen = entry.foreseen, None
    return Move(entry, foreseen, move.after)


def missed(foreseen: Iterable[Entry]) -> list[Move]:
    """What to write for those that nobody has claimed after all: they are queued."""
    left = [entry for entry in foreseen if entry.foreseen is not None]
    return [following(Move(entry, entry.record, entry.record)) for entry in left]
