"""The views of many: the list of what waits, allowing several at once, the history.  Pure."""

from __future__ import annotations

from ..base.text import count, printable
from . import layout, questions
from .groups import Group
from .keyboard import ESCAPE
from .view import EVERYWHERE, View

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ..docket.requests import Answer, Request
    from .view import Desk

PAGE = 9
SHORTEST_NAME = 16
"""Columns of its end that a name beside its addresses has at least; where there is no room, none."""


class Listing(View):
    """What waits, a page at a time; the marked ones are answered together.

    Each row keeps its digit as long as the list stands; one that is answered meanwhile says so when
    it is painted anew, is no longer counted and can't be marked.
    """

    working = EVERYWHERE + "123456789* \x7f\x08\r\n" + ESCAPE

    def __init__(self, prompt: Desk) -> None:
        super().__init__(prompt)
        self._keys = prompt.groups.in_order()
        self._ids: dict[
            int, tuple[str, ...]
        ] = {}  # of those painted, as they were: asked again it has new ones
        self._chosen: list[int] = []
        self._first = self._shown = 0  # the row that stands first, and how many stand there
        self._before: list[int] = []  # which stood first on the pages before

    @property
    def deciding(self) -> str:
        return "asm" if self._marked else ""

    @property
    def _waiting(self) -> list[int]:
        return [index for index in range(len(self._keys)) if self._waits(index)]

    @property
    def _marked(self) -> list[int]:
        return [index for index in self._chosen if self._waits(index)]

    def _rows(self, several: bool) -> list[str]:
        """As many as there is room for, and no more than there are digits."""
        rows: list[str] = []
        self._shown = 0
        for index in range(self._first, min(self._first + PAGE, len(self._keys))):
            group = Group(self._keys[index], self._requests(index))
            row = [questions.answered_row(self._keys[index][1], self.width)]
            if group.requests:
                marked, digit = index in self._chosen, self._shown + 1
                row = questions.list_rows(self.prompt.docket, group, digit, marked, self.width, several)
            if rows and len(rows) + len(row) > self.height - 4:
                break
            rows += row
            self._shown += 1
        return rows

    def lines(self) -> list[str]:
        docket = self.prompt.docket
        waiting = self._waiting
        several = len({container for container, _ in self._keys}) > 1
        where = "" if several or not self._keys else " for " + self._keys[0][0]
        rows = self._rows(several)
        pages = self._shown < len(self._keys)
        hint = "a digit marks, * all, space: next page" if pages else "a digit marks, * all"
        lines = [layout.columns("%d waiting%s" % (len(waiting), where), hint if waiting else "", self.width)]
        lines += rows
        more = sum(index >= self._first + self._shown for index in waiting)
        if more > 0:
            lines.append("        ... %d more" % more)
        if self._first == 0:
            room = max(0, self.height - len(lines) - len(self.key_lines()))
            unheard = questions.unheard_lines(docket, self.width)
            lines.extend(unheard if len(unheard) <= room else [])
        return lines

    def key_lines(self) -> list[str]:
        marked = len(self._marked)
        if not any(map(self._waits, range(len(self._keys)))):
            return ["l back"]
        if not marked:
            narrow = self.width < questions.NARROW
            return ["1-9 * mark   Enter asks   l back" if narrow else "Enter asks the first   l back"]
        if self.width < questions.NARROW:
            line = "%d marked: a s m  Enter  l back" % marked
            return [line if len(line) <= self.width else "%d: a s m  Enter  l" % marked]
        return ["%d marked: a allow  s not now  m this session    Enter asks it   l back" % marked]

    def press(self, key: str) -> None:
        prompt = self.prompt
        if key in ("l", ESCAPE):
            prompt.back()
        elif key.isdigit() or key in "* \x7f\x08":
            self._mark(key)
            prompt.show(self, True)
        elif key in "\r\n":
            for index in [*self._marked, *self._waiting][:1]:
                prompt.prefer(self._requests(index)[0].id)
            prompt.back()
        elif key in "sm":
            action, before = "skip" if key == "s" else "mute", prompt.docket.set_aside
            for requests in self._marked_groups():  # each is an answer of its own in the history
                prompt.docket.answer(action, [one.id for one in requests], prompt.now, "operator")
            number = prompt.docket.set_aside - before
            if not number:
                prompt.grumble(NOTHING_MARKED)
                return
            text = "s not now" if key == "s" else "m not in this session"
            prompt.decided("  {} ({})".format(text, count(number, "request")))
        elif key == "a":
            self._allow()
        else:
            super().press(key)

    def _mark(self, key: str) -> None:
        if key == " ":
            self._before.append(self._first)
            self._first += self._shown
            if self._first >= len(self._keys):
                self._first, self._before = 0, []
        elif key in "\x7f\x08":
            self._first = self._before.pop() if self._before else 0
        elif key == "*":
            every = self._waiting
            self._chosen = [] if self._marked == every else every
        elif int(key) <= self._shown and self._waits(self._first + int(key) - 1):
            self._chosen = sorted(set(self._marked) ^ {self._first + int(key) - 1})

    def _waits(self, index: int) -> bool:
        """Whether anything of a row still waits."""
        ids = self._ids.get(index)
        if ids is None:
            return self._keys[index] in self.prompt.groups
        return any(self.prompt.docket.awaiting(one) is not None for one in ids)

    def _requests(self, index: int) -> list[Request]:
        """What of a row still waits, of what it was when it was painted."""
        if index not in self._ids and self._keys[index] in self.prompt.groups:
            self._ids[index] = self.prompt.groups.group(self._keys[index]).ids
        held = map(self.prompt.docket.awaiting, self._ids.get(index, ()))
        return [request for request in held if request is not None]

    def _marked_groups(self) -> list[list[Request]]:
        """What still waits of each marked one."""
        return [self._requests(index) for index in self._marked]

    def _allow(self) -> None:
        requests = [request for group in self._marked_groups() for request in group]
        ids = list({(r.container, r.dest): r.id for r in reversed(requests) if not r.guarded}.values())[::-1]
        guarded = len({r.dest for r in requests if r.guarded})
        told = []
        if guarded:
            told.append(
                "! {} left out: allow each by its own question".format(
                    count(guarded, "private address is", "private addresses are")
                )
            )
        answered = len(self._chosen) - len(self._marked)
        if answered:
            told.append("answered meanwhile and left out: %d of the marked" % answered)
        if not ids:
            self.prompt.grumble("; ".join(told) if guarded else NOTHING_MARKED)
            return
        view = Counting(self.prompt, told, ids)
        if not view.is_readable():
            number = count(len(ids), "address has", "addresses have")
            self.prompt.grumble(f"{number} no room on this screen, to be read first: mark fewer")
            return
        self.prompt.show(view, True)


NOTHING_MARKED = "nothing marked waits any more"


class Counting(View):
    """Allowing many: each address stands there whole, and their number is typed, then Enter."""

    working = "0123456789\x7f\x08" + ESCAPE

    def __init__(self, prompt: Desk, told: list[str], ids: list[str]) -> None:
        super().__init__(prompt)
        self._requests = ids
        self._told = told  # of what was marked and is not among them
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
            where = printable(container) + ": " if self.prompt.docket.several else ""
            rows = layout.folded(where + "  ".join(dests), self.width, "  ", "  ")
            room = self.width - len(rows[-1]) - 2
            if name and room >= min(len(name), SHORTEST_NAME):
                rows[-1] += "  " + printable(name, room)
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
        prompt.painter.keys(self.key_lines())

    def announcement(self, key: str) -> str:
        return "  " + self._does if self._typed == str(len(self._requests)) else ""

    @property
    def _does(self) -> str:
        return "a allow " + count(len(self._requests), "address", "addresses")

    def _confirm(self) -> None:
        prompt, docket = self.prompt, self.prompt.docket
        if self._typed != str(len(self._requests)):
            prompt.painter.lines(layout.folded("not that number: nothing is allowed", self.width))
            prompt.back()
            return
        allowed = [one for one in self._requests if docket.answer("allow", [one], prompt.now, "operator")]
        prompt.decided("  a allow {} ...".format(count(len(allowed), "address", "addresses")))

    def unknown(self, key: str) -> None:
        self.prompt.painter.lines(["  no"])
        self.prompt.back()


class History(View):
    """What was answered in this session, newest first."""

    working = EVERYWHERE + "123456789 " + ESCAPE

    def __init__(self, prompt: Desk) -> None:
        super().__init__(prompt)
        self._answers: list[Answer] = list(reversed(prompt.docket.history))
        self._page = 0

    @property
    def _size(self) -> int:
        return max(1, min(PAGE, self.height - 4))

    @property
    def _shown(self) -> list[Answer]:
        return self._answers[self._page * self._size :][: self._size]

    def lines(self) -> list[str]:
        if not self._answers:
            return layout.folded("nothing was answered in this session", self.width, "", "  ")
        if self._page * self._size >= len(self._answers):
            self._page = 0  # more fit on a page than before
        top = layout.columns("%d answered" % len(self._answers), "newest first, space: older", self.width)
        return [top, *(
            questions.history_row(answer, number + 1, self.width, self.prompt.clock)
            for number, answer in enumerate(self._shown)
        )]  # fmt: skip

    def key_lines(self) -> list[str]:
        return ["a digit asks that one again   h back" if self._answers else "h back"]

    def press(self, key: str) -> None:
        prompt = self.prompt
        if key in ("h", ESCAPE):
            prompt.back()
        elif key == " ":
            self._page = self._page + 1 if (self._page + 1) * self._size < len(self._answers) else 0
            prompt.show(self, True)
        elif key.isdigit():
            shown = self._shown
            answer = shown[int(key) - 1] if int(key) <= len(shown) else None
            was_muted = answer is not None and answer in prompt.docket.muted
            request = prompt.docket.ask_again(answer, prompt.now) if answer is not None else None
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
