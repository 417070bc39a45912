"""What is not asked about in this session: names and addresses, on whatever port.  Pure."""

from __future__ import annotations

from .budget import Kept
from .states import MUTED

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Callable

    from ..base.happenings import Event
    from .budget import Budget
    from .requests import Answer, Request


class Mutes:
    """The answers that mute something, by container and name or address; `tries` are what they kept quiet.

    `label(request)` is the name or the address that a request is asked under now.
    """

    def __init__(self, label: Callable[[Request], str], budget: Budget, tell: Callable[..., None]) -> None:
        self.tries = 0
        self._label = label
        self._tell = tell
        self._kept = Kept("muted", budget, tell)

    def all(self) -> list[Answer]:
        return [answer for _, _, answer in self._kept.items()]

    def of(self, request: Request) -> Answer | None:
        """What keeps it from being asked: its address is muted, or the name that it is asked under.

        Of an address's names that is the one looked up last: one that it had before mutes it no longer.
        """
        container = request.container
        if not self._kept.any(container):
            return None
        found: Answer | None = self._kept.get(container, request.dest)
        return found or self._kept.get(container, self._label(request))

    def add(self, answer: Answer) -> None:
        """From now on that mutes its target; what another one has counted for it is counted on."""
        before = self._kept.pop(answer.container, answer.target)
        answer.tries = before.tries if before is not None else 0
        self._kept.put(answer.container, answer.target, answer)

    def take_back(self, answer: Answer) -> None:
        """It is asked about again; it may be already, or a later answer stands for it."""
        standing = self._kept.pop(answer.container, answer.target)
        if standing is not None:
            standing.undone = answer.undone = True
            self._tell("unmuted", container=answer.container, target=answer.target, tries=standing.tries)

    def forget(self, container: str) -> None:
        self._kept.drop(container)

    def count(self, request: Request, event: Event) -> None:
        """Packets that nobody was asked about, if that is muted."""
        mute = self.of(request) if request.state == MUTED else None
        if mute is not None:
            mute.tries += event.count
            self.tries += event.count
