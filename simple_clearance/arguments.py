"""What the words of a command line mean: the options, and the texts that --help tells.

Prints nothing.  argparse is imported only where there is an option: it takes 8 ms.
"""

from __future__ import annotations

import os

from . import NAME, __version__
from .base.errors import USAGE, Refused
from .base.options import Options

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse
    from typing import Any, Callable

TOPICS = ("keys", "policy", "json", "recipes")
"""What `--help` tells more of: a text for each in the folder `manual`."""

EXAMPLES = """\
examples:
  simple-clearance.pyz c1                           prompt for what is blocked
  simple-clearance.pyz --check c1                   say what is missing here
  simple-clearance.pyz --host web --host db/c1      the same for other machines
  simple-clearance.pyz --json c1                    for a script: --help json
  simple-clearance.pyz --answer skip --log FILE c1  nobody attends
  simple-clearance.pyz --replay FILE --policy FILE  what rules would decide

exit codes:
  0   ended as asked (container stopped, q, Ctrl-C, SIGTERM, --for, --count),
      nothing left open
  1   refused, or stopped: the clearance hub is active
  2   usage, or no terminal to prompt on
  3   could not start; the message says why, the hint how to mend it
  4   the reader ended unexpectedly
  5   ended as asked, but incomplete: requests nobody answered, verdicts failed
      or unknown, events lost, a record that could not be written
  70  a bug of simple-clearance; --debug shows the trace

Ctrl-C gives 0 or 5, not 130: a calling script goes on. Before anything is
watched it gives 3, so that no script takes it for an end without a block.
"""


class Instead(Exception):
    """What is to be said, and nothing else to be done."""


def parse(argv: list[str]) -> Options:
    """The options in `argv`; Refused (2) for what can't be understood.

    With --help, --version or --completion, `text` is what is to be said instead.
    """
    options = Options(argv)
    if any(word.startswith("-") for word in argv):
        try:
            found = _parser().parse_args(argv)
        except Instead as instead:
            options.text = str(instead)
            return options
        for name in Options.__slots__:
            if hasattr(found, name):
                setattr(options, name, getattr(found, name))
    if options.role == "demo":
        return options
    options.follow = options.follow or options.all
    names_some = options.containers or options.replay or options.all or options.elsewhere
    if not names_some and not (options.role == "check" and options.policy):
        raise Refused(USAGE, "no container given", *_container_hints())
    _check(options)
    return options


def _check(options: Options) -> None:
    """Options that don't go together: Refused (2)."""
    if options.all and options.containers:
        raise Refused(USAGE, "--all goes without names", "name containers, or give --all")
    single = [name for name in ("state_dir", "netns", "reader", "replay") if getattr(options, name)]
    if (len(options.containers) > 1 or options.all) and single:
        option = "--" + single[0].replace("_", "-")
        raise Refused(USAGE, f"{option} goes with one container", "call it once for each container")
    if options.follow and (options.netns or options.replay):
        option = "--netns" if options.netns else "--replay"
        raise Refused(USAGE, f"--follow has no use with {option}: nothing tells of a start", "leave one out")
    if options.joined and options.role == "check":
        raise Refused(
            USAGE, "--check goes without --join", "run its command by hand, with --check for --json"
        )
    if options.elsewhere and single:
        option = "--" + single[0].replace("_", "-")
        raise Refused(USAGE, f"{option} goes without --host and --join", "call it once for each machine")
    if options.take_over and (options.reader or options.replay):
        option = "--reader" if options.reader else "--replay"
        raise Refused(
            USAGE, f"--take-over has no use with {option}", f"{option} alone: nobody's reader is in its way"
        )
    if len(set(options.containers)) < len(options.containers):
        raise Refused(USAGE, "a container is named twice", "name each container once")
    if options.netns and not options.state_dir:
        raise Refused(
            USAGE, "--netns needs --state-dir", "--state-dir DIR: the container's own shield state directory"
        )
    if (
        options.answer == "allow"
        and options.duration is None
        and options.count is None
        and not options.replay
    ):
        raise Refused(USAGE, "--answer allow needs a bound", "--for SECONDS or --count N")


def _manual(topic: str) -> str:
    import pkgutil

    return (pkgutil.get_data(__package__, f"manual/{topic}.txt") or b"").decode("ascii")


def _container_hints() -> list[str]:
    from .containers.podman import shielded

    names = shielded()
    if names:
        return ["shielded containers that run: " + " ".join(names)]
    return ["simple-clearance.pyz CONTAINER; podman ps lists the running ones"]


def _parser() -> argparse.ArgumentParser:
    import argparse
    import re

    class Parser(argparse.ArgumentParser):
        def error(self, message: str) -> None:  # type: ignore[override]
            raise Refused(USAGE, message, f"{NAME} --help")

    class Version(argparse.Action):
        def __call__(self, *_: object) -> None:
            raise Instead(f"{NAME} {__version__}\n")

    class Help(argparse.Action):
        def __call__(self, parser: argparse.ArgumentParser, _n: object, topic: object, *_: object) -> None:
            raise Instead(_manual(str(topic)) if topic in TOPICS else parser.format_help())

    def topic(text: str) -> str:
        """Whatever else stands behind --help gets the options."""
        return text if text in TOPICS else "options"

    def words(text: str) -> list[str]:
        import shlex

        try:
            found = shlex.split(text)
        except ValueError as error:
            raise argparse.ArgumentTypeError(f"{text!r}: {str(error).lower()}") from None
        if not found:
            raise argparse.ArgumentTypeError("an empty command")
        return found

    def join(text: str) -> tuple[str, list[str]]:
        name, _, command = text.partition("=")
        if not command or re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,63}", name) is None:
            raise argparse.ArgumentTypeError(f"{text!r} is not NAME=CMD")
        return name, words(command)

    def seconds(text: str) -> float:
        try:
            found = float(text)
        except ValueError:
            found = 0.0
        if not 0 < found <= 1e7:
            raise argparse.ArgumentTypeError(f"{text!r} is not a number of seconds above 0")
        return found

    def number(text: str) -> int:
        if not (text.isascii() and text.isdigit()) or not 0 < int(text[:9]) < 10**6:
            raise argparse.ArgumentTypeError(f"{text!r} is not a whole number above 0")
        return int(text)

    def formatter(prog: str) -> argparse.HelpFormatter:
        """As wide as shutil.get_terminal_size tells, which argparse imports, 2 ms, for each option anew."""
        columns = os.environ.get("COLUMNS", "")
        try:
            width = int(columns) if columns.isdecimal() else os.get_terminal_size(1).columns
        except OSError:
            width = 80
        return argparse.RawDescriptionHelpFormatter(prog, width=(width or 80) - 2)

    parser = Parser(
        prog=NAME,
        usage="%(prog)s [OPTIONS] CONTAINER...",
        description="Asks, on the terminal, about connections that terok-shield blocked.",
        epilog=EXAMPLES,
        formatter_class=formatter,
        allow_abbrev=False,
        add_help=False,
    )
    actions: list[argparse.Action] = []

    class Complete(argparse.Action):
        """A completion for a shell, of all that is added here; or what that asks for in its turn."""

        def __call__(self, _parser: object, _namespace: object, value: object, _option: object = "") -> None:
            from . import completion
            from .containers.podman import shielded

            asked = str(value)
            if asked == completion.CONTAINERS:
                raise Instead("".join(name + "\n" for name in shielded()))
            raise Instead(completion.script(asked, actions))

    def group(title: str) -> Callable[..., None]:
        found = parser.add_argument_group(title)

        def add(*names: str, **more: Any) -> None:
            actions.append(found.add_argument(*names, **more))

        return add

    add = group("what to watch")
    add("containers", nargs="*", metavar="CONTAINER", help="name or id of a running shielded container")
    add("--all", action="store_true", help="every shielded container here, and those that start later")
    add("--follow", action="store_true", help="wait for a container that stops, and go on when it runs again")
    add(
        "--host",
        metavar="HOST",
        dest="hosts",
        action="append",
        default=[],
        help="those of another machine, [USER@]HOST or [USER@]HOST/CONTAINER, over ssh; repeatable",
    )
    add(
        "--join",
        metavar="NAME=CMD",
        dest="joined",
        action="append",
        type=join,
        default=[],
        help="those of a session that CMD runs with --json, as NAME/...; repeatable",
    )
    add("--state-dir", metavar="DIR", help="the container's own shield state directory")
    add("--netns", metavar="PATH", help="the network namespace to listen in; needs --state-dir")
    add(
        "--reader",
        metavar="CMD",
        type=words,
        help="another event source: CMD STATE_DIR CONTAINER --emit=json",
    )
    add(
        "--take-over", action="store_true", help="end terok-shield's own reader where it holds the packet log"
    )
    add("--ignore-hub", action="store_true", help="start although a bus or hub socket can't be asked")
    add("--for", metavar="SECONDS", dest="duration", type=seconds, help="end after that time")
    add("--count", metavar="N", type=number, help="end after N applied verdicts")

    add = group("what decides")
    add("--policy", metavar="FILE", help="rules that decide without asking")
    add(
        "--answer",
        choices=["allow", "deny", "skip", "none"],
        default="",
        help="the answer to whatever is left open; none leaves it open and asks nobody",
    )
    add("--json", action="store_true", help="no prompts: events on stdout, answers on stdin")
    add("--bell", action="store_true", help="ring on a new question")
    add("--shield", metavar="CMD", type=words, default=["terok-shield"], help="the verdict command")
    add(
        "--verdict-timeout",
        metavar="SECONDS",
        type=seconds,
        default=30.0,
        help="a verdict that takes longer is told as unknown; 30 unless given",
    )
    add("--dry-run", action="store_true", help="decide and report, run no verdict command")

    add = group("what is kept")
    add("--log", metavar="FILE", help="append every event, decision and outcome as JSON lines, - to stdout")
    add("--save-profile", metavar="FILE", help="append what was allowed, as a terok-shield profile")
    add("--save-policy", metavar="FILE", help="append what was answered, as rules for --policy")

    add = group("trying it")
    add("--check", dest="role", action="store_const", const="check", help="say what is missing on this host")
    add(
        "--demo", dest="role", action="store_const", const="demo", help="see it work here: no podman, no root"
    )
    add("--replay", metavar="FILE", help="take the events of a recording, - for stdin; implies --dry-run")
    add("--debug", action="store_true", help="what goes over each wire, and traces, on stderr")
    add(
        "--completion",
        metavar="SHELL",
        action=Complete,
        choices=["bash", "zsh", "fish", "containers"],
        help="print what completes a command line in bash, zsh or fish",
    )
    add("--version", action=Version, nargs=0, help="show the version")
    add(
        "--help",
        metavar="TOPIC",
        action=Help,
        nargs="?",
        type=topic,
        choices=["options", *TOPICS],
        help="show this, or more of: " + ", ".join(TOPICS),
    )
    parser.add_argument("-h", action=Help, nargs=0, help=argparse.SUPPRESS)
    return parser
