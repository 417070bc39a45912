"""What is known of each container's shield: its version, its state, what it refused unasked.  Pure."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Callable

    from ..base.happenings import Event
    from ..base.moment import Now
    from .verdict import Outcome

FLOOR_SINCE = 15
"""Bundle version from which on private ranges are refused above every allow."""


class Shields:
    """The shields of all containers.  `unheard` counts what is not asked, by container and kind."""

    def __init__(self, tell: Callable[..., None], changed: Callable[[str, Now], None]) -> None:
        """`changed(container, now)` is called when a shield's state is another one."""
        self.versions: dict[str, int | None] = {}
        self.without_ipv6: set[str] = set()  # where nothing answers, whatever is allowed
        self.unheard: dict[tuple[str, str], int] = {}
        self._tell = tell
        self._told_change = changed
        self._states: dict[str, str] = {}
        self._changed: dict[str, float] = {}
        self._freed: dict[str, float] = {}  # when a quarantine ended

    def begin(self, container: str, version: int | None, state: str, ipv6: bool) -> None:
        """A watch begins: the bundle version, the shield's state, and whether IPv6 works in the container."""
        self.forget(container)
        self._states[container] = state
        self.versions[container] = version
        if not ipv6:
            self.without_ipv6.add(container)

    def forget(self, container: str) -> None:
        for known in (self.versions, self._states, self._changed, self._freed):
            known.pop(container, None)
        self.without_ipv6.discard(container)
        self.unheard = {key: number for key, number in self.unheard.items() if key[0] != container}

    def up(self, container: str) -> bool:
        return self._states.get(container, "up") == "up"

    def quarantined(self, container: str) -> bool:
        """Whether it refuses every allow."""
        return self._states.get(container) == "quarantine"

    def blocks_it(self, container: str, event: Event, now: Now) -> bool:
        """Whether a packet was blocked by a shield that is up, not by a quarantine that blocks everything."""
        return self.up(container) and now.mono - self._freed.get(container, -event.late) >= event.late

    def floor(self, container: str) -> bool | None:
        """Whether this shield keeps private ranges shut; None when its version is unknown."""
        version = self.versions.get(container)
        return None if version is None else version >= FLOOR_SINCE

    def answers(self, container: str, dest: str) -> bool:
        """Whether an address may answer at all, once it is allowed."""
        return not (":" in dest and container in self.without_ipv6)

    def state(self, container: str, state: str, now: Now) -> None:
        """The shield was seen to go to `state`: up, down, disengaged or quarantine."""
        before = self._states.get(container, "up")
        self._states[container] = state
        self._changed[container] = now.mono
        if before == "quarantine" != state:
            self._freed[container] = now.mono
        if before != state:
            self._tell("shield", container=container, state=state)
            self._told_change(container, now)

    def why(self, container: str, outcome: Outcome) -> None:
        """Completes the reason why an allow failed, where the command's own words went to the journal."""
        if outcome.reason == "exit" and self.quarantined(container):
            outcome.reason = "quarantine"

    def blocked(self, container: str, event: Event, now: Now) -> None:
        """A packet was blocked by default, which only a shield that is up does."""
        if not event.private and self._states.get(container) in ("down", "disengaged"):
            self._packets_tell(container, "up", event, now)

    def count(self, container: str, event: Event, now: Now) -> None:
        """Counted and visible, but not asked: denied, multicast, or let by while the shield is down."""
        key = (container, event.kind)
        self.unheard[key] = self.unheard.get(key, 0) + event.count
        if event.kind == "bypass" and self._states.get(container, "up") in ("up", "quarantine"):
            self._packets_tell(container, "down", event, now)

    def _packets_tell(self, container: str, state: str, event: Event, now: Now) -> None:
        """Those from before the last change may be told after it: they tell nothing."""
        if now.mono - self._changed.get(container, -event.late) >= event.late:
            self.state(container, state, now)
