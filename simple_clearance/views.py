"""The views of the prompt: a question, a second thought, the list, the history.  Pure.

Each is painted once for the ids it holds.  `deciding` keys count only alone and after a
while (`keys`), and where the whole view has room on the screen; `working` ones at any time;
every other key changes nothing and says so.
"""

from __future__ import annotations

from . import addresses, layout, notices, screen
from .groups import Group, target_name
from .requests import OPEN
from .text import count, printable

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Callable

    from .prompt import Prompt

EVERYWHERE = "lh?iq\x0c"
PAGE = 9


class View:
    """What stands on the screen: `lines` above, `key_lines` last."""

    working = EVERYWHERE

    @property
    def deciding(self) -> str:
        return ""

    def __init__(self, prompt: Prompt) -> None:
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

    def key_lines(self) -> list[str]:
        return []

    def is_readable(self) -> bool:
        """Whether the screen has room for all of it: else nobody can read what would be decided."""
        painted = [*self.lines(), *self.key_lines()]
        return len(painted) <= self.height and max(map(len, painted), default=0) <= self.width

    def vanished(self) -> bool:
        """Whether what is asked has been answered otherwise."""
        return False

    def press(self, key: str) -> None:
        prompt = self.prompt
        if key == "q":
            self._quit()
        elif key == "l":
            prompt.open_list()
        elif key == "h":
            prompt.open_history()
        elif key == "?":
            prompt.painter.lines(screen.help_lines(self.width))
            prompt.show(self, True)
        elif key == "i":
            self.inform()
        elif key == "u":
            self._undo()

    def inform(self) -> None:
        self.prompt.grumble("nothing is asked at the moment")

    def unknown(self, key: str) -> None:
        self.prompt.grumble(f"{key_name(key)} is no key here: ? shows the keys")

    def _quit(self) -> None:
        waiting = self.prompt.docket.open_count()
        if not waiting:
            self.prompt.quit = True
            return
        text = "{}: stopping leaves {} unanswered".format(
            count(waiting, "request is open", "requests are open"),
            "it" if waiting == 1 else "them",
        )

        def leave() -> None:
            self.prompt.quit = True

        self.prompt.show(Confirming(self.prompt, text, "q", "stop", "", leave, self.ids), True)

    def _undo(self) -> None:
        answer = self.prompt.docket.last_verdict()
        if answer is None:
            self.prompt.grumble("there is no verdict to undo")
            return
        undo = answer
        action = "deny" if undo.action == "allow" else "allow"

        def carry_out() -> None:
            if not self.prompt.docket.undo(undo, "operator"):
                self.prompt.grumble("not undone: %s has ended" % printable(undo.container, 30))
                self.prompt.back()
                return
            job = self.prompt.docket.jobs(undo.container)[-1]
            where = self.prompt.where(undo.container)
            text = notices.job_text(
                action, undo.target, "operator", undo.named, True, room=self.width - len(where)
            )
            self.prompt.decided(f"{where}{text} ...", job)

        when, why = self.prompt.clock(undo.wall), UNDO[undo.action, undo.named]
        of = f" for {printable(undo.container, 30)}" if self.prompt.docket.several else ""
        room = min(60, self.width - len(f"  u undoes `{undo.action} `"))
        shown = printable(undo.target, room if undo.named else 60)
        done = f"{undo.action} {shown}" if room > 8 else undo.action
        text = f"u undoes `{done}`{of} of {when}: {why}"
        self.prompt.show(Confirming(self.prompt, text, "y", action, undo.target, carry_out, self.ids), True)


UNDO = {
    (
        "allow",
        False,
    ): "there is no neutral un-allow, so the address is denied; connections that stand are not cut",
    ("allow", True): "every address the host resolves now is denied and the name answers NXDOMAIN; "
    "what opened live since then stays open until it expires",
    ("deny", False): "the address is allowed, which opens what was merely blocked before",
    ("deny", True): "the name is allowed, which opens what was merely blocked before",
}


def key_name(key: str) -> str:
    names = {"\r": "Enter", "\n": "Enter", " ": "space", "\t": "Tab", "\x7f": "Backspace", "\x04": "Ctrl-D"}
    if key in names:
        return names[key]
    return "Ctrl-" + chr(ord(key) + 64) if len(key) == 1 and ord(key) < 32 else printable(key)


class Idle(View):
    """Nothing is asked."""

    @property
    def deciding(self) -> str:
        return "u"

    def unknown(self, key: str) -> None:
        self.prompt.grumble(f"nothing is asked: {key_name(key)} does nothing (? keys, q stop)")


class Asking(View):
    """One question, about one group."""

    def __init__(self, prompt: Prompt, group: Group, place: str) -> None:
        super().__init__(prompt)
        self.group = group
        self.ids = group.ids
        self.guarded = group.lead.guarded
        self._painted_for = (0, 0)
        self._place = place
        self._fit()

    @property
    def deciding(self) -> str:
        return "asmduA" if self.named else "asmdu"

    def lines(self) -> list[str]:
        self._fit()
        return self._lines

    def key_lines(self) -> list[str]:
        self._fit()
        return self._keys

    def _fit(self) -> None:
        """A new size, or being painted anew after the list, may show the present counts."""
        if self._painted_for != (self.width, self.height):
            self._painted_for = (self.width, self.height)
            docket = self.prompt.docket
            self.name = "" if self.guarded else target_name(docket, self.group.lead)
            self._lines = screen.question(
                docket, self.group, self.width, self.height, self.prompt.clock, self._place
            )
            # not where the name would be heard of only in the second thought, or not even there
            shown = self.name != "" and screen.shows_name(self._lines, self.name, self.width)
            self.named = shown and self._by_name().is_readable()
            hidden = self.name != "" and not self.named
            self._keys = screen.key_line(self.guarded, self.named, self.width, hidden)

    def vanished(self) -> bool:
        return not self._waits(self.ids[0])

    def inform(self) -> None:
        """Its question is painted anew below, with what is known now: the two say the same."""
        prompt, self._painted_for = self.prompt, (0, 0)
        self._fit()
        prompt.painter.lines(screen.details(prompt.docket, self.group, self.width, prompt.clock, self.named))
        prompt.show(self, True)

    def press(self, key: str) -> None:
        prompt, lead = self.prompt, self.group.lead
        if key == "a" and self.guarded:
            text = "! " + screen.warning(prompt.docket, lead)
            prompt.show(Confirming(prompt, text, "y", "allow", lead.dest, self._allow, self.ids), True)
        elif key == "a":
            self._verdict("allow", "")
        elif key == "d":
            self._verdict("deny", "")
        elif key == "A":
            prompt.show(self._by_name(), True)
        elif key in "sm":
            action = "skip" if key == "s" else "mute"
            ids = [request_id for request_id in self.ids if self._waits(request_id)]
            if not prompt.docket.answer(action, ids, prompt.now, "operator"):
                return  # it has just been answered otherwise, and is about to vanish
            text = "s not now" if key == "s" else "m not in this session"
            prompt.decided(
                "  {}{}".format(text, " ({})".format(count(len(ids), "request")) if len(ids) > 1 else "")
            )
        else:
            super().press(key)

    def unknown(self, key: str) -> None:
        if key == "A" and self.name:
            self.prompt.grumble(screen.NAME_HIDDEN)
        else:
            super().unknown(key)

    def _by_name(self) -> Confirming:
        """The second thought about allowing the name that is painted."""
        text = (
            "A opens what this host resolves the name to now, every port; "
            "where the shield resolves live, also whatever it and its subdomains answer from now on"
        )
        name = self.name
        return Confirming(
            self.prompt, text, "y", "allow", name, lambda: self._verdict("allow", name), self.ids
        )

    def _waits(self, request_id: str) -> bool:
        request = self.prompt.docket.request(request_id)
        return request is not None and request.state == OPEN

    def _allow(self) -> None:
        self._verdict("allow", "")

    def _verdict(self, action: str, name: str) -> None:
        prompt, asked = self.prompt, self.ids[0]
        ids = [request_id for request_id in self.ids if self._waits(request_id)] if name else [asked]
        if not prompt.docket.answer(action, ids, prompt.now, "operator", name=name):
            return
        jobs = prompt.docket.jobs(self.group.lead.container)
        job = next(job for job in jobs if asked in job.ids and job.state != "late")
        where = prompt.where(job.container)
        text = notices.job_text(action, job.target, "operator", job.named, room=self.width - len(where))
        prompt.decided(f"{where}{text} ...", job)


class Confirming(View):
    """A second thought: one key does it, any other is a no."""

    def __init__(
        self,
        prompt: Prompt,
        text: str,
        key: str,
        verb: str,
        target: str,
        action: Callable[[], None],
        ids: tuple[str, ...],
    ) -> None:
        super().__init__(prompt)
        self.ids = ids
        self.working = "".join(other for other in EVERYWHERE if other != key)
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
        return self._key == "q" or super().is_readable()  # in no window should one be unable to stop

    def lines(self) -> list[str]:
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

    def vanished(self) -> bool:
        request = self.prompt.docket.request(self.ids[0]) if self.ids else None
        return bool(self.ids) and (request is None or request.state != OPEN)

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
