"""Which network namespace to believe: the one that podman made for the container.

Owns the way from what `podman inspect` told to an open descriptor of it.

The awkward facts: a pid from `inspect` may belong to another process by the time its namespace is
opened; and the container's first process may have left for a namespace of its own making, where
the shield is not and the workload makes up what is logged.  podman keeps the one it made in a file
that only its own processes see, conmon among them, out of the workload's reach: that is compared.
Where it names none, the owner tells.  Leaving takes a user namespace made inside, which then owns
what is made; what podman made is owned by the user namespace of its own processes or, where the
container was given one of its own (keep-id, auto, nomap), by one made directly in that.  One made
inside lies a generation deeper, since nobody can make one anywhere but in their own.
"""

from __future__ import annotations

import os

from ..base.errors import CANNOT_START, FORBIDDEN, Refused
from ..base.text import printable
from ..system import namespaces, processes
from ..system.pidfd import has_ended, pidfd_open
from . import podman

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .podman import Container


def open_namespace(container: Container) -> tuple[int, int]:
    """(pidfd of the container's first process, its network namespace), both close-on-exec and the caller's.

    The pidfd is opened first, and its process must be conmon's child and still alive once the
    namespace is open: else the pid has passed to another process since `inspect`.  Refused, too,
    when that namespace is not the one that podman made.
    """
    podman.check_running(container)
    try:
        pidfd = pidfd_open(container.pid)
    except ProcessLookupError:
        raise _ended(container) from None
    except OSError as error:
        reason = "pidfd_open: %s" % error.strerror
        raise Refused(CANNOT_START, reason, "Linux 5.3 or later is needed") from None
    opened = [pidfd]
    try:
        if not _is_conmons_child(container):
            raise _ended(container)
        opened.append(_opened("/proc/%d/ns/net" % container.pid, container))
        if not _podmans_own(opened[1], container):
            raise _left(container)
        if has_ended(pidfd) or not _is_conmons_child(container):  # so both pids were theirs all the while
            raise _ended(container)
        return pidfd, opened[1]
    except BaseException as error:
        headless = not has_ended(pidfd)
        for fd in opened:
            os.close(fd)
        if isinstance(error, OSError):  # /proc without it: the process is gone, or its main thread is
            raise _headless(container) if headless else _ended(container) from None
        raise


def _podmans_own(namespace: int, container: Container) -> bool:
    """Whether podman, not the workload, made this network namespace; OSError when a process is gone."""
    if not container.conmon_pid:
        text = "%s: its conmon has ended, and nothing else tells which network namespace podman made for it"
        raise Refused(CANNOT_START, text % container.name, "podman restart %s" % container.name)
    kept = _kept(container)
    if kept is not None and kept.st_dev == os.fstat(namespace).st_dev:  # else the file is left over
        return os.path.samestat(kept, os.fstat(namespace))
    opened = []
    try:
        opened.append(_opened("/proc/%d/ns/user" % container.conmon_pid, container))
        opened.append(namespaces.owner(namespace))
        return namespaces.generations(opened[1], opened[0], int(container.own_users)) is not None
    except PermissionError:
        return False  # its owner is not even in sight: it is above us
    finally:
        for fd in opened:
            os.close(fd)


def _kept(container: Container) -> os.stat_result | None:
    """The file that podman keeps the container's network namespace in; None where there is none."""
    try:
        return (
            os.stat("/proc/%d/root%s" % (container.conmon_pid, container.sandbox))
            if container.sandbox
            else None
        )
    except (OSError, ValueError):
        return None


def _opened(path: str, container: Container) -> int:
    try:
        return os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except PermissionError as error:
        reason = "open %s: %s" % (path, error.strerror)
        remedy = "run this as the user who started %s" % container.name
        raise Refused(CANNOT_START, reason, remedy, FORBIDDEN) from None


def _is_conmons_child(container: Container) -> bool:
    """By proc_pid_stat(5), whose second field, the name, may hold any byte but NUL."""
    with open("/proc/%d/stat" % container.pid, "rb") as file:
        parent = int(file.read().rpartition(b")")[2].split()[1])
    return not container.conmon_pid or parent == container.conmon_pid


def _ended(container: Container) -> Refused:
    reason = "%s has stopped: pid %d is no longer its process" % (container.name, container.pid)
    return Refused(CANNOT_START, reason, "podman start %s" % container.name)


def _headless(container: Container) -> Refused:
    """The kernel shows no namespaces of a process whose other threads go on without the main one.

    And where /proc is mounted with hidepid, nothing at all of another user's.
    """
    if not os.path.exists("/proc/%d" % container.pid):
        reason = "%s: /proc shows nothing of pid %d: it is mounted with hidepid" % (
            container.name,
            container.pid,
        )
        remedy = "run this as the user who started %s; or, as root: mount -o remount,hidepid=0 /proc"
        return Refused(CANNOT_START, reason, remedy % container.name)
    who = "%s: pid %d (%s)" % (container.name, container.pid, printable(processes.name(container.pid)))
    reason = who + " has ended its main thread: nobody can enter its network namespace, terok-shield neither"
    return Refused(CANNOT_START, reason, "podman restart %s" % container.name)


def _left(container: Container) -> Refused:
    who = "%s: pid %d (%s)" % (container.name, container.pid, printable(processes.name(container.pid)))
    return Refused(
        CANNOT_START,
        who + " is in a network namespace that podman did not make for it",
        "what the shield blocks is not seen there; podman logs %s may tell why it left" % container.name,
    )
