"""The verdicts of a session: queued, run one at a time for a container, and what they come to.  Pure.

Owns the jobs and their batches, what was answered, the last words and the proof.  The requests belong
to the docket, which alone moves them: a verdict only says which of them it has answered.
"""

from __future__ import annotations

from ..base import addresses
from .batch import Batch
from .budget import IDS
from .history import Answers, Tally
from .jobs import Jobs
from .proof import ASK_AGAIN, Proof
from .requests import Answer, keys_of
from .states import LATE, OPEN, QUEUED, RUNNING
from .verdict import APPLIED, DRY_RUN, FAILED, NOT_STARTED, UNKNOWN, Outcome

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Callable, Iterable, Sequence

    from ..base.moment import Now
    from .budget import Budget
    from .jobs import Job
    from .register import Register
    from .requests import Request
    from .shields import Shields


class Verdicts:
    """`move(request, cause, now, ...)` brings a request to its next state, as `Docket` does it.

    `release(request, now)` is called for one that a verdict did not help.
    """

    def __init__(
        self,
        register: Register,
        shields: Shields,
        budget: Budget,
        tell: Callable[..., None],
        move: Callable[..., None],
        release: Callable[[Request, Now], None],
    ) -> None:
        self.jobs = Jobs()
        self.batches: dict[str, Batch] = {}  # those under way, by their id
        self.answers = Answers(budget, tell)
        self.tally = Tally(budget, tell)
        self.proof = Proof(tell, budget)
        self._last: dict[str, Job] = {}  # by container, the one whose command ended last
        self._next_batch = 1
        self._register = register
        self._shields = shields
        self._tell = tell
        self._move = move
        self._release = release

    def withdraw(self, jobs: Iterable[Job], now: Now) -> None:
        """Verdicts that have not begun are not wanted any more: their requests wait again."""
        for job in jobs:
            self.jobs.end(job)
            for request in map(self._register.open.get, job.ids):
                if request is not None:
                    self._release(request, now)

    def begin(self, job: Job, now: Now) -> None:
        """The command of `job` is about to start."""
        self.jobs.begin(job)
        job.started = now.mono

    def overdue(self, job: Job, now: Now) -> None:
        """The command has not ended by its deadline: what it did is unknown, its requests are open again."""
        job.move("overdue")
        self._conclude(job, Outcome(UNKNOWN, "timeout", seconds=now.mono - job.started), now)

    def finish(self, job: Job, outcome: Outcome, now: Now) -> None:
        """The command has ended, or could not be started."""
        late = job.state == LATE
        self.jobs.end(job)
        self._last[job.container] = job
        if job.action == "allow":
            self._shields.why(job.container, outcome)
        self._conclude(job, outcome, now, late=late)
        if self.jobs.none_left(job.container):
            self.proof.idle(job.container)

    def is_own(self, container: str, action: str, target: str) -> bool:
        """Whether a verdict that the shield has recorded is one of ours, which may be read after its end."""
        jobs = [job for job in self.jobs.all(container) if job.state in (RUNNING, LATE)]
        jobs += [self._last[container]] if container in self._last else []
        return any((job.action, job.target) == (action, target) for job in jobs)

    def forget(self, container: str) -> None:
        self._last.pop(container, None)

    def call_off(self, jobs: Iterable[Job], now: Now) -> None:
        """Those that have not begun are not run: what they were for waits again, and has not failed."""
        for job in jobs:
            if job.state == QUEUED:
                self.jobs.end(job)
                self._conclude(job, Outcome(FAILED, NOT_STARTED), now, called_off=True)

    def queue_all(self, jobs: Sequence[Job], now: Now) -> None:
        """The verdicts of one answer; many of them are a batch."""
        batch = None
        if len(jobs) > 1:
            batch_id = "b%d" % self._next_batch
            self._next_batch += 1
            batch = Batch(batch_id, jobs[0].action, len(jobs), now.mono, jobs[0].undoes is not None)
            self.batches[batch_id] = batch
        for job in jobs:
            job.batch = batch
            self.queue(job, now)

    def queue(self, job: Job, now: Now) -> None:
        """A verdict is on its way; one that waits or runs and does the same serves for both.

        For one of a batch there is none: what waits at an address waits for an answer.
        """
        serving = self.jobs.add(job)
        promised = [self._register.open[request_id] for request_id in job.ids]
        if not job.named:
            there = self._register.at(job.container, job.target)
            serving.ids.update((request.id, None) for request in there)
            promised += there
        for request in promised:
            if request.state == OPEN:
                self._move(request, "promised", now)

    def _conclude(
        self, job: Job, outcome: Outcome, now: Now, *, late: bool = False, called_off: bool = False
    ) -> None:
        """What became of a verdict: told, its requests closed or open again, its effect under watch.

        One that was called off for open requests has not failed: those are open, and counted as that.
        """
        asked = [request for request in map(self._register.open.get, job.ids) if request is not None]
        helped = self._helped(job, outcome, asked)
        if late:  # what was answered anew meanwhile waits for that
            helped = [request for request in helped if request.state == OPEN]
        ids = {request.id for request in helped}
        missed = [request for request in asked if request.id not in ids]
        if outcome.result in (APPLIED, DRY_RUN):
            self._tell_verdict(job, outcome, helped, missed, late)
        else:
            self._tell_verdict(job, outcome, missed, [], late)
        if outcome.result == APPLIED:
            self._applied(job, outcome, asked, missed, now)
        elif outcome.result == DRY_RUN:
            self.tally.dry += 1
        elif not called_off or not asked:
            self.tally.came_to_nothing(job, outcome, _places(job, asked[:1]))  # one verdict is one
            for request in missed:
                request.failure = outcome.reason or outcome.result
                request.rests_until = now.mono + ASK_AGAIN
        for request in helped:
            why = "applied" if request.id in job.ids else "covered"
            self._move(request, "dry-run" if outcome.result == DRY_RUN else why, now, job.by, job.rule)
        for request in missed:
            self._release(request, now)
        if job.batch is not None and not late:
            waits = any(request.state == OPEN for request in missed)
            job.batch.count(NOT_STARTED if called_off else outcome.result, waits)
            self._tell_batch(job.batch, now)
        if job.undoes is not None:
            job.undoes.undone = outcome.result in (APPLIED, DRY_RUN)
            return
        if called_off:
            return
        about = helped + missed
        about_ids = dict.fromkeys([*list(job.ids)[:1], *(request.id for request in about)])
        self.answers.add(
            Answer(
                job.container, job.action, job.target, keys_of(about), outcome.result, now.wall,
                ids=tuple(about_ids)[:IDS], named=job.named, opened=outcome.opened, by=job.by, rule=job.rule,
                batch=job.batch,
            )
        )  # fmt: skip

    def _tell_batch(self, batch: Batch, now: Now) -> None:
        """What the verdicts of a batch have come to is told with the last of them."""
        if batch.ended == batch.number:
            del self.batches[batch.id]
            self._tell("batch", **batch.told(), seconds=round(now.mono - batch.since, 3))

    def _helped(self, job: Job, outcome: Outcome, asked: list[Request]) -> list[Request]:
        """The open requests that a verdict has answered, by its addresses; those it was asked for first.

        An allow by name that doesn't say what it opened is believed to have helped until a packet denies it.
        """
        if outcome.result not in (APPLIED, DRY_RUN) or (job.named and job.action == "deny"):
            return []
        dests: Iterable[str] = outcome.opened if job.named else (job.target,)
        if job.named and (outcome.result == DRY_RUN or not outcome.opened):
            dests = dict.fromkeys(request.dest for request in asked)
        found = [request for dest in dests for request in self._register.at(job.container, dest)]
        return sorted(found, key=lambda request: request.id not in job.ids)

    def _tell_verdict(
        self, job: Job, outcome: Outcome, about: list[Request], elsewhere: list[Request], late: bool
    ) -> None:
        """`about` are those it answered, or would have; to `elsewhere` an allowed name did not lead."""
        self._tell(
            "verdict",
            id=next(iter(job.ids), None),
            ids=[request.id for request in about],
            elsewhere=[request.id for request in elsewhere],
            container=job.container,
            action=job.action,
            target=job.target,
            by=job.by,
            rule=job.rule.text if job.rule else None,
            result=outcome.result,
            reason=outcome.reason or None,
            error=outcome.error or None,
            seconds=round(outcome.seconds, 3),
            opened=list(outcome.opened),
            undo=job.undoes is not None,
            **({"undoes": next(iter(job.undoes.ids), None)} if job.undoes is not None else {}),
            late=late,
            **({"batch": job.batch.id} if job.batch is not None else {}),
        )

    def _applied(
        self, job: Job, outcome: Outcome, asked: list[Request], missed: list[Request], now: Now
    ) -> None:
        dests = outcome.opened if job.named else (job.target,)
        if job.named and job.action == "allow" and not dests:  # it doesn't say: packets will
            dests = tuple(dict.fromkeys(request.dest for request in asked))
        if job.named and job.action == "deny" and job.undoes is not None:
            dests = job.undoes.opened
        self.tally.was_applied(job, _places(job, asked).union((job.container, dest) for dest in dests))
        self.proof.applied(job, dests, now)
        if job.named and job.action == "allow":
            self._tell_guarded(job, outcome.opened)
        for request in missed:
            request.failure = "elsewhere"

    def _tell_guarded(self, job: Job, opened: Sequence[str]) -> None:
        """A name may lead where nobody would have allowed an address without a second thought."""
        for dest in opened:
            shut = addresses.is_floor(dest) and self._shields.floor(job.container)
            what = addresses.special(dest) or ("a private address" if addresses.is_floor(dest) else None)
            if what is not None and not shut:
                text = f"{job.container}: allowing {job.target} has opened {dest}, {what}"
                self._tell("error", message=text + ": undo it unless that was meant")


def _places(job: Job, asked: list[Request]) -> set[tuple[str, str]]:
    """What a verdict was about: its address; for a name the addresses it was asked for, else the name."""
    if job.named and asked:
        return {(job.container, request.dest) for request in asked}
    return {(job.container, job.target)}
