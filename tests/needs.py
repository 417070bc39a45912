"""What a test asks of the machine, and what it is told when the machine can't give it.

    need("nft")       # a capability of the table below, or any program's name

Where something is missing the test is skipped, and the end of the run lists it once, with the
package that has it or the system's own words.  With SIMPLE_CLEARANCE_REQUIRE_ALL=1 it fails instead.
"""

from __future__ import annotations

import os
import pwd
import re
import shutil
import subprocess
import sys
from typing import Any, Callable

import pytest

REQUIRE_ALL = os.environ.get("SIMPLE_CLEARANCE_REQUIRE_ALL") == "1"
_SBIN = "/usr/local/sbin:/usr/sbin:/sbin"  # nft's and ip's place, not on an ordinary user's PATH

# Debian's package of each program that a test, a stand-in or a neighbour calls by name.
PACKAGES = {
    "bash": "bash",
    "cc": "gcc libc6-dev",
    "crun": "crun",
    "dbus-daemon": "dbus-daemon",
    "dig": "bind9-dnsutils",
    "dnsmasq": "dnsmasq-base",
    "fish": "fish",
    "ip": "iproute2",
    "jq": "jq",
    "kill": "procps",
    "newgidmap": "uidmap",
    "newuidmap": "uidmap",
    "nft": "nftables",
    "nsenter": "util-linux",
    "pasta": "passt",
    "podman": "podman",
    "ps": "procps",
    "script": "bsdutils",
    "setpriv": "util-linux",
    "slirp4netns": "slirp4netns",
    "ssh": "openssh-client",
    "ssh-keygen": "openssh-client",
    "sshd": "openssh-server",
    "systemd-analyze": "systemd",
    "tmux": "tmux",
    "unshare": "util-linux",
    "zsh": "zsh",
}


class Lacking(Exception):
    """Why the machine can't give something: its own words, or the packages to install."""


def which(program: str) -> str | None:
    return shutil.which(program, path=os.environ.get("PATH", os.defpath) + ":" + _SBIN)


def programs(*names: str) -> None:
    """All of them, or Lacking with every package that is missing, not the first alone."""
    missing = [name for name in names if which(name) is None]
    packages = " ".join(dict.fromkeys(PACKAGES[name] for name in missing if name in PACKAGES))
    unknown = [name for name in missing if name not in PACKAGES]
    if missing:
        raise Lacking(
            "; ".join(["apt install " + packages] * bool(packages) + ["no %s" % it for it in unknown])
        )


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
        check=False,
    )
    words = " ".join(done.stdout.decode("utf-8", "replace").split())
    if done.returncode:
        raise Lacking(words[:200] or "%s: rc %d" % (argv[0], done.returncode))


def _root() -> None:
    if os.getuid() != 0:
        raise Lacking("run the tests as root; this is uid %d" % os.getuid())


def _userns() -> None:
    _run([sys.executable, "-I", "-c", _UNSHARE, str(os.getuid() or 1000)])


def _netns() -> None:
    _run([sys.executable, "-I", "-c", _UNSHARE, "0"]) if os.getuid() == 0 else _userns()


def _nft() -> None:
    programs("nft", "ip", "unshare", "nsenter", "setpriv")
    _netns()
    _run(["unshare", "-n" if os.getuid() == 0 else "-Urn", "nft", "-f", "-"], _LOGGING)


def _cc() -> None:
    programs("cc")
    _run(["cc", "-x", "c", "-o", os.devnull, "-"], "#include <stdio.h>\nint main(void) { return 0; }\n")


def _pty() -> None:
    for fd in os.openpty():
        os.close(fd)


def subids(uid: int, path: str = "/etc/subuid") -> tuple[int, int]:
    """(first, count) of the subordinate ids that this user may give to a container (subuid(5))."""
    names = {str(uid), *(user.pw_name for user in pwd.getpwall() if user.pw_uid == uid)}
    try:
        with open(path) as table:
            rows = [line.rstrip("\n").split(":") for line in table]
    except OSError as error:
        raise Lacking("%s: %s" % (path, error.strerror)) from None
    for row in rows:
        if len(row) == 3 and row[0] in names:
            return int(row[1]), int(row[2])
    raise Lacking("usermod --add-subuids 100000-165535 --add-subgids 100000-165535, for uid %d" % uid)


def _subids() -> None:
    _userns()
    if os.getuid() != 0:  # root may map whatever it likes
        programs("newuidmap", "newgidmap")
        for path in ("/etc/subuid", "/etc/subgid"):
            subids(os.getuid(), path)


PROBES: dict[str, Callable[[], None]] = {  # each returns, or raises Lacking or OSError
    "root": _root,
    "netns": _netns,
    "userns": _userns,
    "subids": _subids,  # a user namespace with ids of its own, as rootless podman's are
    "nft": _nft,  # a namespace of our own, with a rule that logs to NFLOG and rejects
    "cc": _cc,
    "pty": _pty,
}
_known: dict[str, str] = {}


def lacking(name: str) -> str:
    """Why this machine can't give `name` (a capability, else a program); empty when it can."""
    if name not in _known:
        try:
            PROBES.get(name, lambda: programs(name))()
            _known[name] = ""
        except (OSError, Lacking) as e:
            _known[name] = str(e) or type(e).__name__
    return _known[name]


def need(name: str, optional: bool = False) -> None:
    """Go on only where the machine has `name`; `optional` things are never required of CI."""
    reason = lacking(name)
    if reason:
        lacks(name, reason, optional)


def lacks(name: str, reason: str, optional: bool = False) -> None:
    """End this test since there is no `name`, for a reason found out by the test itself."""
    _known[name] = reason
    if REQUIRE_ALL and not optional:
        pytest.fail("needs %s: %s" % (name, reason), pytrace=False)
    pytest.skip("needs %s: %s" % (name, reason))


def not_shown(reports: list[Any]) -> list[str]:
    """A line for each thing that tests had to do without, out of their reports."""
    tests: dict[tuple[str, str], int] = {}
    for report in reports:
        # (path, line, reason) of a skip; what was said, of a failure
        words = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
        found = re.search(r"needs ([^:\n]+): (.*)", words)
        if found is not None:
            key = found.group(1), found.group(2)
            tests[key] = tests.get(key, 0) + 1
    return ["%s: %s (tests: %d)" % (*key, number) for key, number in sorted(tests.items())]
