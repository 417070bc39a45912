"""What is answered without a verdict: skipped, for a minute, or muted, for the session.  Pure.

What is muted is a name or an address, on whatever port; the requests that it keeps from being asked come and
go.  A request is under it while its address is that, or the name that it is asked under now: of an address's
names the one looked up last, so that one that it had before mutes it no longer.
"""

from __future__ import annotations

from .budget import Kept
from .requests import Answer, keys_of
from .states import MUTED, OPEN

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Callable

    from ..base.happenings import Event
    from ..base.moment import Now
    from .budget import Budget
    from .history import Answers
    from .names import Names
    from .register import Register
    from .requests import Request
    from .ruleset import Rule


class Aside:
    """`label(request)` is what a request is asked under now, `move(...)` is `Docket`'s.

    `is_free(request)` tells whether it waits and is not being looked at.  `counts` are requests, by how they
    were set aside; `tries` packets that nobody was asked about, since they were for something muted.
    """

    def __init__(
        self,
        register: Register,
        names: Names,
        answers: Answers,
        budget: Budget,
        tell: Callable[..., None],
        move: Callable[..., None],
        label: Callable[[Request], str],
        is_free: Callable[[Request], bool],
    ) -> None:
        self.counts = {"skipped": 0, "muted": 0}
        self.tries = 0
        self._register = register
        self._names = names
        self._answers = answers
        self._tell = tell
        self._move = move
        self._label = label
        self._is_free = is_free
        self._mutes = Kept("muted", budget, tell)  # the answers that do, by their targets

    def set_aside(
        self, request: Request, cause: str, by: str | None, rule: Rule | None, now: Now, **fields: Any
    ) -> None:
        """Closes a request that waits: `cause` is skipped or muted, the others are `move`'s."""
        self.counts[cause] += 1
        self._move(request, cause, now, by, rule, **fields)

    def skip(self, requests: list[Request], by: str, rule: Rule | None, now: Now) -> None:
        """Not now: those that are tried after a minute are asked again."""
        of: dict[str, list[Request]] = {}
        for request in requests:
            of.setdefault(request.container, []).append(request)
            self.set_aside(request, "skipped", by, rule, now)
        for container, those in of.items():
            keys = keys_of(those)
            self._answers.add(Answer(container, "skip", those[0].dest, keys, "", now.wall, by=by, rule=rule))

    def mute(self, requests: list[Request], by: str, name: str, now: Now) -> None:
        """What these are asked under, or `name`, is not asked in this session, with all that waits there."""
        under: dict[tuple[str, str], list[Request]] = {}
        for request in requests:
            under.setdefault((request.container, name or self._label(request)), []).append(request)
        for (container, label), cited in under.items():
            those = list(dict.fromkeys([*cited, *self._asked_under(container, label)]))
            named = label != those[0].dest
            answer = Answer(container, "mute", label, keys_of(those), "", now.wall, named=named, by=by)
            before = self._mutes.pop(container, label)
            answer.tries = before.tries if before is not None else 0
            self._mutes.put(container, label, answer)
            self._answers.add(answer)
            for request in those:
                if request.state == OPEN:  # else it was under the one before, too
                    self.set_aside(request, "muted", by, None, now, target=label)

    def _asked_under(self, container: str, label: str) -> list[Request]:
        """What waits under a name or an address, and is not being looked at."""
        dests = dict.fromkeys([label, *self._names.shown_as(container, label)])
        found = [request for dest in dests for request in self._register.at(container, dest)]
        return [
            request
            for request in found
            if self._is_free(request) and label in (request.dest, self._label(request))
        ]

    def muted(self) -> list[Answer]:
        """The answers that keep something from being asked: each `target` is a name or an address."""
        return [answer for _, _, answer in self._mutes.items()]

    def mute_of(self, request: Request) -> Answer | None:
        """What keeps it from being asked, if anything."""
        container = request.container
        if not self._mutes.any(container):
            return None
        found: Answer | None = self._mutes.get(container, request.dest)
        return found or self._mutes.get(container, self._label(request))

    def keep_quiet(self, request: Request, now: Now) -> bool:
        """Closes a request that waits, if it is muted; not one that the operator wants to be asked."""
        mute = None if request.by_hand else self.mute_of(request)
        if mute is not None:
            self.set_aside(request, "muted", mute.by, None, now, target=mute.target)
        return mute is not None

    def count(self, request: Request, event: Event) -> None:
        """Packets of it, which nobody was asked about if it is muted."""
        mute = self.mute_of(request) if request.state == MUTED else None
        if mute is not None:
            mute.tries += event.count
            self.tries += event.count

    def take_back(self, answer: Answer) -> None:
        """What it mutes is asked about again; it may be already, or a later answer stands for it."""
        standing = self._mutes.pop(answer.container, answer.target)
        if standing is not None:
            standing.undone = answer.undone = True
            self._tell("unmuted", container=answer.container, target=answer.target, tries=standing.tries)

    def forget(self, container: str) -> None:
        self._mutes.drop(container)
