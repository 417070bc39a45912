"""The command line: the only place that prints errors and chooses exit codes."""

from __future__ import annotations

import os
import sys

from . import NAME, __version__
from .base.errors import (
    CANNOT_START,
    INCOMPLETE,
    INTERNAL,
    MORE_FILES,
    OK,
    STOPPED_EARLY,
    USAGE,
    Refused,
    starved,
)
from .formats import forking

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Callable

    from .base.options import Options

FEW_FILES = 64
"""Descriptors; podman takes some 20, a session 30 and 10 more for each further container."""


def run_simple_clearance(state_dir: os.PathLike[str] | str, container: str) -> None:
    """Runs the terminal clearance for `container` until it ends.

    `state_dir` is the container's own shield state directory.  Raises SystemExit with the exit
    code when that is not 0; with 1 when the clearance hub is active.
    """
    from .base.options import Options

    options = Options([container])
    options.state_dir = os.fspath(state_dir)
    code = guarded(options)
    if code:
        raise SystemExit(code)


def script() -> int:
    """The console script: the exit code for the arguments of this process."""
    return main(sys.argv[1:])


def main(argv: list[str]) -> int:
    """Runs `argv` (without the program's name) and returns the exit code."""
    try:
        return _main(argv)
    except KeyboardInterrupt:  # there was no session yet that could end properly
        return _complain(Refused(CANNOT_START, STOPPED_EARLY))


def _main(argv: list[str]) -> int:
    if None in (sys.stdin, sys.stdout, sys.stderr):
        from .system.children import fill_standard_descriptors

        fill_standard_descriptors()
    if argv[:1] == ["--as-reader"]:
        return _reader(argv[1:])
    if argv == [forking.ROLE]:
        from .reader import forkserver

        forkserver.serve(_forked)
    if argv[1:] and argv[0] in ("--demo-world", "--demo-shield", "--demo-tape"):
        from .demo import demo

        return demo.role(argv)
    from .arguments import parse

    try:
        options = parse(argv)
    except Refused as error:
        return _complain(error)
    if options.text is not None:
        return say(options.text)
    from .system.children import keep_descriptors

    keep_descriptors()
    return guarded(options, last=True)


def say(text: str, code: int = OK) -> int:
    """Writes `text` to stdout, all of it; the exit code is `code` if that could be done.

    Not by `sys.stdout`, whose last words are its own when the interpreter ends.
    """
    data = text.encode("ascii", "backslashreplace")
    try:
        while data:
            data = data[os.write(1, data) :]
    except BrokenPipeError:
        pass  # whoever reads has read enough, as with `| head`
    except OSError as error:
        _complain(Refused(INCOMPLETE, "stdout: %s" % error.strerror))
        return code or INCOMPLETE
    return code


def guarded(options: Options, last: bool = False) -> int:
    """Runs what was asked for; every error it may end with becomes a message and an exit code.

    `last`: the process ends then.
    """
    try:
        if options.role == "check":
            from . import check

            return say(*check.run(options, os.environ))
        if options.role == "demo":
            from .demo import demo

            return demo.run(options, os.environ)
        from .session import Session

        return Session(options, os.environ, last).run()
    except Refused as error:
        return _complain(error)
    except Exception as error:  # the last resort: no traceback ever reaches a user
        return _bug(error, options.debug)


def _complain(error: Refused) -> int:
    from .system.terminal import diagnose

    diagnose(f"{NAME}: {error.message}")
    hints = [] if starved(error) else [*error.hints]
    if error.code == CANNOT_START and (starved(error) or _few_files()):
        hints.append(MORE_FILES)
    for hint in hints:
        diagnose("hint: " + hint)
    return error.code


def _few_files() -> bool:
    """Whether so few descriptors are allowed that podman, too, finds words for that which mislead."""
    import resource

    return 0 <= resource.getrlimit(resource.RLIMIT_NOFILE)[0] < FEW_FILES


def _bug(error: Exception, debug: bool) -> int:
    if starved(error):
        return _complain(Refused(CANNOT_START, starved(error).lower(), MORE_FILES))
    where = error.__traceback__
    while where is not None and where.tb_next is not None:
        where = where.tb_next
    if where is not None and where.tb_frame.f_globals.get("__name__") == "zipimport":
        raise error  # the archive is damaged or another one: `__main__` has words for that
    from .system.terminal import diagnose

    if debug:
        import traceback

        for text in traceback.format_exc().splitlines():
            diagnose(text)
    line = (
        " at %s:%d" % (os.path.basename(where.tb_frame.f_code.co_filename), where.tb_lineno) if where else ""
    )
    text = " ".join(ascii(str(error)).split())[:200]
    diagnose(f"{NAME}: internal error: {type(error).__name__}{line}: {text}")
    diagnose(f"hint: run it with --debug and report what it prints, with {NAME} {__version__}")
    return INTERNAL


def _reader(argv: list[str]) -> int:
    """The reader's role: `STATE_DIR CONTAINER --emit=json [--netns PATH]`.

    Parsed by hand: argparse would be the largest part of its start.
    """
    words: list[str] = []
    netns = None
    rest = iter(argv)
    for word in rest:
        if word == "--netns":
            netns = next(rest, "")
        elif word.startswith("--netns="):
            netns = word[len("--netns=") :]
        elif word != "--emit=json":
            words.append(word)
    if len(words) != 2 or any(word.startswith("-") for word in words) or netns == "":
        usage = "simple-clearance.pyz --as-reader STATE_DIR CONTAINER --emit=json [--netns PATH]"
        return _complain(Refused(USAGE, "not how a reader is called", usage))
    return _told(_read_by_hand, words[1], netns)


def _read_by_hand(container: str, netns: str | None) -> int:
    from .reader import reader

    if netns is not None:
        return reader.main(container, netns)
    from .containers.network import open_namespace
    from .containers.podman import inspect

    found = inspect(container)
    pidfd, namespace = open_namespace(found)
    return reader.main(container, "/proc/self/fd/%d" % namespace, pidfd, found.dossier)


def _forked(container: str, netns: str, parent: int) -> int:
    """The same for one that was forked in this role."""
    from .reader import reader

    return _told(reader.tell, container, netns, parent)


def _told(tell: Callable[..., int], *args: object) -> int:
    """The exit code of `tell`, whose errors get their words here."""
    try:
        return tell(*args)
    except Refused as error:
        return _complain(error)
    except KeyboardInterrupt:
        return OK
    except Exception as error:
        return _bug(error, False)
