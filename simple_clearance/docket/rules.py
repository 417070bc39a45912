"""Deciding without asking: the policy's rules, then `--answer`.  Pure.

It says what should be decided and why; the docket decides it.
"""

from __future__ import annotations

from .jobs import Job

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Callable, Sequence

    from .budget import Budget
    from .requests import Request
    from .ruleset import Decision, Policy, Rule


class Choice:
    """What becomes of a request: `action` is allow, deny, skip, "" (it stays open) or `wait` (for its names).

    `by` says who decides, `rule` which rule; `name` is the one to allow, "" for the address.
    """

    __slots__ = ("action", "by", "name", "rule")

    def __init__(self, action: str, by: str = "", rule: Rule | None = None, name: str = "") -> None:
        self.action = action
        self.by = by
        self.rule = rule
        self.name = name

    def __repr__(self) -> str:
        return f"Choice({self.action} by {self.by}, {self.rule!r}, {self.name!r})"

    def job(self, request: Request) -> Job:
        """The verdict that it takes."""
        return Job(
            request.container, self.action, self.name or request.dest, [request.id], self.by,
            named=bool(self.name), rule=self.rule,
        )  # fmt: skip


NOTHING = Choice("")
LATER = Choice("wait")


class Rules:
    """The `policy`, if there is one, and the `answer` to all that it leaves open, "" or `none` for none.

    `generation` is the policy's number, 0 while there is none: whatever remembers which one it was keeps
    that, since a file may have tens of thousands of rules and change after each answer.
    """

    def __init__(self, answer: str, tell: Callable[..., None], budget: Budget) -> None:
        self._budget = budget
        self.generation = 0
        self._policy: Policy | None = None
        self.answer = "" if answer == "none" else answer
        self._tell = tell
        self._full: dict[str, bool] = {}
        self._warned: dict[str, dict[str, None]] = {}  # by container: about what

    @property
    def policy(self) -> Policy | None:
        return self._policy

    @property
    def active(self) -> bool:
        return self.policy is not None or self.answer != ""

    def replace(self, policy: Policy) -> None:
        """The file was read, or has changed."""
        self._policy = policy
        self.generation += 1
        self._warned.clear()

    def decide(self, request: Request, names: Sequence[str], all_known: bool = True) -> Choice:
        """What becomes of a request; `names` are its address's, the one looked up last first.

        What an `allow` rule has matched is never denied: a recorded deny stands above every allow.  Until
        `all_known` no rule by name is passed over.
        """
        found = self._rule(request, names)
        if request.by_hand:
            return NOTHING
        if not all_known and (found is None or self._passes_over_a_name(found.rule, request.container)):
            return LATER
        if found is not None:
            return Choice(found.action, "policy", found.rule, found.name)
        if self.answer == "allow" and request.guarded:
            text = f"{request.dest} is not allowed by --answer: only a rule for that very network allows it"
            self._once(request.container, "answer " + request.dest, text)
            return NOTHING
        if self.answer == "deny" and self._allowed(request, names):
            return NOTHING
        return Choice(self.answer, "answer")

    def _passes_over_a_name(self, rule: Rule, container: str) -> bool:
        """Whether a rule by name that holds for the container stands before this one."""
        first = None if self.policy is None else self.policy.of(container).first_named
        return first is not None and first < rule.index

    def _rule(self, request: Request, names: Sequence[str]) -> Decision | None:
        """What the first rule decides that may; None when there is none, or it says `ask`."""
        if self.policy is None:
            return None
        for found in self.policy.of(request.container).matching(
            request.dest, request.port, request.proto, request.private, names, request.after_rule
        ):
            if found.action == "allow":
                request.allowed_in = self.generation
            if found.action != "deny" or request.allowed_in != self.generation:
                request.matched = found.rule
                return None if found.action == "ask" else found
        return None

    def picks(self, request: Request, names: Sequence[str]) -> bool:
        """Whether a rule about its very port or protocol decides it, if only that it is asked."""
        self._rule(request, names)
        rule = request.matched
        return rule is not None and (rule.ports is not None or rule.protos != ())

    def _allowed(self, request: Request, names: Sequence[str]) -> bool:
        """Whether a rule allows its address, on whatever port, or did when it had other names."""
        policy = self.policy
        if policy is None:
            return False
        ours = policy.of(request.container)
        return request.allowed_in == self.generation or ours.allows(request.dest, request.private, names)

    def has_room(self, job: Job, jobs: Sequence[Job]) -> bool:
        """Whether one more may wait beside `jobs`, those of its container's rules; told once when not."""
        if any(other.is_same(job) for other in jobs):
            return True
        most = self._budget.limit("automatic")
        full = len(jobs) >= most
        if full and not self._full.get(job.container):
            text = "%d verdicts wait for %s already: more requests stay open" % (len(jobs), job.container)
            self._tell("error", message=text)
        if full or len(jobs) < most // 2:  # told once for each flood
            self._full[job.container] = full
        return not full

    def forget(self, container: str) -> None:
        self._full.pop(container, None)
        self._warned.pop(container, None)

    def floored(self, request: Request, names: Sequence[str]) -> None:
        """A request that the floor refuses: a rule that would allow it is told to be in vain."""
        if self.policy is None:
            return
        ours = self.policy.of(request.container)
        found = ours.decide(request.dest, request.port, request.proto, True, names)
        if found is not None and found.action == "allow":
            rule = found.rule.text
            text = f"the rule `{rule}` has no effect on {request.dest}: the shield keeps private ranges shut"
            self._once(request.container, rule, text)

    def _once(self, container: str, key: str, message: str) -> None:
        warned = self._warned.setdefault(container, {})
        if key not in warned and len(warned) < self._budget.limit("warnings"):
            warned[key] = None
            self._tell("error", message=f"{container}: {message}")
