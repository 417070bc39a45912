"""The view of many: the list of what waits.  Pure."""

from __future__ import annotations

from ..base.text import count, printable
from . import details, layout, rows
from .counting import Counting
from .groups import Group
from .keyboard import ESCAPE
from .layout import joined
from .narrowing import Narrowing
from .pages import NO_ROW, ONE_PAGE, Pages
from .view import EVERYWHERE, View, key_name

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Sequence

    from ..docket.requests import Request
    from .groups import Key
    from .view import Desk

WORD = "".join(map(chr, range(0x21, 0x7F)))
"""The keys that a word to look for may have."""
LONGEST_WORD = 60


class Listing(View):
    """What waits, a page at a time; the marked ones are answered together.  After it, what is muted.

    It may be narrowed to one container: then nothing of another one is marked.

    Each row keeps its digit until a key of the operator's turns the page or takes a word, and stands for
    the requests it was painted with: one that is answered meanwhile says so, is no longer counted and
    can't be marked.  What begins to wait is counted at once; a row of its own, behind the others, it gets
    at the next key.
    """

    help = details.LIST_HELP
    counts = True

    def __init__(self, prompt: Desk) -> None:
        super().__init__(prompt)
        self._keys: list[Key] = []
        self._ids: dict[
            int, tuple[str, ...]
        ] = {}  # of those painted, as they were: asked again it has new ones
        self._muted = prompt.docket.muted
        self._chosen: list[int] = []
        self._word = ""  # what has to be held by all that is shown
        self._typed: str | None = None  # the word, while it is being typed
        self._narrowing = Narrowing()
        self._pages = Pages()
        self._digits: dict[str, int] = {}  # those that stand there, and the rows that they mark
        self._rows: list[str] = []
        self._measured: tuple[int, int] | None = None  # the width for which the heights are, and `_room`
        self._arrange()

    @property
    def deciding(self) -> str:
        return "asm" if self._marked and self._typed is None else ""

    @property
    def _waiting(self) -> list[int]:
        painted, there = self._ids, self.prompt.groups.keys
        return [
            index
            for index, key in enumerate(self._keys)
            if (self._waits(index) if index in painted else key in there)
        ]

    @property
    def _marked(self) -> list[int]:
        return [index for index in self._chosen if self._waits(index)]

    # What stands there

    def _arrange(self) -> None:
        """Which rows there are, and how many on a page: a key of the operator's, or another size."""
        self.working = EVERYWHERE + "123456789* \x7f\x08\r\n/c" + ESCAPE
        if self._typed is not None:
            self.working = WORD + "\x7f\x08\r\n\x0c" + ESCAPE
        self._arranged_for = (self.width, self.height)
        here = {self._keys[index] for index in self._waiting}
        self._keys += [key for key in self.prompt.groups.in_order() if key not in here]
        if self._only not in self.prompt.docket.waiting_for:
            self._narrowing.only = ""
        self._all = {key[0] for key in self._keys} | {answer.container for answer in self._muted}
        whole = self._only and len(f"9999 waiting{self._where}  99/99") <= self.width
        several = len(self._all) > 1 and not whole
        self._room = rows.container_room(self._all) if several else 0  # columns for a row's container
        self._shown = list(range(len(self._keys)))
        if self._word or self._only:
            self._shown = [index for index in self._shown if self._holds(self._keys[index])]
        self._shown_muted = [one for one in self._muted if self._holds((one.container, one.target))]
        room = self.height - 2 - len(self.key_lines()) - bool(self._shown_muted)  # one line above it is free
        self._pages.fit(self._row_heights(), room)

    def _row_heights(self) -> list[int]:
        """Those of the rows that are shown, each as it was when it came to the list."""
        size = self.width, self._room
        if self._measured != size:
            self._measured = size
            self._heights: list[int] = []
            self._measure = rows.Heights(*size).of
        self._heights += self._measure(self._keys[len(self._heights) :], self.prompt.groups)
        muted = [len(rows.muted_rows(one, *size)) for one in self._shown_muted]
        return [*(self._heights[index] for index in self._shown), *muted]

    def rows(self) -> list[str]:
        if self._arranged_for != (self.width, self.height):
            self._arrange()
        docket, first, end = self.prompt.docket, self._pages.first, self._pages.end
        self._digits = {}
        lines: list[str] = []
        for digit, index in enumerate(self._shown[first:end], 1):
            group = Group(self._keys[index], self._requests(index))
            if not group.requests:
                lines.append(rows.answered_row(self._keys[index][1], self.width))
                continue
            self._digits[str(digit)] = index
            lines += rows.list_rows(group, str(digit), index in self._chosen, self.width, self._room)
        muted = self._shown_muted[max(0, first - len(self._shown)) : max(0, end - len(self._shown))]
        if muted:
            lines.append(
                self.fitting("  muted, with the tries since; h asks it again:", "  muted; h asks it again:")
            )
        for answer in muted:
            lines += rows.muted_rows(answer, self.width, self._room)
        self._rows = [self._header(), *lines]
        if first == 0 and not self._word:
            unheard = rows.unheard_lines(docket, self.width, self._only)
            whole = len(self._rows) + len(unheard) + len(self.key_lines()) < self.height
            self._rows += unheard if whole else []
        return self._rows

    def _header(self) -> str:
        """How many wait, and of which of them this is the page; less of it where there is no room."""
        waiting = self._waiting
        if self._only:
            waiting = [index for index in waiting if self._keys[index][0] == self._only]
        new, where = self._new(waiting), self._where
        number = len(waiting) + new
        others = self._others() if self._only else ""
        muted = sum(self._narrowing.holds(one.container) for one in self._muted)
        muted_too = f", {muted} muted" if muted else ""
        start = f"{number} waiting"
        texts = [start + where + others + muted_too, start + where + muted_too, start + where]
        if not self._only:
            texts += [start + muted_too, start]
        if self._word:
            held, hold = sum(map(self._waits, self._shown)), ' hold "%s"' % printable(self._word, 20)
            hidden = "; %d hidden" % (len(waiting) - held)
            start = f"{held} of {number}"
            texts = [f"{start} waiting{where}{hold}{hidden}{others}", f"{start} waiting{where}{hold}{hidden}"]
            texts += [start + (where if self._only else "") + hold + hidden, start + hold, f"{held} hold"]
        since = ", %d new (space)" % new if new else ""
        for page in (self._pages.text, self._pages.short):
            for text in [text + since for text in texts] + texts:
                if len(text) + 2 + len(page) <= self.width:
                    return layout.columns(text, page, self.width)
        return layout.columns(texts[-1], page, self.width)

    @property
    def _only(self) -> str:
        """The container that it is narrowed to, or ""."""
        return self._narrowing.only

    @property
    def _where(self) -> str:
        """What it is about: a container, the only one or not, or so many of them."""
        if self._only:
            return " for " + printable(self._only, 60)
        containers = self.prompt.docket.waiting_for or self._all
        if len(containers) == 1:
            return " for " + printable(next(iter(containers)), 40)
        return f" for {len(containers)} containers" if containers else ""

    def _new(self, waiting: list[int]) -> int:
        """How many wait of which there is no row yet, these being the rows that wait."""
        groups, only, keys = self.prompt.groups, self._only, self._keys
        # What was never painted is there as long as it waits, and has one row; what was may have another
        # one by now, or wait under another name.
        rest = [keys[index] for index in waiting if index not in self._ids]
        painted = {keys[index] for index in waiting if index in self._ids}.difference(rest)
        here = len(rest) + sum(key in groups.keys for key in painted)
        return (groups.number(only) if only else len(groups)) - here

    def _others(self) -> str:
        """How many wait for other containers than the one that it is narrowed to."""
        groups, waiting_for = self.prompt.groups, self.prompt.docket.waiting_for
        number = len(groups) - groups.number(self._only)
        others = len(waiting_for) - (self._only in waiting_for)
        return ", {} for {}".format(number, count(others, "other")) if others else ""

    def key_lines(self) -> list[str]:
        if self._typed is not None:
            return [
                self.fitting("Enter shows what holds it   ESC: no"),
                "/ " + printable(self._typed, self.width - 3),
            ]
        return [self._looking_keys(), self._answering_keys()] if self._keys or self._muted else ["l back"]

    def show_again(self) -> None:
        """The operator's own key has changed what is shown, or comes back to it."""
        self._arrange()
        self.prompt.show(self, True)

    def _looking_keys(self) -> str:
        """The line with the keys that change what is seen or marked."""
        digits = _spans(sorted(map(int, self._digits)))
        mark = digits and digits + " mark"
        every = any(map(self._waits, self._shown))
        less = self._word or self._only
        star = every and ("* these %d" % len(self._shown) if less else "* all")
        again, all_again = less and "ESC: all", less and "ESC: all again"
        pages = len(self._pages) > 1
        on, back = pages and "space: next page", pages and "Backspace: page before"
        page = pages and "space: page"
        several = self._only or len(self.prompt.docket.waiting_for) > 1
        one = several and ("c next container" if self._only else "c one container")
        few = several and ("c next" if self._only else "c container")
        return self.fitting(
            joined("   ", mark, star, "/ word", one, on, back, all_again),
            joined("  ", mark, star, "/ word", one, pages and "space, Backspace: pages", all_again),
            joined("  ", mark, star, "/ word", few, page, again),
            joined("  ", digits, star, "/ word", few, page),
            joined("  ", digits, star, few, page, again),
            joined("  ", digits, every and "*", "/", few, page),
            joined(" ", digits, every and "*", "/", several and "c", page),
            joined(" ", digits, every and "*", "/", several and "c", pages and "space"),
        )

    def _answering_keys(self) -> str:
        """The line with the keys that answer what is marked, and that leave the list."""
        marked = self._marked
        if not marked:
            enter = any(map(self._waits, range(len(self._keys))))
            return self.fitting(
                joined("   ", enter and "Enter asks the first", "? keys", "l back"),
                joined("  ", enter and "Enter asks", "l back"),
            )
        text, hidden = "%d marked" % len(marked), len(set(marked).difference(self._shown))
        if hidden:
            text += ", %d not shown" % hidden
        asks = "Enter asks it" if len(marked) == 1 else "Enter asks the first"
        return self.fitting(
            f"{text}: a allow  s not now  m this session    {asks}   l back",
            f"{text}: a allow  s not now  m session  Enter asks  l back",
            f"{text}: a s m  Enter asks  l back",
            f"{text}: a s m  Enter  l",
            f"{len(marked)}: a s m  Enter  l",
        )

    def is_readable(self) -> bool:
        return self.has_room([*self._rows, *self.key_lines()])

    # Keys

    def press(self, key: str) -> None:
        prompt = self.prompt
        if self._typed is not None:
            self._type(key)
        elif key == "l" or (key == ESCAPE and not (self._word or self._only)):
            prompt.back()
        elif key in "123456789* \x7f\x08/c" + ESCAPE:
            rows, wrong = len(self._keys), self._look(key)
            self.show_again()
            if wrong and (wrong != ONE_PAGE or rows == len(self._keys)):  # else it shows what is new
                prompt.grumble(wrong)
        elif key in "\r\n":
            shown = [index for index in self._shown if self._waits(index)]
            for index in [*self._marked, *self._digits.values(), *shown, *self._waiting]:
                if self._waits(index):
                    prompt.prefer(self._requests(index)[0].id)
                    break
            prompt.back()
        elif key in "sm":
            self._set_aside(key)
        elif key == "a":
            self._allow()
        else:
            super().press(key)

    def inform(self) -> None:
        self.prompt.grumble("i tells of what is asked: Enter asks one of these")

    def unknown(self, key: str) -> None:
        if self._typed is None:
            super().unknown(key)
        else:
            self.prompt.grumble(
                f"{key_name(key)} is in no name: Enter shows what holds the word, ESC leaves it"
            )

    def _look(self, key: str) -> str:
        """A key that changes what is seen or marked; why it did not."""
        if key in " \x7f\x08":
            self._pages.turn(1 if key == " " else -1)
            return ONE_PAGE if len(self._pages) == 1 else ""
        if key == "/":
            self._typed = ""
        elif key == ESCAPE:
            self._word = self._narrowing.only = ""
            self._pages.begin()
        elif key == "c":
            return self._narrow()
        elif key == "*":
            every = {index for index in self._shown if self._waits(index)}
            if not every:
                return "nothing that is shown waits"
            marked = set(self._marked)
            self._chosen = sorted(marked - every if every <= marked else marked | every)
            for index in self._chosen:
                self._requests(index)  # those of now, though they stand on another page
        elif key in self._digits and self._waits(self._digits[key]):
            self._chosen = sorted(set(self._marked) ^ {self._digits[key]})
        else:
            return NO_ROW.format(key)
        return ""

    def _narrow(self) -> str:
        """To one container, the next, all again; why not, if not.  No mark is left on what is not shown."""
        self._arrange()  # with what is new
        keys = [self._keys[index] for index in self._waiting]
        containers = list(dict.fromkeys([key[0] for key in keys if self._has_word(key)]))
        marked = [index for index in self._marked if index in self._shown]
        here = [index for index in self._shown[self._pages.first :] if self._waits(index)]
        near = [*(self._keys[index][0] for index in [*marked, *here]), *containers, ""]
        wrong = self._narrowing.turn(containers, near[0])
        self._chosen = [index for index in self._chosen if self._narrowing.holds(self._keys[index][0])]
        self._pages.begin()
        return wrong

    def turned(self) -> bool:
        """Nothing waits any more for the container that it was narrowed to: it shows all."""
        if not self._only or self._only in self.prompt.docket.waiting_for:
            return False
        self._pages.begin()
        self._arrange()
        return True

    def _type(self, key: str) -> None:
        """A key while the word is being typed: it decides nothing, whatever it is."""
        assert self._typed is not None
        if key in "\r\n":
            self._word, self._typed = self._typed.lower(), None
            self._pages.begin()
        elif key == ESCAPE:
            self._typed = None
        elif key in "\x7f\x08":
            self._typed = self._typed[:-1]
        else:
            self._typed = (self._typed + key)[:LONGEST_WORD]
        if self._typed is None:
            self.show_again()
        else:
            self.prompt.paint_keys()

    def _set_aside(self, key: str) -> None:
        """Not now, or not in this session: what is marked."""
        prompt, action = self.prompt, "skip" if key == "s" else "mute"
        docket, before = prompt.docket, prompt.docket.set_aside
        for index in self._marked:  # each is an answer of its own in the history
            ids, label = [request.id for request in self._requests(index)], self._keys[index][1]
            docket.answer(action, ids, prompt.now, "operator", name=label if action == "mute" else "")
        number = docket.set_aside - before
        if not number:
            prompt.grumble(NOTHING_MARKED)
            return
        text = "s not now" if key == "s" else "m not in this session"
        prompt.decided("  {} ({})".format(text, count(number, "request")))

    # Which requests

    def _holds(self, key: Key) -> bool:
        """Whether a row is to be shown: it has the word, and is not of another container."""
        return self._narrowing.holds(key[0]) and self._has_word(key)

    def _has_word(self, key: Key) -> bool:
        return self._word in key[1].lower() or (len(self._all) > 1 and self._word in key[0].lower())

    def _waits(self, index: int) -> bool:
        """Whether anything of a row still waits."""
        ids = self._ids.get(index)
        if ids is None:
            return self._keys[index] in self.prompt.groups.keys
        return any(self.prompt.docket.awaiting(one) is not None for one in ids)

    def _requests(self, index: int) -> list[Request]:
        """What of a row still waits, of what it was when it was painted."""
        if index not in self._ids and self._keys[index] in self.prompt.groups.keys:
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
        allowed = filter(None, map(self.prompt.docket.awaiting, ids))
        silent = sum(not self.prompt.docket.shields.answers(one.container, one.dest) for one in allowed)
        if silent:
            told.append(f"! allowing {silent} of these addresses doesn't help: IPv6 gets no answer there")
        answered = len(self._chosen) - len(self._marked)
        if answered:
            told.append("answered meanwhile and left out: %d of the marked" % answered)
        if not ids:
            self.prompt.grumble("; ".join(told) if guarded else NOTHING_MARKED)
            return
        view = Counting(self.prompt, told, ids, self.show_again)
        if not view.is_readable():
            number = count(len(ids), "address has", "addresses have")
            self.prompt.grumble(f"{number} no room on this screen, to be read first: mark fewer")
            return
        self.prompt.show(view, True)


NOTHING_MARKED = "nothing marked waits any more"


def _spans(numbers: Sequence[int]) -> str:
    """`1-3,5` for 1, 2, 3 and 5."""
    spans: list[list[int]] = []
    for number in numbers:
        if spans and spans[-1][-1] == number - 1:
            spans[-1][1:] = [number]
        else:
            spans.append([number])
    return ",".join("-".join(map(str, span)) for span in spans)
