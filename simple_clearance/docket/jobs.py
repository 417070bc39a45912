"""The verdicts that wait or run, by what they are about.  Pure.

One runs at a time for a container.  The operator's own go before those that a rule has queued: of
these a program inside can have as many as it likes.
"""

from __future__ import annotations

from .states import LATE, QUEUED, VERDICT

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Iterable

    from .policy import Rule
    from .requests import Answer, Request

AUTOMATIC = ("policy", "answer")
"""Who decides without being asked."""


class Job:
    """A verdict: `action` (allow or deny) on `target`, an address or (`named`) a host name.

    `ids` are those of the requests it was asked for, the first one foremost; `by` is who wants it, `rule` the
    rule that says so, `undoes` the answer that it takes back.  `state` is one of `states.VERDICT`;
    `started` and `wall` are when its command began, monotonic and by the clock.
    """

    __slots__ = (
        "action", "by", "container", "ids", "named", "rule", "started", "state", "target", "undoes",
        "wall",
    )  # fmt: skip

    def __init__(
        self,
        container: str,
        action: str,
        target: str,
        ids: Iterable[str],
        by: str,
        *,
        named: bool = False,
        rule: Rule | None = None,
        undoes: Answer | None = None,
    ) -> None:
        self.container = container
        self.action = action
        self.target = target
        self.named = named
        self.ids = dict.fromkeys(ids)  # in order, and found at once: there may be thousands
        self.by = by
        self.rule = rule
        self.undoes = undoes
        self.state = QUEUED
        self.started = 0.0
        self.wall = 0.0

    @property
    def automatic(self) -> bool:
        return self.by in AUTOMATIC

    def move(self, cause: str) -> None:
        """To its next state.  KeyError where it can't (a fault of ours)."""
        self.state = VERDICT[self.state][cause]

    def is_same(self, other: Job) -> bool:
        """Whether running one does what the other would."""
        return (self.action, self.target) == (other.action, other.target)

    def __repr__(self) -> str:
        return "Job({} {} {} {} for {})".format(
            self.action, self.container, self.target, self.state, ",".join(self.ids)
        )


class Jobs:
    """All of a session, in the order in which they run."""

    def __init__(self) -> None:
        self._queues: dict[str, list[Job]] = {}
        self._aimed: dict[tuple[str, str], list[Job]] = {}  # the same, by container and target
        self._named: dict[str, list[Job]] = {}  # those by name, which may be about any address

    def all(self, container: str = "") -> list[Job]:
        """Those of one container, or of every one."""
        return [job for name, jobs in self._queues.items() if container in ("", name) for job in jobs]

    def runnable(self) -> list[Job]:
        """The next one of each container for which none runs."""
        return [jobs[0] for jobs in self._queues.values() if jobs and jobs[0].state == QUEUED]

    def running(self, container: str) -> bool:
        """Whether one runs for this container."""
        return any(job.state != QUEUED for job in self._queues.get(container, ())[:1])

    def none_left(self, container: str) -> bool:
        return not self._queues.get(container)

    def add(self, job: Job) -> Job:
        """Queues a verdict; the one that serves for it, which may wait or run already.

        One that takes an answer back stands for itself: what it does is told as that.
        """
        aimed = self._aimed.setdefault((job.container, job.target), [])
        for other in aimed:
            if other.is_same(job) and other.state != LATE and job.undoes is None and other.undoes is None:
                other.ids.update(job.ids)
                if other.automatic and other.state == QUEUED and not job.automatic:
                    self._queues[job.container].remove(other)
                    self._insert(other, before_automatic=True)
                return other
        aimed.append(job)
        if job.named:
            self._named.setdefault(job.container, []).append(job)
        self._insert(job, before_automatic=not job.automatic)
        return job

    def remove(self, job: Job) -> None:
        """It has ended."""
        self._queues[job.container].remove(job)
        aimed = self._aimed[job.container, job.target]
        aimed.remove(job)
        if not aimed:
            del self._aimed[job.container, job.target]
        if job.named:
            self._named[job.container].remove(job)

    def aimed_at(self, container: str, target: str) -> Job | None:
        """The first verdict on this very address or name whose outcome is still to come."""
        return next((job for job in self._aimed.get((container, target), ()) if job.state != LATE), None)

    def promised(self, request: Request) -> bool:
        """Whether a verdict is on its way that was asked for this request."""
        about = (
            *self._named.get(request.container, ()),
            *self._aimed.get((request.container, request.dest), ()),
        )
        return any(request.id in job.ids for job in about if job.state != LATE)

    def _insert(self, job: Job, before_automatic: bool) -> None:
        queue = self._queues.setdefault(job.container, [])
        place = len(queue)
        if before_automatic:
            waits = (at for at, other in enumerate(queue) if other.automatic and other.state == QUEUED)
            place = next(waits, place)
        queue.insert(place, job)
