"""A line of another session's `--json` output, as a record that can be believed.  Pure.

Whoever writes it is another program on another machine, and may be hostile: of each type that we know, each
field has a check, a text comes out printable and bounded, a number within its bounds, an address plain.  What
it may say anything about is not decided here.
"""

from __future__ import annotations

import re

from ..base import addresses
from ..base.happenings import Event, Name
from ..base.jsonlines import BadLine, parse_object
from ..base.text import bounded_labels, clip_right, printable
from . import readerline
from .readerline import COUNT_LIMIT, LOST_WHERE

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Callable, Dict, Tuple

    Record = Dict[str, Any]
    Check = Callable[[Any], Any]
    Fields = Dict[str, Tuple[Check, Any]]  # a check, and the value where the field is missing or null

LINE_LIMIT = 1 << 20
"""Bytes of one line: a verdict lists all requests that it covered, of which there may be 20,000."""

CONTAINERS = 256
"""Containers of one session."""
NAMES = 64
"""Names of one address."""
IDS = 20_000
"""Requests that one verdict may list."""

STATES = ("up", "down", "disengaged", "quarantine")
RESULTS = ("applied", "failed", "unknown", "dry-run")
WHY = ("applied", "covered", "skipped", "muted", "floor", "dry-run", "stopped")

NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*(/[A-Za-z0-9_][A-Za-z0-9_.-]*){0,3}")
NAME_LIMIT = 255
"""A container's name, with its machine's before it where it is of another one."""

_ID = re.compile(r"[!-~]{1,64}")
_WORD = re.compile(r"[a-z-]{1,32}")


def parse(line: bytes) -> Record | None:
    """One line: its `type` and the fields that we know, all of them; None for a type that we don't.

    A `pending` has an `event`, too.  Raises only `BadLine`.
    """
    found = parse_object(line)
    kind = found.get("type")
    if not isinstance(kind, str):
        raise BadLine("no type")
    checks = FIELDS.get(kind)
    if checks is None:
        return None
    try:
        record = {"type": kind, **_checked(found, checks)}
    except ValueError as error:
        raise BadLine(f"{kind}: {error}") from None
    if kind == "pending":
        record["event"] = _event(found, record["count"])
    return record


def _checked(found: dict[str, Any], checks: Fields) -> Record:
    """The fields that are checked.  Raises ValueError, in words that begin with the field's name."""
    record: Record = {}
    for field, (check, otherwise) in checks.items():
        value = found.get(field)
        if value is None and otherwise is not NEEDED:
            record[field] = otherwise
            continue
        try:
            record[field] = check(value)
        except ValueError as error:
            raise ValueError(f"{field} {error}") from None
    return record


def _event(found: dict[str, Any], count: int) -> Event:
    """What was blocked, in a reader's words, and read as any reader's are."""
    words = {key: found.get(key) for key in ("dest", "port", "proto", "class", "uid")}
    event = readerline.message({**words, "type": "pending", "id": found.get("reader_id")})
    if not isinstance(event, Event) or event.kind != "pending":
        raise BadLine("pending: dest is not an address that anything could be decided about")
    event.count, event.late = count, 0.0
    return event


def _text(limit: int) -> Check:
    def check(value: Any) -> str:
        if not isinstance(value, str):
            raise ValueError("is not a text")
        return clip_right(printable(value[: limit + 1]), limit)

    return check


def _number(least: int, most: int) -> Check:
    def check(value: Any) -> int:
        if type(value) is not int or not least <= value <= most:  # a bool is an int, too
            raise ValueError("is not a number from %d to %d" % (least, most))
        return value

    return check


def _match(pattern: re.Pattern[str], limit: int, what: str) -> Check:
    def check(value: Any) -> str:
        if not isinstance(value, str) or len(value) > limit or pattern.fullmatch(value) is None:
            raise ValueError("is not " + what)
        return value

    return check


def _one_of(*words: str) -> Check:
    def check(value: Any) -> str:
        if value not in words:
            raise ValueError("is not one of " + ", ".join(words))
        return str(value)

    return check


def _list(check: Check, most: int) -> Check:
    """A list of what passes the check; what is beyond `most` is left out."""

    def all_of(value: Any) -> tuple[Any, ...]:
        if not isinstance(value, list):
            raise ValueError("is not a list")
        return tuple(check(each) for each in value[:most])

    return all_of


def _seconds(value: Any) -> float:
    if type(value) not in (int, float) or not 0 <= value <= 1e9:
        raise ValueError("is not a number of seconds")
    return float(value)


def _flag(value: Any) -> bool:
    if not isinstance(value, bool):
        raise ValueError("is neither true nor false")
    return value


def _labels(value: Any) -> dict[str, str]:
    if not isinstance(value, dict):
        raise ValueError("is not an object")
    return bounded_labels(value)


def _address(value: Any) -> str:
    plain = addresses.canonical(value) if isinstance(value, str) and len(value) < 64 else None
    if plain is None:
        raise ValueError("is not an address")
    return plain


def _names(value: Any) -> tuple[Name, ...]:
    """Those that are names; the others can be neither shown as one nor allowed."""
    if not isinstance(value, list):
        raise ValueError("is not a list")
    found = [name for name in value[:NAMES] if isinstance(name, str) and addresses.is_name(name)]
    return tuple(Name(name, "", "") for name in dict.fromkeys(found))


def _target(value: Any) -> str:
    if not isinstance(value, str) or len(value) > 253:
        raise ValueError("is not a target")
    if addresses.canonical(value) != value and not addresses.is_target_name(value):
        raise ValueError("is neither a plain address nor a host name")
    return value


def _containers(value: Any) -> tuple[Record, ...]:
    def check(each: Any) -> Record:
        if not isinstance(each, dict):
            raise ValueError("hold something else than objects")
        try:
            return _checked(each, {"name": (_name, NEEDED), **_ABOUT})
        except ValueError as error:
            raise ValueError(f"hold one whose {error}") from None

    found: tuple[Record, ...] = _list(check, CONTAINERS)(value)
    return found


NEEDED = object()
"""Stands where a field can't be missing."""

_id = _match(_ID, 64, "an id")
_name = _match(NAME, NAME_LIMIT, "a container's name")
_word = _match(_WORD, 32, "a word")
_port = _number(0, 0xFFFF)
_proto = _number(0, 0xFF)
_count = _number(1, COUNT_LIMIT)

_ABOUT: Fields = {
    "id": (_text(64), ""),
    "source": (_text(16), ""),
    "shield": (_number(0, 10**6), None),
    "shield_state": (_one_of(*STATES), ""),
    "missed": (_number(0, COUNT_LIMIT), 0),
    "held_by": (_number(0, readerline.PID_LIMIT), 0),
    "taken_over": (_number(0, readerline.PID_LIMIT), 0),
    "unseen": (_list(_text(300), 8), ()),
    "in_pod": (_flag, False),
    "no_ipv6": (_flag, False),
    "dossier": (_labels, {}),
}
_MORE_NAMES: Fields = {"more_names": (_number(0, COUNT_LIMIT), 0), "names_forgotten": (_flag, False)}
FIELDS: dict[str, Fields] = {
    "session": {
        "protocol": (_number(0, 10**6), NEEDED),
        "version": (_text(40), ""),
        "containers": (_containers, ()),
    },
    "container": {
        "container": (_name, ""),
        "host": (_name, ""),  # instead: a machine that was joined there
        "state": (_one_of("started", "stopped", "lost", "back"), NEEDED),
        "reason": (_text(300), ""),
        "hint": (_text(300), ""),
        **_ABOUT,
    },
    "pending": {
        "id": (_id, NEEDED),
        "container": (_name, NEEDED),
        "names": (_names, ()),
        **_MORE_NAMES,
        "count": (_count, NEEDED),
        "ports": (_number(0, 0x10000), None),
        "floor": (_flag, False),
        "behind": (_flag, False),
        "dossier": (_labels, {}),
    },
    "names": {"id": (_id, NEEDED), "names": (_names, NEEDED), **_MORE_NAMES},
    "names_read": {"container": (_name, NEEDED)},
    "again": {"id": (_id, NEEDED), "count": (_count, NEEDED)},
    "verdict": {
        "id": (_id, ""),
        "ids": (_list(_id, IDS), ()),
        "container": (_name, NEEDED),
        "action": (_one_of("allow", "deny"), NEEDED),
        "target": (_target, NEEDED),
        "by": (_word, ""),
        "result": (_one_of(*RESULTS), NEEDED),
        "reason": (_word, ""),
        "error": (_text(500), ""),
        "seconds": (_seconds, 0.0),
        "opened": (_list(_address, 256), ()),
        "undo": (_flag, False),
        "undoes": (_id, ""),
        "late": (_flag, False),
    },
    "closed": {"id": (_id, NEEDED), "why": (_one_of(*WHY), NEEDED), "count": (_count, 0)},
    "passed": {
        "container": (_name, NEEDED),
        "dest": (_address, NEEDED),
        "port": (_port, None),
        "proto": (_proto, None),
        "seconds": (_seconds, 0.0),
    },
    "still_blocked": {
        "container": (_name, NEEDED),
        "dest": (_address, NEEDED),
        "count": (_count, NEEDED),
        "reason": (_word, None),
    },
    "recorded": {
        "container": (_name, NEEDED),
        "dest": (_address, NEEDED),
        "action": (_one_of("allow", "deny"), NEEDED),
    },
    "shield": {"container": (_name, NEEDED), "state": (_one_of(*STATES), NEEDED)},
    "lost": {"container": (_name, ""), "count": (_count, NEEDED), "where": (_one_of(*LOST_WHERE), "reader")},
    "error": {"message": (_text(500), NEEDED), "line": (_text(400), ""), "hint": (_text(300), "")},
    "check": {
        "container": (_name, ""),
        "name": (_text(40), NEEDED),
        "ok": (_flag, NEEDED),
        "message": (_text(500), ""),
        "hint": (_text(500), ""),
    },
    "summary": {"untold": (_number(0, COUNT_LIMIT), 0), "exit": (_number(0, 255), NEEDED)},
}
