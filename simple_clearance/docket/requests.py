"""A blocked connection, what was decided about it, and what a decision came to.  Pure.

A request is one container, address, protocol and port.  Its states:

    OPEN      waits for an answer
    DECIDING  a verdict that would answer it waits or runs
    SKIPPED   not now: a try after a minute opens it again, under a new id
    MUTED     not in this session
    FLOOR     told, not asked: the shield's floor refuses it above every allow
    ANSWERED  a verdict was applied (or would have been, in a dry run)

It is open in the first two, and closed in the others; `docket` moves it between them.
"""

from __future__ import annotations

from ..base import addresses

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Optional, Tuple

    from ..base.happenings import Event
    from ..base.moment import Now
    from .policy import Policy, Rule

    Key = Tuple[str, str, Optional[int], Optional[int]]

OPEN, DECIDING, SKIPPED, MUTED, FLOOR, ANSWERED = "open", "deciding", "skipped", "muted", "floor", "answered"


class Request:
    """One request.  `first` and `last` are wall-clock seconds, `touched` and `changed` monotonic.

    `failure` is what the last verdict on it came to when it did not help; `tried` is the policy's
    rule whose verdict did not lead to it, None before any; `by_hand` that the operator wants to be
    asked, whatever the rules say; `undecided_by` the policy that left it open, knowing what is known.
    """

    __slots__ = (
        "by_hand", "changed", "container", "count", "dest", "failure", "first", "floor", "id", "key",
        "last", "port", "private", "proto", "reader_id", "state", "told", "told_at", "touched", "tried",
        "uid", "undecided_by",
    )  # fmt: skip

    def __init__(self, container: str, event: Event, now: Now) -> None:
        self.id = ""
        self.container = container
        self.dest = event.dest
        self.port = event.port
        self.proto = event.proto
        self.key: Key = (container, event.dest, event.proto, event.port)  # one for every index
        self.private = event.private
        self.uid = event.uid
        self.reader_id = event.reader_id
        self.floor = False
        self.count = 0
        self.first = self.last = now.wall
        self.touched = self.changed = now.mono
        self.state = OPEN
        self.failure = ""
        self.tried: Rule | None = None
        self.by_hand = False
        self.undecided_by: Policy | None = None
        self.told = 0  # the count that was last reported
        self.told_at = now.mono

    def __repr__(self) -> str:
        return "Request(%s %s %s proto=%s port=%s x%d %s)" % (
            self.id, self.container, self.dest, self.proto, self.port, self.count, self.state,
        )  # fmt: skip

    @property
    def guarded(self) -> bool:
        """Whether an allow of it wants a second thought: private, the host's loopback, a metadata service."""
        return self.private or addresses.special(self.dest) is not None

    def facts(self) -> dict[str, Any]:
        """The fields of a `pending` record that belong to the request itself."""
        return {
            "id": self.id,
            "container": self.container,
            "dest": self.dest,
            "port": self.port,
            "proto": self.proto,
            "class": "private" if self.private else "default",
            "floor": self.floor,
            "uid": self.uid,
            "count": self.count,
            "reader_id": self.reader_id,
        }


class Job:
    """A verdict: `action` (allow or deny) on `target`, an address or (`named`) a host name.

    `ids` are the requests it was asked for, the first one foremost.  `state` goes queued,
    running, perhaps late (its deadline has passed, it still runs), done.
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
        ids: list[str],
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
        self.ids = ids
        self.by = by
        self.rule = rule
        self.undoes = undoes
        self.state = "queued"
        self.started = 0.0
        self.wall = 0.0

    def is_same(self, other: Job) -> bool:
        """Whether running one does what the other would."""
        return (self.action, self.target) == (other.action, other.target)

    def __repr__(self) -> str:
        return "Job({} {} {} {} for {})".format(
            self.action, self.container, self.target, self.state, ",".join(self.ids)
        )


class Answer:
    """A line of the session's history: what was answered, when, and what came of it.

    `undone` says whether its opposite was applied, or is on its way.
    """

    __slots__ = (
        "action", "container", "keys", "named", "opened", "result", "target", "undone", "wall",
    )  # fmt: skip

    def __init__(
        self,
        container: str,
        action: str,
        target: str,
        keys: tuple[Key, ...],
        result: str,
        wall: float,
        *,
        named: bool = False,
        opened: tuple[str, ...] = (),
    ) -> None:
        self.container = container
        self.action = action
        self.target = target
        self.keys = keys
        self.result = result
        self.wall = wall
        self.named = named
        self.opened = opened
        self.undone = False

    def __repr__(self) -> str:
        return f"Answer({self.action} {self.container} {self.target} {self.result})"


class Effect:
    """What an applied verdict should have done to an address, held against the packets.

    `since` is monotonic, `wall` the clock's; `blocked` counts packets blocked since.
    """

    __slots__ = (
        "action", "blocked", "contradicted", "named", "passed", "rule", "since", "started", "told_at", "wall",
    )  # fmt: skip

    def __init__(self, job: Job, now: Now) -> None:
        self.action = job.action
        self.named = job.named
        self.rule = job.rule
        self.started = job.started
        self.since = now.mono
        self.wall = now.wall
        self.passed = False
        self.contradicted = False
        self.blocked = 0
        self.told_at = -1e9  # when it was told last that it is still blocked

    @property
    def by_name_rule(self) -> bool:
        """Whether a rule of the policy on a name did it."""
        return self.named and self.rule is not None
