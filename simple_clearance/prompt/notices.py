"""Sentences on a screen: folded to its width, `!` before what is grave, `|` before outside text.  Pure."""

from __future__ import annotations

import re

from ..base.errors import Command
from ..base.text import count, printable
from . import many
from .layout import COMMAND, folded, refit
from .questions import floor_lines
from .sentences import SENTENCES, Sentence, greetings, lost, recorded, verdict

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Dict, List, Sequence, Tuple

    from ..base.happenings import Watching

    Same = Tuple[Tuple[str, ...], bool]  # what stands before and behind the names, and whether it is grave
    Kept = Dict[str, List[List[str]]]

NOTICE_LINES = 8
"""Lines of one batch at most; what is beyond is counted.  After so many a question is painted anew."""
OUTCOMES = 100
"""Outcomes of verdicts that wait to be told, of one container."""


class Gathered:
    """The notices that wait for the next batch.

    What was lost goes before the outcomes of verdicts, and these before all else.  Each container has its
    own room for them, and in a batch they take turns: a flood of one takes no other's place.  Outcomes that
    have no room in it stay for the next one; other notices are only counted, once one of them was told.
    What is the same for many containers is told of all of them at once.
    """

    def __init__(self) -> None:
        self._lost: dict[tuple[str | None, str], int] = {}  # by container, if it is known, and where
        self._outcomes: Kept = {}
        self._others: Kept = {}
        self._same: dict[Same, dict[str, list[str]]] = {}  # by container, what stands for it if they are few
        self._unshown = 0

    def __bool__(self) -> bool:
        return bool(self._lost or self._outcomes or self._others or self._same or self._unshown)

    def lost(self, record: dict[str, Any]) -> None:
        key = record["container"], record["where"]
        self._lost[key] = self._lost.get(key, 0) + record["count"]

    def outcome(self, container: str, lines: list[str]) -> None:
        kept = self._outcomes.setdefault(container, [])
        if len(kept) < OUTCOMES:
            kept.append(lines)
        else:
            self._unshown += 1

    def notice(self, container: str, lines: list[str]) -> None:
        kept = self._others.get(container, [])
        if sum(map(len, kept)) + len(lines) > 3 * NOTICE_LINES:
            self._unshown += 1
        elif lines not in kept:
            self._others[container] = [*kept, lines]

    def of_many(self, container: str, lines: list[str], same: Same) -> None:
        """A notice that may be told of others, too."""
        self._same.setdefault(same, {})[container] = lines

    def _join(self, width: int) -> None:
        """What is the same for many becomes one notice, and what many lost in the same way one loss.

        A container's start or end comes before what follows from it.
        """
        others, self._others = self._others, {}
        for (same, grave), told in self._same.items():
            if len(told) > many.FEW:
                text = many.names_text(list(told)).join(same)
                self.notice("", laid_out(Sentence((), text, grave=grave), width))
            else:
                for container, lines in told.items():
                    self.notice(container, lines)
        self._same = {}
        for container, kept in others.items():
            for lines in kept:
                self.notice(container, lines)
        for where in {where for _, where in self._lost}:
            those = [key for key in self._lost if key[1] == where]
            if len(those) > many.FEW:
                number = sum(map(self._lost.pop, those))
                self._lost[many.names_text([one for one, _ in those if one]), where] = number

    def batch(self, width: int, when: str) -> list[str]:
        """The lines to tell now."""
        self._join(width)
        batch: list[str] = []
        for (container, where), number in list(self._lost.items()):
            loss = laid_out(
                lost({"container": container, "count": number, "where": where}, when), width, rest=""
            )
            if _has_room(batch, loss):
                batch += loss
                del self._lost[container, where]
        _by_turns(self._outcomes, batch)
        for container in _by_turns(self._others, batch):
            self._unshown += len(self._others.pop(container, ()))
        if self._unshown:
            more = ".. and {} like these".format(count(self._unshown, "more notice"))
            batch += folded(more, width)
            self._unshown = 0
        return refit(batch, width)


def _has_room(batch: list[str], lines: list[str]) -> bool:
    return not batch or len(batch) + len(lines) <= NOTICE_LINES


def _by_turns(kept: Kept, batch: list[str]) -> set[str]:
    """Moves so many into the batch as have room; the containers of which there was one."""
    shown = set()
    while kept:
        container, waiting = next(iter(kept.items()))
        if not _has_room(batch, waiting[0]):
            break
        batch += waiting[0]
        shown.add(container)
        del kept[container]
        if waiting[1:]:
            kept[container] = waiting[1:]  # its next turn is after those of the others
    return shown


def laid_out(sentence: Sentence, width: int, rest: str = "  ") -> list[str]:
    """A sentence that stands by itself; `rest` is what its lines begin with, but for the first."""
    about = "  ".join(sentence.about) + ": " if sentence.about else ""
    lines = folded(about + sentence.text, width, "! " if sentence.grave else "", rest)
    for note in sentence.notes:
        lines += folded(note, width)
    if isinstance(sentence.hint, Command):
        return lines + _command(sentence.hint, width)
    return lines + (folded(f"hint: {sentence.hint}", width) if sentence.hint else [])


SHELL_WORD = re.compile(r"""(?:[^\s'"]|'[^']*'|"[^"]*")+""")
"""Nothing that is quoted can go on in another line."""


def _command(command: str, width: int) -> list[str]:
    """In several lines, where it needs them, as a shell takes it."""
    lines = [COMMAND]
    for word in SHELL_WORD.findall(command):
        if len(lines[-1]) + len(word) + 3 > width and lines[-1] != "   ":
            lines[-1] += " \\"
            lines.append("   ")
        lines[-1] += " " + word
    return lines


def greeting_lines(watched: Sequence[Watching], width: int, *more: str) -> list[str]:
    """What is watched, one after the other or many as one, what is missing, and what `more` there is."""
    if len(watched) > many.GREETED:
        told = [*many.greeting(watched), *greetings((), width, *more)]
    else:
        told = greetings(watched, width, *more)
    return [line for sentence in told for line in laid_out(sentence, width)]


def notice_lines(record: dict[str, Any], width: int, when: str) -> list[str]:
    """What a record tells the operator beside questions; nothing for most."""
    if record["type"] == "pending" and record["floor"]:
        return floor_lines(record, width, when)
    if record["type"] == "recorded":
        return laid_out(recorded(record, when), width)
    sentence = SENTENCES.get(record["type"])
    return laid_out(sentence(record), width) if sentence else []


def same_of_many(record: dict[str, Any]) -> Same | None:
    """What a record tells that may be told of several containers at once."""
    if record["type"] not in ("container", "shield"):
        return None
    sentence = SENTENCES[record["type"]](record)
    return (sentence.same, sentence.grave) if sentence.same else None


def job_text(action: str, target: str, by: str, named: bool, undo: bool = False, *, room: int) -> str:
    """`a allow 203.0.113.10`, `A allow www.example.com`, `policy: deny 192.0.2.1`.

    A name is cut to a line with `room`: one that is wrapped would put its own words at a line's start.
    """
    key = "u" if undo else "A" if named and action == "allow" else action[0]
    start = f"{key} {action} " if by == "operator" else f"{by}: {action} "
    return start + printable(target, min(60, max(8, room - len(start) - len(" ...")) if named else 60))


def batch_text(record: dict[str, Any]) -> str:
    """`a allow 100 addresses`: what a batch is about, by the fields of its record."""
    key = "u" if record["undo"] else record["action"][0]
    return f"{key} {record['action']} {count(record['number'], 'address', 'addresses')}"


def progress(record: dict[str, Any]) -> str:
    """`a allow 34 of 100 ... 1 failed`: how far a batch is."""
    bad = record["failed"] + record["unknown"]
    over = sum(record[kind] for kind in ("applied", "dry_run", "failed", "unknown"))
    key = "u" if record["undo"] else record["action"][0]
    return f"{key} {record['action']} {over} of {record['number']} ..." + (f" {bad} failed" if bad else "")


def progress_lines(record: dict[str, Any], width: int) -> list[str]:
    """The same with the key that ends it, or what that has ended."""
    line, not_run = "  " + progress(record), record["not_started"]
    hint = f"{not_run} not run" if not_run else "ESC ends the rest"
    return [f"{line}   {hint}"] if len(line) + len(hint) + 3 <= width else [line, f"  {hint}"]


def verdict_lines(
    record: dict[str, Any], elsewhere: Sequence[str], width: int, named: bool, shield: str, where: str
) -> list[str]:
    """The outcome of a verdict, behind the line that said it had begun, which starts with `where`."""
    job = job_text(
        record["action"], record["target"], record["by"], named, record["undo"], room=width - len(where)
    )
    outcome = verdict(record, elsewhere)
    lines = folded(f"{job} ... {outcome.text}", width, where)
    for note, start in zip(outcome.notes, ("  ! ", "    ")):
        lines += folded(note, width, start)
    if outcome.said:
        said = printable(f"{shield}: {outcome.said}", 3 * (width - 4))
        lines += folded(said, width, "  | ", "  | ")[-4:]
    return lines
