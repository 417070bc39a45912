"""What podman knows of a container, and which of it to believe.

Owns the one `podman inspect` at the start; which state directory to believe is in `statedir`,
which network namespace in `network`.

The awkward fact: an image's own annotations stand among the launcher's, so whoever built the
image may have written any of them.
"""

from __future__ import annotations

from ..base.errors import CANNOT_START, USAGE, Refused
from ..base.ids import LONG_ID, SHORT_ID, TWICE, is_hex, is_name
from ..base.text import bounded_labels, clip_right, printable
from ..system import children
from .statedir import ANNOTATION, believable, check_given, quoted

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Callable, Sequence

PAUSED = "is paused: nothing is tried in it until `podman unpause %s`"

LIST = ["ps", "--all", "--format", "json"]
INSPECT = ["inspect", "--format", "json", "--"]

DEADLINE = 30.0  # seconds; 0.03 is usual, 10 were seen while a build held the lock of podman's storage
FOR_A_HINT = 2.0  # seconds that it may take where nothing more hangs on it
MISSING = "install podman, or give --netns PATH with --state-dir DIR"
AMBIGUOUS = "give more of its id, or its name: podman ps -a"
LOCKED = "its storage is locked, as by a long build, or slow: podman ps answers once it is free"
USERS = "/proc/sys/user/max_user_namespaces"
NO_USERS = "no user namespace is allowed here (%s is 0): sysctl user.max_user_namespaces=15000" % USERS


class Container:
    """One container as `podman inspect` told it; text in it is podman's or the image's own words.

    `id` is 64 hex digits; `pid` and `conmon_pid` are 0 when it doesn't run; `annotations` maps
    text to text, nothing in it checked; `started_at` is podman's RFC 3339 text.  `own_users`: podman
    made it a user namespace of its own; one that is `paused` counts as `running`.
    `sandbox` is the file that podman keeps its network namespace in, `pid_file` the one with its pid, ""
    where it names none.  `in_pod`: it shares its network with others.
    """

    __slots__ = (
        "annotations", "conmon_pid", "id", "in_pod", "name", "own_users", "paused", "pid", "pid_file",
        "running", "sandbox", "started_at", "status",
    )  # fmt: skip

    def __init__(self, found: dict[str, Any]) -> None:
        """`found` is one object of podman's list; raises LookupError, TypeError or ValueError for others."""
        state, annotations = found["State"], found["Config"].get("Annotations") or {}
        self.name: str = _checked(str, found["Name"])
        self.id: str = _checked(str, found["Id"])
        self.paused = state.get("Paused") is True
        self.running: bool = _checked(bool, state["Running"]) or self.paused
        self.status: str = _checked(str, state.get("Status", ""))
        self.pid: int = _checked(int, state["Pid"]) if self.running else 0
        self.conmon_pid: int = _checked(int, state.get("ConmonPid", 0)) if self.running else 0
        self.started_at: str = _checked(str, state.get("StartedAt", ""))
        self.own_users = bool((found.get("HostConfig") or {}).get("IDMappings"))
        self.in_pod = bool(found.get("Pod"))
        network = found.get("NetworkSettings") or {}
        self.sandbox: str = _checked(str, network.get("SandboxKey") or "")
        self.pid_file: str = _checked(str, found.get("PidFile") or "")
        self.annotations: dict[str, str] = {
            key: value for key, value in annotations.items() if isinstance(value, str)
        }
        if not (is_name(self.name) and len(self.id) == LONG_ID and is_hex(self.id)):
            raise ValueError("name or id")

    def __repr__(self) -> str:
        return "Container(%s, %s, pid %d)" % (self.name, self.short_id, self.pid)

    def is_called(self, name: str) -> bool:
        """Whether that is its name or its id, of 12 or 64 digits, and not just the beginning of one."""
        return name in (self.name, self.id, self.short_id)

    @property
    def short_id(self) -> str:
        return self.id[:SHORT_ID]

    @property
    def state_dir(self) -> str | None:
        """As annotated, not yet believed: see `state_directory`."""
        return self.annotations.get(ANNOTATION)

    @property
    def shield_version(self) -> int | None:
        """The bundle version (18 in terok-shield 0.9.0), which tells the order of its rules."""
        text = self.annotations.get("terok.shield.version", "")
        return int(text[:9]) if text.isascii() and text.isdigit() else None

    @property
    def audited(self) -> bool:
        """Whether the shield writes down what it does."""
        return self.annotations.get("terok.shield.audit_enabled") != "false"

    @property
    def sidecar(self) -> str | None:
        """The path of the sandbox's description of this container, not yet believed."""
        return self.annotations.get("terok.sandbox.sidecar")

    @property
    def dossier(self) -> dict[str, str]:
        """Labels for a person (project, task, …): never a path to open."""
        found = {key[8:]: value for key, value in self.annotations.items() if key.startswith("dossier.")}
        return bounded_labels(found)


class Listed:
    """One line of `podman ps`: `id` is 64 hex digits, `pid` is 0 for one that does not run."""

    __slots__ = ("id", "name", "pid")

    def __init__(self, found: dict[str, Any]) -> None:
        """Raises LookupError, TypeError or ValueError for what is no such line."""
        self.id: str = _checked(str, found["Id"])
        self.name: str = _checked(str, found["Names"][0])
        self.pid: int = _checked(int, found["Pid"]) if found["State"] in ("running", "paused") else 0
        if not (is_name(self.name) and len(self.id) == LONG_ID and is_hex(self.id)):
            raise ValueError("name or id")

    def __repr__(self) -> str:
        return "Listed(%s, %s, pid %d)" % (self.name, self.id[:SHORT_ID], self.pid)


def _checked(kind: type, value: Any) -> Any:
    if type(value) is not kind:  # exactly: True is an int, too
        raise TypeError("%r is no %s" % (value, kind.__name__))
    return value


def check_name(text: str) -> None:
    """Raise Refused for anything else: what begins with `-` would be an option of the verdict command."""
    if not is_name(text):
        raise Refused(CANNOT_START, "%s is not a container's name" % quoted(text), "podman ps")


# --- asking podman


def inspect_all(
    names: Sequence[str], podman: str = "podman", deadline: float = DEADLINE
) -> dict[str, Container | Refused]:
    """Each of these containers, running or not, by its own name, or why there is none by what was given.

    That is a name, or an id or the beginning of one that no other has, as podman takes it.  Raises Refused
    when podman is missing, takes longer than `deadline` seconds or says something else than it should, and
    (2) when two of `names` are one container.
    """
    for name in names:
        check_name(name)
    status, output, errors = _run([podman, *INSPECT, *names], deadline)
    if status and b"no such " not in errors:
        raise _failed("podman inspect " + " ".join(names), status, errors)
    told = parse(output, *names)
    found: dict[str, Container | Refused] = {}
    for given in names:
        one = _called(given, told)
        name = given if one is None else one.name
        if name in found:
            raise Refused(USAGE, "%s is named twice, here as %s" % (name, given), TWICE)
        found[name] = one or _missing(given)
    return found


def _called(given: str, told: list[Container]) -> Container | None:
    """As podman finds it: the one of that name, else the one whose id begins like that."""
    named = [one for one in told if one.name == given]
    return next(iter(named or [one for one in told if one.id.startswith(given)]), None)


def inspect(name: str, podman: str = "podman", deadline: float = DEADLINE) -> Container:
    """That one alone; raises Refused when there is none, too."""
    (found,) = inspect_all([name], podman, deadline).values()
    if isinstance(found, Refused):
        raise found
    return found


def parse(output: bytes, *asked: str) -> list[Container]:
    """The containers in what `podman inspect --format json -- NAME...` printed.  Raises only Refused."""

    def container(found: dict[str, Any]) -> Container | None:
        return (
            Container(found) if "State" in _checked(dict, found) else None
        )  # an image, a volume may have that name, too

    parsed = _parsed("podman inspect " + " ".join(asked), output, container)
    return [one for one in parsed if one is not None]


def listed(output: bytes) -> list[Listed]:
    """Those in what `podman ps --format json` printed; raises Refused, nothing else."""
    found: list[Listed] = _parsed("podman ps", output, Listed)
    return found


def _parsed(command: str, output: bytes, kind: Callable[[dict[str, Any]], Any]) -> list[Any]:
    import json  # noqa: PLC0415 - 6 ms that a session without podman does not need

    try:
        found = json.loads(output.decode("utf-8", "surrogateescape"))
        return [kind(one) for one in _checked(list, found)]
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError) as error:
        reason = "%s: not understood: %s" % (command, clip_right(printable(error), 80))
        raise Refused(CANNOT_START, reason, "podman --version; 4.3 and later are known to work") from None


def running(podman: str = "podman", deadline: float = DEADLINE) -> list[str]:
    """The ids of all containers of this user that run; raises Refused when that can't be told."""
    status, output, errors = _run([podman, *LIST], deadline)
    if status:
        raise _failed("podman ps", status, errors)
    return [one.id for one in listed(output) if one.pid]


def shielded(podman: str = "podman") -> list[str]:
    """The names of the shielded containers that run, for a hint: empty whenever that can't be told."""
    try:
        ids = running(podman, FOR_A_HINT)[:50]
        found = inspect_all(ids, podman, FOR_A_HINT).values() if ids else ()
    except Refused:
        return []  # a hint about a mistake must not become a second mistake
    return sorted(one.name for one in found if isinstance(one, Container) and one.running and one.state_dir)


def _run(argv: list[str], deadline: float) -> tuple[int, bytes, bytes]:
    try:
        return children.run(argv, deadline)
    except children.Stuck as error:
        raise Refused(CANNOT_START, "%s %s: %s" % (printable(argv[0]), argv[1], error), LOCKED) from None
    except OSError as error:
        raise Refused(CANNOT_START, "%s: %s" % (printable(argv[0]), error.strerror), MISSING) from None


def _failed(what: str, status: int, errors: bytes) -> Refused:
    said = printable(errors.strip().rpartition(b"\n")[2]) or "exit %d" % status
    hint = AMBIGUOUS if b"more than one result" in errors else remedy()
    return Refused(CANNOT_START, "%s: %s" % (what, said), hint)


def remedy() -> str:
    """What to do where podman fails: it can do nothing without user namespaces, and says so in its words."""
    try:
        with open(USERS) as file:
            return NO_USERS if int(file.read()) == 0 else "podman info"
    except (OSError, ValueError):
        return "podman info"  # a kernel that has no such limit


def _missing(name: str) -> Refused:
    return Refused(CANNOT_START, "no such container: %s" % name, "podman ps -a, as the user who started it")


# --- what it takes to watch it


def state_directory(container: Container, given: str | None, uid: int) -> str:
    """The container's own shield state directory: the one `given`, else the annotated one if believable."""
    if given is not None:
        check_given(given, container.name, container.id)
        return given
    if container.state_dir is None:
        reason = "%s is not shielded: it has no %s annotation" % (container.name, ANNOTATION)
        raise Refused(CANNOT_START, reason, "start it with terok-shield run, or give --state-dir DIR")
    believable(container.state_dir, container.id, uid)
    return container.state_dir


def is_roots(container: Container, uid: int) -> bool:
    """Whether it is no rootless one: root's own podman keeps nothing in a user's runtime directory."""
    path = container.pid_file
    return uid == 0 and path != "" and not path.startswith(("/run/user/", "/tmp/"))


def not_rootless(name: str) -> Refused:
    """For root's own containers terok-shield says that it denies, and does nothing."""
    return Refused(
        CANNOT_START,
        "%s is root's own: terok-shield works for rootless containers, here no verdict would hold" % name,
        "run it rootless, as an ordinary user; --dry-run or --answer skip may watch",
    )


def check_running(container: Container) -> None:
    """Raise Refused unless it runs; what is paused can be watched, and verdicts on it work."""
    if container.status == "stopping":
        hint = "once it has stopped: podman start %s" % container.name
        raise Refused(CANNOT_START, "%s is stopping" % container.name, hint)
    if not container.running or container.pid <= 0:
        raise Refused(CANNOT_START, "%s is not running" % container.name, "podman start %s" % container.name)
