"""Keeps watch for a clearance hub, over all containers of a session, without a tick when idle.

Owns the hub looks' places in the loop: the bus connections to poll, the folders in which a
hub's sockets would appear, and the schedule of looks after a folder's notice (which comes
before the hub can be connected to).
"""

from __future__ import annotations

from ..base.errors import HUB_ACTIVE, Refused
from ..system import clocks
from . import bus, hub

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Callable

    from ..base.moment import Now
    from ..system.folders import Folders
    from ..system.loop import Loop


AT_ONCE = 0.05
"""Seconds that a look may wait for a bus while a prompt stands."""
DOUBT = 4
"""How many times as long as it took to come to a doubt it stands."""


class Guard:
    """`appeared` is told of a hub that is active, or of a doubt that can't be settled, once.

    `fed` tells of a container whether the reader that feeds a hub runs, or None when unknown.
    """

    def __init__(
        self,
        loop: Loop,
        hubs: dict[str, hub.Hub],
        appeared: Callable[[Refused], None],
        fed: Callable[[str], bool | None] = lambda container: None,
    ) -> None:
        self._loop = loop
        self._hubs = hubs
        self._appeared = appeared
        self._fed = fed
        self._looks: list[float] = []
        self._doubts: list[str] = []  # told already
        self._doubt: dict[str, tuple[float, Refused]] = {}  # by container, "" for all: until when it stands
        self._polled: set[int] = set()
        loop.deadlines.append(self._deadline)

    def check(self) -> None:
        """At the start.  Refused when a hub is active (1) or can't be asked (3)."""
        for refused in self._refusals(bus.DEADLINE):
            raise refused

    def watch(self, folders: Folders) -> None:
        """Has every place watched where a hub would appear."""
        for look in self._hubs.values():
            for folder in look.folders():
                folders.watch(folder)
        self._follow_buses()

    def objection(self, container: str) -> Refused | None:
        """One more look, right before a verdict: None when no hub is active for the container.

        A doubt stands for a while: a bus that hangs makes each look wait, and with hundreds of
        verdicts in a row nobody else would have a turn.  It is the bus of all containers.
        """
        now = clocks.now().mono
        for until, doubt in (self._doubt[key] for key in ("", container) if key in self._doubt):
            if now < until:
                return doubt
        return self._refusal(container, AT_ONCE)

    def _refusal(self, container: str, seconds: float) -> Refused | None:
        look = self._hubs.get(container)
        if look is None:
            return None
        began = clocks.now().mono
        try:
            active = look.look(self._fed(container), seconds)
        except Refused as doubt:
            took = clocks.now().mono - began
            self._doubt["" if took >= AT_ONCE else container] = began + took + DOUBT * took, doubt
            return doubt
        finally:
            self._follow_buses()  # before the number of one that was closed is another's
        return active.refused() if active is not None else None

    def noticed(self, now: Now) -> None:
        """A watched folder has changed."""
        self._looks = [now.mono + delay for delay in hub.LOOK_AGAIN]

    def tick(self, now: Now) -> None:
        if self._looks and self._looks[0] <= now.mono:
            self._looks = [due for due in self._looks if due > now.mono]
            self.look()

    def _deadline(self) -> float | None:
        return self._looks[0] if self._looks else None

    def _bus_spoke(self, _events: int, _now: Now) -> None:
        if any([look.on_readable() for look in self._hubs.values()]):  # all of them, not the first only
            self.look()

    def look(self) -> None:
        """Looks for a hub of each container now, and tells what is new."""
        refusals = self._refusals(AT_ONCE)
        for refused in refusals[:1]:
            if refused.code == HUB_ACTIVE or refused.message not in self._doubts:
                self._appeared(refused)
        self._doubts = [refused.message for refused in refusals]

    def _refusals(self, seconds: float) -> list[Refused]:
        """What a look for each container comes to: a hub that is active first, then the doubts.

        Once one has waited in vain for the bus, the others don't wait for it.
        """
        found = []
        for container in self._hubs:
            began = clocks.now().mono
            refused = self._refusal(container, seconds)
            if refused is not None:
                found.append(refused)
                seconds = 0.0 if clocks.now().mono - began >= seconds else seconds
        return sorted(found, key=lambda refused: refused.code != HUB_ACTIVE)

    def _follow_buses(self) -> None:
        """The connections change with each look: one that broke is made anew."""
        wanted = {fd for look in self._hubs.values() for fd in look.poll_fds()}
        for fd in self._polled - wanted:
            self._loop.remove(fd)
        for fd in wanted:
            self._loop.add(fd, self._bus_spoke)
        self._polled = wanted
