"""Lines on a terminal that is never queried, of which only the last are ever rewritten.  Pure.

What is painted goes into the scrollback and stays; the line of keys stands last, without a
newline, and gives its place to what is told next.  The rows of a list stand above it and are
rewritten with it: of them only those that have changed.  That takes a carriage return, blanks
and a line feed, which every terminal and serial line understands, and to go up by a line: never
above what was painted so, even if the window has become narrower meanwhile, for there its lines
are more, not fewer.  What the window has no room for can't be reached, and stays.  With
TERM=dumb nothing is rewritten.
"""

from __future__ import annotations

from ..base.text import clip_right, printable

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Sequence

# SGR of ECMA-48: no colour of its own, so that both stand out on a dark background and on a light one
HEADLINE, WARNING = "1;7", "1"
UP = b"\x1b[A"  # CUU of ECMA-48
WIDEST = 101
"""Columns that are used at most, the last one left free: what belongs together stays together."""


class Painter:
    """Turns lines into bytes.  `width` and `height` are the terminal's, in characters, as far as it is used.

    `below` counts the lines painted since `mark` was called, without those that may be rewritten.
    """

    def __init__(self, width: int, height: int, *, dumb: bool = False, colour: bool = False) -> None:
        self.width = min(width, WIDEST)
        self.height = height
        self.below = 0
        self.dumb = dumb
        self._colour = colour
        self._standing: list[str] = []  # the rows and the line of keys, as they stand there
        self._out = bytearray()

    def resize(self, width: int, height: int) -> None:
        """The line of keys may have been wrapped: it is left where it is."""
        self.width, self.height = min(width, WIDEST), height
        self.commit()

    def take(self) -> bytes:
        out, self._out = bytes(self._out), bytearray()
        return out

    def mark(self) -> None:
        """What follows is a new question."""
        self.below = 0

    def fits(self, more: int) -> bool:
        """Whether `more` lines leave the question's first line on the screen."""
        return self.below + more < self.height

    def lines(self, texts: Sequence[str], *, headed: bool = False) -> None:
        """Paints whole lines in the place of what may be rewritten; `headed`, the first is a question's."""
        self.erase()
        for text in texts:
            self._out += self._styled(_safe(text), headed).encode() + b"\r\n"
            headed = False
        self.below += len(texts)

    def keys(self, texts: Sequence[str], rows: Sequence[str] = ()) -> None:
        """Paints the line of keys, or the lines, below the rows of a list."""
        room = self.width - 1  # a line that is wrapped could not be rewritten
        standing = [clip_right(_safe(text), room) for text in (*rows, *texts)]
        if not standing or max(len(standing), len(self._standing)) > self.height:
            self.erase()
        if self._standing:
            self._rewrite(standing, len(rows))
        else:
            lines = (self._row(standing, at, len(rows)) for at in range(len(standing)))
            self._out += b"\r\n".join(lines)
        self._standing = standing
        if self.dumb:
            self.commit()

    def _row(self, standing: list[str], at: int, rows: int) -> bytes:
        """One of the lines that may be rewritten, of which the first so many are rows."""
        return (self._styled(standing[at]) if at < rows else standing[at]).encode()

    def _rewrite(self, standing: list[str], rows: int) -> None:
        """Those lines that have changed; then the last one in any case, where the cursor stays."""
        old, last = self._standing, len(standing) - 1
        longest, here = max(len(old), len(standing)), len(old) - 1
        changed = [at for at in range(longest) if old[at : at + 1] != standing[at : at + 1]]
        for at in [*(at for at in changed if at != last), last]:
            self._out += b"\r" + UP * (here - at) + b"\r\n" * (at - here)
            here = at
            if at < len(old) and (at > last or len(old[at]) > len(standing[at])):
                self._out += b" " * len(old[at]) + b"\r"
            if at <= last:
                self._out += self._row(standing, at, rows)

    def commit(self) -> None:
        """Lets what may be rewritten stand as it is: what follows goes below it."""
        if self._standing:
            self._out += b"\r\n"
            self.below += len(self._standing)
            self._standing = []

    def bell(self) -> None:
        self._out += b"\a"

    def erase(self) -> None:
        """Takes away what may be rewritten, unless the window has no room for all of it."""
        if len(self._standing) > self.height:
            self.commit()
        if self._standing:
            self._out += UP.join(b"\r" + b" " * len(text) + b"\r" for text in reversed(self._standing))
            self._standing = []

    def _styled(self, text: str, headed: bool = False) -> str:
        """Style says nothing that the text doesn't: where a question begins, and what is grave."""
        style = HEADLINE if headed else WARNING if text.lstrip()[:1] == "!" else ""
        return f"\x1b[{style}m{text}\x1b[0m" if style and self._colour else text


def _safe(text: str) -> str:
    """The last defence: whoever made `text` should have escaped what came from outside."""
    return text if text.isascii() and text.isprintable() else printable(text)
