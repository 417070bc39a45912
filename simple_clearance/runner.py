"""Runs verdict commands: one at a time for a container, side by side for different ones.

Owns the verdict processes.  A command that has not ended by its deadline is told as unknown;
after as long again it is ended (TERM, two seconds later KILL), since nothing else may run for
its container beside it: terok-shield edits its state by read-modify-write without a lock.

So it waits, too, for a verdict command that somebody else runs for the container under our uid: the
last session, an operator by hand, a hub that was just ended.  A lock would keep away only who takes
it; a command line shows whoever runs one.
"""

from __future__ import annotations

import os
import signal

from .base.text import printable
from .docket import verdict
from .docket.states import LATE
from .system import children, processes
from .system.pidfd import has_ended, pidfd_open

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Callable, Collection, Sequence

    from .base.moment import Now
    from .docket.docket import Docket
    from .docket.jobs import Job
    from .system.children import Child
    from .system.loop import Loop

OUT_LIMIT, ERR_LIMIT = 1 << 16, 1 << 14
TO_KILL = 2.0
NEVER = float("inf")


class Running:
    """A verdict under way."""

    __slots__ = ("child", "deadline", "err", "job", "out", "stage")

    def __init__(self, job: Job, child: Child, deadline: float) -> None:
        self.job = job
        self.child = child
        self.deadline = deadline
        self.stage = 0  # deadlines that have passed: told, ended, killed
        self.out = bytearray()
        self.err = bytearray()


class Other:
    """A verdict command that is not ours, which is waited for; `pidfd` is -1 when it has ended."""

    __slots__ = ("deadline", "pid", "pidfd")

    def __init__(self, deadline: float) -> None:
        self.deadline = deadline
        self.pid = 0
        self.pidfd = -1


class Runner:
    """Starts jobs of the docket with `shield`, the verdict command's first words."""

    def __init__(
        self, loop: Loop, docket: Docket, shield: Sequence[str], timeout: float, trace: Callable[[str], None]
    ) -> None:
        self._loop = loop
        self._docket = docket
        self._shield = shield
        self._timeout = timeout
        self._trace = trace
        self._running: list[Running] = []
        self._others: dict[str, Other] = {}
        loop.deadlines.append(self.deadline)

    @property
    def running(self) -> list[Job]:
        return [one.job for one in self._running]

    def start(self, job: Job, now: Now) -> None:
        """Starts the command of `job`, which has begun; one that can't be started has failed."""
        argv = verdict.command(self._shield, job.action, job.container, job.target)
        self._trace("run: " + " ".join(argv))
        try:
            child = children.spawn(argv)
        except OSError as error:
            text = f"{argv[0]}: {error.strerror}"
            self._docket.finish(job, verdict.Outcome(verdict.FAILED, verdict.NOT_STARTED, text), now)
            return
        one = Running(job, child, now.mono + self._timeout)
        self._running.append(one)
        self._loop.add(child.out, lambda _events, _now: self._read(one, "out"))
        self._loop.add(child.err, lambda _events, _now: self._read(one, "err"))

    def must_wait(self, job: Job, names: Collection[str], now: Now) -> bool:
        """Whether somebody else's verdict runs for its container, which has these names.

        It is waited for until the deadline of a verdict; then `job` has failed.
        """
        other = self._others.get(job.container)
        if other is not None and other.pidfd >= 0:
            return True
        programs = {os.path.basename(word) for word in (self._shield[0], self._shield[-1], "terok-shield")}
        for pid, words in processes.ours():
            command = [os.fsdecode(word) for word in words]
            if verdict.is_command(command, programs, names) and self._wait_for(pid, job.container, now):
                if other is None:
                    said = printable(" ".join(command), 200)
                    self._docket.warn(f"{job.container}: waiting for the verdict of pid {pid}: {said}")
                return True
        self._others.pop(job.container, None)
        return False

    def _wait_for(self, pid: int, container: str, now: Now) -> bool:
        """False when it has ended by now, or is about something else.

        That is who lives in a container, where anyone may call itself anything, and who has another
        home: podman keeps other containers there, perhaps with the same names.
        """
        try:
            pidfd = pidfd_open(pid)
        except OSError:
            return False
        inside = not processes.is_beside_us(pid)
        theirs = None if inside else processes.home(pid)
        elsewhere = theirs is not None and theirs != os.environb.get(b"HOME", theirs)
        # one on its way to its end has no memory any more, and so no home: its work is done
        over = has_ended(pidfd) or not processes.words(pid, processes.LOOKED_AT)
        if over or inside or elsewhere:
            os.close(pidfd)
            return False
        other = self._others.setdefault(container, Other(now.mono + self._timeout))
        other.pid, other.pidfd = pid, pidfd

        def ended(_events: int, _now: Now) -> None:
            self._loop.remove(pidfd)
            os.close(pidfd)
            other.pidfd = -1

        self._loop.add(pidfd, ended)
        return True

    def _forget_other(self, container: str) -> None:
        other = self._others.pop(container)
        if other.pidfd >= 0:
            self._loop.remove(other.pidfd)
            os.close(other.pidfd)

    def reap(self, now: Now) -> None:
        """After SIGCHLD: tells the docket which commands have ended."""
        for one in [one for one in self._running if one.child.reap()]:
            self._read(one, "out")
            self._read(one, "err")
            self._forget(one)
            self._docket.finish(one.job, self._outcome(one, now), now)

    def deadline(self) -> float | None:
        due = [one.deadline for one in self._running if one.deadline != NEVER]
        return min(due + [one.deadline for one in self._others.values()], default=None)

    def tick(self, now: Now) -> None:
        """Acts on the deadlines that have passed."""
        for one in [one for one in self._running if one.deadline <= now.mono]:
            one.stage += 1
            if one.stage == 1:
                one.deadline = now.mono + self._timeout
                self._docket.overdue(one.job, now)
            elif one.stage == 2:
                one.deadline = now.mono + TO_KILL
                one.child.kill(signal.SIGTERM)
            else:
                one.deadline = NEVER
                one.child.kill(signal.SIGKILL)
        if self._others:
            self._tire(now)

    def _tire(self, now: Now) -> None:
        """Who has waited for somebody else's verdict as long as for one of ours waits no longer."""
        waiting = {job.container: job for job in self._docket.runnable()}
        for container, other in list(self._others.items()):
            if container not in waiting:
                self._forget_other(container)
            elif other.deadline <= now.mono:
                text = "pid %d still runs a verdict for %s" % (other.pid, container)
                self._forget_other(container)
                self._docket.begin(waiting[container], now)
                outcome = verdict.Outcome(verdict.FAILED, verdict.NOT_STARTED, text)
                self._docket.finish(waiting[container], outcome, now)

    def abandon(self, now: Now) -> list[int]:
        """At the end: what still runs goes on by itself, its outcome unknown; returns its pids."""
        for container in list(self._others):
            self._forget_other(container)
        pids = []
        for one in list(self._running):
            pids.append(one.child.pid)
            self._forget(one)
            if one.job.state != LATE:
                self._docket.finish(
                    one.job,
                    verdict.Outcome(verdict.UNKNOWN, "timeout", seconds=now.mono - one.job.started),
                    now,
                )
        return pids

    def _outcome(self, one: Running, now: Now) -> verdict.Outcome:
        status = one.child.status
        return verdict.outcome(
            one.job.action,
            one.job.target,
            status if status is not None and status >= 0 else None,
            bytes(one.out).decode("utf-8", "replace"),
            bytes(one.err).decode("utf-8", "replace"),
            now.mono - one.job.started,
        )

    def _read(self, one: Running, name: str) -> None:
        """Takes what the command said; the beginning of its output, the end of its errors."""
        fd = getattr(one.child, name)
        kept: bytearray = getattr(one, name)
        for _ in range(16):  # a command that never stops talking must not hold up the others
            data = children.read(fd) if fd >= 0 else None
            if data is None:
                return
            if not data:
                self._loop.remove(fd)  # its end is its exit, not this
                return
            kept += data
            if name == "out":
                del kept[OUT_LIMIT:]
            else:
                del kept[:-ERR_LIMIT]

    def _forget(self, one: Running) -> None:
        self._running.remove(one)
        self._loop.remove(one.child.out)
        self._loop.remove(one.child.err)
        one.child.close()
