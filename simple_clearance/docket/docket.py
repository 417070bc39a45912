"""The docket: what is open, what was answered, which verdict runs next.  Pure.

An event or an answer goes in; what should be told comes out as records, in the vocabulary of
the JSON interface, and what should be run as jobs.  The terminal, the JSON stream and the log
all live on the same records.  Nothing here waits, reads a clock or runs anything.

It moves requests between their states; where they are kept is in `register`, what verdicts
came to in `proof`, what is decided without asking in `rules`, the shields' states in `shields`.
"""

from __future__ import annotations

from ..base import addresses
from .budget import TOLD, Budget, Kept
from .proof import ASK_AGAIN, Proof
from .register import Register
from .requests import ANSWERED, DECIDING, FLOOR, MUTED, OPEN, SKIPPED, Answer, Job, Request
from .rules import Rules
from .shields import Shields
from .verdict import APPLIED, DRY_RUN, UNKNOWN, Outcome

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Callable, Dict, Iterable, Sequence

    from ..base.happenings import Event, Name
    from ..base.moment import Now
    from .policy import Policy, Rule

    Record = Dict[str, Any]

AGAIN_EVERY = 1.0

NAMES_PER_SECOND = 100
"""`names` records: an address may have thousands of requests, and whoever is inside looks up at will."""

KEYS = 64
"""Requests that an answer remembers, to ask one of them again; an address may have thousands."""

NAMES_TOLD = 8
"""Names of an address in a record, those looked up last; of the others, how many there are."""

OPPOSITE = {"allow": "deny", "deny": "allow"}

# what an answer without a verdict makes of a request, what it is counted as and closed with
SET_ASIDE = {"skip": (SKIPPED, "skipped"), "mute": (MUTED, "muted")}


class Heard:
    """What was last heard of the names of an address.

    `shown` is the one that its requests are shown under, `all` stands for the set of them: another
    number, other names.
    """

    __slots__ = ("all", "shown")

    def __init__(self, names: Sequence[Name]) -> None:
        self.shown = shown(names)
        self.all = hash(frozenset(name.name for name in names))


def shown(names: Sequence[Name]) -> Name | None:
    """The first that may be a target, else the first."""
    targets = (name for name in names if addresses.is_target_name(name.name))
    return next(targets, names[0] if names else None)


def names_told(names: Sequence[Name]) -> Record:
    """The fields of a record that tell names."""
    fields: Record = {"names": [name.name for name in names[:NAMES_TOLD]]}
    if len(names) > NAMES_TOLD:
        fields["more_names"] = len(names) - NAMES_TOLD
    return fields


class Docket:
    """The state of one session, of all its containers."""

    def __init__(
        self,
        *,
        report_again: bool = False,
        answer: str = "",
        names: Callable[[str, str], Sequence[Name]] = lambda container, dest: (),
        budget: Budget | None = None,
    ) -> None:
        """`names(container, dest)` are those known for an address now, the one looked up last first."""
        self.painted: dict[str, None] = {}
        self.history: list[Answer] = []
        self.counts = dict.fromkeys(("allowed", "denied", "skipped", "muted", "lost", "untold"), 0)
        self.applied = 0
        self.dry = 0  # verdicts of a dry run
        self._budget = budget = budget or Budget()
        self._last_word = Kept("targets", budget, self._tell)  # the action applied last to each target
        self.report_again = report_again
        self.rules = Rules(answer, self._tell, budget)
        self.shields = Shields(self._tell)
        self._proof = Proof(self._tell, budget)
        self._register = Register(budget)
        self._lookup = names
        self._heard: dict[tuple[str, str], Heard] = {}  # of the addresses that something waits for
        self._dossiers: dict[str, dict[str, str]] = {}
        self._jobs: dict[str, list[Job]] = {}
        self._aimed: dict[tuple[str, str], list[Job]] = {}  # the same, by what each is about
        self._named: dict[str, list[Job]] = {}  # those by name, which may be about any address
        self._bad = Kept("failures", budget, self._tell)  # what verdicts that were not made good came to
        self._bad_before = {"failed": 0, "unknown": 0}  # of those that are not kept any more
        self._overfull: dict[str, bool] = {}
        self._answers: dict[str, int] = {}  # how many of the history are of each container
        self._unreported: dict[str, Request] = {}
        self._nameless: dict[str, None] = {}  # the ids of requests whose new names have to be told
        self._names_left, self._names_at = float(NAMES_PER_SECOND), 0.0
        self._stopped: dict[str, bool] = {}
        self._left = 0  # closed unanswered, since their container has ended
        self._records: list[Record] = []
        self._table_lost = 0

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
        return [jobs[0] for jobs in self._jobs.values() if jobs and jobs[0].state == "queued"]

    def jobs(self, container: str = "") -> list[Job]:
        """The verdicts that wait or run, of one container or of all."""
        return [job for name, jobs in self._jobs.items() if container in ("", name) for job in jobs]

    def waiting(self) -> list[Request]:
        """The requests that wait for an answer, in order."""
        return self._register.waiting()

    def first_waiting(self) -> Request | None:
        return self._register.first_waiting()

    def request(self, request_id: str) -> Request | None:
        """An open request by its id."""
        return self._register.open.get(request_id)

    def requests_at(self, container: str, dest: str) -> list[Request]:
        """All open requests of one address."""
        return self._register.at(container, dest)

    def all_requests(self) -> Iterable[Request]:
        """Every request that is remembered."""
        return self._register.all()

    def names(self, request: Request) -> Sequence[Name]:
        """The names seen on the request's address, the one looked up last first."""
        return self._lookup(request.container, request.dest)

    def shown_name(self, request: Request) -> Name | None:
        """The name that it is shown under: the one looked up last that may be a target, else the last."""
        heard = self._heard.get((request.container, request.dest))
        return heard.shown if heard is not None else shown(self.names(request))

    def facts(self, request: Request) -> Record:
        """The fields of a request's `pending` record."""
        return {
            **request.facts(),
            **names_told(self.names(request)),
            "dossier": self.dossier(request.container),
        }

    def dossier(self, container: str) -> dict[str, str]:
        return self._dossiers.get(container, {})

    @property
    def several(self) -> bool:
        """Whether it is about more than one container."""
        return len(self._dossiers) > 1

    def deadline(self) -> float | None:
        """When a held-back `again` or `names` record falls due (monotonic), or None."""
        first = next(iter(self._unreported.values()), None)
        times = [first.told_at + AGAIN_EVERY] if first else []
        if self._nameless:
            times.append(self._names_at + (1 - self._names_left) / NAMES_PER_SECOND)
        return min(times, default=None)

    def open_count(self) -> int:
        return len(self._register.open)

    def summary(self) -> Record:
        """The fields of the `summary` record, but for `exit`."""
        bad = [result for _, _, result in self._bad.items()]
        return {
            **self.counts,
            **{result: number + bad.count(result) for result, number in self._bad_before.items()},
            "open": self.open_count() + self._left,
        }

    # What goes in

    def add_container(self, name: str, version: int | None, dossier: dict[str, str]) -> None:
        """A container, the bundle version of its shield, and the labels it was launched with."""
        self.shields.versions[name] = version
        self._dossiers[name] = dossier
        self._budget.containers = len(self._dossiers)

    def handle(self, container: str, event: Event, now: Now) -> None:
        """One event of a reader; the names of its address are those known at this moment."""
        if event.kind == "pending" and container in self._stopped:
            self.counts["untold"] += event.count  # the last words of its reader
        elif event.kind == "pending" and not addresses.is_undecidable(event.dest):
            self._blocked(container, event, now)
        elif event.kind == "allowed":
            running = any(job.state != "queued" for job in self._jobs.get(container, ())[:1])
            if not self._proof.let_out(container, event, running, now):
                self._moot(container, event, now)
        else:
            self._not_asked(container, event, now)

    def learn(self, container: str, dest: str, now: Now) -> None:
        """The names of an address have changed, or which of them was looked up last."""
        if not self._register.any_at(container, dest):
            return
        before, heard = self._heard.get((container, dest)), self._listen(container, dest)
        if before is not None and before.all == heard.all:  # looked up again: nothing new
            return
        for request in self._register.at(container, dest):
            request.undecided_by = None
            self._nameless[request.id] = None
        self._tell_names(now)

    def _listen(self, container: str, dest: str) -> Heard:
        heard = self._heard[container, dest] = Heard(self._lookup(container, dest))
        return heard

    def lost(self, container: str, count: int, where: str) -> None:
        """The reader, the kernel or an output lost `count` events."""
        self.counts["lost"] += count
        self._tell("lost", container=container, count=count, where=where)

    def warn(self, message: str, line: str = "", hint: str = "") -> None:
        """Something that whoever answers should know; `line` is an answer that was not understood.

        `hint` is the command that mends it.
        """
        more = {"line": line, "hint": hint}
        self._tell("error", message=message, **{key: value for key, value in more.items() if value})

    def tick(self, now: Now) -> None:
        """Reports the counts that have waited for their second, and names."""
        if self._nameless:
            self._tell_names(now)
        waited = self._unreported.values()
        due = [request for request in waited if request.told_at + AGAIN_EVERY <= now.mono]
        for request in due:
            self._report(request, now)

    def set_painted(self, ids: Sequence[str], now: Now) -> None:
        """What the operator is looking at: no rule decides it now; what is let go of may be decided."""
        before, self.painted = self.painted, dict.fromkeys(ids)
        if not self.rules.active:
            return
        for request_id in before:
            request = self.request(request_id)
            if request is not None and request_id not in self.painted:
                self.consider(request, now)

    def set_policy(self, policy: Policy, now: Now) -> None:
        """New rules: they decide what waits, too."""
        self.rules.replace(policy)
        for request in self.waiting():
            request.tried, request.by_hand = None, False
            self.consider(request, now)

    # Answers

    def answer(self, action: str, ids: Sequence[str], now: Now, by: str, *, name: str = "") -> bool:
        """Answers open requests: allow or deny their addresses (or allow `name`), skip or mute them.

        False, and nothing has changed, unless every id is open and waits for an answer.
        """
        ids = list(dict.fromkeys(ids))
        found = [self.request(request_id) for request_id in ids]
        requests = [request for request in found if request is not None and request.state == OPEN]
        if not requests or len(requests) != len(ids):
            return False
        if action in SET_ASIDE:
            self._set_aside(action, requests, now)
        elif name:
            self._queue(Job(requests[0].container, action, name, list(ids), by, named=True))
        else:
            for request in requests:
                self._queue(Job(request.container, action, request.dest, [request.id], by))
        return True

    def undo(self, answer: Answer, by: str) -> bool:
        """Queues the opposite of an applied verdict, as there is no neutral un-allow.

        False, and nothing has changed, when its container has ended.
        """
        if answer.container in self._stopped:
            return False
        answer.undone = True
        action = OPPOSITE[answer.action]
        self._queue(Job(answer.container, action, answer.target, [], by, named=answer.named, undoes=answer))
        return True

    def last_words(self) -> list[tuple[str, str, str]]:
        """(container, target, action): what was applied last to each target, in the order of that."""
        return self._last_word.items()

    def last_verdict(self) -> Answer | None:
        """The verdict that `undo` would be about: the last one applied that was not undone since."""
        for answer in reversed(self.history):
            if answer.container in self._stopped or answer.undone or answer.result != APPLIED:
                continue
            if self._last_word.get(answer.container, answer.target) != OPPOSITE[answer.action]:
                return answer
        return None

    def ask_again(self, answer: Answer, now: Now) -> Request | None:
        """Opens an answered request once more, under a new id."""
        for key in answer.keys if answer.container not in self._stopped else ():
            request = self._register.get(key)
            if request is not None:
                if request.id not in self._register.open:
                    request.tried, request.by_hand = None, True
                    self._reopen(request, now)
                return request
        return None

    def consider(self, request: Request, now: Now) -> None:
        """Lets the rules decide a request that waits and is not being looked at."""
        if request.state != OPEN or request.id in self.painted or not self.rules.active:
            return
        if request.undecided_by is not None and request.undecided_by is self.rules.policy:
            return  # the same rules, and no name is new
        decided = self.rules.decide(request, [name.name for name in self.names(request)])
        if decided == "skip":
            self._set_aside("skip", [request], now)
        elif isinstance(decided, Job) and self.rules.has_room(decided, self.jobs(request.container)):
            self._queue(decided)
        elif not decided:
            request.undecided_by = self.rules.policy

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
        aimed = self._aimed[job.container, job.target]
        aimed.remove(job)
        if not aimed:
            del self._aimed[job.container, job.target]
        if job.named:
            self._named[job.container].remove(job)
        if job.action == "allow":
            self.shields.why(job.container, outcome)
        self._conclude(job, outcome, now)
        if not self._jobs[job.container]:
            self._proof.idle(job.container)
        if job.rule is not None and job.named and outcome.result == APPLIED:
            self._next_rule(job, job.rule, now)

    def stop(self, container: str, now: Now) -> None:
        """The container has ended: nothing more is run for it, its requests are closed unanswered."""
        self._stopped[container] = True
        self._tell("stopped", container=container)
        for job in [job for job in self.jobs(container) if job.state == "queued"]:
            self.finish(job, Outcome("failed", "not-started", "the session ended before it was started"), now)
        self._abandon([one for one in self.waiting() if one.container == container], now)

    def close_all(self) -> None:
        """The end: one `closed` for each request that is still open (they stay counted as such)."""
        for request_id in self._register.open:
            self._tell("closed", id=request_id, why="stopped")

    def _abandon(self, requests: Iterable[Request], now: Now) -> None:
        """Closes what waits for a container that has ended; it counts as open in the summary."""
        for request in requests:
            if request.state == OPEN:
                self._left += 1
                self._close(request, ANSWERED, "stopped", now)

    def _queue(self, job: Job) -> None:
        """A verdict is on its way; one that waits or runs and does the same serves for both."""
        jobs = self._jobs.setdefault(job.container, [])
        aimed = self._aimed.setdefault((job.container, job.target), [])
        for other in aimed:
            if other.is_same(job) and other.state != "late" and job.undoes is None and other.undoes is None:
                other.ids.extend(request_id for request_id in job.ids if request_id not in other.ids)
                break
        else:
            jobs.append(job)
            aimed.append(job)
            if job.named:
                self._named.setdefault(job.container, []).append(job)
            other = job
        for request_id in job.ids:
            self._register.open[request_id].state = DECIDING
        if not job.named:
            known = set(other.ids)
            for request in self._register.at(job.container, job.target):
                request.state = DECIDING
                if request.id not in known:
                    other.ids.append(request.id)

    def _conclude(self, job: Job, outcome: Outcome, now: Now) -> None:
        """What became of a verdict: told, its requests closed or open again, its effect under watch."""
        asked = [request for request in map(self.request, job.ids) if request is not None]
        covered = self._covered(job, outcome, asked)
        affected, ids = list(dict.fromkeys([*asked, *covered])), set(job.ids)
        answered = {request.id for request in covered}
        if outcome.result not in (APPLIED, DRY_RUN):
            answered = ids
        told = [request.id for request in affected if request.id in answered]
        self._tell_verdict(job, outcome, told, [one.id for one in asked if one.id not in answered])
        if outcome.result == APPLIED:
            self._applied(job, outcome, asked, now)
        elif outcome.result == DRY_RUN:
            self.dry += 1
        else:
            self._not_applied(job, outcome, asked, now)
        for request in covered:
            why = "applied" if request.id in ids else "covered"
            self._close(request, ANSWERED, "dry-run" if outcome.result == DRY_RUN else why, now)
        self._settle(job.container, asked, now)
        if job.undoes is not None:
            job.undoes.undone = outcome.result in (APPLIED, DRY_RUN)
            return
        keys = tuple(request.key for request in affected[:KEYS])
        self._remember(
            Answer(
                job.container, job.action, job.target, keys, outcome.result, now.wall,
                named=job.named, opened=outcome.opened,
            )
        )  # fmt: skip

    def _tell_verdict(self, job: Job, outcome: Outcome, ids: list[str], elsewhere: list[str]) -> None:
        """`ids` are those it covered; `elsewhere` those asked for that a name did not lead to."""
        self._tell(
            "verdict",
            id=job.ids[0] if job.ids else None,
            ids=ids,
            elsewhere=elsewhere,
            container=job.container,
            action=job.action,
            target=job.target,
            by=job.by,
            rule=job.rule.text if job.rule else None,
            result=outcome.result,
            reason=outcome.reason or None,
            error=outcome.error or None,
            seconds=round(outcome.seconds, 3),
            opened=list(outcome.opened),
            undo=job.undoes is not None,
            late=job.state == "late" and outcome.reason != "timeout",
        )

    def _covered(self, job: Job, outcome: Outcome, asked: list[Request]) -> list[Request]:
        """The open requests that a verdict has answered, by its addresses."""
        if outcome.result not in (APPLIED, DRY_RUN) or (job.named and job.action == "deny"):
            return []
        dests: Iterable[str] = outcome.opened if job.named else (job.target,)
        if outcome.result == DRY_RUN and job.named:
            dests = dict.fromkeys(request.dest for request in asked)
        return [request for dest in dests for request in self._register.at(job.container, dest)]

    def _applied(self, job: Job, outcome: Outcome, asked: list[Request], now: Now) -> None:
        self.applied += 1
        self.counts["allowed" if job.action == "allow" else "denied"] += 1
        self._last_word.put(job.container, job.target, job.action)
        dests = outcome.opened if job.named else (job.target,)
        if job.named and job.action == "deny" and job.undoes is not None:
            dests = job.undoes.opened
        for place in self._places(job, asked).union((job.container, dest) for dest in dests):
            self._bad.pop(*place)
        self._proof.applied(job, dests, now)
        for request in asked if job.named else ():
            if request.dest not in outcome.opened:
                request.failure = "elsewhere"

    def _not_applied(self, job: Job, outcome: Outcome, asked: list[Request], now: Now) -> None:
        if self._last_word.get(job.container, job.target) == OPPOSITE[job.action]:
            self._last_word.pop(job.container, job.target)  # it was wanted otherwise, and may be so
        for place in self._places(job, asked[:1]):  # one verdict is one
            forgotten = self._bad.put(*place, outcome.result)
            if forgotten:
                self._bad_before[forgotten] += 1
        for request in asked:
            request.failure = outcome.reason or outcome.result
            request.changed = now.mono

    def _places(self, job: Job, asked: list[Request]) -> set[tuple[str, str]]:
        """What `job` was about: its address; for a name the addresses it was asked for, else the name."""
        if job.named and asked:
            return {(job.container, request.dest) for request in asked}
        return {(job.container, job.target)}

    def _settle(self, container: str, asked: list[Request], now: Now) -> None:
        """What a verdict has not closed waits again, unless another one is on its way."""
        named = [job for job in self._named.get(container, ()) if job.state != "late"]
        for request in asked:
            others = [*named, *self._aimed.get((container, request.dest), ())]
            if request.state == DECIDING and not any(
                request.id in job.ids for job in others if job.state != "late"
            ):
                request.state = OPEN
                request.changed = now.mono
        if container in self._stopped:
            self._abandon(asked, now)

    def _next_rule(self, job: Job, rule: Rule, now: Now) -> None:
        """A name rule did not open the blocked address: the request goes on to the next rule."""
        for request_id in job.ids:
            request = self.request(request_id)
            if request is not None and request.state == OPEN:
                request.tried, request.undecided_by = rule, None
                self.consider(request, now)

    def _remember(self, answer: Answer) -> None:
        container, limit = answer.container, self._budget.limit("answers")
        self.history.append(answer)
        self._answers[container] = self._answers.get(container, 0) + 1
        if self._answers[container] <= limit:
            return
        if container not in self._overfull:
            self._overfull[container] = True
            self.warn(container + ": " + TOLD["answers"] % limit)
        drop = self._answers[container] - limit // 2  # half of them at once, since each time takes a while
        self._answers[container] = limit // 2
        kept = []
        for one in self.history:
            if one.container == container and drop:
                drop -= 1
            else:
                kept.append(one)
        self.history = kept

    # Events

    def _blocked(self, container: str, event: Event, now: Now) -> None:
        """A packet was blocked: a new request, a try of a known one, or the aftermath of a verdict."""
        self.shields.blocked(container, event, now)
        request = self._register.get((container, event.dest, event.proto, event.port))
        before = self._proof.effect(container, event.dest)
        if self._proof.blocked(container, event, now) is not None:
            if request is None:
                self.counts["untold"] += event.count
                return
            if request.id not in self._register.open:
                self._count(request, event, now)
                return
        tried = before.rule if before is not None and before.by_name_rule else None
        if request is None:
            self._new(container, event, now, tried)
            return
        self._count(request, event, now)
        if request.id in self._register.open:
            self._tried_again(request, now)
        elif request.state in (SKIPPED, ANSWERED) and (
            now.mono - request.changed >= ASK_AGAIN or (request.state == ANSWERED and tried is not None)
        ):
            request.tried, request.by_hand = tried, False
            self._reopen(request, now)

    def _new(self, container: str, event: Event, now: Now, tried: Rule | None) -> None:
        request = Request(container, event, now)
        request.count = event.count
        request.floor = event.private and bool(self.shields.floor(container))
        request.tried = tried
        if self._register.add(request):
            self._enter(request, now)
        else:
            self._table_lost += event.count
            self.counts["lost"] += event.count

    def _reopen(self, request: Request, now: Now) -> None:
        request.failure = ""
        self._enter(request, now)

    def _enter(self, request: Request, now: Now) -> None:
        """A request is opened: told, and closed at once where the floor refuses it anyway."""
        self._register.enter(request, now)
        request.told, request.told_at = request.count, now.mono
        request.undecided_by = None
        if (request.container, request.dest) not in self._heard:
            self._listen(request.container, request.dest)
        self._tell("pending", **self.facts(request))
        if request.floor:
            names = [name.name for name in self.names(request)]
            self._close(request, FLOOR, "floor", now)
            self.rules.floored(request, names)
            return
        for job in self._aimed.get((request.container, request.dest), ()):
            if job.state != "late":
                job.ids.append(request.id)
                request.state = DECIDING
                return
        self.consider(request, now)

    def _count(self, request: Request, event: Event, now: Now) -> None:
        request.count += event.count
        request.last, request.touched = now.wall, now.mono
        if request.uid is None:
            request.uid = event.uid

    def _tried_again(self, request: Request, now: Now) -> None:
        if self.report_again:
            self._unreported.setdefault(request.id, request)
            if request.told_at + AGAIN_EVERY <= now.mono:
                self._report(request, now)
        self._try_rules_again(request, now)

    def _try_rules_again(self, request: Request, now: Now) -> None:
        """A rule whose verdict has failed gets another chance after a minute."""
        if not request.failure or now.mono - request.changed >= ASK_AGAIN:
            self.consider(request, now)

    def _tell_names(self, now: Now) -> None:
        """Tells what was learnt, as much of it as this moment may; the rest follows."""
        gained = (now.mono - self._names_at) * NAMES_PER_SECOND
        self._names_left, self._names_at = min(NAMES_PER_SECOND, self._names_left + gained), now.mono
        while self._nameless and self._names_left >= 1:
            request_id = next(iter(self._nameless))
            del self._nameless[request_id]
            request = self.request(request_id)
            if request is not None:
                self._names_left -= 1
                self._tell("names", id=request.id, **names_told(self.names(request)))
                self._try_rules_again(request, now)

    def _report(self, request: Request, now: Now) -> None:
        self._unreported.pop(request.id, None)
        if request.count > request.told:
            request.told, request.told_at = request.count, now.mono
            self._tell("again", id=request.id, count=request.count)

    def _moot(self, container: str, event: Event, now: Now) -> None:
        """Let out without a verdict of ours on that address: what waits for one has its answer."""
        for request in self.requests_at(container, event.dest):
            waits = request.state == OPEN and request.id not in self.painted
            if waits and now.mono - request.touched >= event.late:
                self._bad.pop(container, request.dest)
                self._close(request, ANSWERED, "covered", now)

    def _not_asked(self, container: str, event: Event, now: Now) -> None:
        """Denied before, multicast and the like, or let by while the shield is down: counted."""
        if event.kind == "pending":
            event.kind = "multicast"  # not every reader tells it apart
        if event.kind != "bypass":
            self.counts["untold"] += event.count
        self.shields.count(container, event, now)
        if event.kind == "denied":
            self._proof.denied(container, event, now)

    def _set_aside(self, action: str, requests: list[Request], now: Now) -> None:
        state, why = SET_ASIDE[action]
        for request in requests:
            self.counts[why] += 1
            self._close(request, state, why, now)
        first = requests[0]
        keys = tuple(request.key for request in requests[:KEYS])
        self._remember(Answer(first.container, action, first.dest, keys, "", now.wall))

    def _close(self, request: Request, state: str, why: str, now: Now) -> None:
        if self._register.close(request, state, now):
            self._unreported.pop(request.id, None)
            self._nameless.pop(request.id, None)
            if not self._register.any_at(request.container, request.dest):
                self._heard.pop((request.container, request.dest), None)
            self._tell("closed", id=request.id, why=why)

    def _tell(self, kind: str, **fields: Any) -> None:
        self._records.append({"type": kind, **fields})
