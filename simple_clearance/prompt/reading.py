"""The view of a long text, page by page.  Pure."""

from __future__ import annotations

from .keyboard import ESCAPE
from .layout import joined
from .pages import Pages
from .view import EVERYWHERE, View, key_name

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Callable

    from .view import Desk

    Text = Callable[[int], "list[str]"]


class Reading(View):
    """A text for which the screen has no room beside what stands there, `below`, which comes back after it.

    `text` gives its lines in so many columns.  What is asked stays asked: no rule decides it meanwhile.
    """

    counts = True
    working = EVERYWHERE + " \x7f\x08\r\n" + ESCAPE

    def __init__(self, prompt: Desk, below: View, text: Text) -> None:
        super().__init__(prompt)
        self._below = below
        self._text = text
        self._pages = Pages()
        self._arranged_for = (0, 0)
        self._lines: list[str] = []
        self.ids = below.ids

    def fits(self) -> bool:
        """Whether the screen has room for all of it above what stands there."""
        below = self._below
        whole = [*self._text(self.width), *below.lines(), *below.rows(), *below.key_lines()]
        return len(whole) <= self.height

    def lines(self) -> list[str]:
        self._arrange()
        return self._lines[self._pages.first : self._pages.end]

    def _arrange(self) -> None:
        """In another size its lines are others: it begins again."""
        if self._arranged_for != (self.width, self.height):
            self._arranged_for = (self.width, self.height)
            self._lines = self._text(self.width)
            room = max(1, self.height - 1)
            self._pages.begin()
            self._pages.fit([1] * len(self._lines), room, room)

    def key_lines(self) -> list[str]:
        self._arrange()
        waiting = len(self.prompt.groups) - bool(self.ids)
        more = f"+{waiting} wait" if waiting > 0 else ""
        on = "space: back" if self._is_last else "space: next"
        back = len(self._pages) > 1 and "Backspace: before"
        return [
            self.fitting(
                joined("   ", self._pages.text, on, back, "ESC: back", more),
                joined("   ", self._pages.text, on, "ESC: back", more),
                joined("   ", self._pages.text, on, "ESC: back"),
                joined("  ", self._pages.short, "space", "ESC", more),
                joined("  ", self._pages.short, "space", "ESC"),
            )
        ]

    @property
    def _is_last(self) -> bool:
        return self._pages.end == len(self._lines)

    def vanished(self) -> bool:
        return self._below.vanished()

    def inform(self) -> None:
        self._below.inform()

    def press(self, key: str) -> None:
        if key in "\x7f\x08":
            self._pages.turn(-1)
            self.prompt.show(self, True)
        elif key == ESCAPE or (key in " \r\n" and self._is_last):
            self.prompt.show(self._below, True)
        elif key in " \r\n":
            self._pages.turn(1)
            self.prompt.show(self, True)
        elif key == "?":
            self._below.press(key)
        else:
            super().press(key)

    def unknown(self, key: str) -> None:
        self.prompt.grumble(f"{key_name(key)} is no key here: space turns the page, ESC goes back")
