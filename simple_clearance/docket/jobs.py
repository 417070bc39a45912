"""The verdicts that wait or run, by what they are about.  Pure.

One runs at a time for a container.  The operator's and a script's own go before those of a batch, which may
take minutes, and all of these before those that a rule has queued: how many there are of them is up to
whoever is inside.
"""

from __future__ import annotations

from .states import LATE, QUEUED, VERDICT

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Iterable

    from .batch import Batch
    from .requests import Answer, Request
    from .ruleset import Rule

AUTOMATIC = ("policy", "answer")
"""Who decides without being asked."""


class Job:
    """A verdict: `action` (allow or deny) on `target`, an address or (`named`) a host name.

    `ids` are those of the requests it was asked for, the first one foremost; `by` is who wants it, the
    operator where a rule does, too; `rule` the rule that says so, `generation` the number of the policy that
    was in force when rules wanted it, 0 where they did not; `undoes` the answer that it takes back, `batch`
    those that were wanted with it.  `state` is one of `states.VERDICT`; `started` is when its command began
    (monotonic).
    """

    __slots__ = (
        "action", "batch", "by", "container", "generation", "ids", "named", "rule", "started", "state",
        "target", "undoes",
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
        self.batch: Batch | None = None
        self.generation = 0
        self.state = QUEUED
        self.started = 0.0

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


class Queue:
    """The verdicts of one container: the `current` one, which runs, then `own`, `many`, `automatic` ones."""

    __slots__ = ("automatic", "current", "many", "own")

    def __init__(self) -> None:
        self.current: Job | None = None
        self.own: dict[Job, None] = {}  # in order, and found at once: an answer may allow thousands
        self.many: dict[Job, None] = {}  # those of batches
        self.automatic: dict[Job, None] = {}

    def all(self) -> list[Job]:
        return [*([self.current] if self.current else ()), *self.own, *self.many, *self.automatic]

    def __bool__(self) -> bool:
        return bool(self.current or self.own or self.many or self.automatic)

    def next(self) -> Job | None:
        """Which one may begin now."""
        return None if self.current else next(iter(self.own or self.many or self.automatic), None)

    def add(self, job: Job) -> None:
        (self.automatic if job.automatic else self.many if job.batch else self.own)[job] = None

    def remove(self, job: Job) -> None:
        if job is self.current:
            self.current = None
        self.own.pop(job, None)
        self.many.pop(job, None)
        self.automatic.pop(job, None)


class Jobs:
    """All of a session, in the order in which they run; of a container without any nothing is kept."""

    def __init__(self) -> None:
        self._queues: dict[str, Queue] = {}
        self._aimed: dict[tuple[str, str], list[Job]] = {}  # the same, by container and target
        self._named: dict[str, list[Job]] = {}  # those by name, which may be about any address

    def all(self, container: str = "") -> list[Job]:
        """Those of one container, or of every one."""
        return [job for name, queue in self._queues.items() if container in ("", name) for job in queue.all()]

    def runnable(self) -> list[Job]:
        """The next one of each container for which none runs."""
        return [job for job in (queue.next() for queue in self._queues.values()) if job is not None]

    def running(self, container: str) -> bool:
        """Whether one runs for this container."""
        queue = self._queues.get(container)
        return queue is not None and queue.current is not None

    def none_left(self, container: str) -> bool:
        return container not in self._queues

    def add(self, job: Job) -> Job:
        """Queues a verdict; the one that serves for it, which may wait or run already.

        One that takes an answer back stands for itself: what it does is told as that.
        """
        queue = self._queues.setdefault(job.container, Queue())
        aimed = self._aimed.setdefault((job.container, job.target), [])
        for other in aimed:
            if other.is_same(job) and other.state != LATE and job.undoes is None and other.undoes is None:
                other.ids.update(job.ids)
                other.rule = other.rule or job.rule
                if other in queue.automatic and not job.automatic:
                    del queue.automatic[other]
                    other.by = job.by
                    queue.add(other)
                return other
        aimed.append(job)
        if job.named:
            self._named.setdefault(job.container, []).append(job)
        queue.add(job)
        return job

    def automatic(self, container: str = "") -> list[Job]:
        """Those that wait and that nobody but a rule wants, of one container or of every one."""
        return [
            job for name, queue in self._queues.items() if container in ("", name) for job in queue.automatic
        ]

    def of_rules(self, container: str) -> list[Job]:
        """Those of one container that nobody but a rule wants, the one that runs among them."""
        queue = self._queues.get(container)
        if queue is None:
            return []
        running = [queue.current] if queue.current is not None and queue.current.automatic else []
        return [*running, *queue.automatic]

    def begin(self, job: Job) -> None:
        """Its command is about to start."""
        queue = self._queues[job.container]
        queue.remove(job)
        queue.current = job
        job.move("begins")

    def end(self, job: Job) -> None:
        """Its command has ended, or was not started."""
        queue = self._queues[job.container]
        queue.remove(job)
        if not queue:
            del self._queues[job.container]
        job.move("ends")
        _take_out(self._aimed, (job.container, job.target), job)
        if job.named:
            _take_out(self._named, job.container, job)

    def join(self, request: Request) -> bool:
        """Has an open request wait for a verdict that is on its way; whether there is one that may answer it.

        One on its address may, whatever it was asked for, and one on a name that was asked for this request.
        """
        aimed = self._aimed.get((request.container, request.dest), ())
        for job in aimed:
            if job.state != LATE:
                job.ids[request.id] = None
                return True
        named = self._named.get(request.container, ())
        return any(request.id in job.ids and job.state != LATE for job in named)


def _take_out(table: dict[Any, list[Job]], key: object, job: Job) -> None:
    table[key].remove(job)
    if not table[key]:
        del table[key]
