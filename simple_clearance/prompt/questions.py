"""What the operator reads: a question.  Pure.

Kernel truth comes first; text from outside stands behind a `|` and never at the start of a
line; the keys come last.  Every function returns lines of printable ASCII no longer than
`width`; none knows how they get to the screen.
"""

from __future__ import annotations

from ..base import addresses
from ..base.text import ELLIPSIS, count, printable
from .groups import target_name
from .layout import columns, folded
from .sentences import FLOOR, NO_IPV6, REASONS

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Sequence

    from ..base.happenings import Name
    from ..base.moment import Clock
    from ..docket.docket import Docket
    from ..docket.requests import Request
    from .groups import Group


NO_NAME = "no A (i)"
"""Stands beside a name that can't be allowed as one, where there is room."""

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


def ports_text(number: int) -> str:
    """`65471 more ports`: what a request for the rest of an address's ports is about."""
    return count(number, "more port") if number else "other protocols"


def what_for(facts: dict[str, Any]) -> str:
    """The service of a request, or the number of its ports, by its `facts`."""
    return ports_text(facts["ports"]) if "ports" in facts else service_text(facts["proto"], facts["port"])


def tries_text(number: int, uid: int | None, in_pod: bool = False) -> str:
    """`4 tries, uid 1000`; of a pod, a packet doesn't tell which of its containers it is from."""
    text = count(number, "try", "tries")
    text = text if uid is None else "%s, uid %d" % (text, uid)
    return text + ", from its pod" if in_pod else text


def head(facts: dict[str, Any], width: int, when: str, place: str = "", in_pod: bool = False) -> list[str]:
    """The first line or two: container, address, what for; when, how often, by whom.

    `facts` are those of a request (`Request.facts`).  What it is about is never cut.
    """
    service, tries = what_for(facts), tries_text(facts["count"], facts["uid"], in_pod)
    when = f"{place}  {when}" if place else when
    left, right = f"{facts['container']}  {facts['dest']}  {service}", f"{when}   {tries}"
    if len(left) + 2 + len(right) <= width:
        return [columns(left, right, width)]
    container, below = facts["container"], f"  {facts['dest']}  {service}"
    top = f"{container}  {service}"
    fits = len(top) + 2 + len(tries) <= width
    if not fits and len(container) <= width and len(below) + 2 + len(right) <= width:
        return [container, columns(below, right, width)]
    if fits:
        lines = [columns(top, tries, width)]
    elif len(top) <= width:
        lines = [top]
    else:
        lines = [*folded(container, width, "", "  "), *folded(service, width)]
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
    line = line.rstrip()
    if len(line) <= width:
        no_key = "" if request.guarded or target_name(docket, request) else NO_NAME
        return [columns(line, no_key, width)] if len(line) + 2 + len(no_key) <= width else [line]
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


def hindrances(docket: Docket, request: Request) -> list[str]:
    """Why allowing it would be more than one may think, or less."""
    shields, texts = docket.shields, [warning(docket, request)]
    if not shields.answers(request.container, request.dest):
        texts.append(NO_IPV6)
    if shields.quarantined(request.container) and request.failure != "quarantine":
        texts.append(REASONS["quarantine"])
    return ["! " + text for text in texts if text]


def other_ports(group: Group) -> str:
    """The other ports of the same address that wait, too."""
    rest = [r for r in group.requests[1:] if r.dest == group.lead.dest]
    if not rest:
        return ""
    shown = ", ".join(what_for(request.facts()) for request in rest[:3])
    more = sum(request.number_of_ports for request in rest[3:])
    return f"also on this address: {shown}{' and %d more' % more if more else ''}"


FAILURES = {
    "elsewhere": "asked as an address: this host resolves the name to others",
    "timeout": "the last answer had no outcome in time: it may or may not be open",
    "ended": "the last answer's command was ended: it may or may not be open",
}


def question(
    docket: Docket, group: Group, width: int, height: int, clock: Clock, place: str = ""
) -> list[str]:
    """A question without its line of keys; as many lines as `height` has room for, the first ones first."""
    request, in_pod = group.lead, group.lead.container in docket.pods
    lines = head(request.facts(), width, clock.time(request.first), place, in_pod)
    must, room = len(lines), height - len(key_line(request.dest, False, False, width))
    if must > room:  # what it is about goes before how often it was tried
        tries = folded(tries_text(request.count, request.uid, in_pod), width)
        must -= len(tries) if lines[-len(tries) :] == tries else 0
    for text in hindrances(docket, request):
        lines.extend(folded(text, width))
    named = docket.names(request) or not warning(docket, request)
    lines.extend(name_lines(docket, group, width, clock) if named else [])
    if request.failure:
        failed = "the last answer failed: " + REASONS.get(request.failure, "it can be tried again")
        lines.extend(folded("! " + FAILURES.get(request.failure, failed), width))
    ports = other_ports(group)
    if ports:
        lines.extend(folded(ports, width))
    return lines[: max(must, room)]


ANSWERS = ("s not now  m this session  d deny", "s not now  m session  d deny", "s later  m session  d deny")
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
    if len(f"a allow {dest}  A name   {ANSWERS[-1]}  +9999  {LOOKS}") <= width:
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
    names = ["  | " + printable(record["names"][0], width - 5)] if record["names"] else []
    return [*head(record, width, when), *names, *folded("! " + FLOOR, width)]
