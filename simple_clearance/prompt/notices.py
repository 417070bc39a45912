"""What the operator is told beside questions: the start, what came of an answer, what was lost.  Pure.

Like `screen`: lines of printable ASCII no longer than `width`, text from outside behind a `|`.
"""

from __future__ import annotations

import re

from ..base.text import clip_right, count, printable, seconds
from .layout import folded
from .questions import floor_lines

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Sequence

    from ..base.happenings import Watching


LABEL = re.compile(r"[A-Za-z0-9_@/.+-]{1,24}")
"""What stands in a line of ours can't imitate one: a label with blanks or brackets might."""


def greeting(container: str, dossier: dict[str, str], state: str, blocked: int, width: int) -> list[str]:
    """What is watched from now on, and what was missed before."""
    plain = [value for _, value in sorted(dossier.items()) if LABEL.fullmatch(value)]  # `i` has all of them
    labels = ", ".join(plain[:3])
    start, end = f"watching {container}", ": shield " + state if state else ""
    room = width - len(start) - len(end) - len(" ()")
    if labels and room >= 8:
        start += f" ({clip_right(labels, room)})"
    lines = folded(start + end, width, "")
    if state not in ("", "up"):
        lines.extend(folded("! " + SHIELD_STATES[state], width))
    if blocked:
        times = "once" if blocked == 1 else "%d times" % blocked
        lines.extend(folded(f"blocked {times} before this start: asked when it is tried again", width))
    return lines


def job_text(action: str, target: str, by: str, named: bool, undo: bool = False, *, room: int) -> str:
    """`a allow 203.0.113.10`, `A allow www.example.com`, `policy: deny 192.0.2.1`.

    A name is cut to a line with `room`: one that is wrapped would put its own words at a line's start.
    """
    key = "u" if undo else "A" if named and action == "allow" else action[0]
    start = f"{key} {action} " if by == "operator" else f"{by}: {action} "
    return start + printable(target, min(60, max(8, room - len(start) - len(" ...")) if named else 60))


REASON_TEXT = {
    "quarantine": "the shield is in quarantine: no allow works until it is up again",
    "not-running": "the container does not run",
    "no-container": "there is no such container any more",
    "not-shielded": "the container is not shielded",
    "no-address": "this host resolves the name to nothing",
}


ALREADY = {"already-open": "open already", "already-denied": "denied already"}


def verdict_lines(
    record: dict[str, Any], width: int, named: bool, shield: str = "terok-shield", where: str = "  "
) -> list[str]:
    """The outcome of one verdict, from its record; `where` is what its line begins with."""
    job = job_text(
        record["action"], record["target"], record["by"], named, record.get("undo", False),
        room=width - len(where),
    )  # fmt: skip

    def told(text: str) -> list[str]:
        return folded(f"{job} ... {text}", width, where)

    took = seconds(record["seconds"])
    result, reason = record["result"], record["reason"]
    if reason in ALREADY:
        return told(ALREADY[reason])
    if result == "applied":
        opened = record.get("opened", [])
        text = f"done in {took}"
        if named and record["action"] == "allow":
            text += (
                ": opened "
                + (", ".join(opened[:4]) or "nothing")
                + (" and %d more" % (len(opened) - 4) if len(opened) > 4 else "")
            )
        return told(text)
    if result == "dry-run":
        return told("dry run: nothing was run")
    if reason == "timeout":
        return told(f"no answer in {took}: it may or may not be open")
    if result == "unknown":
        return told(f"ended after {took}: it may or may not be open")
    waiting = "" if record.get("undo") else ", still waiting"
    lines = told(f"FAILED after {took}{waiting}")
    if reason in REASON_TEXT:
        lines.extend(folded("! " + REASON_TEXT[reason], width))
    elif record["action"] == "allow" and reason != "not-started":
        lines.extend(folded("! it may have opened something all the same", width))
    if record["error"]:
        error = record["error"].rpartition(" / ")[2] if reason in REASON_TEXT else record["error"]
        said = printable(f"{shield}: {error}", 3 * (width - 4))
        lines.extend(folded(said, width, "  | ", "  | ")[-4:])
    return lines


def elsewhere_lines(dests: list[str], width: int) -> list[str]:
    """An allow by name was applied, and these blocked addresses were not among those it opened."""
    first, more = dests[0], len(dests) - 1
    again = f"{first} is asked again, as an address"
    if more:
        again = "each is asked again, as an address"
        first += " and %d more" % more
    return [
        *folded(
            "! not {}, which {} blocked: this host resolves the name elsewhere".format(
                first, "were" if more else "was"
            ),
            width,
        ),
        *folded(again, width, "    "),
    ]


STILL_REASONS = {
    "floor": ": the shield keeps private ranges shut",
    "denied": ": a deny stands above the allow",
    "expired": ": the allow has expired",
}


def command_lines(command: str, width: int) -> list[str]:
    """A hint to copy a command from: where it needs several lines, as a shell takes them."""
    lines = ["  hint:"]
    for word in printable(command, 400).split():
        if len(lines[-1]) + len(word) + 3 > width and lines[-1] != "   ":
            lines[-1] += " \\"
            lines.append("   ")
        lines[-1] += " " + word
    return lines


def notice_lines(record: dict[str, Any], width: int, when: str) -> list[str]:
    """What a record tells the operator beside questions; nothing for most."""
    kind = record["type"]
    if kind == "passed":
        return folded(
            "{}  {}: first packet let out {} later".format(
                record["container"], record["dest"], seconds(record["seconds"])
            ),
            width,
            "",
            "  ",
        )
    if kind == "still_blocked":
        text = "{}  {}: still blocked, {} since the allow{}".format(
            record["container"], record["dest"], count(record["count"], "try", "tries"),
            STILL_REASONS.get(record["reason"] or "", ""),
        )  # fmt: skip
        return folded(text, width, "! ", "  ")
    if kind == "stopped":
        return [clip_right("%s: the container has stopped" % record["container"], width)]
    if kind == "shield":
        return folded(
            "{}: {}".format(
                record["container"], SHIELD_STATES.get(record["state"], printable(record["state"], 60))
            ),
            width,
            "! ",
            "  ",
        )
    if kind == "error":
        lines = folded(printable(record["message"], 400), width, "! ", "  ")
        return lines + command_lines(record["hint"], width) if "hint" in record else lines
    if kind == "pending" and record["floor"]:
        return floor_lines(record, width, when)
    return []


def greetings(watched: Sequence[Watching], width: int) -> list[str]:
    """What is watched, one container after the other, and what is known to be missing."""
    lines: list[str] = []
    for one in watched:
        if one.recorded:
            lines.append(f"replaying a recording of {one.name}: no verdict is run")
            continue
        lines += greeting(one.name, one.dossier, one.state, one.missed, width)
        if one.held_by:
            lines += audit_lines(one.name, one.held_by, width)
        elif one.taken_over:
            lines += taken_over_lines(one.name, one.taken_over, width)
    return lines


def audit_lines(container: str, pid: int, width: int) -> list[str]:
    """What is missing where another reader holds the packet log."""
    return [
        *folded(
            "%s: terok-shield's reader (pid %d) holds the packet log: questions come up to 1 s late, "
            "retries within 30 s and what an answer did are not seen" % (container, pid),
            width,
        ),
        *folded("--take-over ends that reader and shows all of it", width),
    ]


def taken_over_lines(container: str, pid: int, width: int) -> list[str]:
    """What the container has lost by --take-over."""
    return folded(
        "%s: terok-shield's reader (pid %d) was ended. Until the container's next start its audit log "
        "gets no blocked lines, and a hub would take it for stopped" % (container, pid),
        width,
    )


SHIELD_STATES = {
    "up": "the shield is up again",
    "down": "the shield is down: connections are let through, only the floor and denies hold",
    "disengaged": "the shield is disengaged: everything is let through",
    "quarantine": "the shield is in quarantine: everything is blocked, an allow fails",
}


def lost_lines(number: int, where: str, width: int, when: str) -> list[str]:
    """Loss is told in words, with what it means."""
    why = {
        "kernel": "kernel buffer full",
        "reader": "our reader could not pass them on",
        "table": "too many requests are open",
        "stdout": "they were not read",
    }.get(where, where)
    packets = "1 packet was" if number == 1 else "%d packets were" % number
    text = (
        f"{packets} lost at {when} ({why}). A destination tried only then is not shown; "
        "it will be when it is tried again. Exit code: 5"
    )
    return folded(text, width, "! ", "")


def summary_lines(summary: dict[str, Any], width: int) -> list[str]:
    """The end, in a line or two: everything that is not zero."""
    words = (
        ("dry_run", "decided in a dry run"),
        ("allowed", "allowed"), ("denied", "denied"), ("skipped", "skipped"), ("muted", "muted"),
        ("failed", "failed"), ("unknown", "unknown"), ("open", "left open"), ("lost", "lost"),
        ("untold", "not asked"),
    )  # fmt: skip
    found = ["%d %s" % (summary[key], word) for key, word in words if summary.get(key)]
    return folded("stopped: " + (", ".join(found) or "nothing was blocked"), width, "", "  ")


REPEATED = 100
"""Commands told at the end."""


def repeat_commands(last_words: Sequence[tuple[str, str, str]], shield: str) -> list[str]:
    """The commands that would repeat the applied verdicts: the last word on each target, in their order."""
    commands = [f"{shield} {action} {container} {dest}" for container, dest, action in last_words]
    more = len(commands) - REPEATED
    return commands if more <= 0 else [*commands[:REPEATED], "and %d more, which --log keeps" % more]
