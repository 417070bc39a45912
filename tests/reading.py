"""A reader process under test: ours, started as a session starts it, on a lab's namespace."""

from __future__ import annotations

import fcntl
import json
import os
import select
import subprocess
import sys
import time

from lab import Lab
from support import PATIENCE, ROOT

CALL = "main('/nowhere', 'c1', sys.argv[1])"


def code(call: str = CALL, home: str = ROOT) -> str:
    """What `python -c` gets to be a reader: the package in `home`, and the expression that runs it."""
    return (
        "import sys; sys.path.insert(0, %r)\n" % home
        + "from simple_clearance.reader.reader import main\n"
        + "sys.exit(%s)" % call
    )


class Reader:
    """`with Reader(lab) as reader:` waits until it listens; `lines` is all it told so far.

    `argv` begins the command line (setpriv, nsenter), `call` is the expression that runs it; with `pyz`
    it is run out of that archive, as a session does.
    """

    def __init__(
        self,
        lab: Lab,
        argv: list[str] | None = None,
        python: str = sys.executable,
        call: str = CALL,
        home: str = ROOT,
        stdin: object = subprocess.PIPE,
        stdout: object = subprocess.PIPE,
        netns: str = "",
        pyz: str = "",
        **options: object,
    ) -> None:
        command = [*(argv or []), python, "-I", "-S"]
        if pyz:
            command += [pyz, "--as-reader", "/nowhere", "c1", "--emit=json", "--netns", netns or lab.netns]
        else:
            command += ["-c", code(call, home), netns or lab.netns]
        self.process = subprocess.Popen(
            command,
            stdin=stdin,
            stdout=stdout,
            stderr=subprocess.PIPE,
            **options,  # type: ignore[call-overload]
        )
        self.pid = self.process.pid
        self.lines: list = []
        self._tail = b""
        self._fd = self.process.stdout.fileno() if stdout is subprocess.PIPE else -1

    def read(self, timeout: float) -> bool:
        """Take what there is, waiting so long for the first of it; False when nothing came."""
        if not select.select([self._fd], [], [], timeout)[0]:
            return False
        data = os.read(self._fd, 1 << 20)
        whole, newline, self._tail = (self._tail + data).rpartition(b"\n")
        self.lines += [json.loads(line) for line in (whole + newline).splitlines()]
        return bool(data)

    def expect(self, **fields: object) -> dict:
        """The first line, told already or to come, with these fields; it is taken out of `lines`."""
        deadline = time.monotonic() + PATIENCE
        while True:
            for line in self.lines:
                if all(line.get(name) == value for name, value in fields.items()):
                    self.lines.remove(line)
                    return dict(line)
            if not self.read(max(0.0, deadline - time.monotonic())):
                self.process.kill()
                raise AssertionError("no %r in %r: %s" % (fields, self.lines[-5:], self.errors()))

    def accounted(self, *types: str) -> int:
        """How many datagrams all lines so far stand for: told, told again, lost.

        Not TCP: the kernel may send a SYN again by itself.
        """
        wanted = types or ("pending", "again", "lost")
        counted = [line for line in self.lines if line["type"] in wanted and line.get("proto") != 6]
        return sum(line.get("count", 1) for line in counted)

    def until_accounted(self, count: int) -> None:
        deadline = time.monotonic() + PATIENCE
        while self.accounted() < count:
            left = deadline - time.monotonic()
            assert left > 0 and self.read(left), "%d of %d packets accounted for" % (self.accounted(), count)
        assert self.accounted() == count

    def end(self) -> int:
        """Close its stdin; its exit code."""
        if self.process.stdin is not None:
            self.process.stdin.close()
        return self.wait()

    def wait(self) -> int:
        """Its exit code, once it has ended by itself."""
        return self.process.wait(PATIENCE)

    def errors(self) -> str:
        assert self.process.stderr is not None
        return self.process.stderr.read().decode()

    def status(self) -> dict:
        """/proc/PID/status as a dict."""
        with open("/proc/%d/status" % self.pid) as status:
            return dict(line.rstrip("\n").split(":\t", 1) for line in status if ":\t" in line)

    def __enter__(self) -> Reader:
        try:
            if self._fd >= 0:
                self.expect(type="container_started")
        except AssertionError:
            self.__exit__()
            raise
        return self

    def __exit__(self, *exc: object) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        for stream in (self.process.stdin, self.process.stdout, self.process.stderr):
            if stream is not None:
                stream.close()


def flags(fd: int) -> int:
    """The file status flags that everyone who shares this descriptor sees."""
    return fcntl.fcntl(fd, fcntl.F_GETFL)
