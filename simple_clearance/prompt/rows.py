"""The rows of the list and of the history.  Pure.

No two rows of a list look alike: what they are about (a name or an address, and its container) has its
room first, and no address and no container is ever cut.  What has no room goes to a second line; and so
does the address of a name that has lost its left end.

How many lines a row takes at most does not hang on how often it was tried: so a page that has been laid
out holds what it held.
"""

from __future__ import annotations

import re

from ..base import addresses
from ..base.text import clip_right, count, printable
from ..docket import states
from .layout import folded
from .questions import NARROW
from .sentences import decided_by

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Iterable

    from ..base.moment import Clock
    from ..docket.docket import Docket
    from ..docket.requests import Answer, Request
    from .groups import Group, Groups, Key

CONTAINERS = 10, 20
"""Columns in which containers stand below each other, at least and at most."""
LONGEST = ("999 addresses", "tcp 65535", "9999 tries")
"""The counts of a row, as long as they get."""


def container_room(containers: Iterable[str]) -> int:
    """Columns for the longest of these containers: where one is longer yet, it alone is out of line."""
    return min(CONTAINERS[1], max(CONTAINERS[0], *(len(printable(one)) for one in containers)))


def list_rows(group: Group, digit: str, marked: bool, width: int, room: int) -> list[str]:
    """A group in the list, with its container where this has `room`, so many columns at least."""
    container, label = group.key
    dests = len(group.dests)
    kinds = {(request.proto, request.port) for request in group.requests if request.ports is None}
    ports = len(kinds) + sum(one.number_of_ports for one in group.requests if one.ports is not None)
    counts = (
        _few(dests, 3, "address", "addresses") if dests > 1 else "",
        _service(group.lead) if ports == len(kinds) == 1 else _few(ports, 3, "port"),
        _few(group.tries, 4, "try", "tries"),
    )
    start = f"  {'x' if marked else ' '}  {digit}  " if width >= NARROW else f"{' x'[marked]}{digit} "
    return _laid_out(start, label, container if room else "", group.lead.dest, counts, width, room)


def muted_rows(answer: Answer, width: int, room: int) -> list[str]:
    """What is not asked any more, with how often it was tried since: it has no digit."""
    start = "     m  " if width >= NARROW else " m "
    counts = ("", "", _few(answer.tries, 4, "try", "tries"))
    dest = answer.keys[0][1] if answer.named and answer.keys else answer.target
    return _laid_out(start, answer.target, answer.container if room else "", dest, counts, width, room)


class Heights:
    """How many lines rows of this width take at most, with the counts that they may come to have."""

    def __init__(self, width: int, room: int) -> None:
        self._width = width
        self._room = room  # for its container
        self._start = "  x  1  " if width >= NARROW else "x1 "
        self._known: dict[tuple[str, bool, int, int], int] = {}

    def of(self, keys: Iterable[Key], groups: Groups) -> list[int]:
        """Those of groups with these keys, tens of thousands perhaps."""
        known, inside = self._known, bool(self._room)
        uncut = self._width - len(self._start)
        heights = []
        for container, label in keys:
            length = len(label)
            # It is a name or an address: a whole look at each would be felt.
            named = ":" not in label and not label.rpartition(".")[2].isdigit()
            dest = groups.longest((container, label)) if length > uncut and named else 0
            shape = (container if inside else "", named, length, dest)
            if shape not in known:
                known[shape] = self._height(*shape)
            heights.append(known[shape])
        return heights

    def _height(self, container: str, named: bool, length: int, dest: int) -> int:
        label = ("n" if named else ":") * length
        counts = LONGEST if named else ("", *LONGEST[1:])
        dests = "f" * dest if named else label
        return len(_laid_out(self._start, label, container, dests, counts, self._width, self._room))


def _laid_out(
    start: str, label: str, container: str, dest: str, counts: tuple[str, str, str], width: int, room: int
) -> list[str]:
    """`start` and the label; in the same line or in the next the container, and at the margin the counts."""
    text, container = printable(label), printable(container)
    several = counts[0] + "  " if counts[0] else ""
    last = (f"{counts[1]:9} " if counts[1] else "") + f"{counts[2]:>10}"
    numbers = several + last
    gap = 2 if width >= NARROW else 1
    whole = label == dest or len(start) + len(text) <= width
    for columns in (room, CONTAINERS[0]):
        right = several + f"{container:{columns}}  " * bool(container) + last
        if whole and len(start) + len(text) + gap + len(right) <= width:
            return [(start + text).ljust(width - len(right)) + right]
    indent, left = " " * len(start), max(8, width - len(start))
    if whole and container and len(start) + len(text) + gap + len(numbers) <= width:
        first = (start + text).ljust(width - len(numbers)) + numbers
        return [first, *folded(container, width, indent, indent)]
    rows = _broken(text, left) if label == dest else [printable(label, left)]
    parts = [*rows[1:], *filter(None, (container, "" if whole else dest))]
    second = indent + "  ".join(parts)
    if len(rows) < 3 and len(second) + gap + len(numbers) <= width:
        return [start + rows[0], second.ljust(width - len(numbers)) + numbers]
    more = "  ".join([*parts[len(rows) - 1 :], *filter(None, counts)])
    return [start + rows[0], *(indent + row for row in rows[1:]), *folded(more, width, indent, indent)]


def _broken(address: str, room: int) -> list[str]:
    """An address in rows of `room`, broken behind its colons."""
    rows = [""]
    for part in re.split("(?<=:)", address):
        if rows[-1] and len(rows[-1]) + len(part) > room:
            rows.append("")
        rows[-1] += part
    return rows


def _few(number: int, digits: int, singular: str, plural: str = "") -> str:
    """Like `count`, with the number in so many characters."""
    units = "kMGT"
    shown, unit = number, ""
    while len(f"{shown}{unit}") > digits and units:
        shown, unit, units = shown // 1000, units[0], units[1:]
    return count(shown, singular, plural) if not unit else f"{shown}{unit} {plural or singular + 's'}"


def _service(request: Request) -> str:
    """`tcp 443`, `icmp`; `? ?` where nothing is known.

    In nine characters: `udplite 65535` is `136 65535`.
    """
    proto, port = request.proto, request.port
    if proto is None:
        return "? ?" if port is None else f"? {port}"
    name = addresses.proto_name(proto)
    if proto not in addresses.WITH_PORTS:
        return name
    text = f"{name} {'?' if port is None else port}"
    return text if len(text) <= len(LONGEST[1]) else f"{proto} {port}"


def answered_row(label: str, width: int) -> str:
    """A row of the list that no longer waits: its digit is not given to another."""
    start, end = ("     -  ", "  answered meanwhile") if width >= NARROW else (" - ", " answered")
    if width - len(start) - len(end) < 16:
        end = ""
    row = start + printable(label, max(8, width - len(start) - len(end)))
    return row.ljust(width - len(end)) + end if end else row


def unheard_lines(docket: Docket, width: int, only: str) -> list[str]:
    """What was counted but is not asked, of one container or of all."""
    words = {
        "denied": "denied before",
        "multicast": "multicast and the like",
        "bypass": "let through while the shield was down",
    }
    counts = dict.fromkeys(words, 0)
    for (container, kind), number in docket.shields.unheard.items():
        counts[kind] += number if only in ("", container) else 0
    found = [f"{number} {words[kind]}" for kind, number in counts.items() if number]
    floors = sum(
        request.state == states.FLOOR and only in ("", request.container) for request in docket.all_requests()
    )
    if floors:
        found.append("{} under the shield's floor".format(count(floors, "destination")))
    return folded("not asked: " + ", ".join(found), width) if found else []


def history_rows(answer: Answer, digit: int, width: int, clock: Clock, several: bool) -> list[str]:
    """What was answered, whose container it is where there are `several`, what came of it, by which rule."""
    wide = width >= NARROW
    start = f"     {digit}  {clock.time(answer.wall)}  " if wide else f"{digit} "
    first, indent = f"{start}{answer.action} ", " " * len(start)
    text, room = printable(answer.target), max(8, width - len(first))
    pieces = [printable(answer.target, room)] if answer.named else _broken(text, room)
    how = "undone" if answer.undone else answer.result
    by = decided_by(answer.by, answer.rule.text if answer.rule else None).lstrip()
    rest = [part for part in (printable(answer.container) if several else "", how, by) if part]
    line = "  ".join([first + pieces[0], *rest])
    if not rest or (len(pieces) == 1 and len(line) <= width):
        return [line]
    second = "  ".join([*pieces[1:], *rest])
    return [first + pieces[0], *folded(clip_right(second, 3 * (width - len(indent))), width, indent, indent)]
