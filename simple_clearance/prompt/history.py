"""The view of what was answered.  Pure."""

from __future__ import annotations

from ..docket.verdict import APPLIED
from . import details, layout, rows
from .keyboard import ESCAPE
from .layout import joined
from .pages import NO_ROW, ONE_PAGE, Pages
from .view import EVERYWHERE, View

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Iterable

    from ..docket.batch import Batch
    from ..docket.requests import Answer
    from .view import Desk


class History(View):
    """What was answered in this session, newest first."""

    working = EVERYWHERE + "123456789 \x7f\x08" + ESCAPE
    help = details.HISTORY_HELP

    def __init__(self, prompt: Desk) -> None:
        super().__init__(prompt)
        self._answers = failures_first(reversed(prompt.docket.history))
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
            self._pages.fit((len(self._rows_of(at)) for at in range(len(self._answers))), self.height - 4)
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
        long = number + ", newest first"
        return long if len(long) + 2 + len(self._pages.text) <= self.width else number

    def key_lines(self) -> list[str]:
        number, pages = len(self._shown), len(self._pages) > 1
        digits = f"1-{number}" if number > 1 else "1" * number
        back = "Backspace: newer" if pages else ""
        older = "space: older" if pages else ""
        return [
            self.fitting(
                joined("   ", digits and digits + " asks that again", older, back, "h back"),
                joined("   ", digits and digits + " asks again", older, "h back"),
                joined("  ", digits and digits + " asks again", older, "h back"),
                joined("  ", digits, older, "h back"),
            )
        ]

    def press(self, key: str) -> None:
        prompt = self.prompt
        if key in ("h", ESCAPE):
            prompt.back()
        elif key in " \x7f\x08":
            self._pages.turn(1 if key == " " else -1)
            prompt.show(self, True)
            if len(self._pages) == 1:
                prompt.grumble(ONE_PAGE)
        elif key.isdigit():
            if int(key) > len(self._shown):
                prompt.grumble(NO_ROW.format(key))
                return
            answer = self._shown[int(key) - 1]
            was_muted = answer in prompt.docket.muted
            request = prompt.docket.ask_again(answer, prompt.now)
            if request is None and was_muted:
                prompt.grumble("no longer muted: it is asked when it is tried again")
                return
            if request is None:
                prompt.grumble("that one can't be asked again")
                return
            prompt.prefer(request.id)
            prompt.back()
        else:
            super().press(key)


def failures_first(answers: Iterable[Answer]) -> list[Answer]:
    """The same, but that of each batch what came to nothing stands before what was done."""
    places: dict[Batch, int] = {}

    def order(placed: tuple[int, Answer]) -> tuple[int, bool]:
        place, answer = placed
        first = place if answer.batch is None else places.setdefault(answer.batch, place)
        return first, answer.result == APPLIED

    return [answer for _, answer in sorted(enumerate(answers), key=order)]
