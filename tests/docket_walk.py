"""A docket under everything that can happen to it, in any order, and what must hold after each step.

- exactly one `closed` for each `pending`; ids are unique and never used again; nothing is told
  of an id before its `pending` or after its `closed`
- requests wait in the order in which they came; one that waits again goes behind
- at most one verdict runs for a container, and none is begun for one that has stopped
- a request is `deciding` exactly while a verdict for it, or on its address, waits or runs
- a container that has ended has nothing that waits; one of its name that starts again begins without requests
- nothing runs by itself under a shield that is not up; while names may be missing, no rule by name is passed
  over and no `--answer` is given
- nothing waits at an address that is muted, unless it is painted, or was asked for; its tries are counted
- nothing waits that the floor refuses, unless it is painted
- no rule decides what is painted, and nothing denies by itself what an `allow` rule in force has matched
- the last word on each target is the verdict applied last, unless its opposite was tried in vain since;
  what `u` would undo is not undone yet, and an effect is that of the last verdict on its address
- a job, an effect and a request know a rule of the policy that is in force, or of one before it, which
  counts for nothing: whatever the rules decide next, they decide from the first of their rules
- a rule of the policy decides for a container only where the section that it stands in is about that one
- every packet is accounted for: in the count of a request, in `untold`, or in `lost`
- the summary is the sum of the records
"""

from __future__ import annotations

import fnmatch
import random

from stage import Bench, name

from simple_clearance.docket.policy import parse
from simple_clearance.docket.ports import REST
from simple_clearance.docket.states import DECIDING, OPEN

DESTS = ["203.0.113.%d" % n for n in range(1, 9)] + ["2001:db8::%d" % n for n in range(1, 4)]
PRIVATE = ["10.0.0.1", "169.254.1.2", "192.168.7.7"]
NAMES = ["www.example.com", "api.example.com", "cdn.example.net", "_odd.example.com", "evil.example"]
POLICIES = [
    "",
    "ask *",
    "skip * port 25",
    "allow *.example.com\ndeny 203.0.113.4\nallow 203.0.113.0/29 port 443",
    "allow *.example.com\nallow 10.0.0.0/8\nskip *",
    "deny *",
    "skip * port 25\n[c1]\nallow *.example.com\ndeny *\n[c?]\nallow 203.0.113.0/24\n"
    "[nobody]\ndeny *\n[*3]\nskip *",
]
CONTAINERS = ["c1", "c2", "c3"]


def holds_for(rule, container):
    return fnmatch.fnmatchcase(container, rule.section or "*")


class Ledger:
    """What was told, held against the rules."""

    def __init__(self):
        self.pending = {}
        self.closed = {}
        self.verdicts = []
        self.sums = dict.fromkeys(("lost", "table", "unmuted"), 0)

    def read(self, records):
        for record in records:
            kind = record["type"]
            if kind == "pending":
                assert record["id"] not in self.pending, "an id is never used again"
                self.pending[record["id"]] = record
            elif kind == "closed":
                assert record["id"] in self.pending and record["id"] not in self.closed
                self.closed[record["id"]] = record["why"]
            elif kind in ("again", "names"):
                assert record["id"] in self.pending and record["id"] not in self.closed, record
                if kind == "again":
                    assert record["count"] > self.pending[record["id"]]["count"]
            elif kind == "verdict":
                assert set(record["ids"]) <= set(self.pending) - set(self.closed), record
                self.verdicts.append(record)
            elif kind == "unmuted":
                self.sums["unmuted"] += record["tries"]
            elif kind == "lost":
                self.sums["lost"] += record["count"]
                self.sums["table"] += record["count"] if record["where"] == "table" else 0


class Walk:
    """One walk: `step` does something at random and looks at everything."""

    def __init__(self, seed, bench=None, **options):
        self.rng = random.Random(seed)
        options.setdefault("answer", self.rng.choice(["", "", "", "deny", "none"]))
        self.behind = set()  # the containers of which names may be missing
        self.bench = bench or Bench(
            report_again=self.rng.random() < 0.8, behind=lambda container: container in self.behind, **options
        )
        self.docket = self.bench.docket
        for container, version in zip(CONTAINERS, (18, 14, None)):
            self.docket.add_container(container, version, {"task": container})
        self.ledger = Ledger()
        self.blocked = 0
        self.requests = {}
        self.waiting = {}  # by container
        self.known_jobs = set()
        self.painted_before = {}
        self.unheard = 0
        self.jobs_seen = []
        self.allowed = set()  # the requests that an allow rule of the policy in force has matched
        self.last = {}  # (container, target): the action applied last

    # What happens

    def one_of(self, things):
        return self.rng.choice(list(things)) if things else None

    def some_names(self):
        return [name(one) for one in self.rng.sample(NAMES, self.rng.randrange(3))]

    def do_blocked(self):
        private = self.rng.random() < 0.2
        count = self.rng.choice([1, 1, 1, 2, 50])
        self.blocked += count
        self.bench.event(
            "pending",
            self.rng.choice(PRIVATE if private else DESTS),
            self.rng.choice([443, 443, 80, 25, None]),
            self.rng.choice([6, 6, 17]),
            self.rng.choice(CONTAINERS),
            count,
            self.some_names(),
            private=private and self.rng.random() < 0.8,  # a quarantine does not tell
            uid=self.rng.choice([None, 0, 1000]),
        )

    def do_others(self):
        kind = self.rng.choice(["allowed", "allowed", "denied", "multicast", "bypass"])
        dest, container = self.rng.choice(DESTS + PRIVATE), self.rng.choice(CONTAINERS)
        count = self.rng.randrange(1, 9)
        if kind in ("denied", "multicast"):
            self.unheard += count
        self.bench.event(kind, dest, self.rng.choice([443, 80]), 6, container, count)

    def do_answer(self):
        action = self.rng.choice(["allow", "allow", "deny", "skip", "mute"])
        waiting = self.docket.waiting()
        chosen = self.rng.sample(waiting, min(len(waiting), self.rng.choice([1, 1, 1, 2, 5])))
        ids = [request.id for request in chosen]
        if self.rng.random() < 0.15:
            ids.append(self.rng.choice(["r1", "r999999", "", "nonsense", *self.ledger.pending][-9:]))
        if action == "allow" and len(ids) == 1 and chosen and self.rng.random() < 0.4:
            self.bench.answer("allow", *ids, name=self.rng.choice(NAMES[:3]))
        else:
            self.bench.answer(action, *ids)

    def do_start(self):
        for job in self.bench.start():
            self.jobs_seen.append(job)

    def do_finish(self):
        running = [job for job in self.docket.jobs() if job.state in ("running", "late")]
        job = self.one_of(running)
        if job is not None:
            self.finish(job)

    def finish(self, job):
        result = self.rng.choice(["applied", "applied", "applied", "failed", "unknown", "dry-run"])
        opened = ()
        if result == "applied" and job.action == "allow":
            opened = self.rng.sample(DESTS, self.rng.randrange(3)) if job.named else (job.target,)
        self.ends(job, result)
        self.bench.finish(
            job, result, reason=self.rng.choice(["", "exit", "quarantine"]), error="x", opened=opened
        )

    def ends(self, job, result):
        """What a verdict came to, as whoever replays the commands knows it."""
        target = (job.container, job.target)
        if result == "applied":
            self.last.pop(target, None)
            self.last[target] = job.action
        elif result in ("failed", "unknown") and self.last.get(target, job.action) != job.action:
            del self.last[target]

    def do_overdue(self):
        job = self.one_of([job for job in self.docket.jobs() if job.state == "running"])
        if job is not None:
            self.ends(job, "unknown")
            self.docket.overdue(job, self.bench.now)

    def do_time(self):
        self.bench.mono += self.rng.choice([0.01, 0.2, 0.5, 1.1, 11, 61, 2000])
        self.docket.tick(self.bench.now)

    def do_paint(self):
        waiting = self.docket.waiting()
        ids = [request.id for request in self.rng.sample(waiting, min(len(waiting), self.rng.randrange(3)))]
        self.docket.set_painted(ids, self.bench.now)

    def do_learn(self):
        container = self.rng.choice(CONTAINERS)
        self.bench.learn(self.rng.choice(DESTS), *self.some_names(), container=container)

    def do_policy(self):
        if self.rng.random() < 0.3:
            text = self.rng.choice(POLICIES)
            self.allowed = set()
            self.docket.set_policy(parse(text.encode(), "rules"), self.bench.now)

    def do_shield(self):
        if self.rng.random() < 0.5:
            state = self.rng.choice(["up", "up", "down", "disengaged", "quarantine"])
            self.docket.shields.state(self.rng.choice(CONTAINERS), state, self.bench.now)

    def do_read(self):
        container = self.rng.choice(CONTAINERS)
        if container in self.behind:
            self.behind.discard(container)
            self.docket.names_known(container, self.bench.now)
        elif self.rng.random() < 0.3:
            self.behind.add(container)

    def do_undo(self):
        answer = self.docket.last_verdict()
        chance = self.rng.random()
        if chance < 0.05:
            self.docket.undo(
                [one for one in self.docket.history if self.docket.tally.stands(one)],
                "script",
                self.bench.now,
            )
        elif answer is not None and chance < 0.5:
            self.docket.undo(self.docket.given_with(answer), "operator", self.bench.now)

    def do_ask_again(self):
        answer = self.one_of(self.docket.history[-20:])
        request = self.docket.closed(self.one_of(self.ledger.closed) or "")
        if request is not None and self.rng.random() < 0.3:
            self.docket.ask_closed(request, self.bench.now)
        elif answer is not None:
            self.docket.ask_again(answer, self.bench.now)

    def do_lost(self):
        self.docket.lost("c1", self.rng.randrange(1, 100), self.rng.choice(["kernel", "reader"]))

    def do_stop(self):
        container = self.rng.choice(CONTAINERS)
        if self.docket.has_ended(container):
            state = self.rng.choice(["", "up", "down", "quarantine"])
            self.docket.add_container(container, self.rng.choice([18, 14, None]), {}, state=state)
            assert not self.docket.waiting(container)
            self.allowed = {key for key in self.allowed if key[0] != container}
        elif self.rng.random() < 0.3:
            self.docket.stop(container, self.bench.now)

    def do_call_off(self):
        for batch in list(self.docket.batches.values()):
            jobs = [job for job in self.docket.jobs() if job.batch is batch]
            self.docket.call_off(self.rng.choice([jobs, jobs[1:], self.docket.jobs()]), self.bench.now)

    WEIGHTS = (
        (do_blocked, 40),
        (do_others, 12),
        (do_answer, 14),
        (do_start, 16),
        (do_finish, 14),
        (do_overdue, 2),
        (do_time, 14),
        (do_paint, 5),
        (do_learn, 5),
        (do_policy, 2),
        (do_shield, 2),
        (do_read, 3),
        (do_undo, 2),
        (do_ask_again, 3),
        (do_lost, 1),
        (do_stop, 1),
        (do_call_off, 2),
    )

    def step(self):
        action = self.rng.choices([one for one, _ in self.WEIGHTS], [weight for _, weight in self.WEIGHTS])[0]
        painted = dict(self.docket.painted)
        action(self)
        self.look(painted if action not in (Walk.do_paint, Walk.do_answer, Walk.do_ask_again) else {})
        return action

    # What must hold

    def read_told(self):
        self.ledger.read(self.bench.take())

    def look(self, painted):
        self.read_told()
        docket, ledger = self.docket, self.ledger
        before = self.waiting
        self.waiting = {one: [request.id for request in docket.waiting(one)] for one in docket.waiting_for}
        for container, waiting in self.waiting.items():
            stayed = [one for one in before.get(container, ()) if one in waiting]
            assert waiting and waiting[: len(stayed)] == stayed, "what comes, or comes back, goes behind"
        assert [one.id for one in docket.waiting()] == [one for ids in self.waiting.values() for one in ids]
        open_now = {one for one in ledger.pending if one not in ledger.closed}
        assert open_now == set(docket._register.open)
        assert docket.open_count() == len(open_now)
        places = [(name, dest) for name, dests in docket._register._at.items() for dest in dests]
        at = [request for place in places for request in docket.requests_at(*place)]
        assert {request.id for request in at} == open_now and len(at) == len(open_now)
        jobs = docket.jobs()
        promised = {one for job in jobs if job.state != "late" for one in job.ids}
        aimed = {(job.container, job.target) for job in jobs if job.state != "late"}
        assert {job.batch.id for job in jobs if job.batch is not None} >= set(docket.batches), "one ends"
        for request in docket._register.open.values():
            assert request.state in (OPEN, DECIDING)
            on_its_way = request.id in promised or (request.container, request.dest) in aimed
            assert (request.state == DECIDING) == on_its_way, (request, jobs)
            assert request.state == DECIDING or not docket.has_ended(request.container), request
            told = ledger.pending[request.id]
            proto = REST if "ports" in told else told["proto"]
            assert (told["container"], told["dest"], proto, told["port"]) == request.key
        for container in CONTAINERS:
            states = [job.state for job in docket.jobs(container)]
            assert all(state == "queued" for state in states[1:])
        for job in jobs:
            if id(job) not in self.known_jobs:
                self.known_jobs.add(id(job))
                self.jobs_seen.append(job)  # keeps it alive, so that its id stands for it alone
                if job.by in ("policy", "answer"):
                    first = next(iter(job.ids))
                    assert first not in painted, "no rule decides what is painted"
                    key = self.docket.request(first).key
                    assert job.action != "deny" or key not in self.allowed, job
                    if job.action == "allow":
                        self.allowed.add(key)
                    if job.by == "policy":
                        assert holds_for(job.rule, job.container), "it stands in another one's section"
                    if job.container in self.behind:
                        before = self.docket.rules.policy.rules[: job.rule.index]
                        assert not any(rule.named and holds_for(rule, job.container) for rule in before)
            assert job.state != "queued" or not job.automatic or self.docket.shields.up(job.container), job
        self.hold_against_the_replay()
        self.account()

    def hold_against_the_replay(self):
        docket = self.docket
        words = docket.tally.last_words()
        if not docket.tally._last_word._over:  # else the oldest are gone
            assert {(container, target): action for container, target, action in words} == self.last
        for container in CONTAINERS:
            order = [target for one, target in self.last if one == container]
            kept = [target for one, target, _ in words if one == container]
            assert kept == order[len(order) - len(kept) :], "in the order in which they were applied"
        for container, dest, effect in docket._proof._effects.items():
            assert self.last.get((container, dest), effect.action) == effect.action or effect.named
        muted = {(answer.container, answer.target) for answer in docket.muted}
        for request in docket.waiting():
            quiet = (request.container, request.dest) in muted
            assert not quiet or request.id in docket.painted or request.by_hand, "what is muted is not asked"
            assert not request.floor or request.id in docket.painted, "nor what the floor refuses"
        undoable = docket.last_verdict()
        if undoable is not None:
            assert undoable.result == "applied" and not undoable.undone
        in_force = docket.rules.policy.rules if docket.rules.policy else ()
        for request in docket.waiting():
            decided = self.first_rule(request, request.after_rule)
            if request.after_rule not in in_force and decided:
                afresh = self.first_rule(request, None)
                assert decided.rule is afresh.rule, "a changed file starts from its first rule"
            known = docket._names.fingerprint(request.container, request.dest)
            if request.undecided == known and request.undecided_by == docket.rules.generation:
                assert not decided or decided.action == "ask" or request.by_hand, (request, decided)

    def first_rule(self, request, after):
        """What the policy in force says of it, from behind a rule of it."""
        policy = self.docket.rules.policy
        if policy is None:
            return None
        names = [one.name for one in self.docket.names(request)]
        ours = policy.of(request.container)
        found = ours.matching(request.dest, request.port, request.proto, request.private, names, after)
        allowed = request.allowed_in == self.docket.rules.generation
        return next((one for one in found if one.action != "deny" or not allowed), None)

    def account(self):
        for request in self.docket.all_requests():
            self.requests[id(request)] = request
        untold = self.docket.counts["untold"] - self.unheard
        waits = self.docket._losses._untold  # for its second
        lost = self.ledger.sums["lost"] + sum(waits.values())
        assert self.docket.counts["lost"] == lost, "loss is told"
        standing = sum(answer.tries for answer in self.docket.muted)
        pushed_out = bool(self.docket._aside._mutes._over)
        tries = self.docket.summary()["muted_tries"] - self.ledger.sums["unmuted"]
        assert standing == tries or (pushed_out and standing < tries), "each is one mute's"
        kept = sum(request.count for request in self.requests.values())
        no_room = self.ledger.sums["table"] + sum(n for (_, where), n in waits.items() if where == "table")
        assert self.blocked == kept + untold + no_room

    def end(self):
        self.docket.call_off(self.docket.jobs(), self.bench.now)
        self.docket.close_all(self.bench.now)
        self.read_told()
        assert set(self.ledger.closed) == set(self.ledger.pending), "one `closed` for each `pending`"
        summary, why = self.docket.summary(), list(self.ledger.closed.values())
        assert set(why) <= {"applied", "covered", "skipped", "muted", "floor", "dry-run", "stopped"}
        for word, action in (("allowed", "allow"), ("denied", "deny")):
            applied = [v for v in self.ledger.verdicts if v["result"] == "applied" and v["action"] == action]
            assert summary[word] == len(applied)
        assert summary["skipped"] == why.count("skipped")
        assert summary["muted"] == why.count("muted")
        assert summary["open"] == why.count("stopped")
        assert summary["lost"] == self.ledger.sums["lost"]


def walk(seed, steps, **options):
    """The walk to its end; how many requests and verdicts there were."""
    one = Walk(seed, **options)
    for _ in range(steps):
        one.step()
    one.end()
    return len(one.ledger.pending), len(one.ledger.verdicts)


SMALL = {
    "requests": 75,
    "automatic": 9,
    "answers": 90,
    "addresses": 12,
    "targets": 12,
    "failures": 9,
    "muted": 9,
    "ports": 2,
}
"""Limits that a walk reaches; its three containers share them."""
