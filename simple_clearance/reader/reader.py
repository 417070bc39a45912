"""The reader's role: a process inside the container's network namespace that tells what is logged.

Owns the netlink socket, its own stdout and the three descriptors whose hang-up ends it: stdin,
the parent, the container.  What the bytes mean is in `formats/nflog`, what is told of them in `tally`.

The awkward facts: the kernel keeps little for us and drops the rest, so this process waits for
nobody: stdout is written without blocking, what doesn't fit waits in a bounded backlog, and
what doesn't fit there is counted and told.  And once it has entered the container it trusts
nothing there, so it gives up everything but its open descriptors before the first packet.
"""

from __future__ import annotations

import os
import select
import signal
import socket
import sys
import time

from ..base import addresses, timestamps
from ..base.errors import INCOMPLETE, OK, Refused
from ..system.output import Output
from ..system.pidfd import pidfd_open
from . import confinement
from .packetlog import GroupHeld, PacketLog
from .tally import Tally

ROUND = 16  # datagrams read before stdout and the others get their turn
PIPE = 1 << 20  # bytes of stdout, if it is a pipe; a busy user gets less
BACKLOG = 4 << 20  # bytes of lines kept for a stdout that is not read; half of it for what is blocked alone
LAST_BACKLOG = 1 << 19  # bytes of lines kept at the end, when there is little time left to take them
CHUNK = 1 << 16  # bytes of lines gathered before they are written in a flood
PATIENCE = 0.25  # seconds between two tellings of repeats and losses
TICK = 0.01  # seconds that the kernel holds a packet back at most: a tick of its own, at 100 Hz
QUIET = 0.05  # seconds without a packet after which a container that has ended has sent its last one
DRAIN = 0.4  # seconds for what is in the socket at the end, in which others in a pod may still send
LINGER = 0.4  # seconds given to stdout after that; the session waits for one second
KEPT = 1 << 20  # bytes of a block of memory that is kept for the next one


class Terminated(BaseException):
    """SIGTERM."""


def catch_sigterm() -> None:
    """From now on it raises Terminated; those that are forked have that, too."""
    signal.signal(signal.SIGTERM, _terminate)


def main(
    container: str,
    netns_path: str,
    pidfd: int | None = None,
    dossier: dict[str, str] | None = None,
) -> int:
    """A reader that is run by hand: as `tell`."""
    catch_sigterm()
    return tell(container, netns_path, os.getppid(), pidfd, dossier)


def tell(
    container: str,
    netns_path: str,
    parent: int,
    pidfd: int | None = None,
    dossier: dict[str, str] | None = None,
) -> int:
    """Tell on stdout what is logged for `container` until it ends or nobody listens; the exit code.

    `netns_path` names its network namespace, `parent` is the pid of who started us, `pidfd` an open
    descriptor of its first process, if there is one, and `dossier` are labels that each line carries.
    """
    try:
        return _run(container, netns_path, parent, pidfd, dossier)
    except Refused as refusal:
        lines = ["simple-clearance: " + refusal.message] + ["hint: " + hint for hint in refusal.hints]
        sys.stderr.write("\n".join(lines) + "\n")
        return refusal.code
    except (KeyboardInterrupt, Terminated):
        return OK


def _run(
    container: str, netns_path: str, parent: int, pidfd: int | None, dossier: dict[str, str] | None
) -> int:
    parents_end = _watched_parent(parent)
    namespace = _inherited(netns_path)
    namespace = confinement.open_path(netns_path) if namespace < 0 else namespace
    confinement.enter(namespace)
    os.close(namespace)
    output = Output()
    tally = Tally(container, dossier or {}, _spelled, _stamp)
    try:
        log = PacketLog()
    except GroupHeld as held:
        output.put(tally.held(held.pid))
        output.flush()
        raise
    output.widen(PIPE)
    loop = _Loop(log, output, tally, parents_end, pidfd)
    confinement.drop_privileges()
    _keep_memory()
    output.put(tally.started())
    return loop.run()


def _terminate(number: int, frame: object) -> None:
    raise Terminated


def _keep_memory() -> None:
    """Teaches malloc not to return each datagram's memory to the kernel.

    glibc maps every block of 128 KiB or more anew, at 2 us a page, until one has been freed: from
    then on it keeps what is not larger (mallopt(3), M_MMAP_THRESHOLD): a tenth of the CPU of a
    flood to many.  This one is never touched.
    """
    bytes(KEPT)


def _inherited(path: str) -> int:
    """The descriptor that `path` stands for, to be used and closed itself; -1 for any other path."""
    folder, _, number = path.rpartition("/")
    return int(number) if folder == "/proc/self/fd" and number.isdigit() and int(number) > 2 else -1


def _watched_parent(pid: int) -> int | None:
    """A pidfd of our parent, None where it lives outside our view; Terminated when it has ended by now.

    Then we have been given to another one, which does not end for us.
    """
    if pid == 0:
        return None
    try:
        descriptor = pidfd_open(pid)
    except OSError:
        raise Terminated from None
    if os.getppid() != pid:
        raise Terminated
    return descriptor


def _stamp(wall: float) -> str:
    return timestamps.stamp(wall)[:-1] + "+00:00"  # the spelling of terok-shield's own reader


def _spelled(dest: bytes) -> str:
    if len(dest) == 4:
        return socket.inet_ntoa(dest)
    spelled = socket.inet_ntop(socket.AF_INET6, dest)
    return addresses.unpacked(dest) if "." in spelled else spelled


def _watch(wanted: dict[int, int]) -> select.epoll:
    """What waits for these events of these descriptors; files, which never have any, are left out."""
    poll = select.epoll()
    for fd, events in wanted.items():
        try:
            poll.register(fd, events)
        except OSError:
            pass  # epoll_ctl(2): EPERM for a file or /dev/null; EBADF for a stdin that is closed
    return poll


class _Loop:
    """Waits, without a tick, for packets and for the four ends: container, parent, stdin, stdout.

    Made before the privileges are dropped, since it takes descriptors.
    """

    def __init__(
        self, log: PacketLog, output: Output, tally: Tally, parent: int | None, container: int | None
    ) -> None:
        self._log, self._output, self._tally = log, output, tally
        self._container = container
        self._due = 0.0  # when repeats and losses may be told next
        self._asked = 0
        wanted = {0: select.EPOLLRDHUP}  # never read: a pipe says EPOLLHUP, a socket this
        wanted.update((fd, select.EPOLLIN) for fd in (parent, container) if fd is not None)
        wanted[output.fd] = 0
        self._enders = set(wanted) - {log.fileno()}  # which is 0 where stdin was closed
        wanted[log.fileno()] = select.EPOLLIN
        self._poll = _watch(wanted)
        self._drained = _watch({output.fd: 0, log.fileno(): select.EPOLLIN})

    def run(self) -> int:
        output = self._output
        self._take()  # what came while we were binding is not announced again
        while True:
            self._tell_counts()
            output.flush()
            if output.gone:
                return _stdout_gone(output.failed)
            self._ask_for_room()
            ready = dict(self._poll.poll(self._patience()))
            if self._log.fileno() in ready:
                self._take()
            if any(ready.get(fd, 0) & ~select.EPOLLOUT for fd in self._enders):
                return self._last_words(self._container in ready)

    def _take(self, most: int = BACKLOG) -> bool:
        """What is in the socket by now, up to a round: a flood must not keep us from the ends.

        It is told while less than so many bytes wait.  Whether there may be more.
        """
        output, tally = self._output, self._tally
        for _ in range(ROUND):
            batch = self._log.receive()
            if batch is None:
                return False
            waiting = output.backlog
            lines = tally.take(batch, time.time(), waiting < most, waiting < most // 2)
            if lines:
                output.put(lines)
            tally.untold += batch.broken
            if output.backlog >= CHUNK:
                output.flush()
        return True

    @property
    def _counts(self) -> bool:
        return self._log.lossy or self._tally.repeated or self._tally.untold > 0

    def _patience(self) -> float | None:
        """Seconds until there is something to tell by ourselves."""
        if not self._counts or self._output.backlog >= BACKLOG // 2:
            return None
        return max(0.0, self._due - time.monotonic())

    def _tell_counts(self, now: bool = False) -> None:
        if not now and (
            not self._counts or self._output.backlog >= BACKLOG // 2 or time.monotonic() < self._due
        ):
            return
        self._due = time.monotonic() + PATIENCE
        missing, self._tally.untold, untold = self._log.take_missing(), 0, self._tally.untold
        if missing:
            self._output.put(self._tally.lost(missing, "kernel"))
        if untold:
            self._output.put(self._tally.lost(untold, "reader"))
        for lines in self._tally.repeats(time.time()):
            self._output.put(lines)
            if self._output.backlog >= BACKLOG // 2 and not now:
                break

    def _ask_for_room(self) -> None:
        wanted = select.EPOLLOUT if self._output.backlog else 0
        if wanted != self._asked:
            self._poll.modify(self._output.fd, wanted)
            self._asked = wanted

    def _last_words(self, exited: bool) -> int:
        """The end: what was logged before it is told, or counted as lost; INCOMPLETE where it can't be."""
        output = self._output
        self._drain(exited)
        self._tell_counts(now=True)
        if exited:
            output.put(self._tally.exited("poststop"))
        output.linger(LINGER)
        if output.gone:
            return _stdout_gone(output.failed)
        return INCOMPLETE if output.backlog else OK

    def _drain(self, exited: bool) -> None:
        """Reads what was logged before the end, the container's or ours, unless nobody reads us any longer.

        One that goes on may send for ever: after our end only what the kernel held back till then counts.
        """
        now = time.monotonic()
        last, until = now + (QUIET if exited else TICK), now + DRAIN
        while not self._output.gone:
            more = self._take(LAST_BACKLOG)
            self._output.flush()
            now = time.monotonic()
            ready = [] if more else [fd for fd, _ in self._drained.poll(max(0.0, last - now))]
            if not more and ready != [self._log.fileno()]:
                return
            if now >= until:
                self._tally.untold += 1  # and what comes after that
                return
            if exited:
                last = now + QUIET


def _stdout_gone(problem: OSError | None) -> int:
    if problem is None:
        return OK
    sys.stderr.write(f"simple-clearance: write events: {problem.strerror}\n")
    return INCOMPLETE
