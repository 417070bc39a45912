"""One session of the archive at random, from its start to its end, and what must hold of it whatever happens.

Everything is judged from outside, afterwards: by what came out, what went in and when, what the stand-in
for terok-shield was run with and when, the packets that were sent, and the record that `--log` left.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections import Counter
from typing import Any, Callable

from fuzzing.rules import is_private
from fuzzing.world import SEEN, World
from host import Call
from support import PATIENCE, eventually

LATE = 0.5
"""Seconds by which a stand-in may tell its start later than it was decided, on an idle machine."""


class Episode(World):
    """What all sessions have in common.  Whoever speaks with them says how they start and end."""

    def __init__(self, folder: str, pyz: str, seed: int, seconds: float) -> None:
        super().__init__(folder, pyz, seed)
        self.seconds = seconds
        self.answer = ""  # of --answer
        self.hasty = False  # whether it ends by itself, perhaps before anything else ends it
        self._log = os.path.join(folder, "log.jsonl")
        self._logs = [self._log]  # with those that it was before, the oldest first

    def __enter__(self) -> Episode:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    # --- its course

    def run(self) -> None:
        self.jitter.start()
        self.shield()
        self.start()
        eventually(lambda: self.over or self.records("session"), what="it watches")
        if self.living and not self.over:
            self.tries()
        until = time.monotonic() + self.seconds
        acts = [act for act, weight in self.acts() for _ in range(weight)]
        while time.monotonic() < until and not self.over and self.living:
            self.chance.choice(acts)()
            self.look_at_verdicts()
        self._end()

    def argv(self) -> list[str]:
        words = ["--log", self._log, "--verdict-timeout", self.chance.choice(["0.5", "1.5", "30"])]
        if self.policy is not None:
            words += ["--policy", self.policy.path]
        return [sys.executable, "-S", "-W", "error", self.pyz, *words, *self.more_words(), *self.labs]

    def acts(self) -> list[tuple[Callable[[], None], int]]:
        return [*super().acts(), (self._rotates, 1)]

    def _rotates(self) -> None:
        """Somebody takes the record away: it is begun anew."""
        if self.chance.random() < 0.3 and os.path.exists(self._log):
            self._logs.insert(-1, "%s.%d" % (self._log, len(self._logs)))
            os.rename(self._log, self._logs[-2])
            self.say("the record is renamed")

    def more_words(self) -> list[str]:
        return []

    def env(self, **more: str) -> dict[str, str]:
        return self.host.env(XDG_RUNTIME_DIR=self.places.path, **more)

    def start(self) -> None:
        raise NotImplementedError

    def prepare_to_end(self) -> None:
        """Whatever keeps the session from ending is over."""

    def ways_to_end(self) -> list[str]:
        return ["containers", "SIGTERM", "hub", "hub"]

    def ends_by(self, way: str) -> None:
        """Does what leads to the end; called again and again until that has come."""

    def _end(self) -> None:
        way = self.chance.choice(self.ways_to_end())
        self.prepare_to_end()
        if way == "hub" and not self.over:
            self.hub_appears()
            way = self._or_else(way)
        self.say("the end, by " + way)
        if way == "containers":
            for name in self.living:
                for _ in range(self.chance.choice([0, 20])):
                    self.blocks()
                self.ends(name)
        deadline = time.monotonic() + PATIENCE
        while not self.over:
            assert time.monotonic() < deadline, "it doesn't end"
            if way not in ("hub", "containers") or time.monotonic() > deadline - PATIENCE + 35:
                self.told_to_end.append(time.monotonic())
                self.ends_by(way)
            self.look_at_verdicts()
            time.sleep(0.05)
        self.say("over")
        self._another()

    def _or_else(self, way: str) -> str:
        """Another way to end where that hub only ends the watch of its container; once it has."""
        left = [name for name in self.labs if self._hub_since(name)]
        if not {*self.living} - {*left}:
            return way
        eventually(lambda: self.over or {*left} <= self._stopped(), what="%s are left to the hub" % left)
        self.say("%s are left to the hub" % left)
        return self.chance.choice([other for other in self.ways_to_end() if other != way])

    def _stopped(self) -> set[str]:
        """The containers that it says to watch no longer."""
        return {it["container"] for it in self.records("container") if it["state"] == "stopped"}

    def _hub_since(self, name: str) -> float:
        """When a hub was there for that container; 0 as long as none is."""
        return self.places.since_for(self.host.containers[name].sid)

    def hub_appears(self) -> None:
        sid = self.host.containers[self.chance.choice(list(self.labs))].sid
        self.say("a hub: " + self.places.appear(sid))
        if self.chance.random() < 0.5 and self.living:  # a rule or an answer may be under way
            for _ in range(5):
                self.blocks() if self.living else None

    def _another(self) -> None:
        """Where a verdict command was left running: another session has one for that container."""
        left = [call.argv[1] for call in self.host.verdicts() if call.ended is None and self.runs(call)]
        if self.places.since or not {*left} & {*self.living} - {*self.audited}:
            return
        name = ({*left} & {*self.living}).pop()
        self.say("another session, for " + name)
        self.host.control("terok-shield")
        words = ["--answer", "allow", "--for", "3", "--verdict-timeout", "0.5", name]
        argv, null = [sys.executable, "-S", self.pyz, *words], subprocess.DEVNULL
        with subprocess.Popen(
            argv, stdin=null, stdout=null, stderr=null, env=self.env(), start_new_session=True
        ) as process:
            eventually(lambda: process.poll() is not None or self.labs[name].holder(), what="it listens")
            self.labs[name].connect("192.0.2.77", 443, "udp")
            while process.poll() is None:
                self.look_at_verdicts()
                time.sleep(0.05)
        self.say("ended with %s" % process.returncode)

    # --- what is known of it

    def records(self, kind: str = "") -> list[dict[str, Any]]:
        """What `--log` has, whole lines of it."""
        found: list[dict[str, Any]] = []
        for path in self._logs:
            if os.path.exists(path):
                with open(path) as file:
                    found += [json.loads(line) for line in file if line.endswith("\n")]
        return [record for record in found if kind in ("", record["type"])]

    @property
    def end(self) -> tuple[int, float]:
        """Its exit code, and when it ended."""
        raise NotImplementedError

    def said(self) -> str:
        """What it said to a person."""
        raise NotImplementedError

    def is_told_to_run(self, call: Call) -> bool:
        return "pid%d" % call.pid in "".join(self.said().split())

    def wants(self, call: Call, decided: dict[str, Any]) -> str:
        """Why nobody can have wanted this verdict of the operator's or a script's; "" when somebody did."""
        raise NotImplementedError

    # --- what must hold

    def faults(self) -> list[str]:
        """What is not as it has to be; each is a sentence."""
        code, _ = self.end
        found = []
        if "Traceback" in self.said() or "internal error" in self.said() or code not in (0, 1, 4, 5):
            found.append("it ended with %d: %s" % (code, self.said()[-1500:]))
        return found + self._left() + self._numbers(code) + self._verdicts_at_once() + self._unauthorised()

    def _left(self) -> list[str]:
        try:
            eventually(lambda: not self.ours(), what="nothing of it is left")
        except AssertionError:
            return ["processes are left: %s" % self.ours()]
        return [
            "%s (pid %d) still runs, and was not told" % (call, call.pid)
            for call in self.host.verdicts()
            if call.ended is None and self.runs(call) and not self.is_told_to_run(call)
        ]

    def _numbers(self, code: int) -> list[str]:
        """Every blocked destination is told, counted or lost; the end's code is that of its numbers."""
        found, records = [], self.records()
        if not records or records[-1]["type"] != "summary":
            return ["the record has no end: %s" % records[-1:]]
        summary = records[-1]
        if summary["exit"] != code:
            found.append("it ended with %d and told %s" % (code, summary))
        if code == 0 and (summary["open"] or summary["lost"]):
            found.append("ended with 0: %s" % summary)
        by_hub = all(map(self._hub_since, self.living))
        if (code == 1) != by_hub and not (code == 4 or self._was_ending_anyway()):
            found.append("ended with %d, and the hub was there since %s" % (code, self.places.since))
        if (code == 4) != bool(self.blind) and code != 1 and not (self.hasty and self.blind):
            found.append("ended with %d; readers killed: %s; %s" % (code, sorted(self.blind), summary))
        if code == 5 and not any(summary[word] for word in ("open", "lost", "failed", "unknown")):
            found.append("ended with 5 for nothing: %s" % summary)
        return found + self._missing(records, summary) + self._closed(records, summary)

    def _was_ending_anyway(self) -> bool:
        """A hub that came in the last moment."""
        return not self.living or any(at < self.places.since for at in self.told_to_end)

    def _missing(self, records: list[dict[str, Any]], summary: dict[str, Any]) -> list[str]:
        pending = [record for record in records if record["type"] == "pending"]
        told = {(r["container"], r["dest"], r["port"], r["proto"]) for r in pending}
        scanned = {(r["container"], r["dest"]) for r in pending if "ports" in r}  # one for all other ports
        until = {name: self._watched_until(name) for name in self.labs}
        missing = [
            it
            for it, at in self.sent.items()
            if it not in told and it[:2] not in scanned and it[0] not in self.blind and at < until[it[0]]
        ]
        audited = self.audit_lines(until, 3.0) - {it[:2] for it in told}
        cut = [it for it in missing if it[0] in self.bursts]
        lost = summary["lost"] + summary["untold"]
        found = []
        told_as_gap = summary.get("gaps", 0) > 0  # at the end there was no time for more
        if not told_as_gap and len(missing) - len(cut) + len(audited) > lost or (cut and not lost):
            some = sorted(map(str, {*missing, *audited}))[:5]
            found.append("%d neither told nor counted: %s; %s" % (len(missing) + len(audited), some, summary))
        return found

    def _watched_until(self, name: str) -> float:
        """Until when it certainly listened there: to the end, or until it was asked to leave."""
        _, ended = self.end
        asked = [at for at in self.told_to_end if at > ended - 10.0]
        if self._hub_since(name):
            asked.append(self._hub_since(name))
        return min([ended, *(at - 1.0 for at in asked)])

    def _closed(self, records: list[dict[str, Any]], summary: dict[str, Any]) -> list[str]:
        found = []
        closed = Counter(record["id"] for record in records if record["type"] == "closed")
        asked = Counter(record["id"] for record in records if record["type"] == "pending")
        # what is open at the end is closed by nobody
        if not set(closed) <= set(asked) or any(number > 1 for number in [*closed.values(), *asked.values()]):
            found.append("requests closed %s" % (closed - asked))
        if len(set(asked) - set(closed)) not in (0, summary["open"]):
            found.append("%d are not closed, %d open" % (len(set(asked) - set(closed)), summary["open"]))
        return found

    def _verdicts_at_once(self) -> list[str]:
        found, running = [], {}
        for call in self.host.verdicts():
            before = running.get(call.argv[1])
            if before is not None:
                alive = before.ended or self.alive_at.get(before.pid, 0.0)
                if alive > call.began:
                    found.append("%s began while %s ran" % (call, before))
            running[call.argv[1]] = call
        return found

    def _unauthorised(self) -> list[str]:
        """Verdict commands that no key, no answer and no rule stands behind, or that a hub forbids."""
        _, ended = self.end
        calls = [call for call in self.host.verdicts() if call.began < ended]
        decided = self.records("deciding")
        requests = {record["id"]: record for record in self.records("pending")}
        found, with_hub = [], Counter[str]()
        for call in calls:
            late = LATE + self.jitter.around(call.began)
            since = self._hub_since(call.argv[1])
            if since and call.began > since:
                with_hub[call.argv[1]] += 1
                if with_hub[call.argv[1]] > 1 or call.began > since + late:
                    found.append("%s began %.3f s after the hub" % (call, call.began - since))
            like_it = [it for it in decided if [it["action"], it["container"], it["target"]] == call.argv]
            reason = like_it[0] if like_it else None
            if reason is None:
                found.append("%s was not decided, by the record" % call)
                continue
            decided.remove(reason)
            if reason["by"] in ("policy", "answer"):
                objection = self._automatic(call, reason, [requests[id] for id in reason["ids"]], late)
            else:
                objection = self.wants(call, reason)
            if objection:
                found.append("nobody wanted %s, begun at %.3f: %s" % (call, call.began, objection))
        return found

    def _automatic(
        self, call: Call, reason: dict[str, Any], requests: list[dict[str, Any]], late: float
    ) -> str:
        """Why no rule and no --answer can be the reason; "" where one is."""
        action, container, target = call.argv
        for at, name, state in self.states:
            over = min([then for then, one, _ in self.states if one == name and then > at], default=1e99)
            if name == container and state != "up" and at + SEEN + late < call.began < over:
                return "its shield is %s" % state
        in_force = [] if self.policy is None else self.policy.in_force(call.began, late + 1.0)
        editions = [edition.of(container) for edition in in_force]
        blocked = [(it["dest"], it["port"], it["proto"]) for it in requests]
        dests = {dest for dest, _, _ in blocked}
        name = "" if target in dests else target
        if reason["by"] == "answer":
            if name or action != self.answer or (action == "allow" and is_private(target)):
                return "the answer is %r to %s" % (self.answer, dests)
            if editions and action == "deny" and all(it.allows_somewhere(target) for it in editions):
                return "a rule allows it"
            return ""
        names = {known for one, known, address in self.looked_up if one == container and address in dests}
        for edition in editions:
            if action == "allow" and any(edition.allows(it, name, names) for it in blocked):
                return ""
            if action == "deny" and edition.denies(target):
                return ""
        return "no rule says so for %s (%s): %s" % (blocked, names, [it.rules for it in editions])
