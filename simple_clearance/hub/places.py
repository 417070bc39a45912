"""Where a clearance hub for a container would be: its sockets, the session bus, the folders of both.

The awkward fact: what the annotation `terok.sandbox.sidecar` names may be the image's.
"""

from __future__ import annotations

import os
import stat

from ..formats import dbus

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Iterator, Mapping

COMMON = ("terok-clearance.sock", "terok-shield-events.sock")  # of a hub for all containers
LARGEST_SIDECAR = 1 << 20

_OPEN_SAFELY = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


class Places:
    """The places for the container with the short id `sid`, or with "" those for all containers alone."""

    def __init__(self, sid: str, sidecar: str | None, environ: Mapping[str, str], uid: int) -> None:
        self._sid = sid
        self._sidecar = sidecar
        self._environ = environ
        self._uid = uid
        self._usual_roots = self._find_usual_roots()

    def folders(self) -> list[str]:
        """Where a hub, or the bus, would appear; some may not exist (yet)."""
        paths = list(self._runtime_dirs())
        for root in self._roots():
            paths.append(root)
            if self._sid:
                for kind in ("clearance", "events"):
                    paths += [os.path.join(root, kind), os.path.join(root, kind, self._sid)]
        try:
            for address in self.bus_addresses():
                if isinstance(address, bytes) and address[0]:  # not an abstract one
                    paths.append(os.fsdecode(os.path.dirname(address)))
        except dbus.ProtocolError:
            pass  # `look` tells
        return list(dict.fromkeys(paths))

    def container_sockets(self, there: dict[str, bool]) -> Iterator[str]:
        """`there` keeps which folders of other containers' sockets, too, were found to exist in one look."""
        if not self._sid:
            return
        for root in self._roots():
            for folder, name in ((root + "/clearance", "hub.sock"), (root + "/events", "ingester.sock")):
                if folder not in there:
                    there[folder] = _may_be_there(folder)
                if there[folder]:
                    yield "%s/%s/%s" % (folder, self._sid, name)
                    yield "%s/%s.sock" % (folder, self._sid)  # before the folder for each container

    def common_sockets(self) -> Iterator[str]:
        """Those of a hub for all containers."""
        for folder in self._runtime_dirs():
            for name in COMMON:
                yield os.path.join(folder, name)

    def bus_addresses(self) -> list[bytes | str]:
        text = self._environ.get("DBUS_SESSION_BUS_ADDRESS", "")
        if text:
            return dbus.parse_addresses(text)
        return [os.fsencode(folder + "/bus") for folder in self._runtime_dirs()]

    def _runtime_dirs(self) -> Iterator[str]:
        given, usual = self._path("XDG_RUNTIME_DIR"), "/run/user/%d" % self._uid
        if given:
            yield given
        if given != usual:
            yield usual

    def _roots(self) -> list[str]:
        """Every folder that may be a hub's runtime root.

        The sidecar file names the right one, but the annotation may be the image's: what it
        names is looked at before the usual places, never instead of them.
        """
        named = _sidecar_runtime_dir(self._sidecar, self._uid)
        return list(dict.fromkeys([*([os.path.dirname(named)] if named else []), *self._usual_roots]))

    def _find_usual_roots(self) -> list[str]:
        roots = []
        sandbox = self._path("TEROK_SANDBOX_RUNTIME_DIR")
        if sandbox:
            roots += [os.path.dirname(sandbox), sandbox]
        roots += [os.path.join(folder, "terok") for folder in self._runtime_dirs()]
        if self._uid == 0:
            roots.append("/run/terok")
        home = self._path("HOME")
        for state in (self._path("XDG_STATE_HOME"), home and os.path.join(home, ".local/state")):
            if state:
                roots.append(os.path.join(state, "terok"))
        return roots

    def _path(self, variable: str) -> str:
        """A folder from the environment; a relative one is to be ignored (XDG base directories)."""
        value = self._environ.get(variable, "")
        return os.path.normpath(value) if value.startswith("/") else ""


def _may_be_there(folder: str) -> bool:
    """Whether there is anything in a folder; True where that can't be told."""
    try:
        os.stat(folder)
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError:
        pass  # connecting tells what is wrong
    return True


def _sidecar_runtime_dir(path: str | None, uid: int) -> str:
    """`runtime_dir` of a sidecar file that only `uid` can have written; empty for any other."""
    if not path or not path.startswith("/") or "\0" in path:
        return ""
    opened: list[int] = []
    try:
        opened.append(os.open(os.path.dirname(path), _OPEN_SAFELY | os.O_DIRECTORY))
        opened.append(os.open(os.path.basename(path), _OPEN_SAFELY, dir_fd=opened[0]))
        folder, file = map(os.fstat, opened)
        if stat.S_ISREG(file.st_mode) and _only_ours(folder, uid) and _only_ours(file, uid):
            return _runtime_dir(os.read(opened[1], LARGEST_SIDECAR))
        return ""
    except (OSError, UnicodeEncodeError):
        return ""
    finally:
        for fd in opened:
            os.close(fd)


def _only_ours(status: os.stat_result, uid: int) -> bool:
    return status.st_uid == uid and not status.st_mode & (stat.S_IWGRP | stat.S_IWOTH)


def _runtime_dir(data: bytes) -> str:
    import json  # 6 ms, and most containers have no sidecar

    try:
        named = os.path.normpath(json.loads(data)["runtime_dir"])
        os.fsencode(named)  # JSON can spell texts that no path can be
    except (ValueError, TypeError, LookupError, RecursionError):
        return ""
    return named if named.startswith("/") and "\0" not in named else ""
