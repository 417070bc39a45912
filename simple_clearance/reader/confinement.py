"""Other processes' namespaces, and giving up what it took to enter one.

Owns the calls that change what this process is.  The awkward fact: joining a user namespace takes
a single-threaded process and can't be undone, so only the reader does it.  Python has `os.setns`
since 3.12; before that ctypes stands in.
"""

from __future__ import annotations

import errno
import os

from ..base.errors import CANNOT_START, Refused
from ..base.text import printable
from ..system import namespaces
from ..system.pidfd import libc_call

# linux/sched.h
CLONE_NEWUSER = 0x10000000
CLONE_NEWNET = 0x40000000
# linux/capability.h
_LINUX_CAPABILITY_VERSION_3 = 0x20080522

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
    if problem.errno in (errno.EPERM, errno.EACCES):
        hint = "run it as the user who started the container, or as root"
    else:
        hint = "a container's network namespace is /proc/PID/ns/net of a process in it, or /run/netns/NAME"
    return Refused(CANNOT_START, "can't %s: %s" % (operation, problem.strerror), hint)


def drop_privileges() -> None:
    """Keep the open descriptors and nothing else: no capability, no file, no socket, no signal to others.

    Import everything first: afterwards no module can be found.  Single steps may be forbidden
    where the rest works (`setgroups` in a namespace made without newgidmap), so each is taken
    on its own; only keeping the uid of a real root would be an error (OSError).
    """
    import resource

    uid, gid = _highest_mapped("/proc/self/uid_map"), _highest_mapped("/proc/self/gid_map")
    capset = _capset() if uid in (0, os.getuid()) else None
    limit = _first_free_descriptor()
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    for step in (_become_root_inside, _hide_files, _leave_groups):
        try:
            step()
        except OSError:
            pass  # one wall less; those that follow stand by themselves
    os.setresgid(gid, gid, gid)
    os.setresuid(uid, uid, uid)  # from 0 to another it takes every capability along
    if capset is not None:
        capset()
    if limit < hard:  # poll(2) refuses to watch more than that: not 0
        resource.setrlimit(resource.RLIMIT_NOFILE, (limit, limit))


def _first_free_descriptor() -> int:
    """The number above all open descriptors, once the gaps below it are filled."""
    highest = max(map(int, os.listdir("/proc/self/fd")))
    free = os.dup(2)
    while free < highest:
        free = os.dup(2)
    os.close(free)
    return free


def _become_root_inside() -> None:
    """Where the namespace maps our own uid to an ordinary one (keep-id): only its root may do the rest."""
    os.setresuid(0, 0, 0)


def _hide_files() -> None:
    os.chroot(EMPTY_FOLDER)
    os.chdir("/")


def _leave_groups() -> None:
    os.setgroups([])


def _highest_mapped(path: str) -> int:
    """The highest id of this namespace, which nobody else has; lines are `inside outside count`.

    65534, the usual nobody, is taken: the container's name server runs as it, and could be signalled.
    """
    with open(path) as table:
        ranges = [(int(line.split()[0]), int(line.split()[2])) for line in table]
    return max((first + count - 1 for first, count in ranges), default=0)


def _capset() -> Callable[[], object] | None:
    """What clears all capabilities (capset(2)), for a namespace where there is nobody else to become."""
    try:
        import ctypes

        capset = ctypes.CDLL(None).capset
    except (ImportError, AttributeError, OSError):
        return None  # they reach no further than the container, whose root has them too
    header = (ctypes.c_uint32 * 2)(_LINUX_CAPABILITY_VERSION_3, 0)
    return lambda: capset(header, (ctypes.c_uint32 * 6)())
