"""What the operator reads: a question, and the rows of the list and the history.  Pure.

Kernel truth comes first; text from outside stands behind a `|` and never at the start of a
line; the keys come last.  Every function returns lines of printable ASCII no longer than
`width`; none knows how they get to the screen.
"""

from __future__ import annotations

from ..base import addresses
from ..base.text import ELLIPSIS, clip_right, count, printable
from ..docket import states
from .layout import columns, folded
from .sentences import FLOOR, NO_IPV6, REASONS, decided_by, muted_tries

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Sequence

    from ..base.happenings import Name
    from ..base.moment import Clock
    from ..docket.docket import Docket
    from ..docket.requests import Answer, Request
    from .groups import Group


NARROW = 60
"""Columns below which a question takes a line more and says things shorter."""

SHOWN_LABELS = 2
"""Labels at the end of a name that a question shows whole where it is to be answered by name."""


def service_text(proto: int | None, port: int | None) -> str:
    """`tcp 443 https`, `icmp`, `tcp, port unknown`."""
    name = "protocol unknown" if proto is None else addresses.proto_name(proto)
    if port is None:
        return name + ", port unknown" if proto in addresses.WITH_PORTS else name
    known = addresses.service(port, proto)
    return "%s %d %s" % (name, port, known) if known else "%s %d" % (name, port)


def tries_text(number: int, uid: int | None) -> str:
    """`4 tries, uid 1000`."""
    text = count(number, "try", "tries")
    return text if uid is None else "%s, uid %d" % (text, uid)


def head(facts: dict[str, Any], width: int, when: str, place: str = "") -> list[str]:
    """The first line or two: container, address, what for; when, how often, by whom.

    `facts` are those of a request (`Request.facts`).  What it is about is never cut.
    """
    service, tries = service_text(facts["proto"], facts["port"]), tries_text(facts["count"], facts["uid"])
    when = f"{place}  {when}" if place else when
    left, right = f"{facts['container']}  {facts['dest']}  {service}", f"{when}   {tries}"
    if len(left) + 2 + len(right) <= width:
        return [columns(left, right, width)]
    container = clip_right(facts["container"], max(8, width - len(service) - len(tries) - 4))
    top = f"{container}  {service}"
    fits = len(top) + 2 + len(tries) <= width
    lines = [columns(top, tries, width)] if fits else folded(top, width, "", "  ")
    if len(facts["dest"]) + len(when) + 6 <= width:
        lines.append(columns("  " + facts["dest"], when, width - 2))
    else:
        lines.extend(folded(facts["dest"], width))
    if not fits:
        lines.extend(folded(tries, width))
    return lines


def name_lines(docket: Docket, group: Group, width: int, clock: Clock) -> list[str]:
    """The name, where it came from, and what else hangs on it."""
    request = group.lead
    names, first = docket.names(request), docket.shown_name(request)
    if first is None:
        if docket.behind(request.container):
            return folded("no name known yet: earlier look-ups are being read (i looks again)", width)
        return ["  no name known"]
    name = printable(first.name, width - 5)
    more = []
    if first.via:
        more.append("via " + printable(first.via, min(60, max(8, width - 9))))
    besides = more_names(names, 1)
    if besides:
        more = [f"and {besides} here: allowing opens all of them (i)"]
    elif first.at:
        more.append("looked up " + printable(clock.since(first.at, request.last), 24))
    others = len(group.dests) - 1
    if others > 0:
        more.append("{} of its addresses wait{} too".format("%d more" % others, "s" if others == 1 else ""))
    line = "  | {}   {}".format(name, "; ".join(more) if len(more) > 2 or others > 0 else ", ".join(more))
    if len(line) <= width:
        return [line.rstrip()]
    lines = ["  | " + name]
    for text in more:
        lines.extend(folded(text, width, "  | " if text.startswith("via ") else "    "))
    return lines


def more_names(names: Sequence[Name], shown: int) -> str:
    """How many names there are beside the `shown` ones: no more than what is still known of them."""
    number = max(0, len(names) - shown)
    if names and names[-1].forgot:
        return "at least " + count(number, "more name") if number else "maybe more names"
    return count(number, "more name") if number else ""


def shows_name(lines: Sequence[str], name: str, width: int) -> bool:
    """Whether these lines of a question show a name, or at least its last labels whole."""
    shown = printable(name, width - 5)
    if shown != name and not shown[len(ELLIPSIS) :].endswith("." + ".".join(name.split(".")[-SHOWN_LABELS:])):
        return False
    return any(line == "  | " + shown or line.startswith(f"  | {shown}   ") for line in lines)


def warning(docket: Docket, request: Request) -> str:
    """What allowing a guarded address would open; "" for an ordinary one."""
    special = addresses.special(request.dest)
    if special is not None:
        return special
    if request.private:
        return "a private address: allowing opens every port of that machine near you"
    return ""


def other_ports(group: Group) -> str:
    """The other ports of the same address that wait, too."""
    rest = [r for r in group.requests[1:] if r.dest == group.lead.dest]
    if not rest:
        return ""
    shown = ", ".join(service_text(r.proto, r.port) for r in rest[:3])
    return "also on this address: {}{}".format(
        shown, " and %d more" % (len(rest) - 3) if len(rest) > 3 else ""
    )


FAILURES = {
    "elsewhere": "asked as an address: this host resolves the name to others",
    "timeout": "the last answer had no outcome in time: it may or may not be open",
    "ended": "the last answer's command was ended: it may or may not be open",
}


def question(
    docket: Docket, group: Group, width: int, height: int, clock: Clock, place: str = ""
) -> list[str]:
    """A question without its line of keys; as many lines as `height` has room for, the first ones first."""
    request = group.lead
    lines = head(request.facts(), width, clock.time(request.first), place)
    must, room = len(lines), height - len(key_line(request.dest, False, False, width))
    if must > room:  # what it is about goes before how often it was tried
        tries = folded(tries_text(request.count, request.uid), width)
        must -= len(tries) if lines[-len(tries) :] == tries else 0
    warn = warning(docket, request)
    if warn:
        lines.extend(folded("! " + warn, width))
    if not docket.shields.answers(request.container, request.dest):
        lines.extend(folded("! " + NO_IPV6, width))
    lines.extend(name_lines(docket, group, width, clock) if docket.names(request) or not warn else [])
    if request.failure:
        failed = "the last answer failed: " + REASONS.get(request.failure, "it can be tried again")
        lines.extend(folded("! " + FAILURES.get(request.failure, failed), width))
    ports = other_ports(group)
    if ports:
        lines.extend(folded(ports, width))
    return lines[: max(must, room)]


ANSWERS = ("s not now  m this session  d deny", "s not now  m session  d deny", "s now  m session  d deny")
"""The keys beside `a` and `A`, in fewer and fewer columns."""
LOOKS = "i l ? q"


def key_line(
    dest: str, guarded: bool, named: bool, width: int, waiting: int = 0, hidden: bool = False
) -> list[str]:
    """The keys that count, in one line or two, and how many others wait.

    `a` and `d` are about `dest`.  `named` says whether `A` is a key, `hidden` that it would be one in
    a larger window.  How many lines there are hangs on nothing that may change meanwhile.
    """
    which = dest if len(dest) + 16 <= width else "that address"
    allows = f"allow {which}: a, then y" if guarded else f"a allow {which}{'  A name' if named else ''}"
    waits = f"+{waiting} wait" if waiting else ""
    if len(f"a allow {dest}  A name   {ANSWERS[-1]}  +9999 wait  {LOOKS}") <= width:
        return [_keys(allows + "   ", waits, width)]
    if width >= 37:
        small = allows + "  A: window too small"
        return [small if hidden and len(small) <= width else allows, _keys("", waits, width)]
    return ["a %ss m d  %s" % ("A " if named else "", LOOKS)]


def _keys(start: str, waits: str, width: int) -> str:
    """The line that ends with the keys that look, as much of it as there is room for."""
    for end in (f"{waits}  {LOOKS}", f"{waits.partition(' ')[0]}  {LOOKS}", LOOKS):
        for answers in ANSWERS:
            if len(start) + len(answers) + 2 + len(end.lstrip()) <= width:
                return columns(start + answers, end.lstrip(), width)
    return columns(start + ANSWERS[-1], LOOKS, width)


def floor_lines(record: dict[str, Any], width: int, when: str) -> list[str]:
    """A request under the floor: told, not asked."""
    return [*head(record, width, when), *folded("! " + FLOOR, width)]


# The list and the history


def list_rows(docket: Docket, group: Group, digit: int, marked: bool, width: int, several: bool) -> list[str]:
    """A group in the list: its name or address, and its container where there are several.

    What has no room beside those goes to a second line.  No address and no container is ever cut: rows
    of two of them would look alike.
    """
    lead, name = group.lead, docket.shown_name(group.lead)
    label = name.name if name is not None and group.key[1] == name.name else lead.dest
    kinds = {(r.proto, r.port) for r in group.requests}
    port = "{} {}".format(
        addresses.proto_name(lead.proto) if lead.proto is not None else "?",
        "?" if lead.port is None else lead.port,
    )
    counts = (
        port if len(kinds) == 1 else "%d ports" % len(kinds),
        count(len(group.dests), "address", "addresses"),
        count(group.tries, "try", "tries"),
    )
    mark, container = "x" if marked else " ", printable(lead.container)
    start = f"  {mark}  {digit}  "
    row = "%s%s%-9s  %-13s %-9s  %s" % (
        start, "%-10s  " % container if several else "", *counts, printable(label),
    )  # fmt: skip
    if len(row) <= width and (not several or len(container) <= 10):
        return [row]
    if width < NARROW:
        start = f"{mark} {digit} "
    indent = " " * len(start)
    if label == lead.dest:
        rows = folded(label, width, start, indent)
    else:
        rows = [start + printable(label, max(8, width - len(start)))]
    if not several and width < NARROW:
        return rows
    return rows + folded("  ".join([container, *counts] if several else counts), width, indent, indent)


def answered_row(label: str, width: int) -> str:
    """A row of the list that no longer waits: its digit is not given to another."""
    start = "     -  answered meanwhile  "
    if width - len(start) < 16:
        start = "  - "
    return start + printable(label, max(8, width - len(start)))


def unheard_lines(docket: Docket, width: int) -> list[str]:
    """What was counted but is not asked."""
    words = {
        "denied": "denied before",
        "multicast": "multicast and the like",
        "bypass": "let through while the shield was down",
    }
    floors = [request.state for request in docket.all_requests()].count(states.FLOOR)
    muted = docket.muted
    counts = dict.fromkeys(words, 0)
    for (_, kind), number in docket.shields.unheard.items():
        counts[kind] += number
    found = [f"{number} {words[kind]}" for kind, number in counts.items() if number]
    if floors:
        found.append("{} under the shield's floor".format(count(floors, "destination")))
    if muted:
        found.append("%d muted%s" % (len(muted), muted_tries(sum(answer.tries for answer in muted))))
    return folded("not asked: " + ", ".join(found), width) if found else []


def history_row(answer: Answer, digit: int, width: int, clock: Clock) -> str:
    how = "undone" if answer.undone else answer.result
    room = width - 35 - min(39, len(answer.target))  # no address is cut for a container's name
    start = "     %d  %s  %s  %s " % (
        digit, clock.time(answer.wall), clip_right(answer.container, max(4, room)), answer.action,
    )  # fmt: skip
    if width < NARROW:
        where = clip_right(answer.container, 8) + " " if width >= 38 else ""
        start = "%d %s%s " % (digit, where, answer.action)
    end = "  " + how if how and width >= 38 else ""
    row = start + printable(answer.target, max(8, width - len(start) - len(end))) + end
    decided = decided_by(answer.by, answer.rule.text if answer.rule else None)
    room = width - len(row) - 1
    return row + " " + clip_right(decided, room) if decided and room > 12 else row
