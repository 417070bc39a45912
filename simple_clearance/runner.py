"""Runs verdict commands: one at a time for a container, side by side for different ones.

Owns the verdict processes.  A command that has not ended by its deadline is told as unknown;
after as long again it is ended (TERM, two seconds later KILL), since nothing else may run for
its container beside it: terok-shield edits its state by read-modify-write without a lock.
"""

from __future__ import annotations

import signal

from .docket import verdict
from .docket.states import LATE
from .system import children

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Callable, Sequence

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
            self._docket.finish(job, verdict.Outcome(verdict.FAILED, "not-started", text), now)
            return
        one = Running(job, child, now.mono + self._timeout)
        self._running.append(one)
        self._loop.add(child.out, lambda _events, _now: self._read(one, "out"))
        self._loop.add(child.err, lambda _events, _now: self._read(one, "err"))

    def reap(self, now: Now) -> None:
        """After SIGCHLD: tells the docket which commands have ended."""
        for one in [one for one in self._running if one.child.reap()]:
            self._read(one, "out")
            self._read(one, "err")
            self._forget(one)
            self._docket.finish(one.job, self._outcome(one, now), now)

    def deadline(self) -> float | None:
        return min((one.deadline for one in self._running if one.deadline != NEVER), default=None)

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

    def abandon(self, now: Now) -> list[int]:
        """At the end: what still runs goes on by itself, its outcome unknown; returns its pids."""
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
