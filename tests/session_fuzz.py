"""Whole sessions at random: the archive on a terminal, several shielded namespaces, all that can happen.

    with Episode(folder, pyz, seed=7, seconds=8) as episode:
        episode.run()
        assert not episode.faults()

What happens to the session is chosen by the seed: real packets of all kinds, floods, packets that
contradict themselves, query logs with forged lines, keys at any speed, verdict commands that fail or
hang, windows of any size, Ctrl-Z, ends of containers, a reader killed.  When it happens is up to the
machine, so a seed tells the same story only nearly.

Everything is judged from outside, afterwards: by the bytes that came out and when, the keys that were
typed and when, what the stand-in for terok-shield was run with and when, the packets that were sent,
and the record that `--log` left.
"""

from __future__ import annotations

import json
import os
import random
import re
import subprocess
import sys
import termios
import threading
import time
from collections import Counter
from typing import Any, Callable

import pyte
from endtoend import ARMED_OWN, as_opened, processes
from host import Call, Host
from lab import Lab
from support import PATIENCE, eventually
from terminal_driver import Session, state

TAKE_BACK = 0.45
"""Any key takes back the one that came so many seconds before; a little less than is promised."""
QUIET = 0.15
"""Seconds without a key before one decides."""
LATE = 0.15
"""Seconds by which this process may see the screen later than it was painted, on an idle machine."""

OPEN = "connected sent ECONNREFUSED"  # a timeout is none: answers to IPv6 are told only so often
WORDS = ["cat", "bash", "apt update", "docker ps", "nano", "ls -la", "sudo make install", "git add -A\r"]
NAMES = ["www.example.com", "api.example.org", "a.b.c.d.example.net", "x" * 60 + "." + "y" * 50 + ".example"]
MODES = ["", "", "", "", "fail", "hang", "killed", "silent", "half", "stubborn"]
SIZES = [(1, 1), (2, 2), (5, 20), (10, 37), (24, 60), (60, 200), (24, 1), (1, 80)]
OURS = re.compile(rb"\x1b\[[0-9;]*m|\x1b\[A|[ -~\r\n\a]")
ADDRESSES = [
    "203.0.113.%d",
    "198.51.100.%d",
    "2001:db8::%x",
    "2001:db8:5:1234:5678:9abc:def0:%x",
    "10.0.2.%d",
]

# The shell of the session: it tells of each stop and of the end, and whether the terminal was given back.
_SHELL = r"""
import os, signal, sys, termios, time
report = open(sys.argv[1], "w", 1)
before = termios.tcgetattr(0)
before[3] &= ~termios.ECHO  # what is typed while nobody listens is not taken for output
termios.tcsetattr(0, termios.TCSANOW, before)
shell = [signal.SIGTTOU, signal.SIGTTIN, signal.SIGTSTP, signal.SIGINT, signal.SIGQUIT]
for number in shell:
    signal.signal(number, signal.SIG_IGN)
pid = os.fork()
if not pid:
    os.setpgid(0, 0)
    os.tcsetpgrp(0, os.getpid())
    for number in shell:
        signal.signal(number, signal.SIG_DFL)
    os.execvp(sys.argv[2], sys.argv[2:])
report.write("pid %d\n" % pid)
typed = open(0, "rb", 0, closefd=False)
while True:
    _, status = os.waitpid(pid, os.WUNTRACED)
    ended = time.monotonic()
    same = termios.tcgetattr(0) == before
    os.tcsetpgrp(0, os.getpid())
    termios.tcsetattr(0, termios.TCSANOW, before)
    if not os.WIFSTOPPED(status):
        code = -os.WTERMSIG(status) if os.WIFSIGNALED(status) else os.WEXITSTATUS(status)
        report.write("ended %d %d %f\n" % (code, same, ended))
        break
    report.write("stopped %d\n" % same)
    while not typed.readline().endswith(b"fg\n"):
        pass
    os.tcsetpgrp(0, pid)
    os.killpg(pid, signal.SIGCONT)
    report.write("continued\n")
"""

_RAW = """
import socket, struct
def raw(dest, packet):
    family = socket.AF_INET6 if ":" in dest else socket.AF_INET
    with socket.socket(family, socket.SOCK_RAW, 255) as s:
        try: s.sendto(packet, (dest, 0))
        except OSError: pass
def ipv4(dest, proto, rest, version=4):
    head = struct.pack(">BBHHHBBH", version << 4 | 5, 0, 20 + len(rest), 7, 0, 64, proto, 0)
    return head + socket.inet_aton("127.0.0.1") + socket.inet_aton(dest) + rest
def ipv6(dest, proto, rest, version=6):
    head = struct.pack(">IHBB", version << 28, len(rest), proto, 64)
    return head + socket.inet_pton(socket.AF_INET6, "::1") + socket.inet_pton(socket.AF_INET6, dest) + rest
def ping(dest):
    six = ":" in dest
    with socket.socket(socket.AF_INET6 if six else socket.AF_INET, socket.SOCK_RAW, 58 if six else 1) as s:
        try: s.sendto(bytes((128 if six else 8, 0, 0xf7, 0xff)) + bytes(4), (dest, 0))
        except OSError: pass
"""


class Key:
    """What was typed in one write: at `sent` it had been, and right before the screen was as it was."""

    def __init__(self, data: bytes, before: float, sent: float) -> None:
        self.data, self.before, self.sent = data, before, sent
        self.used = False

    def __repr__(self) -> str:
        return "%r at %.3f" % (self.data, self.sent)


class Shown:
    """The screen as it stood when a key was typed, and since when what it asks had stood there."""

    def __init__(self, rows: list[str], asked: tuple[str, float], columns: int) -> None:
        self.rows, self.columns = rows, columns
        self.asked, self.since = asked

    def has(self, text: str) -> bool:
        """Whole in a row, or folded, which ends at blanks."""
        whole = re.compile(r"(?<![\w.:-])%s(?![\w:-]|\.\w)" % re.escape(text))
        return bool(whole.search("\n".join(self.rows))) or text in "".join(
            row.strip().lstrip("| ") for row in self.rows
        )


class Jitter(threading.Thread):
    """How late this process may be: the longest it was kept from waking, and when."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.over = threading.Event()
        self.gaps: list[tuple[float, float]] = []

    def run(self) -> None:
        last = time.monotonic()
        while not self.over.wait(0.02):
            now = time.monotonic()
            if now - last > 0.05:
                self.gaps.append((now, now - last))
            last = now

    def around(self, moment: float) -> float:
        return max([gap for at, gap in self.gaps if moment - 2 < at < moment + 2], default=0.0)


class Episode:
    """One session, from its start to its end, on a host of its own."""

    def __init__(self, folder: str, pyz: str, seed: int, seconds: float) -> None:
        self.seed, self.seconds, self.pyz = seed, seconds, pyz
        self.chance = random.Random(seed)
        self.host = Host(folder)
        self.labs: dict[str, Lab] = {}
        self.keys: list[Key] = []
        self.sizes: list[tuple[float, int, int]] = []
        self.sent: dict[tuple[str, str, int | None, int], float] = {}  # what was blocked, and when first
        self.story: list[str] = []
        self.blind: set[str] = set()  # containers whose reader was killed
        self.alive_at: dict[int, float] = {}  # verdict commands without an end, and when they still ran
        self._floods = 0
        self._told_to_end: list[float] = []
        self._report = os.path.join(folder, "report")
        self._log = os.path.join(folder, "log.jsonl")
        self._careful = self.chance.random() < 0.5  # the operator
        self._jitter = Jitter()
        self.t: Any = None
        try:
            for number in range(self.chance.randint(1, 3)):
                name = "c%d" % (number + 1)
                self.labs[name] = lab = Lab(rules=self.chance.choice((18, 18, 14)))
                lab.listen(443)
                self.host.container(name, lab)
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Episode:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def close(self) -> None:
        self._jitter.over.set()
        if self.t is not None:
            for pid in self._ours():
                os.kill(pid, 9)
            self.t.close()
        self.host.close()
        for lab in self.labs.values():
            lab.close()

    # --- the session

    def run(self) -> None:
        self._jitter.start()
        self._shield()
        env = self.host.env(TERM=self.chance.choice(["xterm-256color", "xterm-256color", "vt100", "dumb"]))
        words = ["--log", self._log, "--verdict-timeout", self.chance.choice(["0.5", "1.5", "30"])]
        argv = [sys.executable, "-S", "-W", "error", self.pyz, *words, *self.labs]
        size = self.chance.choice([(24, 80), (24, 80), (40, 120), self.chance.choice(SIZES)])
        self.sizes.append((0.0, *size))
        self._say("starts in %dx%d: %s" % (*size, " ".join([env["TERM"], *words, *self.labs])))
        self.t = Session([sys.executable, "-I", "-S", "-c", _SHELL, self._report, *argv], env, size)
        eventually(lambda: self._over or all(lab.holder() for lab in self.labs.values()), what="it listens")
        until = time.monotonic() + self.seconds
        acts = [act for act, weight in self._acts() for _ in range(weight)]
        while time.monotonic() < until and not self._over and self._living:
            self.chance.choice(acts)()
            self._look_at_verdicts()
        self._end()

    def _acts(self) -> list[tuple[Callable[[], None], int]]:
        return [
            (self._tries, 12),
            (self._pings, 2),
            (self._floods_it, 1),
            (self._contradicts, 2),
            (self._looks_up, 3),
            (self._forges, 2),
            (self._operates, 40 if self._careful else 10),
            (self._confirms, 8 if self._careful else 4),
            (self._hurries, 1 if self._careful else 8),
            (self._types, 1),
            (self._holds, 2),
            (self._resizes, 3),
            (self._shield, 3),
            (self._stops, 1),
            (self._stalls, 1),
            (self._pauses, 4),
            (self._one_ends, 1),
        ]

    def _say(self, what: str) -> None:
        self.story.append("%.3f %s" % (time.monotonic(), what))

    def _reports(self, word: str = "") -> list[list[str]]:
        try:
            with open(self._report) as file:
                lines = [line.split() for line in file if line.endswith("\n")]
        except FileNotFoundError:
            return []
        return [line for line in lines if not word or line[0] == word]

    @property
    def _over(self) -> bool:
        return bool(self._reports("ended"))

    @property
    def _living(self) -> list[str]:
        return [name for name, lab in self.labs.items() if os.path.exists("/proc/%d/net" % lab.pid)]

    def _ours(self) -> list[int]:
        return [pid for pid, argv in processes(self.pyz) if argv[0] == sys.executable and "-S" in argv]

    # --- what the containers do

    def _container(self) -> str:
        return self.chance.choice(self._living)

    def _address(self) -> str:
        return self.chance.choice(ADDRESSES) % self.chance.randint(1, 9)

    def _tries(self) -> None:
        for _ in range(self.chance.randint(1, 5)):
            self._blocks()

    def _blocks(self) -> None:
        name, address = self._container(), self._address()
        port = self.chance.choice([443, 443, 80, 5432, 53])
        proto = self.chance.choice(["tcp", "udp"])
        came = self.labs[name].connect(address, port, proto, timeout=0.2)
        if came not in OPEN:
            self._was_blocked(name, address, port, 6 if proto == "tcp" else 17)
        self._say("%s %s %s %d: %s" % (name, proto, address, port, came))

    def _was_blocked(self, name: str, address: str, port: int, proto: int) -> None:
        self.sent.setdefault((name, address, port, proto), time.monotonic())

    def _pings(self) -> None:
        name, address = self._container(), self._address()
        self.labs[name].python(_RAW + "ping(%r)" % address)
        self._say("%s pings %s" % (name, address))

    def _floods_it(self) -> None:
        name, number = self._container(), self.chance.choice([50, 400, 3000])
        self._floods += 1
        first = "198.18.%d.0" % (16 * self._floods % 256)
        if self.chance.random() < 0.4:
            address = self._address()
            self.labs[name].flood(number, same=True, first=address)
            self._say("%s sends %d to %s" % (name, number, address))
            return
        if 16 * self._floods < 240:
            self.labs[name].flood(number, first=first)
            base = 16 * self._floods * 256
            for index in range(number):
                self._was_blocked(name, "198.18.%d.%d" % divmod(base + index, 256), 443, 17)
            self._say("%s floods %d from %s" % (name, number, first))

    def _contradicts(self) -> None:
        code = self.chance.choice(
            [
                "raw('2001:db8::31', ipv4('198.51.100.66', 17, bytes(40))[:24] + bytes(32))",
                "raw('2001:db8::31', ipv6('2001:db8::31', 17, bytes(8), 4))",
                "raw('198.51.100.67', ipv4('198.51.100.67', 17, bytes(8), 6))",
                "raw('198.51.100.68', ipv4('198.51.100.68', 6, bytes(13) + b'\\x11' + bytes(6)))",
                "raw('198.51.100.69', ipv4('198.51.100.69', 6, b'x'))",
                "raw('2001:db8::32', ipv6('2001:db8::32', 0, bytes(range(40))))",
                "raw('2001:db8::33', ipv6('2001:db8::33', 44, b'\\x11' + bytes(50)))",
            ]
        )
        self.labs[self._container()].python(_RAW + code)
        self._say(code)

    def _looks_up(self) -> None:
        name, asked, address = self._container(), self.chance.choice(NAMES), self._address()
        self.host.containers[name].looks_up(asked, address)
        self._say("%s looks up %s: %s" % (name, asked[:20], address))

    def _forges(self) -> None:
        address = self._address()
        head = time.strftime("%b %e %H:%M:%S") + " dnsmasq[17816]: "
        line = self.chance.choice(
            [
                head + "reply \x1b[2J\x07evil.example is %s\n" % address,
                head
                + "reply a is 0.0.0.0/0\n"
                + head
                + "reply www.example.com is %s is %s\n" % (address, address),
                head + "reply b.example is\n" + head + "reply " + "c" * 70_000 + " is %s\n" % address,
                head + "query[A] www.exam",
                "\0\xff\n\n\r\n" + head + "reply c1  203.0.113.99  tcp 443 is %s\n" % address,
                head + "exiting on receipt of SIGTERM\n" + head + "started, version 2.90 cache disabled\n",
            ]
        )
        self.host.containers[self._container()].append("dnsmasq.log", line.encode("latin-1"))
        self._say("forges %r" % line[:60])

    def _shield(self) -> None:
        """How the next verdicts go."""
        names = {asked: [self._address() for _ in range(self.chance.randint(0, 3))] for asked in NAMES}
        wanted = dict(mode=self.chance.choice(MODES), delay=self.chance.choice([0, 0, 0.3, 1.0]), names=names)
        self.host.control("terok-shield", **wanted)
        self._say("verdicts: %(mode)s %(delay)s" % wanted)

    def _one_ends(self) -> None:
        """Rarely: a container, or the reader of one."""
        if self.chance.random() < 0.7:
            return
        name = self._container()
        if self.chance.random() < 0.3:
            readers = [pid for pid in (self.labs[name].holder(),) if pid in self._ours()]
            if readers:
                self.blind.add(name)
                self._say("the reader of %s is killed" % name)
                os.kill(readers[0], 9)
                time.sleep(0.2)
        elif len(self._living) > 1:
            self._ends(name)

    def _ends(self, name: str) -> None:
        self._say("%s ends" % name)
        self.host.containers[name].stop(told=self.chance.random() < 0.8)

    # --- what the operator does

    def _key(self, data: str | bytes) -> None:
        data = data.encode("latin-1") if isinstance(data, str) else data
        before = time.monotonic()
        sent = self.t.send(data)
        self.keys.append(Key(data, before, sent))
        self._say("types %r" % data)

    def _operates(self) -> None:
        """As somebody who reads what stands there first."""
        time.sleep(self.chance.choice([0.6, 0.6, 1.2]))
        last = " ".join(self.t.screen()[-2:])
        if "any other key: no" in last:
            self._key(self.chance.choice("yyyn"))
        elif " back" in last:
            self._key("h" if "h back" in last else "l")
        elif "i l ? q" in last:
            self._key(self.chance.choice("aaaaaaadddAAsm"))
        else:
            self.chance.choice([self._blocks, lambda: self._key("u")])()
        time.sleep(self.chance.choice([0.1, 0.6, 0.6, 0.6]))

    def _confirms(self) -> None:
        """What takes a second key."""
        time.sleep(self.chance.choice([0.5, 1.2]))
        keys = self.chance.choice(
            ["Ay", "Ay", "uy", "uy", "An", "lq", "h1", "l1s", "l1a1\r", "l1a1\r", "l*a2\r", "l\r", "qn"]
        )
        for key in keys:
            self._key(key)
            time.sleep(self.chance.choice([0.2, 0.7, 0.7]))

    def _hurries(self) -> None:
        """Any keys, at any time."""
        for _ in range(self.chance.randint(1, 6)):
            key = self.chance.choice([*"aAsmdulhi?y123* \r\n\t\x7f\x0c", "\x1b", "\x1b[A", "\x1bOA", "\x1ba"])
            burst = self.chance.random() < 0.2
            self._key(key * self.chance.randint(2, 40) if burst else key)
            time.sleep(self.chance.choice([0.0, 0.01, 0.05, 0.2, 0.45]))

    def _types(self) -> None:
        """What was meant for another window."""
        pause = self.chance.choice([0.02, 0.06, 0.09, 0.13, 0.2, 0.3])
        for key in self.chance.choice(WORDS):
            self._key(key)
            time.sleep(pause)

    def _holds(self) -> None:
        key, delay = self.chance.choice("aady\rs"), self.chance.choice([0.25, 0.5])
        self._key(key)
        time.sleep(delay)
        for _ in range(self.chance.randint(2, 25)):
            self._key(key)
            time.sleep(0.033)

    def _resizes(self) -> None:
        for _ in range(self.chance.choice([1, 1, 5])):
            rows, columns = self.chance.choice(
                [(24, 80), (24, 80), (24, 80), self.chance.choice(SIZES), self._any_size()]
            )
            self.t.resize(rows, columns)
            self.sizes.append((time.monotonic(), rows, columns))
            self._say("resizes to %dx%d" % (rows, columns))
            time.sleep(self.chance.choice([0.0, 0.05, 0.3]))

    def _any_size(self) -> tuple[int, int]:
        return self.chance.randint(1, 60), self.chance.randint(1, 200)

    def _stops(self) -> None:
        """Ctrl-Z, and after a while `fg`."""
        number = len(self._reports("stopped"))
        self._key("\x1a")
        eventually(lambda: self._over or len(self._reports("stopped")) > number, what="Ctrl-Z stops it")
        for _ in range(self.chance.randint(0, 3)):
            if self._living and not self._over:
                self.chance.choice([self._blocks, self._looks_up, self._floods_it])()
        if self._over:
            return
        self.t.send("fg\n")
        eventually(lambda: self._over or len(self._reports("continued")) > number, what="fg goes on")

    def _stalls(self) -> None:
        """Ctrl-S, and after a while Ctrl-Q: the terminal takes nothing meanwhile."""
        self._say("stalls")
        self.t.send("\x13")
        self._blocks()
        time.sleep(self.chance.choice([0.1, 0.6]))
        self.t.send("\x11")

    def _pauses(self) -> None:
        time.sleep(self.chance.choice([0.05, 0.5, 1.0]))

    # --- the end

    def _end(self) -> None:
        self._say("the end")
        way = self.chance.choice(["q", "Ctrl-C", "Ctrl-C", "twice", "containers", "SIGTERM"])
        if way == "containers":
            for name in self._living:
                if self.chance.random() < 0.5:
                    for _ in range(20):
                        self._blocks()
                self._ends(name)
        deadline = time.monotonic() + PATIENCE
        impatient = time.monotonic() + (0.3 if way == "twice" else 20)
        self._say("by " + way)
        if way == "SIGTERM":
            for line in self._reports("pid"):
                if not self._over:
                    self._told_to_end.append(time.monotonic())
                    os.kill(int(line[1]), 15)
        while not self._over:
            assert time.monotonic() < deadline, "it doesn't end"
            if way == "q" and time.monotonic() < impatient:
                self._key("q")
                time.sleep(0.6)
            elif way in ("Ctrl-C", "twice") or time.monotonic() > impatient:
                self._key("\x03")
                way = "" if way == "Ctrl-C" else way
                time.sleep(0.4)
            self._look_at_verdicts()
            time.sleep(0.05)
        self.t.wait()
        self._say("over")
        self._another()

    def _another(self) -> None:
        """Where a verdict command was left running: another session has one for that container."""
        left = [call.argv[1] for call in self.host.verdicts() if call.ended is None and self._runs(call)]
        if not {*left} & {*self._living}:
            return
        name = ({*left} & {*self._living}).pop()
        self._say("another session, for " + name)
        self.host.control("terok-shield")
        argv = [
            sys.executable,
            "-S",
            self.pyz,
            "--answer",
            "allow",
            "--for",
            "3",
            "--verdict-timeout",
            "0.5",
            name,
        ]
        null = subprocess.DEVNULL
        with subprocess.Popen(
            argv, stdin=null, stdout=null, stderr=null, env=self.host.env(), start_new_session=True
        ) as process:
            eventually(lambda: process.poll() is not None or self.labs[name].holder(), what="it listens")
            self.labs[name].connect("192.0.2.77", 443, "udp")
            while process.poll() is None:
                self._look_at_verdicts()
                time.sleep(0.05)
        self._say("ended with %s" % process.returncode)

    def _look_at_verdicts(self) -> None:
        now = time.monotonic()
        for call in self.host.verdicts():
            if call.ended is None and self._runs(call):
                self.alive_at[call.pid] = now

    def _runs(self, call: Call) -> bool:
        try:
            with open("/proc/%d/cmdline" % call.pid, "rb") as file:
                return self.host.folder.encode() in file.read() and state(call.pid) != "Z"
        except FileNotFoundError:
            return False

    # --- what must hold

    def faults(self) -> list[str]:
        """What is not as it has to be; each is a sentence."""
        text = self.t.text()
        found = []
        (ended,) = self._reports("ended")
        code = int(ended[1])
        if "Traceback" in text or "internal error" in text or code not in (0, 4, 5):
            found.append("it ended with %d: %s" % (code, text[-1500:]))
        if ended[2] != "1" or self.t.termios()[3] | termios.ECHO != as_opened()[3]:
            found.append("the terminal is not as it was at the end")
        if any(line[1] != "1" for line in self._reports("stopped")):
            found.append("the terminal is not as it was when it was stopped")
        rest = OURS.sub(b"", bytes(self.t.raw))
        if rest:
            found.append("not ours to print: %r" % rest[:80])
        return found + self._left() + self._numbers(code) + self._verdicts_at_once() + self._unauthorised()

    def _left(self) -> list[str]:
        try:
            eventually(lambda: not self._ours(), what="nothing of it is left")
        except AssertionError:
            return ["processes are left: %s" % self._ours()]
        text = "".join(self.t.text().split())
        return [
            "%s (pid %d) still runs, and was not told" % (call, call.pid)
            for call in self.host.verdicts()
            if call.ended is None and self._runs(call) and "pid%d" % call.pid not in text
        ]

    def records(self) -> list[dict[str, Any]]:
        with open(self._log) as file:
            return [json.loads(line) for line in file]

    def _numbers(self, code: int) -> list[str]:
        """Every blocked destination is told, counted or lost; the end's code is that of its numbers."""
        found, records = [], self.records()
        if not records or records[-1]["type"] != "summary":
            return ["the record has no end: %s" % records[-1:]]
        summary = records[-1]
        if summary["exit"] != code:
            found.append("it ended with %d and told %s" % (code, summary))
        if (code == 0 and (summary["open"] or summary["lost"])) or (self.blind and code != 4):
            found.append("ended with %d: %s, readers killed: %s" % (code, summary, sorted(self.blind)))
        if code == 4 and not self.blind:
            found.append("ended with 4, but no reader was killed")
        if code == 5 and not any(summary[word] for word in ("open", "lost", "failed", "unknown")):
            found.append("ended with 5 for nothing: %s" % summary)
        pending = [record for record in records if record["type"] == "pending"]
        told = {(r["container"], r["dest"], r["port"], r["proto"]) for r in pending}
        watched = self._watched_until()
        missing = [
            it for it, at in self.sent.items() if it not in told and it[0] not in self.blind and at < watched
        ]
        if len(missing) > summary["lost"] + summary["untold"]:
            found.append("%d neither told nor counted: %s" % (len(missing), sorted(missing)[:5]))
        closed = Counter(record["id"] for record in records if record["type"] == "closed")
        asked = Counter(record["id"] for record in pending)
        # what is open at the end is closed by nobody
        if not set(closed) <= set(asked) or any(number > 1 for number in [*closed.values(), *asked.values()]):
            found.append("requests closed %s" % (closed - asked))
        if len(set(asked) - set(closed)) not in (0, summary["open"]):
            found.append("%d are not closed, %d open" % (len(set(asked) - set(closed)), summary["open"]))
        return found

    def _watched_until(self) -> float:
        """Until when it certainly listened: to the end, or until it was asked to leave."""
        ended = float(self._reports("ended")[0][3])
        asked = [key.before for key in self.keys if {*key.data} & {*b"q\x03"}] + self._told_to_end
        return min([ended, *(at - 1.0 for at in asked if at > ended - 10.0)])

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
        """Verdict commands that no deciding key stands behind, pressed while their target stood there."""
        ended = float(self._reports("ended")[0][3])
        calls = [call for call in self.host.verdicts() if call.began < ended]
        keys = self._deciding()
        screens = self._screens(keys)
        found = []
        for call in calls:
            for key in keys:
                if not key.used and key.sent < call.began and self._decides(key, screens[key], call):
                    key.used = key.data not in b"\r\n"
                    break
            else:
                near = [
                    "%r: asked %s for %.3f s" % (key, screens[key].asked, key.before - screens[key].since)
                    for key in keys
                    if key.sent < call.began
                ]
                found.append("nobody wanted %s, begun at %.3f; %s" % (call, call.began, near[-4:]))
        return found

    def _deciding(self) -> list[Key]:
        """Keys that came alone: something else neither right before nor soon after."""
        found, before = [], -1e99
        for index, key in enumerate(self.keys):
            after = self.keys[index + 1].before if index + 1 < len(self.keys) else 1e99
            alone = key.sent - before >= QUIET and after - key.sent >= TAKE_BACK
            if alone and key.data in (b"a", b"d", b"y", b"\r", b"\n"):
                found.append(key)
            before = key.before
        return found

    def _decides(self, key: Key, shown: Shown, call: Call) -> bool:
        """Whether that key was about this verdict, which stood there for long enough, and whole."""
        action, container, target = call.argv
        tolerance = LATE + self._jitter.around(key.sent)
        if key.before - shown.since < ARMED_OWN - tolerance or not shown.has(target):
            return False
        if len(self.labs) > 1 and not shown.has(container):
            return False
        if key.data in b"\r\n":
            return action == "allow" and any("number: " in row for row in shown.rows)
        if key.data == b"y":
            wanted = re.compile(r"y %s (%s|it)" % (action, re.escape(target)))
            return any(wanted.match(row) for row in shown.rows)
        if (key.data == b"a") != (action == "allow"):
            return False
        return shown.columns < 60 or shown.asked == "%s  %s" % (container, target)

    def _screens(self, keys: list[Key]) -> dict[Key, Shown]:
        """What stood on the screen before each of these was typed: the terminal's story, told again."""
        events: list[tuple[float, int, Any]] = [(at, 1, data) for at, data in self.t.chunks]
        events += [(at, 0, (rows, columns)) for at, rows, columns in self.sizes[1:]]
        events += [(key.before, 2, key) for key in keys]
        _, rows, columns = self.sizes[0]
        screen = pyte.Screen(columns, rows)
        stream = pyte.ByteStream(screen)
        asked, found, before = ("", 0.0), {}, b""
        floor = [r for r in self.records() if r["type"] == "pending" and r["floor"]]
        told = {"%(container)s  %(dest)s" % record for record in floor}  # not asked
        for at, kind, what in sorted(events, key=lambda event: event[:2]):
            if kind == 0:
                rows, columns = what
                screen.resize(rows, columns)
            elif kind == 1:
                stream.feed(what)
                before = (before + what)[-4096:] if what else before
                for match in _HEAD.finditer(before):
                    head = "%s  %s" % (match[1].decode(), (match[2] or match[3]).decode())
                    if match.end() > len(before) - len(what) and head not in told:
                        asked = (head, at)
            else:
                found[what] = Shown([row.rstrip() for row in screen.display], asked, columns)
        return found


_HEAD = re.compile(
    rb"(?:^|[\r\n])(?:\x1b\[1m)?(c\d)  (?:([0-9a-f.:]+)  \w[^\n]*"
    rb"|(?:tcp|udp|icmp|ipv6|proto)[^\n]*\n  ([0-9a-f.:]+)[^\n]*)\n"
)
"""The first line of a question, or its first two."""
