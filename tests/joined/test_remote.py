"""Another session's containers as ours: two dockets, the host's and ours, and the protocol between them.

What must hold whatever happens at either end and however long the way takes: a verdict is run once for each
that was decided here, for what it was decided about; once the way is empty, what is open there is open here.
"""

from __future__ import annotations

import json
import random

import pytest

from simple_clearance.base.errors import Refused
from simple_clearance.base.happenings import Event, Name, Recorded, Watching
from simple_clearance.base.jsonlines import BadLine
from simple_clearance.base.moment import Now
from simple_clearance.docket import policy
from simple_clearance.docket.docket import Docket
from simple_clearance.docket.states import LATE
from simple_clearance.docket.verdict import APPLIED, FAILED, Outcome
from simple_clearance.formats import sessionline
from simple_clearance.fronts import protocol
from simple_clearance.joined import remote, sent
from simple_clearance.joined.remote import Remote
from simple_clearance.prompt.questions import more_names

TS = "2026-01-31T17:32:05.123Z"


class Pair:
    """A host's session and ours.  Each way has what is under way; `settle` lets all of it arrive."""

    def __init__(self, containers=("c1",), version=18, policy_here=b"", policy_there=b"", answer=""):
        self.mono = 1000.0
        self.reading = False  # whether the host still reads names
        self.names_there = {}
        self.host = Docket(
            report_again=True,
            names=lambda c, d: self.names_there.get((c, d), ()),
            behind=lambda c: self.reading,
        )
        self.errors = []  # the host's, of answers that fit nothing
        self.answers = protocol.Answers(self.host, self._error)
        self.here = Docket(report_again=True, names=self._names, behind=self._behind, answer=answer)
        self.remote = Remote("web", self.here, self._say, 30.0)
        self.out, self.back = [], []  # lines to the host, lines from it
        self.said, self.records, self.bad = [], [], []
        self.ran = []  # verdicts that were run there
        self.results = []  # what the next ones come to
        for name in containers:
            self.host.add_container(name, version, {"project": "demo"})
        if policy_here:
            self.here.set_policy(policy.parse(policy_here, "rules"), self.now)
        if policy_there:
            self.host.set_policy(policy.parse(policy_there, "rules"), self.now)
        watching = [Watching(name, {"project": "demo"}, "", shield=version) for name in containers]
        self._tell_here(protocol.session("1.0", watching))
        self.settle()

    @property
    def now(self):
        return Now(self.mono, 1_770_000_000.0 + self.mono)

    def _names(self, container, dest):
        return self.remote.names(container, dest)

    def _behind(self, container):
        return container in self.remote.behind

    # The way

    def _say(self, line):
        self.said.append(line)
        self.out.append(line)

    def _error(self, message, line):
        self.errors.append(line)
        self.host.warn(message, line)

    def _tell_here(self, record):
        self.back.append(protocol.line(record, TS).encode()[:-1])

    def host_reads(self):
        self.answers.feed((self.out.pop(0) + "\n").encode(), self.now)
        self.host_tells()

    def host_tells(self):
        for record in self.host.take():
            self._tell_here(record)

    def host_runs(self):
        """Each verdict that may begin there is run to its end."""
        for job in self.host.runnable():
            self.host.begin(job, self.now)
            self.ran.append((job.action, job.target))
            result = self.results.pop(0) if self.results else APPLIED
            outcome = result if isinstance(result, Outcome) else Outcome(result)
            if outcome.result == APPLIED and not job.named:
                outcome.opened = (job.target,)
            self.host.finish(job, outcome, self.now)
        self.host_tells()

    def here_reads(self):
        try:
            record = sessionline.parse(self.back.pop(0))
            if record is not None:
                self.remote.take(record, self.now)
        except BadLine as error:
            self.bad.append(str(error))

    def here_drains(self):
        while True:
            for job in self.here.runnable():
                if not self.remote.must_wait(job):
                    self.here.begin(job, self.now)
                    self.remote.start(job, self.now)
            records = self.here.take()
            if not records:
                return
            for record in records:
                assert record.get("by") in (None, "operator", "policy", "answer", "script"), record
                self.records.append(record)
                self.remote.told(record, self.now)

    def settle(self):
        while True:
            self.host_tells()
            self.here_drains()
            if self.out:
                self.host_reads()
            elif self.back:
                self.here_reads()
            elif self.host.runnable():
                self.host_runs()
            else:
                break
        assert self.bad == []

    # What happens

    def blocked(self, number=1, port=443, count=1, container="c1", settle=True, **more):
        event = Event("pending", "198.51.100.%d" % number, port, 6, count=count, **more)
        self.host.handle(container, event, self.now)
        self.host.tick(self.now)
        if settle:
            self.settle()

    def later(self, seconds):
        self.mono += seconds
        self.host.tick(self.now)
        self.here.tick(self.now)
        self.settle()

    def answer(self, action, *ids, name=""):
        assert self.here.answer(action, ids or self.open, self.now, "operator", name=name)
        self.settle()

    def of(self, kind):
        return [record for record in self.records if record["type"] == kind]

    @property
    def open(self):
        return [request.id for request in self.here.waiting()]

    @property
    def open_there(self):
        return [request.id for request in self.host.waiting()]


# --- what is asked


def test_what_is_blocked_there_is_asked_here_under_its_machine():
    pair = Pair()
    pair.names_there["c1", "198.51.100.1"] = (Name("www.example.com", "", ""),)
    pair.blocked(count=3, uid=1000, reader_id="c1:7")
    (told,) = pair.of("pending")
    assert (told["container"], told["dest"], told["port"], told["count"]) == (
        *("web/c1", "198.51.100.1", 443, 3),
    )
    assert (told["names"], told["uid"], told["dossier"]) == (["www.example.com"], 1000, {"project": "demo"})


def test_tries_and_names_that_come_later_are_of_that_request():
    pair = Pair()
    pair.blocked()
    pair.names_there["c1", "198.51.100.1"] = (Name("www.example.com", "", ""),)
    pair.host.learn("c1", "198.51.100.1", pair.now)
    pair.later(2)
    pair.blocked(count=5)
    pair.later(2)
    (request,) = pair.here.waiting()
    assert (request.count, pair.here.label(request)) == (6, "www.example.com")
    assert len(pair.of("pending")) == 1


@pytest.mark.parametrize("number, forgot", [(8, False), (9, False), (8, True)])
def test_names_that_only_the_other_machine_knows_are_told_as_at_least_so_many(number, forgot):
    names = [Name("n%d.example.com" % n, "", "") for n in range(number)]
    names[-1].forgot = forgot
    pair = Pair()
    pair.blocked()
    pair.names_there["c1", "198.51.100.1"] = names
    pair.host.learn("c1", "198.51.100.1", pair.now)
    pair.later(2)
    pair.names_there["c1", "198.51.100.2"] = names
    pair.blocked(2)
    for request in pair.here.waiting():
        exact = number == 8 and not forgot
        assert more_names(pair.here.names(request), 1) == (
            "7 more names" if exact else "at least 7 more names"
        )
    told = pair.of("pending")[-1]
    assert (told["names"], told.get("names_forgotten", False)) == ([one.name for one in names[:8]], not exact)


def test_what_the_floor_there_refuses_is_told_and_not_asked():
    pair = Pair()
    pair.blocked(private=True)
    assert [record["floor"] for record in pair.of("pending")] == [True]
    assert [record["why"] for record in pair.of("closed")] == ["floor"]
    assert pair.said == []


def test_an_old_shield_has_no_floor_and_its_private_addresses_are_guarded_here():
    pair = Pair(version=9)
    pair.blocked(private=True)
    (request,) = pair.here.waiting()
    assert request.guarded


def test_what_is_particular_about_a_container_there_is_known_here():
    pair = Pair()
    about = {"in_pod": True, "no_ipv6": True, "shield": 18, "source": "nflog", "dossier": {}}
    pair._tell_here({"type": "container", "container": "c2", "state": "started", **about})
    pair.settle()
    assert pair.here.pods == {"web/c2"}
    assert not pair.here.shields.answers("web/c2", "2001:db8::1")
    told = pair.of("container")[-1]  # as another session that joins ours hears of it
    assert (told["in_pod"], told["no_ipv6"]) == (True, True)


# --- verdicts


@pytest.mark.parametrize("action", ["allow", "deny"])
def test_a_verdict_is_run_there_and_its_outcome_told_here(action):
    pair = Pair()
    pair.blocked()
    pair.answer(action)
    assert (pair.ran, pair.said) == ([(action, "198.51.100.1")], [action + " r1"])
    (verdict,) = pair.of("verdict")
    assert (verdict["container"], verdict["result"], verdict["ids"], verdict["by"]) == (
        *("web/c1", "applied", ["r1"], "operator"),
    )
    assert (pair.open, pair.open_there) == ([], [])


def test_a_name_is_allowed_there():
    pair = Pair()
    pair.names_there["c1", "198.51.100.1"] = (Name("www.example.com", "", ""),)
    pair.blocked()
    pair.results = [Outcome(APPLIED, opened=("198.51.100.1", "198.51.100.9"))]
    pair.answer("allow", name="www.example.com")
    assert (pair.ran, pair.open, pair.open_there) == ([("allow", "www.example.com")], [], [])
    assert pair.of("verdict")[0]["opened"] == ["198.51.100.1", "198.51.100.9"]


def test_a_name_that_leads_elsewhere_leaves_the_request_open_at_both_ends():
    pair = Pair()
    pair.names_there["c1", "198.51.100.1"] = (Name("www.example.com", "", ""),)
    pair.blocked()
    pair.results = [Outcome(APPLIED, opened=("203.0.113.9",))]
    pair.answer("allow", name="www.example.com")
    assert (pair.open, pair.open_there) == (["r1"], ["r1"])
    pair.answer("allow")
    assert (pair.ran[-1], pair.open, pair.open_there) == (("allow", "198.51.100.1"), [], [])


def test_a_verdict_that_failed_there_has_failed_here():
    pair = Pair()
    pair.blocked()
    pair.results = [Outcome(FAILED, "quarantine", "no such set")]
    pair.answer("allow")
    (verdict,) = pair.of("verdict")
    assert (verdict["result"], verdict["reason"], verdict["error"]) == ("failed", "quarantine", "no such set")
    assert (pair.open, pair.open_there) == (["r1"], ["r1"])


def test_all_ports_of_an_address_are_one_verdict():
    pair = Pair()
    for port in range(1, 100):
        pair.blocked(port=port)
    assert len(pair.open) == len(pair.open_there) == 65
    pair.answer("deny")
    assert (pair.ran, pair.open, pair.open_there) == ([("deny", "198.51.100.1")], [], [])


def test_undo_is_of_the_verdict_that_was_run_there():
    pair = Pair()
    pair.blocked()
    pair.answer("allow")
    pair.here.undo([pair.here.last_verdict()], "operator", pair.now)
    pair.settle()
    assert pair.ran == [("allow", "198.51.100.1"), ("deny", "198.51.100.1")]
    assert pair.of("verdict")[-1]["undo"] and pair.here.last_verdict() is None


def test_an_undo_after_the_link_was_lost_is_told_not_to_be_possible():
    pair = Pair()
    pair.blocked()
    pair.answer("allow")
    answer = pair.here.last_verdict()
    pair.remote.hung_up(pair.now, "the link was lost")
    pair.back.clear()
    pair._tell_here(protocol.session("1.0", [Watching("c1", {}, "", shield=18)]))
    pair.settle()
    pair.here.undo([answer], "operator", pair.now)
    pair.settle()
    verdict = pair.of("verdict")[-1]
    assert (verdict["result"], verdict["reason"], verdict["error"]) == (
        *("failed", "not-started", sent.EARLIER),
    )
    assert pair.ran == [("allow", "198.51.100.1")]


def test_one_that_is_unknown_there_is_unknown_here_and_its_late_end_is_told():
    pair = Pair()
    pair.blocked()
    pair.here.answer("allow", pair.open, pair.now, "operator")
    pair.here_drains()
    pair.host_reads()
    (job,) = pair.host.runnable()
    pair.host.begin(job, pair.now)
    pair.host.overdue(job, pair.now)
    pair.settle()
    assert [record["result"] for record in pair.of("verdict")] == ["unknown"]
    assert pair.remote.sent.jobs[0].state == LATE and pair.open == ["r1"]
    pair.host.finish(job, Outcome(APPLIED, opened=("198.51.100.1",)), pair.now)
    pair.settle()
    assert [(record["result"], record["late"]) for record in pair.of("verdict")] == [
        *[("unknown", False), ("applied", True)],
    ]
    assert pair.remote.sent.jobs == [] and pair.open == []


def test_one_that_is_never_answered_is_unknown_and_then_given_up():
    pair = Pair()
    pair.blocked()
    pair.here.answer("allow", pair.open, pair.now, "operator")
    pair.here_drains()
    for passed in (1, 2):
        assert pair.remote.sent.deadline() == pair.mono + 30 + sent.ON_THE_WAY
        pair.mono = pair.remote.sent.deadline()
        pair.remote.sent.tick(pair.now)
        assert [record["result"] for record in pair.here.take() if record["type"] == "verdict"] == ["unknown"]
        assert len(pair.remote.sent.jobs) == 2 - passed
    assert pair.remote.sent.deadline() is None and pair.open == ["r1"]


# --- what is set aside here


def test_what_is_skipped_here_is_skipped_there_and_asked_again_when_tried_after_a_minute():
    pair = Pair()
    pair.blocked()
    pair.answer("skip")
    assert (pair.said, pair.open_there) == (["skip r1"], [])
    pair.later(30)
    pair.blocked(count=4)
    assert pair.open == []
    pair.later(31)
    pair.blocked()
    assert pair.open == ["r2"]
    assert pair.here.request("r2").count == 6, "with all its tries"


def test_tries_that_are_told_with_the_end_of_a_request_count_here_too():
    pair = Pair()
    pair.blocked()
    pair.blocked(count=4)
    pair.host.close_all(pair.now)
    pair.host_tells()
    pair.settle()
    (closed,) = [record for record in pair.records if record["type"] == "closed"]
    assert (closed["id"], closed["why"], closed["count"]) == ("r1", "stopped", 5)


def test_what_is_muted_here_is_counted_and_not_asked():
    pair = Pair()
    pair.names_there["c1", "198.51.100.1"] = (Name("www.example.com", "", ""),)
    pair.blocked()
    pair.answer("mute")
    pair.later(61)
    pair.blocked(count=7)
    assert (pair.open, pair.open_there) == ([], [])
    assert pair.here.summary()["muted_tries"] == 7
    assert pair.said == ["skip r1", "skip r2"]


def test_a_rule_here_decides_what_is_blocked_there():
    pair = Pair(policy_here=b"allow 198.51.100.1\nskip 198.51.100.2\n")
    pair.blocked(1)
    pair.blocked(2)
    pair.blocked(3)
    assert pair.said == ["allow r1", "skip r2"]
    assert (pair.ran, len(pair.open), len(pair.open_there)) == ([("allow", "198.51.100.1")], 1, 1)
    assert pair.of("verdict")[0]["by"] == "policy"


def test_a_section_here_is_about_the_name_with_the_machines_before_it():
    text = b"[c1]\ndeny *\n[db/*]\ndeny *\n[web/c?]\nallow 198.51.100.1\n[*/c1]\nskip 198.51.100.2\n"
    pair = Pair(policy_here=text)
    for last in (1, 2, 3):
        pair.blocked(last)
    assert pair.said == ["allow r1", "skip r2"] and len(pair.open) == 1
    assert pair.of("verdict")[0]["rule"] == "[web/c?] allow 198.51.100.1"


def test_nothing_is_decided_by_itself_here_while_names_are_read_there():
    pair = Pair(policy_here=b"allow *.example.com\n", answer="deny")
    pair.reading = True
    pair.blocked()
    assert (pair.said, len(pair.open)) == ([], 1)
    pair.reading = False
    pair.names_there["c1", "198.51.100.1"] = (Name("www.example.com", "", ""),)
    pair.host.learn("c1", "198.51.100.1", pair.now)
    pair.host.names_known("c1", pair.now)
    pair.settle()
    assert pair.ran == [("allow", "www.example.com")]


def test_a_rule_there_decides_before_us():
    pair = Pair(policy_there=b"allow 198.51.100.1\nskip 198.51.100.2\n")
    pair.blocked(1)
    pair.blocked(2)
    assert (pair.open, pair.open_there) == ([], [])
    assert [record["why"] for record in pair.of("closed")] == ["covered", "skipped"]
    assert "allow 198.51.100.1 was run there, by policy" in pair.of("error")[0]["message"]


def test_what_is_asked_again_here_is_opened_there():
    pair = Pair()
    pair.blocked()
    pair.answer("skip")
    pair.here.ask_again(pair.here.history[-1], pair.now)
    pair.settle()
    assert (pair.said, pair.open, pair.open_there) == (["skip r1", "ask r1"], ["r2"], ["r2"])
    pair.answer("deny")
    assert (pair.ran, pair.open, pair.open_there) == ([("deny", "198.51.100.1")], [], [])


def test_what_is_asked_again_here_before_it_was_skipped_there_is_open_at_both_ends():
    pair = Pair()
    pair.blocked()
    pair.here.answer("skip", pair.open, pair.now, "operator")
    pair.here_drains()
    pair.here.ask_again(pair.here.history[-1], pair.now)
    pair.here.answer("allow", pair.open, pair.now, "operator")
    pair.settle()
    assert (pair.ran, pair.open, pair.open_there) == ([("allow", "198.51.100.1")], [], [])


def test_an_answer_to_what_was_closed_there_meanwhile_opens_it_once_more():
    pair = Pair()
    pair.blocked()
    pair.host.answer("skip", ["r1"], pair.now, "operator")
    pair.here.answer("deny", pair.open, pair.now, "operator")
    pair.settle()
    assert (pair.of("verdict")[0]["reason"], pair.open, pair.open_there) == ("not-started", ["r1"], ["r2"])
    pair.answer("deny")
    assert (pair.ran, pair.open, pair.open_there) == ([("deny", "198.51.100.1")], [], [])


def test_what_is_blocked_again_after_an_allow_is_asked_when_the_host_asks():
    """A verdict is applied there before it is known here: our minute is not over when theirs is."""
    pair = Pair()
    pair.blocked()
    pair.here.answer("allow", pair.open, pair.now, "operator")
    pair.here_drains()
    pair.host_reads()
    pair.host_runs()
    pair.mono += 1  # the way back
    pair.settle()
    pair.mono += 59.5
    pair.blocked()
    assert (pair.open, pair.open_there) == (["r2"], ["r2"])


# --- what else is told


def test_somebody_elses_verdict_there_is_told_here():
    pair = Pair()
    pair.blocked()
    pair.host.recorded_now("c1", Recorded("deny", "198.51.100.1", "", ""))
    pair.settle()
    assert [(one["container"], one["action"]) for one in pair.of("recorded")] == [("web/c1", "deny")]
    assert pair.open == pair.open_there == ["r1"]


def test_proof_and_the_shields_state_are_passed_on():
    pair = Pair()
    pair.blocked()
    pair.answer("allow")
    pair.mono += 1
    pair.host.handle("c1", Event("allowed", "198.51.100.1", 443, 6), pair.now)
    pair.host.shields.state("c1", "down", pair.now)
    pair.host.lost("c1", 3, "kernel")
    pair.settle()
    assert [(record["container"], record["seconds"]) for record in pair.of("passed")] == [("web/c1", 1.0)]
    assert not pair.here.shields.up("web/c1")
    assert (pair.of("lost")[0]["container"], pair.here.summary()["lost"]) == ("web/c1", 3)


def as_there(record, ids):
    """What we tell, in the words that the host would have for it: `ids` are its own, by ours."""
    told = {key: value for key, value in record.items() if key not in OURS}
    if "container" in told:
        told["container"] = told["container"].replace("web/", "", 1)
    for key in ("ids", "elsewhere"):
        if key in told:
            told[key] = [ids[each] for each in told[key]]
    return {**told, **({"id": ids[record["id"]]} if "id" in record else {})}


OURS = ("id", "by", "seconds")  # who answered is known here, and how long a verdict took


def everything_happens(pair):
    """Each type of record that is told of a request, a verdict, an address or a container."""
    pair.names_there["c1", "198.51.100.1"] = (Name("www.example.com", "", ""),)
    for number in range(1, 9):
        pair.blocked(number, uid=1000, reader_id="c1:%d" % number)
    pair.blocked(1, 443, 5)
    pair.blocked(9, private=True)
    pair.blocked(10, 8443, count=2)
    pair.blocked(10, None)
    pair.later(2)
    pair.names_there["c1", "198.51.100.2"] = (Name("two.example.com", "", ""),)
    pair.host.learn("c1", "198.51.100.2", pair.now)
    pair.later(2)
    pair.results = [Outcome(APPLIED, opened=("198.51.100.1",)), Outcome(FAILED, "exit", "no such thing")]
    pair.answer("allow", "r1", name="www.example.com")
    pair.answer("deny", "r2")
    pair.answer("skip", "r3")
    pair.answer("deny", "r5")
    pair.answer("allow", "r6")
    pair.host.handle("c1", Event("allowed", "198.51.100.6", 443, 6), pair.now)
    pair.later(5)
    pair.blocked(6)
    pair.later(70)
    pair.blocked(3)
    pair.host.shields.state("c1", "down", pair.now)
    pair.host.lost("c1", 3, "kernel")
    pair.host.stop("c1", pair.now)
    pair.settle()


def test_what_is_passed_on_has_the_fields_and_values_that_its_own_session_tells():
    pair = Pair()
    there = []
    tell_here, pair._tell_here = pair._tell_here, lambda record: (there.append(record), tell_here(record))
    everything_happens(pair)
    ids = dict(zip((one["id"] for one in pair.of("pending")), (one["id"] for one in there_of(there))))
    kinds = {record["type"] for record in there}
    assert kinds >= {"pending", "names", "again", "verdict", "closed", "passed", "still_blocked"}
    assert kinds >= {"shield", "lost", "container"}
    for kind in sorted(kinds):
        own = [as_there(one, {each: each for each in ids.values()}) for one in there if one["type"] == kind]
        assert [as_there(one, ids) for one in pair.of(kind)] == own, kind


def there_of(records):
    return [record for record in records if record["type"] == "pending"]


def test_a_container_that_stops_there_stops_here_and_one_that_starts_is_watched():
    pair = Pair(("c1", "c2"))
    pair.blocked()
    pair._tell_here({"type": "container", "container": "c1", "state": "stopped", "reason": None})
    pair.settle()
    assert (pair.open, list(pair.remote.watching)) == ([], ["web/c2"])
    assert pair.of("closed")[0]["why"] == "stopped"
    pair._tell_here({"type": "container", "container": "c1", "state": "started", "shield": 18, "dossier": {}})
    pair.settle()
    assert list(pair.remote.watching) == ["web/c2", "web/c1"]


def test_a_link_that_is_lost_closes_what_it_had_and_what_it_ran_is_unknown():
    pair = Pair()
    pair.blocked(1)
    pair.blocked(2)
    pair.here.answer("allow", pair.open[:1], pair.now, "operator")
    pair.here_drains()
    pair.remote.hung_up(pair.now, "the link was lost")
    pair.here_drains()
    assert [(one["result"], one["reason"]) for one in pair.of("verdict")] == [("unknown", "ended")]
    assert [record["why"] for record in pair.of("closed")] == ["stopped", "stopped"]
    assert (pair.open, pair.remote.sent.jobs, pair.here.summary()["unknown"]) == ([], [], 1)


# --- whom it believes


def fresh(*records):
    """A link that has told these records of ours."""
    pair = Pair()
    for record in records:
        pair.back.append(json.dumps(record).encode())
        pair.here_reads()
    pair.here_drains()
    return pair


PENDING = {
    **{"type": "pending", "id": "x1", "container": "c1", "dest": "198.51.100.1", "port": 443, "proto": 6},
    **{"class": "default", "floor": False, "names": [], "uid": None, "count": 1, "dossier": {}},
}
VERDICT = {
    **{"type": "verdict", "id": "x1", "ids": ["x1"], "container": "c1", "action": "allow"},
    **{"target": "198.51.100.1", "by": "script", "result": "applied", "opened": ["198.51.100.1"]},
}


def test_a_session_can_say_nothing_of_a_container_that_it_has_not_told():
    for one in (PENDING, VERDICT):
        pair = fresh({**one, "container": "c2"})
        assert len(pair.bad) == 1 and pair.records[-1:] == []


def test_a_verdict_that_nobody_asked_for_decides_nothing():
    pair = fresh(PENDING, VERDICT)
    assert pair.open == ["r1"] and pair.here.summary()["allowed"] == 0


def test_a_session_can_close_only_what_it_opened():
    pair = fresh(PENDING, {"type": "closed", "id": "r1", "why": "covered"})
    assert pair.open == ["r1"]


def test_an_id_stands_for_one_request():
    pair = fresh(PENDING, {**PENDING, "dest": "198.51.100.2"})
    assert len(pair.bad) == 1 and len(pair.open) == 1


def test_requests_without_end_are_bounded_and_told_as_lost():
    pair = Pair()
    for number in range(remote.HELD + 50):
        record = {**PENDING, "id": "x%d" % number, "dest": "198.51.100.7", "port": number % 60000 + 1}
        pair.remote.take(sessionline.parse(json.dumps(record).encode()), pair.now)
    pair.here_drains()
    assert len(pair.open) == 65 and pair.here.summary()["lost"] == 50


def test_containers_without_end_are_left_out():
    pair = Pair()
    for number in range(sessionline.CONTAINERS + 50):
        record = {"type": "container", "container": "d%d" % number, "state": "started"}
        pair.remote.take(sessionline.parse(json.dumps(record).encode()), pair.now)
    assert len(pair.remote.watching) == sessionline.CONTAINERS
    pair.here_drains()
    assert "more than 256 containers" in pair.of("error")[0]["message"]


def test_containers_that_come_and_go_without_end_are_forgotten():
    pair = Pair()
    for number in range(remote.ENDED + 50):
        for state in ("started", "stopped"):
            record = {"type": "container", "container": "d%d" % number, "state": state}
            pair.remote.take(sessionline.parse(json.dumps(record).encode()), pair.now)
        pair.here_drains()
    known = [name for name in ("web/d%d" % n for n in range(remote.ENDED + 50)) if pair.here.has_ended(name)]
    assert known == ["web/d%d" % number for number in range(50, remote.ENDED + 50)]
    assert list(pair.remote.watching) == ["web/c1"]


def test_a_machine_that_is_joined_there_is_told_under_both_names():
    pair = Pair()
    lost = {"type": "container", "host": "db", "state": "lost", "reason": "Connection closed"}
    pair._tell_here(lost)
    pair._tell_here({"type": "container", "host": "db", "state": "back"})
    pair.settle()
    assert pair.of("container") == [
        {**lost, "host": "web/db"},
        {"type": "container", "host": "web/db", "state": "back"},
    ]
    for _ in range(100):
        pair._tell_here(lost)
    pair.settle()
    assert len(pair.of("container")) == remote.WARNINGS


def test_remarks_without_end_are_left_out():
    pair = fresh(*({"type": "error", "message": "no %d" % number} for number in range(200)))
    assert len(pair.of("error")) == remote.WARNINGS + 1
    assert pair.of("error")[0]["message"] == "web: no 0"


def test_a_session_of_another_protocol_is_refused_in_one_line():
    pair = Pair()
    other = Remote("db", pair.here, pair._say, 30.0)
    with pytest.raises(Refused, match="db speaks version 2 of the protocol, this is 1"):
        other.take(sessionline.parse(b'{"type":"session","protocol":2}'), pair.now)


def test_what_does_not_begin_with_a_session_is_none():
    pair = Pair()
    other = Remote("db", pair.here, pair._say, 30.0)
    with pytest.raises(BadLine):
        other.take(sessionline.parse(json.dumps(PENDING).encode()), pair.now)


# --- all of it at once


@pytest.mark.parametrize("seed", range(12))
def test_whatever_happens_verdicts_are_run_once_and_both_ends_agree(seed, rounds):
    chance = random.Random(seed)
    pair = Pair(("c1", "c2"))
    steps = rounds(6) * 200
    for step in range(steps):
        pair.mono += chance.choice((0.0, 0.01, 0.3, 5.0, 61.0 if chance.random() < 0.1 else 0.0))
        kind = chance.random()
        if kind < 0.25:
            number, port = chance.randrange(1, 9), chance.choice((80, 443, 8080))
            pair.blocked(number, port, chance.randrange(1, 4), chance.choice(("c1", "c2")), settle=False)
        elif kind < 0.4 and pair.open:
            ids = chance.sample(pair.open, min(len(pair.open), chance.choice((1, 1, 3))))
            action = chance.choice(("allow", "deny", "skip", "mute"))
            pair.here.answer(action, ids, pair.now, "operator")
        elif kind < 0.44 and pair.here.history:
            pair.here.ask_again(chance.choice(pair.here.history), pair.now)
        elif kind < 0.47 and pair.here.last_verdict() is not None:
            pair.here.undo([pair.here.last_verdict()], "operator", pair.now)
        elif kind < 0.6 and pair.out:
            pair.host_reads()
        elif kind < 0.75 and pair.back:
            pair.here_reads()
        elif kind < 0.85:
            pair.results = [chance.choice((APPLIED, APPLIED, FAILED))]
            pair.host_runs()
        elif kind < 0.9:
            pair.host.tick(pair.now)
            pair.here.tick(pair.now)
        else:
            pair.here_drains()
        if step % 200 == 199:
            pair.results = []
            pair.settle()
            agree(pair)
    told = [verdict for verdict in pair.of("verdict") if verdict["reason"] != "not-started"]
    assert sorted((one["action"], one["target"]) for one in told) == sorted(pair.ran)
    assert len(pair.ran) > steps // 60 and pair.bad == []


def agree(pair):
    """With nothing under way, the same is open at both ends, with the same count of tries."""
    there = {(one.container, *one.key[1:]): one.count for one in pair.host.waiting()}
    here = {(one.container[4:], *one.key[1:]): one.count for one in pair.here.waiting()}
    assert set(here) == set(there)
    for key, count in here.items():
        assert count <= there[key], key
    assert not pair.remote.sent.jobs
