"""What /proc tells about other processes, by their pid.

The awkward fact: a pid is nobody's for long.  Whoever ends a process because of what is told here
holds a pidfd of it, and asks once more after having got that.
"""

from __future__ import annotations

import os

from . import namespaces

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Iterator


MOST_SOCKETS = 1 << 20
"""Bytes of a table of sockets: ten thousand of them, some milliseconds."""
LISTENS = b"00010000"  # __SO_ACCEPTCON, linux/net.h
LOOKED_AT = 4096
"""Bytes of a command line in which a command has to begin that is looked for among all there are."""


def words(pid: int, most: int = -1) -> list[bytes]:
    """Its command line, whole words of its first `most` bytes; empty when it is gone, or a zombie."""
    try:
        with open("/proc/%d/cmdline" % pid, "rb", 0) as file:
            return file.read(most).split(b"\0")[:-1]
    except OSError:
        return []


def ours() -> Iterator[tuple[int, list[bytes]]]:
    """Every process of our uid beside us but ourselves, and the beginning of its command line.

    A container's processes may have our uid, too.  Of those no memory is read: each may have 6 MB of
    command line, and may keep whoever reads it waiting.
    """
    uid, own, here = os.getuid(), os.getpid(), _namespaces("self")
    for entry in os.listdir("/proc"):
        is_other = entry.isdigit() and int(entry) != own
        if is_other and owner(int(entry)) == uid and _namespaces(entry) == here:
            yield int(entry), words(int(entry), LOOKED_AT)


def home(pid: int) -> bytes | None:
    """$HOME as it was started with; None when that is not known."""
    try:
        with open("/proc/%d/environ" % pid, "rb") as file:
            variables = file.read().split(b"\0")
    except OSError:
        return None
    return next((one[5:] for one in variables if one.startswith(b"HOME=")), None)


def is_beside_us(pid: int) -> bool:
    """Whether it lives in our own pid and user namespace, as nothing inside a rootless container does."""
    return _namespaces(str(pid)) == _namespaces("self")


def _namespaces(entry: str) -> tuple[str, str] | None:
    """Which pid and user namespace a process lives in; None when it is gone, or not ours to look at."""
    try:
        return os.readlink("/proc/%s/ns/pid" % entry), os.readlink("/proc/%s/ns/user" % entry)
    except OSError:
        return None


def name(pid: int) -> str:
    """The name of its program, 15 bytes at most; empty when it is gone."""
    try:
        with open("/proc/%d/comm" % pid, "rb") as file:
            return file.read().rstrip(b"\n").decode("latin-1")
    except OSError:
        return ""


def owner(pid: int) -> int:
    """Whose it is; -1 when it is gone."""
    try:
        return os.stat("/proc/%d" % pid).st_uid
    except OSError:
        return -1


def is_deaf(pid: int, number: int) -> bool:
    """Whether it blocks or ignores a signal: crun 1.8 starts its hooks, and all they start, like that."""
    try:
        with open("/proc/%d/status" % pid) as file:
            masks = [int(line.split()[1], 16) for line in file if line.startswith(("SigBlk:", "SigIgn:"))]
    except OSError:
        return False  # gone, or not ours to look at
    return any(mask >> (number - 1) & 1 for mask in masks)


def lives_inside(pid: int, first: int) -> bool:
    """Whether it lives in the pid namespace of the container's process `first`, or in one made in there.

    False where the two can't be looked at, and for a container that has no such namespace of its own.
    """
    opened: list[int] = []
    try:
        for path in ("/proc/%d/ns/pid" % first, "/proc/self/ns/pid", "/proc/%d/ns/pid" % pid):
            opened.append(os.open(path, os.O_RDONLY | os.O_CLOEXEC))
        containers, ours, _ = map(os.fstat, opened)
        while not os.path.samestat(os.fstat(opened[-1]), ours):
            if os.path.samestat(os.fstat(opened[-1]), containers):
                return True
            opened.append(namespaces.parent(opened[-1]))
    except OSError:
        pass  # one has ended, is another user's, or the next parent is not below us
    finally:
        for fd in opened:
            os.close(fd)
    return False


def unix_listeners(pid: str, most: int = MOST_SOCKETS) -> list[str] | None:
    """The paths of the sockets that listen in its network namespace; None when that can't be told.

    From /proc/PID/net/unix (Num, RefCount, Protocol, Flags, Type, St, Inode, Path), of which no more than
    the beginning is read: any user may have as many sockets as he likes.
    """
    try:
        with open("/proc/%s/net/unix" % pid, "rb") as table:
            data = table.read(most + 1)
    except OSError:
        return None
    if len(data) > most:
        return None
    rows = [line.split(None, 7) for line in data.split(b"\n")]
    return [os.fsdecode(row[7]) for row in rows if len(row) == 8 and row[3] == LISTENS]


def locking(file: os.stat_result) -> int:
    """The pid of a process that has this file locked (flock(2)); 0 when none is to be seen.

    A stranger's file elsewhere may have the same inode number: so it has to be open in that process, too.
    """
    return next((pid for pid in lockers(file) if _has(pid, file)), 0)


def lockers(file: os.stat_result) -> list[int]:
    """The pids of those who have a file of that inode number locked (proc_locks(5)).

    Some file systems tell its device differently there, so that is not compared.
    """
    try:
        with open("/proc/locks") as table:
            rows = [line.split() for line in table]
    except OSError:
        return []
    # 1: FLOCK ADVISORY WRITE PID MAJOR:MINOR:INODE START END
    return [
        int(row[4]) for row in rows if row[1:2] == ["FLOCK"] and row[5].rpartition(":")[2] == str(file.st_ino)
    ]


def _has(pid: int, file: os.stat_result) -> bool:
    """Whether a process has this file open."""
    folder = "/proc/%d/fd/" % pid
    try:
        return any(os.path.samestat(os.stat(folder + fd), file) for fd in os.listdir(folder))
    except OSError:
        return False  # gone, in another pid namespace, or not ours to look at
