"""What each record says, in words: for a terminal and for a journal alike.  Pure.

A sentence knows nothing of where it will stand: `notices` lays it out on a screen,
`fronts.journal` as one line.
"""

from __future__ import annotations

import re

from ..base import addresses
from ..base.errors import Command
from ..base.happenings import Watching
from ..base.text import clip_right, count, printable, seconds
from ..docket.verdict import NOT_STARTED

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Callable, Dict, Iterable, Sequence

    Record = Dict[str, Any]

SHIELD_STATES = {
    "up": "the shield is up again",
    "down": "the shield is down: connections are let through, only the floor and denies hold",
    "disengaged": "the shield is disengaged: everything is let through",
    "quarantine": "the shield is in quarantine: everything is blocked, an allow fails",
}

# why a verdict changed nothing, and why it failed
ALREADY = {"already-open": "open already", "already-denied": "denied already"}
REASONS = {
    "quarantine": "the shield is in quarantine: no allow works until it is up again",
    "not-running": "the container does not run",
    "no-container": "there is no such container any more",
    "not-shielded": "the container is not shielded",
    "no-address": "this host resolves the name to nothing",
}

STILL_REASONS = {
    "floor": ": the shield keeps private ranges shut",
    "denied": ": a deny stands above the allow",
    "expired": ": the allow has expired",
}

FLOOR = "not asked: the shield keeps private ranges shut, whatever is allowed"

NO_IPV6 = (
    "allowing this address doesn't help: IPv6 gets no answer in this container, "
    "its shield stops neighbour discovery"
)

# what verdicts of a batch came to, in the order in which it is told
BATCH = {
    "applied": "done",
    "dry_run": "only decided (dry run)",
    "failed": "FAILED (h)",
    "unknown": "with no answer in time (h)",
    "not_started": "not run",
}

# what became of a request without a verdict of its own
CLOSED = {
    "skipped": "skipped",
    "muted": "muted",
    "covered": "covered by what was decided already",
    "floor": FLOOR,
    "stopped": "unanswered",
}

# where something was lost: what, and why
LOST = {
    "kernel": ("packet", "kernel buffer full"),
    "reader": ("packet", "our reader could not pass them on"),
    "table": ("packet", "too many requests are open"),
    "stdout": ("event", "this output was not read"),
}
UNSEEN = "A destination tried only then is not shown; it will be when it is tried again"

# the same where nobody knows what was lost: why, and what that means
UNKNOWN = {
    "watch": ("a reader has ended", "What is tried while nobody watches is not shown"),
    "link": ("the link to their machine was lost", UNSEEN),
}

HELD = (
    "terok-shield's reader (pid %d) holds the packet log: questions come up to 1 s late, "
    "retries within 30 s and what an answer did are not seen"
)
TAKEN_OVER = (
    "terok-shield's reader (pid %d) was ended. Until the container's next start its audit log "
    "gets no blocked lines, and a hub would take it for stopped"
)

# the counts of a summary, in the order in which they are told
COUNTS = {
    **{key: key for key in ("allowed", "denied", "skipped", "muted", "failed", "unknown")},
    **{"open": "unanswered", "floor": "kept shut", "let_out": "let out without a verdict from here"},
    **{"lost": "lost", "untold": "not asked (denied before, multicast)"},
}

NO_VERDICTS = "dry run: what is answered is told, no verdict is run"

LABELS_ROOM = 72
"""Columns for a line with a container's labels, where it is not known how many there are."""

LABEL = re.compile(r"[A-Za-z0-9_@/.+-]{1,24}")
"""What stands in a line of ours can't imitate one: a label with blanks or brackets might."""


def decided_by(by: str | None, rule: str | None) -> str:
    """` by ...` where something has decided by itself, else ""."""
    if by == "policy":
        return " by `%s`" % printable(rule or "", 200)
    return " by --answer" if by == "answer" else ""


class Sentence:
    """`about` is the container, or it and an address; `text` what is said of it, `notes` more of that.

    `said` is text from outside, which belongs behind a `|`; `hint` a remedy; `grave` marks
    what should not be overlooked.  `same` is what stands before and behind the names of containers
    of which just this is said, or nothing where it may be said of one only.
    """

    def __init__(
        self, about: Sequence[str], text: str, notes: Sequence[str] = (),
        *, said: str = "", hint: str = "", grave: bool = False, same: tuple[str, ...] = (),
    ) -> None:  # fmt: skip
        self.same = same
        self.about, self.text, self.notes = tuple(about), text, notes
        self.said, self.hint, self.grave = said, hint, grave


def greetings(watched: Iterable[Watching], room: int, *more: str) -> list[Sentence]:
    """What is watched from now on, what is missing, and what `more` there is, in words.

    The first line of each has `room` columns.
    """
    told = []
    for one in watched:
        told.append(_watching(one, room, "watching", "before this start"))
        if one.state not in ("", "up"):
            told.append(_shield({"container": one.name, "state": one.state}))
    return [*told, *(Sentence((), text) for text in more if text)]


def _watching(one: Watching, room: int, verb: str, when: str) -> Sentence:
    if one.source == "replay":
        return Sentence((), "replaying a recording of %s: no verdict is run" % one.name)
    notes = list(one.unseen)
    if one.missed:
        times = "once" if one.missed == 1 else "%d times" % one.missed
        notes.append("blocked %s %s: asked when it is tried again" % (times, when))
    if one.held_by:
        notes += [HELD % one.held_by, "--take-over ends that reader and shows all of it"]
    elif one.taken_over:
        notes.append(TAKEN_OVER % one.taken_over)
    start, end = verb + " " + one.name, ": shield " + one.state if one.state else ""
    if one.held_by:
        end += ", through its audit log"
    plain = [
        value for _, value in sorted(one.dossier.items()) if LABEL.fullmatch(value)
    ]  # `i` has all of them
    labels, room = ", ".join(plain[:3]), room - len(start) - len(end) - len(" ()")
    if labels and room >= 8:
        start += " (%s)" % clip_right(labels, room)
    return Sentence((), start + end, notes)


def _container(record: Record) -> Sentence:
    """One that has started and is watched, or is watched no longer."""
    if "host" in record:
        return _machine(record)
    about = (record["container"],)
    if record["state"] != "started":
        if record["reason"] is None:
            return Sentence(about, "the container has stopped", same=("", ": the container has stopped"))
        return Sentence(about, "not watched any more: " + record["reason"], hint=record.get("hint", ""))
    state = record.get("shield_state", "")
    one = Watching(
        record["container"], record["dossier"], state, missed=record.get("missed", 0),
        held_by=record.get("held_by", 0), taken_over=record.get("taken_over", 0),
        unseen=record.get("unseen", ()),
    )  # fmt: skip
    told = _watching(one, LABELS_ROOM, "now watching", "before we listened")
    notes = [*told.notes, *([SHIELD_STATES[state]] if state not in ("", "up") else [])]
    plain = () if notes else ("now watching ", ": shield " + state if state else "")
    return Sentence((), told.text, notes, same=plain)


def verdict(record: Record, elsewhere: Sequence[str] = ()) -> Sentence:
    """The outcome of a verdict; `elsewhere` are the addresses it was meant for and did not open."""
    result, reason, took = record["result"], record["reason"], seconds(record["seconds"])
    allow, notes = record["action"] == "allow", []
    error = (record["error"] or "") if result in ("failed", "unknown") else ""
    if reason in ALREADY:
        text = ALREADY[reason]
    elif result == "applied":
        text = "done in " + took
        if allow and record["opened"] and addresses.canonical(record["target"]) is None:
            text += ": opened " + _listed(record["opened"])
    elif result == "dry-run":
        text = "dry run: nothing was run"
    elif reason == NOT_STARTED:
        text = "FAILED, not run" + ("" if record["undo"] else ", still waiting") if error else "not run"
        notes += [printable(error, 400)] if error else []  # our words: there was no command to say any
        error = ""
    elif result == "unknown":
        how = "no answer in" if reason == "timeout" else "ended after"
        text = "%s %s: it may or may not be open" % (how, took)
    else:
        text = "FAILED after %s%s" % (took, "" if record["undo"] else ", still waiting")
        if reason in REASONS:
            notes.append(REASONS[reason])
        elif allow:
            notes.append("it may have opened something all the same")
    if elsewhere:
        others, verb = len(elsewhere) - 1, "were" if len(elsewhere) > 1 else "was"
        which = elsewhere[0] + (" and %d more" % others if others else "")
        notes.append("not %s, which %s blocked: this host resolves the name elsewhere" % (which, verb))
        notes.append("%s is asked again, as an address" % ("each" if others else which))
    said = error.rpartition(" / ")[2] if reason in REASONS else error
    return Sentence((record["container"],), text, notes, said=said)


def batch(record: Record) -> str:
    """What the verdicts of a batch have come to, as its record tells them."""
    if record["applied"] == record["number"]:
        return "done in " + seconds(record["seconds"])
    told = [(record[key], text) for key, text in BATCH.items() if record[key]]
    text = ", ".join("%d %s" % one for one in told)
    if record["waiting"]:
        return text + ": %d wait%s again" % (record["waiting"], "s" if record["waiting"] == 1 else "")
    return text + (": what was not done stands (u)" if record["undo"] and not record["dry_run"] else "")


def _listed(dests: Sequence[str]) -> str:
    return ", ".join(dests[:4]) + (" and %d more" % (len(dests) - 4) if len(dests) > 4 else "")


def lost(record: Record, when: str = "") -> Sentence:
    """Loss is told in words, with what it means; `when`, where the reader has no clock of his own."""
    number, where, at = record["count"], record["where"], " at " + when if when else ""
    if where in UNKNOWN:
        why, means = UNKNOWN[where]
        text = "something may have been lost%s (%s)" % (at, why)
    else:
        what, why = LOST.get(where, ("event", printable(where, 40)))
        verb, means = "was" if number == 1 else "were", UNSEEN
        text = "%s %s lost%s (%s)" % (count(number, what), verb, at, why)
    text += ". %s. Exit code: 5" % means
    return Sentence([record["container"]] if record.get("container") else (), text, grave=True)


def _machine(record: Record) -> Sentence:
    """Another machine's session, whose link was lost or is there again."""
    if record["state"] == "back":
        return Sentence((record["host"],), "the link is back")
    text = "the link was lost and is tried again (%s)" % printable(record["reason"], 200).rstrip(".")
    return Sentence((record["host"],), "%s. %s. Exit code: 5" % (text, UNSEEN), grave=True)


def _still_blocked(record: Record) -> Sentence:
    tries, why = count(record["count"], "try", "tries"), STILL_REASONS.get(record["reason"] or "", "")
    text = "still blocked, %s since the allow%s" % (tries, why)
    return Sentence((record["container"], record["dest"]), text, grave=True)


def recorded(record: Record, when: str = "") -> Sentence:
    """Somebody else's verdict on what waits here; `when`, where the reader has no clock of his own."""
    text = "%s by somebody else" % {"allow": "allowed", "deny": "denied"}[record["action"]]
    if when:
        text += " at %s; it still waits here: s closes it" % when
    return Sentence((record["container"], record["dest"]), text)


def _shield(record: Record) -> Sentence:
    text = SHIELD_STATES.get(record["state"], "the shield is " + printable(record["state"], 40))
    return Sentence((record["container"],), text, grave=True, same=("", ": " + text))


def _error(record: Record) -> Sentence:
    hint = record.get("hint", "")
    kind = Command if isinstance(hint, Command) else str
    return Sentence((), printable(record["message"], 400), hint=kind(printable(hint, 400)), grave=True)


def _summary(record: Record) -> Sentence:
    words = {**COUNTS, "muted": COUNTS["muted"] + muted_tries(record.get("muted_tries", 0))}
    dry, gaps = record.get("dry_run", 0), record.get("gaps", 0)
    numbers = {**record, "lost": record.get("lost", 0) - gaps}
    found = [count(dry, "verdict") + " not run (dry run)"] if dry else []
    found += ["%d %s" % (numbers[key], text) for key, text in words.items() if numbers.get(key)]
    found += [count(gaps, "gap") + " in what was seen"] if gaps else []
    told = ", ".join(found) or "nothing blocked was seen"
    return Sentence((), "stopped: %s; exit code %d" % (told, record["exit"]))


def muted_tries(number: int) -> str:
    """How often what is muted was tried since."""
    return " (tried %s since)" % ("once" if number == 1 else "%d times" % number) if number else ""


def by_rule(rules: Sequence[tuple[str, int, int]]) -> list[str]:
    """How many requests each rule decided and left open, after a replay; "" stands for none of them."""
    lines, idle = [], 0
    for rule, decided, left_open in rules:
        if decided or left_open or not rule:
            left = " (and left %d open)" % left_open if left_open else ""
            lines.append("%6d  %s%s" % (decided, printable(rule, 200) or "no rule", left))
        else:
            idle += 1
    if idle:
        lines.append("%s decided nothing" % count(idle, "rule"))
    return ["requests decided by each rule:", *lines] if rules else []


SENTENCES: dict[str, Callable[[Record], Sentence]] = {
    "verdict": verdict,
    "passed": lambda record: Sentence(
        (record["container"], record["dest"]), "first packet let out %s later" % seconds(record["seconds"])
    ),
    "still_blocked": _still_blocked,
    "container": _container,
    "recorded": recorded,
    "shield": _shield,
    "lost": lost,
    "error": _error,
    "note": lambda record: Sentence((), printable(record["message"], 400)),
    "summary": _summary,
}
"""By the type of a record; the others tell nothing by themselves."""


REPEATED = 8
"""Commands told at the end: with the line above them, and how many more there are, fewer than ten lines."""


def repeat_commands(
    last_words: Sequence[tuple[str, str, str]],
    shield: str,
    elsewhere: Callable[[str], tuple[str, str]] | None = None,
) -> list[str]:
    """The commands that would repeat the applied verdicts: the last word on each target, in their order.

    `elsewhere(container)` is what stands before the command for a container of another machine, and its name
    there; where the first is "", no command is known.
    """
    commands = []
    for container, dest, action in last_words:
        before, name = " ", container
        if elsewhere is not None and "/" in container:
            before, name = elsewhere(container)
        if before:
            commands.append(f"{before}{shield} {action} {name} {dest}".strip())
    if len(commands) <= REPEATED:
        return commands
    told = commands[: REPEATED - 1]
    return [*told, "and %d more, which --log keeps" % (len(commands) - len(told))]
