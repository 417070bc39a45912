"""A blocked connection, and what was answered to it.  Pure.

A request is one container, address, protocol and port, or the rest of an address's ports; `states` says how
it goes on from there.
"""

from __future__ import annotations

from ..base import addresses
from .budget import KEYS
from .ports import REST, Ports
from .states import NEW

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Optional, Tuple

    from ..base.happenings import Event
    from ..base.moment import Now
    from .batch import Batch
    from .ruleset import Rule

    Key = Tuple[str, str, Optional[int], Optional[int]]


class Request:
    """One request.  `first` and `last` are wall-clock seconds; `touched`, `changed` and the like monotonic.

    - `failure`: what the last verdict on it came to, when it did not help
    - `rests_until`: when rules have their next turn, after such a failure
    - `after_rule`: the rule whose verdict did not lead to it, so that those after it have their turn
    - `allowed_in`: the generation of the policy of which an `allow` rule has matched it, 0 for none: nothing
      denies it by itself then
    - `matched`: the rule that had it last and was not passed over, though it may have left it open
    - `in_doubt`: it was blocked last while its shield was not up, so nobody knows what the shield does else
    - `by_hand`: the operator wants to be asked, whatever the rules say
    - `undecided_by`: the generation of the policy that left it open, knowing the names that `undecided`
      stands for
    - `ports`: of one that stands for the rest of its address's ports, how many
    - `told`, `told_at`: the count that was told last, and when
    """

    __slots__ = (
        "after_rule", "allowed_in", "by_hand", "changed", "container", "count", "dest", "failure", "first",
        "floor", "id", "in_doubt", "key", "last", "matched", "port", "ports", "private", "proto", "reader_id",
        "recorded", "rests_until", "state", "told", "told_at", "touched", "uid", "undecided", "undecided_by",
    )  # fmt: skip

    def __init__(self, container: str, event: Event, now: Now, rest: bool = False) -> None:
        self.id = ""
        self.container = container
        self.dest = event.dest
        self.port = None if rest else event.port
        self.proto = None if rest else event.proto
        self.ports = Ports() if rest else None
        # What it is, as all who look for it know it; one tuple, since there are thousands.
        self.key: Key = (container, event.dest, REST if rest else event.proto, self.port)
        self.private = event.private
        self.uid = event.uid
        self.reader_id = event.reader_id
        self.floor = False
        self.in_doubt = False
        self.count = 0
        self.first = self.last = now.wall
        self.touched = self.changed = now.mono
        self.state = NEW
        self.failure = ""
        self.recorded = ""  # the action of somebody else's verdict that was told while it waits
        self.rests_until = 0.0
        self.after_rule: Rule | None = None
        self.allowed_in = 0
        self.matched: Rule | None = None
        self.by_hand = False
        self.undecided: int | None = None
        self.undecided_by = 0
        self.told = 0
        self.told_at = now.mono

    def __repr__(self) -> str:
        return "Request(%s %s %s proto=%s port=%s x%d %s)" % (
            self.id, self.container, self.dest, self.proto, self.port, self.count, self.state,
        )  # fmt: skip

    @property
    def guarded(self) -> bool:
        """Whether an allow of it wants a second thought: private, the host's loopback, a metadata service."""
        return self.private or addresses.special(self.dest) is not None

    def tried_again(self, event: Event, now: Now) -> None:
        """Packets of it were blocked once more."""
        self.count += event.count
        self.last, self.touched = now.wall, now.mono
        if self.uid is None:
            self.uid = event.uid

    @property
    def number_of_ports(self) -> int:
        """How many it stands for: one, unless it is the rest of them."""
        return 1 if self.ports is None else self.ports.number

    def see_port(self, event: Event) -> None:
        """That packet may have been for a port that none was before."""
        if self.ports is not None:
            self.ports.add(event.port)

    def tries(self) -> dict[str, Any]:
        """How often it was tried, and on how many ports where it stands for several."""
        return {"count": self.count, **({"ports": self.ports.number} if self.ports is not None else {})}

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
            **self.tries(),
            "reader_id": self.reader_id,
        }


class Answer:
    """A line of the session's history: what was answered, when, and what came of it.

    `ids` are those of the requests that a verdict was about, the one it was asked for first; `by` says who
    answered, `rule` which rule of a policy; `undone` whether its opposite was applied, or is on its way, or
    it is muted no longer; `tries` counts the packets that nobody was asked about since, as it is muted;
    `batch` stands for those that were given with it.
    """

    __slots__ = (
        "action", "batch", "by", "container", "ids", "keys", "named", "opened", "result", "rule", "target",
        "tries", "undone", "wall",
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
        ids: tuple[str, ...] = (),
        named: bool = False,
        opened: tuple[str, ...] = (),
        by: str = "",
        rule: Rule | None = None,
        batch: Batch | None = None,
    ) -> None:
        self.container = container
        self.action = action
        self.target = target
        self.batch = batch
        self.ids = ids
        self.keys = keys
        self.result = result
        self.wall = wall
        self.named = named
        self.opened = opened
        self.by = by
        self.rule = rule
        self.undone = False
        self.tries = 0

    def __repr__(self) -> str:
        return f"Answer({self.action} {self.container} {self.target} {self.result})"


def keys_of(requests: list[Request]) -> tuple[Key, ...]:
    """What an answer remembers of the requests that it was about."""
    return tuple(request.key for request in requests[:KEYS])
