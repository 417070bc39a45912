"""How many descriptors we may have: the usual 1024 are too few for a hundred containers.

The awkward fact: a limit is inherited, and a large one is a burden to some programs: they close every
number that there may be, or have tables of that size.  So what we start gets the one that we had.
"""

from __future__ import annotations

import resource

MANY_FILES = 8192
"""A session has up to ten for each container."""

_before: list[int] = []
"""The limit that we had, while there is another one."""


class ManyFiles:
    """A context manager: we may have `MANY_FILES` descriptors, or as many as the hard limit says."""

    def __enter__(self) -> None:
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        most = MANY_FILES if hard == resource.RLIM_INFINITY else min(MANY_FILES, hard)
        if 0 <= soft < most:
            resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))
            _before.append(soft)

    def __exit__(self, *failure: object) -> None:
        if _before:
            AsBefore().__enter__()
            _before.pop()


class AsBefore:
    """A context manager in which something is started: the limit that we had before `ManyFiles`."""

    def __enter__(self) -> None:
        self._now = soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        if _before and 0 <= _before[-1] < soft:
            resource.setrlimit(resource.RLIMIT_NOFILE, (_before[-1], hard))

    def __exit__(self, *failure: object) -> None:
        if _before:
            resource.setrlimit(resource.RLIMIT_NOFILE, self._now)
