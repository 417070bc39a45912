"""Child processes: started apart from our terminal, ended and reaped.

A child gets a session of its own (a hang-up or Ctrl-C of ours doesn't reach it), /dev/null as
stdin (an ssh among them must not ask on our terminal), default signals, and no descriptor of
ours but those named.  Its end is its exit: a grandchild may hold its pipes for longer.

The awkward fact: where SIGCHLD is ignored, as our parent may have left it, nobody is told what a child
ended with.
"""

from __future__ import annotations

import os
import select
import signal
import time

from .limits import AsBefore
from .pidfd import has_ended, pidfd_open

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Mapping, Sequence

CHUNK = 1 << 16
OUTPUT_LIMIT = 4 << 20  # bytes that `run` takes; podman tells 20 kB of a container with every option
ERROR_LIMIT = 4096
TO_TERMINATE = 2.0  # seconds from SIGTERM to SIGKILL
_HEARD = (signal.SIGPIPE, signal.SIGXFSZ)  # Python ignores them, and a child would inherit that


def fill_standard_descriptors() -> None:
    """Nothing of ours may become 0, 1 or 2 because the caller closed them: a child's would take its place."""
    fd = os.open(os.devnull, os.O_RDWR)
    while fd <= 2:
        fd = os.open(os.devnull, os.O_RDWR)
    os.close(fd)


class Child:
    """A process with pipes from its stdout and stderr; `stdin` is our end of a pipe, or -1.

    `out` and `err` are our ends, non-blocking, -1 once closed; `status` is its exit code, minus
    the signal that ended it, or None while it runs.
    """

    __slots__ = ("apart", "argv", "err", "out", "pid", "status", "stdin")

    def __init__(
        self, argv: Sequence[str], pid: int, stdin: int, out: int, err: int, apart: bool = True
    ) -> None:
        self.argv = argv
        self.apart = apart  # whether it leads a session
        self.pid = pid
        self.stdin = stdin
        self.out = out
        self.err = err
        self.status: int | None = None

    def __repr__(self) -> str:
        return "Child(%d, %s, status %s)" % (self.pid, " ".join(self.argv), self.status)

    def reap(self, wait: bool = False) -> bool:
        """Whether it has ended; `wait` until it has."""
        if self.status is None:
            pid, status = os.waitpid(self.pid, 0 if wait else os.WNOHANG)
            if pid:
                self.status = os.WEXITSTATUS(status) if os.WIFEXITED(status) else -os.WTERMSIG(status)
        return self.status is not None

    def kill(self, number: int) -> None:
        """Sends a signal to it and, where it is apart, to all that it started, unless it has been reaped."""
        if self.status is None:
            try:
                (os.killpg if self.apart else os.kill)(self.pid, number)  # its group is its pid
            except ProcessLookupError:
                pass  # a zombie's group may be gone before it is reaped

    def close_stdin(self) -> None:
        """Tells it to end."""
        if self.stdin >= 0:
            os.close(self.stdin)
            self.stdin = -1

    def close_out(self) -> None:
        """Nobody reads what it has to say on its stdout."""
        if self.out >= 0:
            os.close(self.out)
            self.out = -1

    def close(self) -> None:
        self.close_stdin()
        self.close_out()
        if self.err >= 0:
            os.close(self.err)
            self.err = -1


def spawn(
    argv: Sequence[str],
    *,
    stdin_pipe: bool = False,
    stdin: int = -1,
    environ: Mapping[str, str] | None = None,
    apart: bool = True,
) -> Child:
    """Starts `argv`; OSError when it can't be.

    Its stdin is the descriptor `stdin`, or a pipe of ours, or /dev/null; its environment ours, unless
    `environ` says otherwise.  One that is not `apart` is in our job: it may ask on our terminal.
    """
    if signal.getsignal(signal.SIGCHLD) == signal.SIG_IGN:
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    ours: list[int] = []
    theirs: list[int] = []
    try:
        for _ in range(2):
            reading, writing = os.pipe2(os.O_CLOEXEC)
            ours.append(reading)
            theirs.append(writing)
        actions: list[Any] = [(os.POSIX_SPAWN_DUP2, theirs[0], 1), (os.POSIX_SPAWN_DUP2, theirs[1], 2)]
        ending = -1
        if stdin_pipe:
            stdin, ending = os.pipe2(os.O_CLOEXEC)
            theirs.append(stdin)
            ours.append(ending)
        if stdin >= 0:
            actions.insert(0, (os.POSIX_SPAWN_DUP2, stdin, 0))
        else:
            actions.insert(0, (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0))
        with AsBefore():
            pid = os.posix_spawnp(
                argv[0],
                list(argv),
                os.environ if environ is None else environ,
                file_actions=actions,
                setsid=apart,
                setsigmask=(),
                setsigdef=_HEARD,
            )
    except BaseException:
        for fd in ours:
            os.close(fd)
        raise
    finally:
        for fd in theirs:
            os.close(fd)
    for fd in ours[:2]:
        os.set_blocking(fd, False)
    return Child(argv, pid, ending, ours[0], ours[1], apart)


def keep_descriptors() -> None:
    """Children get none of the descriptors that this process was started with, but for the standard ones.

    A lock of the script that calls us would be held by a verdict that outlives both.  An archive that was
    handed over in one of them is found by our path.
    """
    for number in map(int, os.listdir("/proc/self/fd")):
        try:
            if number > 2:
                os.set_inheritable(number, False)
        except OSError:
            pass  # that of the listing


def read(fd: int, most: int = CHUNK) -> bytes | None:
    """What a child wrote: b"" at its end, None when there is nothing yet."""
    try:
        return os.read(fd, most)
    except BlockingIOError:
        return None


class Stuck(Exception):
    """A command that gives no answer in time, or too much of it; it has been ended."""


def run(
    argv: Sequence[str], deadline: float, *, given: bytes | None = None, apart: bool = True
) -> tuple[int, bytes, bytes]:
    """Runs `argv` to its end: its exit code (minus the signal that ended it), stdout, stderr's beginning.

    It reads `given` from its stdin, else nothing; `apart` is as for `spawn`.

    For short commands before the session.  OSError when it can't be started, `Stuck` when it
    takes longer than `deadline` seconds.  Its end is its exit: it may leave a process behind
    that holds the pipes.
    """
    child = _spawn_with(given, argv, apart)
    said = {child.out: bytearray(), child.err: bytearray()}
    ended = -1
    try:
        ended = pidfd_open(child.pid)
        _collect(child, ended, said, deadline)
        for fd, kept in said.items():
            _take(fd, kept)
        out, err = bytes(said[child.out]), bytes(said[child.err][:ERROR_LIMIT])
    finally:
        end(child, ended)
    return child.status if child.status is not None else -1, out, err


def _spawn_with(given: bytes | None, argv: Sequence[str], apart: bool) -> Child:
    if given is None:
        return spawn(argv, apart=apart)
    stdin = os.memfd_create("stdin")
    try:
        rest = memoryview(given)
        while rest:
            rest = rest[os.write(stdin, rest) :]
        os.lseek(stdin, 0, os.SEEK_SET)
        return spawn(argv, stdin=stdin, apart=apart)
    finally:
        os.close(stdin)


def _collect(child: Child, ended: int, said: dict[int, bytearray], deadline: float) -> None:
    until = time.monotonic() + deadline
    poll = select.poll()
    for fd in (*said, ended):
        poll.register(fd, select.POLLIN)
    while True:
        left = until - time.monotonic()
        ready = poll.poll(max(0.0, left) * 1000)
        if left <= 0 and not ready:
            raise Stuck(f"no answer in {deadline:g} s")
        for fd, _ in ready:
            if fd == ended:
                return  # what it had said is in the pipes
            if not _take(fd, said[fd]):
                poll.unregister(fd)
        if len(said[child.out]) > OUTPUT_LIMIT:
            raise Stuck("more than %d MiB of output" % (OUTPUT_LIMIT >> 20))
        del said[child.err][ERROR_LIMIT:]


def _take(fd: int, kept: bytearray) -> bool:
    """Reads what is there; False at the end."""
    data = read(fd)
    kept += data or b""
    return data != b""


def end(child: Child, ended: int = -1) -> None:
    """Ends it with its session, unless it has ended by itself, and reaps it; `ended` is its pidfd or -1."""
    for order in (signal.SIGTERM, signal.SIGKILL):
        if (ended >= 0 and has_ended(ended)) or child.reap():
            break
        child.kill(order)
        if ended >= 0:
            has_ended(ended, TO_TERMINATE)
    while not child.reap():
        time.sleep(0.001)  # it is a zombie already, or about to be one
    if ended >= 0:
        os.close(ended)
    child.close()


def find(program: str, environ: Mapping[str, str]) -> str:
    """The path of the executable that `program` names, as execvp(3) would look for it, or ""."""
    folders = [""] if "/" in program else environ.get("PATH", os.defpath).split(os.pathsep)
    for folder in folders:
        path = os.path.join(folder, program)
        if os.path.isfile(path) and os.access(path, os.X_OK):
            return path
    return ""
