"""What every test may need: capabilities of this machine, its Pythons, waiting for a condition.

A test asks for what it needs with `need("netns")`.  Where the machine can't give it, the test
is skipped and the end of the run lists it with the system's own words.  With
SIMPLE_CLEARANCE_REQUIRE_ALL=1, as in CI, it fails instead.
"""

from __future__ import annotations

import errno
import glob
import os
import shutil
import subprocess
import sys
import time
import zipfile
from typing import Callable, TypeVar

import pytest

REQUIRE_ALL = os.environ.get("SIMPLE_CLEARANCE_REQUIRE_ALL") == "1"
ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
TOOLS = os.path.join(ROOT, "tests", "tools")

T = TypeVar("T")


# --- waiting


def eventually(condition: Callable[[], T], timeout: float = 5.0, what: str = "") -> T:
    """The first true value of `condition()`; AssertionError, naming `what`, after `timeout` seconds."""
    deadline = time.monotonic() + timeout
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > deadline:
            raise AssertionError("not within %g s: %s" % (timeout, what or condition))
        time.sleep(0.01)


# --- programs

_SBIN = "/usr/local/sbin:/usr/sbin:/sbin"  # nft's and ip's place, not on an ordinary user's PATH


def which(program: str) -> str | None:
    return shutil.which(program, path=os.environ.get("PATH", os.defpath) + ":" + _SBIN)


# --- the archive


def with_a_fault(pyz: str, path: str, module: str, code: str) -> str:
    """The archive again, at `path`, with `code` at the end of that module and nothing compiled; `path`."""
    with zipfile.ZipFile(pyz) as good, zipfile.ZipFile(path, "w") as bad:
        for item in good.infolist():
            data = good.read(item)
            if item.filename == "sources":
                words = data.split(b"\0")
                words[words.index(module.encode()) + 1] += code.encode()
                data = b"\0".join(words)
            if not item.filename.startswith("compiled-"):
                bad.writestr(item, data)
    return path


# --- capabilities: a probe returns nothing, or raises OSError or AssertionError with the reason

# In a new namespace, the first thing that needs real privilege in it: set `lo` up (SIOCSIFFLAGS).
# Some systems let `unshare` succeed and forbid what follows.
_UNSHARE = r"""
import ctypes, fcntl, os, socket, struct, sys
libc, user = ctypes.CDLL(None, use_errno=True), int(sys.argv[1])
def check(result, what):
    if result:
        sys.exit("%s: %s" % (what, os.strerror(ctypes.get_errno())))
def write(path, text):
    try:
        with open(path, "w") as f:
            f.write(text)
    except OSError as e:
        sys.exit("%s: %s" % (path, e.strerror))
if user:
    if os.getuid() == 0:
        os.setgroups([])
        os.setresgid(user, user, user)
        os.setresuid(user, user, user)
        check(libc.prctl(4, 1, 0, 0, 0), "PR_SET_DUMPABLE")  # else /proc/self stays root's
    uid, gid = os.getuid(), os.getgid()
    check(libc.unshare(0x10000000), "unshare(CLONE_NEWUSER)")
    write("/proc/self/setgroups", "deny")
    write("/proc/self/uid_map", "0 %d 1" % uid)
    write("/proc/self/gid_map", "0 %d 1" % gid)
check(libc.unshare(0x40000000), "unshare(CLONE_NEWNET)")
try:
    with socket.socket() as s:
        fcntl.ioctl(s, 0x8914, struct.pack("16sH14x", b"lo", 1))
except OSError as e:
    sys.exit("SIOCSIFFLAGS lo up: " + e.strerror)
"""

_LOGGING = (
    "table inet probe { set s { type ipv4_addr; flags interval, timeout; };"
    " chain c { type filter hook output priority filter; "
    'log prefix "p: " group 100 counter reject with icmpx type admin-prohibited; }; }\n'
)


def _run(argv: list[str], stdin: str = "") -> None:
    path = os.environ.get("PATH", os.defpath) + ":" + _SBIN
    done = subprocess.run(
        argv,
        input=stdin.encode(),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        env=dict(os.environ, PATH=path),
        timeout=20,
        check=False,
    )
    words = " ".join(done.stdout.decode("utf-8", "replace").split())
    assert done.returncode == 0, words[:200] or "%s: rc %d" % (argv[0], done.returncode)


def _program(name: str) -> None:
    if which(name) is None:
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), name)


def _root() -> None:
    if os.getuid() != 0:
        raise PermissionError(errno.EPERM, os.strerror(errno.EPERM), "running as uid %d" % os.getuid())


def _userns() -> None:
    _run([sys.executable, "-I", "-c", _UNSHARE, str(os.getuid() or 1000)])


def _netns() -> None:
    _run([sys.executable, "-I", "-c", _UNSHARE, "0"]) if os.getuid() == 0 else _userns()


def _nft() -> None:
    for program in ("nft", "ip", "unshare", "nsenter"):
        _program(program)
    _netns()
    _run(["unshare", "-n" if os.getuid() == 0 else "-Urn", "nft", "-f", "-"], _LOGGING)


def _cc() -> None:
    _program("cc")
    _run(["cc", "-x", "c", "-o", os.devnull, "-"], "#include <stdio.h>\nint main(void) { return 0; }\n")


def _pty() -> None:
    for fd in os.openpty():
        os.close(fd)


_PROBES: dict[str, Callable[[], None]] = {
    "root": _root,
    "netns": _netns,
    "userns": _userns,
    "nft": _nft,  # a namespace of our own, with a rule that logs to NFLOG and rejects
    "cc": _cc,
    "pty": _pty,
}
_known: dict[str, str] = {}


def lacking(name: str) -> str:
    """Why this machine can't give `name` (a capability, else a program); empty when it can."""
    if name not in _known:
        try:
            _PROBES.get(name, lambda: _program(name))()
            _known[name] = ""
        except (OSError, AssertionError, subprocess.TimeoutExpired) as e:
            _known[name] = str(e) or type(e).__name__
    return _known[name]


def need(name: str, optional: bool = False) -> None:
    """Go on only where the machine has `name`; `optional` things are never required of CI."""
    reason = lacking(name)
    if not reason:
        return
    if REQUIRE_ALL and not optional:
        pytest.fail("needs %s: %s" % (name, reason), pytrace=False)
    pytest.skip("needs %s: %s" % (name, reason))


# --- the Pythons of this machine


class Python:
    """An interpreter: `path`, `version` as a tuple of three, `name` as `3.12.1`."""

    __slots__ = ("name", "path", "version")

    def __init__(self, path: str, version: tuple[int, ...]) -> None:
        self.path = path
        self.version = version
        self.name = ".".join(map(str, version))

    def __repr__(self) -> str:
        return "Python %s at %s" % (self.name, self.path)


# Python 2 too.  Of a virtual environment it names the interpreter below.
_ASK = (
    "import os, sys; print('%d.%d.%d' % sys.version_info[:3]);"
    "print(os.path.realpath(getattr(sys, '_base_executable', None) or sys.executable))"
)


def find_pythons() -> list[Python]:
    """Every CPython here, oldest first: pyenv's, and what PATH has; each once."""
    roots = [os.environ.get("PYENV_ROOT", ""), os.path.expanduser("~/.pyenv")]
    found = [sys.executable]
    for root in filter(None, roots):
        found += glob.glob(os.path.join(root, "versions", "*", "bin", "python"))
    for folder in [*os.environ.get("PATH", os.defpath).split(":"), "/usr/bin"]:
        if not folder.endswith("/shims"):  # they only stand for those already found
            found += glob.glob(os.path.join(folder, "python[23]")) + glob.glob(
                os.path.join(folder, "python[23].[0-9]*[0-9]")
            )
    pythons: dict[str, Python] = {}
    for path in dict.fromkeys(map(os.path.abspath, found)):
        try:
            done = subprocess.run(
                [path, "-c", _ASK], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, timeout=10, check=True
            )
            version, real = done.stdout.decode().split("\n")[:2]
        except (OSError, subprocess.SubprocessError, ValueError):
            continue
        # Below a virtual environment `realpath` may already be the base; the same file counts once.
        pythons.setdefault(real, Python(real, tuple(map(int, version.split(".")))))
    return sorted(pythons.values(), key=lambda python: (python.version, python.path))


ALL_PYTHONS = find_pythons()
PYTHONS = [python for python in ALL_PYTHONS if python.version >= (3, 8)]
OLD_PYTHONS = [python for python in ALL_PYTHONS if python.version < (3, 8)]
