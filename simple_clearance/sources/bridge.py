"""terok-shield's bridge reader, which usually holds the packet log's group before we come.

Owns pidfds of its two processes.  The OCI hook starts it with the container wherever there is
a session bus, hub or no hub: a head outside, and below it the one that holds the group inside
and writes the audit log, which goes on when the head alone is ended.  Its file's name differs
between versions, so it is known by its arguments.

The awkward fact: anyone can write such arguments onto a command line.  So it has to be ours, in
one process group with its head, and all is asked again once the pidfds keep its pids from
being given to others unnoticed.
"""

from __future__ import annotations

import os
import signal

from ..base.errors import CANNOT_START, Refused
from ..system import processes
from ..system.pidfd import has_ended, pidfd_open

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .watched import Watched

PATIENCE = 2.0
"""Seconds for a signal to end it."""


class Bridge:
    """The bridge reader of one container: `holder` holds NFLOG group 100, `head` leads the process group.

    `pid` is the one to name it by; `gone` polls readable once the group is free.
    """

    def __init__(self, head: int, holder: int) -> None:
        self.head = head
        self.holder = holder
        self.pid = head if processes.words(head) else holder  # the head may have been ended by itself
        self.gone = -1
        self._pidfds: list[int] = []
        try:
            for pid in dict.fromkeys((holder, self.pid)):
                self._pidfds.append(pidfd_open(pid))
        except OSError:
            self.close()
            raise
        self.gone = self._pidfds[0]

    def __repr__(self) -> str:
        return "Bridge(head %d, holder %d)" % (self.head, self.holder)

    def ended(self, patience: float = 0.0) -> bool:
        """Whether all of it has ended, `patience` seconds from now at the latest."""
        return all(has_ended(fd, patience) for fd in self._pidfds)

    def end(self, patience: float = PATIENCE) -> None:
        """Ends it: TERM to its group, then KILL.  Only the head would leave the other one with the group.

        The OCI runtime may have started it deaf to TERM, which is seen before, or it may not
        mind it, which is seen after `patience` seconds.  Refused when it outlives even KILL.
        """
        for number in (signal.SIGTERM, signal.SIGKILL):
            if number == signal.SIGTERM and processes.is_deaf(self.holder, number):
                continue
            if self.ended():  # from here on nothing keeps the group's number for it
                return
            try:
                os.killpg(self.head, number)
            except ProcessLookupError:
                return
            if self.ended(patience):
                return
        raise Refused(
            CANNOT_START,
            "terok-shield's reader (pid %d) can't be ended" % self.pid,
            "see what keeps it: ps -o pid,stat,wchan,cmd -g %d" % self.head,
        )

    def close(self) -> None:
        for fd in self._pidfds:
            os.close(fd)
        self._pidfds = []
        self.gone = -1


def find(watched: Watched, holder: int, uid: int) -> Bridge | None:
    """The bridge reader of this container, when that is who holds the group; None for anyone else."""
    found = None
    try:
        head = os.getpgid(holder)
        if _is_it(head, holder, watched, uid):
            found = Bridge(head, holder)
            if os.getpgid(holder) == head and _is_it(head, holder, watched, uid):
                return found
    except OSError:
        pass  # it has ended meanwhile
    if found is not None:
        found.close()
    return None


def feeds_a_hub(watched: Watched, uid: int) -> bool | None:
    """Whether a bridge reader runs that would tell a hub what is blocked; None when that is not known."""
    if not watched.state_dir:
        return None
    try:
        # without O_NONBLOCK a fifo of that name would hold us up
        fd = os.open(
            os.path.join(watched.state_dir, "reader.pid"), os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC
        )
        try:
            head = int(os.read(fd, 20))
        finally:
            os.close(fd)
    except FileNotFoundError:
        return False  # there was no session bus when the container started
    except (OSError, ValueError):
        return None
    if _is_reader(head, watched) and processes.owner(head) == uid:
        return True
    try:
        os.killpg(head, 0)
    except (OSError, OverflowError):
        return False  # the file is left over
    return None  # the other one may go on without its head


def _is_it(head: int, holder: int, watched: Watched, uid: int) -> bool:
    """Both are this container's reader, and ours: by the head, or where that has ended by our rights.

    Who holds the group may have become another uid inside, so only its head's counts.  A process
    group is never entered from another session, so nobody else's process is in that of our head.
    """
    if not _is_reader(holder, watched):
        return False
    if processes.words(head):
        return _is_reader(head, watched) and processes.owner(head) == uid
    os.kill(holder, 0)  # PermissionError for another user's
    return uid != 0 or processes.owner(holder) == 0


def _is_reader(pid: int, watched: Watched) -> bool:
    wanted = (
        os.fsencode(watched.state_dir),
        b"--emit=socket",
        b"--container-id=" + watched.id.encode("ascii"),
    )
    words = processes.words(pid)
    return bool(watched.id) and all(word in words for word in wanted)
