"""The session's history: what was answered, and what the verdicts have come to.  Pure."""

from __future__ import annotations

from .budget import TOLD, Kept
from .jobs import AUTOMATIC
from .verdict import APPLIED, NOT_STARTED

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Callable, Collection, Iterable, Tuple

    from .budget import Budget
    from .jobs import Job
    from .requests import Answer
    from .verdict import Outcome

    Place = Tuple[str, str]  # a container, and an address or a name

OPPOSITE = {"allow": "deny", "deny": "allow"}


class Answers:
    """What was answered, the oldest first: `all`.

    Beyond a container's budget the oldest half is forgotten: of what rules have decided, or of the
    others, so that no flood of the first pushes out what a person has done.
    """

    def __init__(self, budget: Budget, tell: Callable[..., None]) -> None:
        self.all: list[Answer] = []
        self._budget = budget
        self._tell = tell
        self._number: dict[tuple[str, bool], int] = {}  # of them, by container and whether rules did it
        self._overfull: set[str] = set()

    def add(self, answer: Answer) -> None:
        container, limit = answer.container, self._budget.limit("answers")
        kind = (container, answer.by in AUTOMATIC)
        self.all.append(answer)
        self._number[kind] = self._number.get(kind, 0) + 1
        if self._number[kind] <= limit:
            return
        if container not in self._overfull:
            self._overfull.add(container)
            self._tell("error", message=container + ": " + TOLD["answers"] % limit)
        # half of them at once, since each time takes a while
        those = [one for one in self.all if (one.container, one.by in AUTOMATIC) == kind]
        forgotten = set(map(id, those[: len(those) - limit // 2]))
        self._number[kind] = limit // 2
        self.all = [one for one in self.all if id(one) not in forgotten]

    def forget(self, container: str) -> None:
        self.all = [one for one in self.all if one.container != container]
        for kind in [kind for kind in self._number if kind[0] == container]:
            del self._number[kind]
        self._overfull.discard(container)


class Tally:
    """The last word on each target, the verdicts that came to nothing, and how many there were of each kind.

    A verdict that came to nothing is made good by a later one on its address, and counts no more.
    """

    def __init__(self, budget: Budget, tell: Callable[..., None]) -> None:
        self.dry = 0  # verdicts of a dry run
        self.counts = {"allowed": 0, "denied": 0}
        self._last_word = Kept("targets", budget, tell)
        self._bad = Kept("failures", budget, tell)  # what came of each that was not made good
        self._forgotten = {"failed": 0, "unknown": 0}  # of those that are not kept any more

    @property
    def applied(self) -> int:
        """How many verdicts were applied."""
        return sum(self.counts.values())

    @property
    def settled(self) -> int:
        """How many were applied, or would have been in a dry run."""
        return self.applied + self.dry

    def last_word(self, container: str, target: str) -> str | None:
        """The action applied last to a target."""
        word: str | None = self._last_word.get(container, target)
        return word

    def last_words(self) -> list[tuple[str, str, str]]:
        """(container, target, action): what was applied last to each, in the order of that."""
        return self._last_word.items()

    def was_applied(self, job: Job, good: Iterable[Place]) -> None:
        """`good` are the places where it makes up for what came to nothing before."""
        self.counts["allowed" if job.action == "allow" else "denied"] += 1
        self._last_word.put(job.container, job.target, job.action)
        self.made_good(good)

    def came_to_nothing(self, job: Job, outcome: Outcome, places: Collection[Place]) -> None:
        """It failed, or nobody knows: `places` are what it was about."""
        wanted_otherwise = self.last_word(job.container, job.target) == OPPOSITE[job.action]
        if wanted_otherwise and outcome.reason != NOT_STARTED:  # it may be so
            self._last_word.pop(job.container, job.target)
        for place in places:
            for forgotten in self._bad.put(*place, outcome.result):
                self._forgotten[forgotten] += 1

    def made_good(self, places: Iterable[Place]) -> None:
        for place in places:
            self._bad.pop(*place)

    def forget(self, container: str) -> None:
        """What came to nothing there is only counted from now on, and no last word is known."""
        self._last_word.drop(container)
        for result in self._bad.drop(container).values():
            self._forgotten[result] += 1

    def summary(self) -> dict[str, int]:
        """`allowed`, `denied`, and what was not made good: `failed` and `unknown`."""
        bad = [result for _, _, result in self._bad.items()]
        left = {result: number + bad.count(result) for result, number in self._forgotten.items()}
        return {**self.counts, **left}

    def stands(self, answer: Answer) -> bool:
        """Whether it is a verdict that was applied, and not taken back since, by whatever."""
        if answer.undone or answer.result != APPLIED:
            return False
        return self.last_word(answer.container, answer.target) != OPPOSITE[answer.action]
