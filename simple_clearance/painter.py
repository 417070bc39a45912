"""Lines on a terminal that is never queried, of which only the last is ever rewritten.  Pure.

What is painted goes into the scrollback and stays; the line of keys stands last, without a
newline, and gives its place to what is told next.  It is rewritten by a carriage return and
blanks, which every terminal and serial line understands; with TERM=dumb nothing is.
"""

from __future__ import annotations

from .text import clip_right, printable

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Sequence

BOLD, YELLOW, DIM = "1", "33", "2"


class Painter:
    """Turns lines into bytes.  `width` and `height` are the terminal's, in characters.

    `below` counts the lines painted since `mark` was called, the line of keys included.
    """

    def __init__(self, width: int, height: int, *, dumb: bool = False, colour: bool = False) -> None:
        self.width = width
        self.height = height
        self.below = 0
        self._dumb = dumb
        self._colour = colour
        self._keys = ""
        self._out = bytearray()

    def resize(self, width: int, height: int) -> None:
        """The line of keys may have been wrapped: it is left where it is."""
        self.width, self.height = width, height
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

    def keys(self, text: str) -> None:
        """Paints the line of keys."""
        self.erase()
        text = clip_right(_safe(text), self.width - 1)  # a wrapped one could not be erased
        self._out += text.encode()
        if self._dumb:
            self._out += b"\r\n"
            self.below += 1
        else:
            self._keys = text

    def commit(self) -> None:
        """Lets the line of keys stand as it is: what follows goes below it."""
        if self._keys:
            self._out += b"\r\n"
            self.below += 1
            self._keys = ""

    def bell(self) -> None:
        self._out += b"\a"

    @property
    def has_keys(self) -> bool:
        return bool(self._keys)

    def erase(self) -> None:
        """Takes the line of keys away."""
        if self._keys:
            self._out += b"\r" + b" " * len(self._keys) + b"\r"
            self._keys = ""

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
