"""What an unattended session tells, a line for each outcome, for a journal or a mail.  Pure.

The container comes first, what was done next, text from outside last and behind a `|`.  Times
are the reader's business: a journal has its own.
"""

from __future__ import annotations

from ..base.text import printable
from ..docket.verdict import NOT_STARTED
from ..prompt.questions import service_text
from ..prompt.sentences import CLOSED, SENTENCES, Sentence, decided_by, verdict

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ..docket.docket import Record


class Journal:
    """Turns the records of a session into lines; remembers what the open requests are about."""

    def __init__(self) -> None:
        self._open: dict[str, tuple[str, str, str, str]] = {}  # id -> container, address, service, names

    def line(self, record: Record) -> str:
        """What `record` tells; "" for nothing."""
        kind, request = record["type"], record.get("id") or ""
        known = self._open.get(request)
        if kind == "pending":
            service = "more ports" if "ports" in record else service_text(record["proto"], record["port"])
            self._open[request] = (record["container"], record["dest"], service, _names(record))
        elif kind == "names" and known:
            self._open[request] = (*known[:3], _names(record))
        elif kind == "closed" and known:
            del self._open[request]
            container, dest, service, names = known
            if record["why"] in CLOSED:  # else its verdict has been told
                about = (container, "%s %s" % (dest, service))
                text = CLOSED[record["why"]]
                if record["why"] == "skipped":
                    text += decided_by(record["by"], record["rule"])
                return plain(Sentence(about, text, said=names))
        elif kind == "verdict":
            called_off = record["reason"] == NOT_STARTED and not record["error"] and record["ids"]
            return "" if called_off else _verdict(record, known)  # what it was for is told as unanswered
        elif kind in SENTENCES:
            told = plain(SENTENCES[kind](record))
            return "error: " + told if kind == "error" else told
        return ""


def plain(sentence: Sentence) -> str:
    """A sentence as one line."""
    line = "; ".join((": ".join((*sentence.about, sentence.text)), *sentence.notes))
    if sentence.hint:
        line += " (hint: %s)" % sentence.hint
    return line + " | " + printable(sentence.said, 400) if sentence.said else line


def _verdict(record: Record, known: tuple[str, str, str, str] | None) -> str:
    what = "%s %s" % (record["action"], printable(record["target"], 253))
    if known:
        _, dest, service, names = known
        what += " for " + (service if dest == record["target"] else "%s %s" % (dest, service))
    by = "%s `%s`" % (record["by"], printable(record["rule"], 200)) if record["rule"] else record["by"]
    sentence = verdict(record)
    sentence.about += ("%s (%s)" % (what, by),)
    sentence.said = sentence.said or (names if known else "")
    return plain(sentence)


def _names(record: Record) -> str:
    names, more = record["names"], len(record["names"]) - 1 + record.get("more_names", 0)
    first = printable(names[0], 253) if names else ""
    if record.get("names_forgotten"):
        return first + (" and at least %d more" % more if more > 0 else " and maybe more")
    return "%s and %d more" % (first, more) if more > 0 else first
