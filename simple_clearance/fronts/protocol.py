"""The protocol for scripts: records as JSON lines out, answers as words in.  Pure.

Owns what a line means, in both directions, and what a consumer that reads too slowly loses.
The awkward fact: two programs that write to each other without reading can wait for each other
for ever.  So answers are always taken, and what the other side does not read is dropped beyond
a limit, counted and told: events only, never a verdict.
"""

from __future__ import annotations

import json
import re

from ..base import addresses
from ..base.jsonlines import Lines
from ..base.text import ELLIPSIS, printable
from ..docket.states import FLOOR, MUTED, OPEN, SKIPPED

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Callable, Iterable, Sequence

    from ..base.happenings import Watching
    from ..base.moment import Now
    from ..docket.docket import Docket, Record
    from ..docket.jobs import Job
    from ..docket.requests import Request

    Report = Callable[[str, str], None]

PROTOCOL = 1

KEPT = 4 << 20
"""Bytes kept for a consumer that does not read; beyond it events are lost."""

MOST = 16 << 20
"""Bytes of verdicts that wait unread, hours of them, after which it is as good as gone."""

ANSWER_LIMIT = 4096
"""Bytes of one answer; the longest that can be right has 330."""

TEXT_LIMIT = 2000
"""Characters of any one text that goes out."""

ACTIONS = ("allow", "deny", "skip", "mute", "undo", "ask")

_ANSWER = re.compile(
    rb"[ \t]*(%s)[ \t]+([!-~]{1,64})(?:[ \t]+([!-~]{1,253}))?[ \t]*\r?" % "|".join(ACTIONS).encode()
)
EXPECTED = "expected: allow ID [NAME], deny ID, skip ID, mute ID, undo ID or ask ID"
NOT_KNOWN = "request %s is not known: it was never told, is asked under another id by now, or is forgotten"


class BadAnswer(ValueError):
    """A line that is no answer: the only error that `parse_answer` raises."""


# Out


def line(record: Record, ts: str) -> str:
    """A record as one line of JSON: its type, its time, the rest; every text in it safe to print."""
    fields = {"type": record["type"], "ts": ts}
    for key, value in record.items():
        if key != "type":
            fields[key] = safe(value)
    return json.dumps(fields, separators=(",", ":")) + "\n"


def safe(value: Any) -> Any:
    """`value` with every text in it made printable ASCII and bounded.

    JSON's own escapes don't do: `jq -r` takes them off before it prints.
    """
    if isinstance(value, str):
        return printable(value, TEXT_LIMIT)
    if isinstance(value, dict):
        return {printable(key, TEXT_LIMIT): safe(inner) for key, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [safe(inner) for inner in value]
    return value


def session(version: str, watching: Sequence[Watching]) -> Record:
    """The first record.  A recording that never said which container it is about has no name."""
    return {
        "type": "session",
        "protocol": PROTOCOL,
        "version": version,
        "containers": [{"name": one.name, **one.facts()} for one in watching if one.name],
    }


def deciding(job: Job) -> Record:
    """For the log, right before the command of `job` starts."""
    return {
        "type": "deciding",
        "id": next(iter(job.ids), None),
        "ids": list(job.ids),
        "container": job.container,
        "action": job.action,
        "target": job.target,
        "by": job.by,
        "rule": job.rule.text if job.rule else None,
        "undo": job.undoes is not None,
        **({"undoes": next(iter(job.undoes.ids), None)} if job.undoes is not None else {}),
    }


def summary(counts: dict[str, int], code: int, dry: int = 0, reason: str = "") -> Record:
    """The last record, from `Docket.summary`, the exit code and how many verdicts were only decided.

    `reason` is why it ended by itself, "" where it was asked to.
    """
    keys = ("allowed", "denied", "skipped", "muted", "failed", "unknown", "open", "lost", "untold")
    more = {**{key: counts[key] for key in ("floor", "let_out", "muted_tries", "gaps")}, "dry_run": dry}
    told = {key: number for key, number in more.items() if number}
    why = {"reason": reason} if reason else {}
    return {"type": "summary", **{key: counts[key] for key in keys}, **told, **why, "exit": code}


def by_rule(rules: Iterable[tuple[str, int, int]]) -> list[Record]:
    """What a summary tells of each rule, from `ByRule.told`."""
    return [
        {"rule": rule or None, "requests": decided, **({"left_open": left_open} if left_open else {})}
        for rule, decided, left_open in rules
    ]


def pending(docket: Docket, request: Request) -> Record:
    """The `pending` record of a request as it is now."""
    return {"type": "pending", **docket.facts(request)}


class Outbox:
    """Decides what still goes out to a consumer that reads too slowly.

    `lost` counts the records that did not, until its user tells and resets it.  Whoever was not
    told of a request hears nothing more of it either; when it is tried again and there is room,
    it is told as if it were new, under its id.
    """

    def __init__(self, docket: Docket, limit: int = KEPT) -> None:
        self.lost = 0
        self._docket = docket
        self._limit = limit
        self._untold: dict[str, None] = {}

    def admit(self, record: Record, backlog: int) -> Record | None:
        """What to send for `record` while `backlog` bytes wait; None for nothing."""
        kind = record["type"]
        if kind in ("session", "verdict", "lost", "summary"):
            return record
        request_id = record.get("id", "")
        untold = request_id in self._untold
        if kind == "closed":
            self._untold.pop(request_id, None)
            return None if untold else record
        if backlog >= self._limit:
            self.lost += 1
            if kind == "pending":
                self._untold[request_id] = None
            return None
        request = self._docket.request(request_id) if untold else None
        if request is None:
            return record
        del self._untold[request_id]
        return pending(self._docket, request)

    def has_room(self, backlog: int) -> bool:
        """Whether it is worth telling what was lost: half of it has been read."""
        return backlog < self._limit // 2


# In


def parse_answer(answer: bytes) -> tuple[str, str, str]:
    """Action, request id and name (or "") of one line without its newline.  Raises only `BadAnswer`."""
    found = _ANSWER.fullmatch(answer)
    if found is None:
        raise BadAnswer("not an answer; " + EXPECTED)
    action, request_id, name = (word.decode("ascii") if word else "" for word in found.groups())
    if name and action != "allow":
        raise BadAnswer("%s takes no name; %s" % (action, EXPECTED))
    return action, request_id, name


def _shown(one: bytes) -> str:
    """The beginning of a line, for whoever wrote it."""
    shown = printable(one[:200])
    return shown + ELLIPSIS if len(one) > 200 else shown


class Answers:
    """Applies the lines of a script to the docket.

    Each line decides the open request that it cites, takes back what closed it or asks it again, or it is
    told by `report(message, line)` and changes nothing.
    """

    def __init__(self, docket: Docket, report: Report) -> None:
        self._docket = docket
        self._report = report
        self._lines = Lines(ANSWER_LIMIT)

    def feed(self, data: bytes, now: Now) -> None:
        """Takes bytes as they come, in any pieces."""
        dropped = self._lines.dropped
        for one in self._lines.feed(data):
            self._line(one, now)
        for _ in range(self._lines.dropped - dropped):
            self._report("a line of more than %d bytes; %s" % (ANSWER_LIMIT, EXPECTED), ELLIPSIS)

    def finish(self) -> None:
        """The end of input: half a line may be the beginning of another one, and decides nothing."""
        half = self._lines.tail
        self._lines.finish()
        if half.strip(b" \t\r"):
            self._report("the input ends within a line: it is not followed", _shown(half))

    def _line(self, one: bytes, now: Now) -> None:
        if not one.strip(b" \t\r"):
            return
        try:
            action, request_id, name = parse_answer(one)
        except BadAnswer as error:
            problem = str(error)
        else:
            if action == "undo":
                problem = self._undo(request_id, now)
            elif action == "ask":
                problem = self._ask(request_id, now)
            else:
                problem = self._decide(action, request_id, name, now)
        if problem:
            self._report(problem, _shown(one))

    def _decide(self, action: str, request_id: str, name: str, now: Now) -> str:
        """Answers a request; what is wrong with that, or ""."""
        request = self._docket.request(request_id)
        if request is None:
            return "no request %s is open: it was never told, or is closed already" % request_id
        if request.state != OPEN:
            return "request %s is being decided already" % request_id
        if name:
            known: list[str] = [each.name for each in self._docket.names(request)]
            if name not in known:
                return "%s is no name of request %s" % (printable(name, 253), request_id)
            if not addresses.is_target_name(name):
                return "%s can be shown, but not be allowed as a name" % name
        if not self._docket.answer(action, [request_id], now, "script", name=name):
            return "request %s does not wait for an answer" % request_id
        return ""

    def _undo(self, request_id: str, now: Now) -> str:
        """Takes back the verdict that closed a request; what is wrong with that, or ""."""
        answer = self._docket.applied_to(request_id)
        if answer is None:
            return self._nothing_to_undo(request_id)
        if self._docket.has_ended(answer.container):
            return "%s has ended: nothing is run for it" % answer.container
        if answer.undone:
            return "the verdict on request %s is undone already" % request_id
        if not self._docket.tally.stands(answer):
            return "the verdict on request %s stands no longer: a later one on %s took it back" % (
                request_id,
                answer.target,
            )
        self._docket.undo([answer], "script", now)
        return ""

    def _nothing_to_undo(self, request_id: str) -> str:
        if self._docket.request(request_id) is not None:
            return "request %s is open: no verdict was applied to it" % request_id
        request = self._docket.closed(request_id)
        if request is None:
            return NOT_KNOWN % request_id
        if request.state in (SKIPPED, MUTED):
            return "request %s was %s: there is no verdict to undo" % (request_id, request.state)
        return "request %s was closed without a verdict of this session" % request_id

    def _ask(self, request_id: str, now: Now) -> str:
        """Asks a closed request again; what is wrong with that, or ""."""
        if self._docket.request(request_id) is not None:
            return "request %s is open already" % request_id
        request = self._docket.closed(request_id)
        if request is None:
            return NOT_KNOWN % request_id
        if self._docket.has_ended(request.container):
            return "%s has ended: nothing is asked for it" % request.container
        if request.state == FLOOR:
            return "request %s is not asked: the shield's floor refuses it above every allow" % request_id
        if not self._docket.ask_closed(request, now):
            return "request %s is asked again when it is tried" % request_id
        return ""
