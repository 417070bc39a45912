"""A reader's JSON lines, as what happened.  Pure.

A reader is another process and may be another program, so nothing it writes is believed
before it has been looked at: wrong types, addresses with more in them than an address, are
each one `BadLine` and nothing else.
"""

from __future__ import annotations

from ..base import addresses
from ..base.happenings import GAPS, KINDS, Event, Exited, Held, Lost, Started
from ..base.jsonlines import BadLine, parse_object

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from ..base.happenings import Message

COUNT_LIMIT = 1 << 48
"""Packets that one line may stand for."""
PID_LIMIT = 1 << 22
"""include/linux/threads.h, PID_MAX_LIMIT."""
LOST_WHERE = ("kernel", "reader", "table", "stdout", "log", *GAPS)
"""Where something may have been lost; a reader only knows the first two."""


def parse(line: bytes) -> Message | None:
    """One line of a reader; None for a type that we don't know.  Raises only `BadLine`."""
    return message(parse_object(line))


def message(fields: dict[str, Any]) -> Message | None:
    """The same of a line's fields."""
    kind = fields.get("type")
    if kind in KINDS:
        return _event(kind, fields, 1)
    if kind == "again":
        if fields.get("of", "pending") not in KINDS:
            return None
        return _event(fields.get("of", "pending"), fields, _integer(fields, "count", 1, COUNT_LIMIT))
    if kind == "container_started":
        return Started()
    if kind == "held":
        return Held(_integer(fields, "pid", 1, PID_LIMIT))
    if kind == "container_exited":
        reason = fields.get("reason")
        return Exited(reason if isinstance(reason, str) else "")
    if kind == "lost":
        where = fields.get("where")
        return Lost(_integer(fields, "count", 1, COUNT_LIMIT), where if where in LOST_WHERE else "kernel")
    if not isinstance(kind, str):
        raise BadLine("no type")
    return None


def _event(kind: str, fields: dict[str, Any], count: int) -> Event:
    dest = fields.get("dest")
    plain = addresses.canonical(dest)
    if plain is None:
        kind, plain = "multicast", addresses.disguised(dest)  # nobody can decide about these either
    if plain is None:
        raise BadLine("dest is not an address")
    shield_class = fields.get("class")
    reader_id = fields.get("id")
    ts = fields.get("ts")
    return Event(
        kind,
        plain,
        _optional(fields, "port", 0xFFFF),
        _optional(fields, "proto", 0xFF),
        private=shield_class == "private" if isinstance(shield_class, str) else addresses.is_floor(plain),
        uid=_optional(fields, "uid", 0xFFFFFFFF),
        count=count,
        reader_id=reader_id if isinstance(reader_id, str) and len(reader_id) <= 128 else "",
        ts=ts if isinstance(ts, str) and len(ts) <= 40 else "",
    )


def _optional(fields: dict[str, Any], name: str, most: int) -> int | None:
    return None if fields.get(name) is None else _integer(fields, name, 0, most)


def _integer(fields: dict[str, Any], name: str, least: int, most: int) -> int:
    value = fields.get(name)
    if type(value) is not int or not least <= value <= most:  # a bool is an int, too
        raise BadLine("%s is not a number from %d to %d" % (name, least, most))
    return value
