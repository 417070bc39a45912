"""All sessions that were joined: whose container is whose, and what the session asks of all of them.

As a rule there are none; so what speaks to one is imported with the first.
"""

from __future__ import annotations

import shlex

from ..base.errors import USAGE, Refused

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Callable

    from ..base.happenings import Watching
    from ..base.moment import Now
    from ..base.options import Options
    from ..docket.docket import Docket, Record
    from ..docket.jobs import Job
    from ..system.loop import Loop
    from .link import Command, Link
    from .remote import Remote


class Links:
    """All sessions that were joined, by their names: none before `join`.  False where there is none."""

    def __init__(self, loop: Loop, docket: Docket, timeout: float, trace: Callable[[str], None]) -> None:
        self._loop = loop
        self._docket = docket
        self._timeout = timeout
        self._trace = trace
        self._links: dict[str, Link] = {}
        self._commands: dict[str, Command] = {}
        self._began = False

    def __bool__(self) -> bool:
        return bool(self._links)

    def join(self, options: Options, may_ask: bool) -> None:
        """Those of `--host` and `--join`, which `start` starts.  Refused (2) where two have one name."""
        from . import ssh
        from .link import Command, Link

        commands = self._commands = ssh.sessions(options, may_ask)
        for name, argv in options.joined:
            if name in commands:
                raise Refused(USAGE, f"--join {name}: another one has this name", "give it another one")
            commands[name] = Command(argv, hint="run it by hand to see why: " + shlex.join(argv))
        self._links = {
            name: Link(name, command, self._loop, self._docket, self._timeout, self._trace)
            for name, command in commands.items()
        }
        self._loop.deadlines.append(self._deadline)

    def of(self, container: str) -> Remote | None:
        """The session that watches a container; None for one of ours."""
        link = self._links.get(container.partition("/")[0]) if "/" in container else None
        return link.remote if link is not None else None

    def start(self, now: Now) -> None:
        """Starts all of them."""
        for link in self._links.values():
            link.start(now)

    def listening(self, now: Now) -> bool:
        """Whether all have begun.  Refused (3) for one that can't.

        What does not work without asking on our terminal is tried with that, one after the other.
        """
        if self._began or not all(link.settled for link in self._links.values()):
            return self._began
        for link in self._links.values():
            if link.may_ask:
                link.start_asking(now)
                return False
            if link.refusal is not None:
                raise link.refusal
        self._began = True
        return True

    @property
    def late(self) -> str:
        """Which of them have not begun, in words; "" while one may be asking on our terminal."""
        late = [name for name, link in self._links.items() if not link.settled]
        asks = any(link.asks for link in self._links.values())
        return "the session of %s has not begun" % ", ".join(late) if late and not asks else ""

    @property
    def over(self) -> bool:
        """Whether all have ended as asked."""
        return all(link.over for link in self._links.values())

    def command_of(self, container: str) -> tuple[str, str]:
        """What stands before a command about a container, "" if nobody knows; and what it is called there."""
        name, _, there = container.partition("/")
        return self._commands[name].before, there

    def watching(self) -> list[Watching]:
        return [link.remote.row(name) for link in self._links.values() for name in link.remote.watching]

    @property
    def running(self) -> list[Job]:
        """The verdicts that were sent and have not been answered."""
        return [job for link in self._links.values() for job in link.remote.sent.jobs]

    def told(self, record: Record, now: Now) -> None:
        """A record of our docket's."""
        for link in self._links.values():
            link.remote.told(record, now)

    def _deadline(self) -> float | None:
        due = [each for each in (link.deadline() for link in self._links.values()) if each is not None]
        return min(due, default=None)

    def tick(self, now: Now) -> None:
        for link in self._links.values():
            link.tick(now)

    def reap(self, now: Now) -> None:
        """After SIGCHLD."""
        for link in self._links.values():
            link.reap(now)

    def stop(self, now: Now) -> None:
        """The session ends."""
        for link in self._links.values():
            link.stop(now)

    @property
    def has_last_words(self) -> bool:
        return any(link.ending for link in self._links.values())

    def abandon(self, now: Now) -> None:
        """At the end: what still runs there goes on by itself, its outcome unknown."""
        for link in self._links.values():
            link.abandon(now)

    def close(self) -> None:
        for link in self._links.values():
            link.close()
