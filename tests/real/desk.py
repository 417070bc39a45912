"""The operator of a real shielded container, with the archive: on a pty, as a script's coprocess, or alone.

def test_…(desk, fresh):
    t = desk.sit(fresh)
    asked = desk.block(fresh, "198.51.100.1")
    desk.press("a", asked)
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from typing import TYPE_CHECKING, Any, Callable

import endtoend
from endtoend import KEYS, as_opened, processes
from real.rig import Rig
from support import PYTHONS, eventually

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
        t.expect("watching " + name, timeout=15)
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
        self.t.expect("%s  %s" % (name, address), timeout=8)
        return self.t.expect(KEYS)  # type: ignore[no-any-return]

    def block_in_quarantine(self, name: str, address: str) -> Found:
        """The same where packets vanish instead of being refused."""
        assert self.rig.conn(name, address) == address + " timeout"
        self.t.expect("%s  %s" % (name, address))
        return self.t.expect(KEYS)  # type: ignore[no-any-return]

    # --- what is left of it

    def quit(self, code: int = 0) -> str:
        self.t.quiet(0.2)  # a `q` right behind another key would count for neither
        return super().quit(code)

    def ends(self, code: int, timeout: float = 8.0) -> str:
        t = self.t
        ended = t.wait(timeout)
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
            if argv[0] == self.python and role in ("", "reader" if "--as-reader" in argv else "session")
        ]

    def nothing_is_left(self) -> None:
        eventually(lambda: not self.processes(), what="no process of ours is left")


class Script:
    """The archive as a coprocess: answers in, records out."""

    def __init__(self, argv: list[str]) -> None:
        self._child = subprocess.Popen(
            argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        self.records: list[dict[str, Any]] = []
        self._looked = 0
        self.until("session")

    def say(self, line: str) -> None:
        self._child.stdin.write(line + "\n")  # type: ignore[union-attr]
        self._child.stdin.flush()  # type: ignore[union-attr]

    def until(self, kind: str, **fields: Any) -> dict[str, Any]:
        """The next record of this type with these fields; those before it are kept in `records`."""
        while True:
            while self._looked < len(self.records):
                record = self.records[self._looked]
                self._looked += 1
                if record["type"] == kind and all(record[key] == value for key, value in fields.items()):
                    return record
            self._read(kind)

    def _read(self, wanted: str = "") -> bool:
        line = self._child.stdout.readline()  # type: ignore[union-attr]
        if line:
            self.records.append(json.loads(line))
        elif wanted:
            raise AssertionError("it ended without %s: %s" % (wanted, self._child.stderr.read()))  # type: ignore[union-attr]
        return bool(line)

    def of(self, kind: str, **fields: Any) -> list[dict[str, Any]]:
        """The records of this type with these fields that have come so far."""
        return [
            record
            for record in self.records
            if record["type"] == kind and all(record[key] == value for key, value in fields.items())
        ]

    def finish(self) -> tuple[int, str]:
        """End of input; then its exit code and what it said on stderr."""
        self._child.stdin.close()  # type: ignore[union-attr]
        while self._read():
            pass
        code = self._child.wait(20)
        assert self.records[-1]["type"] == "summary" and self.records[-1]["exit"] == code
        return code, self._child.stderr.read()  # type: ignore[union-attr]

    def close(self) -> None:
        if not self._child.stdin.closed:  # type: ignore[union-attr]
            self._child.stdin.close()  # type: ignore[union-attr]
        self._child.wait(20)
        self._child.stdout.close()  # type: ignore[union-attr]
        self._child.stderr.close()  # type: ignore[union-attr]
