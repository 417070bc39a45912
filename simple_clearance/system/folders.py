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
        self._wanted: dict[str, int] = {}  # path -> DN_ mask
        self._files: list[str] = []
        self._armed: dict[tuple[int, int], tuple[int, int]] = {}  # (device, inode) -> (fd, mask)

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
        self._check_handler()
        path = os.path.abspath(path)
        self._wanted[path] = self._wanted.get(path, 0) | events
        return self._arm(path, self._wanted[path]) is not None

    def watch_file(self, path: str) -> bool:
        """Watch one file for appends, truncation and replacement, and each folder and link on its way.

        False where the folder that it lies in can't be watched, or one that a link to it lies in.
        """
        self._check_handler()
        self._files.append(os.path.abspath(path))
        armed = [self._arm(folder, events) is not None or events == MOVES for folder, events in _way(path)]
        return all(armed)

    def refresh(self) -> None:
        """Follow folders that appeared, went away or were replaced since."""
        wanted = [*self._wanted.items(), *(step for path in self._files for step in _way(path))]
        needed = {self._arm(path, events) for path, events in wanted}
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

    def _arm(self, path: str, events: int) -> tuple[int, int] | None:
        """Have notices from `path`, or from its nearest existing ancestor; which folder that is."""
        armed = None
        while True:
            try:
                folder, fd = _open_nearest(path)
            except OSError:
                return None
            status = os.fstat(fd)
            key = (status.st_dev, status.st_ino)
            if key == armed:
                os.close(fd)
                return key
            if not self._notify(key, fd, events if folder == path else ENTRIES):
                return None
            if folder == path:
                return key
            armed = key  # what we wait for may have come before the notices began: once more

    def _notify(self, key: tuple[int, int], fd: int, events: int) -> bool:
        """Take over `fd`, an open folder, for these events beside those it has already."""
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
            return False
        self._armed[key] = (fd, mask | events)
        return True


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
