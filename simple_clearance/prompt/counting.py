"""The view of many addresses that are to be allowed at once.  Pure."""

from __future__ import annotations

from ..base.text import count
from . import layout
from .keyboard import ESCAPE
from .layout import joined
from .view import View

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Callable

    from .view import Desk


class Counting(View):
    """Allowing many: each address stands there whole, and their number is typed, then Enter.

    Anything else is a no, and leads back to the list and its marks.
    """

    whole = True
    working = "0123456789\x7f\x08" + ESCAPE

    def __init__(self, prompt: Desk, told: list[str], ids: list[str], back: Callable[[], None]) -> None:
        """Of these requests; `told` is of what was marked and is not among them, `back` shows the list."""
        super().__init__(prompt)
        self._back = back
        self._requests = ids
        self._told = told
        self._typed = ""
        self._groups: dict[tuple[str, str], list[str]] = {}  # the addresses of a container and a name
        for request in map(prompt.docket.awaiting, ids):
            assert request is not None
            name = prompt.docket.shown_name(request)
            key = (request.container, "" if name is None else name.name)
            self._groups.setdefault(key, []).append(request.dest)

    @property
    def deciding(self) -> str:
        return "\r\n"

    def lines(self) -> list[str]:
        number = len(self._requests)
        each = "it" if number == 1 else "each"
        text = "allowing {}, every port of {}:".format(count(number, "address", "addresses"), each)
        lines = [line for one in self._told for line in layout.folded(one, self.width)]
        lines += layout.folded(text, self.width, "", "  ")
        for (container, name), dests in self._groups.items():
            rows = self.address_lines(container, dests)
            rows[-1] = joined("  ", rows[-1], layout.name_beside(name, self.width - len(rows[-1]) - 2))
            lines += rows
        return lines

    def key_lines(self) -> list[str]:
        how, number = "type %d, then Enter; ESC: no" % len(self._requests), f"  number: {self._typed}"
        if len(how) + len(number) + 6 <= self.width:
            return [how + number]
        return [*layout.folded(how, self.width, "", "  "), number]

    def press(self, key: str) -> None:
        prompt = self.prompt
        if key in "\r\n":
            self._confirm()
            return
        if key == ESCAPE:
            self.unknown(key)
            return
        if key in "\x7f\x08":
            self._typed = self._typed[:-1]
        elif len(self._typed) < 6:
            self._typed += key
        prompt.paint_keys()

    def announcement(self, key: str) -> str:
        return "  " + self._does if self._typed == str(len(self._requests)) else ""

    @property
    def _does(self) -> str:
        return "a allow " + count(len(self._requests), "address", "addresses")

    def _confirm(self) -> None:
        prompt, docket = self.prompt, self.prompt.docket
        if self._typed != str(len(self._requests)):
            prompt.painter.lines(layout.folded("not that number: nothing is allowed", self.width))
            self._back()
            return
        ids = [one for one in self._requests if docket.awaiting(one) is not None]
        docket.answer("allow", ids, prompt.now, "operator")
        line = "  a allow {}".format(count(len(ids), "address", "addresses"))
        if len(ids) > 1:
            prompt.decided_many(line)
        else:
            prompt.decided(line + " ...")

    def unknown(self, key: str) -> None:
        self.prompt.painter.lines(["  no"])
        self._back()
