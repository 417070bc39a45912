"""The shield's audit log, followed: the shield's state, its verdicts, and what its bridge reader saw blocked.

Owns the followed `audit.jsonl`.  The awkward fact: a container's start puts the shield up again
and writes no line, so a state from before that start counts for nothing.
"""

from __future__ import annotations

import os

from ..base import jsonlines, timestamps
from ..base.errors import CANNOT_START, Refused
from ..base.happenings import Event, Recorded
from ..base.jsonlines import BadLine, Lines
from ..formats import auditline
from ..system import clocks, follow
from ..system.follow import Follower

TAIL = 64 * 1024
SLICE = 16 * 1024
"""Bytes read at a time: some 80 lines."""

MAX_RECORDED = 4096
"""Addresses of which it is kept what was recorded last; beyond that the older half is forgotten."""


OFF = "auditing is off: it is not seen whether the shield goes down or up"
"""The launcher's choice (the annotation terok.shield.audit_enabled)."""


AUDIT_LOG = "audit.jsonl"


SET_BACK = (
    "this machine's clock was set back since the container's start, so the shield's state is not known: "
    "terok-shield status tells it"
)
"""Which of its lines are from before that start, and count for nothing, can't be told then."""


def unseen(state_dir: str, audited: bool, started_at: str) -> list[str]:
    """What the audit log does not tell, in words."""
    problem = follow.problem(os.path.join(state_dir, AUDIT_LOG))
    unread = ["the shield's state is not seen: the audit log %s" % problem] if problem else []
    if not unread and clocks.is_ahead(started_at):
        unread = [SET_BACK]
    return unread if audited else [OFF]


def state(state_dir: str, audited: bool, started_at: str) -> str:
    """The shield's state by now, "" when the log doesn't tell."""
    log = ShieldLog(os.path.join(state_dir, AUDIT_LOG), started_at)
    try:
        return log.history()[0] if audited else ""  # else only the bridge reader writes there
    finally:
        log.close()


def check_readable(state_dir: str, holder: int) -> None:
    """Refused (3) where all is in that log, since that process holds the packet log, and it can't be read."""
    problem = follow.problem(os.path.join(state_dir, AUDIT_LOG))
    if problem:
        text = "terok-shield's reader (pid %d) holds the packet log, and its audit log %s" % (holder, problem)
        raise Refused(CANNOT_START, text, "--take-over ends that reader and listens itself")


class ShieldLog:
    """Follows `path`; `started_at` is the container's start as podman tells it (RFC 3339), or "".

    `recorded` is the last verdict on each address, by whomever, as far as the log's end goes back.
    `bad_lines` counts what came since the start and meant nothing, `fault` is why the first did.
    `noticed` is set by whoever hears that the log has changed, until it is read; `more` says that `read` may
    have left something.
    """

    def __init__(self, path: str, started_at: str = "") -> None:
        self._follower = Follower(path, tail=TAIL)
        self._lines = Lines()
        self._renewals = 0
        self._started_at = started_at
        self.recorded: dict[str, Recorded] = {}
        self.bad_lines = 0
        self.fault = ""
        self.more = self.noticed = False

    def history(self) -> tuple[str, int]:
        """At the start: the shield's state ("" when the log doesn't tell), and how many were blocked before.

        Both since the container's start, as far as the log's end goes back.
        """
        state, blocked = "up" if os.access(self._follower.path, os.R_OK) else "", 0
        data = self._follower.read(TAIL)
        if self._follower.started_at:
            data = data.partition(b"\n")[2]  # the first line is cut
        messages = self._parse(data)
        self.bad_lines, self.fault = 0, ""
        if clocks.is_ahead(self._started_at):  # then no time in it tells what came after that start
            return "", 0
        for message in messages:
            if timestamps.is_before(message.ts, self._started_at):
                continue
            if isinstance(message, auditline.ShieldState):
                state = message.state
            elif isinstance(message, Event):
                blocked += 1
        return state, blocked

    def read(self) -> list[Event | auditline.ShieldState | Recorded]:
        """A slice of what has come since."""
        self.noticed = False
        data = self._follower.read(SLICE)
        if self._renewals != self._follower.renewals:
            self._renewals = self._follower.renewals
            self._lines.finish()  # whatever was half written then
        self.more = bool(data)
        return self._parse(data)

    @property
    def half(self) -> bool:
        """Whether the last line has no end yet."""
        return bool(self._lines.tail)

    def close(self) -> None:
        self._follower.close()

    def _parse(self, data: bytes) -> list[Event | auditline.ShieldState | Recorded]:
        found = []
        dropped = self._lines.dropped
        for line in self._lines.feed(data):
            try:
                message = auditline.parse(line) if line.strip() else None
            except BadLine as error:
                self._bad(str(error))
                continue
            if isinstance(message, Recorded):
                self._record(message)
            if message is not None:
                found.append(message)
        if self._lines.dropped > dropped:
            self._bad("longer than %d bytes" % jsonlines.LINE_LIMIT)
        return found

    def _record(self, verdict: Recorded) -> None:
        self.recorded.pop(verdict.dest, None)  # the latest stands last
        self.recorded[verdict.dest] = verdict
        if len(self.recorded) > MAX_RECORDED:
            self.recorded = dict(list(self.recorded.items())[MAX_RECORDED // 2 :])

    def _bad(self, why: str) -> None:
        self.bad_lines += 1
        self.fault = self.fault or why
