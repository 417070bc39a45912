"""Keeps watch for a clearance hub, over all containers of a session, without a tick when idle.

Owns the places in the loop that this takes: the one connection to the bus, the folders in which a
hub's sockets would appear, and the schedule of looks after a folder's notice (which comes
before the hub can be connected to).
"""

from __future__ import annotations

from ..base.errors import HUB_ACTIVE, Refused
from ..system import clocks
from . import bus, hub
from .common import Signs

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Callable

    from ..base.moment import Now
    from ..system.folders import Folders
    from ..system.loop import Loop
    from .common import Common
    from .sockets import Active


AT_ONCE = 0.05
"""Seconds that a look may wait for a bus while a prompt stands."""
DOUBT = 4
"""How many times as long as it took to find that the bus does not answer no verdict asks it again."""


class Guard:
    """`appeared` is told of a hub that is active for a container, or of a doubt that can't be settled.

    Once, as long as it lasts: what is active for several is told of each of them, what is doubtful for
    several of the container "".
    `fed` tells of a container whether the reader that feeds a hub runs, or None when unknown.
    """

    def __init__(
        self,
        loop: Loop,
        common: Common,
        appeared: Callable[[str, Refused], None],
        fed: Callable[[str], bool | None] = lambda container: None,
    ) -> None:
        self._loop = loop
        self._common = common
        self._appeared = appeared
        self._fed = fed
        self._hubs: dict[str, hub.Hub] = {}
        self._folders: Folders | None = None
        self._watched: dict[str, list[str]] = {}  # container -> folders
        self._active: set[str] = set()  # containers of whose hub was told
        self._doubts: dict[str, str] = {}  # container -> the doubt that was told of it
        self._looks: list[float] = []
        self._silent_until = 0.0  # until when the bus is not asked before a verdict,
        self._silence = ""  # and why not
        self._polled: set[int] = set()
        loop.deadlines.append(self._deadline)

    def close(self) -> None:
        """Leaves the bus."""
        self._common.close()
        self._follow_bus()

    def add(self, container: str, look: hub.Hub) -> None:
        """One container more, in the place of one of that name; the next look is for it, too."""
        self.remove(container)
        self._hubs[container] = look
        self._common.watch(look.names)
        if self._folders is not None:
            self._watch([container], self._folders)

    def remove(self, container: str) -> None:
        """That container is of no interest any more; its folders go with the next `refresh`."""
        look = self._hubs.pop(container, None)
        if look is None:
            return
        self._common.forget(look.names)
        for folder in self._watched.pop(container, []):
            assert self._folders is not None
            self._folders.unwatch(folder)
        self._active.discard(container)
        self._doubts.pop(container, None)
        if not self._hubs:
            self._looks = []

    def check(self) -> None:
        """At the start.  Refused when a hub is active (1) or can't be asked (3)."""
        found = self._refusals(bus.DEADLINE).values()
        for refused in sorted(found, key=lambda refused: refused.code != HUB_ACTIVE):
            raise refused

    def watch(self, folders: Folders) -> None:
        """Has every place watched where a hub would appear, of those that are added later, too."""
        self._folders = folders
        self._watch(list(self._hubs), folders)

    def _watch(self, containers: list[str], folders: Folders) -> None:
        for container in containers:
            self._watched[container] = self._hubs[container].folders()
        folders.watch_all([folder for container in containers for folder in self._watched[container]])

    def objection(self, container: str) -> Refused | None:
        """One more look, right before a verdict: None when no hub is active for the container."""
        if container not in self._hubs:
            return None
        return _refusal(self.ask, container)

    def ask(self, container: str, seconds: float = AT_ONCE) -> Active | None:
        """The hub that is active for that one container, which was added, or None.  Refused (3) in doubt.

        Nothing of the others is asked.  A bus that hangs makes each look wait, for those `seconds`, and with
        hundreds of verdicts in a row nobody else would have a turn: so it is believed to hang for a while.
        """
        silent = clocks.now().mono < self._silent_until
        return self._judge(container, self._signs(None if silent else seconds))

    def noticed(self, now: Now) -> None:
        """A watched folder has changed."""
        if self._hubs:
            self._looks = [now.mono + delay for delay in hub.LOOK_AGAIN]

    def tick(self, now: Now) -> None:
        if self._looks and self._looks[0] <= now.mono:
            self._looks = [due for due in self._looks if due > now.mono]
            self.look()

    def _deadline(self) -> float | None:
        return self._looks[0] if self._looks else None

    def _bus_spoke(self, _events: int, _now: Now) -> None:
        again = self._common.on_readable()
        self._follow_bus()
        if again:
            self.look()

    def look(self) -> None:
        """Looks for a hub of each container now, and tells what is new."""
        found = self._refusals(AT_ONCE)
        active = {container for container, refused in found.items() if refused.code == HUB_ACTIVE}
        doubts = {container: refused for container, refused in found.items() if refused.code != HUB_ACTIVE}
        appeared = [container for container in found if container in active - self._active]
        new: dict[str, list[str]] = {}  # doubt -> containers
        for container, refused in doubts.items():
            if refused.message not in self._doubts.values():
                new.setdefault(refused.message, []).append(container)
        self._active = active | self._active & set(doubts)
        self._doubts = {container: refused.message for container, refused in doubts.items()}
        for container in appeared:
            if container in self._hubs:  # whoever is told may remove what he is told of next
                self._appeared(container, found[container])
        for containers in new.values():
            self._appeared(containers[0] if len(containers) == 1 else "", doubts[containers[0]])

    def _refusals(self, seconds: float) -> dict[str, Refused]:
        """What a look for each container comes to, where it is not "no hub".  The bus is waited for once."""
        if not self._hubs:
            return {}
        signs = self._signs(seconds)
        found = {}
        for container in self._hubs:
            refused = _refusal(self._judge, container, signs)
            if refused is not None:
                found[container] = refused
        return found

    def _judge(self, container: str, signs: Signs) -> Active | None:
        return self._hubs[container].judge(signs, lambda: self._fed(container))

    def _signs(self, seconds: float | None) -> Signs:
        """`seconds` that the bus may take; None when it is not to be asked."""
        owned, doubt = (set(), self._silence) if seconds is None else self._ask_bus(seconds)
        firsts = [first for look in self._hubs.values() for first in look.firsts]
        return Signs(owned, doubt, self._common.sockets(firsts))

    def _ask_bus(self, seconds: float) -> tuple[set[str], str]:
        began = clocks.now().mono
        try:
            owned, doubt = self._common.owned(seconds)
        finally:
            self._follow_bus()  # before the number of one that was closed is another's
        ended = clocks.now().mono
        self._silence, self._silent_until = doubt, ended + DOUBT * (ended - began) if doubt else 0.0
        return owned, doubt

    def _follow_bus(self) -> None:
        """The connection changes with each look: one that broke is made anew."""
        wanted = set(self._common.poll_fds())
        for fd in self._polled - wanted:
            self._loop.remove(fd)
        for fd in wanted:
            self._loop.add(fd, self._bus_spoke)
        self._polled = wanted


def _refusal(look: Callable[..., Active | None], *about: object) -> Refused | None:
    """What a look comes to, where it is not "no hub"."""
    try:
        active = look(*about)
    except Refused as refused:
        return refused
    return active.refused() if active is not None else None
