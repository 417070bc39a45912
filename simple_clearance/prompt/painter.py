"""Lines on a terminal that is never queried, of which only the last are ever rewritten.  Pure.

What is painted goes into the scrollback and stays; the line of keys stands last, without a
newline, and gives its place to what is told next.  It is rewritten by a carriage return and
blanks, which every terminal and serial line understands.  Where it takes two, the cursor goes
up between them: never above what was painted as keys, even if the window has become narrower
meanwhile, for blanks that are wrapped lead it down.  With TERM=dumb nothing is rewritten.
"""

from __future__ import annotations

from ..base.text import clip_right, printable

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Sequence

BOLD, YELLOW, DIM = "1", "33", "2"
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
        self._keys: list[str] = []
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

    def lines(self, texts: Sequence[str]) -> None:
        """Paints whole lines in the place of the line of keys."""
        self.erase()
        for text in texts:
            self._out += self._styled(_safe(text)).encode() + b"\r\n"
        self.below += len(texts)

    def keys(self, texts: Sequence[str]) -> None:
        """Paints the line of keys, or the lines."""
        self.erase()
        self._keys = [clip_right(_safe(text), self.width - 1) for text in texts]  # a wrapped one stays
        self._out += "\r\n".join(self._keys).encode()
        if self.dumb:
            self.commit()

    def commit(self) -> None:
        """Lets the line of keys stand as it is: what follows goes below it."""
        if self._keys:
            self._out += b"\r\n"
            self.below += len(self._keys)
            self._keys = []

    def bell(self) -> None:
        self._out += b"\a"

    def erase(self) -> None:
        """Takes the line of keys away."""
        if self._keys:
            self._out += UP.join(b"\r" + b" " * len(text) + b"\r" for text in reversed(self._keys))
            self._keys = []

    def _styled(self, text: str) -> str:
        """Colour says nothing that the text doesn't: a container's line bold, a warning yellow."""
        if not self._colour or not text:
            return text
        if text[0] == "!" or text.startswith("  !"):
            return f"\x1b[{YELLOW}m{text}\x1b[0m"
        if text[0] != " " and "  " in text:
            return f"\x1b[{BOLD}m{text}\x1b[0m"
        return text


def _safe(text: str) -> str:
    """The last defence: whoever made `text` should have escaped what came from outside."""
    return text if text.isascii() and text.isprintable() else printable(text)
