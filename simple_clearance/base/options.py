"""What a session was asked to do, as values; `arguments` makes it from the command line."""

from __future__ import annotations

VERDICT_TIMEOUT = 30.0


class Options:
    """One session's options; the names are those of the command line."""

    __slots__ = (
        "all", "answer", "bell", "containers", "count", "debug", "dry_run", "duration", "follow", "hosts",
        "ignore_hub", "joined", "json", "log", "netns", "policy", "reader", "replay", "role", "sandbox",
        "save_policy", "save_profile", "shield", "state_dir", "take_over", "text", "verdict_timeout",
    )  # fmt: skip

    def __init__(self, containers: list[str]) -> None:
        self.containers = containers
        self.all = False
        self.follow = False  # --all does, too
        self.hosts: list[str] = []  # [USER@]HOST[/CONTAINER]
        self.joined: list[tuple[str, list[str]]] = []  # a name, and the command of a session
        self.role: str | None = None  # "check", "demo" or None for a session
        self.text: str | None = None  # what to say instead of all else
        self.sandbox = 0  # the pid that keeps the demonstration's namespace: no podman, no hub to ask
        self.state_dir: str | None = None
        self.netns: str | None = None
        self.shield: list[str] = ["terok-shield"]
        self.reader: list[str] | None = None
        self.take_over = False
        self.verdict_timeout = VERDICT_TIMEOUT
        self.policy: str | None = None
        self.answer = ""
        self.json = False
        self.duration: float | None = None
        self.count: int | None = None
        self.log: str | None = None
        self.save_policy: str | None = None
        self.save_profile: str | None = None
        self.replay: str | None = None
        self.dry_run = False
        self.bell = False
        self.ignore_hub = False
        self.debug = False

    @property
    def elsewhere(self) -> bool:
        """Whether other sessions are joined."""
        return bool(self.hosts or self.joined)

    @property
    def several(self) -> bool:
        """Whether it may be about other containers than one that was named."""
        return len(self.containers) != 1 or self.all or self.elsewhere

    @property
    def decides(self) -> bool:
        """Whether a verdict may be run."""
        return not self.dry_run and (self.policy is not None or self.answer not in ("skip", "none"))

    @property
    def shield_command(self) -> str:
        """The verdict command's first words, to be pasted into a shell."""
        import shlex

        return " ".join(map(shlex.quote, self.shield))

    @property
    def shield_name(self) -> str:
        """The verdict command, as messages call it."""
        return "the demonstration" if self.sandbox else self.shield[0]

    def __repr__(self) -> str:
        return "Options({})".format(", ".join(f"{name}={getattr(self, name)!r}" for name in self.__slots__))
