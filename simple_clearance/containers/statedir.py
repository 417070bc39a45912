"""Which directory to believe: the shield's state of one container.

Owns the rules for a path that an annotation names, the gentler ones for a path that the user
gives, and `container.id`.

The awkward fact: the annotation may be the image's, and a workload that is root in a rootless
container writes files of our uid wherever a volume leads it.
"""

from __future__ import annotations

import errno
import fcntl
import os
import stat

from ..base.errors import CANNOT_START, Refused
from ..base.ids import SHORT_ID, is_hex
from ..base.text import clip_right, printable
from ..system import processes

ANNOTATION = "terok.shield.state_dir"
ID_FILE = "container.id"


def quoted(text: str) -> str:
    return "'%s'" % clip_right(printable(text), 200)


def believable(path: str, container_id: str, uid: int) -> None:
    """Raise Refused unless the annotated `path` can only be what the user `uid` had made for this container.

    The workload may write wherever a volume leads it, but not into a directory like this.
    """
    reason = _doubt(path, container_id, uid)
    if reason:
        text = "the annotated state directory %s is not believed: %s" % (quoted(path), reason)
        raise Refused(CANNOT_START, text, "--state-dir DIR, if you know the right one")


def _doubt(path: str, container_id: str, uid: int) -> str:
    if not path.startswith("/"):
        return "no absolute path"
    try:
        folder = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except (OSError, ValueError) as error:  # ValueError: a NUL or a lone surrogate in it
        return getattr(error, "strerror", None) or "no path"
    try:
        found = os.fstat(folder)
        if found.st_uid != uid:
            return "it belongs to uid %d" % found.st_uid
        if found.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
            return "others may write to it (mode %04o)" % stat.S_IMODE(found.st_mode)
        recorded = _recorded(folder)
    finally:
        os.close(folder)
    if not recorded:
        return "no usable %s in it" % ID_FILE
    return "" if recorded == container_id[:SHORT_ID] else "its %s is that of %s" % (ID_FILE, recorded)


def check_given(path: str, name: str, container_id: str = "") -> None:
    """Raise Refused unless `path`, the user's own --state-dir, is a directory and not another container's.

    terok-shield's option of the same name is the root above it, which is the usual mistake.  The
    inverse one makes terok-shield create such a root inside, so a directory with its own id is no root.
    """
    try:
        recorded = recorded_id(path)
    except (OSError, ValueError) as error:
        reason = "state directory %s: %s" % (quoted(path), getattr(error, "strerror", None) or "no path")
        raise Refused(CANNOT_START, reason, "podman inspect %s shows it as %s" % (name, ANNOTATION)) from None
    inner = os.path.join(path, "containers", name)
    if not recorded and os.path.isdir(inner):
        reason = "%s is the root of all containers' state" % quoted(path)
        import shlex

        raise Refused(CANNOT_START, reason, "--state-dir %s" % shlex.quote(printable(inner)))
    if recorded and container_id and recorded != container_id[:SHORT_ID]:
        reason = "state directory %s is that of container %s" % (quoted(path), recorded)
        raise Refused(CANNOT_START, reason, "podman inspect %s shows its own as %s" % (name, ANNOTATION))


def claim(path: str, name: str) -> int:
    """A descriptor that keeps every other session from running verdicts for this container while it is open.

    terok-shield edits its state without a lock, so two verdicts at once may spoil it.  Refused (3)
    when another session has it.  It is a lock on the directory itself (flock(2)): nothing is left
    behind, whoever is killed.  -1 where that can't be locked: on some file systems, or gone by now, or
    since another user has it locked, who can't run verdicts for this container but may read the directory.
    """
    try:
        folder = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError:
        return -1
    try:
        fcntl.flock(folder, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return folder
    except OSError as error:
        found = os.fstat(folder)
        os.close(folder)
        if error.errno != errno.EWOULDBLOCK or _is_strangers(found):
            return -1
    pid = processes.locking(found)
    who = "pid %d (%s)" % (pid, printable(b" ".join(processes.words(pid)), 200)) if pid else "a process"
    raise Refused(
        CANNOT_START,
        "another session answers for %s: %s" % (name, who),
        "answer there, or end it first%s" % (": kill -TERM %d" % pid if pid else ""),
        by=pid,
    )


def _is_strangers(found: os.stat_result) -> bool:
    """Whether only users have it locked who neither own it nor are us."""
    holders = [processes.owner(pid) for pid in processes.lockers(found)]
    return bool(holders) and not {-1, 0, found.st_uid, os.getuid()} & set(holders)


def recorded_id(path: str) -> str:
    """The 12 hex digits of `container.id` in the state directory `path`, "" where there are none.

    Raises OSError when there is no such directory.
    """
    folder = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        return _recorded(folder)
    finally:
        os.close(folder)


def _recorded(folder: int) -> str:
    try:
        # without O_NONBLOCK a fifo of that name would hold us up
        fd = os.open(ID_FILE, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=folder)
    except OSError:
        return ""
    try:
        text = os.read(fd, 65).decode("ascii", "replace") if stat.S_ISREG(os.fstat(fd).st_mode) else ""
    finally:
        os.close(fd)
    text = text[:-1] if text.endswith("\n") else text
    return text if len(text) == SHORT_ID and is_hex(text) else ""
