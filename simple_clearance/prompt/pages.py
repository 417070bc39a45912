"""Which page of a list is shown.  Pure."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Sequence

PAGE = 9
"""Rows of a page at most, where each has a digit."""

ONE_PAGE = "there is one page only"
NO_ROW = "no row has a {}"


class Pages:
    """The pages of a list, one of which is shown: `first` to `end` are the numbers of its rows."""

    def __init__(self) -> None:
        self._starts = [0]
        self._number = 0
        self._shown = 0

    def fit(self, heights: Sequence[int], room: int, most: int = PAGE) -> None:
        """Rows of these heights, as many on a page as have room; the page with the row that stood first."""
        first, self._starts, self._number = self.first, [0], len(heights)
        start, left = 0, room
        for number, height in enumerate(heights):
            if (height > left or number - start == most) and number > start:
                self._starts.append(number)
                start, left = number, room
            left -= height
        self._shown = sum(start <= first for start in self._starts) - 1

    def __len__(self) -> int:
        return len(self._starts)

    @property
    def first(self) -> int:
        return self._starts[self._shown]

    @property
    def end(self) -> int:
        return [*self._starts, self._number][self._shown + 1]

    def turn(self, pages: int) -> None:
        """So many pages on; the first comes after the last."""
        self._shown = (self._shown + pages) % len(self)

    def begin(self) -> None:
        """The first page."""
        self._shown = 0

    @property
    def text(self) -> str:
        return "page %d of %d" % (self._shown + 1, len(self)) if len(self) > 1 else ""

    @property
    def short(self) -> str:
        return "%d/%d" % (self._shown + 1, len(self)) if len(self) > 1 else ""
