"""A descriptor of a process, which tells its end and never another's (pidfd_open(2)).

Python has `os.pidfd_open` since 3.9; before that ctypes stands in, and where there is no ctypes
either, the remedy is a newer Python.
"""

from __future__ import annotations

import os
import select

from ..base.errors import CANNOT_START, Refused

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_libc: list[Any] = []  # opened once: each time makes new types, 4 KB

# asm-generic/unistd.h; the same on every architecture
SYS_PIDFD_OPEN = 434


def pidfd_open(pid: int) -> int:
    """A descriptor that polls readable once process `pid` has ended (pidfd_open(2)); OSError."""
    if hasattr(os, "pidfd_open"):
        descriptor: int = os.pidfd_open(pid)
        return descriptor
    descriptor = libc_call("syscall", SYS_PIDFD_OPEN, pid, 0)
    os.set_inheritable(descriptor, False)  # it is made close-on-exec already; Python's flag follows
    return descriptor


def has_ended(pidfd: int, seconds: float = 0.0) -> bool:
    """Whether its process has ended, so many seconds from now at the latest."""
    poll = select.poll()
    poll.register(pidfd, select.POLLIN)
    return bool(poll.poll(seconds * 1000))


def libc_call(name: str, *args: int) -> int:
    """What a function of the C library returns for these numbers; OSError where that is negative."""
    try:
        import ctypes
    except ImportError as problem:
        raise Refused(
            CANNOT_START,
            "this Python can't enter a container: it has neither os.setns nor ctypes",
            "run it with Python 3.12 or later, or install libffi and build Python with ctypes",
        ) from problem
    if not _libc:
        _libc.append(ctypes.CDLL(None, use_errno=True))
    result = int(getattr(_libc[0], name)(*map(ctypes.c_long, args)))
    if result < 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))
    return result
