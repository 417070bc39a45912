"""What a policy has come to: how many requests each of its rules has decided.  Pure.

It shows which rules are needed, so none may look unused that had its part.  An `ask` decides that somebody
is asked, whoever answers then.  Another rule may match a request and not decide it: an allow of the address
stands above the deny, say, or somebody was quicker.  Then the rule has left it open,
which is not the same as that none matched.  What the shield's floor keeps shut is up to no rule.
"""

from __future__ import annotations

from .states import FLOOR

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .docket import Docket
    from .requests import Request
    from .ruleset import Policy, Rule


class ByRule:
    """Counts the requests that are closed from now on, for the rules in force: with a new file from 0."""

    def __init__(self, docket: Docket) -> None:
        self._docket = docket
        self._generation = 0
        self._decided: dict[Rule | None, int] = {}  # None: of those that no rule has matched
        self._left_open: dict[Rule | None, int] = {}
        docket.was_closed = self._count

    def told(self) -> list[tuple[str, int, int]]:
        """How many requests each rule has decided, and left open; last, under "", those that none matched."""
        policy = self._policy()
        rules = [*policy.rules, None] if policy is not None else []
        return [
            (rule.text if rule else "", self._decided.get(rule, 0), self._left_open.get(rule, 0))
            for rule in rules
        ]

    def _count(self, request: Request, rule: Rule | None) -> None:
        """A request was closed, by this rule or by none."""
        policy = self._policy()
        if policy is None or request.state == FLOOR:
            return
        matched = request.matched if request.matched is not None and request.matched in policy else None
        if rule is not None:
            if rule in policy:  # else its verdict has ended after the file had changed
                _add(self._decided, rule)
            if matched is not None and matched is not rule:
                _add(self._left_open, matched)  # until a verdict that was meant for another has covered it
            return
        by = matched or self._first(request, policy)
        _add(self._decided if by is None or by.action == "ask" else self._left_open, by)

    def _first(self, request: Request, policy: Policy) -> Rule | None:
        """The first rule that is about a request that no rule has had."""
        names = [name.name for name in self._docket.names(request)]
        part = policy.of(request.container)
        return part.first(request.dest, request.port, request.proto, request.private, names)

    def _policy(self) -> Policy | None:
        """The one in force; what was counted under another one is forgotten."""
        rules = self._docket.rules
        if self._generation != rules.generation:
            self._generation = rules.generation
            self._decided.clear()
            self._left_open.clear()
        return rules.policy


def _add(counts: dict[Rule | None, int], rule: Rule | None) -> None:
    counts[rule] = counts.get(rule, 0) + 1
