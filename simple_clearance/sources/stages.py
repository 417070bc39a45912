"""What becomes of a container under watch: every way there is.

Read a line as "in this stage, when that happens, then".
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Dict

    Table = Dict[str, Dict[str, str]]

FOUND = "found"  # what podman tells of it is known, nothing is started for it yet
STARTING = "starting"  # its source has been started and does not listen yet: the docket knows nothing of it
WATCHED = "watched"  # its source listens, or another one is about to take that one's place
ENDING = "ending"  # its end was seen, or decided on: what was blocked before it may be still to come
OVER = "over"  # nothing more comes, and all that was taken for it is given back

GOES_ON = (FOUND, STARTING, WATCHED)

STAGES: Table = {
    FOUND: {
        "begun": STARTING,
        "given up": OVER,  # a hub is active for it, another session answers for it, no reader can be started
    },
    STARTING: {
        "listens": WATCHED,
        "given up": OVER,  # its reader can't listen, or it has ended before that
    },
    WATCHED: {
        "ended": ENDING,
        "given up": OVER,  # at the start, where another session was first
    },
    ENDING: {
        "had all": OVER,
    },
    OVER: {},
}
