"""The view of what was answered.  Pure."""

from __future__ import annotations

from ..base.text import printable
from ..docket.verdict import APPLIED
from . import details, layout, rows
from .keyboard import ESCAPE
from .layout import joined
from .narrowing import Narrowing
from .pages import NO_ROW, ONE_PAGE, Pages
from .view import EVERYWHERE, View

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Iterable

    from ..docket.batch import Batch
    from ..docket.requests import Answer
    from .view import Desk


class History(View):
    """What was answered in this session, newest first, of one container or of all."""

    working = EVERYWHERE + "123456789 \x7f\x08c" + ESCAPE
    help = details.HISTORY_HELP

    def __init__(self, prompt: Desk) -> None:
        super().__init__(prompt)
        self._all = self._answers = failures_first(reversed(prompt.docket.history))
        self._containers = list(dict.fromkeys([answer.container for answer in self._all]))
        self._narrowing = Narrowing()
        self._pages = Pages()
        self._arranged_for = (0, 0)

    def _rows_of(self, number: int, digit: int = 1) -> list[str]:
        """The lines of an answer."""
        prompt = self.prompt
        several = prompt.docket.several
        return rows.history_rows(self._answers[number], digit, self.width, prompt.clock, several)

    @property
    def _shown(self) -> list[Answer]:
        if self._arranged_for != (self.width, self.height):
            self._arranged_for = (self.width, self.height)
            self._pages.fit([len(self._rows_of(at)) for at in range(len(self._answers))], self.height - 4)
        return self._answers[self._pages.first : self._pages.end]

    def rows(self) -> list[str]:
        if not self._answers:
            return layout.folded("nothing was answered in this session", self.width, "", "  ")
        number = len(self._shown)
        lines = [layout.columns(self._header(), self._pages.text, self.width)]
        for at in range(number):
            lines += self._rows_of(self._pages.first + at, at + 1)
        return lines

    def _header(self) -> str:
        number = "%d answered" % len(self._answers)
        if self._narrowing.only:
            others = f", {len(self._all) - len(self._answers)} for others"
            number += " for " + printable(self._narrowing.only, 60)
        else:
            others = ""
        for long in (f"{number}{others}, newest first", number + others):
            if len(long) + 2 + len(self._pages.text) <= self.width:
                return long
        return number

    def key_lines(self) -> list[str]:
        number, pages = len(self._shown), len(self._pages) > 1
        digits = f"1-{number}" if number > 1 else "1" * number
        back = "Backspace: newer" if pages else ""
        older = "space: older" if pages else ""
        several, only = len(self._containers) > 1, self._narrowing.only
        one = several and ("c next container" if only else "c one container")
        few, leaves = (
            several and ("c next" if only else "c container"),
            "ESC: all   h back" if only else "h back",
        )
        return [
            self.fitting(
                joined("   ", digits and digits + " asks that again", one, older, back, leaves),
                joined("   ", digits and digits + " asks again", one, older, leaves),
                joined("  ", digits and digits + " asks again", few, older, "h back"),
                joined("  ", digits, few, older, "h back"),
                joined("  ", digits, several and "c", older, "h back"),
                joined(" ", digits, several and "c", pages and "space", "h back"),
            )
        ]

    def press(self, key: str) -> None:
        prompt = self.prompt
        if key == "h" or (key == ESCAPE and not self._narrowing.only):
            prompt.back()
        elif key in ("c", ESCAPE):
            wrong = self._narrow(key)
            prompt.show(self, True)
            if wrong:
                prompt.grumble(wrong)
        elif key in " \x7f\x08":
            self._pages.turn(1 if key == " " else -1)
            prompt.show(self, True)
            if len(self._pages) == 1:
                prompt.grumble(ONE_PAGE)
        elif key.isdigit():
            if int(key) > len(self._shown):
                prompt.grumble(NO_ROW.format(key))
                return
            self._ask_again(self._shown[int(key) - 1])
        else:
            super().press(key)

    def _ask_again(self, answer: Answer) -> None:
        prompt, docket = self.prompt, self.prompt.docket
        before = len(docket.muted)
        request, unmuted = docket.ask_again(answer, prompt.now), len(docket.muted) < before
        if request is None:
            wait = "no longer muted: it is asked when it is tried again"
            prompt.grumble(wait if unmuted else "that one can't be asked again")
            return
        if unmuted:
            prompt.painter.lines([self.about("  no longer muted", answer.target, answer.named)])
        prompt.prefer(request.id)
        prompt.back()

    def _narrow(self, key: str) -> str:
        """To one container, the next, all again; why not, if not."""
        wrong = ""
        if key == ESCAPE:
            self._narrowing.only = ""
        else:
            first = self._shown[0].container if self._answers else ""
            wrong = self._narrowing.turn(self._containers, first)
        self._answers = [answer for answer in self._all if self._narrowing.holds(answer.container)]
        self._pages.begin()
        self._arranged_for = (0, 0)
        return wrong


def failures_first(answers: Iterable[Answer]) -> list[Answer]:
    """The same, but that of each batch what came to nothing stands before what was done."""
    places: dict[Batch, int] = {}

    def order(placed: tuple[int, Answer]) -> tuple[int, bool]:
        place, answer = placed
        first = place if answer.batch is None else places.setdefault(answer.batch, place)
        return first, answer.result == APPLIED

    return [answer for _, answer in sorted(enumerate(answers), key=order)]
