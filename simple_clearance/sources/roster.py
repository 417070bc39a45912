"""Which containers there are: whoever runs and is not watched is taken up.

Owns the question to podman, asked in the background, when to ask it, and what has been told of those
that can't be watched.

podman is asked after a notice (see `starts`): soon, and again, since what is made there is made before the
container runs.
"""

from __future__ import annotations

import os

from ..base.errors import CANNOT_START, Refused
from ..base.text import printable
from ..containers import podman
from ..system.background import Question
from ..system.pidfd import pidfd_open

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Callable

    from ..base.moment import Now
    from ..containers.podman import Container, Listed
    from ..system.loop import Loop

SOON = 0.1
"""Seconds from a notice to the question: podman needs longer from the first sign of a start to its end."""
EVERY = 0.25
"""Seconds between two questions, while there are notices and until `SETTLES` after the last one."""
SETTLES = 1.2
PATIENCE = 10
"""Seconds that podman may take before that is told: it waits for whoever has its storage, as a build may."""


class Roster:
    """Gives each container that runs and is not known to `take_up(container, now)`, which may refuse it.

    `wanted` tells which ones matter; `warn(message, hint=...)` takes what can't be watched, and why: once
    for each start, unless the reason is another one.  It is tried again after each notice.
    """

    def __init__(
        self,
        loop: Loop,
        wanted: Callable[[Listed], bool],
        take_up: Callable[[Container, Now], None],
        warn: Callable[..., None],
    ) -> None:
        self.complete = True  # whether all that run are known; until then podman has to answer
        self._loop = loop
        self._wanted = wanted
        self._take_up = take_up
        self._warn = warn
        self._stopped = False
        self._question: Question | None = None
        self._due: float | None = None
        self._until = 0.0  # up to when it is asked again
        self._late: float | None = None  # when it is told that podman takes its time
        self._fault = ""  # what was told of podman last
        self._known: dict[str, int] = {}  # runs that are dealt with: the first process of each id
        self._refused: dict[str, tuple[int, str, str]] = {}  # others: with the name, and why, as it was told
        self._awaited: dict[int, int] = {}  # processes whose end may change that: pidfd by pid
        loop.deadlines += [self._deadline, lambda: self._late]

    @property
    def refused(self) -> set[str]:
        """The names of those that run and can't be watched."""
        return {name for _, name, _ in self._refused.values()}

    def begin(self, now: Now) -> None:
        """Asks at the start, which waits for the answer: where there is none, that is Refused (3)."""
        self.complete = False
        self._ask_who_runs(now)

    def noticed(self, now: Now) -> None:
        """Something has changed that may be a start, or let one be watched that could not be."""
        if self._stopped:
            return
        self._until = now.mono + SETTLES
        due = now.mono + SOON
        self._due = due if self._due is None else min(due, self._due)

    def let_go(self, container_id: str) -> None:
        """It is watched no longer."""
        self._known.pop(container_id, None)

    def refuse(self, name: str, container_id: str, first: int, refused: Refused, told: bool = False) -> None:
        """It can't be watched.  `told`: that has been told."""
        self.let_go(container_id)
        before, now = self._refused.get(container_id), (first, name, refused.message)
        self._refused[container_id] = now
        if before != now and not told:
            text = refused.message if name in refused.message.split() else f"{name}: {refused.message}"
            self._warn("not watched: " + text, hint="; ".join(refused.hints))
        if refused.by:
            self._await_end(refused.by)

    def tick(self, now: Now) -> None:
        """Asks when it is due; tells when podman takes too long."""
        if self._late is not None and self._late <= now.mono:
            self._late = None
            self._warn("podman has not answered for %d s: until it does no start is noticed" % PATIENCE)
        if self._due is not None and self._due <= now.mono and self._question is None:
            self._due = None
            self._ask_who_runs(now)

    def reap(self, now: Now) -> None:
        """After SIGCHLD."""
        question = self._question
        if question is not None and question.reap(now) and self._question is question:
            self._question = self._late = None
            self.complete = True
            if now.mono < self._until:
                self._due = min(now.mono + EVERY, self._until)

    def stop(self) -> None:
        """Nobody is taken up any more."""
        self._stopped = True
        self._due = self._late = None
        if self._question is not None:
            self._question.close()
            self._question = None
        for pid in list(self._awaited):
            self._forget(pid)

    def _deadline(self) -> float | None:
        return None if self._question is not None else self._due

    def _ask_who_runs(self, now: Now) -> None:
        self._ask(podman.LIST, self._listed, now)

    def _ask(self, words: list[str], answered: Callable[[int, bytes, bytes, Now], None], now: Now) -> None:
        try:
            self._question = Question(self._loop, ["podman", *words], answered)
            self._late = now.mono + PATIENCE
        except OSError as error:
            self._fail("podman: %s: no start is noticed" % error.strerror)

    def _listed(self, status: int, output: bytes, errors: bytes, now: Now) -> None:
        try:
            found = podman.listed(output) if status == 0 else None
        except Refused as refused:
            self._fail(refused.message)
            return
        if found is None:
            said = printable(errors.strip().rpartition(b"\n")[2], 200)
            self._fail("podman ps: " + (said or "exit code %d" % status))
            return
        self._fault = ""
        runs = {one.id: one.pid for one in found if one.pid}
        self._known = {each: pid for each, pid in self._known.items() if runs.get(each) == pid}
        self._refused = {each: told for each, told in self._refused.items() if runs.get(each) == told[0]}
        new = [one.id for one in found if one.pid and one.id not in self._known and self._wanted(one)]
        if new:
            self._ask([*podman.INSPECT, *new], self._inspected, now)

    def _inspected(self, _status: int, output: bytes, _errors: bytes, now: Now) -> None:
        """Those of them that are still there: for others it fails, with a word on stderr."""
        try:
            found = podman.parse(output)
        except Refused as refused:
            self._fail(refused.message)
            return
        for one in found:
            if one.running:
                self._known[one.id] = one.pid
                try:
                    self._take_up(one, now)
                except Refused as refused:
                    self.refuse(one.name, one.id, one.pid, refused)

    def _fail(self, text: str) -> None:
        if not self.complete:
            raise Refused(CANNOT_START, text, podman.remedy())
        if text != self._fault:
            self._fault = text
            self._warn(text)

    def _await_end(self, pid: int) -> None:
        if pid in self._awaited:
            return
        try:
            self._awaited[pid] = pidfd_open(pid)
        except OSError:
            return

        def ended(_events: int, now: Now) -> None:
            self._forget(pid)
            self.noticed(now)

        self._loop.add(self._awaited[pid], ended)

    def _forget(self, pid: int) -> None:
        pidfd = self._awaited.pop(pid)
        self._loop.remove(pidfd)
        os.close(pidfd)
