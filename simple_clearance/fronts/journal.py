"""What an unattended session tells, a line for each outcome, for a journal or a mail.  Pure.

The container comes first, what was done next, text from outside last and behind a `|`.  Times
are the reader's business: a journal has its own.
"""

from __future__ import annotations

from ..base.text import count, printable, seconds
from ..prompt.notices import ALREADY, REASON_TEXT, SHIELD_STATES, STILL_REASONS
from ..prompt.questions import FLOOR_TEXT, service_text

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from ..docket.docket import Record

CLOSED = {
    "skipped": "skipped",
    "muted": "muted",
    "covered": "covered by what was decided already",
    "floor": FLOOR_TEXT,
    "stopped": "left open",
}

LOST = {
    "kernel": "the kernel's buffer was full",
    "reader": "our reader could not pass them on",
    "table": "too many requests are open",
    "stdout": "this output was not read",
}


class Journal:
    """Turns the records of a session into lines; remembers what the open requests are about."""

    def __init__(self) -> None:
        self._about: dict[str, tuple[str, str, str, str]] = {}  # id -> container, address, service, name
        self._dry = 0

    def lines(self, record: Record) -> list[str]:
        """What `record` tells, usually one line or none."""
        kind = record["type"]
        if kind == "pending":
            self._remember(record)
        elif kind == "names" and record["id"] in self._about:
            self._about[record["id"]] = (*self._about[record["id"]][:3], _named(record["names"]))
        elif kind == "verdict":
            return [self._verdict(record)]
        elif kind == "closed":
            return self._closed(record)
        elif kind == "summary":
            return [_summary(record, self._dry)]
        elif kind in _OTHERS:
            return [_OTHERS[kind](record)]
        return []

    def _remember(self, record: Record) -> None:
        service = service_text(record["proto"], record["port"])
        self._about[record["id"]] = (record["container"], record["dest"], service, _named(record["names"]))

    def _closed(self, record: Record) -> list[str]:
        about = self._about.pop(record["id"], None)
        if about is None or record["why"] not in CLOSED:
            return []  # its verdict has been told
        return ["%s: %s %s: %s%s" % (*about[:3], CLOSED[record["why"]], about[3])]

    def _verdict(self, record: Record) -> str:
        about = self._about.get(record["id"] or "")
        what = "%s %s" % (record["action"], printable(record["target"], 253))
        asked = ""
        if about:
            asked = " for " + (about[2] if about[1] == record["target"] else "%s %s" % about[1:3])
        self._dry += record["result"] == "dry-run"
        by = "%s `%s`" % (record["by"], printable(record["rule"], 200)) if record["rule"] else record["by"]
        text = "%s: %s%s (%s): %s" % (record["container"], what, asked, by, _outcome(record))
        if record["error"] and record["result"] != "applied":
            return "%s | %s" % (text, printable(record["error"], 400))
        return text + (about[3] if about else "")


def _named(names: list[str]) -> str:
    if not names:
        return ""
    more = " and %d more" % (len(names) - 1) if len(names) > 1 else ""
    return " | %s%s" % (printable(names[0], 253), more)


def _outcome(record: Record) -> str:
    result, reason, took = record["result"], record["reason"], seconds(record["seconds"])
    if result == "dry-run":
        return "dry run, nothing was run"
    if reason in ALREADY:
        return ALREADY[reason]
    if result == "applied":
        opened: list[str] = record.get("opened", [])
        if opened and opened != [record["target"]]:
            more = " and %d more" % (len(opened) - 8) if len(opened) > 8 else ""
            return "done in %s, opened %s%s" % (took, ", ".join(opened[:8]), more)
        return "done in %s" % took
    if result == "unknown":
        how = "no answer in" if reason == "timeout" else "ended after"
        return "UNKNOWN, %s %s: it may or may not be open" % (how, took)
    why = REASON_TEXT.get(reason or "", "")
    return "FAILED after %s, still unanswered%s" % (took, ": " + why if why else "")


def _passed(record: Record) -> str:
    took = seconds(record["seconds"])
    return "%s: %s: first packet let out %s later" % (record["container"], record["dest"], took)


def _still_blocked(record: Record) -> str:
    return "%s: %s: still blocked, %s since the allow%s" % (
        record["container"], record["dest"], count(record["count"], "try", "tries"),
        STILL_REASONS.get(record["reason"] or "", ""),
    )  # fmt: skip


def _shield(record: Record) -> str:
    state = record["state"]
    return "%s: %s" % (record["container"], SHIELD_STATES.get(state, "the shield is " + printable(state, 40)))


def _lost(record: Record) -> str:
    where = record["where"]
    return "lost: %s (%s)" % (count(record["count"], "event"), LOST.get(where, printable(where, 40)))


def _error(record: Record) -> str:
    hint = " (hint: %s)" % printable(record["hint"], 400) if "hint" in record else ""
    return "error: " + printable(record["message"], 400) + hint


def _summary(record: Record, dry: int) -> str:
    words: dict[str, str] = {"open": "left open", "untold": "not asked"}
    told: list[str] = [
        "%d %s" % (number, words.get(key, key))
        for key, number in record.items()
        if key not in ("type", "exit", "dry_run") and number
    ]
    if dry:
        told.insert(0, "%d decided in a dry run" % dry)
    return "stopped: %s; exit code %d" % (", ".join(told) or "nothing was blocked", record["exit"])


_OTHERS: dict[str, Any] = {
    "passed": _passed,
    "still_blocked": _still_blocked,
    "shield": _shield,
    "lost": _lost,
    "error": _error,
}
