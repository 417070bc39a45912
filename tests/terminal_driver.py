"""A program on a real pseudo-terminal, as its controlling terminal, in a session of its own.

A thread reads the master side as a terminal emulator would, so that the program never waits for
the test (unless the test says `stall()`).  What came is kept three ways: `raw` bytes, each chunk
with its time, and a screen as `pyte` paints it.

    with Session([sys.executable, "tool.pyz", "c1"], env={"TERM": "xterm"}) as t:
        t.expect("c1  203.0.113.10")
        t.send("a")
        assert t.wait() == 0
"""

from __future__ import annotations

import fcntl
import os
import re
import select
import signal
import struct
import subprocess
import sys
import termios
import threading
import time
from typing import IO, Any, Callable

import pyte
from support import PATIENCE, eventually

# The child makes the pty its controlling terminal, then becomes the program: same pid, and no
# code of ours between fork and exec.  Only the three standard descriptors are left to it.
_LAUNCH = (
    "import fcntl, os, sys, termios\n"
    "fcntl.ioctl(int(sys.argv[1]), termios.TIOCSCTTY, 0)\n"
    "os.close(int(sys.argv[1]))\n"
    "sys.argv[2] or os.environ.pop('LC_CTYPE', None)\n"  # which Python itself sets in the C locale
    "os.execvpe(sys.argv[3], sys.argv[3:], os.environ)\n"
)
# ECMA-48 control sequences and the two-byte escapes; what a partial one looks like at the end
_ESCAPES = re.compile(rb"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)|[ -/]*[0-Z\\^-~])|\r")
_PARTIAL = re.compile(rb"\x1b(?:\[[0-?]*[ -/]*|\][^\x07\x1b]*\x1b?|[ -/]*)?\Z")


_MARK = b"\0"  # one byte, which comes whole; nothing that is tried here writes it

READING, STALLED, HUNG_UP, CLOSED = range(4)  # what the thread does with the master side


class Timeout(AssertionError):
    """What was waited for did not come; the message shows the screen."""


class Found:
    """What `expect` found: `text` (or `groups` of the pattern), and `at`, when its last byte came."""

    def __init__(self, match: re.Match[str], at: float) -> None:
        self.text = match.group()
        self.groups = match.groups()
        self.at = at

    def __repr__(self) -> str:
        return "Found(%r, at=%.3f)" % (self.text, self.at)


class Session:
    """`argv` on a new pty of `size` (rows, columns), with exactly the environment `env`.

    `stdin`, `stdout`, `stderr`: a descriptor or file to use instead of the terminal, which is
    the controlling one all the same.
    """

    def __init__(
        self,
        argv: list[str],
        env: dict[str, str] | None = None,
        size: tuple[int, int] = (24, 80),
        cwd: str | None = None,
        stdin: int | IO[bytes] | None = None,
        stdout: int | IO[bytes] | None = None,
        stderr: int | IO[bytes] | None = None,
    ) -> None:
        self.argv = argv
        self.raw = bytearray()
        self.chunks: list[tuple[float, bytes]] = []  # (monotonic time, bytes)
        self._text = bytearray()  # raw without escapes and carriage returns
        self._marks: list[tuple[int, float]] = []  # (length of _text, time) after each chunk
        self._tail = b""
        self._looked = 0
        self._ending = b""  # what has come since a mark was written behind the program's last word
        self._marked = False
        self._screen = pyte.HistoryScreen(size[1], size[0], history=10_000)
        self._stream = pyte.ByteStream(self._screen)
        self._news = threading.Condition()
        self._mode = self._mode_seen = READING
        self.master, self.slave = os.openpty()
        self._set_size(size)
        self._waker, self._wake = os.pipe()
        streams = [self.slave if stream is None else stream for stream in (stdin, stdout, stderr)]
        locale = "LC_CTYPE" if "LC_CTYPE" in (os.environ if env is None else env) else ""
        launcher = [sys.executable, "-I", "-S", "-c", _LAUNCH, str(self.slave), locale, *argv]
        self.process = subprocess.Popen(
            launcher,
            env=env,
            cwd=cwd,
            stdin=streams[0],
            stdout=streams[1],
            stderr=streams[2],
            pass_fds=(self.slave,),
            start_new_session=True,
        )
        self.pid = self.process.pid
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    # --- what comes

    def _read(self) -> None:
        while True:
            with self._news:
                mode = self._mode_seen = self._mode
                self._news.notify_all()
            if mode == CLOSED:
                return
            watched = [self._waker, self.master] if mode == READING else [self._waker]
            ready, _, _ = select.select(watched, [], [])
            if self._waker in ready:
                os.read(self._waker, 100)
            elif mode == READING:
                data = os.read(self.master, 65536)
                with self._news:
                    self._take(data, time.monotonic())
                    self._news.notify_all()

    def _become(self, mode: int) -> None:
        """Returns once the thread acts so: from then on it doesn't touch the master side, or does."""
        with self._news:
            self._mode = mode
            os.write(self._wake, b".")
            self._news.wait_for(lambda: self._mode_seen == mode, PATIENCE)

    def _take(self, data: bytes, now: float) -> None:
        if self._marked:
            self._ending += data
            data, mark, rest = self._ending.partition(_MARK)
            if not mark:
                return
            self._ending, self._marked, data = b"", False, data + rest
        self.raw += data
        self.chunks.append((now, data))
        self._stream.feed(data)
        data = self._tail + data
        partial = _PARTIAL.search(data)
        cut = partial.start() if partial else len(data)
        self._tail = data[cut:]
        self._text += _ESCAPES.sub(b"", data[:cut])
        self._marks.append((len(self._text), now))

    def expect(self, what: str | re.Pattern[str], timeout: float = PATIENCE) -> Found:
        """Wait for a text, or a compiled pattern, in what came after the last one found.

        Escape sequences and carriage returns are taken out before.
        """
        pattern = re.compile(re.escape(what)) if isinstance(what, str) else what
        deadline = time.monotonic() + timeout
        with self._news:
            while True:
                match = pattern.search(self._text[self._looked :].decode("latin-1"))
                if match:
                    self._looked += match.end()
                    at = next(when for end, when in self._marks if end >= self._looked)
                    return Found(match, at)
                left = deadline - time.monotonic()
                if left <= 0:
                    raise Timeout("%r did not come in %g s; %s" % (pattern.pattern, timeout, self._state()))
                self._news.wait(left)

    def until(self, condition: Callable[[list[str]], object], timeout: float = PATIENCE) -> list[str]:
        """Wait until `condition(lines of the screen)` is true; those lines."""
        deadline = time.monotonic() + timeout
        with self._news:
            while True:
                lines = self._lines()
                if condition(lines):
                    return lines
                left = deadline - time.monotonic()
                if left <= 0:
                    raise Timeout("the screen did not become so in %g s; %s" % (timeout, self._state()))
                self._news.wait(left)

    def on_screen(self, what: str, timeout: float = PATIENCE) -> list[str]:
        """Wait until some line of the screen contains this text; all lines of the screen."""
        return self.until(lambda lines: any(what in line for line in lines), timeout)

    def quiet(self, seconds: float, timeout: float = PATIENCE) -> None:
        """Wait until nothing has come for `seconds`."""
        deadline = time.monotonic() + timeout
        with self._news:
            while True:
                seen = len(self.raw)
                self._news.wait(seconds)
                if len(self.raw) == seen:
                    return
                if time.monotonic() > deadline:
                    raise Timeout("output did not cease in %g s; %s" % (timeout, self._state()))

    def screen(self) -> list[str]:
        """The lines of the screen as an eye sees them, without blanks at their ends and at its end."""
        with self._news:
            return self._lines()

    def _lines(self) -> list[str]:
        lines = [line.rstrip() for line in self._screen.display]
        while lines and not lines[-1]:
            lines.pop()
        return lines

    def scrollback(self) -> list[str]:
        """The lines that have left the screen at its top, and those on it."""
        with self._news:
            columns = range(self._screen.columns)
            gone = ["".join(line[at].data for at in columns) for line in self._screen.history.top]
            return [line.rstrip() for line in gone] + self._lines()

    def text(self) -> str:
        """All that came, without escape sequences: the scrollback, lines painted over included."""
        with self._news:
            return self._text.decode("latin-1")

    @property
    def cursor(self) -> tuple[int, int]:
        """(row, column) of the cursor, from 0."""
        with self._news:
            return self._screen.cursor.y, self._screen.cursor.x

    def _state(self) -> str:
        code = self.process.poll()
        state = "it runs" if code is None else "it ended with %d" % code
        return "%s, and the screen is:\n%s" % (state, "\n".join("  [%s]" % line for line in self._lines()))

    # --- what goes

    def send(self, data: str | bytes) -> float:
        """Type this; the monotonic time right after."""
        data = data.encode("latin-1") if isinstance(data, str) else data
        while data:
            data = data[os.write(self.master, data) :]
        return time.monotonic()

    def resize(self, rows: int, columns: int) -> None:
        """Another size; the kernel sends SIGWINCH to the foreground process group."""
        with self._news:
            self._screen.resize(rows, columns)
        self._set_size((rows, columns))

    def _set_size(self, size: tuple[int, int]) -> None:
        fcntl.ioctl(self.master, termios.TIOCSWINSZ, struct.pack("HHHH", size[0], size[1], 0, 0))

    def stall(self) -> None:
        """Read nothing more, as a stalled ssh: soon the program's writes don't fit."""
        self._become(STALLED)

    def resume(self) -> None:
        self._become(READING)

    def hangup(self) -> None:
        """Close the terminal under the program: SIGHUP to its session, then EIO."""
        self._become(HUNG_UP)
        os.close(self.slave)
        os.close(self.master)
        self.slave = self.master = -1

    def kill(self, number: int = signal.SIGTERM) -> None:
        self.process.send_signal(number)

    # --- what is

    def termios(self) -> list[object]:
        """The terminal's settings, comparable: before and after must be the same."""
        return list(termios.tcgetattr(self.slave))

    @property
    def flags(self) -> int:
        """Status flags of the description that the program got as its terminal (O_NONBLOCK, …)."""
        return fcntl.fcntl(self.slave, fcntl.F_GETFL)

    @property
    def stopped(self) -> bool:
        """Output is stopped (Ctrl-S), or nothing more fits: a write would wait."""
        return not select.select([], [self.slave], [], 0)[1]

    @property
    def unread(self) -> int:
        """Bytes that were typed and not read yet, where lines don't matter to the program."""
        return int(struct.unpack("i", fcntl.ioctl(self.slave, termios.FIONREAD, b"\0" * 4))[0])

    @property
    def foreground_pgid(self) -> int:
        return os.tcgetpgrp(self.master)

    def settled(self) -> float:
        """Wait until the program in the foreground sleeps: what it had to do it has done; the time then.

        A signal sent by `kill` has been minded by then; of a key just typed nothing is known.
        """
        pid = self.pid if self.master < 0 else self.foreground_pgid
        eventually(lambda: state(pid) not in "RD", what="the program sleeps")
        return time.monotonic()

    def wait(self, timeout: float = PATIENCE) -> int:
        """The program's return code (negative: the signal), once all it wrote has been read."""
        try:
            code = self.process.wait(timeout)
        except subprocess.TimeoutExpired:
            with self._news:
                raise Timeout("it did not end in %g s; %s" % (timeout, self._state())) from None
        if self._mode == READING:
            self._drain()
        return code

    def _drain(self) -> None:
        """The kernel hands things over in its own time: all has come once a mark behind it has."""
        with self._news:
            if not self.stopped:  # else nothing more comes
                self._marked = True
                os.write(self.slave, _MARK)
                self._news.wait_for(lambda: not self._marked, PATIENCE)

    # --- the end

    def close(self) -> None:
        """End the program if it still runs, as a closed window does, then by force."""
        if self._mode == CLOSED:
            return
        if self.master >= 0:
            self.hangup()
        try:
            self.process.wait(2)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self._become(CLOSED)
        self._thread.join(PATIENCE)
        os.close(self._wake)
        os.close(self._waker)

    def __enter__(self) -> Session:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return "Session(%r, pid=%d)" % (self.argv, self.pid)


def state(pid: int) -> str:
    """The letter that the kernel has for what a process does: R runs, S sleeps, T is stopped, Z has ended."""
    try:
        with open("/proc/%d/stat" % pid) as file:
            return file.read().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return "Z"


PROMPT = "sh$ "


def shell(env: dict[str, str] | None = None, **options: Any) -> Session:
    """An interactive bash with job control: type a command line with `send("…\\n")`, `expect(PROMPT)`.

    Without line editing, so that it leaves the terminal's settings alone.
    """
    env = dict(env if env is not None else os.environ, PS1=PROMPT, HISTFILE="")
    session = Session(["bash", "--norc", "--noprofile", "--noediting", "-i"], env=env, **options)
    session.expect(PROMPT)
    return session
