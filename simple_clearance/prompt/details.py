"""What `i` and `?` tell: everything known about one request, and what each key would do.  Pure."""

from __future__ import annotations

from ..base import timestamps
from ..base.text import printable
from .groups import target_name
from .layout import folded
from .questions import hindrances, more_names, other_ports, what_for
from .sentences import decided_by

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Sequence

    from ..base.moment import Clock
    from ..docket.docket import Docket
    from ..docket.requests import Request
    from .groups import Group


def details(docket: Docket, group: Group, width: int, clock: Clock, named: bool) -> list[str]:
    """Everything known about one request.

    `named` says whether `A` is a key of the question.
    """
    request = group.lead
    pod = ", or another of its pod" if request.container in docket.pods else ""
    rows = [
        ("container", request.container + pod),
        ("address", request.dest),
        ("for", what_for(request.facts())),
        (
            "tries",
            "%d, first %s, last %s" % (request.count, clock.time(request.first), clock.time(request.last)),
        ),
        ("uid inside", "unknown" if request.uid is None else str(request.uid)),
    ]
    lines = [line for label, value in rows for line in folded(value, width, "  %-11s " % label, " " * 14)]
    dossier = docket.dossier(request.container)
    for key, value in sorted(dossier.items()):
        lines.append("  | %-9s %s" % (printable(key, 9), printable(value, width - 16)))
    for number, name in enumerate(docket.names(request)[:6]):
        via = "  via " + printable(name.via, 40) if name.via else ""
        text = "{}{}{}".format(
            printable(name.name, max(8, width - 16) if number else 255),  # the first one whole
            via,
            "  looked up " + printable(clock.since(name.at, request.last), 20) if name.at else "",
        )
        lines.extend(folded(text, width, "  | name      ", "  |           "))
    more = more_names(docket.names(request), 6)
    if more:
        lines.append("    and " + more)
    ports = other_ports(group)
    if ports:
        lines.extend(folded(ports, width))
    if len(group.dests) > 1:
        shown = ", ".join(group.dests[1:7])
        lines.extend(
            folded("its other addresses: {}{}".format(shown, ", .." if len(group.dests) > 7 else ""), width)
        )
    lines += earlier(docket, request, width, clock)
    for text in consequences(docket, request, named):
        lines.extend(folded(text, width, "  ", "    "))
    return lines


ANSWERS = 3
"""Of the answers to an address so many are told, the latest ones; `h` has all."""


def earlier(docket: Docket, request: Request, width: int, clock: Clock) -> list[str]:
    """What was decided about this address before: whoever asked the shield for it, and in this session."""
    texts = []
    found = docket.recorded(request.container, request.dest)
    if found is not None:
        then = timestamps.seconds(found.ts)
        when = "" if then is None else " " + clock.ago(then, request.last)
        named = "" if found.target in ("", request.dest) else ", as " + printable(found.target, 100)
        texts.append("recorded by the shield: %s%s%s" % (found.action, when, named))
    here = (request.container, request.dest)
    answers = [one for one in docket.history if any(key[:2] == here for key in one.keys)]
    for one in answers[-ANSWERS:]:
        when, what = clock.ago(one.wall, request.last), one.action + " " + printable(one.target, 100)
        rule = decided_by(one.by, one.rule.text if one.rule else None)
        texts.append("answered %s: %s%s%s" % (when, what, rule, one.result and ": " + one.result))
    return [line for text in texts for line in folded(text, width, "  ", "    ")]


NAME_HIDDEN = "A is no key here: this window is too small to show the name and what A opens"

NAME_LATER = "A is no key here, but a name is known by now: i shows it"


def not_by_name(docket: Docket, request: Request) -> str:
    """Why `A` would be no key of its question on any screen; "" where it would be one."""
    name = docket.shown_name(request)
    if name is None:
        why = "no name is known"
    elif request.guarded:
        why = "what has such a warning is allowed as an address only"
    elif target_name(docket, request):
        return ""
    elif "_" in name.name:
        why = "a name with an underscore is no host name"
    elif "." not in name.name:
        why = "a name without a dot may be that of any host"
    else:
        why = "names under localhost are this machine's own"
    return "A is no key here: " + why


def consequences(docket: Docket, request: Request, named: bool) -> list[str]:
    """What each answer would do, in words that the shield keeps."""
    texts = hindrances(docket, request)
    names = docket.names(request)
    forgot = names and names[-1].forgot
    every = ", for all names on it, at least %d" if forgot else ", for all %d names on it"
    texts.append(
        "a opens every port of this address%s; recorded, for 30 minutes where the shield resolves live"
        % (every % len(names) if more_names(names, 1) else "")
    )
    if named:
        texts.append(
            "A opens what this host resolves the name to, and later answers where the shield resolves live"
        )
    elif docket.shown_name(request) is not None:
        texts.append(not_by_name(docket, request) or NAME_HIDDEN)
    old = docket.shields.floor(request.container) is False
    texts.append(
        "d is recorded by the shield%s"
        % (
            "; it does not bite where an allow set holds the address"
            if old
            else ", and in force until the container restarts"
        )
    )
    return texts


HELP = (
    ("a", "allow the address (every port of it)"),
    ("A", "allow the name, where one is known: tells what that opens, then y"),
    ("s", "not now: asked again if it is tried again after a minute"),
    ("m", "not in this session: the name at any address, else the address, on any port"),
    ("d", "deny the address"),
    ("u", "undo the last verdict: tells what that does, then y"),
    ("l h", "the list of what waits, the history: there a digit asks again what was answered or muted"),
    ("i ?", "everything known about this one, these keys"),
    ("q", "stop    Ctrl-C stop now    Ctrl-Z suspend    Ctrl-L paint anew"),
)

LIST_HELP = (
    ("1-9", "marks one, or takes the mark away"),
    ("*", "marks all, those of the other pages too; once more: none; with a word only what is shown"),
    ("space", "the next page; Backspace: the one before"),
    ("/", "a word, then Enter: only what holds it is shown; ESC: all again"),
    ("c", "one container only: that of a mark, or of the first row; again: the next one; ESC: all again"),
    ("a", "allow what is marked: shows every address, then their number is typed, then Enter"),
    ("s m", "not now, not in this session: what is marked"),
    ("Enter", "asks the first that is marked, else the first that is shown"),
    ("l", "back, and so does ESC"),
)
HISTORY_HELP = (
    ("1-9", "asks that one again"),
    ("space", "the next page, of older ones; Backspace: the one before"),
    ("c", "one container only: that of the first row; again: the next one; ESC: all again"),
    ("h", "back, and so does ESC"),
)


def help_lines(keys: Sequence[tuple[str, str]], width: int) -> list[str]:
    lines: list[str] = []
    column = max(len(key) + 1 for key, _ in keys)
    for key, text in keys:
        lines.extend(folded(text, width, f"  {key:{column}} ", " " * (column + 3)))
    lines.extend(
        folded("A key that decides counts only alone, once the question has stood for a moment.", width)
    )
    lines.extend(
        folded(
            "A verdict is run half a second after its key: any key takes it back. ESC: no, and back; "
            "while many verdicts run, it ends the rest.",
            width,
        )
    )
    return lines
