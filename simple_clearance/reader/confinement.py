"""Other processes' namespaces, and giving up what it took to enter one.

Owns the calls that change what this process is.  The awkward fact: joining a user namespace takes
a single-threaded process and can't be undone, so only the reader does it.  Python has `os.setns`
since 3.12; before that ctypes stands in.
"""

from __future__ import annotations

import errno
import os

from ..base.errors import AS_WHOM, CANNOT_START, FORBIDDEN, Refused
from ..base.text import printable
from ..system import namespaces
from ..system.pidfd import libc_call

# linux/sched.h
CLONE_NEWUSER = 0x10000000
CLONE_NEWNET = 0x40000000
# linux/capability.h
_LINUX_CAPABILITY_VERSION_3 = 0x20080522
# linux/prctl.h
_PR_CAPBSET_DROP = 24
_PR_SET_NO_NEW_PRIVS = 38

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Callable

EMPTY_FOLDER = "/proc/self/fdinfo"  # as a root: nothing in it but our own descriptors' flags


def setns(descriptor: int, kind: int) -> None:
    """setns(2): join the namespace of this descriptor, of kind CLONE_NEW*; OSError."""
    if hasattr(os, "setns"):
        os.setns(descriptor, kind)
    else:
        libc_call("setns", descriptor, kind)


def open_path(path: str) -> int:
    """A descriptor of the namespace that `path` names; raises Refused."""
    try:
        return os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except OSError as problem:
        raise _refusal("open " + printable(path), problem) from problem


def enter(netns: int) -> None:
    """Join the network namespace of descriptor `netns`, and before it its user namespace if need be.

    Root joins it as it is.  An ordinary user joins the owning user namespace first, which works
    for the containers of that user and gives every capability in there, none outside.
    """
    try:
        setns(netns, CLONE_NEWNET)
        return
    except OSError as problem:
        if problem.errno != errno.EPERM:
            raise _refusal("join the network namespace", problem) from problem
    try:
        owner = namespaces.owner(netns)
    except OSError as problem:
        raise _refusal("find the user namespace that owns it", problem) from problem
    try:
        setns(owner, CLONE_NEWUSER)
        setns(netns, CLONE_NEWNET)
    except OSError as problem:
        raise _refusal("join the container's namespaces", problem) from problem
    finally:
        os.close(owner)


def _refusal(operation: str, problem: OSError) -> Refused:
    hints = ["a container's network namespace is /proc/PID/ns/net of a process in it, or /run/netns/NAME"]
    if problem.errno in (errno.EPERM, errno.EACCES):
        hints = [AS_WHOM, FORBIDDEN]
    return Refused(CANNOT_START, "can't %s: %s" % (operation, problem.strerror), *hints)


def drop_privileges() -> None:
    """Keep the open descriptors and nothing else: no capability, no file, no process, no new descriptor.

    Import everything first: afterwards no module can be found.  What waits for descriptors has to be
    an epoll(7) made before: poll(2) refuses to watch more of them than the process may have, which is none.
    Single steps may be forbidden where the rest works (`setgroups` in a namespace made without
    newgidmap), so each is taken on its own; where the ids can't be changed, it is an OSError.
    """
    import resource

    uid, gid = _highest_mapped("/proc/self/uid_map"), _highest_mapped("/proc/self/gid_map")
    _take(_become_root_inside, _empty_bounding_set, _hide_files, _leave_groups)
    os.setresgid(gid, gid, gid)
    os.setresuid(uid, uid, uid)  # from 0 to another it takes every capability along
    _take(_clear_capabilities, _gain_nothing_by_exec)
    resource.setrlimit(resource.RLIMIT_NOFILE, (0, 0))
    resource.setrlimit(resource.RLIMIT_NPROC, (0, 0))


def _take(*steps: Callable[[], object]) -> None:
    for step in steps:
        try:
            step()
        except (OSError, ImportError, Refused):  # the last two: there is no ctypes
            pass  # one wall less; the others stand by themselves


def _become_root_inside() -> None:
    """Where the namespace maps our own uid to an ordinary one (keep-id): only its root may do the rest."""
    os.setresuid(0, 0, 0)


def _empty_bounding_set() -> None:
    with open("/proc/sys/kernel/cap_last_cap", "rb", 0) as file:
        last = int(file.read())
    for capability in range(last + 1):
        libc_call("prctl", _PR_CAPBSET_DROP, capability, 0, 0, 0)


def _hide_files() -> None:
    os.chroot(EMPTY_FOLDER)
    os.chdir("/")


def _leave_groups() -> None:
    os.setgroups([])


def _clear_capabilities() -> None:
    """For a namespace where there is nobody else to become: it was root's that went along."""
    import ctypes

    header = (ctypes.c_uint32 * 2)(_LINUX_CAPABILITY_VERSION_3, 0)
    none = (ctypes.c_uint32 * 6)()
    libc_call("capset", ctypes.addressof(header), ctypes.addressof(none))


def _gain_nothing_by_exec() -> None:
    libc_call("prctl", _PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)


def _highest_mapped(path: str) -> int:
    """The highest id of this namespace, which nobody else has; lines are `inside outside count`.

    65534, the usual nobody, is taken: the container's name server runs as it, and could be signalled.
    """
    with open(path, "rb", 0) as table:  # as text it would cost 0.1 MB
        ranges = [(int(line.split()[0]), int(line.split()[2])) for line in table]
    return max((first + count - 1 for first, count in ranges), default=0)
