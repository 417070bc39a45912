"""The whole of it: the archive on a pty, a shielded namespace, stand-ins for podman and terok-shield.

    def test_…(desk):
        t = desk.sit()                        # watching c1
        asked = desk.block("203.0.113.10")    # a program inside is refused; the question is painted
        desk.press("a", asked)                # once keys count

`desk` is a fixture; a module takes it with `desk = endtoend.desk`.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
import termios
import time
from typing import TYPE_CHECKING, Any, Callable, Iterator, Sequence

import pytest
from host import Host
from lab import Lab, as_user, reachable_python
from needs import need
from support import PATIENCE, eventually
from terminal_driver import state

if TYPE_CHECKING:
    from terminal_driver import Found, Session

KEYS = "i l ? q"  # how the line of keys of a question ends
ARMED = 1.0  # seconds after which keys count for a question that came by itself
ARMED_OWN = 0.4  # the same for one that the operator's own key brought up
MARGIN = 0.1


class Desk:
    """One operator, one container `c1` in a lab, and the archive."""

    def __init__(self, host: Host, lab: Lab, terminal: Callable[..., Session], pyz: str) -> None:
        self.host, self.lab, self.terminal, self.pyz = host, lab, terminal, pyz
        self.python = sys.executable
        self.prefix: list[str] = []
        self.flags = ["-S", "-W", "error"]  # what a site has to import takes a tenth of all tests
        self.c1 = host.container("c1", lab)
        self.env = host.env()
        self.t: Any = None

    def argv(self, *words: str) -> list[str]:
        return [*self.prefix, self.python, *self.flags, self.pyz, *words]

    def start(self, *words: str, env: dict[str, str] | None = None, **options: Any) -> Session:
        """The archive on a pty of its own, with these arguments."""
        self.t = self.terminal(self.argv(*words), env=dict(self.env, **(env or {})), **options)
        return self.t  # type: ignore[no-any-return]

    def sit(self, *words: str, **options: Any) -> Session:
        """The same for `c1`, once it watches."""
        t = self.start(*words, "c1", **options)
        t.expect("watching c1")
        return t

    def block(self, address: str = "203.0.113.10", port: int = 443, proto: str = "tcp") -> Found:
        """A program inside is refused this connection: its question, once it is painted whole."""
        assert self.lab.connect(address, port, proto) != "connected"
        self.t.expect(address)
        return self.t.expect(KEYS)  # type: ignore[no-any-return]

    def wait_for_keys(self, painted: Found, own: bool = False) -> None:
        wait_for_keys(self.t, painted, own)

    def settled(self) -> None:
        """Wait until what has been blocked so far has been told: nothing lies in the kernel, nobody works."""

        def read() -> bool:
            row = self.lab.listener()
            return not row or not (row[2] or self.lab.netlink(row[1])["Rmem"])

        eventually(read, what="the reader has all of it")
        for role in ("reader", "session"):
            for pid in self.processes(role):
                eventually(lambda pid=pid: state(pid) not in "RD", what="the %s sleeps" % role)

    def press(self, key: str, painted: Found, own: bool = False) -> float:
        """Press a key as soon as it counts."""
        self.wait_for_keys(painted, own)
        return self.t.send(key)  # type: ignore[no-any-return]

    def run(
        self, *words: str, prefix: Sequence[str] = (), **options: Any
    ) -> subprocess.CompletedProcess[bytes]:
        """The archive without any terminal, to its end."""
        options.setdefault("env", self.env)
        return subprocess.run(
            [*prefix, *self.argv(*words)],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            start_new_session=True,
            timeout=PATIENCE,
            check=False,
            **options,
        )

    # --- its end, and what is left of it

    def ends(self, code: int) -> str:
        """It ends with this code, nothing of it is left, the terminal is as it was; all it ever wrote."""
        t = self.t
        ended = t.wait()
        assert ended == code, "it ended with %d: %s" % (ended, t.text())
        assert t.termios() == as_opened()
        self.nothing_is_left()
        text: str = t.text()
        assert "Traceback" not in text and "internal error" not in text, text
        return text

    def quit(self, code: int = 0) -> str:
        """`q`, where nothing is open."""
        self.t.send("q")
        return self.ends(code)

    def processes(self, role: str = "") -> list[int]:
        """The processes of the archive that run: all, or `session`, `forkserver` or `reader`."""
        return [pid for pid, argv in processes(self.pyz) if role in ("", role_of(argv))]

    def reader(self) -> int:
        (pid,) = self.processes("reader")
        return pid

    def nothing_is_left(self) -> None:
        """No process of ours runs, and the NFLOG group is free."""
        eventually(lambda: not self.processes(), what="no process of ours is left")
        if os.path.exists("/proc/%d/net" % self.lab.pid):
            eventually(lambda: self.lab.holder() == 0, what="the NFLOG group is free")


def role_of(argv: list[str]) -> str:
    """Which of the archive's processes has this command line."""
    roles = {"--as-reader": "reader", "--as-forkserver": "forkserver"}
    return next((role for word, role in roles.items() if word in argv), "session")


def wait_for_keys(t: Session, painted: Found, own: bool = False) -> None:
    """Wait until keys count for what was painted: some time after its write has returned.

    That it has is seen by the session's sleeping again, however slow the machine is.
    """
    written = max(painted.at, t.settled())
    time.sleep(max(0.0, written + (ARMED_OWN if own else ARMED) + MARGIN - time.monotonic()))


def lists(t: Session, number: int) -> None:
    """Open the list, again and again until so many wait."""

    def once() -> bool:
        t.send("l")
        waiting = t.expect(re.compile(r"(\d+) waiting")).groups[0]
        t.expect("l back")
        if waiting != str(number):
            t.send("l")
            t.expect(KEYS)
        return waiting == str(number)

    eventually(once, what="%d are listed" % number)


def as_opened() -> list[object]:
    """The settings of a pseudo-terminal that nobody has changed."""
    master, slave = os.openpty()
    try:
        return list(termios.tcgetattr(slave))
    finally:
        os.close(master)
        os.close(slave)


def processes(word: str) -> Iterator[tuple[int, list[str]]]:
    """(pid, argv) of each process, zombies left out, with this word in its command line."""
    for entry in os.listdir("/proc"):
        if not entry.isdigit():
            continue
        try:
            with open("/proc/%s/cmdline" % entry, "rb") as f:
                argv = f.read().decode("latin-1").split("\0")
        except OSError:
            continue
        if word in argv:
            yield int(entry), argv


def _desk(host: Host, lab: Lab, terminal: Callable[..., Session], pyz: str) -> Desk:
    return Desk(host, lab, terminal, pyz)


desk = pytest.fixture(_desk)


@pytest.fixture
def ordinary(terminal: Callable[..., Session], pyz: str) -> Iterator[Desk]:
    """A desk where an ordinary user sits, at a namespace of that user's own."""
    for what in ("userns", "nft"):
        need(what)
    uid = os.getuid() or 1000
    python = reachable_python(uid)
    folder = tempfile.mkdtemp(prefix="ordinary")
    try:
        with Host(folder + "/host") as host, Lab(user=uid) as lab:
            archive = shutil.copy(pyz, folder)
            desk = Desk(host, lab, terminal, archive)
            desk.python, desk.prefix = python, as_user(uid)
            hand_over(folder, uid, python)
            yield desk
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def hand_over(folder: str, uid: int, python: str) -> None:
    """Everything in `folder` becomes the user's, the stand-ins run with a Python that may be run."""
    for tool in ("podman", "terok-shield"):
        path = os.path.join(folder, "host/bin", tool)
        with open(path) as f:
            text = f.read()
        with open(path, "w") as f:
            f.write(text.replace(sys.executable, python))
    if os.getuid() != 0:
        return
    for where, folders, files in os.walk(folder):
        for name in [".", *folders, *files]:
            os.chown(os.path.join(where, name), uid, uid)


@pytest.fixture
def job(desk: Desk) -> Iterator[Callable[..., subprocess.Popen[bytes]]]:
    """`job(script, *words)`: a shell's script that runs the session without a terminal, once it watches."""
    started: list[subprocess.Popen[bytes]] = []

    def start(script: str, *words: str) -> subprocess.Popen[bytes]:
        argv = ["sh", "-c", script, "sh", *desk.argv("--answer", "skip", *words, "c1")]
        child = subprocess.Popen(
            argv, env=desk.env, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, start_new_session=True
        )
        started.append(child)
        assert child.stdout is not None and child.stdout.readline().startswith(b"watching c1")
        return child

    yield start
    for child in started:
        child.kill()
        child.wait()
        if child.stdout is not None:
            child.stdout.close()
