"""The verdicts that a joined session was told to run: one at a time for a container.

What it was sent has an outcome here in any case: its answer, or none in time, or the end of the link.
"""

from __future__ import annotations

from ..docket.states import RUNNING
from ..docket.verdict import APPLIED, FAILED, NOT_STARTED, UNKNOWN, Outcome
from .held import remember

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Callable

    from ..base.moment import Now
    from ..docket.docket import Docket
    from ..docket.jobs import Job
    from ..docket.requests import Answer
    from ..formats.sessionline import Record

ON_THE_WAY = 5.0
"""Seconds that a verdict may take more than that session gives it: for the way there and back."""

GONE = "it is open there no longer"
EARLIER = "it was run before the link was lost, and can't be undone over this one"


class Sent:
    """A verdict that was sent and has not been answered; `passed` counts its deadlines."""

    __slots__ = ("deadline", "job", "line", "passed", "request_id")

    def __init__(self, job: Job, line: str, request_id: str, deadline: float) -> None:
        self.job = job
        self.line = line
        self.request_id = request_id
        self.deadline = deadline
        self.passed = 0


class AllSent:
    """All of one session.  `say(line)` sends it an answer; `timeout` is what it gives a verdict."""

    def __init__(self, docket: Docket, say: Callable[[str], None], timeout: float) -> None:
        self._docket = docket
        self._say = say
        self._patience = timeout + ON_THE_WAY
        self._sent: dict[str, Sent] = {}  # by container
        self._can_undo: dict[str, str] = {}  # its ids of verdicts that were applied, by ours

    @property
    def jobs(self) -> list[Job]:
        """Those that have not been answered."""
        return [sent.job for sent in self._sent.values()]

    def id_of(self, answer: Answer) -> str:
        """The id by which that session knows an answer of ours, to undo it; "" where it does not."""
        return self._can_undo.get(next(iter(answer.ids), ""), "")

    def start(self, job: Job, request_id: str, now: Now) -> None:
        """Sends a job, which has begun, by the id that it has there; one that has none has failed."""
        if not request_id:
            why = EARLIER if job.undoes is not None else GONE
            self._docket.finish(job, Outcome(FAILED, NOT_STARTED, why), now)
            return
        words = ["undo" if job.undoes is not None else job.action, request_id]
        if job.named and job.undoes is None:
            words.append(job.target)
        line = " ".join(words)
        self._sent[job.container] = Sent(job, line, request_id, now.mono + self._patience)
        self._say(line)

    def answered(self, container: str, record: Record, now: Now) -> bool:
        """A verdict that was run for that container there; False where it is none of these."""
        sent = self._sent.get(container)
        if sent is None or not _is_about(sent.job, record):
            return False
        job, result = sent.job, record["result"]
        if (result, record["reason"], record["late"]) == (UNKNOWN, "timeout", False):
            self._overdue(sent, now)
            return True
        if result == APPLIED and job.undoes is None and job.ids:
            remember(self._can_undo, next(iter(job.ids)), sent.request_id)
        opened = record["opened"] if job.named or job.action == "deny" else (job.target,)
        self._finish(sent, Outcome(result, record["reason"], record["error"], opened, record["seconds"]), now)
        return True

    def refused(self, line: str, why: str, now: Now) -> Job | None:
        """An answer of ours was not taken there: the job that it was, if it was one of these."""
        for sent in self._sent.values():
            if line and _is_of(sent.line, line):
                self._finish(sent, Outcome(FAILED, NOT_STARTED, why), now)
                return sent.job
        return None

    def deadline(self) -> float | None:
        return min((sent.deadline for sent in self._sent.values()), default=None)

    def tick(self, now: Now) -> None:
        """Acts on the deadlines that have passed: told as unknown; after as long again, given up."""
        for sent in [sent for sent in self._sent.values() if sent.deadline <= now.mono]:
            if sent.passed:
                self._finish(sent, Outcome(UNKNOWN, "timeout", seconds=now.mono - sent.job.started), now)
            else:
                self._overdue(sent, now)

    def give_up(self, now: Now, words: str) -> None:
        """What runs there has no outcome here any more."""
        for sent in list(self._sent.values()):
            seconds = now.mono - sent.job.started
            self._finish(sent, Outcome(UNKNOWN, "ended", words, seconds=seconds), now)

    def forget(self) -> None:
        """What was run is of another session now, which can't undo it."""
        self._can_undo.clear()

    def _overdue(self, sent: Sent, now: Now) -> None:
        sent.passed = 1
        sent.deadline = now.mono + self._patience
        if sent.job.state == RUNNING:
            self._docket.overdue(sent.job, now)

    def _finish(self, sent: Sent, outcome: Outcome, now: Now) -> None:
        del self._sent[sent.job.container]
        self._docket.finish(sent.job, outcome, now)


def _is_about(job: Job, record: Record) -> bool:
    """Whether a verdict there is the one that this job asked for."""
    undo = job.undoes is not None
    return (job.action, job.target, undo) == (record["action"], record["target"], record["undo"])


def _is_of(line: str, quoted: str) -> bool:
    """Whether an error quotes that line, which it may have cut."""
    return line == quoted or (quoted.endswith("..") and len(quoted) > 100 and line.startswith(quoted[:-2]))
