"""Whether a verdict worked: what was answered, held against the packets that come after.  Pure.

A verdict's exit code does not tell what is open.  So an address stays under watch: the first
packet let out after an allow is told, and so is one that is still blocked, or denied above it.
"""

from __future__ import annotations

from .budget import Kept

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Callable, Iterable

    from ..base.happenings import Event
    from ..base.moment import Now
    from .budget import Budget
    from .jobs import Job
    from .ruleset import Rule

ASK_AGAIN = 60.0
"""Seconds after which an answered request that is still blocked is asked again."""

LIVE_EXPIRY = 1790.0
"""Seconds after which an allow may have expired: nft's default timeout on the live sets is 30 min."""

STILL_EVERY = 10.0


class Effect:
    """What an applied verdict should have done to an address, held against the packets.

    `since` is monotonic; `blocked` counts packets blocked since.
    """

    __slots__ = ("action", "blocked", "contradicted", "named", "passed", "rule", "since", "told_at")

    def __init__(self, job: Job, now: Now) -> None:
        self.action = job.action
        self.named = job.named
        self.rule = job.rule
        self.since = now.mono
        self.passed = False
        self.contradicted = False
        self.blocked = 0
        self.told_at = -1e9  # when it was told last that it is still blocked

    @property
    def by_allow_rule(self) -> bool:
        """Whether an `allow` rule of the policy did it."""
        return self.action == "allow" and self.rule is not None

    def in_vain(self, now: Now) -> Rule | None:
        """The `allow` rule that did it, where its address should still be open."""
        return self.rule if self.by_allow_rule and now.mono - self.since < LIVE_EXPIRY else None


class Proof:
    """The addresses under watch.  `tell(type, **fields)` takes what should be told."""

    def __init__(self, tell: Callable[..., None], budget: Budget) -> None:
        self._tell = tell
        self._budget = budget
        self._effects = Kept("addresses", budget, tell)
        self._early: dict[str, dict[str, tuple[float, Event]]] = {}

    def effect(self, container: str, dest: str) -> Effect | None:
        """What a verdict should have done to this address, while that is under watch."""
        found: Effect | None = self._effects.get(container, dest)
        return found

    def applied(self, job: Job, dests: Iterable[str], now: Now) -> None:
        """A verdict on these addresses was applied."""
        for dest in dests:
            effect = Effect(job, now)
            self._effects.put(job.container, dest, effect)
            early = self._early.get(job.container, {}).pop(dest, None)
            if job.action == "allow" and early is not None and early[0] >= job.started:
                self._prove(effect, job.container, early[1], now)

    def drop(self, container: str) -> None:
        """Its verdicts so far are not held against packets any more."""
        self._effects.drop(container)
        self._early.pop(container, None)

    def idle(self, container: str) -> None:
        """No verdict runs for this container."""
        self._early.pop(container, None)

    def let_out(self, container: str, event: Event, running: bool, now: Now) -> bool:
        """A packet was let out; whether its address is under watch.  `running`: whether a verdict is."""
        effect = self.effect(container, event.dest)
        if running:
            early = self._early.setdefault(container, {})
            if len(early) < self._budget.limit("let out") or event.dest in early:
                early[event.dest] = (now.mono, event)  # it may open before its command has ended
        if effect is None:
            return False
        if effect.action == "allow":
            self._prove(effect, container, event, now)
        elif not effect.contradicted and now.mono - effect.since > event.late:
            effect.contradicted = True
            text = f"{container}: {event.dest} is let out in spite of the deny: an allow set holds it"
            self._tell("error", message=text)
        return True

    def denied(self, container: str, event: Event, now: Now) -> None:
        """A packet was refused by the deny set, which stands above every allow."""
        effect = self.effect(container, event.dest)
        if effect is not None and effect.action == "allow" and now.mono - effect.since >= event.late:
            effect.blocked += event.count
            self._still_blocked(effect, container, event, "denied", now)

    def blocked(self, container: str, event: Event, sure: bool, now: Now) -> Effect | None:
        """A packet was blocked: the verdict that accounts for it, or None when it should be asked.

        It is asked all the same a minute after the verdict, and at once after an `allow` rule, if it is
        `sure` that no quarantine blocked it: the next rule may know better; the address is under watch no
        longer then.
        """
        effect = self.effect(container, event.dest)
        if effect is None:
            return None
        age = now.mono - effect.since
        if age < event.late:  # it may be from before the verdict
            return effect
        effect.blocked += event.count
        if effect.action == "allow":
            reason = "floor" if event.private else "expired" if age >= LIVE_EXPIRY else None
            self._still_blocked(effect, container, event, reason, now)
        if age >= ASK_AGAIN or (sure and effect.by_allow_rule):
            self._effects.pop(container, event.dest)
            return None
        return effect

    def _prove(self, effect: Effect, container: str, event: Event, now: Now) -> None:
        if not effect.passed:
            effect.passed = True
            self._tell(
                "passed",
                container=container,
                dest=event.dest,
                port=event.port,
                proto=event.proto,
                seconds=round(now.mono - effect.since, 3),
            )

    def _still_blocked(
        self, effect: Effect, container: str, event: Event, reason: str | None, now: Now
    ) -> None:
        if now.mono - effect.told_at >= STILL_EVERY:
            effect.told_at = now.mono
            self._tell(
                "still_blocked", container=container, dest=event.dest, count=effect.blocked, reason=reason
            )
