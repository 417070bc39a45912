"""What stands on the screen, and the second thought before what can't be taken back lightly.  Pure.

A view is painted once for the ids it holds; the rows of a list are painted anew with its keys.
`deciding` keys count only alone and after a while (`keyboard`), and where the whole view has room on
the screen; `working` ones at any time; every other key changes nothing and says so.
"""

from __future__ import annotations

from ..base import addresses
from ..base.text import count, printable
from ..docket.history import OPPOSITE
from ..docket.states import QUEUED, RUNNING
from . import details, layout, notices
from .keyboard import ESCAPE

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Callable, Mapping, Protocol, Sequence

    from ..base.moment import Clock, Now
    from ..docket.docket import Docket
    from ..docket.jobs import Job
    from ..docket.requests import Answer
    from .groups import Groups
    from .painter import Painter

    class Desk(Protocol):
        """What a view needs of the prompt that shows it.  `quit`: whether the operator has asked to stop."""

        docket: Docket
        painter: Painter
        groups: Groups
        clock: Clock
        now: Now
        quit: bool

        def show(self, view: View, own_key: bool) -> None:
            """That view next; `own_key` when the operator's key brings it up."""

        def back(self) -> None:
            """The next question, or none."""

        def decided(self, line: str, job: Job | None = None) -> None:
            """The view has decided something: `line` says what, `job` is the verdict it waits for."""

        def decided_many(self, line: str) -> None:
            """The same of something that takes many verdicts, which are counted below."""

        def grumble(self, text: str) -> None:
            """Says why a key did nothing."""

        def prefer(self, request_id: str) -> None:
            """That request is asked next."""

        @property
        def doing(self) -> list[str]:
            """The line of an answer whose verdict runs."""

        def batch_lines(self) -> list[str]:
            """How far many verdicts of one answer are."""

        def end_batch(self) -> bool:
            """Those of them that have not begun are not run; whether there are any under way."""

        def where(self, container: str) -> str:
            """What a line about a container begins with."""

        def paint_keys(self) -> None:
            """The line of keys anew, and the rows above it."""

        def open_text(self, view: View, text: Callable[[int], list[str]]) -> None:
            """A text, in lines of so many columns, above that view."""

        def open_list(self) -> None: ...
        def open_history(self) -> None: ...


EVERYWHERE = "lh?iq\x0c"


class View:
    """What stands on the screen: `lines` above, `key_lines` last.

    Between them are the `rows` of a list, which are rewritten as the keys are.  `help` is what `?` tells
    of the keys; `counts` whether what stands there tells how many wait, `headed` whether it is a question.
    `whole`: its keys answer what the lines above them ask, so that nothing may come in between.
    """

    working = EVERYWHERE
    help: Sequence[tuple[str, str]] = details.HELP
    counts = False
    headed = False
    whole = False

    @property
    def deciding(self) -> str:
        return ""

    def __init__(self, prompt: Desk) -> None:
        self.prompt = prompt
        self.ids: tuple[str, ...] = ()

    @property
    def width(self) -> int:
        return self.prompt.painter.width - 1

    @property
    def height(self) -> int:
        """The lines that can be seen at once: with TERM=dumb the cursor's, the last, is empty."""
        return self.prompt.painter.height - self.prompt.painter.dumb

    def lines(self) -> list[str]:
        return []

    def rows(self) -> list[str]:
        return []

    def key_lines(self) -> list[str]:
        return []

    def is_readable(self) -> bool:
        """Whether the screen has room for all of it: else nobody can read what would be decided."""
        return self.has_room([*self.lines(), *self.rows(), *self.key_lines()])

    def has_room(self, lines: Sequence[str]) -> bool:
        return len(lines) <= self.height and max(map(len, lines), default=0) <= self.width

    def address_lines(self, container: str, dests: Sequence[str]) -> list[str]:
        """These addresses, each whole, and whose container they are of, where there are several."""
        where = printable(container) + ": " if self.prompt.docket.several else ""
        return layout.folded(where + "  ".join(dests), self.width, "  ", "    " if where else "  ")

    def about(self, line: str, label: str, named: bool) -> str:
        """A line and what it is about, a name or an address, as much as there is room for."""
        shown = layout.name_beside(label, self.width - len(line) - len(" | "))
        return line + (" | " if named else ": ") * bool(shown) + shown

    def fitting(self, *texts: str) -> str:
        """The first of these that has room in a line, else the last."""
        return next((text for text in texts if len(text) <= self.width), texts[-1])

    def vanished(self) -> bool:
        """Whether what is asked has been answered otherwise."""
        return False

    def turned(self) -> bool:
        """Whether it has turned by itself to something else, as nothing was left of what it showed."""
        return False

    def announcement(self, key: str) -> str:
        """What a key that leads to a verdict will do; "" for every other key."""
        return ""

    def press(self, key: str) -> None:
        prompt = self.prompt
        if key == "q":
            self._quit()
        elif key == "l":
            prompt.open_list()
        elif key == "h":
            prompt.open_history()
        elif key == "?":
            prompt.open_text(self, lambda width: details.help_lines(self.help, width))
        elif key == "i":
            self.inform()
        elif key == "u":
            self._undo()

    def inform(self) -> None:
        self.prompt.grumble("nothing is asked at the moment")

    def unknown(self, key: str) -> None:
        self.prompt.grumble(f"{key_name(key)} is no key here: ? shows the keys")

    def _quit(self) -> None:
        docket, jobs = self.prompt.docket, self.prompt.docket.jobs()
        decided = [one for job in jobs if job.state == RUNNING for one in job.ids]  # that is waited for
        left = docket.open_count() - sum(docket.request(one) is not None for one in decided)
        if not left:
            self.prompt.quit = True
            return
        text = "{}: stopping leaves {} unanswered".format(
            count(left, "request is open", "requests are open"),
            "it" if left == 1 else "them",
        )
        not_run = sum(job.state == QUEUED for job in jobs)
        if not_run:
            text += ", and {} not run".format(count(not_run, "verdict"))

        def leave() -> None:
            self.prompt.quit = True

        self.prompt.show(Confirming(self.prompt, text, "q", "stop", "", "", leave, self.ids), True)

    def _undo(self) -> None:
        answer = self.prompt.docket.last_verdict()
        if answer is None:
            self.prompt.grumble("there is no verdict to undo")
            return
        if answer.batch is not None:
            self._undo_many(answer)
            return
        undo = answer
        action = OPPOSITE[undo.action]

        where = self.prompt.where(undo.container)
        does = where + notices.job_text(
            action, undo.target, "operator", undo.named, True, room=self.width - len(where)
        )

        def carry_out() -> None:
            jobs = self.prompt.docket.undo([undo], "operator", self.prompt.now)
            if not jobs:
                self.prompt.grumble("not undone: %s has ended" % printable(undo.container, 30))
                self.prompt.back()
                return
            self.prompt.decided(does + " ...", jobs[0])

        when, why = self.prompt.clock.time(undo.wall), UNDO[undo.action, undo.named]
        of = f" for {printable(undo.container)}" if self.prompt.docket.several else ""
        room = min(60, self.width - len(f"  u undoes `{undo.action} `"))
        shown = printable(undo.target, room if undo.named else 60)
        done = f"{undo.action} {shown}" if room > 8 else undo.action
        text = f"u undoes `{done}`{of} of {when}: {why}"
        view = Confirming(self.prompt, text, "y", action, undo.target, does, carry_out, self.ids)
        self.prompt.show(view, True)

    def _undo_many(self, answer: Answer) -> None:
        """What was allowed at once is denied at once: each address stands there, above the question."""
        prompt = self.prompt
        if answer.batch is not None and answer.batch.id in prompt.docket.batches:
            prompt.grumble("u undoes all of them once they are through: ESC ends the rest")
            return
        answers = prompt.docket.given_with(answer)
        number = count(len(answers), "address", "addresses")
        does = f"  u deny {number}"

        def carry_out() -> None:
            prompt.docket.undo(answers, "operator", prompt.now)
            prompt.decided_many(does)

        dests: dict[str, list[str]] = {}
        for one in answers:
            dests.setdefault(one.container, []).append(one.target)
        text = f"u undoes `allow` of these {number}, of {prompt.clock.time(answer.wall)}: {UNDO_MANY}"
        view = Confirming(prompt, text, "y", "deny", number, does, carry_out, self.ids, dests)
        prompt.show(view, True)


UNDO_MANY = (
    "there is no neutral un-allow, so each is denied, one after the other; connections that stand are not cut"
)
UNDO = {
    (
        "allow",
        False,
    ): "there is no neutral un-allow, so the address is denied; connections that stand are not cut",
    ("allow", True): "every address the host resolves now is denied, the name and subdomains are NXDOMAIN; "
    "what opened live stays open until it expires",
    ("deny", False): "the address is allowed, which opens what was merely blocked before",
    ("deny", True): "the name is allowed, which opens what was merely blocked before",
}


KEY_NAMES = {
    **{"\r": "Enter", "\n": "Enter", " ": "space", "\t": "Tab"},
    **{"\x7f": "Backspace", "\x04": "Ctrl-D", ESCAPE: "ESC"},
}


def key_name(key: str) -> str:
    if key in KEY_NAMES:
        return KEY_NAMES[key]
    if key > "\x9f":
        import unicodedata  # once a letter of another alphabet has come

        return unicodedata.name(key, "") or "U+%04X" % ord(key)
    return "Ctrl-" + chr(ord(key) + 64) if len(key) == 1 and ord(key) < 32 else printable(key)


class Confirming(View):
    """A second thought: one key does it, any other is a no.  `says`: how the verdict is announced.

    `dests` are the addresses of each container that it is about, where `text` does not tell them: they
    stand above it, the first of them in the scrollback where the screen has no room for all.
    """

    whole = True

    def __init__(
        self,
        prompt: Desk,
        text: str,
        key: str,
        verb: str,
        target: str,
        says: str,
        action: Callable[[], None],
        ids: tuple[str, ...],
        dests: Mapping[str, Sequence[str]] | None = None,
    ) -> None:
        super().__init__(prompt)
        self.ids = ids
        self._dests = dests or {}
        self.working = ESCAPE + "".join(other for other in EVERYWHERE if other != key)
        self._says = says
        self._key = key
        self._text = text
        self._verb = verb
        self._target = printable(target)
        self._action = action

    @property
    def deciding(self) -> str:
        return self._key

    @property
    def _does(self) -> str:
        return f"{self._key} {self._verb} {self._target}".rstrip()

    def is_readable(self) -> bool:
        """In no window should one be unable to stop."""
        return self._key == "q" or self.has_room([*self._question(), *self.key_lines()])

    def lines(self) -> list[str]:
        above = [row for one, dests in self._dests.items() for row in self.address_lines(one, dests)]
        return [*above, *self._question()]

    def _question(self) -> list[str]:
        """What it is about is never cut: where the line of keys has no room for it, it stands above."""
        lines = layout.folded(self._text, self.width)
        if len(self._does) > self.width:
            start = "    " if addresses.canonical(self._target) else "  | "
            lines += layout.folded(self._target, self.width, start, start)
        return lines

    def key_lines(self) -> list[str]:
        does, other = self._does, "any other key: no"
        if len(does) > self.width:
            does = f"{self._key} {self._verb} it"
        one = f"{does}   {other}"
        return [one] if len(one) <= self.width else [does, other]

    def announcement(self, key: str) -> str:
        return self._says if key == self._key else ""

    def vanished(self) -> bool:
        return bool(self.ids) and self.prompt.docket.awaiting(self.ids[0]) is None

    def press(self, key: str) -> None:
        if key == self._key:
            self._action()
        else:
            self.unknown(key)

    def unknown(self, key: str) -> None:
        if self.ids:
            self.prompt.prefer(self.ids[0])
        self.prompt.painter.lines(["  no"])
        self.prompt.back()
