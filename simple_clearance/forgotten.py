"""Which recorded verdicts a container's restart has left out of force.

Owns reading the shield's own records of one container.  The awkward fact: verdicts on addresses
are recorded, but a start loads only the rules as `terok-shield prepare` wrote them, with what was
recorded until then; what was decided later waits for `terok-shield up`.
"""

from __future__ import annotations

import os
import re
import stat

from .addresses import canonical
from .shieldlog import is_before

LIVE = (("policy/live", ""), ("live.allowed", "+"), ("deny.list", "-"))
"""The records and, where it is not on each line, the sign of all of them (bundle 18; 14)."""

LIMIT = 1 << 20
"""Bytes of a file that are looked at: its last ones."""

_LOADED = re.compile(r"^add element inet \S+ (\S+) \{(.*)\}", re.MULTILINE)
_VERDICTS = {"allowed": "+", "denied": "-"}


def forgotten(state_dir: str, started_at: str) -> int:
    """How many verdicts on addresses are recorded in `state_dir` and not in force since the container's start.

    `started_at` is podman's RFC 3339 time of that start; "" for unknown, which gives 0.
    """
    recorded = _recorded(state_dir) if started_at else set()
    if not recorded:
        return 0
    missing = recorded - _loaded(_read(os.path.join(state_dir, "ruleset.nft")))
    if missing:
        missing -= _since(_read(os.path.join(state_dir, "audit.jsonl")), started_at, missing)
    return len(missing)


def remedy(name: str, container_id: str, shield: str) -> str:
    """The command that puts them in force again."""
    return "%s up --container-id %s %s" % (shield, container_id, name)


def _recorded(state_dir: str) -> set[str]:
    """`+198.51.100.1`, `-203.0.113.0/24`: those on names are left out, which a start does load."""
    found = set()
    for file, sign in LIVE:
        for line in _read(os.path.join(state_dir, file)).splitlines():
            verdict = sign + line.strip()
            if verdict[:1] in ("+", "-") and canonical(verdict[1:].partition("/")[0]) is not None:
                found.add(verdict)
    return found


def _loaded(ruleset: str) -> set[str]:
    """The verdicts among the elements that the rules begin with."""
    found = set()
    for set_name, elements in _LOADED.findall(ruleset):
        sign = "-" if "deny" in set_name else "+"
        found.update(sign + element.split()[0] for element in elements.split(",") if element.strip())
    return found


def _since(log: str, started_at: str, verdicts: set[str]) -> set[str]:
    """Those of `verdicts` that the audit log tells to have been given, or loaded, since the start."""
    import json

    found: set[str] = set()
    for line in log.splitlines():
        try:
            fields = json.loads(line)
            action, dest, ts = fields.get("action"), fields.get("dest"), fields.get("ts")
        except (ValueError, AttributeError, RecursionError):
            continue  # half a line, at the beginning of what was read, or nothing of the shield's
        if not isinstance(ts, str) or is_before(ts, started_at):
            continue
        if action == "shield_up":
            return verdicts
        if isinstance(dest, str) and action in _VERDICTS:
            found.add(_VERDICTS[action] + dest)
    return found & verdicts


def _read(path: str) -> str:
    """The end of a regular file; "" where there is none."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return ""
    with open(fd, "rb") as file:
        found = os.fstat(fd)
        if not stat.S_ISREG(found.st_mode):
            return ""
        file.seek(max(0, found.st_size - LIMIT))
        return file.read(LIMIT).decode("utf-8", "replace")
