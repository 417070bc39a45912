"""What the words of a command line mean: the options, and the texts that --help tells.

Prints nothing.  argparse is imported only where there is an option: it takes 8 ms.
"""

from __future__ import annotations

import os

from . import NAME, __version__
from .base.errors import USAGE, Refused
from .base.ids import TWICE
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
  3   could not start; the message says why, a hint how to mend it
  4   the reader ended unexpectedly (5 with --all, --follow, which go on)
  5   ended as asked, but incomplete: requests nobody answered, verdicts failed
      or unknown, events lost, a record that could not be written
  70  a bug of simple-clearance; --debug shows the trace

Ctrl-C gives 0 or 5, not 130: a calling script goes on. Before anything is
watched or waited for it gives 3, so that no script takes it for an end without
a block.
"""


NO_USE = {
    "follow": (("netns", "replay"), "nothing tells of a start"),
    "take_over": (("reader", "replay"), "nobody's reader is in its way"),
    "replay": (("state_dir", "netns", "reader"), "all that is told is in the recording"),
}
"""For an option those that it has no use with, and why."""
FILES = ("policy", "save_policy", "save_profile", "log", "replay")
SHARED = {"policy", "save_policy"}
"""The two that may name one file: an answer that is saved is a rule from then on."""


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
    _check_values(options)
    if options.role == "demo":
        _check_demo(options)
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
        text = f"{_option(single[0])} goes with one container"
        raise Refused(USAGE, text, "call it once for each container")
    for name, (others, why) in NO_USE.items():
        other = next(filter(lambda other: getattr(options, other), others), "")
        if getattr(options, name) and other:
            text = f"{_option(name)} has no use with {_option(other)}: {why}"
            raise Refused(USAGE, text, "leave one out")
    if options.joined and options.role == "check":
        raise Refused(
            USAGE, "--check goes without --join", "run its command by hand, with --check for --json"
        )
    if options.replay and options.role == "check":
        raise Refused(
            USAGE, "--check goes without --replay", "--replay FILE --policy FILE tells what rules decide"
        )
    if options.elsewhere and single:
        text = f"{_option(single[0])} goes without --host and --join"
        raise Refused(USAGE, text, "call it once for each machine")
    if len(set(options.containers)) < len(options.containers):
        raise Refused(USAGE, "a container is named twice", TWICE)
    if options.netns and not options.state_dir:
        raise Refused(
            USAGE, "--netns needs --state-dir", "--state-dir DIR: the container's own shield state directory"
        )


def _check_values(options: Options) -> None:
    """Values that don't go together, whatever is watched: Refused (2)."""
    if (
        options.answer == "allow"
        and options.duration is None
        and options.count is None
        and not options.replay
    ):
        raise Refused(USAGE, "--answer allow needs a bound", "--for SECONDS or --count N")
    taken: dict[str, str] = {}
    for name in FILES:
        given = getattr(options, name)
        path = os.path.realpath(given or "/")
        if given == "-" or os.path.exists(path) and not os.path.isfile(path):
            continue  # /dev/null is anybody's
        other = taken.setdefault(path, name)
        if other != name and {other, name} != SHARED:
            text = f"{_option(other)} and {_option(name)} name one file"
            raise Refused(USAGE, text, "name two: each has lines of its own")


def _check_demo(options: Options) -> None:
    """What the demonstration would pass over: Refused (2)."""
    from .demo.demo import TAKEN

    plain = Options([])
    for name in Options.__slots__:
        if name not in (*TAKEN, "role") and getattr(options, name) != getattr(plain, name):
            text = "--demo goes without " + ("containers" if name == "containers" else _option(name))
            raise Refused(USAGE, text, "leave that out: the demonstration has a container of its own")


def _option(name: str) -> str:
    """The option that has that name among `Options`."""
    return {"hosts": "--host", "joined": "--join"}.get(name, "--" + name.replace("_", "-"))


def _told(action: argparse.Action) -> str:
    """An option as --help has it."""
    value = action.metavar or "|".join(action.choices or ())
    words = [*action.option_strings, *([str(value)] if action.nargs != 0 else [])]
    return " ".join(words) + f": {action.help}"


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
            words = message.partition("argument ")[2].partition(":")[0]
            wrong = [action for action in actions if words in action.option_strings]
            raise Refused(USAGE, message, *(map(_told, wrong) if wrong else [f"{NAME} --help"]))

    class Version(argparse.Action):
        def __call__(self, *_: object) -> None:
            raise Instead(f"{NAME} {__version__}\n")

    class Help(argparse.Action):
        def __call__(self, parser: argparse.ArgumentParser, _n: object, topic: object, *_: object) -> None:
            raise Instead(_manual(str(topic)) if topic in TOPICS else parser.format_help())

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
            raise argparse.ArgumentTypeError(f"{text!r} is not a number of seconds above 0, up to 10000000")
        return found

    def number(text: str) -> int:
        if not (text.isascii() and text.isdigit()) or not 0 < int(text[:9]) < 10**6:
            raise argparse.ArgumentTypeError(f"{text!r} is not a whole number from 1 to 999999")
        return int(text)

    def path(text: str) -> str:
        if not text:
            raise argparse.ArgumentTypeError("an empty name")
        return text

    def file(text: str) -> str:
        if text == "-":
            raise argparse.ArgumentTypeError("'-' is no file here: a file of that name is ./-")
        return path(text)

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

    def adder(group: Any) -> Callable[..., None]:
        def add(*names: str, **more: Any) -> None:
            actions.append(group.add_argument(*names, **more))

        return add

    add = adder(parser.add_argument_group("what to watch"))
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
    add("--state-dir", metavar="DIR", type=path, help="the container's own shield state directory")
    add("--netns", metavar="PATH", type=path, help="the network namespace to listen in; needs --state-dir")
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

    add = adder(parser.add_argument_group("what decides"))
    add("--policy", metavar="FILE", type=file, help="rules that decide without asking")
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

    add = adder(parser.add_argument_group("what is kept"))
    add(
        "--log",
        metavar="FILE",
        type=path,
        help="append all events and outcomes as JSON lines, - to stdout where only they go",
    )
    add(
        "--save-profile", metavar="FILE", type=file, help="append what was allowed, as a terok-shield profile"
    )
    add("--save-policy", metavar="FILE", type=file, help="append what you answered, as rules for --policy")

    trying = parser.add_argument_group("trying it")
    add, instead = adder(trying), adder(trying.add_mutually_exclusive_group())
    instead(
        "--check", dest="role", action="store_const", const="check", help="say what is missing on this host"
    )
    instead(
        "--demo", dest="role", action="store_const", const="demo", help="see it work here: no podman, no root"
    )
    add(
        "--replay",
        metavar="FILE",
        type=path,
        help="take the events of a recording, - for stdin; implies --dry-run",
    )
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
        choices=["options", *TOPICS],
        help="show this, or more of: " + ", ".join(TOPICS),
    )
    parser.add_argument("-h", action=Help, nargs=0, help=argparse.SUPPRESS)
    return parser
