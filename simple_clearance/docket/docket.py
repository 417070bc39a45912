"""The docket: what is open, what was answered, which verdict runs next.  Pure.

An event or an answer goes in; what should be told comes out as records, in the vocabulary of
the JSON interface, and what should be run as jobs.  The terminal, the JSON stream and the log
all live on the same records.  Nothing here waits, reads a clock or runs anything.

Here it is decided what becomes of the requests; what a verdict goes through is in `verdicts`.  The page of
theory is the folder's `__init__`.
"""

from __future__ import annotations

from ..base import addresses
from ..base.happenings import GAPS
from .aside import Aside
from .budget import Budget
from .history import OPPOSITE
from .jobs import AUTOMATIC, Job
from .later import Later
from .losses import Losses
from .names import Names, names_told
from .ports import REST
from .proof import ASK_AGAIN
from .register import Register
from .requests import Answer, Request
from .rules import Rules
from .shields import Shields
from .states import ANSWERED, DECIDING, MUTED, OPEN, REQUEST, SKIPPED, STILL_OPEN
from .verdict import APPLIED, Outcome
from .verdicts import Verdicts

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Callable, Collection, Dict, Iterable, Sequence

    from ..base.errors import Refused
    from ..base.happenings import Event, Name, Recorded, Watching
    from ..base.moment import Now
    from .ruleset import Policy, Rule

    Record = Dict[str, Any]


class Docket:
    """The state of one session, of all its containers."""

    def __init__(
        self,
        *,
        report_again: bool = False,
        answer: str = "",
        names: Callable[[str, str], Sequence[Name]] = lambda container, dest: (),
        behind: Callable[[str], bool] = lambda container: False,
        recorded: Callable[[str, str], Recorded | None] = lambda container, dest: None,
        budget: Budget | None = None,
    ) -> None:
        """`names(container, dest)` are those known for an address now, the one looked up last first.

        `behind(container)` tells whether there may be more that have not been read yet,
        `recorded(container, dest)` which verdict the shield has recorded last, whoever asked for it.
        """
        self.report_again = report_again
        self.painted: dict[str, None] = {}  # the ids of the requests that the operator is looking at
        self.counts = dict.fromkeys(("floor", "let_out", "lost", "gaps", "untold"), 0)
        self.moved: Callable[[Request], None] = lambda request: None
        """Is told of each request that begins or ceases to wait."""
        self.renamed: Callable[[str, str], None] = lambda container, dest: None
        """Is told of each address whose requests are shown under another name."""
        self.was_closed: Callable[[Request, Rule | None], None] = lambda request, rule: None
        """Is told of each request that is closed, and of the rule that has done it, if one has."""
        self.forgotten: Callable[[str], None] = lambda container: None
        """Is told of each container that is forgotten."""
        self.behind = behind
        self.recorded = recorded
        self.pods: set[str] = set()  # containers that share their network with others
        self._dossiers: dict[str, dict[str, str]] = {}  # of each container that is remembered
        self._stopped: set[str] = set()  # those that have ended
        self._told_behind: set[str] = set()  # those of which it was told that there are names to be read
        self._left = 0  # requests closed unanswered
        self._records: list[Record] = []

        self._budget = budget = budget or Budget()
        self.rules = Rules(answer, self._tell, budget)
        self.shields = Shields(self._tell, self._shield_changed)
        self._register = Register(budget)
        self._names = Names(names)
        self._later = Later(self._tell, self._names, self._register)
        self._losses = Losses(self._tell)
        self._verdicts = Verdicts(self._register, self.shields, budget, self._tell, self._move, self._release)
        self.batches, self.tally = self._verdicts.batches, self._verdicts.tally
        self._jobs, self._proof = self._verdicts.jobs, self._verdicts.proof
        self._answers = self._verdicts.answers
        self._aside = Aside(
            self._register, self._names, self._answers, budget, self._tell,
            self._move, self.label, self._is_free,
        )  # fmt: skip

    # What comes out

    def take(self) -> list[Record]:
        """The records since the last call, oldest first."""
        self._losses.tell_due()
        records, self._records = self._records, []
        return records

    def runnable(self) -> list[Job]:
        """The next job of each container for which none runs; at most one each."""
        return self._jobs.runnable()

    def jobs(self, container: str = "") -> list[Job]:
        """The verdicts that wait or run, of one container or of all."""
        return self._jobs.all(container)

    def waiting(self, container: str = "") -> list[Request]:
        """The requests that wait for an answer, in order, of one container or of one after the other."""
        waiting = self._register.waiting
        if container:
            return list(waiting.get(container, {}).values())
        return [request for requests in waiting.values() for request in requests.values()]

    def first_waiting(self, container: str) -> Request:
        """The one that comes first of a container for which something waits."""
        return next(iter(self._register.waiting[container].values()))

    @property
    def waiting_for(self) -> Collection[str]:
        """The containers for which something waits, in the order in which that began."""
        return self._register.waiting.keys()

    def request(self, request_id: str) -> Request | None:
        """An open request by its id."""
        return self._register.open.get(request_id)

    def closed(self, request_id: str) -> Request | None:
        """A closed request that is remembered, by the last id it had."""
        return self._register.closed(request_id)

    def awaiting(self, request_id: str) -> Request | None:
        """A request that waits for an answer, by its id."""
        request = self._register.open.get(request_id)
        return request if request is not None and request.state == OPEN else None

    def requests_at(self, container: str, dest: str) -> list[Request]:
        """All open requests of one address."""
        return self._register.at(container, dest)

    def all_requests(self) -> Iterable[Request]:
        """Every request that is remembered."""
        return self._register.all()

    def names(self, request: Request) -> Sequence[Name]:
        """The names seen on the request's address, the one looked up last first."""
        return self._names.lookup(request.container, request.dest)

    def shown_name(self, request: Request) -> Name | None:
        """The name that it is shown under: the one looked up last that may be a target, else the last."""
        return self._names.shown(request.container, request.dest)

    def label(self, request: Request) -> str:
        """What it is asked under: its name; its address where it has none, or wants a warning of its own."""
        name = None if request.guarded else self.shown_name(request)
        return request.dest if name is None else name.name

    def facts(self, request: Request) -> Record:
        """The fields of a request's `pending` record."""
        return {
            **request.facts(),
            **names_told(self.names(request)),
            "dossier": self.dossier(request.container),
            **({"behind": True} if self.behind(request.container) else {}),
        }

    def dossier(self, container: str) -> dict[str, str]:
        return self._dossiers.get(container, {})

    @property
    def set_aside(self) -> int:
        """How many requests were answered without a verdict."""
        return sum(self._aside.counts.values())

    @property
    def several(self) -> bool:
        """Whether it is about more than one container."""
        return len(self._dossiers) > 1

    @property
    def history(self) -> list[Answer]:
        """What was answered, the oldest first."""
        return self._answers.all

    @property
    def muted(self) -> list[Answer]:
        """The answers that keep something from being asked: each `target` is a name or an address.

        Their `tries` are the packets that were not asked about; `ask_again` takes one of them back.
        """
        return self._aside.muted()

    def deadline(self) -> float | None:
        """When `tick` wants to be called next (monotonic), or None."""
        due = [each for each in (self._later.deadline(), self._losses.deadline()) if each is not None]
        return min(due, default=None)

    def has_ended(self, container: str) -> bool:
        """Whether a container has stopped: nothing is asked or run for it."""
        return container in self._stopped

    def open_count(self) -> int:
        return len(self._register.open)

    def summary(self) -> Record:
        """The fields of the `summary` record, but for `exit`."""
        open_now = self.open_count() + self._left
        aside = {**self._aside.counts, "muted_tries": self._aside.tries}
        return {**aside, **self.counts, **self.tally.summary(), "open": open_now}

    # What goes in

    def add_container(
        self,
        name: str,
        version: int | None,
        dossier: dict[str, str],
        *,
        ipv6: bool = True,
        in_pod: bool = False,
        state: str = "",
    ) -> None:
        """A container: its shield's bundle version, and the labels it was launched with.

        `ipv6`: whether that works in it; `in_pod`: whether what it tries may be another one's;
        `state` of its shield, "" where that is unknown.
        One of a name that has ended goes on under it, with its mutes in force: what was answered before
        may be open no longer, so all else is asked anew.
        """
        if name in self._stopped:
            self._stopped.remove(name)
            self._register.drop(name)
            self._proof.drop(name)
        self.shields.begin(name, version, state or "up", ipv6)
        if in_pod:
            self.pods.add(name)
        else:
            self.pods.discard(name)
        self._dossiers[name] = dossier
        self._budget.containers = len(self._dossiers)

    def started(self, watching: Watching) -> None:
        """Its watch has begun in a running session."""
        self._tell("container", container=watching.name, state="started", **watching.facts())

    def forget(self, name: str) -> bool:
        """Forgets a container that has ended, its mutes too; False while a verdict for it still runs."""
        if self.jobs(name):
            return False
        self._stopped.discard(name)
        for part in (self._register, self._proof):
            part.drop(name)
        self._verdicts.forget(name)
        for other in (self.shields, self._aside, self._answers, self.tally, self.rules, self._losses):
            other.forget(name)
        self.pods.discard(name)
        self._told_behind.discard(name)
        del self._dossiers[name]
        self._budget.containers = len(self._dossiers)
        self.forgotten(name)
        return True

    def handle(self, container: str, event: Event, now: Now) -> None:
        """One event of a reader; the names of its address are those known at this moment."""
        if event.kind == "pending" and container in self._stopped:
            self.counts["untold"] += event.count  # the last words of its reader
        elif event.kind == "pending" and not addresses.is_undecidable(event.dest):
            self._blocked(container, event, now)
        elif event.kind == "allowed":
            if not self._proof.let_out(container, event, self._jobs.running(container), now):
                self._let_out_unasked(container, event, now)
        else:
            self._not_asked(container, event, now)

    # Of containers that another session watches, which has held what it tells against its own verdicts

    def asked_there(self, container: str, event: Event, now: Now) -> Request | None:
        """A request of that session is open: the one that stands for it here, open unless it is decided here.

        None where there is no room for it, or its container has ended.
        """
        if container in self._stopped:
            self.counts["untold"] += event.count
            return None
        request = self._known(container, event, now)
        before = self._proof.effect(container, event.dest)
        tried = before.in_vain(now) if before is not None else None
        self._agree(container, event.dest, event.private, request, now)
        if request is None:
            return self._new(container, event, now, tried, True)
        anew = "tried again" in REQUEST[request.state] and self._aside.mute_of(request) is None
        self._tried(request, event, now, after=tried, anew=anew)
        return request

    def stands_for(self, container: str, event: Event, now: Now) -> Request | None:
        """The request that a packet is a try of, open or closed; None for a new one."""
        return self._known(container, event, now)

    def tried_there(self, request: Request, event: Event, now: Now) -> None:
        """What is open there was tried again."""
        self._tried(request, event, now)

    def closed_there(self, request: Request, why: str, now: Now) -> None:
        """What is open here was closed there, by none of our verdicts."""
        cause = {"applied": "covered", "muted": "skipped"}.get(why, why)
        if cause not in REQUEST[request.state]:
            return  # a verdict on it is on its way, which asks there once more
        if cause == "stopped":
            self._abandon([request], now)
        elif cause == "skipped":
            self._aside.set_aside(request, cause, None, None, now)
        elif cause == "floor":
            self._keep_shut(request, now)
        else:
            self._decided_elsewhere(request, cause, now)

    def relay(self, record: Record) -> None:
        """Tells what another session has told."""
        self._records.append(record)

    def recorded_now(self, container: str, verdict: Recorded) -> None:
        """The shield has recorded a verdict: somebody else's on what waits here is told.

        It decides nothing here: only a packet tells what it did.
        """
        waits = [one for one in self._register.at(container, verdict.dest) if one.state == OPEN]
        heard = all(one.recorded == verdict.action for one in waits)
        if heard or self._verdicts.is_own(container, verdict.action, verdict.target or verdict.dest):
            return
        for request in waits:
            request.recorded = verdict.action
        self._tell("recorded", container=container, dest=verdict.dest, action=verdict.action)

    def learn(self, container: str, dest: str, now: Now) -> None:
        """The names of an address have changed, or which of them was looked up last."""
        if not self._register.any_at(container, dest):
            return
        before, heard = self._names.hear(container, dest)
        if before is None or before.text != heard.text:
            self.renamed(container, dest)
        if before is None or before.fingerprint != heard.fingerprint:
            self._later.renamed(container, dest, before is None or before.members != heard.members)
            self._tell_names(now)

    def lost(self, container: str, count: int, where: str) -> None:
        """The reader, the kernel, the table or an output lost `count` events; of no known container: "".

        A gap is one of them, whatever was in it.
        """
        self.counts["lost"] += count
        self.counts["gaps"] += count if where in GAPS else 0
        self._losses.add(container, count, where)

    def warn(self, message: str, line: str = "", hint: str = "") -> None:
        """Something that whoever answers should know; `line` is an answer that was not understood.

        `hint` is the command that mends it.
        """
        more = {"line": line, "hint": hint}
        self._tell("error", message=message, **{key: value for key, value in more.items() if value})

    def note(self, message: str) -> None:
        """The same of something that is well."""
        self._tell("note", message=message)

    def tick(self, now: Now) -> None:
        """Tells the counts and the names that have waited for their moment."""
        self._losses.tick(now)
        self._tell_names(now)
        self._later.tell_tried(now)

    def set_painted(self, ids: Sequence[str], now: Now) -> None:
        """What the operator is looking at: no rule decides it now; what is let go of may be decided."""
        before, self.painted = self.painted, dict.fromkeys(ids)
        for request_id in before:
            request = self.request(request_id)
            if request is not None and request_id not in self.painted:
                self.consider(request, now)

    def set_policy(self, policy: Policy, now: Now) -> None:
        """New rules: they decide what waits, too, verdicts that have not begun included."""
        self.rules.replace(policy)
        self._verdicts.withdraw(self._jobs.automatic(), now)
        for request in self.waiting():
            request.after_rule, request.by_hand, request.rests_until = None, False, 0.0
            self.consider(request, now)

    # Answers

    def answer(self, action: str, ids: Sequence[str], now: Now, by: str, *, name: str = "") -> bool:
        """Answers open requests: allow or deny their addresses (or allow `name`), skip or mute them.

        What is muted is what they are asked under (or `name`, where they were painted as that), with all
        that waits under it, too.  False, and nothing has changed, unless every id is open and waits for an
        answer.
        """
        ids = list(dict.fromkeys(ids))
        requests = [request for request in map(self.awaiting, ids) if request is not None]
        if not requests or len(requests) != len(ids):
            return False
        if action == "mute":
            self._aside.mute(requests, by, name, now)
        elif action == "skip":
            self._aside.skip(requests, by, None, now)
        elif name:
            self._verdicts.queue(Job(requests[0].container, action, name, ids, by, named=True), now)
        else:
            at: dict[tuple[str, str], list[str]] = {}
            for request in requests:
                at.setdefault((request.container, request.dest), []).append(request.id)
            self._verdicts.queue_all(
                [Job(container, action, dest, at[container, dest], by) for container, dest in at], now
            )
        return True

    def undo(self, answers: Sequence[Answer], by: str, now: Now) -> list[Job]:
        """Queues the opposite of applied verdicts, as there is no neutral un-allow.

        None of those whose containers have ended.
        """
        jobs = []
        for answer in answers:
            if answer.container not in self._stopped:
                answer.undone = True
                action = OPPOSITE[answer.action]
                job = Job(answer.container, action, answer.target, (), by, named=answer.named, undoes=answer)
                jobs.append(job)
        self._verdicts.queue_all(jobs, now)
        return jobs

    def last_verdict(self) -> Answer | None:
        """The verdict that `undo` would be about: the last one that stands.

        One of a rule only where there is no other: how many of those there are, and when, is up to
        whoever is inside.
        """
        stand = [
            answer
            for answer in reversed(self.history)
            if answer.container not in self._stopped and self.tally.stands(answer)
        ]
        own = (answer for answer in stand if answer.by not in AUTOMATIC)
        return next(own, stand[0] if stand else None)

    def applied_to(self, request_id: str) -> Answer | None:
        """The verdict applied last to a request of that id: it closed it, or led elsewhere."""
        return next(
            (one for one in reversed(self.history) if request_id in one.ids and one.result == APPLIED), None
        )

    def given_with(self, answer: Answer) -> list[Answer]:
        """It, and those of its batch that stand, too: what is undone as one."""
        if answer.batch is None:
            return [answer]
        return [one for one in self._answers.all if one.batch is answer.batch and self.tally.stands(one)]

    def ask_again(self, answer: Answer, now: Now) -> Request | None:
        """Opens once more, under new ids, what an answer was about; the first of it, None if there is none.

        What was muted is so no longer: all else that is asked under it is asked when it is tried again.
        """
        if answer.container in self._stopped:
            return None
        if answer.action == "mute":
            self._aside.take_back(answer)
        requests = [request for request in map(self._register.get, answer.keys) if request is not None]
        for request in requests:
            self._ask(request, now)
        return next((request for request in requests if request.state in STILL_OPEN), None)

    def ask_closed(self, request: Request, now: Now) -> bool:
        """Opens a closed request once more, under a new id, and mutes it no longer; False if it can't be."""
        if request.container in self._stopped:
            return False
        mute = self._aside.mute_of(request)
        if mute is not None:
            self._aside.take_back(mute)
        return self._ask(request, now)

    def _ask(self, request: Request, now: Now) -> bool:
        if "asked again" not in REQUEST[request.state]:
            return False
        request.after_rule, request.by_hand = None, True
        self._open(request, "asked again", now)
        return True

    def names_known(self, container: str, now: Now) -> None:
        """There are no more names to be read: what has waited for them is decided."""
        if container in self._told_behind:
            self._told_behind.remove(container)
            self._tell("names_read", container=container)
        self._consider_all(container, now)

    def _shield_changed(self, container: str, now: Now) -> None:
        """Nothing runs by itself under a shield that is not up; what waited before is decided when it is."""
        if self.shields.up(container):
            self._consider_all(container, now)
        else:
            self._verdicts.withdraw(self._jobs.automatic(container), now)

    def _is_free(self, request: Request) -> bool:
        """Whether it waits and is not being looked at: then it may be closed without being asked."""
        return request.state == OPEN and request.id not in self.painted

    def _is_settled(self, request: Request, now: Now) -> bool:
        """Closes a request that need not wait: the shield's floor refuses it anyway, or it is muted."""
        if not request.floor:
            return self._aside.keep_quiet(request, now)
        self._keep_shut(request, now)
        self.rules.floored(request, [name.name for name in self.names(request)])
        return True

    def _keep_shut(self, request: Request, now: Now) -> None:
        self.counts["floor"] += 1
        self._move(request, "floor", now)

    def _decided_elsewhere(self, request: Request, cause: str, now: Now) -> None:
        self.counts["let_out"] += cause == "covered"
        self.tally.made_good([(request.container, request.dest)])
        self._move(request, cause, now)

    def _consider_all(self, container: str, now: Now) -> None:
        for request in self.waiting(container) if self.rules.active else ():
            self.consider(request, now)

    def consider(self, request: Request, now: Now) -> None:
        """Lets the rules decide a request that waits and is not being looked at; it may be muted, too."""
        if not self._is_free(request) or self._is_settled(request, now) or not self.rules.active:
            return
        if now.mono < request.rests_until:
            return  # a rule whose verdict has failed gets another chance after a minute
        if request.in_doubt or not self.shields.up(request.container):
            return
        names = self._names.fingerprint(request.container, request.dest)
        if request.undecided == names and request.undecided_by == self.rules.generation:
            return  # the same rules, and no name is new
        known = [name.name for name in self.names(request)]
        choice = self.rules.decide(request, known, not self.behind(request.container))
        if choice.action == "skip":
            self._aside.skip([request], choice.by, choice.rule, now)
        elif not choice.action:
            request.undecided, request.undecided_by = names, self.rules.generation
        elif choice.action != "wait":
            job = choice.job(request)
            job.generation = self.rules.generation
            if self.rules.has_room(job, self._jobs.of_rules(request.container)):
                self._verdicts.queue(job, now)

    # Verdicts

    def begin(self, job: Job, now: Now) -> None:
        """The command of `job` is about to start."""
        self._verdicts.begin(job, now)

    def overdue(self, job: Job, now: Now) -> None:
        """The command has not ended by its deadline: what it did is unknown, its requests are open again."""
        self._verdicts.overdue(job, now)
        self._consider_anew(job, now)

    def finish(self, job: Job, outcome: Outcome, now: Now) -> None:
        """The command has ended, or could not be started."""
        self._verdicts.finish(job, outcome, now)
        if job.rule is not None and job.named and outcome.result == APPLIED:
            self._next_rule(job, job.rule, now)
        else:
            self._consider_anew(job, now)

    def call_off(self, jobs: Iterable[Job], now: Now) -> None:
        """Those that have not begun are not run: what they were for waits again, and has not failed."""
        self._verdicts.call_off(jobs, now)

    def stop(self, container: str, now: Now, refused: Refused | None = None, *, told: bool = True) -> None:
        """It is watched no longer: nothing more is run for it, its requests are closed unanswered.

        `refused` is why, None when it has ended.  Not `told`: not by itself, since something else tells it.
        """
        self._stopped.add(container)
        self._losses.tell_all(container)
        hint = "; ".join(refused.hints) if refused is not None else ""
        why = {"reason": refused.message if refused is not None else None, **({"hint": hint} if hint else {})}
        if told:
            self._tell("container", container=container, state="stopped", **why)
        self.call_off(self.jobs(container), now)
        self._abandon(self.waiting(container), now)

    def close_all(self, now: Now) -> None:
        """The end: what is still open is closed unanswered."""
        self._losses.end()
        self._abandon(list(self._register.open.values()), now)

    def _abandon(self, requests: Iterable[Request], now: Now) -> None:
        for request in requests:
            self._left += 1
            self._move(request, "stopped", now)

    def _release(self, request: Request, now: Now) -> None:
        """A verdict did not help: it waits again, unless another one is on its way."""
        if request.state == DECIDING and not self._jobs.join(request):
            self._move(request, "released", now)
        if request.state == OPEN and request.container in self._stopped:
            self._abandon([request], now)
        elif self._is_free(request):
            self._is_settled(request, now)

    def _next_rule(self, job: Job, rule: Rule, now: Now) -> None:
        """A name rule did not open the blocked address: the request goes on to the next rule."""
        for request_id in job.ids:
            request = self.awaiting(request_id)
            if request is not None:
                request.after_rule, request.undecided, request.rests_until = rule, None, 0.0
                self.consider(request, now)

    def _consider_anew(self, job: Job, now: Now) -> None:
        """The file has changed since rules wanted that: those of now have their turn at once."""
        if job.generation not in (0, self.rules.generation):
            for request in filter(None, map(self.awaiting, job.ids)):
                request.rests_until = 0.0
                self.consider(request, now)

    # Events

    def _blocked(self, container: str, event: Event, now: Now) -> None:
        """A packet was blocked: a new request, a try of a known one, or the aftermath of a verdict."""
        self.shields.blocked(container, event, now)
        request = self._known(container, event, now)
        self._agree(container, event.dest, event.private, request, now)
        before = self._proof.effect(container, event.dest)
        sure = self.shields.blocks_it(container, event, now)
        if self._proof.blocked(container, event, sure, now) is not None:
            if request is None:
                self.counts["untold"] += event.count
                return
            if request.state not in STILL_OPEN:
                request.tried_again(event, now)
                return
        tried = before.in_vain(now) if before is not None and sure else None
        if request is None:
            self._new(container, event, now, tried, sure)
        else:
            anew = self._asks_anew(request, tried, now)
            self._tried(request, event, now, sure=sure, after=tried, anew=anew)

    def _tried(
        self,
        request: Request,
        event: Event,
        now: Now,
        *,
        sure: bool = True,
        after: Rule | None = None,
        anew: bool = False,
    ) -> None:
        """Packets of a known request.  One that is closed is asked `anew`, where that is to be.

        The rules behind `after` have their turn then; `sure`: no quarantine has blocked it.
        """
        request.tried_again(event, now)
        request.in_doubt = not sure
        if request.state in STILL_OPEN:
            request.see_port(event)
            if self.report_again:
                self._later.tried(request, now)
            self.consider(request, now)
        elif anew:
            request.after_rule, request.by_hand = after, False
            request.see_port(event)
            self._open(request, "tried again", now)
        self._aside.count(request, event)

    def _agree(self, container: str, dest: str, private: bool, request: Request | None, now: Now) -> None:
        """What the shield has refused as private on one port is so on every other that is open.

        A quarantine, which refuses everything alike, does not tell it; `request` is the one in hand, if any.
        """
        first = self._register.first_at(container, dest)  # the others agree with it
        known = [one.private for one in (first, request) if one is not None]
        if all(known) or not (private or any(known)):
            return
        there = [*self._register.at(container, dest), *([request] if request is not None else ())]
        for one in there:
            one.private, one.floor = True, bool(self.shields.floor(container))
        self.renamed(container, dest)
        for one in there:
            self.consider(one, now)

    def _known(self, container: str, event: Event, now: Now) -> Request | None:
        """The request that a packet is a try of; once an address has one for the rest of its ports, that."""
        request = self._register.get((container, event.dest, event.proto, event.port))
        if request is None:
            rest = self._register.get((container, event.dest, REST, None))
            return None if rest is None or self._is_picked(container, event, now) else rest
        return request

    def _is_picked(self, container: str, event: Event, now: Now) -> bool:
        """Whether a rule is about the very port that was tried: it is no part of the rest."""
        if self.rules.policy is None:
            return False
        known = [name.name for name in self._names.lookup(container, event.dest)]
        return self.rules.picks(Request(container, event, now), known)

    def _asks_anew(self, request: Request, tried: Rule | None, now: Now) -> bool:
        """Whether a closed request that is tried again is asked once more."""
        if request.state == MUTED:
            return self._aside.mute_of(request) is None  # it was taken back, or it has another name by now
        if request.state == ANSWERED and tried is not None:
            return True
        return request.state in (SKIPPED, ANSWERED) and now.mono - request.changed >= ASK_AGAIN

    def _new(self, container: str, event: Event, now: Now, tried: Rule | None, sure: bool) -> Request | None:
        crowded = self._register.crowded(container, event.dest)
        request = Request(container, event, now, rest=crowded and not self._is_picked(container, event, now))
        request.see_port(event)
        request.count = event.count
        request.floor = event.private and bool(self.shields.floor(container))
        request.after_rule = tried
        request.in_doubt = not sure
        if not self._register.add(request):
            self.lost(container, event.count, "table")
            return None
        self._open(request, "blocked", now)
        self._aside.count(request, event)
        return request

    def _open(self, request: Request, cause: str, now: Now) -> None:
        """A request is opened: told, and closed at once where the floor refuses it anyway."""
        request.told, request.told_at = request.count, now.mono
        request.undecided, request.failure, request.rests_until, request.matched = None, "", 0.0, None
        request.recorded = ""
        self._names.listen(request.container, request.dest)
        self._agree(request.container, request.dest, request.private, request, now)
        self._move(request, cause, now)
        facts = self.facts(request)
        if "behind" in facts:
            self._told_behind.add(request.container)
        self._tell("pending", **facts)
        if not request.floor and self._jobs.join(request):
            self._move(request, "promised", now)
        else:
            self.consider(request, now)

    def _tell_names(self, now: Now) -> None:
        for request in self._later.tell_renamed(now):
            self.consider(request, now)

    def _let_out_unasked(self, container: str, event: Event, now: Now) -> None:
        """Let out without a verdict of ours on that address: what waits for one has its answer."""
        for request in self.requests_at(container, event.dest):
            if request.state == OPEN and now.mono - request.touched >= event.late:
                self._decided_elsewhere(request, "covered", now)

    def _not_asked(self, container: str, event: Event, now: Now) -> None:
        """Denied before, multicast and the like, or let by while the shield is down: counted."""
        if event.kind == "pending":
            event.kind = "multicast"  # not every reader tells it apart
        if event.kind != "bypass":
            self.counts["untold"] += event.count
        self.shields.count(container, event, now)
        if event.kind == "denied":
            self._proof.denied(container, event, now)

    def _move(
        self,
        request: Request,
        cause: str,
        now: Now,
        by: str | None = None,
        rule: Rule | None = None,
        **fields: Any,
    ) -> None:
        """To its next state, by the table of `states`; one that is closed by that is told as it.

        `by` is who decided it, if anybody, `rule` which rule; `fields` are what else is told.
        """
        waited = request.state == OPEN
        self._register.move(request, cause, now)
        if request.state not in STILL_OPEN:
            self._later.closed(request)
            if not self._register.any_at(request.container, request.dest):
                self._names.forget(request.container, request.dest)
            self.was_closed(request, rule)
            tries = request.tries() if request.count > request.told else {}
            text = rule.text if rule else None
            self._tell("closed", id=request.id, by=by, rule=text, why=cause, **tries, **fields)
        if waited != (request.state == OPEN):
            self.moved(request)

    def _tell(self, kind: str, **fields: Any) -> None:
        self._records.append({"type": kind, **fields})
