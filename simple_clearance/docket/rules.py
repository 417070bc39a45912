"""Deciding without asking: the policy's rules, then `--answer`.  Pure.

It says what should be decided and why; the docket decides it.
"""

from __future__ import annotations

from .jobs import Job

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Callable, Sequence

    from .budget import Budget
    from .policy import Policy
    from .requests import Request


class Rules:
    """The `policy`, if there is one, and the `answer` to all that it leaves open, or ""."""

    def __init__(self, answer: str, tell: Callable[..., None], budget: Budget) -> None:
        self._budget = budget
        self.policy: Policy | None = None
        self.answer = answer
        self._tell = tell
        self._full: dict[str, bool] = {}
        self._warned: dict[str, None] = {}

    @property
    def active(self) -> bool:
        return self.policy is not None or self.answer != ""

    def replace(self, policy: Policy) -> None:
        """The file has changed."""
        self.policy = policy
        self._warned.clear()

    def decide(self, request: Request, names: Sequence[str]) -> Job | str:
        """The verdict to be queued for a request, `skip`, or "" to leave it open."""
        if request.by_hand:
            return ""
        if self.policy is not None:
            found = self.policy.decide(
                request.dest, request.port, request.proto, request.private, names, request.tried
            )
            if found is not None and found.action != "ask":
                if found.action == "skip":
                    return "skip"
                return Job(
                    request.container, found.action, found.name or request.dest, [request.id], "policy",
                    named=bool(found.name), rule=found.rule,
                )  # fmt: skip
        if self.answer == "allow" and request.guarded:
            text = f"{request.dest} is not allowed by --answer: only a rule for that very network allows it"
            self._once("answer " + request.dest, text)
            return ""
        if self.answer in ("", "skip"):
            return self.answer
        return Job(request.container, self.answer, request.dest, [request.id], "answer")

    def has_room(self, job: Job, jobs: Sequence[Job]) -> bool:
        """Whether one more may wait beside `jobs`, those of its container; told once when not."""
        waiting = [other for other in jobs if other.automatic]
        if any(other.is_same(job) for other in waiting):
            return True
        most = self._budget.limit("automatic")
        full = len(waiting) >= most
        if full and not self._full.get(job.container):
            text = "%d verdicts wait for %s already: more requests stay open" % (len(waiting), job.container)
            self._tell("error", message=text)
        if full or len(waiting) < most // 2:  # told once for each flood
            self._full[job.container] = full
        return not full

    def floored(self, request: Request, names: Sequence[str]) -> None:
        """A request that the floor refuses: a rule that would allow it is told to be in vain."""
        if self.policy is None:
            return
        found = self.policy.decide(request.dest, request.port, request.proto, True, names)
        if found is not None and found.action == "allow":
            rule = found.rule.text
            text = f"the rule `{rule}` has no effect on {request.dest}: the shield keeps private ranges shut"
            self._once(rule, text)

    def _once(self, key: str, message: str) -> None:
        if key not in self._warned and len(self._warned) < self._budget.limit("warnings"):
            self._warned[key] = None
            self._tell("error", message=message)
