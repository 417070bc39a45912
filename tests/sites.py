"""Machines over real ssh, whose links are slow, stall, break and come back at random, under one session.

Each way leads through a relay on loopback, which holds back what it passes on, for long now and then as when
packets are lost, and is cut: the kernel at hand may have no netem.  What must hold: a verdict is run at most
once for each time that it was wanted, on the machine that it was wanted for; what is told as applied was run
there, once; none is forgotten; nothing is left behind.
"""

from __future__ import annotations

import collections
import json
import os
import select
import socket
import threading
import time

import machines
from support import eventually

DELAY = 0.3  # seconds each way
SECONDS = float(os.environ.get("SIMPLE_CLEARANCE_SECONDS", "0"))


class Relay:
    """A way to what `reach` connects to: everything takes `DELAY`, some of it a second more; `cut` breaks it.

    `passed` counts the bytes that went either way.
    """

    def __init__(self, reach, chance):
        self.chance = chance
        self.passed = 0
        self._reach = reach
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.port = self._listening.getsockname()[1]
        self._pairs = []
        self._closing = threading.Event()
        self._accepting = threading.Thread(target=self._accept)
        self._accepting.start()

    def _accept(self):
        while not self._closing.wait(0):
            if not select.select([self._listening], [], [], 0.1)[0]:
                continue
            near, _ = self._listening.accept()
            try:
                far = self._reach()
            except OSError:  # the server is down
                near.close()
                continue
            self._pairs.append((near, far))
            for one, other in ((near, far), (far, near)):
                threading.Thread(target=self._pass_on, args=(one, other), daemon=True).start()

    def _pass_on(self, one, other):
        """In order, each at its time."""
        waiting, over = collections.deque(), False
        last = 0.0
        while not over or waiting:
            now = time.monotonic()
            wait = 0.1 if not waiting else max(0.0, min(0.1, waiting[0][0] - now))
            try:
                if not over and select.select([one], [], [], wait)[0]:
                    data = one.recv(1 << 16)
                    over = not data
                    self.passed += len(data)
                    lost = 1.0 if self.chance.random() < 0.05 else 0.0
                    last = max(last, time.monotonic() + DELAY + lost)
                    waiting.append((last, data))
                elif over:
                    time.sleep(wait)
                while waiting and waiting[0][0] <= time.monotonic():
                    _, data = waiting.popleft()
                    if data:
                        other.sendall(data)
                    else:
                        other.shutdown(socket.SHUT_WR)
            except (OSError, ValueError):
                return  # it was cut

    def cut(self):
        pairs, self._pairs = self._pairs, []
        for each in [end for pair in pairs for end in pair]:
            try:
                each.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass
            each.close()

    def close(self):
        self._closing.set()
        self._accepting.join()
        self.cut()
        self._listening.close()


class Site:
    """A machine `name`, the way to it, and a container there that this one stands in for."""

    def __init__(self, host, folder, name, chance, lab):
        self.name, self.container = name, "k-" + name
        self._host, self._lab = host, lab
        host.container(self.container, lab)
        port = machines.free_port()
        self.relay = Relay(lambda: socket.create_connection(("127.0.0.1", port)), chance)
        self.machine = machines.Machine(
            host, os.path.join(folder, name), (name,), port=port, through=self.relay.port
        )

    def connect(self, address):
        self._lab.connect(address, 443)

    def flood(self, first):
        self._lab.flood(300, first=first)

    def ran(self):
        """How often each (action, target) was run for the container there."""
        calls = [call.argv for call in self._host.verdicts() if call.argv[1] == self.container]
        return collections.Counter((action, target) for action, _, target in calls)

    def listens(self):
        """Whether something of ours still does, there."""
        return self._lab.holder() != 0

    def close(self):
        self.relay.close()
        self.machine.close()

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        self.close()


class Play:
    """One session of all of them, what it is told, and what there is to say of it afterwards."""

    def __init__(self, script, host, sites, chance):
        self.sites, self.chance = sites, chance
        self.log = os.path.join(host.folder, "log")
        words = [word for site in sites for word in ("--host", "%s/%s" % (site.name, site.container))]
        self.it = script("--json", "--log", self.log, *words, names=(), reader=False)
        self.figures = collections.Counter()
        self.delays = []  # seconds from an answer to its outcome
        self.said = {}  # the answer to each request; none is answered twice
        self._open = {}  # requests that wait, by id
        self._since = {}  # when each was answered that is under way
        self.it.until("session")

    def goes_on(self, seconds):
        """Blocks, answers, cuts, restarts and floods."""
        ways = [
            ("cuts", 6.0, lambda site: site.relay.cut()),
            ("restarts", 15.0, lambda site: (site.machine.close(), site.machine.start())),
            ("floods", 9.0, lambda site: site.flood(self._network() + ".0")),
            ("attempts", 0.2, lambda site: site.connect("%s.%d" % (self._network(), self._number()))),
        ]
        until, seen = time.monotonic() + seconds, 0
        due = [time.monotonic() + each for _, each, _ in ways]
        while time.monotonic() < until:
            for number, (what, each, happens) in enumerate(ways):
                if due[number] <= time.monotonic():
                    happens(self.chance.choice(self.sites))
                    self.figures[what] += 1
                    due[number] = time.monotonic() + each * self.chance.uniform(0.5, 1.5)
            if select.select([self.it.child.stdout], [], [], 0.1)[0]:
                assert self.it.read(), self.it.child.stderr.read()
            for record in self.it.records[seen:]:
                self._take(record)
            seen = len(self.it.records)
            self._answer()

    def _network(self):
        """Three bytes of an address, of so many that hardly any comes twice."""
        return "198.%d.%d" % (self.chance.choice((18, 19)), self.chance.randrange(250))

    def _number(self):
        return self.chance.randrange(1, 250)

    def _take(self, record):
        if record["type"] == "pending":
            self._open[record["id"]] = record
        elif record["type"] == "closed":
            del self._open[record["id"]]
            self._since.pop(record["id"], None)
        elif record["type"] == "verdict" and not record["late"]:
            self.delays.append(time.monotonic() - self._since[record["id"]])
            if record["result"] != "applied":
                del self._since[record["id"]]  # what was applied is closed next

    def _answer(self):
        """One for each container that has none under way."""
        under_way = {self._open[each]["container"] for each in self._since}
        for each, record in self._open.items():
            if each not in self.said and record["container"] not in under_way:
                self.said[each] = self.chance.choice(("allow", "deny", "skip"))
                self.it.say("%s %s\n" % (self.said[each], each))
                self._since[each] = time.monotonic()
                under_way.add(record["container"])

    def ends(self):
        """It ends, and nothing is left; then what must hold."""
        self.it.hang_up()
        while self.it.read():
            pass
        assert self.it.child.wait() in (0, 5), self.it.child.stderr.read()
        for site in self.sites:
            eventually(lambda site=site: not site.listens(), what="nothing listens in " + site.container)
        self._every_verdict_ran_once()
        self._log_tells_the_same()

    def _every_verdict_ran_once(self):
        pending = {record["id"]: record for record in self.it.of("pending")}
        closed = {record["id"]: record["why"] for record in self.it.of("closed")}
        assert len(pending) == len(self.it.of("pending")) and len(closed) == len(self.it.of("closed"))
        assert pending.keys() == closed.keys(), "one end for each"
        told, late = ([one for one in self.it.of("verdict") if one["late"] == when] for when in (False, True))
        ids = [one["id"] for one in told]
        assert len(ids) == len(set(ids)), "told twice"
        assert all(one["action"] == self.said[one["id"]] for one in told), "another than was wanted"
        assert {one["id"] for one in late} <= set(ids), "late, and not told before"
        wanted = {each for each, action in self.said.items() if action != "skip"}
        for each in wanted - set(ids):
            assert closed[each] == "stopped", "lost: %s" % pending[each]
        self.figures["never sent"] = len(wanted - set(ids))
        for site in self.sites:
            self._ran_as_told(site, pending)
        assert self.figures["applied"] and self.it.of("container"), "something has happened"

    def _ran_as_told(self, site, pending):
        name = "%s/%s" % (site.name, site.container)
        wanted, applied = collections.Counter(), collections.Counter()
        for each, action in self.said.items():
            if pending[each]["container"] == name and action != "skip":
                wanted[action, pending[each]["dest"]] += 1
        for verdict in self.it.of("verdict"):
            if verdict["container"] == name:
                applied[verdict["action"], verdict["target"]] += verdict["result"] == "applied"
                self.figures[verdict["result"]] += 1
        ran = site.ran()
        assert not ran - wanted, "wrong or doubled: %r" % (ran - wanted)
        assert not applied - ran, "told and not run: %r" % (applied - ran)
        self.figures["ran on " + site.name] = sum(ran.values())

    def _log_tells_the_same(self):
        kinds = ("pending", "verdict", "closed", "lost", "container")
        with open(self.log) as log:
            logged = [record for record in map(json.loads, log) if record["type"] in kinds]
        assert logged == [record for record in self.it.records if record["type"] in kinds]

    def summary(self):
        """What happened, in one line."""
        asked = collections.Counter((one["container"], one["dest"]) for one in self.it.of("pending"))
        self.figures["pending"] = sum(asked.values())
        self.figures["asked anew"] = self.figures["pending"] - len(asked)
        self.figures["links lost"] = len([one for one in self.it.of("container") if one["state"] == "lost"])
        self.figures["links back"] = len([one for one in self.it.of("container") if one["state"] == "back"])
        self.figures["kB passed"] = sum(site.relay.passed for site in self.sites) // 1000
        delays = sorted(self.delays)
        told = ["%s %d" % each for each in sorted(self.figures.items())]
        told += ["delay p%d %.2f s" % (each, delays[len(delays) * each // 100]) for each in (50, 99)]
        return ", ".join(told)
