"""A hub that comes and goes under sessions with waiting questions, hundreds of times.

    with Soak(folder, pyz, seed=1) as soak:
        soak.run(lambda: soak.starts > 100)
    assert not soak.violations()

Each lane has a host of its own, whose container blocks all the time, and a script that answers in
any order and at any time.  Its hub is bound, listens, goes, leaves its socket's file behind, comes
back, in each of the places that a hub may have; how long it was there is written down, and the
verdict command writes down when its process was made.  There is no podman, so that a start is quick.

A look and the start of the command after it can't be one step, so a hub may come between them: then
one verdict is begun, however long after the look on a busy machine, and no second one.
"""

from __future__ import annotations

import json
import os
import random
import select
import shutil
import socket
import tempfile
import threading
import time

from host import Host, write
from scripting import Script
from support import PATIENCE

PATHS = (
    "terok/clearance/%s/hub.sock",
    "terok/events/%s/ingester.sock",
    "terok/clearance/%s.sock",
    "terok/events/%s.sock",
    "terok-clearance.sock",
    "terok-shield-events.sock",
)
VERDICT = """\
#!/bin/sh
read -r stat </proc/$$/stat
echo "$stat" >>%s/verdicts
sleep "$(cat %s/delay)"
"""

TICK = 1 / os.sysconf("SC_CLK_TCK")


class Verdict:
    """A verdict command that was run; `born` is when its process was made, by the tick before it."""

    def __init__(self, stat):
        ticks = int(
            stat.rpartition(")")[2].split()[19]
        )  # starttime, since the machine's start (proc_pid_stat(5))
        started = time.clock_gettime(time.CLOCK_BOOTTIME) - time.monotonic()
        self.born = ticks * TICK - started

    def was_begun_during(self, since, until):
        """Beyond doubt."""
        return since < self.born and self.born + TICK < until


class Hub:
    """A hub in one of its places.  `active` are (from, to): between them connecting succeeds."""

    def __init__(self, runtime, sid, chance):
        self._runtime, self._sid, self._chance = runtime, sid, chance
        self.active = []

    def come_and_go(self, over):
        path = self._chance.choice(PATHS)
        path = os.path.join(self._runtime, path % self._sid if "%" in path else path)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with socket.socket(socket.AF_UNIX) as hub:
            if os.path.lexists(path):
                os.unlink(path)
            hub.bind(path)
            over.wait(self._chance.choice((0.0, 0.0, 0.02, 0.3)))  # no notice comes of listen()
            hub.listen(1)
            began = time.monotonic()
            over.wait(self._chance.choice((0.02, 0.1, 0.4, 1.2)) * self._chance.uniform(0.7, 1.3))
            self.active.append((began, time.monotonic()))
        if self._chance.random() < 0.5:
            os.unlink(path)
        if self._chance.random() < 0.3:
            shutil.rmtree(os.path.join(self._runtime, "terok"), ignore_errors=True)


class Lane:
    """One host, one container, one hub, and one session after the other."""

    def __init__(self, folder, pyz, seed, hub=Hub):
        self._chance = random.Random(seed)
        self.host = Host(folder)
        self._c1 = self.host.container("c1")
        self.host.remove("podman")
        self.host.remove("terok-shield")
        write(self.host.bin + "/terok-shield", VERDICT % (folder, folder))
        os.chmod(self.host.bin + "/terok-shield", 0o755)
        self.runtime = tempfile.mkdtemp(prefix="run")
        self.hub = hub(self.runtime, self._c1.sid, random.Random(seed + 1))
        self._pyz = pyz
        self._sent = 0
        self.ends = []  # (exit code, records, stderr) of each session
        self.faults = []

    def run(self, over):
        threads = [
            threading.Thread(target=self._guarded, args=(work, over)) for work in (self._work, self._hub)
        ]
        for thread in threads:
            thread.start()
        return threads

    def _guarded(self, work, over):
        try:
            while not over.is_set():
                work(over)
        except Exception as error:  # else it would be lost with its thread
            self.faults.append(repr(error))

    def _hub(self, over):
        over.wait(self._chance.uniform(0.1, 0.8))
        self.hub.come_and_go(over)

    def _work(self, over):
        """One session, until the hub ends it or there is nothing left to do."""
        write(self.host.folder + "/delay", self._chance.choice(("0", "0", "0.1")))
        env = self.host.env(XDG_RUNTIME_DIR=self.runtime)
        feed = os.path.join(self.host.folder, "feed")
        if os.path.exists(feed):
            os.unlink(feed)  # the reader of the session before may be reading it still
        it = Script(self.host, self._pyz, "--json", "--state-dir", self._c1.state_dir, env=env)
        try:
            self._converse(it, over)
            self._hang_up(it)
            while select.select([it.child.stdout], [], [], PATIENCE)[0]:
                if not it.read():
                    break
            else:
                raise TimeoutError("it doesn't end: %r" % it.records[-3:])
            said = it.child.stderr.read().decode()
            self.ends.append((it.child.wait(PATIENCE), it.records, said))
        finally:
            it.child.stdin = None
            it.close()

    def _converse(self, it, over):
        """Something is blocked, something is answered, a few at a time, in any order."""
        until = time.monotonic() + self._chance.uniform(0.5, 6.0)
        asked, answered, waiting = 0, 0, []
        while it.child.poll() is None and time.monotonic() < until and not over.is_set():
            self._sent += 1
            it.block("198.18.%d.%d" % divmod(self._sent % 50_000, 250))
            patience = self._chance.uniform(0.0, 0.03)
            if select.select([it.child.stdout], [], [], patience)[0] and not it.read():
                return
            waiting += [record["id"] for record in it.of("pending")[asked:]]
            asked = len(it.of("pending"))
            if waiting and answered < len(it.of("closed")) + 4:
                which = waiting.pop(self._chance.randrange(len(waiting)))
                self._say(it, "%s %s\n" % (self._chance.choice(("allow", "allow", "deny", "skip")), which))
                answered += 1

    def _say(self, it, text):
        try:
            it.say(text)
        except BrokenPipeError:
            pass  # the hub has just ended it

    def _hang_up(self, it):
        try:
            it.hang_up()
        except BrokenPipeError:
            pass

    def verdicts(self):
        try:
            with open(self.host.folder + "/verdicts") as file:
                return [Verdict(line) for line in file]
        except FileNotFoundError:
            return []

    def close(self):
        self.host.close()
        shutil.rmtree(self.runtime, ignore_errors=True)


class Soak:
    """Several lanes side by side."""

    def __init__(self, folder, pyz, seed, lanes=4, hub=Hub):
        self.lanes = [
            Lane(os.path.join(folder, str(number)), pyz, 10 * seed + number, hub) for number in range(lanes)
        ]

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for lane in self.lanes:
            lane.close()

    def run(self, enough):
        """Until `enough()`, or until something has gone wrong."""
        over = threading.Event()
        threads = [thread for lane in self.lanes for thread in lane.run(over)]
        while not enough() and not any(lane.faults for lane in self.lanes):
            time.sleep(0.05)
        over.set()
        for thread in threads:
            thread.join()

    @property
    def starts(self):
        """How often a hub was there."""
        return sum(len(lane.hub.active) for lane in self.lanes)

    @property
    def verdicts(self):
        return sum(len(lane.verdicts()) for lane in self.lanes)

    def ends(self, code):
        return [end for lane in self.lanes for end in lane.ends if end[0] == code]

    def violations(self):
        """For each verdict command begun while a hub was active, but the first: seconds that it had been."""
        found = []
        for lane in self.lanes:
            verdicts = lane.verdicts()
            for since, until in lane.hub.active:
                begun = [verdict for verdict in verdicts if verdict.was_begun_during(since, until)]
                found += [verdict.born - since for verdict in begun[1:]]
        return found

    def faults(self):
        """What else is not as it has to be."""
        found = [fault for lane in self.lanes for fault in lane.faults]
        for lane in self.lanes:
            told = 0
            for code, records, said in lane.ends:
                if code not in (0, 1, 5) or "Traceback" in said or "internal error" in said:
                    found.append("ended with %d: %s" % (code, said))
                if (code == 1) != ("the clearance hub is active" in said):
                    found.append("ended with %d and said: %s" % (code, said))
                if records and (records[-1]["type"], records[-1]["exit"]) != ("summary", code):
                    found.append("ended with %d and told %s" % (code, json.dumps(records[-1])))
                verdicts = [record for record in records if record["type"] == "verdict"]
                told += sum(record["result"] in ("applied", "unknown") for record in verdicts)
                found += ["told as failed: %s" % record for record in verdicts if not _excused(record)]
            if told != len(lane.verdicts()):
                found.append("%d verdicts were run and %d told" % (len(lane.verdicts()), told))
        return found


def _excused(record):
    return record["result"] != "failed" or record["reason"] == "not-started"
