"""The docket: what is open, what was answered, which verdict runs next.  Pure.

An event or an answer goes in; what should be told comes out as records, in the vocabulary of
the JSON interface, and what should be run as jobs.  The terminal, the JSON stream and the log
all live on the same records.  Nothing here waits, reads a clock or runs anything.

The awkward fact is that a verdict's exit code does not tell what is open: an answered address
stays under watch, and the packets let out or blocked afterwards are held against the answer.
"""

from __future__ import annotations

from . import addresses
from .requests import ANSWERED, DECIDING, FLOOR, MUTED, OPEN, SKIPPED, Answer, Effect, Job, Request
from .verdict import APPLIED, DRY_RUN, UNKNOWN, Outcome

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Dict, Iterable, Sequence

    from .dnslog import Name
    from .events import Event
    from .moment import Now
    from .policy import Policy
    from .requests import Key

    Record = Dict[str, Any]

REMEMBERED = 20_000
"""Requests kept at most; what goes beyond is counted as lost and asked when it is tried again."""

ASK_AGAIN = 60.0
"""Seconds after which an answered request that is still blocked is asked again."""

GRACE = 0.4
"""Seconds after a verdict in which blocked packets may still be from before it: a reader
gathers repeats for 0.25 s."""

LIVE_EXPIRY = 1790.0
"""Seconds after which an allow may have expired: nft's default timeout on the live sets is 30 min."""

STILL_EVERY = 10.0
AGAIN_EVERY = 1.0
AUTOMATIC_LIMIT = 64
"""Verdicts of a policy or of `--answer` that may wait for one container."""

EARLY_LIMIT = 1024
"""Addresses let out while a verdict runs that are remembered for it."""

HISTORY = 2000
"""Answers remembered in full; of older ones only the verdicts, whose number has a natural limit."""

WARNINGS = 64
"""Rules and addresses that are told to be without effect; whoever is inside chooses how many there are."""

NO_RULE = 1 << 30
"""As `after_rule`: the operator is asked, whatever the policy says."""

ENDING = {"allow": "applied", "deny": "applied", "skip": "skipped", "mute": "muted"}


class Docket:
    """The state of one session, of all its containers."""

    def __init__(self, *, report_again: bool = False, answer: str = "", policy: Policy | None = None) -> None:
        self.policy = policy
        self.answer_all = answer
        self.painted: dict[str, None] = {}
        self.history: list[Answer] = []
        self.counts = dict.fromkeys(("allowed", "denied", "skipped", "muted", "lost", "untold"), 0)
        self.unheard: dict[tuple[str, str], int] = {}
        self.applied = 0
        self.report_again = report_again
        self._next = 1
        self._floors: dict[str, bool] = {}
        self._versions: dict[str, int | None] = {}
        self._dossiers: dict[str, dict[str, str]] = {}
        self._requests: dict[Key, Request] = {}
        self._open: dict[str, Request] = {}
        self._closed: dict[Key, None] = {}
        self._at: dict[tuple[str, str], list[Request]] = {}
        self._names: dict[tuple[str, str], tuple[Name, ...]] = {}
        self._jobs: dict[str, list[Job]] = {}
        self._effects: dict[tuple[str, str], Effect] = {}
        self._shields: dict[str, str] = {}
        self._shield_at: dict[str, float] = {}
        self._early: dict[str, dict[str, tuple[float, Event]]] = {}
        self._bad: dict[tuple[str, str], str] = {}
        self._unreported: dict[str, Request] = {}
        self._full: dict[str, bool] = {}
        self._stopped: dict[str, bool] = {}
        self._left = 0  # closed unanswered, since their container has ended
        self._records: list[Record] = []
        self._table_lost = 0
        self._warned_rules: dict[str, None] = {}

    # What comes out

    def take(self) -> list[Record]:
        """The records since the last call, oldest first."""
        if self._table_lost:
            self._tell("lost", count=self._table_lost, where="table")
            self._table_lost = 0
        records, self._records = self._records, []
        return records

    def runnable(self) -> list[Job]:
        """The next job of each container for which none runs; at most one each."""
        return [
            jobs[0]
            for container, jobs in self._jobs.items()
            if jobs and jobs[0].state == "queued" and container not in self._stopped
        ]

    def jobs(self, container: str = "") -> list[Job]:
        """The verdicts that wait or run, of one container or of all."""
        return [job for name, jobs in self._jobs.items() if container in ("", name) for job in jobs]

    def waiting(self) -> list[Request]:
        """The requests that wait for an answer, in order."""
        return [request for request in self._open.values() if request.state == OPEN]

    def first_waiting(self) -> Request | None:
        return next((request for request in self._open.values() if request.state == OPEN), None)

    def request(self, request_id: str) -> Request | None:
        """An open request by its id."""
        return self._open.get(request_id)

    def requests_at(self, container: str, dest: str) -> list[Request]:
        """All open requests of one address."""
        return list(self._at.get((container, dest), ()))

    def all_requests(self) -> Iterable[Request]:
        """Every request that is remembered."""
        return self._requests.values()

    def names(self, request: Request) -> tuple[Name, ...]:
        """The names seen on the request's address, the one looked up last first."""
        return self._names.get((request.container, request.dest), ())

    def dossier(self, container: str) -> dict[str, str]:
        return self._dossiers.get(container, {})

    @property
    def several(self) -> bool:
        """Whether it is about more than one container."""
        return len(self._dossiers) > 1

    def floor(self, container: str) -> bool | None:
        """Whether this container's shield keeps private ranges shut; None when unknown."""
        return self._floors.get(container)

    def version(self, container: str) -> int | None:
        """The bundle version of this container's shield; None when unknown."""
        return self._versions.get(container)

    def effect(self, container: str, dest: str) -> Effect | None:
        return self._effects.get((container, dest))

    def deadline(self) -> float | None:
        """When a held-back `again` record falls due (monotonic), or None."""
        first = next(iter(self._unreported.values()), None)
        return first.again_at if first else None

    def open_count(self) -> int:
        return len(self._open)

    def summary(self) -> Record:
        """The fields of the `summary` record, but for `exit`."""
        bad = list(self._bad.values())
        return {
            **self.counts,
            "failed": bad.count("failed"),
            "unknown": bad.count("unknown"),
            "open": len(self._open) + self._left,
        }

    # What goes in

    def add_container(self, name: str, version: int | None, dossier: dict[str, str]) -> None:
        """A container whose shield's bundle has `version`; from 15 on its floor stands above every allow."""
        self._versions[name] = version
        if version is not None:
            self._floors[name] = version >= 15
        self._dossiers[name] = dossier

    def handle(self, container: str, event: Event, names: tuple[Name, ...], now: Now) -> None:
        """One event of a reader, and the names known for its address at this moment."""
        if container in self._stopped and event.kind == "pending":
            self.counts["untold"] += event.count  # the last words of its reader
            return
        if event.kind == "pending" and addresses.is_undecidable(event.dest):
            event.kind = "multicast"  # not every reader tells it apart
        if event.kind == "pending":
            place = (container, event.dest)
            if names and place in self._at:
                self.learn(container, event.dest, names, now)
            elif names:
                self._names[place] = names
            self._blocked(container, event, now)
            if place not in self._at and (*place, event.proto, event.port) not in self._requests:
                self._names.pop(place, None)  # it is not remembered, so nothing of it is
        elif event.kind == "allowed":
            self._let_out(container, event, now)
        elif event.kind == "denied":
            self._refused(container, event, now)
        else:
            self._unheard(container, event)
            if event.kind == "bypass" and self._shields.get(container, "up") in ("up", "quarantine"):
                self._seen_state(container, "down", now)

    def learn(self, container: str, dest: str, names: tuple[Name, ...], now: Now) -> None:
        """The names of an address have changed."""
        at = self._at.get((container, dest))
        if not at:
            return
        known = {name.name for name in self._names.get((container, dest), ())}
        self._names[container, dest] = names
        if known == {name.name for name in names}:  # looked up again: nothing new
            return
        for request in list(at):
            self._tell("names", id=request.id, names=[name.name for name in names])
            self._try_rules_again(request, now)

    def shield(self, container: str, state: str, now: Now) -> None:
        """The shield was seen to go to `state`: up, down, disengaged or quarantine."""
        if self._shields.get(container, "up") != state:
            self._tell("shield", container=container, state=state)
        self._shields[container] = state
        self._shield_at[container] = now.mono

    def lost(self, container: str, count: int, where: str) -> None:
        """The reader, the kernel or an output lost `count` events."""
        self.counts["lost"] += count
        self._tell("lost", container=container, count=count, where=where)

    def warn(self, message: str, line: str = "") -> None:
        """Something that whoever answers should know; `line` is an answer that was not understood."""
        self._tell("error", message=message, **({"line": line} if line else {}))

    def tick(self, now: Now) -> None:
        """Reports the counts that have waited for their second."""
        due = [request for request in self._unreported.values() if request.again_at <= now.mono]
        for request in due:
            self._report(request, now)

    def set_painted(self, ids: Sequence[str], now: Now) -> None:
        """What the operator is looking at: no rule decides it now; what is let go of may be decided."""
        before, self.painted = self.painted, dict.fromkeys(ids)
        released = [request_id for request_id in before if request_id not in self.painted]
        if self.policy or self.answer_all:
            for request_id in released:
                if request_id in self._open:
                    self.consider(self._open[request_id], now)

    def set_policy(self, policy: Policy, now: Now) -> None:
        """New rules: they decide what waits, too."""
        self.policy = policy
        self._warned_rules.clear()
        for request in self.waiting():
            request.after_rule = -1
            self.consider(request, now)

    # Answers

    def answer(self, action: str, ids: Sequence[str], now: Now, by: str, *, name: str = "") -> bool:
        """Answers open requests: allow or deny their addresses (or allow `name`), skip or mute them.

        False, and nothing has changed, unless every id is open and waits for an answer.
        """
        ids = list(dict.fromkeys(ids))
        found = [self._open.get(request_id) for request_id in ids]
        requests = [request for request in found if request is not None and request.state == OPEN]
        if not requests or len(requests) != len(ids):
            return False
        if action in ("skip", "mute"):
            self._set_aside(action, requests, now)
        elif name:
            self._queue(Job(requests[0].container, action, name, list(ids), by, named=True))
        else:
            for request in requests:
                self._queue(Job(request.container, action, request.dest, [request.id], by))
        return True

    def undo(self, answer: Answer, by: str) -> None:
        """Queues the opposite of an applied verdict; there is no neutral un-allow."""
        answer.undone = True
        action = "deny" if answer.action == "allow" else "allow"
        self._queue(Job(answer.container, action, answer.target, [], by, named=answer.named, undoes=answer))

    def last_verdict(self) -> Answer | None:
        """The verdict that `undo` would be about: the last one applied that was not undone."""
        for answer in reversed(self.history):
            if answer.container in self._stopped or answer.undone:
                continue
            if answer.action in ("allow", "deny") and answer.result == APPLIED:
                return answer
        return None

    def ask_again(self, answer: Answer, now: Now) -> Request | None:
        """Opens an answered request once more, under a new id."""
        for key in answer.keys if answer.container not in self._stopped else ():
            request = self._requests.get(key)
            if request is not None:
                if request.id not in self._open:
                    self._reopen(request, now, NO_RULE)
                return request
        return None

    # Verdicts

    def begin(self, job: Job, now: Now) -> None:
        """The command of `job` is about to start."""
        job.state, job.started, job.wall = "running", now.mono, now.wall

    def overdue(self, job: Job, now: Now) -> None:
        """The command has not ended by its deadline: what it did is unknown, its requests are open again."""
        job.state = "late"
        self._conclude(job, Outcome(UNKNOWN, "timeout", seconds=now.mono - job.started), now)

    def finish(self, job: Job, outcome: Outcome, now: Now) -> None:
        """The command has ended, or could not be started."""
        self._jobs[job.container].remove(job)
        self._conclude(job, outcome, now)
        if not self._jobs[job.container]:
            self._early.pop(job.container, None)
        if job.container in self._stopped:
            self._abandon(job.container, now)
        elif job.by == "policy" and job.named:
            self._next_rule(job, now)

    def stop(self, container: str, now: Now) -> None:
        """The container has ended: nothing more is run for it, its requests are closed unanswered."""
        self._stopped[container] = True
        self._tell("stopped", container=container)
        for job in [job for job in self.jobs(container) if job.state == "queued"]:
            self.finish(job, Outcome("failed", "not-started", "the session ended before it was started"), now)
        self._abandon(container, now)

    def _abandon(self, container: str, now: Now) -> None:
        """Closes what waits for a container that has ended; it counts as open in the summary."""
        for request in [one for one in self.waiting() if one.container == container]:
            self._left += 1
            self._close(request, ANSWERED, "stopped", now)

    def close_all(self) -> None:
        """The end: one `closed` for each request that is still open (they stay counted as such)."""
        for request_id in self._open:
            self._tell("closed", id=request_id, why="stopped")

    def _conclude(self, job: Job, outcome: Outcome, now: Now) -> None:
        ids = [request_id for request_id in job.ids if request_id in self._open]
        covered: list[Request] = []
        if outcome.result in (APPLIED, DRY_RUN):
            covered = self._covered(job, outcome)
        keys = tuple(request.key for request in [*(self._open[i] for i in ids), *covered])
        self._tell(
            "verdict",
            id=job.ids[0] if job.ids else None,
            ids=list(dict.fromkeys([*ids, *(request.id for request in covered)])),
            container=job.container,
            action=job.action,
            target=job.target,
            by=job.by,
            rule=job.rule or None,
            result=outcome.result,
            reason=outcome.reason or None,
            error=outcome.error or None,
            seconds=round(outcome.seconds, 3),
            opened=list(outcome.opened),
            undo=job.undoes is not None,
            late=job.state == "late" and outcome.reason != "timeout",
        )
        if outcome.result == APPLIED:
            self._applied(job, outcome, ids, now)
        elif outcome.result != DRY_RUN:
            self._not_applied(job, outcome, ids, now)
        asked = set(ids)
        for request in covered:
            why = "dry-run" if outcome.result == DRY_RUN else "applied" if request.id in asked else "covered"
            self._close(request, ANSWERED, why, now)
        self._settle(job.container, ids, now)
        if job.undoes is None:
            self._remember(
                Answer(
                    job.container, job.action, job.target, keys, outcome.result, now.wall,
                    named=job.named, opened=outcome.opened,
                )
            )  # fmt: skip
        else:
            job.undoes.undone = outcome.result in (APPLIED, DRY_RUN)

    def _covered(self, job: Job, outcome: Outcome) -> list[Request]:
        if job.named and job.action == "deny":
            return []
        dests: Iterable[str] = outcome.opened if job.named else (job.target,)
        if outcome.result == DRY_RUN and job.named:
            dests = [self._open[i].dest for i in job.ids if i in self._open]
        return [request for dest in dests for request in self._at.get((job.container, dest), ())]

    def _places(self, job: Job, ids: list[str]) -> set[tuple[str, str]]:
        """What `job` was about: its address; for a name the addresses it was asked for, else the name."""
        if job.named and ids:
            return {(job.container, self._open[request_id].dest) for request_id in ids}
        return {(job.container, job.target)}

    def _applied(self, job: Job, outcome: Outcome, ids: list[str], now: Now) -> None:
        self.applied += 1
        self.counts["allowed" if job.action == "allow" else "denied"] += 1
        dests = outcome.opened if job.named else (job.target,)
        if job.named and job.undoes is not None and job.action == "deny":
            dests = job.undoes.opened
        for place in self._places(job, ids).union((job.container, dest) for dest in dests):
            self._bad.pop(place, None)
        for dest in dests:
            effect = self._effects[job.container, dest] = Effect(job, now)
            early = self._early.get(job.container, {}).pop(dest, None)
            if job.action == "allow" and early is not None and early[0] >= job.started:
                self._prove(effect, early[1], job.container, now)
        if job.named:
            for request_id in job.ids:
                request = self._open.get(request_id)
                if request is not None and request.dest not in outcome.opened:
                    request.failure = "elsewhere"

    def _not_applied(self, job: Job, outcome: Outcome, ids: list[str], now: Now) -> None:
        self._bad.update(dict.fromkeys(self._places(job, ids[:1]), outcome.result))  # one verdict is one
        for request_id in ids:
            self._open[request_id].failure = outcome.reason or outcome.result
            self._open[request_id].changed = now.mono

    def _settle(self, container: str, ids: list[str], now: Now) -> None:
        """What a verdict has not closed waits again, unless another one is on its way."""
        others = {one for job in self.jobs(container) if job.state != "late" for one in job.ids}
        for request_id in ids:
            request = self._open.get(request_id)
            if request is not None and request.state == DECIDING and request_id not in others:
                request.state = OPEN
                request.changed = now.mono

    def _remember(self, answer: Answer) -> None:
        self.history.append(answer)
        if len(self.history) > HISTORY and answer.action not in ("allow", "deny"):
            half = HISTORY // 2
            verdicts = [one for one in self.history[:-half] if one.action in ("allow", "deny")]
            self.history[:-half] = verdicts

    def _queue(self, job: Job) -> None:
        jobs = self._jobs.setdefault(job.container, [])
        for other in jobs:
            same = (other.action, other.target) == (job.action, job.target)
            if same and other.state != "late" and job.undoes is None and other.undoes is None:
                other.ids.extend(request_id for request_id in job.ids if request_id not in other.ids)
                break
        else:
            jobs.append(job)
            other = job
        for request_id in job.ids:
            self._open[request_id].state = DECIDING
        if not job.named:
            known = set(other.ids)
            for request in self._at.get((job.container, job.target), ()):
                request.state = DECIDING
                if request.id not in known:
                    other.ids.append(request.id)

    # Rules

    def consider(self, request: Request, now: Now) -> None:
        """Lets the policy, then `--answer`, decide a request that waits and is not being looked at."""
        if request.state != OPEN or request.id in self.painted or not (self.policy or self.answer_all):
            return
        action, by, rule_text, name = self.answer_all, "answer", "", ""
        rule_index = -1
        if self.policy:
            names = [known.name for known in self.names(request)]
            found = self.policy.decide(
                request.dest, request.port, request.proto, request.private, names, request.after_rule
            )
            if found is not None and found.action != "ask":
                action, by, name = found.action, "policy", found.name
                rule_text, rule_index = found.rule.text, found.rule.index
        if not action:
            return
        if by == "answer" and action == "allow" and (request.private or addresses.special(request.dest)):
            self._once(
                "answer " + request.dest,
                f"{request.dest} is not allowed by --answer: only a rule for that very network allows it",
            )
            return
        if action in ("skip", "mute"):
            self._set_aside(action, [request], now)
            return
        job = Job(
            request.container, action, name or request.dest, [request.id], by,
            named=bool(name), rule=rule_text, rule_index=rule_index,
        )  # fmt: skip
        if self._has_room(job):
            self._queue(job)

    def _has_room(self, job: Job) -> bool:
        waiting = [other for other in self.jobs(job.container) if other.by in ("policy", "answer")]
        if any((other.action, other.target) == (job.action, job.target) for other in waiting):
            return True
        full = len(waiting) >= AUTOMATIC_LIMIT
        if full and not self._full.get(job.container):
            self._tell(
                "error",
                message="%d verdicts wait for %s already: more requests stay open"
                % (len(waiting), job.container),
            )
        if full or len(waiting) < AUTOMATIC_LIMIT // 2:  # told once for each flood
            self._full[job.container] = full
        return not full

    def _next_rule(self, job: Job, now: Now) -> None:
        """A name rule did not open the blocked address: the request goes on to the next rule."""
        for request_id in job.ids:
            request = self._open.get(request_id)
            if request is not None and request.state == OPEN:
                request.after_rule = job.rule_index
                self.consider(request, now)

    def _floored_rule(self, request: Request) -> None:
        if not self.policy:
            return
        names = [known.name for known in self.names(request)]
        found = self.policy.decide(request.dest, request.port, request.proto, True, names)
        if found is not None and found.action == "allow":
            text = found.rule.text
            self._once(
                text,
                f"the rule `{text}` has no effect on {request.dest}: the shield keeps private ranges shut",
            )

    def _once(self, key: str, message: str) -> None:
        if key not in self._warned_rules and len(self._warned_rules) < WARNINGS:
            self._warned_rules[key] = None
            self._tell("error", message=message)

    # Events

    def _blocked(self, container: str, event: Event, now: Now) -> None:
        if not event.private and self._shields.get(container) in ("down", "disengaged"):
            self._seen_state(container, "up", now)
        request = self._requests.get((container, event.dest, event.proto, event.port))
        effect = self._effects.get((container, event.dest))
        if effect is not None and not self._outlived(container, event, effect, now):
            if request is not None and request.id not in self._open:
                self._count(request, event, now)
                return
            if request is None:
                self.counts["untold"] += event.count
                return
        by_name_rule = effect is not None and effect.named and effect.rule_index >= 0
        after_rule = effect.rule_index if effect is not None and by_name_rule else -1
        if request is None:
            self._new(container, event, now, after_rule)
            return
        self._count(request, event, now)
        if request.id in self._open:
            if self.report_again:
                self._unreported.setdefault(request.id, request)
                if request.again_at <= now.mono:
                    self._report(request, now)
            if request.state == OPEN:
                self._try_rules_again(request, now)
        elif request.state in (SKIPPED, ANSWERED) and (
            now.mono - request.changed >= ASK_AGAIN or (request.state == ANSWERED and by_name_rule)
        ):
            self._reopen(request, now, after_rule)

    def _try_rules_again(self, request: Request, now: Now) -> None:
        if request.failure and now.mono - request.changed < ASK_AGAIN:
            return
        self.consider(request, now)

    def _outlived(self, container: str, event: Event, effect: Effect, now: Now) -> bool:
        """A packet was blocked after a verdict.  True when it should be asked about all the same."""
        age = now.mono - effect.since
        if age < GRACE:
            return False
        effect.blocked += event.count
        by_name_rule = effect.named and effect.rule_index >= 0
        if effect.action == "allow" and (not effect.told_at or now.mono - effect.told_at >= STILL_EVERY):
            effect.told_at = now.mono
            reason = None
            if event.private:
                reason = "floor"
            elif age >= LIVE_EXPIRY:
                reason = "expired"
            self._tell(
                "still_blocked", container=container, dest=event.dest, count=effect.blocked, reason=reason
            )
        if age >= ASK_AGAIN or by_name_rule:
            del self._effects[container, event.dest]
            return True
        return False

    def _let_out(self, container: str, event: Event, now: Now) -> None:
        effect = self._effects.get((container, event.dest))
        if any(job.state != "queued" for job in self.jobs(container)):
            early = self._early.setdefault(container, {})
            if len(early) < EARLY_LIMIT or event.dest in early:
                early[event.dest] = (now.mono, event)  # it may open before its command has ended
        if effect is None:
            self._moot(container, event, now)
        elif effect.action == "allow":
            self._prove(effect, event, container, now)
        elif effect.action == "deny" and not effect.contradicted and now.mono - effect.since > GRACE:
            effect.contradicted = True
            self._tell(
                "error",
                message=f"{container}: {event.dest} is let out in spite of the deny: an allow set holds it",
            )

    def _prove(self, effect: Effect, event: Event, container: str, now: Now) -> None:
        if not effect.passed:
            effect.passed = True
            self._tell(
                "passed",
                container=container,
                dest=event.dest,
                port=event.port,
                proto=event.proto,
                seconds=round(max(0.0, now.mono - effect.since), 3),
            )

    def _moot(self, container: str, event: Event, now: Now) -> None:
        """Let out without a verdict of ours on that address: what waits for one has its answer."""
        for request in self.requests_at(container, event.dest):
            if (
                request.state == OPEN
                and request.id not in self.painted
                and now.mono - request.touched >= GRACE
            ):
                self._bad.pop((container, request.dest), None)
                self._close(request, ANSWERED, "covered", now)

    def _refused(self, container: str, event: Event, now: Now) -> None:
        effect = self._effects.get((container, event.dest))
        self._unheard(container, event)
        if effect is not None and effect.action == "allow" and now.mono - effect.since >= GRACE:
            effect.blocked += event.count
            if not effect.told_at or now.mono - effect.told_at >= STILL_EVERY:
                effect.told_at = now.mono
                self._tell(
                    "still_blocked",
                    container=container,
                    dest=event.dest,
                    count=effect.blocked,
                    reason="denied",
                )

    def _seen_state(self, container: str, state: str, now: Now) -> None:
        """Packets tell, too; but those gathered before the last change may come after it."""
        if now.mono - self._shield_at.get(container, -GRACE) >= GRACE:
            self.shield(container, state, now)

    def _unheard(self, container: str, event: Event) -> None:
        """Counted and visible, but not asked: denied, multicast; a shield that is down."""
        if event.kind != "bypass":
            self.counts["untold"] += event.count
        key = (container, event.kind)
        self.unheard[key] = self.unheard.get(key, 0) + event.count

    def _new(self, container: str, event: Event, now: Now, after_rule: int) -> None:
        if len(self._requests) >= REMEMBERED and not self._forget():
            self._table_lost += event.count
            self.counts["lost"] += event.count
            return
        request = Request(self._next, container, event, now)
        self._next += 1
        self._requests[request.key] = request
        request.count = event.count
        request.floor = bool(self._floors.get(container)) and event.private
        request.after_rule = after_rule
        self._enter(request, now)

    def _reopen(self, request: Request, now: Now, after_rule: int) -> None:
        request.id = "r%d" % self._next
        self._next += 1
        self._closed.pop(request.key, None)
        request.failure, request.after_rule = "", after_rule
        self._enter(request, now)

    def _enter(self, request: Request, now: Now) -> None:
        """A request is opened: told, and closed at once where the floor refuses it anyway."""
        request.told, request.again_at, request.changed = request.count, now.mono + AGAIN_EVERY, now.mono
        names = self.names(request)
        self._tell(
            "pending",
            **request.facts(),
            names=[name.name for name in names],
            dossier=self.dossier(request.container),
        )
        request.state = OPEN
        self._open[request.id] = request
        at = self._at.setdefault((request.container, request.dest), [])
        at.append(request)
        if request.floor:
            self._close(request, FLOOR, "floor", now)
            self._floored_rule(request)
            return
        for job in self.jobs(request.container):
            if job.target == request.dest and job.state != "late":
                job.ids.append(request.id)
                request.state = DECIDING
                return
        self.consider(request, now)

    def _count(self, request: Request, event: Event, now: Now) -> None:
        request.count += event.count
        request.last, request.touched = now.wall, now.mono
        if request.uid is None:
            request.uid = event.uid

    def _report(self, request: Request, now: Now) -> None:
        self._unreported.pop(request.id, None)
        if request.count > request.told:
            request.told, request.again_at = request.count, now.mono + AGAIN_EVERY
            self._tell("again", id=request.id, count=request.count)

    def _set_aside(self, action: str, requests: list[Request], now: Now) -> None:
        for request in requests:
            self.counts["skipped" if action == "skip" else "muted"] += 1
            self._close(request, SKIPPED if action == "skip" else MUTED, ENDING[action], now)
        first = requests[0]
        self._remember(
            Answer(
                first.container, action, first.dest, tuple(request.key for request in requests), "", now.wall
            )
        )

    def _close(self, request: Request, state: str, why: str, now: Now) -> None:
        if self._open.pop(request.id, None) is None:
            return
        at = self._at[request.container, request.dest]
        at.remove(request)
        if not at:
            del self._at[request.container, request.dest]
        self._unreported.pop(request.id, None)
        request.state, request.changed = state, now.mono
        if state != MUTED:
            self._closed[request.key] = None
        self._tell("closed", id=request.id, why=why)

    def _forget(self) -> bool:
        """Makes room by forgetting the request that was closed first; False when all are open or muted."""
        key = next(iter(self._closed), None)
        if key is None:
            return False
        del self._closed[key]
        request = self._requests.pop(key)
        if (request.container, request.dest) not in self._at:
            self._names.pop((request.container, request.dest), None)
        return True

    def _tell(self, kind: str, **fields: Any) -> None:
        self._records.append({"type": kind, **fields})
