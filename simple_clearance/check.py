"""`--check`: what is missing on this host for one container, and how to mend it.

It takes the same steps as the start of a session, with the same code, one line each; it runs no
verdict and asks nothing.
"""

from __future__ import annotations

import os
import platform
import signal

from .base import jsonlines, timestamps
from .base.errors import CANNOT_START, HUB_ACTIVE, OK, Refused
from .base.text import count, printable
from .containers import forgotten, network, podman, statedir
from .docket.policy import MISTAKES
from .hub.hub import Hub
from .sources import auditlog, bridge, lookups, watched
from .sources.policyfile import PolicyFile
from .sources.readers import ReaderSource
from .sources.watched import Watched
from .system import children, clocks, terminal
from .system.folders import CONTENTS, NO_NOTICES, Folders
from .system.loop import Loop
from .system.signals import Wakeups

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Callable, Mapping

    from .base.happenings import Message
    from .base.moment import Now
    from .base.options import Options

DEADLINE = 10.0  # seconds for a command to answer, and for a reader to listen
TO_STOP = 2.0
RUN_IT = "run it by hand, as this user, to see why"


class Line:
    """One precondition: `refusal` is None when it holds."""

    __slots__ = ("hints", "message", "name", "refusal")

    def __init__(
        self, name: str, message: str, refusal: Refused | None = None, hints: tuple[str, ...] = ()
    ) -> None:
        self.name = name
        self.message = message
        self.refusal = refusal
        self.hints = refusal.hints if refusal is not None else hints

    @property
    def ok(self) -> bool:
        return self.refusal is None

    def text(self) -> list[str]:
        mark = "ok" if self.refusal is None else "WRONG" if self.refusal.message else "-"
        hints = ["%20s%s" % ("", "hint: " + hint) for hint in self.hints]
        return ["%-6s%-13s %s" % (mark, self.name, self.message), *hints]


class Check:
    """The steps, in order.  `lines` is what came of them so far."""

    def __init__(self, options: Options, environ: Mapping[str, str]) -> None:
        self._options = options
        self._environ = environ
        self._name = options.containers[0]
        self._watched = Watched(self._name)
        self._found: podman.Container | None = None
        self.lines: list[Line] = []

    def run(self) -> int:
        """Takes every step that can be taken; returns the exit code that a session would end with."""
        needs_podman = self._options.netns is None and not (self._options.reader and self._options.state_dir)
        with self._watched:
            self._step("python", self._python)
            if needs_podman:
                self._step("podman", self._podman)
                self._step("container", self._container, "podman")
                self._step("shielded", self._shielded, "container")
                self._rootless()
            self._step("state dir", self._state_dir, *(["shielded"] if needs_podman else []))
            self._verdicts()
            self._step("namespace", self._namespace, *(["container"] if needs_podman else []))
            self._step("packet log", self._packet_log, "namespace", "state dir")
            self._logs()
            self._step("terok-shield", self._shield)
            if self._options.policy is not None:
                self._policy()
            self._step("hub", self._hub)
            self._step("terminal", self._terminal)
        codes = [line.refusal.code for line in self.lines if line.refusal is not None]
        return HUB_ACTIVE if HUB_ACTIVE in codes else codes[0] if codes else OK

    def _step(self, name: str, take: Callable[[], str], *needed: str) -> None:
        """One line; a step is not taken when one that it needs has failed."""
        failed = {line.name for line in self.lines if not line.ok}
        missing = next((other for other in needed if other in failed), None)
        if missing is not None:
            self.lines.append(Line(name, "not looked at, for want of: " + missing, Refused(CANNOT_START, "")))
            return
        try:
            self.lines.append(Line(name, take()))
        except Refused as refusal:
            self.lines.append(Line(name, refusal.message, refusal))

    # The steps: each returns what is right, or raises Refused with what is wrong

    def _python(self) -> str:
        return f"{platform.python_implementation()} {platform.python_version()}"

    def _podman(self) -> str:
        path = children.find("podman", self._environ)
        if not path:
            raise Refused(
                CANNOT_START,
                "podman: no such command",
                "install podman, or give --netns PATH with --state-dir DIR",
            )
        return _version(["podman"]) or printable(path, 200)

    def _container(self) -> str:
        self._found = podman.inspect(self._name)
        podman.check_running(self._found)
        how = podman.PAUSED % self._name if self._found.paused else "runs"
        return f"{self._name} {how}, id {self._found.short_id}"

    def _shielded(self) -> str:
        assert self._found is not None
        found = self._found
        self._watched.id, self._watched.version = found.id, found.shield_version
        self._watched.audited = found.audited
        if found.state_dir is None and self._options.state_dir is None:
            podman.state_directory(found, None, os.getuid())
        if found.shield_version is None:
            return "yes, bundle version unknown: private addresses are asked, with a warning"
        floor = (
            "private ranges stay shut"
            if found.shield_version >= 15
            else "an allow opens private addresses, too"
        )
        return "yes, bundle version %d: %s" % (found.shield_version, floor)

    def _rootless(self) -> None:
        """A line only where it is not."""
        if self._found and podman.is_roots(self._found, os.getuid()) and self._options.decides:
            refusal = podman.not_rootless(self._name)
            self.lines.append(Line("rootless", refusal.message, refusal))

    def _state_dir(self) -> str:
        if self._found is not None:
            path = podman.state_directory(self._found, self._options.state_dir, os.getuid())
        else:
            path = self._options.state_dir or ""
            statedir.check_given(path, self._name)
            self._watched.id = statedir.recorded_id(path)
        self._watched.state_dir = os.path.abspath(path)
        return printable(path, 200)

    def _verdicts(self) -> None:
        """A line only where recorded verdicts are not in force; a session starts all the same."""
        state_dir, found = self._watched.state_dir, self._found
        number = forgotten.forgotten(state_dir, found.started_at) if found and state_dir else 0
        if number:
            command = forgotten.remedy(self._name, self._watched.id, self._options.shield_command)
            self.lines.append(Line("verdicts", forgotten.told(number), hints=(command,)))

    def _namespace(self) -> str:
        if self._found is not None:
            self._watched.pidfd, self._watched.namespace = network.open_namespace(self._found)
            text = "that of pid %d" % self._found.pid
        else:
            text = self._options.netns or "not needed: another reader is given"
        if self._options.netns is not None:
            self._watched.close_namespace()
            self._watched.namespace = watched.open_netns(self._options.netns)
        return text

    def _packet_log(self) -> str:
        listens = self._listens()
        lock = -1
        if not self._options.dry_run:
            lock = statedir.claim(self._watched.state_dir, self._name)
        if lock >= 0:
            os.close(lock)
        return listens

    def _logs(self) -> None:
        """A line only for what they don't tell; a session starts all the same."""
        state_dir = self._watched.state_dir
        if state_dir:
            self.lines += [
                Line("audit log", text) for text in auditlog.unseen(state_dir, self._watched.audited)
            ]
        with Folders(signal.SIGURG) as folders:
            if state_dir and not folders.watch(state_dir, CONTENTS):
                self.lines.append(Line("notices", NO_NOTICES % printable(state_dir, 200)))
        fault = lookups.fault(os.path.join(state_dir, "dnsmasq.log")) if state_dir else ""
        if fault:
            self.lines.append(Line("query log", fault))

    def _listens(self) -> str:
        """Starts the reader until it listens, which enters the namespace and binds the group."""
        reader = self._start_reader()
        if reader.started:
            if self._options.reader is not None:
                return "the given reader listens"
            return "the namespace can be entered, NFLOG group 100 is free"
        found = bridge.find(self._watched, reader.holder, os.getuid()) if reader.holder else None
        if found is None:
            raise reader.refusal()
        found.close()
        if self._options.take_over:
            return "held by terok-shield's reader (pid %d), which --take-over ends" % found.pid
        auditlog.check_readable(self._watched.state_dir, found.pid)
        return "through its audit log (pid %d holds it); --take-over has it all" % found.pid

    def _start_reader(self) -> ReaderSource:
        """A reader that has ended again: it was `started`, or can tell why not."""
        loop, ended = Loop(), []
        command = self._options.reader

        def ignore(_source: ReaderSource, _message: Message, _now: Now) -> None:
            pass

        def gone(_source: ReaderSource, _now: Now) -> None:
            ended.append(True)

        def child_ended(_events: int, now: Now) -> None:
            wakeups.take()
            reader.reap(now)

        until: float | None = clocks.now().mono + DEADLINE
        loop.deadlines.append(lambda: until)
        with Wakeups(signal.SIGCHLD) as wakeups:
            loop.add(wakeups.fd, child_ended)
            reader = ReaderSource(self._watched, loop, ignore, gone, command, _no_trace)
            try:
                while not (reader.started or ended or _is_past(until)):
                    loop.wait()
                late = not (reader.started or ended)
                reader.stop()
                until = clocks.now().mono + TO_STOP
                while not reader.child.reap():
                    if _is_past(until):
                        reader.child.kill(signal.SIGKILL)
                        until = None  # what is killed ends
                    loop.wait()
            finally:
                reader.close()
        if late:
            shown = printable(" ".join(command or ["the reader"]), 100)
            raise Refused(CANNOT_START, f"{shown}: it did not listen within {DEADLINE:g} s", RUN_IT)
        return reader

    def _shield(self) -> str:
        command = self._options.shield
        path = children.find(command[0], self._environ)
        if not path:
            raise watched.no_shield(command[0])
        return _version(command) or printable(path, 200) + " (it doesn't tell its version)"

    def _policy(self) -> None:
        """A line for each mistake, so that all can be mended at once."""
        try:
            found, mistakes = PolicyFile(self._options.policy or "").read()
        except Refused as refusal:
            mistakes = [refusal]
        for mistake in mistakes:
            self.lines.append(Line("policy", mistake.message, mistake))
        if not mistakes:
            rules = "%s: %s" % (printable(self._options.policy, 200), count(len(found.rules), "rule"))
            self.lines.append(Line("policy", rules))
        elif len(mistakes) == MISTAKES:
            text = "the lines after that one were not looked at"
            self.lines.append(Line("policy", text, Refused(CANNOT_START, text)))

    def _hub(self) -> str:
        found = self._found
        look = Hub(
            self._watched.id or None,
            found.sidecar if found else None,
            self._environ,
            os.getuid(),
            self._options.ignore_hub,
            found.pid if found else 0,
        )
        with look:
            active = look.look(bridge.feeds_a_hub(self._watched, os.getuid()))
        if active is not None:
            raise active.refused()
        return "none is active"

    def _terminal(self) -> str:
        try:
            os.close(terminal.find().fd)
        except Refused as refusal:
            return refusal.message + ": fine for --json and --answer"
        return "there is one to prompt on"


def _no_trace(_text: str) -> None:
    pass


def _is_past(moment: float | None) -> bool:
    return moment is not None and clocks.now().mono >= moment


def _version(command: list[str]) -> str:
    """The first line of `COMMAND --version`; "" where that is no option.  Refused when it can't be run."""
    shown = printable(" ".join(command), 100)
    try:
        status, out, err = children.run([*command, "--version"], DEADLINE)
    except (OSError, children.Stuck) as error:
        reason = getattr(error, "strerror", None) or error
        raise Refused(CANNOT_START, f"{shown} --version: {reason}", RUN_IT) from None
    if status not in (0, 2):  # 2: an option that it doesn't know
        said = err.strip().rpartition(b"\n")[2] or b"exit code %d" % status
        raise Refused(CANNOT_START, f"{shown} --version: {printable(said, 200)}", RUN_IT)
    return printable((out.splitlines() or [b""])[0].strip(), 60) if status == 0 else ""


def run(options: Options, environ: Mapping[str, str]) -> tuple[str, int]:
    """The lines of `--check`, as text or (`--json`) as one object a line, and the exit code."""
    check = Check(options, environ)
    code, found = check.run(), []
    for line in check.lines:
        if options.json:
            fields = {
                "type": "check",
                "ts": timestamps.stamp(clocks.now().wall),
                "name": line.name,
                "ok": line.ok,
                "message": line.message,
                "hint": "; ".join(line.hints) or None,
            }
            found.append(jsonlines.encode(fields).decode("ascii"))
        else:
            found += [text + "\n" for text in line.text()]
    return "".join(found), code
