"""terok-shield's bridge reader, which usually holds the packet log's group before we come.

Owns pidfds of its two processes.  The OCI hook starts it with the container wherever there is
a session bus, hub or no hub: a head outside, and below it the one that holds the group inside.
Its file's name differs between versions, so it is known by its arguments.
"""

from __future__ import annotations

import os
import select
import signal

from . import netns
from .errors import CANNOT_START, Refused

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .watched import Watched

PATIENCE = 2.0
"""Seconds for SIGTERM; where the runtime started its hooks with all signals blocked, only SIGKILL works."""


class Bridge:
    """The bridge reader of one container: `head` leads the process group, `holder` holds NFLOG group 100."""

    def __init__(self, head: int, holder: int) -> None:
        self.head = head
        self.holder = holder
        self.pidfds: list[int] = []
        try:
            for pid in dict.fromkeys((head, holder)):
                self.pidfds.append(netns.pidfd_open(pid))
        except OSError:
            self.close()
            raise

    def __repr__(self) -> str:
        return "Bridge(head %d, holder %d)" % (self.head, self.holder)

    def ended(self, patience: float = 0.0) -> bool:
        """Whether all of it has ended, `patience` seconds from now at the latest."""
        return all(self.has_ended(fd, patience) for fd in self.pidfds)

    def has_ended(self, pidfd: int, patience: float = 0.0) -> bool:
        """The same for one of its processes."""
        poll = select.poll()
        poll.register(pidfd, select.POLLIN)
        return bool(poll.poll(patience * 1000))

    def end(self) -> None:
        """Ends it: TERM to its group, then KILL.  Only the head would leave the other one with the group.

        Refused when it outlives even that.
        """
        for number in (signal.SIGTERM, signal.SIGKILL):
            try:
                os.killpg(self.head, number)
            except ProcessLookupError:
                break
            if self.ended(PATIENCE):
                return
        if not self.ended(PATIENCE):
            raise Refused(
                CANNOT_START,
                "terok-shield's reader (pid %d) can't be ended" % self.head,
                "ps -o pid,stat,cmd -g %d" % self.head,
            )

    def close(self) -> None:
        for fd in self.pidfds:
            os.close(fd)
        self.pidfds = []


def find(watched: Watched, holder: int, uid: int) -> Bridge | None:
    """The bridge reader of this container, when that is who holds the group; None for anyone else.

    It has to be ours, and both its processes this container's by state directory and id.
    """
    try:
        head = os.getpgid(holder)
        if not (_is_reader(head, watched, uid) and _is_reader(holder, watched, None)):
            return None
        found = Bridge(head, holder)
    except OSError:
        return None
    if os.getpgid(holder) != head or not _is_reader(holder, watched, None):
        found.close()  # the pid has passed to another process meanwhile
        return None
    return found


def _is_reader(pid: int, watched: Watched, uid: int | None) -> bool:
    """By its command line; `uid` is who must own it, None for one that has changed it inside."""
    folder = "/proc/%d" % pid
    try:
        if uid is not None and os.stat(folder).st_uid != uid:
            return False
        with open(folder + "/cmdline", "rb") as file:
            words = file.read().split(b"\0")
    except OSError:
        return False
    wanted = (
        os.fsencode(watched.state_dir),
        b"--emit=socket",
        b"--container-id=" + watched.id.encode("ascii"),
    )
    return all(word in words for word in wanted)
