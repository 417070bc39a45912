"""Who owns a namespace, and which user namespace lies around which (ioctl_ns(2)).

The awkward fact: the kernel tells of a namespace only to those in it or above it; for all else
it answers EPERM.
"""

from __future__ import annotations

import fcntl
import os

# linux/nsfs.h
NS_GET_USERNS = 0xB701  # _IO(0xb7, 0x1)
NS_GET_PARENT = 0xB702  # _IO(0xb7, 0x2)


def owner(namespace: int) -> int:
    """A descriptor of the user namespace that owns this one; OSError."""
    found: int = fcntl.ioctl(namespace, NS_GET_USERNS)
    return found


def parent(namespace: int) -> int:
    """A descriptor of the user or pid namespace that this one was made in; OSError."""
    found: int = fcntl.ioctl(namespace, NS_GET_PARENT)
    return found


def generations(namespace: int, above: int, most: int) -> int | None:
    """How far the user namespace `namespace` lies below `above`: 0 for the same, 1 for one made in it.

    None when it lies elsewhere, or deeper than `most`.
    """
    wanted = os.fstat(above)
    opened = [namespace]
    try:
        for depth in range(most + 1):
            if os.path.samestat(os.fstat(opened[-1]), wanted):
                return depth
            opened.append(parent(opened[-1]))
    except PermissionError:
        pass  # the next one is above ours
    finally:
        for fd in opened[1:]:
            os.close(fd)
    return None
