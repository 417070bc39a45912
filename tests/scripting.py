"""A script and the program as its coprocess: the archive, real pipes, stand-ins for podman and terok-shield.

    def test_…(script, host):
        it = script("--json")                 # events come from `it.block(…)`: the reader is a pipe of ours
        it.block("198.51.100.1")
        it.say("deny %s\\n" % it.until("pending")["id"])
        it.ends(0)                            # the end of input; what must hold of any session is checked

With `reader=False` its events are real packets of the container's namespace.  `quiet` is the same
without `--json`.  A module takes them with `script = scripting.script`.
"""

from __future__ import annotations

import json
import os
import select
import subprocess
import sys
import time

import pytest
from support import PATIENCE, eventually


class Script:
    """The program with `--json`, spoken to as a script would."""

    def __init__(
        self,
        host,
        pyz,
        *words,
        names=("c1",),
        reader=True,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        prefix=(),
        python=sys.executable,
        **options,
    ):
        self.host = host
        self.pyz = pyz
        self.records = []
        self._rest = b""
        self._feed = -1
        self._sent = 0
        words = words or ("--json",)
        if reader:
            words = ("--reader", self._open_feed(host), *words)
        argv = [*prefix, python, "-S", "-W", "error", pyz, *words, *names]
        options.setdefault("env", host.env())
        self.child = subprocess.Popen(argv, stdin=stdin, stdout=stdout, stderr=subprocess.PIPE, **options)

    def _open_feed(self, host):
        path = os.path.join(host.folder, "feed")
        if not os.path.exists(path):
            os.mkfifo(path)
        self._feed = os.open(path, os.O_RDWR)
        os.write(self._feed, b'{"type":"container_started","container":"c1"}\n')
        return "sh -c 'exec cat %s'" % path

    # --- events in

    def feed(self, *records):
        self.write(b"".join(json.dumps(record).encode() + b"\n" for record in records))

    def write(self, data):
        """Bytes as a reader might write them."""
        while data:
            data = data[os.write(self._feed, data[: 1 << 16]) :]

    def block(self, *dests, port=443, proto=6, **fields):
        """These are blocked."""
        lines = []
        for dest in dests:
            self._sent += 1
            lines.append(
                {
                    **{"type": "pending", "container": "c1", "id": "c1:%d" % self._sent, "dest": dest},
                    **{"port": port, "proto": proto, "domain": "", "dossier": {}, "ts": ""},
                    **{"class": "default", **fields},
                }
            )
        self.feed(*lines)

    def reader_ends(self):
        os.close(self._feed)
        self._feed = -1

    # --- signals

    def signal(self, number):
        """A signal, once it has been seen: it has woken up for it, and sleeps again or is gone."""
        before = eventually(self._switches, what="it sleeps")
        os.kill(self.child.pid, number)
        eventually(lambda: self._switches() not in (before, None), what="it has seen the signal")

    def _switches(self):
        """How often it went to sleep; None while it is awake."""
        with open("/proc/%d/status" % self.child.pid) as status:
            fields = dict(line.split(":\t", 1) for line in status if ":\t" in line)
        return None if fields["State"].startswith("R") else fields.get("voluntary_ctxt_switches", "gone")

    def ticks(self):
        """CPU that it has taken, in 1/100 s."""
        with open("/proc/%d/stat" % self.child.pid) as stat:
            fields = stat.read().rpartition(")")[2].split()
        return int(fields[11]) + int(fields[12])

    # --- answers

    def say(self, text):
        self.child.stdin.write(text.encode() if isinstance(text, str) else text)
        self.child.stdin.flush()

    def hang_up(self):
        self.child.stdin.close()

    # --- records out

    def until(self, kind, number=1, **fields):
        """Reads until there are `number` records of this type with these fields; the last one of them."""
        deadline = time.monotonic() + PATIENCE
        while True:
            found = [
                record
                for record in self.records
                if record["type"] == kind and all(record.get(key) == value for key, value in fields.items())
            ]
            if len(found) >= number:
                return found[number - 1]
            left = deadline - time.monotonic()
            assert left > 0, "no %s %r in %r" % (kind, fields, self.records[-20:])
            if select.select([self.child.stdout], [], [], left)[0]:
                assert self.read(), "it ended: %r, %s" % (self.records[-5:], self.child.stderr.read())

    def read(self):
        """Takes what there is, waiting for the first of it; False at its end."""
        data = os.read(self.child.stdout.fileno(), 1 << 20)
        lines = (self._rest + data).split(b"\n")
        self._rest = lines.pop()
        self.records += [json.loads(line) for line in lines]
        assert data or not self._rest, "the last line is whole"
        return bool(data)

    def silent(self, seconds):
        """Nothing more is told for so long."""
        return not select.select([self.child.stdout], [], [], seconds)[0]

    def ids(self, number):
        """Waits for that many requests; their ids in order."""
        self.until("pending", number)
        return [record["id"] for record in self.of("pending")]

    def of(self, kind):
        return [record for record in self.records if record["type"] == kind]

    # --- the end

    def ends(self, code, stderr=""):
        """It ends with this code; what must hold of any session is checked."""
        if self.child.stdin is not None:
            self.child.stdin.close()
        while self.child.stdout is not None and self.read():
            pass
        said = self.child.stderr.read().decode()
        assert self.child.wait(PATIENCE) == code, said
        assert said == stderr
        self.close()
        if self.records:
            self.holds(code)
        return self

    def holds(self, code):
        assert self.records[0]["type"] == "session" and self.records[-1]["type"] == "summary"
        assert self.records[-1]["exit"] == code
        pending = [record["id"] for record in self.of("pending")]
        assert len(set(pending)) == len(pending), "an id is used once"
        closed = [record["id"] for record in self.of("closed")]
        assert sorted(closed) == sorted(pending), "one end for each"

    def close(self):
        for stream in (self.child.stdin, self.child.stdout, self.child.stderr):
            if stream is not None:
                stream.close()
        if self._feed >= 0:
            os.close(self._feed)
            self._feed = -1
        if self.child.poll() is None:
            self.child.kill()
        self.child.wait()


class Quiet(Script):
    """The same with plain lines, to its end."""

    def lines(self):
        """All it said on stdout; on stderr there is nothing."""
        # not `communicate`: it passes over what an earlier `readline` has read ahead
        out, err = self.child.stdout.read(), self.child.stderr.read()
        self.child.wait()
        for stream in (self.child.stdout, self.child.stderr):
            stream.close()
        assert err == b""
        self.child.stdin = self.child.stdout = self.child.stderr = None
        return out.decode().splitlines()


def _started(kind, host, pyz, **defaults):
    host.control("terok-shield", mode="silent")
    started = []

    def start(*words, **options):
        for name in options.get("names", ("c1",)):
            if name not in host.containers:
                host.container(name)
        archive = options.pop("pyz", pyz)
        started.append(kind(host, archive, *words, **{**defaults, **options}))
        return started[-1]

    yield start
    for each in started:
        each.close()


def _script(host, pyz):
    """`script(*words)`: the program for c1, `--json` unless there are words."""
    host.container("c1", dossier__project="demo")
    yield from _started(Script, host, pyz)


def _quiet(host, pyz):
    """`quiet(*words)`: the program for c1 with these words, and no stdin."""
    host.container("c1", dossier__project="demo")
    yield from _started(Quiet, host, pyz, stdin=subprocess.DEVNULL)


def _bare(host, pyz):
    """`bare(*words, names=...)`: the same on a host without a container of its own."""
    yield from _started(Script, host, pyz)


script = pytest.fixture(_script)
bare = pytest.fixture(_bare)
quiet = pytest.fixture(_quiet)
