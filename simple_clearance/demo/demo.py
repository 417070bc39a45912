"""`--demo`: see it work here, now, without podman, terok-shield or root.

Owns a temporary folder and the process of `demoworld`, whose namespace is the only thing that
its verdicts act on; where this host allows no such namespace, the process of `demotape`, which
plays a recording through the same prompt.  Each of them ends when its stdin closes, so that
nothing is left however this one ends.
"""

from __future__ import annotations

import os
import select
import signal
import time

from ..base.errors import CANNOT_START, Refused
from ..base.options import Options
from ..base.text import printable
from ..system import children, terminal
from ..system.archived import own_command
from . import world

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Mapping

    from ..system.children import Child

PATIENCE = 10.0  # seconds until the namespace is ready; 0.1 is usual
TO_LEAVE = 2.0  # seconds for a process of ours to end by itself

WELCOME = """\
A demonstration, in a network namespace of its own: every answer acts in there
only, and all of it is gone at the end.  A program inside tries documentation
addresses; press a, and its next try gets through.  Half a minute has names, a
private address, a verdict that fails, and a hundred addresses at once.
"""
RECORDED = """\
So here is a recording: the prompt is the real one, but answers run nothing.
"""


def role(argv: list[str]) -> int:
    """One of the demonstration's other processes: `argv[0]` says which, `argv[1]` is the folder."""
    if argv[0] == "--demo-tape":
        from . import tape

        return tape.main()
    return world.main(argv[1]) if argv[0] == "--demo-world" else world.shield(argv[1], argv[2:])


TAKEN = (
    "answer", "bell", "count", "debug", "dry_run", "duration", "json", "log", "policy", "save_profile",
    "verdict_timeout",
)  # fmt: skip
"""The options that it goes by; what it watches is its own."""


class NotHere(Refused):
    """What is missing here for a live demonstration."""


def run(options: Options, environ: Mapping[str, str]) -> int:
    """Runs the demonstration to its end; the exit code is that of its session."""
    if not (options.json or options.answer):
        os.close(terminal.find().fd)  # Refused without one, before anything is made
    try:
        return _live(options, environ)
    except NotHere as refusal:
        terminal.diagnose("simple-clearance: no live demonstration: " + refusal.message)
        for hint in refusal.hints:
            terminal.diagnose("hint: " + hint)
    return _recorded(options, environ)


def _live(options: Options, environ: Mapping[str, str]) -> int:
    import tempfile

    try:
        folder = tempfile.mkdtemp(prefix="simple-clearance-demo-")
    except OSError as error:
        raise NotHere(
            CANNOT_START, f"no temporary folder: {error.strerror}", "TMPDIR=DIR names one"
        ) from None
    try:
        child = children.spawn([*own_command(), "--demo-world", folder], stdin_pipe=True)
        try:
            _await(child)
            live = _options(options)
            live.sandbox = child.pid
            live.state_dir = folder
            live.netns = "/proc/%d/ns/net" % child.pid
            live.shield = [*own_command(), "--demo-shield", folder]
            return _session(live, environ, WELCOME)
        finally:
            _end(child)
    finally:
        world.remove(folder)


def _recorded(options: Options, environ: Mapping[str, str]) -> int:
    child = children.spawn([*own_command(), "--demo-tape", world.CONTAINER], stdin_pipe=True)
    try:
        played = _options(options)
        played.replay = "/proc/self/fd/%d" % child.out
        return _session(played, environ, RECORDED)
    finally:
        _end(child)


def _options(given: Options) -> Options:
    """The given ones, but for what the demonstration has of its own."""
    found = Options([world.CONTAINER])
    for name in TAKEN:
        setattr(found, name, getattr(given, name))
    return found


def _session(options: Options, environ: Mapping[str, str], welcome: str) -> int:
    from ..session import Session

    session = Session(options, environ)
    if not options.json:
        _say(welcome)
    return session.run()


def _say(welcome: str) -> None:
    try:
        os.write(1, welcome.encode("ascii") + b"\n")
    except OSError:
        pass  # the session finds that out, too, and tells what is lost by it


def _await(child: Child) -> None:
    """Returns once it is ready; NotHere with the step that failed."""
    said = b""
    poll = select.poll()
    poll.register(child.out, select.POLLIN)
    until = time.monotonic() + PATIENCE
    while b"\n" not in said and poll.poll(max(0.0, until - time.monotonic()) * 1000):
        data = children.read(child.out)
        if data == b"":
            break
        said += data or b""
    lines = [printable(line, 300) for line in said.splitlines()]
    if lines[:1] != [world.READY]:
        reason = lines[0] if lines else "its namespace was not ready in %d s" % PATIENCE
        raise NotHere(CANNOT_START, reason, *lines[1:])


def _end(child: Child) -> None:
    """It ends when its stdin closes, and takes all it has along."""
    child.close_stdin()
    poll = select.poll()
    poll.register(child.out, 0)
    poll.poll(TO_LEAVE * 1000)
    if not child.reap():
        child.kill(signal.SIGKILL)
        os.waitpid(child.pid, 0)
    child.close()
