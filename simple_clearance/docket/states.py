"""How a request and a verdict move from state to state: every way there is.  Pure.

Read a line as "in this state, when that happens, then".  A request that goes into OPEN from outside is
told as `pending`, under a new id; one that leaves for a state that is not open is told as `closed`, and
the cause is the record's `why`.  Moves between OPEN and DECIDING are told by the verdicts themselves.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Dict

    Table = Dict[str, Dict[str, str]]

NEW = "new"  # never opened
OPEN = "open"  # waits for an answer
DECIDING = "deciding"  # a verdict that would answer it waits or runs
SKIPPED = "skipped"  # not now: a try after a minute opens it again
MUTED = "muted"  # not in this session, as long as its address, or the name it is asked under, is muted
FLOOR = "floor"  # told, not asked: the shield's floor refuses it above every allow
ANSWERED = "answered"  # a verdict or a packet has answered it (or would have, in a dry run)
LEFT = "left"  # nobody has answered it, and nobody can any more

STILL_OPEN = (OPEN, DECIDING)

FORGOTTEN_FIRST = (FLOOR, LEFT, MUTED, ANSWERED, SKIPPED)
"""Closed states, in the order in which room is made: what is muted is known without its requests."""

REQUEST: Table = {
    NEW: {
        "blocked": OPEN,
    },
    OPEN: {
        "promised": DECIDING,  # a verdict on it, or on its address, is on its way
        "applied": ANSWERED,  # by a verdict that was late
        "covered": ANSWERED,  # by a verdict meant for another, or let out without any
        "dry-run": ANSWERED,
        "skipped": SKIPPED,
        "muted": MUTED,
        "floor": FLOOR,
        "stopped": LEFT,
    },
    DECIDING: {
        "released": OPEN,  # none of the verdicts helped
        "applied": ANSWERED,
        "covered": ANSWERED,
        "dry-run": ANSWERED,
        "stopped": LEFT,
    },
    SKIPPED: {
        "tried again": OPEN,
        "asked again": OPEN,
    },
    MUTED: {
        "tried again": OPEN,  # it was taken back, or it is asked under another name by now
        "asked again": OPEN,
    },
    ANSWERED: {
        "tried again": OPEN,
        "asked again": OPEN,
    },
    FLOOR: {},
    LEFT: {},
}

QUEUED, RUNNING = "queued", "running"
LATE = "late"  # past its deadline and told as unknown; nothing else runs for its container until it ends
DONE = "done"

VERDICT: Table = {
    QUEUED: {"begins": RUNNING, "ends": DONE},  # without having begun, when it may not any more
    RUNNING: {"overdue": LATE, "ends": DONE},
    LATE: {"ends": DONE},
    DONE: {},
}
