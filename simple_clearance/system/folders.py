"""Notices from folders, as signals.

Owns a descriptor for each watched folder.  The awkward facts: a folder's notice (dnotify, fcntl(2)
F_NOTIFY) is a bare signal: it tells that something changed, not what and not where.  SIGIO, its usual
one, kills a process that has no handler, so `signals.Wakeups` goes around `Folders`; SIGURG, for
notices to be told apart from the first kind, is ignored by default.  Changes made on another host
(NFS) give no notice.
"""

from __future__ import annotations

import fcntl
import os
import signal

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Iterable, Tuple

    Key = Tuple[int, int]  # device and inode

ENTRIES = fcntl.DN_CREATE | fcntl.DN_DELETE | fcntl.DN_RENAME | fcntl.DN_ATTRIB  # who is in it
CONTENTS = ENTRIES | fcntl.DN_MODIFY  # and what they hold: appends and truncations
MOVES = fcntl.DN_RENAME | fcntl.DN_DELETE  # what takes a folder in it from its place

LINKS = 40  # symbolic links on the way to a file, after which the kernel gives up (ELOOP)

LOOK_EVERY = 1.0
"""Seconds between two looks at files of which there are no notices."""
NO_NOTICES = "there are no notices of what changes in %s: looked at once a second"

_OPEN_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC


class Folders:
    """Has `number` sent to this process whenever something changes in a watched folder.

    The signal needs a handler before the first `watch` where its default is to kill.  Many
    changes may come as one signal.  A folder that is missing is waited for in its nearest
    existing ancestor: `refresh` after each notice, then look at what matters.
    """

    def __init__(self, number: int = signal.SIGIO) -> None:
        self._number = number
        self._wanted: dict[tuple[str, int], int] = {}  # path and DN_ mask -> for how many
        self._files: list[str] = []
        self._armed: dict[Key, tuple[int, int]] = {}  # -> (fd, mask)

    def __repr__(self) -> str:
        return "<Folders: %d wanted, %d armed>" % (len(self._wanted), len(self._armed))

    def __enter__(self) -> Folders:
        return self

    def __exit__(self, *failure: object) -> None:
        self.close()

    def watch(self, path: str, events: int = ENTRIES) -> bool:
        """Watch the folder `path`, through symbolic links; False where that can't be had.

        That is: the folder may not be read, or its file system or the kernel has no notices.
        """
        return self.watch_all([path], events)

    def watch_all(self, paths: Iterable[str], events: int = ENTRIES) -> bool:
        """The same for many; one that is named again is watched until it has been let go as often."""
        self._check_handler()
        found = [os.path.abspath(path) for path in paths]
        for path in found:
            self._wanted[path, events] = self._wanted.get((path, events), 0) + 1
        missing: dict[str, Key] = {}
        return all([self._arm(path, events, missing) is not None for path in sorted(set(found))])

    def unwatch(self, path: str, events: int = ENTRIES) -> None:
        """Let it go, once for each `watch`; the next `refresh` gives back the descriptors."""
        key = os.path.abspath(path), events
        self._wanted[key] -= 1
        if not self._wanted[key]:
            del self._wanted[key]

    def watch_file(self, path: str) -> bool:
        """Watch one file for appends, truncation and replacement, and each folder and link on its way.

        False where the folder that it lies in can't be watched, or one that a link to it lies in.
        """
        self._check_handler()
        self._files.append(os.path.abspath(path))
        armed = [
            self._arm(folder, events, {}) is not None or events == MOVES for folder, events in _way(path)
        ]
        return all(armed)

    def refresh(self) -> None:
        """Follow folders that appeared, went away or were replaced since."""
        wanted = {*self._wanted, *(step for path in self._files for step in _way(path))}
        missing: dict[str, Key] = {}
        needed = {self._arm(path, events, missing) for path, events in sorted(wanted)}
        for key in set(self._armed) - needed:
            os.close(self._armed.pop(key)[0])

    def close(self) -> None:
        """No notice comes from here any more."""
        self._wanted.clear()
        self._files.clear()
        self.refresh()

    def _check_handler(self) -> None:
        if signal.getsignal(self._number) in (signal.SIG_DFL, None) and self._number != signal.SIGURG:
            raise RuntimeError("a notice would kill this process: catch signal %d first" % self._number)

    def _arm(self, path: str, events: int, missing: dict[str, Key]) -> Key | None:
        """Have notices from `path`, or from its nearest existing ancestor; which folder that is.

        `missing` are the folders that were found missing just before, and the ancestor that tells when
        they come: below them nothing has to be looked for.
        """
        key = missing.get(os.path.dirname(path))
        while key is None:
            try:
                folder, fd = _open_nearest(path)
            except OSError:
                return None
            status = os.fstat(fd)
            found = (status.st_dev, status.st_ino)
            told = self._notify(found, fd, events if folder == path else ENTRIES)
            if told is None:
                return None
            if folder == path:
                return found
            key = found if told else None  # else what we wait for may have come before: once more
        missing[path] = key
        return key

    def _notify(self, key: Key, fd: int, events: int) -> bool | None:
        """Take over `fd`, an open folder, for these events beside those it has already.

        Whether it had them all already; None where they can't be had.
        """
        known, mask = self._armed.get(key, (-1, 0))
        if known >= 0:
            os.close(fd)
            fd = known
        if mask | events == mask:
            return True
        try:
            fcntl.fcntl(fd, fcntl.F_SETSIG, self._number)
            fcntl.fcntl(fd, fcntl.F_NOTIFY, fcntl.DN_MULTISHOT | mask | events)
        except OSError:
            if known < 0:
                os.close(fd)
            return None
        self._armed[key] = (fd, mask | events)
        return False


def _way(path: str) -> list[tuple[str, int]]:
    """The folders in which the names on the way to a file are looked up, and what there may lead elsewhere.

    The last one is that which the file lies in.
    """
    found: list[tuple[str, int]] = []
    folder, names, links = "/", os.path.abspath(path).split("/")[:0:-1], 0
    while names:
        name = names.pop()
        if name in ("", "."):
            continue
        if name == "..":
            folder = os.path.dirname(folder)
            continue
        try:
            target = os.readlink(os.path.join(folder, name)) if links < LINKS else ""
        except OSError:  # it is no link, or not there
            target = ""
        if target:
            links += 1
            found.append((folder, ENTRIES))
            names += target.split("/")[::-1]
            folder = "/" if target.startswith("/") else folder
        else:
            found.append((folder, MOVES if names else CONTENTS))
            folder = os.path.join(folder, name)
    return found or [("/", ENTRIES)]


def _open_nearest(path: str) -> tuple[str, int]:
    """The nearest existing folder at or above `path`, opened."""
    while True:
        try:
            return path, os.open(path, _OPEN_FOLDER)
        except (FileNotFoundError, NotADirectoryError):
            if path == os.path.dirname(path):
                raise
            path = os.path.dirname(path)
