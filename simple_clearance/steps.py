"""The steps of `--check`: what each finds right or wrong, and how to mend it.

They are those of the start of a session, taken with the same code.
"""

from __future__ import annotations

import os
import platform
import signal

from .base.errors import CANNOT_START, Refused
from .base.text import count, printable
from .containers import forgotten, network, podman, statedir
from .docket.policy import MISTAKES
from .hub.hub import Hub
from .prompt.sentences import SHIELD_STATES
from .sources import auditlog, bridge, lookups, trial, watched
from .sources.forked import Forkserver
from .sources.policyfile import PolicyFile
from .sources.trial import RUN_IT
from .sources.watched import Watched
from .system import children, terminal
from .system.folders import CONTENTS, NO_NOTICES, Folders
from .system.loop import Loop

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Callable, Dict, Mapping, Union

    from .base.options import Options

    Known = Dict[str, Union[podman.Container, Refused, None]]  # by podman's name; None: it was not asked

DEADLINE = 10.0  # seconds for a command to answer
NOT_RUN = (126, 127)  # exit codes of what should have run it, as env or a shell
NO_OPTION = 2  # exit code where an option is not known


class Line:
    """One precondition: `refusal` is None when it holds, and without a message when it was not looked at."""

    __slots__ = ("hints", "message", "name", "refusal")

    def __init__(
        self, name: str, message: str, refusal: Refused | None = None, hints: tuple[str, ...] | None = None
    ) -> None:
        self.name = name
        self.message = message
        self.refusal = refusal
        self.hints: tuple[str, ...] = hints or (refusal.hints if refusal is not None else ())

    @property
    def ok(self) -> bool:
        return self.refusal is None

    @property
    def wrong(self) -> bool:
        return self.refusal is not None and self.refusal.message != ""

    def text(self, width: int = 13) -> list[str]:
        mark = "ok" if self.refusal is None else "WRONG" if self.wrong else "-"
        hints = ["%*s%s" % (7 + width, "", "hint: " + hint) for hint in self.hints]
        return ["%-6s%-*s %s" % (mark, width, self.name, self.message), *hints]


class Steps:
    """Some steps, in order.  `lines` is what came of them so far."""

    def __init__(self, options: Options, environ: Mapping[str, str]) -> None:
        self._options = options
        self._environ = environ
        self.needs_podman = watched.needs_podman(options)
        self.lines: list[Line] = []

    @property
    def failed(self) -> set[str]:
        """The names of those that hold not, or were not looked at."""
        return {line.name for line in self.lines if not line.ok}

    def _step(self, name: str, take: Callable[[], str], *needed: str) -> None:
        """One line; a step is not taken when one that it needs has failed."""
        missing = next((other for other in needed if other in self.failed), None)
        if missing is not None:
            self.lines.append(Line(name, "not looked at, for want of: " + missing, Refused(CANNOT_START, "")))
            return
        try:
            self.lines.append(Line(name, take()))
        except Refused as refusal:
            self.lines.append(Line(name, refusal.message, refusal))

    # Each step returns what is right, or raises Refused with what is wrong


class HostSteps(Steps):
    """What is the same whatever the container; and `known`, what podman tells of each that is looked at."""

    def __init__(self, options: Options, environ: Mapping[str, str]) -> None:
        super().__init__(options, environ)
        self.known: Known = dict.fromkeys(options.containers)

    def take_policy(self) -> None:
        if self._options.policy is not None:
            self._policy()

    def take(self) -> None:
        self._step("python", self._python)
        if self.needs_podman:
            self._step("podman", self._podman)
            if "podman" not in self.failed:
                self._find()
        self._step("terok-shield", self._shield)
        self.take_policy()
        self._step("terminal", self._terminal)

    def _find(self) -> None:
        """Those that were named."""
        wrong: Known = {}
        for name in self._options.containers:
            try:
                podman.check_name(name)
            except Refused as refused:
                wrong[name] = refused
        asked = [name for name in self._options.containers if name not in wrong]
        try:
            self.known = {**podman.inspect_all(asked), **wrong} if asked else wrong
        except Refused as refused:
            self.known = {**dict.fromkeys(asked, refused), **wrong}

    def find_all(self) -> None:
        """All shielded ones that run."""
        self._step("containers", self._shielded, "podman")

    def _shielded(self) -> str:
        ids = podman.running()
        for name, one in sorted(podman.inspect_all(ids).items()) if ids else ():
            if isinstance(one, podman.Container) and one.running and one.state_dir is not None:
                self.known[name] = one
        if not self.known:
            return "no shielded one runs yet: a session waits for the first"
        return count(len(self.known), "shielded one") + (" runs" if len(self.known) == 1 else " run")

    def take_hub(self) -> None:
        """The look for a hub of all containers."""
        look = Hub(None, None, self._environ, os.getuid(), self._options.ignore_hub)
        self._step("hub", lambda: _look(look, None, "none for all containers is active"))

    def _python(self) -> str:
        return f"{platform.python_implementation()} {platform.python_version()}"

    def _podman(self) -> str:
        path = children.find("podman", self._environ)
        if not path:
            raise Refused(CANNOT_START, "podman: no such command", podman.MISSING)
        return _version(["podman"]) or printable(path, 200)

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
            only = next(iter(self.known)) if len(self.known) == 1 else ""
            ours = found.of(only).number
            some = ", of which %d for %s" % (ours, only or "all") if ours < len(found.rules) else ""
            self.lines.append(Line("policy", rules + some))
        elif len(mistakes) == MISTAKES:
            text = "the lines after that one were not looked at"
            self.lines.append(Line("policy", text, Refused(CANNOT_START, text)))

    def _terminal(self) -> str:
        try:
            os.close(terminal.find().fd)
        except Refused as refusal:
            return refusal.message + ": fine for --json and --answer"
        return "there is one to prompt on"


class ContainerSteps(Steps):
    """What it takes to watch one container.

    `host` are the steps that were taken before; `known` is what podman tells of it, None where it was not
    asked.  `loop` waits for a reader, which `forkserver` starts.
    """

    def __init__(
        self,
        options: Options,
        environ: Mapping[str, str],
        name: str,
        host: Steps,
        known: podman.Container | Refused | None,
        loop: Loop,
        forkserver: Forkserver,
    ) -> None:
        super().__init__(options, environ)
        self.name = name
        self._host = host
        self._known = known
        self._loop = loop
        self._forkserver = forkserver
        self._watched = Watched(name)
        self._found: podman.Container | None = None

    @property
    def failed(self) -> set[str]:
        return super().failed | self._host.failed

    def take(self) -> None:
        with self._watched:
            if self.needs_podman:
                self._step("container", self._container, "podman")
                self._step("shielded", self._shielded, "container")
                self._rootless()
            if self._is_waited_for:  # its start makes all else
                self._step("hub", self._hub, "hub")
                return
            self._step("state dir", self._state_dir, *(["shielded"] if self.needs_podman else []))
            self._verdicts()
            self._step("namespace", self._namespace, *(["container"] if self.needs_podman else []))
            self._step("packet log", self._packet_log, "namespace", "state dir")
            self._logs()
            self._step("hub", self._hub, "hub")

    @property
    def _is_waited_for(self) -> bool:
        """Whether a session would not begin with it, as it does not run yet."""
        return self._options.follow and self._found is not None and not self._found.running

    def _container(self) -> str:
        assert self._known is not None
        if isinstance(self._known, Refused):
            raise self._known
        self._found = self._known
        if self._is_waited_for:
            return f"{self.name} does not run: a session waits for its start"
        podman.check_running(self._found)
        how = podman.PAUSED % self.name if self._found.paused else "runs"
        return f"{self.name} {how}, id {self._found.short_id}"

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
            refusal = podman.not_rootless(self.name)
            self.lines.append(Line("rootless", refusal.message, refusal))

    def _state_dir(self) -> str:
        if self._found is not None:
            path = podman.state_directory(self._found, self._options.state_dir, os.getuid())
        else:
            path = self._options.state_dir or ""
            statedir.check_given(path, self.name)
            self._watched.id = statedir.recorded_id(path)
        self._watched.state_dir = os.path.abspath(path)
        return printable(path, 200)

    def _verdicts(self) -> None:
        """A line only where recorded verdicts are not in force; a session starts all the same."""
        state_dir, found = self._watched.state_dir, self._found
        number = forgotten.forgotten(state_dir, found.started_at) if found and state_dir else 0
        if number:
            self.lines.append(Line("verdicts", forgotten.told(number), hints=(self._put_up(),)))

    def _put_up(self) -> str:
        """The command that puts the shield up, with all that it has recorded."""
        return forgotten.remedy(self.name, self._watched.id, self._options.shield_command)

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
            lock = statedir.claim(self._watched.state_dir, self.name)
        if lock >= 0:
            os.close(lock)
        return listens

    def _logs(self) -> None:
        """A line only for what they don't tell; a session starts all the same."""
        state_dir = self._watched.state_dir
        if state_dir:
            started_at = self._found.started_at if self._found else ""
            self.lines += [
                Line("audit log", text)
                for text in auditlog.unseen(state_dir, self._watched.audited, started_at)
            ]
            state = auditlog.state(state_dir, self._watched.audited, started_at)
            if state not in ("", "up"):
                self.lines.append(Line("shield", SHIELD_STATES[state], hints=(self._put_up(),)))
        with Folders(signal.SIGURG) as folders:
            if state_dir and not folders.watch(state_dir, CONTENTS):
                self.lines.append(Line("notices", NO_NOTICES % printable(state_dir, 200)))
        fault = lookups.fault(os.path.join(state_dir, "dnsmasq.log")) if state_dir else ""
        if fault:
            self.lines.append(Line("query log", fault))

    def _listens(self) -> str:
        """Starts the reader until it listens, which enters the namespace and binds the group."""
        readers = self._options.reader or self._forkserver
        reader = trial.tried(self._watched, readers, self._loop, no_trace)
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

    def _hub(self) -> str:
        found = self._found
        ignore, first = self._options.ignore_hub, found.pid if found else 0
        container_id, sidecar = self._watched.id or None, found.sidecar if found else None
        look = Hub(container_id, sidecar, self._environ, os.getuid(), ignore, first)
        return _look(look, bridge.feeds_a_hub(self._watched, os.getuid()), "none is active")


def _look(look: Hub, has_reader: bool | None, none: str) -> str:
    with look:
        active = look.look(has_reader)
    if active is not None:
        raise active.refused()
    return none


def no_trace(_text: str) -> None:
    pass


def _version(command: list[str]) -> str:
    """The first line of `COMMAND --version`, or what it says to that; "" where it is just no option of its.

    Refused when it can't be run: a session asks it for no version, and so starts whatever it says.
    """
    shown = printable(" ".join(command), 100)
    try:
        status, out, err = children.run([*command, "--version"], DEADLINE)
    except (OSError, children.Stuck) as error:
        reason = getattr(error, "strerror", None) or error
        raise Refused(CANNOT_START, f"{shown} --version: {reason}", RUN_IT) from None
    said = printable(err.strip().rpartition(b"\n")[2] or b"exit code %d" % status, 200)
    if status in NOT_RUN:
        raise Refused(CANNOT_START, f"{shown} --version: {said}", RUN_IT)
    if status == 0:
        return printable((out.splitlines() or [b""])[0].strip(), 60)
    return "" if status == NO_OPTION else f"tells no version, but: {said} ({RUN_IT})"
