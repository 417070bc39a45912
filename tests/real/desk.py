"""The operator of a real shielded container, with the archive: on a pty, as a script's coprocess, or alone.

def test_…(desk, fresh):
    t = desk.sit(fresh)
    asked = desk.block(fresh, "198.51.100.1")
    desk.press("a", asked)
"""

from __future__ import annotations

import json
import os
import select
import shutil
import subprocess
import time
from typing import TYPE_CHECKING, Any, Callable

import endtoend
from endtoend import KEYS, as_opened, processes, role_of
from real.rig import Rig
from support import PATIENCE, PYTHONS, eventually
from terminal_driver import state

if TYPE_CHECKING:
    from terminal_driver import Found, Session

NOT_OPEN = ("EHOSTUNREACH", "EACCES", "EPERM")


class Desk(endtoend.Desk):
    """As the one with stand-ins, but nothing here is one.  A context manager.

    `python` runs the archive: the newest found, and with an old shield the oldest.
    """

    def __init__(self, rig: Rig, pyz: str, terminal: Callable[..., Session]) -> None:
        self.rig = rig
        self.terminal = terminal
        self.pyz = rig.folder + "/simple-clearance.pyz"
        if not os.path.exists(self.pyz):
            shutil.copy(pyz, self.pyz)
            os.chmod(self.pyz, 0o755)
        self.python = (PYTHONS[0] if rig.version.startswith("0.7.") else PYTHONS[-1]).path
        self.env: dict[str, str] = {}
        self.t: Any = None
        self._scripts: list[Script] = []

    def __enter__(self) -> Desk:
        return self

    def __exit__(self, *_: object) -> None:
        for script in self._scripts:
            script.close()

    # --- starting it

    def argv(self, *words: str) -> list[str]:
        return self.rig.argv([self.python, "-W", "error", self.pyz, *words], TERM="xterm", **self.env)

    def start(self, *words: str, env: dict[str, str] | None = None, **options: Any) -> Session:
        self.env = env or {}
        self.t = self.terminal(self.argv(*words), **options)
        return self.t  # type: ignore[no-any-return]

    def sit(self, name: str, *words: str, **options: Any) -> Session:  # type: ignore[override]
        """On a pty, once it watches `name`."""
        t = self.start(*words, name, **options)
        t.expect("watching " + name)
        return t

    def run(self, *words: str, **options: Any) -> subprocess.CompletedProcess[str]:  # type: ignore[override]
        """Without any terminal, to its end."""
        return self.rig.as_op([self.python, "-W", "error", self.pyz, *words], **options)

    def script(self, *words: str) -> Script:
        """With `--json`, once it watches."""
        self._scripts.append(Script(self.argv("--json", *words)))
        return self._scripts[-1]

    # --- what happens inside

    def block(  # type: ignore[override]
        self, name: str, host: str, port: int = 443, proto: str = "tcp", shown: str = ""
    ) -> Found:
        """A program inside is refused this connection: its question, once it is painted whole.

        `shown` is the address, where `host` is a name.
        """
        address, came = self.rig.conn(name, host, port, proto).split()
        assert came in NOT_OPEN and address == (shown or address), came
        self.t.expect("%s  %s" % (name, address))
        return self.t.expect(KEYS)  # type: ignore[no-any-return]

    def block_in_quarantine(self, name: str, address: str) -> Found:
        """The same where packets vanish instead of being refused."""
        assert self.rig.conn(name, address, patience=1) == address + " timeout"
        self.t.expect("%s  %s" % (name, address))
        return self.t.expect(KEYS)  # type: ignore[no-any-return]

    def wait_for_keys(self, painted: Found, own: bool = False) -> None:
        self.settled()  # what the terminal has in its foreground is the wrapper that made it the operator's
        super().wait_for_keys(painted, own)

    def settled(self) -> None:
        """Wait until reader and session sleep: what has come has been dealt with."""
        for role in ("reader", "session"):
            for pid in self.processes(role):
                eventually(lambda pid=pid: state(pid) not in "RD", what="the %s sleeps" % role)

    def serves(self, name: str, address: str) -> None:
        """What a session is for, whole: all preconditions, a question, an answer, its proof, the end."""
        check = self.run("--check", name)
        assert check.returncode == 0, check.stdout
        assert {line.split()[0] for line in check.stdout.splitlines()} == {"ok"}
        t = self.sit(name)
        self.press("a", self.block(name, address))
        t.expect("a allow %s ... done in" % address)
        assert self.rig.conn(name, address) == address + " connected"
        t.expect("%s  %s: first packet let out" % (name, address))
        self.rig.leave(name)
        self.rig.as_op(["podman", "stop", "-t", "0", name], check=True)
        t.expect("%s: the container has stopped" % name)
        self.ends(0)
        self.rig.as_op(["podman", "rm", "-f", "-t", "0", name], check=True)

    # --- what is left of it

    def quit(self, code: int = 0) -> str:
        self.settled()
        self.t.quiet(0.2)  # a `q` right behind another key would count for neither
        return super().quit(code)

    def ends(self, code: int) -> str:
        t = self.t
        ended = t.wait()
        assert ended == code, "it ended with %d: %s" % (ended, t.text())
        assert t.termios() == as_opened()
        self.nothing_is_left()
        text: str = t.text()
        assert "Traceback" not in text and "internal error" not in text, text
        return text

    def processes(self, role: str = "") -> list[int]:
        """Those of the archive that run, without the wrappers that made them the operator's."""
        return [
            pid
            for pid, argv in processes(self.pyz)
            if argv[0] in (self.python, self.pyz) and role in ("", role_of(argv))
        ]

    def nothing_is_left(self) -> None:
        eventually(lambda: not self.processes(), what="no process of ours is left")


class Script:
    """The archive as a coprocess: answers in, records out."""

    def __init__(self, argv: list[str]) -> None:
        pipe = subprocess.PIPE
        self._child = subprocess.Popen(argv, stdin=pipe, stdout=pipe, stderr=pipe)
        assert self._child.stdin and self._child.stdout and self._child.stderr
        self._in, self._out, self._err = self._child.stdin, self._child.stdout, self._child.stderr
        self.records: list[dict[str, Any]] = []
        self._taken: list[int] = []
        self._half = b""
        try:
            self.until("session")
        except BaseException:
            self.close()
            raise

    def say(self, line: str) -> None:
        self._in.write(line.encode() + b"\n")
        self._in.flush()

    def until(self, kind: str, **fields: Any) -> dict[str, Any]:
        """The first record of this type with these fields that was not returned before, once it has come."""
        deadline = time.monotonic() + PATIENCE
        while True:
            for index, record in enumerate(self.records):
                if index not in self._taken and matches(record, kind, fields):
                    self._taken.append(index)
                    return record
            if not self._read(deadline):
                raise AssertionError(
                    "no %s %s in %g s: %s %s"
                    % (kind, fields, PATIENCE, self.records, self._err.read() if self._ended() else "")
                )

    def seen(self, kind: str, **fields: Any) -> list[dict[str, Any]]:
        """The same of what has come by now."""
        while self._read(time.monotonic() + 0.01):
            pass
        return self.of(kind, **fields)

    def of(self, kind: str, **fields: Any) -> list[dict[str, Any]]:
        """The records of this type with these fields that have come so far."""
        return [record for record in self.records if matches(record, kind, fields)]

    def finish(self) -> tuple[int, str]:
        """End of input; then its exit code and what it said on stderr."""
        self._in.close()
        deadline = time.monotonic() + PATIENCE
        while self._read(deadline):
            pass
        code = self._child.wait(PATIENCE)
        assert self.records[-1]["type"] == "summary" and self.records[-1]["exit"] == code
        return code, self._err.read().decode()

    def close(self) -> None:
        self._in.close()
        self._child.wait(PATIENCE)
        self._out.close()
        self._err.close()

    def _read(self, deadline: float) -> bool:
        """Takes what has come next; False at the end or after the deadline."""
        left = deadline - time.monotonic()
        if left <= 0 or not select.select([self._out], [], [], left)[0]:
            return False
        data = os.read(self._out.fileno(), 1 << 16)
        *lines, self._half = (self._half + data).split(b"\n")
        self.records += map(json.loads, lines)
        return bool(data)

    def _ended(self) -> bool:
        return self._child.poll() is not None


def matches(record: dict[str, Any], kind: str, fields: dict[str, Any]) -> bool:
    return record["type"] == kind and all(record[key] == value for key, value in fields.items())
