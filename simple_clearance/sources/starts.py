"""Where a container's start shows: folders, which are watched at no cost while nothing happens.

The awkward fact: podman tells of starts only for as long as a `podman events` runs for us, and that takes
30 MB.  But it makes a network namespace for each, and the shield writes into its state.
"""

from __future__ import annotations

import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Mapping, Tuple

    from ..system.folders import Folders

    Stamp = Tuple[int, int]

REMEMBERED = 200
"""Containers that are expected; beyond it the first ones are expected no longer."""


def places(environ: Mapping[str, str], uid: int) -> list[str]:
    """The folders in which any start shows: of podman's network namespaces, and of the shield's state."""
    runtime = environ.get("XDG_RUNTIME_DIR") or "/run/user/%d" % uid
    state = environ.get("XDG_STATE_HOME") or os.path.join(environ.get("HOME") or "/", ".local/state")
    root = environ.get("TEROK_SHIELD_STATE_DIR") or os.path.join(state, "terok/shield")
    networks = [os.path.join(runtime, "netns"), *(() if uid else ("/run/netns",))]
    return [*networks, os.path.join(root, "containers")]


class Starts:
    """For each container that is expected the folders in which it would show that it may be watched."""

    def __init__(self, folders: Folders) -> None:
        self._folders = folders
        self._expected: dict[str, list[str]] = {}
        self._seen: dict[str, Stamp | None] = {}  # how those folders looked last

    def expect(self, name: str, *folders: str) -> None:
        """One of that name, or with "" any; the folders may not exist yet."""
        self.forget(name)
        self._expected[name] = [path for path in folders if path]
        self._folders.watch_all(self._expected[name])
        self._seen.update((path, _stamp(path)) for path in self._expected[name])
        if len(self._expected) > REMEMBERED:
            self.forget(next(each for each in self._expected if each))

    def forget(self, name: str) -> None:
        """It is watched, or expected no longer."""
        for path in self._expected.pop(name, ()):
            self._folders.unwatch(path)

    def have_changed(self) -> bool:
        """Whether something has come into one of these folders, or left it, since the last time.

        podman itself makes and removes files beside them, at each question: that is no reason to ask again.
        """
        now_seen = {path: _stamp(path) for folders in self._expected.values() for path in folders}
        changed = any(self._seen.get(path, stamp) != stamp for path, stamp in now_seen.items())
        self._seen = now_seen
        return changed


def _stamp(path: str) -> Stamp | None:
    """Which folder that is, and when something came into it or left it last; None where it is missing."""
    try:
        found = os.stat(path)
    except OSError:
        return None
    return found.st_ino, found.st_mtime_ns
