"""Which recorded verdicts a container's restart has left out of force.

Owns reading the shield's own records of one container.  The awkward fact: verdicts on addresses
are recorded, but a start loads only the rules as `terok-shield prepare` wrote them, with what was
recorded until then; what was decided later waits for `terok-shield up`.
"""

from __future__ import annotations

import os
import re

from ..base.addresses import canonical
from ..base.errors import Command
from ..base.jsonlines import BadLine, parse_object
from ..base.text import count
from ..base.timestamps import is_before, stamp
from ..system import clocks
from . import kept

LIVE = (("policy/live", ""), ("live.allowed", "+"), ("deny.list", "-"))
"""The records and, where it is not on each line, the sign of all of them (bundle 18; 14)."""

LOADED = "shield_up"
"""The audit log's word for the command that loads all of them."""

_ELEMENTS = re.compile(r"^add element inet \S+ (\S+) \{(.*)\}", re.MULTILINE)


def forgotten(state_dir: str, started_at: str) -> int:
    """How many verdicts on addresses are recorded in `state_dir` but not in force since the start.

    `started_at` is podman's RFC 3339 time of the container's start; "" for unknown, which gives 0.
    """
    if not started_at or clocks.is_ahead(started_at):  # which no other time can be compared with
        return 0
    recorded: set[str] = set()
    touched = 0.0
    for file, sign in LIVE:
        text, changed = kept.read(os.path.join(state_dir, file))
        recorded |= _addresses(text, sign)
        touched = max(touched, changed)
    missing = recorded - _loaded(kept.read(os.path.join(state_dir, kept.RULES))[0]) if recorded else set()
    if not missing:
        return 0
    since = _since(kept.read(os.path.join(state_dir, "audit.jsonl"))[0], started_at)
    if LOADED in since or not (since or is_before(stamp(touched), started_at)):
        return 0  # all is loaded; or some are newer, and nothing tells which
    return len(missing - since)


def told(number: int) -> str:
    verdicts = count(number, "recorded verdict on an address is", "recorded verdicts on addresses are")
    return f"{verdicts} from before this container's start and not in force"


def remedy(name: str, container_id: str, shield: str) -> Command:
    """The command that puts the shield up, and them in force again."""
    return Command("%s up --container-id %s %s" % (shield, container_id, name))


def _addresses(text: str, sign: str) -> set[str]:
    """`+198.51.100.1`, `-203.0.113.0/24`: those on names are left out, which a start does load."""
    verdicts = [sign + line.strip() for line in text.splitlines()]
    return {one for one in verdicts if one[:1] in ("+", "-") and canonical(one[1:].partition("/")[0])}


def _loaded(ruleset: str) -> set[str]:
    """The verdicts among the elements that the rules begin with."""
    found: set[str] = set()
    for set_name, elements in _ELEMENTS.findall(ruleset):
        sign = "-" if "deny" in set_name else "+"
        found.update(sign + element.split()[0] for element in elements.split(",") if element.strip())
    return found


def _since(log: str, started_at: str) -> set[str]:
    """What the audit log tells to have been given since the start, `LOADED` if everything was."""
    found: set[str] = set()
    for line in log.splitlines():
        try:
            fields = parse_object(line.encode("utf-8", "replace"))
        except BadLine:
            continue  # half a line, at the beginning of what was read
        action, dest, ts = fields.get("action"), fields.get("dest"), fields.get("ts")
        if isinstance(ts, str) and not is_before(ts, started_at):
            if action == LOADED:
                found.add(LOADED)
            elif isinstance(dest, str) and action in ("allowed", "denied"):
                found.add(("+" if action == "allowed" else "-") + dest)
    return found
