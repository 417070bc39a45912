"""Three machines over real ssh, whose links are slow, stall, break and come back at random.

Each way leads through a relay on loopback, which holds back what it passes on, for long now and then as when
packets are lost, and is cut.  What must hold: a verdict is run at most once for each time that it was wanted,
on the machine that it was wanted for; what is told as applied was run there, once; nothing is left behind.
"""

from __future__ import annotations

import collections
import os
import random
import select
import socket
import sys
import threading
import time

import lab as labs
import machines
import pytest
import scripting
from support import eventually

script = scripting.script

DELAY = 0.3  # seconds each way
SECONDS = float(os.environ.get("SIMPLE_CLEARANCE_SECONDS", "20"))


class Relay:
    """A way to a port: everything takes `DELAY`, some of it a second more; `cut` breaks it."""

    def __init__(self, port, chance):
        self.chance = chance
        self._to = port
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
                far = socket.create_connection(("127.0.0.1", self._to))
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
    """A machine, the way to it, and a container there."""

    def __init__(self, host, folder, number, chance):
        self.name, self.container = "m%d" % number, "k%d" % number
        self.lab = labs.Lab()
        host.container(self.container, self.lab)
        port = machines.free_port()
        self.relay = Relay(port, chance)
        self.machine = machines.Machine(
            host, os.path.join(folder, self.name), (self.name,), port=port, through=self.relay.port
        )

    def close(self):
        self.relay.close()
        self.machine.close()
        self.lab.close()


@pytest.mark.thorough
@pytest.mark.parametrize("seed", [1, 2])
def test_whatever_happens_to_the_links_no_verdict_is_wrong_lost_or_doubled(
    script, host, tmp_path, need, seed
):
    need("nft")
    machines.needed(terminal=False)
    os.symlink(sys.executable, os.path.join(host.bin, "python3"))
    chance = random.Random(seed)
    sites = [Site(host, str(tmp_path), number, chance) for number in range(3)]
    try:
        words = [word for site in sites for word in ("--host", "%s/%s" % (site.name, site.container))]
        it = script("--json", *words, names=(), reader=False)
        it.until("session")
        wanted = collections.Counter()
        played(it, sites, chance, wanted)
        it.hang_up()
        while it.read():
            pass
        assert it.child.wait() in (0, 5), it.child.stderr.read()
        check(it, host, wanted)
        for site in sites:
            eventually(lambda site=site: site.lab.holder() == 0, what="nothing listens in " + site.container)
    finally:
        for site in sites:
            site.close()


def played(it, sites, chance, wanted):
    """Blocks, answers, cuts, restarts and floods, for `SECONDS`."""
    ways = [
        (4.0, lambda site: site.relay.cut()),
        (11.0, lambda site: (site.machine.close(), site.machine.start())),
        (9.0, lambda site: site.lab.flood(300, first="198.18.%d.0" % chance.randrange(200))),
        (0.2, lambda site: site.lab.connect("198.51.100.%d" % chance.randrange(1, 250), 443)),
    ]
    until, answered = time.monotonic() + SECONDS, set()
    due = [time.monotonic() + each for each, _ in ways]
    while time.monotonic() < until:
        for number, (each, happens) in enumerate(ways):
            if due[number] <= time.monotonic():
                happens(chance.choice(sites))
                due[number] = time.monotonic() + each * chance.uniform(0.5, 1.5)
        if select.select([it.child.stdout], [], [], 0.1)[0]:
            assert it.read(), it.child.stderr.read()
        closed = {record["id"] for record in it.of("closed")}
        under_way = {one["container"] for one in it.of("pending") if one["id"] in answered - closed}
        for record in it.of("pending"):
            if record["id"] not in closed | answered and record["container"] not in under_way:
                answer(it, record, chance.choice(("allow", "deny", "skip")), wanted)
                answered.add(record["id"])
                under_way.add(record["container"])


def answer(it, record, action, wanted):
    it.say("%s %s\n" % (action, record["id"]))
    if action != "skip":
        wanted[action, record["container"].partition("/")[2], record["dest"]] += 1


def check(it, host, wanted):
    ran = collections.Counter(tuple(call.argv) for call in host.verdicts())
    told, applied = collections.Counter(), collections.Counter()
    for verdict in it.of("verdict"):
        what = (verdict["action"], verdict["container"].partition("/")[2], verdict["target"])
        told[what] += not verdict["late"]
        applied[what] += verdict["result"] == "applied"
    assert not ran - wanted, "wrong or doubled: %r" % (ran - wanted)
    assert not applied - ran, "told and not run: %r" % (applied - ran)
    assert not told - wanted, "told twice: %r" % (told - wanted)
    assert sum(applied.values()) and it.of("container"), "something has happened"
    pending, closed = ([record["id"] for record in it.of(kind)] for kind in ("pending", "closed"))
    assert sorted(pending) == sorted(closed), "one end for each"
