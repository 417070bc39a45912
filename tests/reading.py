"""A reader process under test: ours, run by hand or forked as for a session, on a lab's namespace."""

from __future__ import annotations

import array
import fcntl
import json
import os
import select
import socket
import subprocess
import sys
import time

from lab import Lab
from support import PATIENCE, ROOT, eventually

from simple_clearance.formats import forking

CALL = "main('c1', sys.argv[1])"


def code(call: str = CALL, home: str = ROOT) -> str:
    """What `python -c` gets to be a reader: the package in `home`, and the expression that runs it."""
    return (
        "import sys; sys.path.insert(0, %r)\n" % home
        + "from simple_clearance.reader.reader import main\n"
        + "sys.exit(%s)" % call
    )


class Telling:
    """What tells lines on the descriptor `_fd`; `lines` is all it told so far, `pid` who it is."""

    pid = 0
    _fd = -1

    def __init__(self) -> None:
        self.lines: list = []
        self._tail = b""

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
                raise AssertionError("no %r in %r: %s" % (fields, self.lines[-5:], self.errors()))

    def errors(self) -> str:
        """What it has said besides, once it has ended."""
        raise NotImplementedError

    def status(self) -> dict:
        """/proc/PID/status as a dict."""
        with open("/proc/%d/status" % self.pid) as status:
            return dict(line.rstrip("\n").split(":\t", 1) for line in status if ":\t" in line)


class Reader(Telling):
    """`with Reader(lab) as reader:` waits until it listens.

    `argv` begins the command line (setpriv, nsenter), `call` is the expression that runs it; with `pyz`
    it is run out of that archive.
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
        super().__init__()
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
        self._fd = self.process.stdout.fileno() if stdout is subprocess.PIPE else -1

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
        self.process.kill()
        assert self.process.stderr is not None
        return self.process.stderr.read().decode()

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


class Forked(Telling):
    """A reader that `Forkserver` has been asked for; `code` and `said` are known once it has ended."""

    def __init__(self, server: Forkserver, number: int, channel: socket.socket) -> None:
        super().__init__()
        self.number = number
        self.channel = channel
        self.code: int | None = None
        self.said = ""
        self._server = server
        self._fd = channel.fileno()

    def listens(self) -> Forked:
        """Itself, once it does."""
        self.expect(type="container_started")
        return self

    def ended(self) -> tuple[int | None, str]:
        """What it ended with, and what it said, once it has."""
        while self.code is None:
            self._server.hear()
        return self.code, self.said

    def end(self) -> int | None:
        """Hang up; its exit code."""
        self.channel.shutdown(socket.SHUT_WR)
        return self.ended()[0]

    def kill(self, number: int) -> None:
        """Have a signal sent to it."""
        self._server.socket.send(forking.request(self.number, number))

    def errors(self) -> str:
        self.kill(9)
        return self.ended()[1]


class Forkserver:
    """`with Forkserver(pyz) as server: reader = server.fork(lab.netns)`; its environment is ours.

    `argv` begins its command line.
    """

    def __init__(
        self, pyz: str, argv: list[str] | None = None, python: str = sys.executable, **options: object
    ) -> None:
        self.socket, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.socket.settimeout(PATIENCE)
        command = [*(argv or []), python, "-I", "-S", pyz, forking.ROLE]
        with theirs:
            self.process = subprocess.Popen(
                command,
                stdin=theirs,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                **options,  # type: ignore[call-overload]
            )
        self.pid = self.process.pid
        self.readers: list[Forked] = []

    def fork(self, netns: str, name: str = "c1") -> Forked:
        """One for that namespace is asked for."""
        ours, theirs = socket.socketpair()
        namespace = os.open(netns, os.O_RDONLY)
        self.readers.append(Forked(self, len(self.readers) + 1, ours))
        passed = array.array("i", [theirs.fileno(), namespace])
        request = forking.request(len(self.readers), forking.START, name.encode())
        self.socket.sendmsg([request], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, passed)])
        theirs.close()
        os.close(namespace)
        return self.readers[-1]

    def hear(self) -> None:
        """The next end is told."""
        data = self.socket.recv(forking.ENDED_SIZE)
        assert data, "it has ended"
        number, code, said = forking.parse_ended(data)
        reader = self.readers[number - 1]
        reader.code, reader.said = code, said.decode()

    def pids(self) -> list[int]:
        """Those it has forked, in that order, zombies too."""
        with open("/proc/%d/task/%d/children" % (self.pid, self.pid)) as file:
            return list(map(int, file.read().split()))

    def __enter__(self) -> Forkserver:
        return self

    def __exit__(self, *exc: object) -> None:
        """It hangs up, and all of them end."""
        left = self.pids() if self.process.poll() is None else []
        self.socket.close()
        for reader in self.readers:
            reader.channel.close()
        self.process.wait(PATIENCE)
        for stream in (self.process.stdout, self.process.stderr):
            stream.close()
        eventually(
            lambda: not [pid for pid in left if os.path.exists("/proc/%d" % pid)], what="they end, too"
        )


def flags(fd: int) -> int:
    """The file status flags that everyone who shares this descriptor sees."""
    return fcntl.fcntl(fd, fcntl.F_GETFL)
