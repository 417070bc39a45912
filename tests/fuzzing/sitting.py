"""A session on a terminal at random, with an operator who is careful, or not.

    with Sitting(folder, pyz, seed=7, seconds=8) as sitting:
        sitting.run()
        assert not sitting.faults()

Keys come at any speed, windows have any size; a verdict has to have a deciding key that was pressed while
its whole target stood on the screen, for long enough.
"""

from __future__ import annotations

import os
import re
import signal
import termios
import time
from typing import Any, Callable

import pyte
from endtoend import ARMED_OWN, as_opened
from fuzzing.episode import Episode
from host import Call
from support import eventually
from terminal_driver import Session

TAKE_BACK = 0.45
"""Any key takes back the one that came so many seconds before; a little less than is promised."""
QUIET = 0.15
"""Seconds without a key before one decides."""
LATE = 0.15
"""Seconds by which this process may see the screen later than it was painted, on an idle machine."""

WORDS = ["cat", "bash", "apt update", "docker ps", "nano", "ls -la", "sudo make install", "git add -A\r"]
SIZES = [(1, 1), (2, 2), (5, 20), (10, 37), (24, 60), (60, 200), (24, 1), (1, 80)]
OURS = re.compile(rb"\x1b\[[0-9;]*m|\x1b\[A|[ -~\r\n\a]")

# The shell of the session: it tells of each stop and of the end, and whether the terminal was given back.
_SHELL = r"""
import os, signal, sys, termios, time
report = open(sys.argv[1], "w", 1)
before = termios.tcgetattr(0)
before[3] &= ~termios.ECHO  # what is typed while nobody listens is not taken for output
termios.tcsetattr(0, termios.TCSANOW, before)
shell = [signal.SIGTTOU, signal.SIGTTIN, signal.SIGTSTP, signal.SIGINT, signal.SIGQUIT, signal.SIGHUP]
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
    try:
        same = termios.tcgetattr(0) == before
        os.tcsetpgrp(0, os.getpid())
        termios.tcsetattr(0, termios.TCSANOW, before)
    except (termios.error, OSError):
        same = 2  # there is no terminal any more
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


MANY = re.compile(r"y deny \d+ addresses")
"""What takes back as one all that the list has allowed; its addresses stand above, as many as have room."""


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

    def asks(self, what: re.Pattern[str]) -> bool:
        """Whether one of its rows begins like that."""
        return any(what.match(row) for row in self.rows)

    def has(self, text: str) -> bool:
        """Whole in a row, or folded, which ends at blanks."""
        whole = re.compile(r"(?<![\w.:-])%s(?![\w:-]|\.\w)" % re.escape(text))
        return bool(whole.search("\n".join(self.rows))) or text in "".join(
            row.strip().lstrip("| ") for row in self.rows
        )


class Sitting(Episode):
    """A person at a terminal."""

    def __init__(self, folder: str, pyz: str, seed: int, seconds: float) -> None:
        super().__init__(folder, pyz, seed, seconds)
        self.keys: list[Key] = []
        self.sizes: list[tuple[float, int, int]] = []
        self._report = os.path.join(folder, "report")
        self._careful = self.chance.random() < 0.5
        self._hung_up = False
        self._impatient = 0.0
        self.t: Any = None

    def close(self) -> None:
        if self.t is not None:
            for pid in self.ours():
                os.kill(pid, 9)
            self.t.close()
        super().close()

    # --- its course

    def start(self) -> None:
        env = self.env(TERM=self.chance.choice(["xterm-256color", "xterm-256color", "vt100", "dumb"]))
        argv = self.argv()
        size = self.chance.choice([(24, 80), (24, 80), (40, 120), self.chance.choice(SIZES)])
        self.sizes.append((0.0, *size))
        self.say("starts in %dx%d, TERM=%s: %s" % (*size, env["TERM"], " ".join(argv[4:])))
        self.t = Session([argv[0], "-I", "-S", "-c", _SHELL, self._report, *argv], env, size)

    def acts(self) -> list[tuple[Callable[[], None], int]]:
        return [
            *super().acts(),
            (self._operates, 40 if self._careful else 10),
            (self._confirms, 8 if self._careful else 4),
            (self._hurries, 1 if self._careful else 8),
            (self._types, 1),
            (self._holds, 2),
            (self._resizes, 3),
            (self._stops, 1),
            (self._stalls, 1),
        ]

    def _reports(self, word: str = "") -> list[list[str]]:
        try:
            with open(self._report) as file:
                lines = [line.split() for line in file if line.endswith("\n")]
        except FileNotFoundError:
            return []
        return [line for line in lines if not word or line[0] == word]

    @property
    def over(self) -> bool:
        return bool(self._reports("ended"))

    @property
    def end(self) -> tuple[int, float]:
        (ended,) = self._reports("ended")
        return int(ended[1]), float(ended[3])

    def said(self) -> str:
        text: str = self.t.text()
        return text

    def is_told_to_run(self, call: Call) -> bool:
        if not self._hung_up:
            return super().is_told_to_run(call)
        unknown = [it for it in self.records("verdict") if it["result"] == "unknown"]
        return call.argv in [[it["action"], it["container"], it["target"]] for it in unknown]

    # --- what the operator does

    def _key(self, data: str | bytes) -> None:
        data = data.encode("latin-1") if isinstance(data, str) else data
        before = time.monotonic()
        sent = self.t.send(data)
        self.keys.append(Key(data, before, sent))
        self.say("types %r" % data)

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
            self.chance.choice([self.blocks, lambda: self._key("u")])()
        time.sleep(self.chance.choice([0.1, 0.6, 0.6, 0.6]))

    def _confirms(self) -> None:
        """What takes a second key."""
        if self.living and "i l ? q" not in "".join(self.t.screen()[-1:]):
            self.blocks()
        time.sleep(self.chance.choice([0.5, 1.2]))
        keys = self.chance.choice(
            [
                "Ay",
                "Ay",
                "uy",
                "uy",
                "An",
                "lq",
                "h1",
                "l1s",
                "l1a1\r",
                "l1a1\r",
                "l*a2\r",
                "l\r",
                "lc1s",
                "lcc*a1\r",
                "lc\r",
                "hc1",
                "qn",
                "l/0.\r*a1\r",
            ]
        )
        for key in keys:
            self._key(key)
            time.sleep(self.chance.choice([0.2, 0.7, 0.7]))

    def _hurries(self) -> None:
        """Any keys, at any time."""
        for _ in range(self.chance.randint(1, 6)):
            key = self.chance.choice(
                [*"aAsmdulhci?y123* /\r\n\t\x7f\x0c", "\x1b", "\x1b[A", "\x1bOA", "\x1ba"]
            )
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
            self.say("resizes to %dx%d" % (rows, columns))
            time.sleep(self.chance.choice([0.0, 0.05, 0.3]))

    def _any_size(self) -> tuple[int, int]:
        return self.chance.randint(1, 60), self.chance.randint(1, 200)

    def _stops(self) -> None:
        """Ctrl-Z, and after a while `fg`."""
        number = len(self._reports("stopped"))
        self._key("\x1a")
        eventually(lambda: self.over or len(self._reports("stopped")) > number, what="Ctrl-Z stops it")
        for _ in range(self.chance.randint(0, 3)):
            if self.living and not self.over:
                self.chance.choice([self.blocks, self.looks_up, self.floods])()
        if self.over:
            return
        self.t.send("fg\n")
        eventually(lambda: self.over or len(self._reports("continued")) > number, what="fg goes on")

    def _stalls(self) -> None:
        """Ctrl-S, and after a while Ctrl-Q: the terminal takes nothing meanwhile."""
        self.say("stalls")
        self.t.send("\x13")
        self.blocks()
        time.sleep(self.chance.choice([0.1, 0.6]))
        self.t.send("\x11")

    def _pauses(self) -> None:
        time.sleep(self.chance.choice([0.05, 0.5, 1.0]))

    def ways_to_end(self) -> list[str]:
        return [*super().ways_to_end(), "q", "Ctrl-C", "Ctrl-C", "twice", "hang-up"]

    def ends_by(self, way: str) -> None:
        if self._hung_up:
            return
        if way in ("SIGTERM", "hang-up") and not self._impatient:
            if way == "hang-up":
                self._hung_up = True
                self.t.hangup()
            for _, pid in self._reports("pid") if way == "SIGTERM" else ():
                os.kill(int(pid), signal.SIGTERM)
        elif way == "q" and time.monotonic() < (self._impatient or 1e99):
            self._key("q")
            time.sleep(0.6)
        elif way == "twice" or time.monotonic() > (self._impatient or -1e99):
            self._key("\x03")
            time.sleep(0.4)
        self._impatient = self._impatient or time.monotonic() + 20

    # --- what must hold

    def faults(self) -> list[str]:
        found = []
        self.t.wait()
        (ended,) = self._reports("ended")
        same = "2" if self._hung_up else "1"
        if ended[2] != same or not (self._hung_up or self.t.termios()[3] | termios.ECHO == as_opened()[3]):
            found.append("the terminal is not as it was at the end")
        if any(line[1] != "1" for line in self._reports("stopped")):
            found.append("the terminal is not as it was when it was stopped")
        rest = OURS.sub(b"", bytes(self.t.raw))
        if rest:
            found.append("not ours to print: %r" % rest[:80])
        self._keys_left = self._deciding()
        self._stood = self._screens(self._keys_left)
        return found + super().faults()

    def wants(self, call: Call, decided: dict[str, Any]) -> str:
        keys = [key for key in self._keys_left if key.sent < call.began]
        for key in keys:
            stood = self._stood[key]
            many = decided["undo"] and key.data == b"y" and stood.asks(MANY)
            if not key.used and (many or self._decides(key, stood, call)):
                key.used = key.data not in b"\r\n" and not many
                return ""
        last = [(key, self._stood[key]) for key in keys[-4:]]
        near = ["%r: asked %s for %.3f s" % (key, it.asked, key.before - it.since) for key, it in last]
        return str(near)

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
        tolerance = LATE + self.jitter.around(key.sent)
        if key.before - shown.since < ARMED_OWN - tolerance or not shown.has(target):
            return False
        if len(self.labs) > 1 and not shown.has(container):
            return False
        if key.data in b"\r\n":
            return action == "allow" and any("number: " in row for row in shown.rows)
        if key.data == b"y":
            return shown.asks(re.compile(r"y %s (%s|it)" % (action, re.escape(target))))
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
        floor = [r for r in self.records("pending") if r["floor"]]
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
    rb"(?:^|[\r\n])(?:\x1b\[[0-9;]*m)?(c\d)  (?:([0-9a-f.:]+)  \w[^\n]*"
    rb"|(?:tcp|udp|icmp|ipv6|proto)[^\n]*\n  ([0-9a-f.:]+)[^\n]*)\n"
)
"""The first line of a question, or its first two."""
