"""The views of one question, where a key becomes an answer, and of none.  Pure."""

from __future__ import annotations

from ..base.text import count
from ..docket.states import LATE
from . import details, notices, questions
from .groups import Group, target_name
from .keyboard import ESCAPE
from .view import EVERYWHERE, Confirming, View, key_name

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Sequence

    from .view import Desk

SHOWN = 3
"""Addresses of a name that are told before it is allowed; of more, one less and their number."""


class Idle(View):
    """Nothing is asked."""

    working = EVERYWHERE + ESCAPE

    @property
    def deciding(self) -> str:
        return "u"

    def key_lines(self) -> list[str]:
        return [*self.prompt.doing, *self.prompt.batch_lines()]

    def press(self, key: str) -> None:
        if key != ESCAPE:
            super().press(key)
        elif not self.prompt.end_batch():
            self.unknown(key)

    def unknown(self, key: str) -> None:
        self.prompt.grumble(f"nothing is asked: {key_name(key)} does nothing (? keys, q stop)")


class Asking(View):
    """One question, about one group."""

    counts = True
    headed = True
    working = EVERYWHERE + ESCAPE

    def __init__(self, prompt: Desk, group: Group, place: str) -> None:
        super().__init__(prompt)
        self.group = group
        self.ids = group.ids
        self.guarded = group.lead.guarded
        self._painted_for: tuple[int, int] | None = None
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
        dest, waiting = self.group.lead.dest, max(0, len(self.prompt.groups) - 1)
        keys = questions.key_line(dest, self.guarded, self.named, self.width, waiting, self._hidden)
        return [*self.prompt.batch_lines(), *keys]

    def _fit(self) -> None:
        """A new size, or being painted anew after the list, may show the present counts."""
        if self._painted_for != (self.width, self.height):
            self._painted_for = (self.width, self.height)
            docket = self.prompt.docket
            self.name = "" if self.guarded else target_name(docket, self.group.lead)
            self._label = docket.label(self.group.lead)
            height = self.height - len(self.prompt.batch_lines())
            self._lines = questions.question(
                docket, self.group, self.width, height, self.prompt.clock, self._place
            )
            # not where the name would be heard of only in the second thought, or not even there
            shown = self.name != "" and questions.shows_name(self._lines, self.name, self.width)
            self.named = shown and self._by_name().is_readable()
            self._hidden = self.name != "" and not self.named

    def vanished(self) -> bool:
        return not self._waits(self.ids[0])

    def inform(self) -> None:
        """Its question is painted anew below, with what is known now: the two say the same."""
        prompt, self._painted_for = self.prompt, None
        self._fit()
        named = self.named
        prompt.open_text(
            self, lambda width: details.details(prompt.docket, self.group, width, prompt.clock, named)
        )

    def announcement(self, key: str) -> str:
        lead = self.group.lead
        if key == "d" or (key == "a" and not self.guarded):
            return self._says("deny" if key == "d" else "allow", lead.dest)
        return ""

    def _says(self, action: str, target: str, named: bool = False) -> str:
        where = self.prompt.where(self.group.lead.container)
        return where + notices.job_text(action, target, "operator", named, room=self.width - len(where))

    def press(self, key: str) -> None:
        prompt, lead = self.prompt, self.group.lead
        if key == "a" and self.guarded:
            text = "! " + questions.warning(prompt.docket, lead)
            does = self._says("allow", lead.dest)
            prompt.show(Confirming(prompt, text, "y", "allow", lead.dest, does, self._allow, self.ids), True)
        elif key == "a":
            self._verdict("allow", "")
        elif key == "d":
            self._verdict("deny", "")
        elif key == "A":
            prompt.show(self._by_name(), True)
        elif key == ESCAPE:
            if not prompt.end_batch():
                self.unknown(key)
        elif key in "sm":
            action = "skip" if key == "s" else "mute"
            label = self._label if key == "m" else ""  # as it is painted, whatever its name is by now
            ids = [request_id for request_id in self.ids if self._waits(request_id)]
            before = prompt.docket.set_aside
            if not prompt.docket.answer(action, ids, prompt.now, "operator", name=label):
                return  # it has just been answered otherwise, and is about to vanish
            number = prompt.docket.set_aside - before  # with what has come since it was painted
            line = "  s not now" if key == "s" else "  m not in this session"
            line += " ({})".format(count(number, "request")) if number > 1 else ""
            prompt.decided(self.about(line, label, label != self.group.lead.dest))
        else:
            super().press(key)

    def unknown(self, key: str) -> None:
        if key == "A":
            why = details.not_by_name(self.prompt.docket, self.group.lead) or details.NAME_LATER
            self.prompt.grumble(details.NAME_HIDDEN if self.name else why)
        else:
            super().unknown(key)

    def _by_name(self) -> Confirming:
        """The second thought about allowing the name that is painted.

        Which addresses that opens is known to nobody before: what the container tried is told where there
        is room for it.
        """
        opens = "A opens what this host resolves the name to now, every port"
        live = "where the shield resolves live, also whatever it and its subdomains answer from now on"
        tried = some_of(self.group.dests)
        view = self._thought(
            f"{opens} (the container tried {tried} for it: this host may get others); {live}"
        )
        return view if view.is_readable() else self._thought(f"{opens}; {live}")

    def _thought(self, text: str) -> Confirming:
        name = self.name
        does = self._says("allow", name, True)
        return Confirming(
            self.prompt, text, "y", "allow", name, does, lambda: self._verdict("allow", name), self.ids
        )

    def _waits(self, request_id: str) -> bool:
        return self.prompt.docket.awaiting(request_id) is not None

    def _allow(self) -> None:
        self._verdict("allow", "")

    def _verdict(self, action: str, name: str) -> None:
        prompt = self.prompt
        ids = [request_id for request_id in self.ids if self._waits(request_id)] if name else [*self.ids[:1]]
        if not prompt.docket.answer(action, ids, prompt.now, "operator", name=name):
            return
        jobs = prompt.docket.jobs(self.group.lead.container)
        job = next(job for job in jobs if ids[0] in job.ids and job.state != LATE)
        prompt.decided(self._says(action, job.target, job.named) + " ...", job)


def some_of(dests: Sequence[str]) -> str:
    """The first of these addresses, and how many more there are."""
    shown = dests if len(dests) <= SHOWN else dests[: SHOWN - 1]
    return ", ".join(shown) + (f" and {len(dests) - len(shown)} more" if shown != dests else "")
